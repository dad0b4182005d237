"""A run from a conversation to a conversation, as JAF's pages start it. One call of one model agent on the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from motet.agents.model import reasons
from motet.engine.engine import Engine
from motet.model.chat import ChatReply, ChatRequest, Role
from motet.model.chat import Message as ChatMessage
from motet.model.outcome import Failure, Outcome
from motet.model.plan import Group, Member
from motet.model.result import RunResult
from motet.patterns._host import run_here
from motet.patterns._jaf_agent import MAX_TURNS, Agent, Message, RunState, Scope
from motet.ports import ChatContext, Provider

GROUP: Final = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a run is made with."""

    agent_registry: Mapping[str, Agent]
    """Agents by name. It names who begins, and whom agents may hand over to; tools keep the agents that they were made of."""
    model_provider: Provider | None = None
    """Of agents without one of their own; None means the program's default."""
    max_turns: int = MAX_TURNS
    """Turns of the model in one conversation, those of `turn_count` included."""
    model_override: str = ""
    """The model of every agent; empty leaves it to them."""
    conversation_id: str = ""
    """The session that the run continues; empty means none. In an engine of its own nothing was said before."""
    default_tool_timeout: float | None = None
    """Seconds for one tool call, where the tool has no bound of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended."""

    status: Literal["completed", "error"]
    output: Any = None
    """Text, or what the agent's output type says; None without an answer."""
    error: Failure | None = None
    """Set if and only if `status` is `error`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """What `run` gives."""

    final_state: RunState
    """With what was said: the messages that the run began with, then its own."""
    outcome: RunOutcome
    result: RunResult | None = None
    """What the engine says of it: every turn and tool, times and cost. None when it had no turn left."""


async def run(initial_state: RunState, config: RunConfig, *, engine: Engine | None = None) -> FinishedRun:
    """Let the current agent answer the last message, which is the user's.

    It runs in the run that it is called from, else in `engine`, else in one that it opens. An agent that fails is an
    outcome, not an exception. Raises ValueError, naming the field, for what is wrong.
    """
    agent = config.agent_registry.get(initial_state.current_agent_name)
    if agent is None:
        known = ", ".join(sorted(config.agent_registry)) or "nobody"
        name = initial_state.current_agent_name
        raise ValueError(f"current_agent_name: nobody is named {name!r}; the registry knows {known}")
    if not initial_state.messages or initial_state.messages[-1].role != Role.USER:
        raise ValueError("messages: the last one must be the user's")
    turns = config.max_turns - initial_state.turn_count
    if turns < 1:
        failure = Failure(reasons.MAX_TURNS, f"all {config.max_turns} turns were taken before; give more")
        return FinishedRun(final_state=initial_state, outcome=RunOutcome(status="error", error=failure))
    scope = Scope(
        provider=config.model_provider,
        model=config.model_override,
        context=initial_state.context,
        trace_id=initial_state.trace_id,
        max_turns=config.max_turns,
        tool_timeout=config.default_tool_timeout,
        registry=config.agent_registry,
        before=initial_state.messages[:-1],
    )
    talk = _Talk(scope.before)
    made = agent.model_agent(scope, max_turns=turns, heard=talk.heard)
    group = Group(GROUP, [Member(made)], "first", preserve_session=bool(config.conversation_id))
    text = initial_state.messages[-1].content
    result = await run_here(group, text, engine=engine, session_id=config.conversation_id)
    return _finished(initial_state, result, talk.said())


def make_litellm_provider(base_url: str = "", api_key: str = "", *, name: str = "litellm", **options: Any) -> Provider:
    """A provider for a LiteLLM proxy, or any other server that speaks OpenAI's chat completions.

    Empty means what OPENAI_BASE_URL and OPENAI_API_KEY say. `options` are those of OpenAIProvider. Raises ValueError for
    an address that is none.
    """
    from motet.agents.model.providers.openai import OpenAIProvider  # noqa: PLC0415 - only for those who have such a server

    return OpenAIProvider(name, base_url=base_url or None, api_key=api_key or None, **options)


class _Talk:
    """The conversation of one run: adds what was said before it to each request, and remembers the last."""

    def __init__(self, before: Sequence[Message]) -> None:
        self._before = tuple(_to_chat(message) for message in before)
        self._known: int | None = None
        """Messages of the first request: what was said later is the run's own."""
        self._last: tuple[ChatMessage, ...] = ()
        self._reply: ChatReply | None = None

    def heard(self, provider: Provider) -> Provider:
        return _Heard(self, provider)

    def asks(self, request: ChatRequest) -> ChatRequest:
        if self._known is None:
            self._known = len(_spoken(request.messages))
        self._last, self._reply = request.messages, None
        system = [message for message in request.messages if message.role is Role.SYSTEM]
        return replace(request, messages=(*system, *self._before, *_spoken(request.messages)))

    def answers(self, reply: ChatReply) -> None:
        self._reply = reply

    def said(self) -> Sequence[Message]:
        """What the run said, oldest first."""
        own = [_from_chat(message) for message in _spoken(self._last)[self._known or 0 :]]
        if self._reply is not None:
            own.append(Message(Role.ASSISTANT.value, self._reply.text, tool_calls=self._reply.tool_calls))
        return own


class _Heard:
    """A provider whose requests and answers belong to a conversation."""

    def __init__(self, talk: _Talk, provider: Provider) -> None:
        self._talk = talk
        self._provider = provider

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def system(self) -> str:
        return self._provider.system

    async def chat(self, request: ChatRequest, context: ChatContext, /) -> ChatReply:
        reply = await self._provider.chat(self._talk.asks(request), context)
        self._talk.answers(reply)
        return reply

    async def aclose(self) -> None:
        await self._provider.aclose()


def _spoken(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    return [message for message in messages if message.role is not Role.SYSTEM]


def _to_chat(message: Message) -> ChatMessage:
    try:
        role = Role(message.role)
    except ValueError:
        raise ValueError(f"messages: {message.role!r} is no role; use {', '.join(Role)}") from None
    return ChatMessage(
        role=role, text=message.content, tool_calls=message.tool_calls, tool_call_id=message.tool_call_id
    )


def _from_chat(message: ChatMessage) -> Message:
    return Message(message.role.value, message.text, tool_calls=message.tool_calls, tool_call_id=message.tool_call_id)


def _finished(before: RunState, result: RunResult, said: Sequence[Message]) -> FinishedRun:
    answer: Outcome | None = next(iter(result.groups[0].outcomes), None)
    told: Mapping[str, Any] = {} if answer is None else answer.metadata
    failure = answer.failure if answer is not None and answer.failure is not None else result.failure
    turns = told.get("turns", (failure.details if failure is not None else {}).get("turns", 0))
    state = replace(
        before,
        messages=(*before.messages, *said),
        current_agent_name=told.get("agent", before.current_agent_name),
        turn_count=before.turn_count + turns,
    )
    if result.succeeded and result.output is not None:
        outcome = RunOutcome(status="completed", output=result.output.value)
    else:
        outcome = RunOutcome(status="error", error=failure)
    return FinishedRun(final_state=state, outcome=outcome, result=result)
