"""Why something was stopped before it had ended by itself, in the words that outcomes carry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from motet.model import reason
from motet.model.outcome import Failure
from motet.model.state import State


@dataclass(frozen=True, slots=True)
class StopCause:
    """One reason to stop, from one moment on."""

    reason: str
    """One of `motet.model.reason`."""
    message: str
    """One sentence for a person."""
    at: float
    """On trio's clock: when the stop was asked, from which receipts count."""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """Of a member that was running; one that had not started is SKIPPED."""
        return State.TIMED_OUT if self.reason == reason.DEADLINE_EXCEEDED else State.CANCELLED

    @property
    def failure(self) -> Failure:
        return Failure(self.reason, self.message, self.details)


def deadline_exceeded(at: float, whose: str) -> StopCause:
    return StopCause(reason.DEADLINE_EXCEEDED, f"the deadline of the {whose} passed", at)


def cancelled(at: float, message: str = "the caller cancelled the run") -> StopCause:
    return StopCause(reason.CANCELLED, message, at)


def decided(at: float) -> StopCause:
    return StopCause(reason.DECIDED, "the answer was decided without this member", at)


def outrun(at: float) -> StopCause:
    return StopCause(reason.DECIDED, "another attempt of the member answered first", at)


def breached(at: float, failure: Failure) -> StopCause:
    return StopCause(failure.reason, failure.message, at, failure.details)


def interrupted(at: float) -> StopCause:
    return StopCause(reason.INTERRUPTED, "the process that ran it ended, and nobody has come back for it", at)


def broken(at: float, error: Exception) -> StopCause:
    what = f"{type(error).__name__}: {error}"
    return StopCause(
        reason.INTERRUPTED, f"the process that ran it ended, and what is recorded cannot be continued: {what}", at
    )


def previous_step_failed(at: float) -> StopCause:
    return StopCause(reason.PREVIOUS_STEP_FAILED, "an earlier step of the sequence has no answer", at)


def engine_closed(at: float) -> StopCause:
    return StopCause(reason.ENGINE_CLOSED, "the engine closed", at)
