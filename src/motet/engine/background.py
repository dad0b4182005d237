"""Runs that outlive their caller: started, recorded in a store, watched, joined, cancelled by id."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import trio

from motet.engine import causes
from motet.engine.away import Away
from motet.engine.continuing import Continuation
from motet.engine.idempotency import fingerprint_of
from motet.engine.journal import EventBuffer
from motet.engine.recording import STORE_PATIENCE, LiveRun, Recorder, ended_record
from motet.engine.resolve import Names, groups_of
from motet.engine.stream import MAX_BATCH, RunStream
from motet.errors import MotetError, NotFound, RequestIdReused, StoreFailed
from motet.model.event import Event
from motet.model.plan import Group, Parallel, Plan
from motet.model.plan import Sequence as PlanSequence
from motet.model.result import RunResult
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.model.state import State
from motet.ports import Store

if TYPE_CHECKING:
    from motet.engine.engine import Engine
    from motet.engine.run import RunExecution

MAX_TARGET: Final = 200
FIRST_LOOK: Final = 0.05
LONGEST_LOOK: Final = 1.0
"""Seconds between looks at a run that goes in another process: nobody here can tell of its events."""
_log = logging.getLogger("motet.engine")


@dataclass(frozen=True, slots=True)
class Started:
    """A run in the background."""

    run_id: str
    existing: bool
    """The request_id was known, and this is the run that it had started."""


class Background:
    """The background runs of an engine."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self.engine = engine
        self.store = store
        self._live: dict[str, LiveRun] = {}
        self._closing = trio.Event()
        self._continuation = Continuation(self)
        self._looking = trio.CancelScope()

    async def open(self) -> None:
        """Carry on what others left behind; from then on look for it from time to time. Raises nothing of the store's."""
        if self.store.shared:
            await self._continuation.look()
            self.engine.nursery.start_soon(self._look, name="motet continuation")

    async def _look(self) -> None:
        with self._looking:
            await self._continuation.watch()

    def drain(self) -> None:
        """Take over nothing more."""
        self._looking.cancel()

    def leave(self) -> None:
        """The engine is about to stop what runs: background runs that another engine can carry on are left to it, where a
        store is shared."""
        if self.store.shared:
            for live in self._live.values():
                live.leave()

    def close(self) -> None:
        """Take over nothing more, and do not wait for a store that fails."""
        self._looking.cancel()
        self._closing.set()

    async def start(self, request: RunRequest, *, attached: bool = False) -> Started:
        """Start a run, or find the one that the same request_id has started."""
        known = await self.store.find(request.request_id, request.tenant) if request.request_id else None
        if known is not None:
            # Before anything is asked of guards: to find a run takes nothing.
            return await self._join(known, request, attached)
        run = self.engine.prepare(request, detached=True)
        record = replace(self.record_of(run), attached=attached)
        run.enter()
        named = by_name(request, self.engine.catalog)
        try:
            existing = await self._create(record, named)
        except BaseException:
            run.leave()
            raise
        if existing is None:
            self.launch(run, record, 1, can_go_on=names_all(named))
            return Started(run.run_id, existing=False)
        run.leave()
        return await self._join(existing, request, attached)

    async def _join(self, existing: RunRecord, request: RunRequest, attached: bool) -> Started:
        """The run that the same request_id has started before."""
        if existing.fingerprint != fingerprint_of(request):
            message = f"request_id {request.request_id!r} belongs to another request; take a new one"
            raise RequestIdReused(message, details={"run_id": existing.run_id})
        if existing.attached and not attached and not existing.state.ended:
            # It goes on without its first callers now, also after a crash.
            await self.store.detach(existing.run_id)
            if (joined := self._live.get(existing.run_id)) is not None:
                joined.attached = False
        await self._continuation.continue_run(existing.run_id)
        return Started(existing.run_id, existing=True)

    def launch(self, run: "RunExecution", record: RunRecord, epoch: int, *, can_go_on: bool) -> None:
        """Let a run go whose record the store holds; `can_go_on` says that another engine could carry it on."""
        live = self._live[run.run_id] = LiveRun(run, record, epoch)
        live.can_go_on = can_go_on
        if run.history is not None:
            live.notify(run.history.sequence)
        run.journal.barrier = live.barrier
        buffer = EventBuffer()
        run.follow(buffer.put)
        self.engine.spawn(run, buffer.close)
        recorder = Recorder(self.store, live, buffer, self._closing)
        self.engine.nursery.start_soon(self._record, live, recorder, name=f"motet record {run.run_id}")

    async def _record(self, live: LiveRun, recorder: Recorder) -> None:
        try:
            await recorder.record()
        finally:
            if self._live.get(live.run.run_id) is live:
                del self._live[live.run.run_id]
            live.recorded.set()
            live.notify()

    async def get(self, run_id: str) -> RunRecord:
        record = await self.store.get(run_id)
        if record is None:
            raise _unknown(run_id)
        return record

    async def list(self, query: RunQuery) -> RunPage:
        return await self.store.list(query)

    async def cancel(self, run_id: str) -> RunRecord:
        """Stop a run and return its record, receipts included, once it has ended."""
        cause = causes.cancelled(trio.current_time())
        if not await self._continuation.continue_run(run_id, cause) and run_id not in self._live:
            record = await self.get(run_id)
            if record.state.ended or not self.store.shared:
                return record
            await self.store.ask_stop(run_id)
        live = self._live.get(run_id)
        if live is not None:
            await self._leave_word(run_id)
            live.run.stop(cause)
            await live.concluded()
            if live.failing:
                message = "the run has stopped, and the store does not take its end; it is tried again"
                raise StoreFailed(message, details={"run_id": run_id})
            return await self.get(run_id)
        look = FIRST_LOOK
        while not (record := await self.get(run_id)).state.ended:
            await trio.sleep(look)
            look = min(2 * look, LONGEST_LOOK)
        return record

    async def _leave_word(self, run_id: str) -> None:
        """A crash in the middle of a stop must not forget it."""
        if self.store.shared:
            try:
                await self.store.ask_stop(run_id)
            except MotetError as error:
                _log.warning("run %s: that it is to be stopped could not be kept: %s", run_id, error)

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
            fingerprint=fingerprint_of(request) if request.request_id else "",
            session_id=request.session_id,
            tenant=request.tenant,
        )
        return record if run.result is None else ended_record(record, run.result, run.journal.sequence)

    async def wait_recorded(self) -> None:
        """Wait until the store knows how every run has ended."""
        while self._live:
            await next(iter(self._live.values())).recorded.wait()

    def away(self) -> Away:
        """For the caller that will wait for a run."""
        return self.engine.away()

    def live(self, run_id: str) -> LiveRun | None:
        return self._live.get(run_id)

    async def read(self, run_id: str, after: int) -> Sequence[Event]:
        return await self.store.events(run_id, after, MAX_BATCH)

    async def join(self, request: RunRequest) -> RunResult:
        """`run` for a request with a request_id: callers with the same one share one run."""
        async with WatchStream(self, (await self.start(request, attached=True)).run_id, 0, follows=True) as stream:
            return await stream.end()

    async def _create(self, record: RunRecord, request: RunRequest | None) -> RunRecord | None:
        try:
            # Not given up half way: a run that the store knows must also run.
            with trio.fail_after(STORE_PATIENCE, shield=True):
                return await self.store.create(record, request)
        except trio.TooSlowError:
            raise StoreFailed(f"the store did not answer within {STORE_PATIENCE:g} s; try again later") from None


class WatchStream(RunStream):
    """A background run, replayed from a cursor and then followed live. A watcher never slows the run."""

    def __init__(self, background: Background, run_id: str, after: int, *, follows: bool = False) -> None:
        """With `follows` the run is stopped when it was started for its followers and the last of them leaves."""
        super().__init__()
        self._background = background
        self._after = after
        self._follows = follows
        self._away = Away(None)
        self._look = FIRST_LOOK
        self._followed: LiveRun | None = None
        """The run that this stream counts as a follower of."""
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
            if changed is not None:
                await changed.wait()
                continue
            record = await self._background.get(self.run_id)
            if record.state.ended or not self._background.store.shared:
                if record.last_sequence > self._after and record.state.ended:
                    # It ended between the two looks.
                    continue
                self.result = record.result
                return ()
            await trio.sleep(self._look)
            self._look = min(2 * self._look, LONGEST_LOOK)

    async def end(self) -> RunResult:
        """Wait for the end without reading the events."""
        while True:
            live = self._background.live(self.run_id)
            if live is not None:
                await live.concluded()
            record = await self._background.get(self.run_id)
            if record.result is not None:
                self.result = record.result
                return record.result
            if live is not None and live.run.result is not None:
                # It ended, and the store did not take that.
                self.result = live.run.result
                return live.run.result
            if record.state.ended or not self._background.store.shared:
                raise _unknown(self.run_id)
            await trio.sleep(self._look)
            self._look = min(2 * self._look, LONGEST_LOOK)

    async def __aenter__(self) -> Self:
        live = self._background.live(self.run_id)
        if live is None:
            await self._background.get(self.run_id)
        elif self._follows:
            self._followed = live
            live.followers += 1
        self._away = self._background.away()
        self._away.go()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        live = self._followed
        if live is not None:
            live.followers -= 1
            if live.attached and not live.followers and not live.recorded.is_set():
                await self._stop(live)  # noqa: ASYNC102 - shielded and bounded inside
        await self._away.back()  # noqa: ASYNC102 - waiting for width is cancellable, as everywhere

    async def _stop(self, live: LiveRun) -> None:
        live.run.stop(causes.cancelled(trio.current_time(), "every caller that waited for the run has left"))
        # Bounded: a stopped run detaches members that do not stop, and writing its record has a bound too.
        with self._away.bounded(), trio.CancelScope(shield=True):
            await live.concluded()
        if self.result is None:
            self.result = live.run.result


class JoinedStream(WatchStream):
    """A run that callers with the same request_id share."""

    def __init__(self, background: Background, request: RunRequest) -> None:
        super().__init__(background, "", 0, follows=True)
        self._request = request

    async def __aenter__(self) -> Self:
        self.run_id = (await self._background.start(self._request, attached=True)).run_id
        await super().__aenter__()
        return self


def _unknown(run_id: str) -> NotFound:
    message = f"there is no run {run_id!r}; it never was a background run, or has been forgotten"
    return NotFound(message, reason="RUN_NOT_FOUND")


def by_name(request: RunRequest, catalog: Names) -> RunRequest:
    """The request with its plan spelled out and its agents named, so that it means the same in another process whatever
    becomes of the catalog's groups. Agents that the catalog does not know stay objects."""
    plan = request.target
    if isinstance(plan, str):
        plan = catalog.groups[plan].group
    return replace(request, target=_named(plan, catalog))


def names_all(request: RunRequest) -> bool:
    """Every agent of the plan is given by name."""
    waiting = [request.target]
    while waiting:
        match waiting.pop():
            case Group() as group:
                if any(not isinstance(member.agent, str) for member in group.seats):
                    return False
            case PlanSequence(steps=plans) | Parallel(branches=plans):
                waiting.extend(plans)
            case _:
                pass
    return True


def _named(plan: Plan, catalog: Names) -> Plan:
    match plan:
        case Group():
            members = tuple(
                replace(member, agent=member.agent_name)
                if catalog.agents.get(member.agent_name) is member.agent
                else member
                for member in plan.seats
            )
            return replace(plan, members=members, aggregation=plan.rule)
        case PlanSequence():
            return replace(plan, steps=tuple(_named(step, catalog) for step in plan.steps))
        case Parallel():
            return replace(plan, branches=tuple(_named(branch, catalog) for branch in plan.branches))
