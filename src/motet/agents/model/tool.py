"""What a model may call: a tool's name and schema, and the agent that does its work. A tool's call is a member of a group
that the engine runs, so it has the run's deadlines, widths, budget and events. Knows no model."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from motet.model.chat import ToolSpec
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.ports import Agent, Call

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_FOREIGN: Final = re.compile(r"[.:]")


class ToolStatus(StrEnum):
    """What became of a tool call that a model asked for."""

    EXECUTED = "executed"
    TOOL_NOT_FOUND = "tool_not_found"
    VALIDATION_ERROR = "validation_error"
    """The arguments are no JSON, or do not follow the tool's schema."""
    TIMED_OUT = "timed_out"
    FAILED = "failed"


class ArgumentsInvalid(ValueError):
    """The arguments of a tool call are wrong; the message tells the model which and how to put them right."""


Check: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes arguments as the model gave them and returns them as the tool takes them. Raises ArgumentsInvalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that a model may call."""

    spec: ToolSpec
    agent: Agent
    """Does the work: its input is the arguments, a JSON object."""
    timeout: float | None = None
    """Seconds for one call; None means the model agent's `tool_timeout`."""
    check: Check | None = None
    """None means that any JSON object will do."""
    enabled: Callable[[Call], bool | Awaitable[bool]] | None = None
    """Whether it is offered in a call of the model agent; None means always."""
    present: Callable[[Outcome], str] | None = None
    """What the model is told of how a call ended; None means its output, or its reason and message."""
    as_input: Callable[[Mapping[str, Any]], Payload] | None = None
    """The agent's input, of checked arguments; None means the arguments as they are, a JSON object."""


@runtime_checkable
class ToolSource(Protocol):
    """Tools that are known only once somebody was asked: a server of tools."""

    async def tools(self, call: Call, /) -> Sequence[Tool]:
        """Those that it offers now. Raises AgentError when they cannot be known."""
        ...


def checked_name(name: str, *, what: str = "a tool") -> str:
    """The name itself. Raises ValueError for one that no provider takes."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} cannot name {what}; give name= of at most 64 letters, digits, '_' and '-', not starting with '-'"
        )
    return name


def name_from(name: str, *, what: str = "a tool") -> str:
    """An agent's or a group's name as a tool's: `.` and `:` become `_`. Raises ValueError for one that is too long."""
    return checked_name(_FOREIGN.sub("_", name), what=what)
