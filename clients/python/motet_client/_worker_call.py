"""One lease at a worker: what its function receives and may say, and how what became of it is told. Knows no connection."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from motet_client._result import Usage
from motet_client._wire_values import from_duration, from_payload, to_payload, to_struct
from motet_proto.v1 import run_pb2
from motet_proto.v1 import worker_service_pb2 as pb

if TYPE_CHECKING:
    from motet_client._payload import Payload

Tell = Callable[[pb.WorkerMessage], None]
"""Puts a message among those that go out; never waits."""
_log = logging.getLogger("motet.worker")
_WRAPPING: Final = 16
"""Bytes that the message around an answer takes, at most."""
MAX_DETAILS: Final = 64 * 1024
"""Bytes of a failure's details: they are facts for a program, not outputs."""
_NO_USAGE: Final = Usage()


class AgentFailed(Exception):
    """Raised by a function to fail its call with a reason of its own; any other exception becomes AGENT_FAILED.

    `retryable` says that the same call may work later; `retry_after` is in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "AGENT_FAILED",
        details: Mapping[str, Any] | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.details = dict(details or {})
        if retry_after is not None:
            self.details["retry_after_seconds"] = retry_after
        self.retryable = retryable


class CallCancelled(Exception):
    """Raised by `WorkerCall.check` once the call is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a function may return in place of a bare value."""

    output: object
    """A str, bytes, a Payload or any JSON value."""
    usage: Usage | None = None
    """What the call used; None means what `spend` told, or else one call of unknown price."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON values kept with the outcome."""


class WorkerCall:
    """What a function receives. Thread-safe."""

    def __init__(self, lease: pb.Lease, tell: Tell) -> None:
        self.input = from_payload(lease.input)
        """What to answer."""
        self.variable_payloads: Mapping[str, Payload] = {
            name: from_payload(value) for name, value in lease.variables.items()
        }
        self.agent = lease.agent
        self.run_id = lease.run_id
        self.member = lease.member
        """Instance name."""
        self.session_id = lease.session_id
        """The conversation; empty means none."""
        self.attempt = lease.attempt
        """From 1."""
        self.depth = lease.depth
        """Of the run that calls; to be sent on, see `client_metadata`."""
        self.idempotency_key = lease.idempotency_key
        """The same for each delivery of the same call; empty means none."""
        self.cost_left_nanos = lease.cost_left_nanos if lease.HasField("cost_left_nanos") else None
        """Money left to the call, in billionths of a US dollar; None means no bound."""
        self.tokens_left = lease.tokens_left if lease.HasField("tokens_left") else None
        """None means no bound."""
        self.deadline = math.inf
        """On the clock of `time.monotonic`."""
        if lease.HasField("time_left"):
            self.deadline = time.monotonic() + from_duration(lease.time_left)
        self._lease_id = lease.lease_id
        self._epoch = lease.epoch
        self._tell = tell
        self._spent = _NO_USAGE
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    @property
    def text(self) -> str:
        """The input as text."""
        return self.input.text

    @property
    def value(self) -> Any:
        """The input as a Python value, a new copy each time."""
        return self.input.value

    @property
    def variables(self) -> dict[str, Any]:
        """Variables as Python values, a new copy each time."""
        return {name: payload.value for name, payload in self.variable_payloads.items()}

    @property
    def client_metadata(self) -> dict[str, str]:
        """For a `Client` with which the function calls Motet itself, so that nested runs are counted."""
        return {"motet-depth": str(self.depth)}

    def time_left(self) -> float:
        """Seconds until the deadline; infinite when there is none, 0 when it has passed."""
        return max(0.0, self.deadline - time.monotonic())

    def report(self, report: object) -> None:
        """Tell watchers how far the work is. Never waits; reports are dropped while the connection is slow."""
        progress = pb.LeaseProgress(lease_id=self._lease_id, epoch=self._epoch, report=to_payload(report))
        self._tell(pb.WorkerMessage(progress=progress))

    def spend(self, usage: Usage) -> None:
        """Tell of what the call has used so far, added to what was told before: it counts also when the call fails or is
        stopped."""
        with self._lock:
            before = self._spent
            self._spent = Usage(
                calls=before.calls + usage.calls,
                input_tokens=before.input_tokens + usage.input_tokens,
                output_tokens=before.output_tokens + usage.output_tokens,
                cost_nanos=before.cost_nanos + usage.cost_nanos,
                unpriced_calls=before.unpriced_calls + usage.unpriced_calls,
            )

    @property
    def cancelled(self) -> bool:
        """The call is not wanted any more: its run was cancelled, its deadline passed, or the connection broke."""
        return self._cancelled.is_set()

    def wait_cancelled(self, timeout: float) -> bool:
        """Sleep, but not longer than the call is wanted; whether it was cancelled."""
        return self._cancelled.wait(timeout)

    def check(self) -> None:
        """Raises CallCancelled once the call is not wanted any more: blocking functions call it now and then."""
        if self._cancelled.is_set():
            raise CallCancelled(f"the call of {self.agent} was cancelled")

    # ------------------------------------------------------------------------------------------- for the worker itself

    def cancel(self) -> None:
        self._cancelled.set()

    def replied(self, value: object, most: int) -> pb.WorkerMessage:
        """The message for what the function returned; `most` is the bytes that a message may have."""
        reply = value if isinstance(value, Reply) else Reply(value)
        try:
            message = pb.LeaseReply(
                lease_id=self._lease_id,
                epoch=self._epoch,
                output=to_payload(reply.output),
                usage=self._usage(reply.usage),
                metadata=to_struct(reply.metadata),
            )
        except (TypeError, ValueError) as error:
            return self.failed(AgentFailed(f"the function's answer cannot be sent: {error}", reason="OUTPUT_INVALID"))
        size = message.ByteSize() + _WRAPPING
        if size > most:
            text = f"the answer has {size} bytes, a message may have {most}; return less, or a reference"
            return self.failed(AgentFailed(text, reason="OUTPUT_TOO_LARGE"))
        return pb.WorkerMessage(reply=message)

    def failed(self, error: BaseException) -> pb.WorkerMessage:
        """The message for what the function raised."""
        if not isinstance(error, AgentFailed):
            _log.error("agent %s failed", self.agent, exc_info=error)
            error = AgentFailed(f"{type(error).__name__}: {error}")
        failure = run_pb2.Failure(reason=_cut(error.reason), message=_cut(str(error)) or "the function gave no message")
        try:
            details = run_pb2.Failure(details=to_struct(error.details))
        except (TypeError, ValueError):
            details = None
        if details is None or details.ByteSize() > MAX_DETAILS:
            _log.error("agent %s failed with details that are too large, or not JSON; they are left out", self.agent)
        else:
            failure.MergeFrom(details)
        return pb.WorkerMessage(
            failure=pb.LeaseFailure(
                lease_id=self._lease_id,
                epoch=self._epoch,
                failure=failure,
                usage=self._usage(None),
                retryable=error.retryable,
            )
        )

    def stopped(self, took: float, *, detached: str = "") -> pb.WorkerMessage:
        """The receipt of a cancel; `detached` names what still runs."""
        receipt = run_pb2.StopReceipt(
            kind=run_pb2.StopReceipt.KIND_DETACHED if detached else run_pb2.StopReceipt.KIND_STOPPED, detail=detached
        )
        receipt.took.FromNanoseconds(max(0, round(took * 1e9)))
        return pb.WorkerMessage(
            stopped=pb.LeaseStopped(
                lease_id=self._lease_id, epoch=self._epoch, receipt=receipt, usage=self._usage(None)
            )
        )

    def _usage(self, own: Usage | None) -> run_pb2.Usage | None:
        with self._lock:
            usage = self._spent if own is None else own
        if own is None and usage == _NO_USAGE:
            return None
        return run_pb2.Usage(
            calls=usage.calls,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_nanos=usage.cost_nanos,
            unpriced_calls=usage.unpriced_calls,
        )


def _cut(text: str) -> str:
    """A failure is a sentence: megabytes of it help nobody, and lone surrogates cannot travel."""
    return text[:8000].encode(errors="replace").decode()
