"""Agents, or functions, that are simply run together. One group on the engine."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from motet.agents.function import FunctionAgent
from motet.engine.engine import Engine
from motet.errors import RunFailed
from motet.model import reason
from motet.model.payload import Payload
from motet.model.plan import Group, Limits
from motet.model.result import GroupResult
from motet.patterns._host import is_list, run_here
from motet.ports import Agent

if TYPE_CHECKING:
    from motet.model.outcome import Outcome


class AgentAnswers(list[Any]):
    """What the agents that succeeded said, in declared order; JSON is decoded, also where it came as text."""

    def __init__(self, result: GroupResult) -> None:
        super().__init__(_decoded(outcome.output) for outcome in result.outcomes if outcome.output is not None)
        self.outcomes: Sequence[Outcome] = result.outcomes
        """Of all agents."""
        self.failures = {each.member: each.failure for each in result.outcomes if each.failure is not None}
        """By name, of those that have no answer."""


async def execute_agents_parallel(
    agents: Sequence[Agent | Callable[..., Any]],
    input: object = "",
    *,
    max_parallel: int | None = None,
    timeout: float | None = None,
    limits: Limits | None = None,
    engine: Engine | None = None,
) -> AgentAnswers:
    """Run agents, or functions, together on one input and return what those that succeeded said.

    `timeout` is in seconds, for all. Raises ValueError for what is no agent, and RunFailed, whose `result` has every
    outcome, when none succeeded.
    """
    if not is_list(agents):
        raise ValueError("agents: give a list of at least one agent")
    members = [_as_agent(agent, place) for place, agent in enumerate(agents)]
    group = Group("agents", members, "combine", timeout=timeout, max_parallel=max_parallel, limits=limits)
    result = await run_here(group, input, engine=engine)
    answers = AgentAnswers(result.groups[0])
    if not answers:
        failure = result.failure
        raise RunFailed(
            failure.message if failure is not None else "no agent succeeded",
            reason=failure.reason if failure is not None else reason.NO_SUCCESSFUL_RESULTS,
            result=result,
        )
    return answers


def _as_agent(agent: Agent | Callable[..., Any], place: int) -> Agent:
    if isinstance(agent, Agent):
        return agent
    if not callable(agent):
        raise ValueError(f"agents[{place}]: {type(agent).__name__} is neither an agent nor a function")  # noqa: TRY004 - as above
    name = getattr(agent.func if isinstance(agent, functools.partial) else agent, "__name__", "")
    return FunctionAgent(agent, name=name if name.isidentifier() else f"agent_{place + 1}")


def _decoded(output: Payload) -> Any:
    if output.kind == "text":
        try:
            found = json.loads(output.text)
        except ValueError:
            return output.text
        return found if isinstance(found, dict | list) else output.text
    return output.value
