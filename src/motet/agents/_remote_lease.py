"""What passes between an engine and the workers that dial in: who they are, the calls they are leased, what they answer.

Nouns only: knows neither messages nor who gets which call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from motet.model.outcome import Failure, StopReceipt
from motet.model.payload import Payload
from motet.model.usage import Usage
from motet.ports import Call

if TYPE_CHECKING:
    from motet.agents._remote_book import Connection, Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedAgent:
    """One agent that a worker offers."""

    name: str
    version: str = ""
    description: str = ""
    input_schema: str = ""
    """JSON Schema, as JSON text; empty means any input."""
    capacity: int = 0
    """Most leases of it at once; 0 means 1."""
    replay_safe: bool = False
    """A lost lease may be given again."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a worker says first."""

    worker_id: str
    agents: tuple[OfferedAgent, ...]
    capacity: int = 0
    """Most leases at once over all agents; 0 means the sum of the agents' own."""
    library: str = ""


@dataclass(frozen=True, slots=True)
class Replied:
    """The call has an answer."""

    output: Payload
    usage: Usage | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The call has none."""

    failure: Failure
    usage: Usage | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """The worker was asked to stop, and this is its receipt."""

    receipt: StopReceipt
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker is gone, and nobody knows what became of the call."""

    worker_id: str
    why: str


Answer: TypeAlias = Replied | Failed | Stopped
"""What a worker may say of a lease."""


class Ticket:
    """One call of a remote agent, from the moment it asks for a worker: it waits, is leased, waits again when the lease is
    lost and may be given again, and ends."""

    __slots__ = ("call", "deliveries", "desk", "end", "ended", "lease", "number", "patience", "stopping")

    def __init__(self, desk: "Desk", call: Call, number: int) -> None:
        self.desk = desk
        self.call = call
        self.number = number
        """Later calls have higher ones."""
        self.lease: Lease | None = None
        """The present one; None while it waits."""
        self.deliveries = 0
        """Leases that may have reached a worker."""
        self.patience = trio.CancelScope()
        """Ends the wait when no worker has come for too long."""
        self.ended = trio.Event()
        self.end: Answer | Lost | None = None
        """Set when `ended` is."""
        self.stopping = False
        """The call was cancelled: it is not given to anybody any more."""

    def finish(self, end: Answer | Lost) -> None:
        self.end = end
        self.ended.set()


class Lease:
    """A call given to one worker."""

    __slots__ = ("connection", "id", "sent", "ticket", "version")

    def __init__(self, id: str, connection: "Connection", ticket: Ticket, version: str) -> None:
        self.id = id
        self.connection = connection
        self.ticket = ticket
        self.version = version
        """Of the agent, as the worker told."""
        self.sent = False
        """It is on its way, so the worker may have begun."""


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """A lease to stop."""

    lease: Lease
    reason: str
    """CANCELLED or DEADLINE_EXCEEDED."""


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """No more leases will come."""


Order: TypeAlias = Lease | CancelOrder | DrainOrder
"""What a worker is to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatistics:
    """What one `Workers` has seen, now and since it was made."""

    connected: int
    """Workers that are connected now."""
    leased: int
    """Leases that they hold now, those given up included."""
    given: int
    """Leases given so far."""
    lost: int
    """Leases whose worker went away."""
    refused: int
    """Answers that came too late, or for leases of an earlier connection."""
    reports_dropped: int
    """Progress reports that were too large, or came for a call that had ended."""
