"""What is said to a language model and what it answers, whoever serves it. Values only; no provider's format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from motet.model import usage as _usage
from motet.model.usage import Usage


class Role(StrEnum):
    """Who says a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Finish(StrEnum):
    """Why a model stopped writing."""

    STOP = "stop"
    """It had said what it had to say."""
    TOOL_CALLS = "tool_calls"
    """It wants tools called."""
    LENGTH = "length"
    """It reached the most tokens that it may write."""
    REFUSED = "refused"
    """It, or the provider's filter, would not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool that the model wants called."""

    id: str
    """The model's own, unique in its message."""
    name: str
    """As the model wrote it: there may be no such tool."""
    arguments: str = "{}"
    """JSON text as the model wrote it: it may be no JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation with a model."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's message."""
    tool_call_id: str = ""
    """Of a tool's message: the call that it answers."""
    failed: bool = False
    """Of a tool's message: the call has no result, the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as a model sees it."""

    name: str
    """Letters, digits, _ and -, at most 64."""
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema of an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model writes. None leaves it to the provider."""

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    """Most tokens of one answer."""
    stop: tuple[str, ...] = ()
    """Texts at which it stops."""
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    parallel_tool_calls: bool | None = None
    """It may ask for several tools at once."""
    tool_choice: str = ""
    """`auto`, `required`, `none`, or a tool's name; empty leaves it to the provider."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """JSON values added to the request as they are, for what one provider alone knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One turn: everything that the model is to know."""

    model: str
    messages: tuple[Message, ...]
    """System messages first."""
    tools: tuple[ToolSpec, ...] = ()
    output_schema: Mapping[str, Any] | None = None
    """JSON Schema that the answer has to follow; None means plain text."""
    output_name: str = "answer"
    """Of the schema, where a provider wants one."""
    sampling: Sampling = field(default_factory=Sampling)
    stream: bool = True
    """Answer piece by piece; the answer as a whole is the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What the model said in one turn."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = Finish.STOP
    model: str = ""
    """The one that answered, as the provider names it."""
    usage: Usage = _usage.NONE
    """One call, its tokens, and its cost or that it is unpriced."""
    response_id: str = ""
    """The provider's own; empty when it tells none."""
