"""OxyGent's side: a ParallelAgent over N chat agents, and the summary that it always asks its model for. Records are kept
in memory and nothing is logged. Knows nothing of the other systems."""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from oxygent import MAS, Config  # type: ignore[import-not-found] # in an environment of its own
from oxygent.oxy import ChatAgent, MockLLM, ParallelAgent  # type: ignore[import-not-found] # as above
from oxygent.schemas import OxyResponse, OxyState  # type: ignore[import-not-found] # as above

from peers._worker import Ready, Work, serve


def combined(result: Any) -> int:
    """The model is asked to summarise; what it answers here is how many results it was given."""
    return int(result.output)


def answers_in(prompt: str) -> int:
    return sum(line.endswith(". ok") for line in prompt.splitlines())


@asynccontextmanager
async def run(width: int, work: Work) -> AsyncIterator[Ready]:
    async def answer(oxy_request: Any) -> Any:  # noqa: ARG001 - OxyGent's interface
        await asyncio.sleep(0)
        work.executions += 1
        return OxyResponse(state=OxyState.COMPLETED, output="ok")

    async def summarise(oxy_request: Any) -> str:
        await asyncio.sleep(0)
        return str(answers_in(oxy_request.arguments["messages"][-1]["content"]))

    names = [f"agent_{i}" for i in range(width)]
    space = [
        MockLLM(name="model", func_mock_process=summarise),
        *(ChatAgent(name=name, llm_model="model", func_execute=answer) for name in names),
        ParallelAgent(name="master", is_master=True, llm_model="model", permitted_tool_name_list=names),
    ]
    async with MAS(oxy_space=space) as mas:
        yield Ready(lambda: mas.chat_with_agent(payload={"query": "x"}), combined)


async def main() -> None:
    Config.set_module_config("storage", "es_engine", "MemoryEs")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # it writes where it stands
        await serve({"OxyGent": run}, ["oxygent"], asyncio.to_thread)
        os.chdir("/")


if __name__ == "__main__":
    asyncio.run(main())
