"""JAF's side: the tool that runs N agents in one group and combines their results, as its page on parallel agents shows.
The model is a function that answers at once. Knows nothing of the other systems."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its import asks the network for a price list otherwise

from jaf import Agent  # type: ignore[import-not-found] # in an environment of its own
from jaf.core.agent_tool import AgentToolInput, set_current_run_config  # type: ignore[import-not-found] # as above
from jaf.core.parallel_agents import create_simple_parallel_tool  # type: ignore[import-not-found] # as above
from jaf.core.types import RunConfig  # type: ignore[import-not-found] # as above

from peers._worker import Ready, Work, serve


class Model:
    """A model provider without a model."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def get_completion(self, state: Any, agent: Any, config: Any) -> dict[str, Any]:  # noqa: ARG002 - JAF's interface
        await asyncio.sleep(0)
        self._work.executions += 1
        return {"message": {"content": "ok"}}


def combined(result: str) -> int:
    group = json.loads(result)["parallel_execution_results"]["parallel_group"]
    answers: list[str] = group["aggregated_result"]["combined_results"]
    return answers.count("ok")


@asynccontextmanager
async def run(width: int, work: Work, *, hears: bool = False) -> AsyncIterator[Ready]:
    def listen(event: Any) -> None:  # noqa: ARG001 - JAF's interface
        work.heard += 1

    agents = [Agent(name=f"agent_{i}", instructions=lambda _: "x", tools=[]) for i in range(width)]
    tool = create_simple_parallel_tool(agents)
    config = RunConfig(agent_registry={}, model_provider=Model(work), on_event=listen if hears else None)

    async def call() -> Any:
        # What JAF's own run loop does before it executes a tool.
        set_current_run_config(config)
        return await tool.execute(AgentToolInput(input="x"), {})

    yield Ready(call, combined, hears=hears)


@asynccontextmanager
async def heard(width: int, work: Work) -> AsyncIterator[Ready]:
    async with run(width, work, hears=True) as ready:
        yield ready


async def main() -> None:
    await serve({"JAF": run, "JAF, events heard": heard}, ["jaf-py"], asyncio.to_thread)


if __name__ == "__main__":
    asyncio.run(main())
