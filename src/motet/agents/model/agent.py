"""A language model with instructions and tools as an agent: its options and its card. How it works is in `loop`."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from motet.agents._card import checked, place_of
from motet.agents.model import defaults
from motet.agents.model.chat_agent import provider_settings
from motet.agents.model.choice import ModelChoice
from motet.agents.model.guardrails import Guardrail
from motet.agents.model.handoffs import handoffs_of
from motet.agents.model.history import History
from motet.agents.model.instructions import Instructions, Template
from motet.agents.model.limits import unfit
from motet.agents.model.loop import Loop
from motet.agents.model.output import OutputType
from motet.agents.model.tool import Tool, ToolSource
from motet.agents.model.tool_of import tools_of
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.chat import Sampling
from motet.model.checks import limits_problems, retry_problems
from motet.model.plan import Limits, RetryPolicy
from motet.model.rate import Breaker, Rate
from motet.ports import Agent, Call, Provider

# The SDKs of both providers begin with half a second and double it up to 8 s, with two more attempts.
RETRY: Final = RetryPolicy(max_attempts=3, initial_backoff=0.5, max_backoff=8.0)
"""Of each turn: what the provider calls passing is tried again, and its Retry-After is waited for."""


class ModelAgent:
    """A language model that answers a call turn by turn, with tools that it may call in between.

    Its input is what the user says, JSON as its text. Its output is the model's text, or the JSON of `output_type`; its
    metadata tell `turns`, `model`, `provider`, `agent` (who answered, after handoffs), `handoffs`, `tools` (what became of
    each call) and `finish`.

    Every request to a model is a member of a group `turn_1`, `turn_2`, ..., the tool calls of a turn are the members of one
    group `tools_1`, ...: all of them run inside the call, under the run's deadline, widths and budgets. The agent itself
    pays nothing but the call.

    instructions: literal text, a `Template`, or a function of the `ModelState`, sync or async, made anew for each turn.
    model, provider: who answers; without a provider the program's default, see `defaults`.
    tools: tools, servers of tools, agents, or functions, which become tools.
    output_type: a pydantic model, any other annotation, or a JSON Schema as a mapping. An answer that does not follow it is
        asked for once more with what is wrong, as is an empty one; that turn is granted beyond `max_turns`. Then the call fails with OUTPUT_MISMATCH.
    max_turns: turns of the model in one call, at least 1, those of agents that it hands to included. When the model wants
        tools in the last, none is run and the call fails with MAX_TURNS.
    sampling: how the model writes. A `tool_choice` that makes it call a tool holds until it has called one.
    input_guardrails: judge the input beside the first turn; a trip cancels the turn, and no tool starts before all have
        passed. After a handoff they are not asked again.
    output_guardrails: judge the text of the answer; those of the agent that answers.
    handoffs: agents that the model may hand the conversation to, each offered as a tool `transfer_to_NAME`; nobody else.
        Its other tools of that turn are run first; of several handoffs the first counts.
    fallbacks: models that answer a turn which the one before cannot, see `choice.FALLBACK_REASONS`, and all turns after it.
    limits: of one call, over all its turns and tools: cost, tokens, calls, duration, depth, `on_breach`, `skip_infeasible`.
        An agent that is handed to brings its own, which hold too. What agents as guardrails use is not counted here.
    retry: of each turn; None makes each request once.
    turn_timeout: seconds for each turn, its attempts included. tool_timeout: for each tool call, where the tool has none.
    max_parallel_tools: most tools of one turn that run at once.
    stream: the answer comes piece by piece, and is reported so.
    history: what the model is told of the session: what this member said (`own`), all that was said (`all`), or `none`.

    What is not named here goes on the card as it is: `AgentInfo` says what it means. Raises ValueError naming the option.
    """

    def __init__(
        self,
        name: str,
        *,
        instructions: Instructions = "",
        model: str = "",
        provider: Provider | None = None,
        tools: "Sequence[Tool | ToolSource | Agent | Callable[..., Any]]" = (),
        output_type: Any = None,
        max_turns: int = 10,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        input_guardrails: Sequence[Guardrail] = (),
        output_guardrails: Sequence[Guardrail] = (),
        handoffs: "Sequence[ModelAgent]" = (),
        fallbacks: Sequence[ModelChoice] = (),
        limits: Limits | None = None,
        retry: RetryPolicy | None = RETRY,
        turn_timeout: float | None = None,
        tool_timeout: float | None = None,
        max_parallel_tools: int | None = None,
        stream: bool = True,
        history: History = "own",
        description: str = "",
        version: str = "",
        timeout: float | None = None,
        replay_safe: bool | None = None,
        labels: Mapping[str, str] | None = None,
        max_parallel: int | None = None,
        rate: Rate | None = None,
        weight: float = 1.0,
        breaker: Breaker | None = None,
    ) -> None:
        self.instructions = instructions
        self.choices = (ModelChoice(provider, model), *fallbacks)
        """Who answers, the preferred first."""
        self.tools = tools_of(tools)
        self.output = None if output_type is None else OutputType.of(output_type)
        self.max_turns = max_turns
        self.sampling = sampling
        self.input_guardrails = tuple(input_guardrails)
        self.output_guardrails = tuple(output_guardrails)
        self.limits = limits
        self.retry = retry
        self.turn_timeout = turn_timeout
        self.tool_timeout = tool_timeout
        self.max_parallel_tools = max_parallel_tools
        self.stream = stream
        self.history = history
        problems = list(self._problems())
        if problems:
            raise ValueError(f"model agent {name!r}: {'; '.join(problems)}")
        self._closing = False
        self.handoffs: dict[str, ModelAgent] = {}
        """By the names of the tools that hand to them."""
        self.add_handoffs(*handoffs)
        self._info = checked(
            AgentInfo(
                name=name,
                kind=AgentKind.MODEL,
                description=description,
                version=version,
                timeout=timeout,
                replay_safe=replay_safe,
                labels=dict(labels or {}),
                max_parallel=max_parallel,
                rate=rate,
                weight=weight,
                breaker=breaker,
                composite=True,
            )
        )

    def __repr__(self) -> str:
        return f"<ModelAgent {self._info.name}>"

    @property
    def info(self) -> AgentInfo:
        return self._info

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return self._settings(())

    def add_handoffs(self, *agents: "ModelAgent") -> None:
        """Let it hand to these too: for agents that hand to each other. Before it is first called. Raises ValueError."""
        names = [tool.spec.name for tool in self.tools if isinstance(tool, Tool)]
        self.handoffs = handoffs_of([*self.handoffs.values(), *agents], names)

    async def call(self, call: Call, /) -> Reply:
        return await Loop(self, call).run()

    async def aclose(self) -> None:
        """Release what its providers and tools hold. Those that others use too may be used on: they begin anew."""
        if self._closing:
            # An agent that it may hand to has it as a tool.
            return
        self._closing = True
        try:
            await self._close()
        finally:
            self._closing = False

    async def _close(self) -> None:
        closers = [close for thing in self._held({}) if (close := getattr(thing, "aclose", None)) is not None]
        if any(choice.provider is None for choice in self.choices):
            closers.append(defaults.aclose)
        failures: list[Exception] = []
        for close in closers:
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - one that cannot be closed must not keep the others open
                failures.append(error)
        if failures:
            raise failures[0]

    # ------------------------------------------------------------------------------------------------------------- inner

    def _held(self, seen: "dict[int, object]") -> Iterator[object]:
        """Everything that may hold resources, each once, handoffs' included."""
        if id(self) in seen:
            return
        seen[id(self)] = self
        tools = [tool.agent if isinstance(tool, Tool) else tool for tool in self.tools]
        judges = [getattr(each, "agent", None) for each in (*self.input_guardrails, *self.output_guardrails)]
        for thing in (*(choice.provider for choice in self.choices), *tools, *judges):
            if thing is not None and id(thing) not in seen:
                seen[id(thing)] = thing
                yield thing
        for agent in self.handoffs.values():
            yield from agent._held(seen)  # noqa: SLF001 - its own kind

    def _settings(self, above: "tuple[ModelAgent, ...]") -> dict[str, Any]:
        inner = (*above, self)
        return {
            "instructions": _text_of(self.instructions),
            "choices": [_choice_settings(choice) for choice in self.choices],
            "tools": [_tool_settings(tool) for tool in self.tools],
            "output": None if self.output is None else self.output.schema,
            "max_turns": self.max_turns,
            "sampling": self.sampling,
            "input_guardrails": [_guardrail_settings(each) for each in self.input_guardrails],
            "output_guardrails": [_guardrail_settings(each) for each in self.output_guardrails],
            "history": self.history,
            "handoffs": {
                name: agent.info.name if agent in inner else {**agent._settings(inner), "version": agent.info.version}  # noqa: SLF001 - its own kind
                for name, agent in self.handoffs.items()
            },
        }

    def _problems(self) -> Iterator[str]:
        for place, choice in enumerate(self.choices):
            if choice.provider is not None and not choice.model:
                where = f"fallbacks[{place - 1}]" if place else "model"
                yield f"{where}: is empty; name the model that {choice.provider.name!r} is to answer with"
        if not isinstance(self.max_turns, int) or isinstance(self.max_turns, bool) or self.max_turns < 1:
            yield f"max_turns: must be a whole number, 1 or more, not {self.max_turns!r}"
        if self.max_parallel_tools is not None and self.max_parallel_tools < 1:
            yield "max_parallel_tools: must be 1 or more; leave it out for no bound"
        for option in ("turn_timeout", "tool_timeout"):
            seconds = getattr(self, option)
            if seconds is not None and not (seconds >= 0 and math.isfinite(seconds)):
                yield f"{option}: must be a finite number of seconds, 0 or more; leave it out for no bound"
        if self.history not in get_args(History):
            yield f"history: must be one of {', '.join(get_args(History))}, not {self.history!r}"
        yield from (f"limits.{field}: {message}" for field, message in limits_problems(self.limits))
        if wrong := unfit(self.limits):
            yield f"limits.{wrong}: is for groups; a model agent is told of tools that failed, and goes on"
        yield from (f"retry.{field}: {message}" for field, message in retry_problems(self.retry))


def _text_of(instructions: Instructions) -> object:
    if isinstance(instructions, str):
        return instructions
    if isinstance(instructions, Template):
        return {"template": instructions.text, "syntax": instructions.syntax}
    return place_of(instructions)


def _choice_settings(choice: ModelChoice) -> dict[str, Any]:
    provider = choice.provider
    named = None if provider is None else provider_settings(provider)
    return {"provider": named, "model": choice.model, "sampling": choice.sampling}


def _tool_settings(tool: Tool | ToolSource) -> dict[str, Any]:
    if not isinstance(tool, Tool):
        return {"source": place_of(tool), "own": getattr(tool, "settings", None)}
    own = getattr(tool.agent, "settings", None)
    info = tool.agent.info
    return {"spec": tool.spec, "agent": info.name, "version": info.version, "own": own}


def _guardrail_settings(guardrail: Guardrail) -> dict[str, Any]:
    agent: Agent | None = getattr(guardrail, "agent", None)
    if agent is None:
        return {"function": place_of(guardrail.fn)}
    return {"agent": agent.info.name, "version": agent.info.version, "own": getattr(agent, "settings", None)}
