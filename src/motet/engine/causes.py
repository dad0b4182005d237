"""Why something was stopped before it had ended by itself, in the words that outcomes carry."""

from dataclasses import dataclass

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

    @property
    def state(self) -> State:
        """Of a member that was running; one that had not started is SKIPPED."""
        return State.TIMED_OUT if self.reason == reason.DEADLINE_EXCEEDED else State.CANCELLED

    @property
    def failure(self) -> Failure:
        return Failure(self.reason, self.message)


def deadline_exceeded(at: float, whose: str) -> StopCause:
    return StopCause(reason.DEADLINE_EXCEEDED, f"the deadline of the {whose} passed", at)


def cancelled(at: float, message: str = "the caller cancelled the run") -> StopCause:
    return StopCause(reason.CANCELLED, message, at)


def decided(at: float) -> StopCause:
    return StopCause(reason.DECIDED, "the answer was decided without this member", at)


def previous_step_failed(at: float) -> StopCause:
    return StopCause(reason.PREVIOUS_STEP_FAILED, "an earlier step of the sequence has no answer", at)


def engine_closed(at: float) -> StopCause:
    return StopCause(reason.ENGINE_CLOSED, "the engine closed", at)
