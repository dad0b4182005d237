"""The tool calls of one turn: which are run, together and by the engine, and what the model is told of each. Knows no model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from motet.agents.model import handoffs as _handoffs
from motet.agents.model.tool import ArgumentsInvalid, Tool, ToolStatus
from motet.agents.model.tool_calls import invalid, prepare, told, unknown
from motet.agents.model.turns import Told, first_handoff
from motet.model.agent import AgentInfo, Reply
from motet.model.chat import ToolCall
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group, Member
from motet.ports import Agent, Call

if TYPE_CHECKING:
    from motet.agents.model.agent import ModelAgent
    from motet.agents.model.loop import Loop

TOOL_NOT_FOUND: Final = "TOOL_NOT_FOUND"
VALIDATION_ERROR: Final = "VALIDATION_ERROR"
"""Why calls that never started have no result."""


@dataclass(frozen=True, slots=True)
class Round:
    """What is to be done with the tool calls of one turn."""

    calls: tuple[ToolCall, ...]
    refused: Mapping[int, Told]
    """Those that are not run, by place."""
    ready: Mapping[int, tuple[Tool, Payload]]
    """Those that are, with their arguments, by place."""
    handoff: int | None = None
    """Place of the call that hands over."""
    target: "ModelAgent | None" = None
    """To whom."""


def plan(calls: Sequence[ToolCall], tools: Mapping[str, Tool], handoffs: "Mapping[str, ModelAgent]") -> Round:
    """Look at every call before any is made."""
    handoff = first_handoff(calls, handoffs)
    target = None if handoff is None else handoffs[calls[handoff].name]
    refused: dict[int, Told] = {}
    ready: dict[int, tuple[Tool, Payload]] = {}
    for place, call in enumerate(calls):
        if place == handoff:
            continue
        if target is not None and call.name in handoffs:
            refused[place] = _handoffs.refused(call, target.info.name)
        elif call.name not in tools:
            text = unknown(call.name, [*tools.values()])
            refused[place] = Told(call, text, ToolStatus.TOOL_NOT_FOUND, TOOL_NOT_FOUND)
        else:
            tool = tools[call.name]
            try:
                ready[place] = tool, prepare(tool, call.arguments)
            except ArgumentsInvalid as error:
                refused[place] = Told(call, invalid(error), ToolStatus.VALIDATION_ERROR, VALIDATION_ERROR)
    return Round(tuple(calls), refused, ready, handoff, target)


async def run(loop: "Loop", todo: Round) -> list[Told]:
    """Run those that are ready, all together, and say of each call what the model is told, in the order of the calls.

    How each ended is reported on the agent's call as it ends. Raises AgentError when a budget or quota is used up.
    """
    reported = _Reports(loop.call)
    for refused in todo.refused.values():
        reported.tell(refused.call, refused.status)
    done = dict(todo.refused)
    if todo.ready:
        options = loop.agent
        members = [
            Member(
                _Watched(tool.agent, todo.calls[place], reported),
                name=name,
                input=arguments,
                timeout=options.tool_timeout if tool.timeout is None else tool.timeout,
            )
            for name, (place, (tool, arguments)) in zip(_names(todo), todo.ready.items(), strict=True)
        ]
        group = Group(
            f"tools_{loop.talk.turn}",
            members,
            Aggregation("combine", early_stop=False),
            max_parallel=options.max_parallel_tools,
            limits=loop.allowance.left(),
        )
        outcomes = await loop.ask(group)
        for outcome, (place, (tool, _)) in zip(outcomes, todo.ready.items(), strict=True):
            status, text = told(tool, outcome)
            failure = outcome.failure
            done[place] = Told(todo.calls[place], text, status, "" if failure is None else failure.reason)
            reported.tell(todo.calls[place], status)
    if todo.handoff is not None and todo.target is not None:
        call, name = todo.calls[todo.handoff], todo.target.info.name
        loop.call.report({"handoff": name, "call_id": call.id})
        done[todo.handoff] = _handoffs.handed(call, name)
    return [done[place] for place in range(len(todo.calls))]


def _names(todo: Round) -> list[str]:
    """The tools' own, numbered where one is called more than once."""
    names: dict[str, None] = {}
    numbers: Counter[str] = Counter()
    for place in todo.ready:
        own = name = todo.calls[place].name
        while name in names:
            numbers[own] += 1
            name = f"{own}_{numbers[own] + 1}"
        names[name] = None
    return list(names)


class _Reports:
    """Tells watchers of the agent's call how its tool calls end, each once."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._told: set[str] = set()

    def tell(self, call: ToolCall, status: ToolStatus) -> None:
        if call.id not in self._told:
            self._told.add(call.id)
            self._call.report({"tool": call.name, "call_id": call.id, "status": status.value})


class _Watched:
    """A tool's agent that tells how it ends when it does: the group tells only once all its members have."""

    def __init__(self, agent: Agent, call: ToolCall, reports: _Reports) -> None:
        self._agent = agent
        self._call = call
        self._reports = reports

    @property
    def info(self) -> AgentInfo:
        return self._agent.info

    @property
    def settings(self) -> object:
        """The agent's own."""
        return getattr(self._agent, "settings", None)

    async def call(self, call: Call, /) -> Reply:
        try:
            reply = await self._agent.call(call)
        except trio.Cancelled:
            if trio.current_time() >= call.deadline:
                self._reports.tell(self._call, ToolStatus.TIMED_OUT)
            raise
        except Exception:
            self._reports.tell(self._call, ToolStatus.FAILED)
            raise
        self._reports.tell(self._call, ToolStatus.EXECUTED)
        return reply
