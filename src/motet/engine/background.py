"""Runs that outlive their caller: started, recorded in a store, watched, joined, cancelled by id."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import trio

from motet.engine import causes
from motet.engine.away import Away
from motet.engine.journal import EventBuffer
from motet.engine.resolve import groups_of
from motet.engine.stream import MAX_BATCH, RunStream
from motet.errors import NotFound, RequestIdReused, Unavailable
from motet.model.event import Event
from motet.model.result import RunResult
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.model.state import State
from motet.ports import Store

if TYPE_CHECKING:
    from motet.engine.engine import Engine
    from motet.engine.run import RunExecution

STORE_PATIENCE: Final = 30.0
"""Seconds that a write may take once it must not be given up; a store that needs longer has failed."""
MAX_TARGET: Final = 200
_log = logging.getLogger("motet.engine")


@dataclass(frozen=True, slots=True)
class Started:
    """A run in the background."""

    run_id: str
    existing: bool
    """The request_id was known, and this is the run that it had started."""


class LiveRun:
    """A background run that has not ended, and the notice that there is more to read."""

    def __init__(self, run: "RunExecution", attached: bool) -> None:
        self.run = run
        self.attached = attached
        """Somebody waits for it, and it is stopped when the last of them leaves."""
        self.followers = 0
        self.recorded = trio.Event()
        """Its result is in the store."""
        self._changed = trio.Event()

    @property
    def changed(self) -> trio.Event:
        """Set at the next change; take it before reading."""
        return self._changed

    def notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Background:
    """The background runs of an engine."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine = engine
        self._store = store
        self._live: dict[str, LiveRun] = {}

    async def start(self, request: RunRequest, *, attached: bool = False) -> Started:
        """Start a run, or find the one that the same request_id has started."""
        run = self._engine.prepare(request, detached=True)
        record = self.record_of(run)
        buffer = EventBuffer()
        run.follow(buffer.put)
        existing = await self._create(record)
        if existing is None:
            live = self._live[run.run_id] = LiveRun(run, attached)
            self._engine.spawn(run, buffer.close)
            self._engine.nursery.start_soon(self._record, live, buffer, record, name=f"motet record {run.run_id}")
            return Started(run.run_id, existing=False)
        if existing.fingerprint != record.fingerprint:
            message = f"request_id {request.request_id!r} belongs to another request; take a new one"
            raise RequestIdReused(message, details={"run_id": existing.run_id})
        joined = self._live.get(existing.run_id)
        if joined is not None and not attached:
            joined.attached = False
        return Started(existing.run_id, existing=True)

    async def get(self, run_id: str) -> RunRecord:
        record = await self._store.get(run_id)
        if record is None:
            raise _unknown(run_id)
        return record

    async def list(self, query: RunQuery) -> RunPage:
        return await self._store.list(query)

    async def cancel(self, run_id: str) -> RunRecord:
        """Stop a run and return its record, receipts included, once it has ended."""
        live = self._live.get(run_id)
        if live is not None:
            live.run.stop(causes.cancelled(trio.current_time()))
            await live.recorded.wait()
        return await self.get(run_id)

    def record_of(self, run: "RunExecution") -> RunRecord:
        """What is known of a run now."""
        request = run.request
        record = RunRecord(
            run_id=run.run_id,
            state=State.RUNNING,
            target=",".join(group.group.name for group in groups_of(run.node))[:MAX_TARGET],
            started_at=run.started_at,
            labels=dict(request.labels),
            request_id=request.request_id,
            fingerprint=_fingerprint(request) if request.request_id else "",
            session_id=request.session_id,
        )
        return record if run.result is None else _ended(record, run.result, run.journal.sequence)

    async def wait_recorded(self) -> None:
        """Wait until the store knows how every run has ended."""
        while self._live:
            await next(iter(self._live.values())).recorded.wait()

    def away(self) -> Away:
        """For the caller that will wait for a run."""
        return self._engine.away()

    def live(self, run_id: str) -> LiveRun | None:
        return self._live.get(run_id)

    async def read(self, run_id: str, after: int) -> Sequence[Event]:
        return await self._store.events(run_id, after, MAX_BATCH)

    async def join(self, request: RunRequest) -> RunResult:
        """`run` for a request with a request_id: callers with the same one share one run."""
        async with WatchStream(self, (await self.start(request, attached=True)).run_id, 0, follows=True) as stream:
            return await stream.end()

    async def _create(self, record: RunRecord) -> RunRecord | None:
        try:
            # Not given up half way: a run that the store knows must also run.
            with trio.fail_after(STORE_PATIENCE, shield=True):
                return await self._store.create(record)
        except trio.TooSlowError:
            message = f"the store did not answer within {STORE_PATIENCE:g} s; try again later"
            raise Unavailable(message, reason="STORE_UNAVAILABLE") from None

    async def _record(self, live: LiveRun, buffer: EventBuffer, record: RunRecord) -> None:
        run = live.run
        last = 0
        # A shield, since a record must also be made of how a run ends when the engine closes; bounded by the run itself,
        # which detaches what does not stop.
        with trio.CancelScope(shield=True):
            try:
                while batch := await buffer.take(MAX_BATCH):
                    with trio.fail_after(STORE_PATIENCE):
                        await self._store.append(run.run_id, batch)
                    last = batch[-1].sequence
                    live.notify()
                await run.done.wait()
                await self._finish(run, record, last)
            except Exception:  # noqa: BLE001 - a store is foreign code; its failure ends this run only
                # A run that cannot be recorded must not go on unseen, nor take the engine's other runs with it.
                _log.exception("run %s: the store failed, the run is stopped", run.run_id)
                run.stop(causes.cancelled(trio.current_time(), "the store failed"))
                await run.done.wait()
                await self._finish_anyway(run, record, last)
            finally:
                del self._live[run.run_id]
                live.recorded.set()
                live.notify()

    async def _finish(self, run: "RunExecution", record: RunRecord, last: int) -> None:
        if run.result is not None:
            with trio.fail_after(STORE_PATIENCE):
                await self._store.finish(run.run_id, _ended(record, run.result, last))

    async def _finish_anyway(self, run: "RunExecution", record: RunRecord, last: int) -> None:
        """The store failed before; a run that stays RUNNING in it for ever would be worse than one more try."""
        try:
            await self._finish(run, record, last)
        except Exception:  # noqa: BLE001 - as in _record
            _log.exception("run %s: how it ended could not be recorded either", run.run_id)


class WatchStream(RunStream):
    """A background run, replayed from a cursor and then followed live. A watcher never slows the run."""

    def __init__(self, background: Background, run_id: str, after: int, *, follows: bool = False) -> None:
        """With `follows` the run is stopped when it was started for its followers and the last of them leaves."""
        super().__init__()
        self._background = background
        self._after = after
        self._follows = follows
        self._away = Away(None)
        self.run_id = run_id
        self.result: RunResult | None = None

    def cancel(self) -> None:
        live = self._background.live(self.run_id) if self._follows else None
        if live is not None:
            live.run.stop(causes.cancelled(trio.current_time()))

    async def _next_batch(self) -> Sequence[Event]:
        while True:
            live = self._background.live(self.run_id)
            changed = live.changed if live is not None else None
            batch = await self._background.read(self.run_id, self._after)
            if batch:
                self._after = batch[-1].sequence
                return batch
            if changed is None:
                self.result = (await self._background.get(self.run_id)).result
                return ()
            await changed.wait()

    async def end(self) -> RunResult:
        """Wait for the end without reading the events."""
        live = self._background.live(self.run_id)
        if live is not None:
            await live.recorded.wait()
        result = self.result = (await self._background.get(self.run_id)).result
        if result is None:
            raise _unknown(self.run_id)
        return result

    async def __aenter__(self) -> Self:
        live = self._background.live(self.run_id)
        if live is None:
            await self._background.get(self.run_id)
        elif self._follows:
            live.followers += 1
        self._away = self._background.away()
        self._away.go()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        live = self._background.live(self.run_id)
        if self._follows and live is not None:
            live.followers -= 1
            if live.attached and not live.followers:
                await self._stop(live)  # noqa: ASYNC102 - shielded and bounded inside
        await self._away.back()  # noqa: ASYNC102 - waiting for width is cancellable, as everywhere

    async def _stop(self, live: LiveRun) -> None:
        live.run.stop(causes.cancelled(trio.current_time(), "every caller that waited for the run has left"))
        # Bounded: a stopped run detaches members that do not stop, and writing its record has a bound too.
        with self._away.bounded(), trio.CancelScope(shield=True):
            await live.recorded.wait()
        if self.result is None:
            self.result = live.run.result


def _ended(record: RunRecord, result: RunResult, last: int) -> RunRecord:
    ended_at = max(datetime.now(UTC), record.started_at)
    return replace(record, state=result.state, ended_at=ended_at, last_sequence=last, result=result)


def _unknown(run_id: str) -> NotFound:
    message = f"there is no run {run_id!r}; it never was a background run, or has been forgotten"
    return NotFound(message, reason="RUN_NOT_FOUND")


def _fingerprint(request: RunRequest) -> str:
    return hashlib.sha256(_canonical(request).encode(errors="surrogatepass")).hexdigest()


def _canonical(value: object) -> str:
    """Text that is the same for equal requests whatever the order of their maps."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k!r}:{_canonical(v)}" for k, v in sorted(value.items())) + "}"
    if is_dataclass(value) and not isinstance(value, type):
        parts = ",".join(f"{f.name}={_canonical(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({parts})"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_canonical, value)) + "]"
    info = getattr(value, "info", None)
    return f"agent({info.name})" if info is not None else repr(value)
