"""How a member ended: its outcome, and, where it has none, the failure and the stop receipt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from motet.model import usage as _usage
from motet.model.payload import Payload
from motet.model.state import State
from motet.model.usage import Usage

if TYPE_CHECKING:
    from motet.model.result import GroupResult


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something has no answer."""

    reason: str
    """Stable and upper case; `motet.model.reason` lists those of the engine."""
    message: str
    """One sentence for a person."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for a program, by reason: `http_status`, `exit_code`, `retry_after_seconds`, ..."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class StopKind(StrEnum):
    """What became of a member that was asked to stop."""

    STOPPED = "STOPPED"
    """Nothing of it runs any more."""
    DETACHED = "DETACHED"
    """Something of it could not be stopped and may still run."""


@dataclass(frozen=True, slots=True)
class StopReceipt:
    """Proof of what became of a member that was cancelled or timed out."""

    kind: StopKind
    """STOPPED or DETACHED."""
    took: float
    """Seconds from the moment the stop was asked to the moment it was known."""
    detail: str = ""
    """What was stopped, or what still runs; empty means nothing to add."""


class AttemptKind(StrEnum):
    """Why an attempt was made."""

    FIRST = "FIRST"
    RETRY = "RETRY"
    """The one before had failed."""
    HEDGE = "HEDGE"
    """Beside one that was slow."""
    RESUME = "RESUME"
    """The one before was running when its engine's process ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one attempt of a member ended."""

    number: int
    """From 1, in the order in which they started."""
    kind: AttemptKind
    state: State
    """SUCCEEDED, FAILED, TIMED_OUT or CANCELLED."""
    failure: Failure | None = None
    """Set if and only if `state` is not SUCCEEDED."""
    started: float = 0.0
    """Seconds from the member's start to the attempt's."""
    ran: float = 0.0
    """Seconds from the attempt's start to its end."""
    usage: Usage = _usage.NONE
    """Its own, without groups that it ran."""
    stop: StopReceipt | None = None
    """Set if and only if `state` is CANCELLED or TIMED_OUT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one member ended."""

    member: str
    """Instance name, unique in the group."""
    agent: str
    """Name of the agent."""
    state: State
    """One of the five ends."""
    output: Payload | None = None
    """What the agent said; set if and only if `state` is SUCCEEDED."""
    failure: Failure | None = None
    """Why there is no output; set if and only if `state` is not SUCCEEDED."""
    attempts: int = 1
    """Attempts made; 0 if and only if `state` is SKIPPED or the output is `cached`."""
    queued: float = 0.0
    """Seconds from the group's start to the member's, or to the moment it was skipped."""
    ran: float = 0.0
    """Seconds from the member's start to its end."""
    usage: Usage = _usage.NONE
    """What the member used, descendants included."""
    cached: bool = False
    """The output came from an earlier call with the same key."""
    stop: StopReceipt | None = None
    """Set if and only if `state` is CANCELLED or TIMED_OUT."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the agent added to its reply: JSON values."""
    nested: "tuple[GroupResult, ...]" = ()
    """Groups that the member ran itself, in the order in which they started."""
    attempt_log: tuple[Attempt, ...] = ()
    """Every attempt, by number, when there was more than one; else empty."""

    @property
    def succeeded(self) -> bool:
        return self.state is State.SUCCEEDED
