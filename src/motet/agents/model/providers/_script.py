"""What a scripted provider says, and when: answers, rules, and how both are read. Pure; knows no time and no provider."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from motet.model.chat import ChatReply, ChatRequest, Finish, Message, Role, ToolCall
from motet.model.usage import Usage

Calls: TypeAlias = Sequence[ToolCall | tuple[str, Mapping[str, Any]]]
"""Tool calls: whole ones, or a tool's name and its arguments."""


@dataclass(frozen=True, slots=True)
class Say:
    """One answer of a scripted provider."""

    text: str = ""
    tool_calls: Calls = field(default=(), kw_only=True)
    """Those without an id of their own get `call_1`, `call_2`, ..., counted through the conversation."""
    delay: float = field(default=0.0, kw_only=True)
    """Seconds until it is whole; `math.inf` for one that only a cancellation ends."""
    pieces: int = field(default=1, kw_only=True)
    """Into how many the text is cut when it is streamed; the delay is spread over them."""
    finish: Finish | None = field(default=None, kw_only=True)
    """None means `tool_calls` where there are some, else `stop`."""
    usage: Usage | None = field(default=None, kw_only=True)
    """None means counted; see `ScriptedProvider`."""
    error: Exception | None = field(default=None, kw_only=True)
    """Raised when the delay is over and the text, if there is any, was streamed."""
    model: str = field(default="", kw_only=True)
    """The one that answers; empty means the one that was asked."""
    response_id: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not self.delay >= 0:
            raise ValueError(f"delay is {self.delay}; give seconds, 0 or more")
        if self.pieces < 1:
            raise ValueError(f"pieces is {self.pieces}; give 1 or more")
        for call in self.tool_calls:
            if not isinstance(call, ToolCall):
                _check_call(call)


def _check_call(call: object) -> None:
    match call:
        case (str(), Mapping() as arguments):
            try:
                json.dumps(arguments)
            except (TypeError, ValueError) as error:
                raise ValueError(f"the arguments of {call[0]} have no JSON form: {error}") from None
        case _:
            raise ValueError(f"{call!r} is no tool call; give a ToolCall, or a tuple of a tool's name and a mapping")


Scripted: TypeAlias = str | Say | ChatReply | Exception | Mapping[str, Any] | Calls
"""What may stand for an answer: its text, an error to raise, a mapping for its JSON text, or a list of tool calls."""
Speaker: TypeAlias = Callable[[ChatRequest], Scripted | None]
"""Makes an answer of a request; None leaves it to what comes next."""
Condition: TypeAlias = str | re.Pattern[str] | Callable[[str], bool]
"""A regular expression that is found in the text, or a function that says yes to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An answer and the requests that it is for: those that every condition given holds for. Raises ValueError for an
    expression that is none."""

    reply: Scripted | Speaker
    when_instructions: Condition | None = None
    """Of the system messages, joined by newlines."""
    when_user: Condition | None = None
    """Of the last user message."""
    when_model: Condition | None = None
    """Of the model that is asked."""
    when_result: Condition | None = None
    """Of any of the tool results that the request ends with; without one it does not hold."""
    when: Callable[[ChatRequest], bool] | None = None
    """Of the request as a whole."""
    times: int | None = None
    """Most requests that it answers, in the order in which they come; None means all."""

    def __post_init__(self) -> None:
        for name in ("when_instructions", "when_user", "when_model", "when_result"):
            condition = getattr(self, name)
            if isinstance(condition, str):
                try:
                    re.compile(condition)
                except re.error as error:
                    raise ValueError(f"{name} is no regular expression: {error}") from None
        if not callable(self.reply):
            as_say(self.reply)
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is {self.times}; give 1 or more, or leave it out")

    @property
    def unconditional(self) -> bool:
        """It answers everything."""
        conditions = (self.when_instructions, self.when_user, self.when_model, self.when_result, self.when, self.times)
        return all(condition is None for condition in conditions)

    def matches(self, request: ChatRequest) -> bool:
        return (
            _holds(self.when_model, (request.model,))
            and _holds(self.when_instructions, (instructions_of(request),))
            and _holds(self.when_user, (user_of(request),))
            and _holds(self.when_result, results_of(request))
            and (self.when is None or self.when(request))
        )


def _holds(condition: Condition | None, texts: Sequence[str]) -> bool:
    if condition is None:
        return True
    if isinstance(condition, str):
        condition = re.compile(condition)
    return any(bool(condition.search(t) if isinstance(condition, re.Pattern) else condition(t)) for t in texts)


def instructions_of(request: ChatRequest) -> str:
    """Its system messages, joined by newlines."""
    return "\n".join(message.text for message in request.messages if message.role is Role.SYSTEM)


def user_of(request: ChatRequest) -> str:
    """Its last user message; empty when there is none."""
    return next((message.text for message in reversed(request.messages) if message.role is Role.USER), "")


def results_of(request: ChatRequest) -> tuple[str, ...]:
    """The tool results that it ends with, in order."""
    return tuple(message.text for message in reversed(list(_ending(request.messages))))


def _ending(messages: Sequence[Message]) -> Iterator[Message]:
    for message in reversed(messages):
        if message.role is not Role.TOOL:
            return
        yield message


def as_say(scripted: Scripted) -> Say | ChatReply:
    """An answer, whatever stands for it. Raises ValueError for what stands for none."""
    if isinstance(scripted, Say | ChatReply):
        return scripted
    if isinstance(scripted, str):
        return Say(scripted)
    if isinstance(scripted, Exception):
        return Say(error=scripted)
    if isinstance(scripted, Mapping):
        return Say(json.dumps(scripted, ensure_ascii=False))
    if isinstance(scripted, list | tuple):
        return Say(tool_calls=scripted)
    raise ValueError(f"a {type(scripted).__name__} is no scripted answer; give text, a Say, tool calls or an exception")


def calls_of(calls: Calls, request: ChatRequest) -> tuple[ToolCall, ...]:
    """Whole tool calls. Their ids count on from those in the conversation, so that they do not depend on which of many
    conversations is first."""
    before = sum(len(message.tool_calls) for message in request.messages)
    return tuple(
        call
        if isinstance(call, ToolCall)
        else ToolCall(id=f"call_{number}", name=call[0], arguments=json.dumps(call[1], ensure_ascii=False))
        for number, call in enumerate(calls, before + 1)
    )


def cut(text: str, pieces: int) -> list[str]:
    """The text in so many pieces of about the same length, none of them empty."""
    count = min(pieces, len(text))
    return [text[len(text) * i // count : len(text) * (i + 1) // count] for i in range(count)]


def tokens_of(text: str) -> int:
    """A quarter of the characters, at least 1: near enough to what English text has, and the same everywhere."""
    return max(1, len(text) // 4)
