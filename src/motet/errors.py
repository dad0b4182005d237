"""The one tree of errors that Motet raises.

A subclass says whose fault it is and what the caller does about it. Each error has a stable, upper-case `reason`;
the server turns it into a status by a table of its own. A failed member is not an error but an `Outcome`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field of a request."""

    field: str
    """Path of the field, such as `plan.group.members[0].timeout`."""
    message: str
    """What is wrong and how to put it right, in one sentence."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class CatalogProblem:
    """One mistake in a catalog."""

    file: str
    """The file, as it was named; empty for a catalog made in Python."""
    table: str
    """The TOML table, such as `agents.ruff`; empty for the top level."""
    key: str
    """The key in the table; empty when the table as a whole is meant."""
    message: str
    """What is wrong and how to put it right, in one sentence."""

    def __str__(self) -> str:
        table = f"[{self.table}]" if self.table else ""
        place = " ".join(part for part in (table, self.key) if part)
        return ": ".join(part for part in (self.file, place, self.message) if part)


class MotetError(Exception):
    """Base of everything that Motet raises on purpose."""

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.details: Mapping[str, Any] = dict(details or {})


class RequestError(MotetError):
    """The request is at fault: the caller changes it; sending it again as it is will not help."""

    default_reason = "INVALID_REQUEST"


class InvalidRequest(RequestError):
    """Fields of a request are wrong. Nothing was started. `violations` names every one of them."""

    def __init__(self, violations: Sequence[Violation], *, reason: str | None = None) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(map(str, self.violations)), reason=reason)


class NotFound(RequestError):
    """Nothing has the name or id that was asked for."""

    default_reason = "NOT_FOUND"


class RequestIdReused(RequestError):
    """The request_id belongs to another request: the caller takes a new one."""

    default_reason = "REQUEST_ID_REUSED"


class CatalogError(MotetError):
    """The catalog is at fault: its author changes it. `problems` names every mistake."""

    default_reason = "INVALID_CATALOG"

    def __init__(self, problems: Sequence[CatalogProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Exhausted(MotetError):
    """A bound is reached: the caller waits, or asks for less. `retry_after` is in seconds, None when waiting alone will not help."""

    default_reason = "RESOURCE_EXHAUSTED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, details=details)
        self.retry_after = retry_after


class Unavailable(MotetError):
    """The engine takes no new work, because it drains or has closed: the caller goes elsewhere or tries later."""

    default_reason = "DRAINING"


class StoreFailed(Unavailable):
    """The store could not keep or read something: its disk is full, or it did not answer. Nothing kept before is lost;
    the caller tries again once the cause is gone. `reason` is STORE_FULL or STORE_UNAVAILABLE."""

    default_reason = "STORE_UNAVAILABLE"


class LeaseLost(MotetError):
    """Another process has taken over the run, so this one must not write it any more. The engine stops its side."""

    default_reason = "LEASE_LOST"


class AgentError(MotetError):
    """Raised by an agent to fail its member with a reason and details of its own; any other exception becomes AGENT_FAILED.

    `retryable` says that the same call may work later; `retry_after` is in seconds, None when the agent does not know.
    """

    default_reason = "AGENT_FAILED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason, details=details)
        self.retryable = retryable
        self.retry_after = retry_after


class RunFailed(MotetError):
    """Raised by `RunResult.unwrap()` when there is no answer. `result` keeps every outcome."""

    default_reason = "RUN_FAILED"

    def __init__(self, message: str, *, reason: str, result: Any) -> None:
        super().__init__(message, reason=reason)
        self.result = result
