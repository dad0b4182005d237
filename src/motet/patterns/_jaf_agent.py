"""Agents as JAF's pages write them: a name, instructions made of the run's state, tools. Each becomes a ModelAgent when it is
needed. Knows no groups and no tools of groups but that some tools are made anew for each run."""

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable
from uuid import uuid4

from motet.agents.model import defaults
from motet.agents.model.agent import ModelAgent
from motet.agents.model.as_tool import as_tool
from motet.agents.model.history import History, messages_of
from motet.agents.model.instructions import ModelState
from motet.agents.model.tool import Tool
from motet.errors import AgentError
from motet.model.agent import AgentInfo, Reply
from motet.model.chat import ToolCall
from motet.patterns._host import identity
from motet.ports import Call, Provider

MAX_TURNS: Final = 50
"""Of one run, where neither the agent nor the run's configuration says otherwise: JAF's own default."""


def generate_run_id() -> str:
    """A new id for a run."""
    return f"run_{uuid4().hex}"


def generate_trace_id() -> str:
    """A new id for a trace."""
    return f"trace_{uuid4().hex}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    """`user`, `assistant`, `tool` or `system`."""
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's message."""
    tool_call_id: str = ""
    """Of a tool's message: the call that it answers."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands. Instructions that are functions get one, made for the turn that is about to be taken."""

    run_id: str
    trace_id: str
    messages: Sequence[Message]
    """Oldest first, without instructions. Those that instructions see end with what the user said last."""
    current_agent_name: str
    context: Any = None
    """The program's own, handed to instructions and tools as it is."""
    turn_count: int = 0
    """Turns that the model has had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the agents of one run have in common."""

    provider: Provider | None = None
    """Of agents without one of their own; None means the program's default."""
    model: str = ""
    """Of every agent; empty leaves it to them."""
    context: Any = None
    trace_id: str = ""
    max_turns: int = MAX_TURNS
    """Of agents that set no bound of their own."""
    tool_timeout: float | None = None
    """Seconds for one tool call, where the tool has no bound of its own."""
    registry: "Mapping[str, Agent]" = field(default_factory=dict)
    """Agents that others may hand over to by name."""
    before: Sequence[Message] = ()
    """What was said in the conversation before the run: agents that its agents call know nothing of it."""


DEFAULT: Final = Scope()

Heard: TypeAlias = Callable[[Provider], Provider]
"""Puts something between an agent and its provider."""

Instructions: TypeAlias = str | Callable[[RunState], str | Awaitable[str]]
"""A str is literal text."""


@runtime_checkable
class Bound(Protocol):
    """A tool that is made anew for each run."""

    def bound(self, scope: Scope) -> Tool: ...


@dataclass(frozen=True, eq=False)
class Agent:
    """An agent with instructions and tools. It is an agent of Motet too: groups take it as a member.

    A function as instructions is called with the RunState before each turn; it may be async. Tools are whatever a model
    agent takes, and tools made by the functions of this module. Raises ValueError when it is first used with an option
    that is wrong.
    """

    name: str
    instructions: Instructions = ""
    tools: Sequence[Any] = ()
    model: str = ""
    """Empty means that of the run, else the program's default."""
    provider: Provider | None = None
    """None means that of the run, else the program's default."""
    handoffs: "Sequence[Agent | str]" = ()
    """Agents, or names in the run's registry, that it may hand the conversation to."""
    output_type: Any = None
    """A type, or a JSON Schema, that its answers follow."""
    max_turns: int | None = None
    """Turns of the model in one call; None means the run's."""
    history: History = "own"
    """What it is told of a session that it shares."""
    description: str = ""

    @cached_property
    def _alone(self) -> ModelAgent:
        return self.model_agent(DEFAULT)

    @property
    def info(self) -> AgentInfo:
        return self._alone.info

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return self._alone.settings

    async def call(self, call: Call, /) -> Reply:
        return await self._alone.call(call)

    async def aclose(self) -> None:
        """Release what its provider and tools hold."""
        await self._alone.aclose()

    def model_agent(self, scope: Scope, *, max_turns: int | None = None, heard: Heard | None = None) -> ModelAgent:
        """The model agent that it is in one run; `heard` stands between it, and those it hands over to, and their providers.

        Raises ValueError for an option that is wrong, and for a handoff to nobody.
        """
        made: dict[int, ModelAgent] = {}
        return self._made(scope, made, max_turns, heard)

    def _made(
        self, scope: Scope, made: dict[int, ModelAgent], max_turns: int | None, heard: Heard | None
    ) -> ModelAgent:
        if id(self) in made:
            return made[id(self)]
        provider, model = chosen(self, scope)
        if heard is not None:
            provider, model = _known(provider, model)
            provider = None if provider is None else heard(provider)

        before = () if heard is None else scope.before

        def instructions(state: ModelState) -> str | Awaitable[str]:
            return (
                self.instructions
                if isinstance(self.instructions, str)
                else self.instructions(_state(state, scope, before))
            )

        # Answers that are given again depend on the function, not on where it is called from here.
        instructions.__module__, _, instructions.__qualname__ = identity(self.instructions).partition(":")
        agent = ModelAgent(
            self.name,
            instructions=self.instructions if isinstance(self.instructions, str) else instructions,
            model=model,
            provider=provider,
            tools=[_tool(each, scope) for each in self.tools],
            output_type=self.output_type,
            max_turns=max_turns or self.max_turns or scope.max_turns,
            tool_timeout=scope.tool_timeout,
            history=self.history,
            description=self.description,
        )
        made[id(self)] = agent
        agent.add_handoffs(*(self._target(each, scope)._made(scope, made, None, heard) for each in self.handoffs))  # noqa: SLF001 - its own kind
        return agent

    def _target(self, handoff: "Agent | str", scope: Scope) -> "Agent":
        if isinstance(handoff, Agent):
            return handoff
        if handoff not in scope.registry:
            known = ", ".join(sorted(scope.registry)) or "nobody"
            raise ValueError(f"agent {self.name!r}: handoffs: nobody is named {handoff!r}; the registry knows {known}")
        return scope.registry[handoff]


def chosen(agent: Agent, scope: Scope) -> tuple[Provider | None, str]:
    """Who answers for an agent. Raises ValueError when there is a provider and no model for it."""
    provider = agent.provider or scope.provider
    model = scope.model or agent.model
    if provider is None or model:
        return provider, model
    variable = defaults.MODEL_VARIABLE
    try:
        named = defaults.default().model
    except AgentError:
        # There may be a model all the same: only the provider is not needed here.
        named = os.environ.get(variable, "")
    if not named:
        raise ValueError(
            f"agent {agent.name!r}: model: is empty; name one there, in RunConfig(model_override=...), or in {variable}"
        )
    return provider, named


def _known(provider: Provider | None, model: str) -> tuple[Provider | None, str]:
    """The program's default in place of None, where there is one."""
    if provider is not None:
        return provider, model
    try:
        found = defaults.default(model)
    except AgentError:
        return None, model
    return found.provider, found.model


def _tool(tool: Any, scope: Scope) -> Any:
    if isinstance(tool, Agent):
        return as_tool(tool.model_agent(scope))
    # Not by `isinstance` alone: a class is no tool.
    return tool.bound(scope) if isinstance(tool, Bound) and not inspect.isclass(tool) else tool


def _state(state: ModelState, scope: Scope, before: Sequence[Message]) -> RunState:
    past = [Message(each.role.value, each.text) for each in messages_of(state.history, "own", state.member)]
    return RunState(
        run_id=state.run_id,
        trace_id=scope.trace_id or state.run_id,
        messages=(*before, *past, Message("user", state.text)),
        current_agent_name=state.agent,
        context=scope.context,
        turn_count=state.turn - 1,
    )
