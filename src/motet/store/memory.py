"""A store in this process's memory, within bounds. Gone when the process ends; knows nothing of engines."""

import base64
import binascii
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import trio

from motet.errors import Exhausted, InvalidRequest, LeaseLost, NotFound, Violation
from motet.model.event import Event, GroupEnded, GroupStarted, MemberEnded, MemberProgress
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.quota_use import QuotaUse
from motet.model.result import GroupResult, RunResult
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.model.session import SessionEntry
from motet.ports import Adopted, Claim
from motet.store._memory_keys import OVERHEAD, Answers, QuotaUses, Sessions

MAX_RUNS: Final = 1000
MAX_EVENTS: Final = 1_000_000
MAX_BYTES: Final = 256 * 2**20
MAX_ANSWERS: Final = 10_000
MAX_SESSIONS: Final = 10_000
EPOCH: Final = 1
"""Of every run: a run in memory never changes hands."""
RETRY_AFTER: Final = 1.0
"""Seconds after which a caller who found the store full may try again: runs end all the time, and asking is cheap."""


class _Kept:
    """One run. `number` counts runs as they are created, from 1, and is never used again."""

    __slots__ = ("event_bytes", "events", "number", "record", "result_bytes")

    def __init__(self, number: int, record: RunRecord) -> None:
        self.number = number
        self.record = record
        self.events: list[Event] = []
        self.event_bytes = 0
        self.result_bytes = 0

    @property
    def size(self) -> int:
        # Not the sum: a result holds the very payloads that its events hold.
        return max(self.event_bytes, self.result_bytes)

    def full_record(self) -> RunRecord:
        return replace(self.record, last_sequence=len(self.events))


class MemoryStore:
    """Keeps at most `max_runs` runs, about `max_events` events and `max_bytes` bytes of payloads.

    Room is made by forgetting ended runs, the one that ended longest ago first, with all they had. What a running run
    reports is always kept, and a run is not forgotten at its own end; so the last two bounds may be passed by what runs
    now, and no new run is taken until they hold again. Payloads are counted by `Payload.size`. Ended runs older than
    `max_age` seconds (None: no bound) are forgotten when something is written.

    Answers of idempotent calls are kept until their time is over, the newest `max_answers` of them; sessions, the last
    `max_sessions` that were used; each of the two within `max_bytes` bytes of its own. `clock` is the wall clock.
    """

    def __init__(
        self,
        *,
        max_runs: int = MAX_RUNS,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        max_answers: int = MAX_ANSWERS,
        max_sessions: int = MAX_SESSIONS,
        max_age: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        bounds = {
            "max_runs": max_runs,
            "max_events": max_events,
            "max_bytes": max_bytes,
            "max_answers": max_answers,
            "max_sessions": max_sessions,
        }
        for name, bound in bounds.items():
            if bound < 1:
                raise ValueError(f"{name} is {bound}; give at least 1")
        if max_age is not None and not max_age >= 0:
            raise ValueError(f"max_age is {max_age}; give seconds, or None for no bound")
        self._max_runs = max_runs
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_age = math.inf if max_age is None else max_age
        self._clock = clock
        self._runs: dict[str, _Kept] = {}
        """By run_id, the oldest first."""
        self._ended: dict[str, float] = {}
        """When each ended run ended, the one that ended first at the front."""
        self._by_request: dict[tuple[str, str], str] = {}
        """By tenant and request_id."""
        self._asked: dict[str, None] = {}
        """Running runs that somebody asked to stop."""
        self._events = 0
        self._bytes = 0
        self._created = 0
        self._answers = Answers(max_answers, max_bytes, clock, _outcome_size)
        self._uses = QuotaUses()
        self._sessions = Sessions(max_sessions, max_bytes)

    @property
    def shared(self) -> bool:
        return False

    # Every method waits first and then works in one go, so a cancelled call has changed nothing.

    async def create(self, record: RunRecord, request: RunRequest | None = None) -> RunRecord | None:  # noqa: ARG002 - nothing continues a run whose store is gone
        await trio.lowlevel.checkpoint()
        self._forget_old()
        if record.request_id and (known := self._by_request.get((record.tenant, record.request_id))) is not None:
            return self._runs[known].full_record()
        if record.run_id in self._runs:
            raise ValueError(f"run {record.run_id} is kept already")
        self._make_room(runs=self._max_runs - 1)
        if len(self._runs) >= self._max_runs or self._over():
            raise Exhausted(
                "the store is full of runs that have not ended; try again when one has",
                reason="TOO_MANY_RUNS",
                retry_after=RETRY_AFTER,
            )
        self._created += 1
        self._runs[record.run_id] = _Kept(self._created, record)
        if record.request_id:
            self._by_request[record.tenant, record.request_id] = record.run_id
        return None

    async def find(self, request_id: str, tenant: str = "") -> RunRecord | None:
        await trio.lowlevel.checkpoint()
        known = self._by_request.get((tenant, request_id))
        return None if known is None else self._runs[known].full_record()

    async def detach(self, run_id: str) -> None:
        await trio.lowlevel.checkpoint()
        kept = self._find(run_id)
        kept.record = replace(kept.record, attached=False)

    async def append(self, run_id: str, events: Sequence[Event], epoch: int = EPOCH) -> None:
        """Raises ValueError when the events do not follow those kept, or the run has ended; then none is added."""
        await trio.lowlevel.checkpoint()
        kept = self._held(run_id, epoch)
        if run_id in self._ended:
            raise ValueError(f"run {run_id} has ended; it takes no more events")
        for expected, event in enumerate(events, len(kept.events) + 1):
            if event.sequence != expected:
                raise ValueError(f"event {event.sequence} of run {run_id} leaves a gap; {expected} is next")
        before = kept.size
        kept.events.extend(events)
        kept.event_bytes += sum(map(_event_size, events))
        self._events += len(events)
        self._bytes += kept.size - before
        self._make_room(runs=self._max_runs)

    async def finish(self, run_id: str, record: RunRecord, epoch: int = EPOCH) -> None:
        """Raises ValueError when the record is not of this run's end, or the run has ended already."""
        await trio.lowlevel.checkpoint()
        kept = self._held(run_id, epoch)
        if run_id in self._ended:
            raise ValueError(f"run {run_id} has ended already")
        if record.run_id != run_id or not record.state.ended:
            raise ValueError(f"the record is not that of the end of run {run_id}")
        before = kept.size
        kept.record = replace(record, request_id=kept.record.request_id, tenant=kept.record.tenant)
        kept.result_bytes = 0 if record.result is None else _result_size(record.result)
        self._bytes += kept.size - before
        # Room is made before this run counts as ended, so that it outlives its own end.
        self._make_room(runs=self._max_runs)
        self._ended[run_id] = self._clock()
        self._asked.pop(run_id, None)

    async def get(self, run_id: str) -> RunRecord | None:
        await trio.lowlevel.checkpoint()
        kept = self._runs.get(run_id)
        return None if kept is None else kept.full_record()

    async def list(self, query: RunQuery) -> RunPage:
        await trio.lowlevel.checkpoint()
        if query.limit < 1:
            raise InvalidRequest([Violation("limit", f"is {query.limit}; ask for at least 1 run")])
        below = _read_token(query.page_token) if query.page_token else self._created + 1
        found: list[RunRecord] = []
        last = 0
        for kept in reversed(self._runs.values()):
            if kept.number >= below or not _matches(kept.record, query):
                continue
            if len(found) == query.limit:
                return RunPage(tuple(found), _write_token(last))
            found.append(replace(kept.full_record(), result=None))
            last = kept.number
        return RunPage(tuple(found), "")

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        await trio.lowlevel.checkpoint()
        start = max(after, 0)
        return self._find(run_id).events[start : start + max(limit, 0)]

    async def adopt(self, limit: int = 100) -> Sequence[Adopted]:  # noqa: ARG002 - the holder of every run is here
        await trio.lowlevel.checkpoint()
        return ()

    async def ask_stop(self, run_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self._find(run_id)
        if run_id not in self._ended:
            self._asked[run_id] = None

    async def asked_stops(self) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return tuple(self._asked)

    async def claim(self, key: str, fingerprint: str) -> Claim:
        await trio.lowlevel.checkpoint()
        return self._answers.claim(key, fingerprint)

    async def settle(self, key: str, epoch: int, outcome: Outcome | None, ttl: float = 0.0) -> None:
        await trio.lowlevel.checkpoint()
        self._answers.settle(key, epoch, outcome, ttl)

    async def use(self, uses: Sequence[QuotaUse]) -> Sequence[QuotaUse]:
        await trio.lowlevel.checkpoint()
        return self._uses.add(uses)

    async def remember(self, session_id: str, entries: Sequence[SessionEntry], keep: int) -> None:
        await trio.lowlevel.checkpoint()
        self._sessions.remember(session_id, entries, keep)

    async def session(self, session_id: str) -> Sequence[SessionEntry]:
        await trio.lowlevel.checkpoint()
        return self._sessions.entries(session_id)

    async def forget_session(self, session_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self._sessions.forget(session_id)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        for kept in (self._runs, self._ended, self._by_request, self._asked, self._answers, self._uses, self._sessions):
            kept.clear()
        self._events = self._bytes = 0

    def _find(self, run_id: str) -> _Kept:
        kept = self._runs.get(run_id)
        if kept is None:
            raise NotFound(f"no run has the id {run_id}; it never was, or has been forgotten")
        return kept

    def _held(self, run_id: str, epoch: int) -> _Kept:
        kept = self._find(run_id)
        if epoch != EPOCH:
            raise LeaseLost(f"run {run_id} is held with epoch {EPOCH}, not {epoch}; write with the epoch that holds it")
        return kept

    def _over(self) -> bool:
        return self._events > self._max_events or self._bytes > self._max_bytes

    def _make_room(self, runs: int) -> None:
        while self._ended and (len(self._runs) > runs or self._over()):
            self._forget_first()
        self._forget_old()

    def _forget_old(self) -> None:
        while self._ended and self._clock() - next(iter(self._ended.values())) > self._max_age:
            self._forget_first()

    def _forget_first(self) -> None:
        run_id = next(iter(self._ended))
        del self._ended[run_id]
        kept = self._runs.pop(run_id)
        self._by_request.pop((kept.record.tenant, kept.record.request_id), None)
        self._events -= len(kept.events)
        self._bytes -= kept.size


def _matches(record: RunRecord, query: RunQuery) -> bool:
    if query.states and record.state not in query.states:
        return False
    return all(record.labels.get(name) == value for name, value in query.labels.items())


# A page token names the last run of the page before. New runs have higher numbers, so they never shift a later page.


def _write_token(number: int) -> str:
    return base64.urlsafe_b64encode(f"run:{number}".encode()).decode()


def _read_token(token: str) -> int:
    try:
        kind, _, number = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        kind, number = "", ""
    if kind != "run" or not number.isdecimal():
        raise InvalidRequest([Violation("page_token", "is not one that was given out; leave it empty to start over")])
    return int(number)


def _event_size(event: Event) -> int:
    match event.detail:
        case MemberEnded(outcome=outcome):
            # Groups that the member ran have told of themselves in events of their own.
            return OVERHEAD * (1 + len(outcome.attempt_log)) + _size(outcome.output)
        case MemberProgress(report=report):
            return OVERHEAD + report.size
        case GroupEnded(result=result):
            return OVERHEAD + _size(result.aggregate)
        case GroupStarted(seats=seats):
            return OVERHEAD * (1 + len(seats))
        case _:
            return OVERHEAD


def _result_size(result: RunResult) -> int:
    return OVERHEAD + _size(result.output) + sum(map(_group_size, result.groups))


def _group_size(group: GroupResult) -> int:
    return OVERHEAD + _size(group.aggregate) + sum(OVERHEAD + _outcome_size(outcome) for outcome in group.outcomes)


def _outcome_size(outcome: Outcome) -> int:
    attempts = OVERHEAD * len(outcome.attempt_log)
    return attempts + _size(outcome.output) + sum(map(_group_size, outcome.nested))


def _size(payload: Payload | None) -> int:
    return 0 if payload is None else payload.size
