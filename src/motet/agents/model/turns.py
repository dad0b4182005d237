"""What a model agent does next, from what the model said and what became of its tool calls. Pure decisions over frozen
state: nothing here waits, calls anything or knows how tools are run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

from motet.agents.model import reasons
from motet.agents.model.tool import ToolStatus
from motet.model import reason
from motet.model.chat import ChatReply, Finish, Message, Role, Sampling, ToolCall
from motet.model.outcome import Outcome
from motet.model.state import State

EMPTY_ANSWER: Final = "Your last answer was empty. Give your answer now."

_EXHAUSTED: Final = frozenset({reason.BUDGET_EXCEEDED, reason.QUOTA_EXCEEDED})
_NEVER_RAN: Final = frozenset({State.SKIPPED, State.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """What became of one tool call, for the reply's metadata."""

    tool: str
    call_id: str
    turn: int
    status: ToolStatus
    reason: str = ""
    """Why it has no result; empty when it has one."""

    def value(self) -> dict[str, Any]:
        """As JSON."""
        said = {"tool": self.tool, "call_id": self.call_id, "turn": self.turn, "status": self.status.value}
        return {**said, "reason": self.reason} if self.reason else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Where a call of a model agent stands."""

    messages: tuple[Message, ...]
    """Without the instructions, which are those of the agent whose turn it is."""
    max_turns: int
    turn: int = 0
    """Turns that the model has had, handoffs included."""
    asked_again: bool = False
    """The agent whose turn it is was asked once more for an answer that can be used."""
    called: bool = False
    """The agent whose turn it is has called tools."""
    text: str = ""
    """What the model said last beside calling tools."""
    uses: tuple[ToolUse, ...] = ()
    handoffs: tuple[str, ...] = ()
    """Names of the agents that it was handed to, in order."""


class Kind(StrEnum):
    """What a tool call asks for."""

    TOOL = "tool"
    HANDOFF = "handoff"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answered:
    """The model gave its answer."""

    text: str


@dataclass(frozen=True, slots=True)
class WantsTools:
    """The model wants tools called, or to hand over."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class AskAgain:
    """What it said cannot be used: tell it so, once."""

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Ended:
    """There is no answer."""

    reason: str
    message: str


Step: TypeAlias = Answered | WantsTools | AskAgain | Ended


@dataclass(frozen=True, slots=True)
class Told:
    """What the model is told of one of its tool calls."""

    call: ToolCall
    text: str
    status: ToolStatus
    reason: str = ""
    """Why it has no result; empty when it has one."""
    handoff: bool = False
    """The call handed the conversation over: not a tool."""


def begun(conversation: Conversation, reply: ChatReply) -> Conversation:
    """After a turn in which the model said this."""
    return replace(conversation, turn=conversation.turn + 1, text=reply.text or conversation.text)


def step(conversation: Conversation, reply: ChatReply) -> Step:
    """What follows a reply; `conversation` has it counted. A cut or refused answer is none, whatever else it holds."""
    unusable = _unusable(reply)
    if unusable is not None:
        return unusable
    if reply.tool_calls:
        if conversation.turn >= conversation.max_turns:
            message = f"the model still wants tools after {conversation.turn} turns; raise max_turns or ask for less"
            return Ended(reasons.MAX_TURNS, message)
        return WantsTools(reply.tool_calls)
    if not reply.text.strip():
        if conversation.asked_again:
            return Ended(reasons.OUTPUT_MISMATCH, "the model gave no answer, also after it was asked once more")
        return AskAgain(again(conversation, reply, EMPTY_ANSWER))
    return Answered(reply.text)


def _unusable(reply: ChatReply) -> Ended | None:
    if reply.finish is Finish.REFUSED:
        said = f": {reply.text[:200]}" if reply.text else ""
        return Ended(reasons.CONTENT_REFUSED, f"the model, or its provider's filter, would not answer{said}")
    if reply.finish is Finish.LENGTH:
        message = "the answer reached the most tokens that it may have; raise max_output_tokens or ask for less"
        return Ended(reasons.OUTPUT_TRUNCATED, message)
    return None


def again(conversation: Conversation, reply: ChatReply, prompt: str) -> Conversation:
    """The model is asked once more. That turn is granted also where max_turns is reached."""
    said = (Message(role=Role.ASSISTANT, text=reply.text),) if reply.text.strip() else ()
    asked = (*conversation.messages, *said, Message(role=Role.USER, text=prompt))
    return replace(conversation, messages=asked, asked_again=True)


def with_ids(conversation: Conversation, reply: ChatReply) -> ChatReply:
    """The reply with each tool call named, other than any before it: servers exist that name none, or name them alike in
    each turn, and others that then refuse the conversation."""
    count = Counter(call.id for call in reply.tool_calls)
    taken = {call.id for message in conversation.messages for call in message.tool_calls}
    if all(call.id and count[call.id] == 1 and call.id not in taken for call in reply.tool_calls):
        return reply
    calls = (replace(call, id=f"call_{conversation.turn}_{number}") for number, call in enumerate(reply.tool_calls, 1))
    return replace(reply, tool_calls=tuple(calls))


def sampling_of(conversation: Conversation, sampling: Sampling, *, tools: bool) -> Sampling:
    """How the next turn is written. A tool that the model is made to call, it is made to call once: else it could never
    answer. Without tools there is no choice of them, which services refuse."""
    if not sampling.tool_choice or (tools and not conversation.called):
        return sampling
    if tools and sampling.tool_choice in {"auto", "none"}:
        return sampling
    return replace(sampling, tool_choice="")


def first_handoff(calls: Sequence[ToolCall], handoffs: Mapping[str, object]) -> int | None:
    """The place of the call that hands over: of several the first counts."""
    return next((place for place, call in enumerate(calls) if call.name in handoffs), None)


def fed_back(conversation: Conversation, reply: ChatReply, told: Sequence[Told], handed_to: str = "") -> Conversation:
    """After the tool calls of a turn, their results in the order of the calls; `handed_to` names the agent that goes on."""
    said = Message(role=Role.ASSISTANT, text=reply.text, tool_calls=reply.tool_calls)
    results = tuple(
        Message(
            role=Role.TOOL, text=each.text, tool_call_id=each.call.id, failed=each.status is not ToolStatus.EXECUTED
        )
        for each in told
    )
    uses = tuple(
        ToolUse(
            tool=each.call.name,
            call_id=each.call.id,
            turn=conversation.turn,
            status=each.status,
            reason=each.reason,
        )
        for each in told
        if not each.handoff
    )
    return replace(
        conversation,
        messages=(*conversation.messages, said, *results),
        uses=conversation.uses + uses,
        handoffs=(*conversation.handoffs, handed_to) if handed_to else conversation.handoffs,
        asked_again=conversation.asked_again and not handed_to,
        called=not handed_to,
    )


def exhausted(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The first that a budget or quota kept from running, or stopped: nothing more would run either. A tool that itself ran
    into a budget of its own is a failed tool."""
    return next(
        (
            outcome
            for outcome in outcomes
            if outcome.state in _NEVER_RAN and outcome.failure is not None and outcome.failure.reason in _EXHAUSTED
        ),
        None,
    )
