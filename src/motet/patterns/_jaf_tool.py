"""Groups of agents as one tool, as JAF's pages make it. Its result is JSON text; which agents answer is the run's affair."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import trio

from motet.agents._card import checked
from motet.agents.model.tool import ArgumentsInvalid, Tool, checked_name
from motet.engine.engine import Engine
from motet.errors import AgentError, MotetError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.chat import ToolSpec
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.reason import GROUP_FAILED
from motet.model.usage import Usage
from motet.patterns._host import identity, run_here
from motet.patterns._jaf_agent import DEFAULT, Scope
from motet.patterns._jaf_groups import ParallelExecutionConfig, one_by_one
from motet.patterns._jaf_results import envelope, failed, may_fall_back
from motet.ports import Call

if TYPE_CHECKING:
    from motet.model.result import GroupResult, RunResult

_SCOPE: ContextVar[Scope | None] = ContextVar("motet_jaf_scope", default=None)
"""Of the agent that calls the tool now; None when a program calls it itself."""
_ONE_CALL: Final = Usage(calls=1)


@dataclass(frozen=True, slots=True)
class AgentToolInput:
    """What such a tool takes."""

    input: str
    """What the agents work on."""


Execute = Callable[..., Awaitable[Any]]
"""Called with an AgentToolInput and the run's context."""


class ParallelTool:
    """Groups of agents as a tool. Agents of this module and model agents take it under `tools`; a program may await
    `execute(AgentToolInput(...), context)` itself, inside an engine or without one.

    `execute` may be replaced by a function of the same arguments: agents call what is there. It returns JSON text. Called
    by an agent, a run in which no group has an answer fails the tool's call, and the model reads the same JSON; called by
    a program, the JSON says so.
    """

    def __init__(
        self, config: ParallelExecutionConfig, name: str, description: str = "", *, engine: Engine | None = None
    ) -> None:
        self.config = config
        self.name = checked_name(name)
        self.description = description
        self.engine = engine
        """Where a call of the program's runs that no agent makes; None opens one for the call."""
        self.execute: Execute = self._execute

    def __repr__(self) -> str:
        return f"<ParallelTool {self.name} of {', '.join(self.config.named())}>"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input."""
        config = self.config
        return {
            "mode": config.inter_group_execution,
            "times": [config.global_timeout, *(group.timeout for group in config.groups)],
            "groups": {
                name: {
                    "rule": group.result_aggregation,
                    "aggregator": group.custom_aggregator and identity(group.custom_aggregator),
                    "shared_input": group.shared_input,
                    "agents": [
                        {
                            "name": agent.info.name,
                            "version": agent.info.version,
                            "own": getattr(agent, "settings", None),
                        }
                        for agent in group.agents
                    ],
                }
                for name, group in config.named().items()
            },
        }

    def bound(self, scope: Scope) -> Tool:
        """The tool that it is in one run."""
        return Tool(
            spec=ToolSpec(name=self.name, description=self.description, parameters=self._parameters()),
            agent=_Asked(self, scope),
            check=self._check,
            present=self._present,
        )

    async def tools(self, _call: Call, /) -> Sequence[Tool]:
        """The one tool, for a model agent."""
        await trio.lowlevel.checkpoint()
        return (self.bound(DEFAULT),)

    async def aclose(self) -> None:
        """Release what the agents hold."""
        agents = {id(agent): agent for group in self.config.groups for agent in group.agents}
        for agent in agents.values():
            close = getattr(agent, "aclose", None)
            if close is not None:
                await close()

    # ---------------------------------------------------------------------------------------------------------- running

    async def _execute(self, args: AgentToolInput | Mapping[str, str] | str, context: object = None) -> str:
        """Run the groups. Raises ValueError for arguments that are none."""
        scope, text = _SCOPE.get(), _input_of(args)
        config = self.config
        try:
            # The agents' tasks take the context along, and what a program does in them is its own affair.
            with _in_scope(None):
                result, fell_back = await self._run(scope or replace(DEFAULT, context=context), text)
        except MotetError as error:
            if scope is not None:
                raise
            return _json(failed(config, error.message))
        if scope is not None and not any(group.aggregate is not None for group in (*result.groups, *fell_back)):
            failure = result.failure
            message = failure.message if failure is not None else f"no group of {self.name} has an answer"
            raise AgentError(message, reason=GROUP_FAILED)
        return _json(envelope(config, result.groups, fell_back))

    async def _run(self, scope: Scope, text: str) -> "tuple[RunResult, Sequence[GroupResult]]":
        config = self.config
        plan = config.plan(scope, text)
        begun = trio.current_time()
        result = await run_here(plan, text, engine=self.engine)
        again = [group.name for group in result.groups if may_fall_back(group)] if config.fallback_to_auto else []
        if not again:
            return result, ()
        left = config.global_timeout
        left = None if left is None else max(0.0, left - (trio.current_time() - begun))
        plan = one_by_one(plan, again, left)
        second = await run_here(plan, text, engine=self.engine)
        return result, second.groups

    # ------------------------------------------------------------------------------------------------ what a model sees

    def _parameters(self) -> Mapping[str, Any]:
        said = "What the agents are to work on."
        own = [name for group in self.config.groups if not group.shared_input for name in group.names()]
        if own:
            said += f" To give agents inputs of their own, write a JSON object from names to texts: {', '.join(own)}."
        return {
            "type": "object",
            "properties": {"input": {"type": "string", "description": said}},
            "required": ["input"],
            "additionalProperties": False,
        }

    def _check(self, arguments: Mapping[str, Any], /) -> Mapping[str, Any]:
        if arguments.keys() != {"input"} or not isinstance(arguments["input"], str):
            message = f'the arguments of {self.name} must be {{"input": "..."}}, a text and nothing else'
            raise ArgumentsInvalid(message)
        return arguments

    def _present(self, outcome: Outcome) -> str:
        if outcome.output is not None:
            return outcome.output.text
        message = outcome.failure.message if outcome.failure is not None else "it has no answer"
        return _json(failed(self.config, message, outcome.nested))


class _Asked:
    """The agent of such a tool, in one run."""

    def __init__(self, tool: ParallelTool, scope: Scope) -> None:
        self._tool = tool
        self._scope = scope
        self._info = checked(
            AgentInfo(name=tool.name, kind=AgentKind.GROUP, description=tool.description, composite=True)
        )

    @property
    def info(self) -> AgentInfo:
        return self._info

    @property
    def settings(self) -> Mapping[str, Any]:
        return self._tool.settings

    async def aclose(self) -> None:
        await self._tool.aclose()

    async def call(self, call: Call, /) -> Reply:
        call.spend(_ONE_CALL)
        with _in_scope(self._scope):
            said = await self._tool.execute(AgentToolInput(call.value["input"]), self._scope.context)
        return Reply(Payload.of(said), usage=_ONE_CALL)


@contextmanager
def _in_scope(scope: Scope | None) -> Iterator[None]:
    token = _SCOPE.set(scope)
    try:
        yield
    finally:
        _SCOPE.reset(token)


def _input_of(args: object) -> str:
    given = args.get("input") if isinstance(args, Mapping) else getattr(args, "input", args)
    if not isinstance(given, str):
        raise ValueError("args: give AgentToolInput(input=...) with a text")  # noqa: TRY004 - wrong input is one kind of error
    return given


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
