"""Store: keeps what must outlive a run or a process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from motet.model.event import Event
from motet.model.outcome import Outcome
from motet.model.quota_use import QuotaUse
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.model.session import SessionEntry


@dataclass(frozen=True, slots=True)
class Adopted:
    """A run whose holder is gone and that this store holds now."""

    record: RunRecord
    request: RunRequest | None
    """What it was started with; None when it had no form that can be kept, such as agents given as objects."""
    epoch: int
    """Higher than that of any holder before; writes need it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The caller makes the call, and settles the key."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else makes the call now."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The call was made, and this was its outcome."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key belongs to another request."""


Claim: TypeAlias = Claimed | Busy | Replayed | Conflict


class Store(Protocol):
    """Keeps what must outlive a run or a process: background runs with their events and results, the answers of
    idempotent calls, what tenants have used, sessions. Bounded: it may forget ended runs, oldest first, but never a run
    that has not ended. Each method is one atomic step, durable when it returns as far as the store promises durability.

    A run belongs to the store object that created or adopted it, for as long as that one is open and its process lives;
    `epoch` counts its holders. Raises StoreFailed when it cannot keep what it is given; then it has kept none of it.
    """

    @property
    def shared(self) -> bool:
        """Others may use the same data at the same time: other processes, or store objects of this one."""
        ...

    async def create(self, record: RunRecord, request: RunRequest | None = None) -> RunRecord | None:
        """Keep a new run, held here with epoch 1; None when kept. When the record's request_id belongs to a run that is
        kept, of the same tenant, keep nothing and return that run's record. `request` is what it takes to continue it.
        Raises Exhausted when every run kept is still running and no more fit."""
        ...

    async def find(self, request_id: str, tenant: str = "") -> RunRecord | None:
        """The record of the run that this request_id of the tenant belongs to; None when it belongs to none."""
        ...

    async def detach(self, run_id: str) -> None:
        """The run goes on without its callers from now on: its record is no longer `attached`. Raises NotFound."""
        ...

    async def append(self, run_id: str, events: Sequence[Event], epoch: int = 1) -> None:
        """Add events, which follow those kept without a gap. Raises NotFound; LeaseLost when another holds the run."""
        ...

    async def finish(self, run_id: str, record: RunRecord, epoch: int = 1) -> None:
        """Replace the record of a running run by that of its end, result included. Raises NotFound and LeaseLost."""
        ...

    async def get(self, run_id: str) -> RunRecord | None:
        """The record, with the result once the run has ended; None when it is not kept."""
        ...

    async def list(self, query: RunQuery) -> RunPage:
        """One page of records. Raises InvalidRequest for a page token that is not one."""
        ...

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` kept events with a sequence above `after`, in order. Raises NotFound."""
        ...

    async def adopt(self, limit: int = 100) -> Sequence[Adopted]:
        """Take over running runs whose holder is gone, oldest first. Of several who ask, one gets each."""
        ...

    async def ask_stop(self, run_id: str) -> None:
        """Leave word for whoever holds the run that it is to be stopped. Raises NotFound."""
        ...

    async def asked_stops(self) -> Sequence[str]:
        """Runs held here, still running, that somebody asked to stop."""
        ...

    async def claim(self, key: str, fingerprint: str) -> Claim:
        """Ask for the right to make the call with this key. A claim whose holder is gone counts for nothing."""
        ...

    async def settle(self, key: str, epoch: int, outcome: Outcome | None, ttl: float = 0.0) -> None:
        """Keep the outcome of a claimed call for `ttl` seconds; None gives the claim up. Without effect when the claim is
        no longer the caller's."""
        ...

    async def use(self, uses: Sequence[QuotaUse]) -> Sequence[QuotaUse]:
        """Add to what tenants have used; the new totals, in the same order. Adding nothing reads. Time adds up in whole
        nanoseconds. Windows that lie further back than the one before are forgotten."""
        ...

    async def remember(self, session_id: str, entries: Sequence[SessionEntry], keep: int) -> None:
        """Add to a session, which then keeps its last `keep` entries."""
        ...

    async def session(self, session_id: str) -> Sequence[SessionEntry]:
        """What a session remembers, oldest first; empty for one that is not kept."""
        ...

    async def forget_session(self, session_id: str) -> None: ...

    async def aclose(self) -> None:
        """Release what the store holds; runs that it held are without a holder from then on. Nothing may be called after."""
        ...
