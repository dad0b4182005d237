"""The one tree of errors that the client raises. A subclass says whose fault it is and what the caller does about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from motet_client._result import RunResult


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field of a request, or one bound that is used up."""

    field: str
    """Path of the field, such as `plan.group.members[0].timeout`; for a bound, what it bounds."""
    message: str
    """What is wrong and how to put it right, in one sentence."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class MotetClientError(Exception):
    """Base of everything that the client raises on purpose."""

    default_code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        reason: str | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """One sentence for a person."""
        self.code = code or self.default_code
        """The gRPC status, such as `NOT_FOUND`."""
        self.reason = reason or self.code
        """Stable and upper case; the server's own, or the code where the server gave none."""
        self.violations = tuple(violations)
        """Every wrong field; empty when no field is at fault."""
        self.retry_after = retry_after
        """Seconds to wait before trying again; None when the server did not say."""
        self.metadata: Mapping[str, str] = dict(metadata or {})
        """Facts that the server added, by name."""


class InvalidArgument(MotetClientError):
    """The request is wrong: change the fields that `violations` names. Nothing was started."""

    default_code = "INVALID_ARGUMENT"


class NotFound(MotetClientError):
    """Nothing has the name or id that was asked for."""

    default_code = "NOT_FOUND"


class FailedPrecondition(MotetClientError):
    """The server's state forbids it, such as a request_id that belongs to another request: take a new one."""

    default_code = "FAILED_PRECONDITION"


class Aborted(MotetClientError):
    """Another server has taken the run over while this one was asked: ask again."""

    default_code = "ABORTED"


class ResourceExhausted(MotetClientError):
    """A bound is reached, such as a tenant's quota: wait `retry_after`, or ask for less."""

    default_code = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(MotetClientError):
    """The call's deadline passed before the server answered. A run whose own timeout passed is a result, not this."""

    default_code = "DEADLINE_EXCEEDED"


class Cancelled(MotetClientError):
    """The call was cancelled, here or by the server."""

    default_code = "CANCELLED"


class Unavailable(MotetClientError):
    """The server cannot be reached or is draining: try later, or elsewhere."""

    default_code = "UNAVAILABLE"


class Unauthenticated(MotetClientError):
    """The server does not know who calls: give credentials or metadata that it knows."""

    default_code = "UNAUTHENTICATED"


class PermissionDenied(MotetClientError):
    """The server knows who calls, and does not allow this."""

    default_code = "PERMISSION_DENIED"


class Internal(MotetClientError):
    """The server, or what lies between, is at fault; `metadata` may hold an id to look up in the server's log."""

    default_code = "INTERNAL"


class RunFailed(MotetClientError):
    """Raised by `RunResult.unwrap()` when the run did not succeed. `result` keeps every outcome."""

    default_code = "OK"

    def __init__(self, message: str, *, reason: str, result: "RunResult") -> None:
        super().__init__(message, reason=reason)
        self.result = result
