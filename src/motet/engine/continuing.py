"""Runs whose process ended: taken over from the store, and carried on from where their events say that they stood."""

import logging
from typing import TYPE_CHECKING, Final

import trio

from motet.engine import causes, settle
from motet.engine.causes import StopCause
from motet.engine.history import INTERRUPTED, History
from motet.engine.recording import ended_record
from motet.engine.run import Past
from motet.engine.stream import MAX_BATCH
from motet.errors import MotetError
from motet.model.event import Event, RunEnded, RunStarted
from motet.model.outcome import Failure
from motet.model.result import RunResult, Stats
from motet.model.state import State
from motet.ports import Adopted

if TYPE_CHECKING:
    from motet.engine.background import Background

LOOK_EVERY: Final = 2.0
"""Seconds between looks for runs whose process has ended, and for runs that another process asks to stop."""
ORPHAN_GRACE: Final = 60.0
"""Seconds in which the callers of a run that is not to go on without them may come back for it."""
TRY_AGAIN: Final = 10.0
"""Seconds after which a run is tried again that could not be continued."""
_log = logging.getLogger("motet.engine")


class Continuation:
    """What an engine does for the runs of others that share its store."""

    def __init__(self, background: "Background") -> None:
        self._background = background
        self._turn = trio.Lock()
        self._orphans: dict[str, tuple[Adopted, float]] = {}
        """Runs that are not carried on yet, and when they are to be, on trio's clock."""

    async def watch(self) -> None:
        """Look from time to time, for as long as the engine is open."""
        while True:
            await trio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Take over what has nobody, stop what is to be stopped. Never raises for what the store does."""
        store = self._background.store
        try:
            while adopted := await store.adopt():
                now = trio.current_time()
                for each in adopted:
                    grace = ORPHAN_GRACE if each.record.attached else 0.0
                    self._orphans[each.record.run_id] = (each, now + grace)
                await self._stop_asked()
                await self._continue_due()
            await self._stop_asked()
            await self._continue_due()
        except MotetError as error:
            _log.warning("the store could not be looked through for runs to continue: %s", error)

    async def _stop_asked(self) -> None:
        for run_id in await self._background.store.asked_stops():
            cause = causes.cancelled(trio.current_time())
            live = self._background.live(run_id)
            if live is not None:
                live.run.stop(cause)
            else:
                await self.continue_run(run_id, cause)

    async def continue_run(self, run_id: str, cause: StopCause | None = None) -> bool:
        """Carry on a run whose callers have come back, or stop it for a cause. False when it is none of those that wait."""
        # One at a time: whoever comes second for a run finds it live.
        async with self._turn:
            found = self._orphans.pop(run_id, None)
            if found is None:
                return False
            try:
                await self._carry_on(found[0], cause)
            except BaseException:
                # The run is this engine's already: who else should carry it on.
                self._orphans[run_id] = found
                raise
            return True

    async def _continue_due(self) -> None:
        now = trio.current_time()
        for run_id, (each, due) in list(self._orphans.items()):
            if due > now:
                continue
            try:
                # Nobody has come back for a run that its callers waited for: nobody is to pay for it any more.
                await self.continue_run(run_id, causes.interrupted(now) if each.record.attached else None)
            except Exception as error:  # noqa: BLE001 - what is kept is foreign; one run must not keep the others from going on
                _log.warning("run %s could not be continued, it is tried again: %s", run_id, error)
                self._orphans[run_id] = (each, now + TRY_AGAIN)

    async def _carry_on(self, adopted: Adopted, cause: StopCause | None) -> None:
        record = adopted.record
        history = History()
        started_at = record.started_at
        while batch := await self._background.store.events(record.run_id, history.sequence, MAX_BATCH):
            for event in batch:
                history.add(event)
                if isinstance(event.detail, RunStarted):
                    started_at = event.detail.started_at
        past = Past(record.run_id, started_at, history)
        if adopted.request is None:
            await self._end(
                adopted,
                past,
                Failure(
                    INTERRUPTED.reason,
                    f"{INTERRUPTED.message}, and what it was asked was given as objects of its program",
                ),
            )
            return
        try:
            run = self._background.engine.prepare(adopted.request, detached=True, accepted=True, past=past)
        except MotetError as error:
            await self._end(
                adopted,
                past,
                Failure(INTERRUPTED.reason, f"{INTERRUPTED.message}, and it cannot be continued: {error.message}"),
            )
            return
        _log.info("run %s is continued after event %d", record.run_id, history.sequence)
        # It was admitted when it began.
        run.enter(admitted=True)
        self._background.launch(run, record, adopted.epoch, can_go_on=True)
        if cause is not None:
            run.stop(cause)

    async def _end(self, adopted: Adopted, past: Past, failure: Failure) -> None:
        """End a run that cannot go on: what is open in its events is closed, and its record says why."""
        record, history = adopted.record, past.history
        store = self._background.store
        told = list(history.close_run(history.elapsed, failure))
        events = [
            Event(history.sequence + number, history.elapsed, each.detail, each.group, each.member, each.parent)
            for number, each in enumerate(told, 1)
        ]
        results = [history.result(group) for group in history.groups.values() if not group.parent]
        groups = tuple(result for result in results if result is not None)
        ended = history.ended or RunEnded(
            State.FAILED,
            failure,
            settle.total_usage(group.usage for group in groups),
            settle.add_up([group.stats for group in groups], history.peak) if groups else Stats(),
        )
        if not history.sequence:
            events.insert(0, Event(1, 0.0, RunStarted(record.run_id, past.started_at, 0, record.labels)))
        if history.ended is None:
            events.append(Event(history.sequence + len(events) + 1, history.elapsed, ended))
        result = RunResult(
            run_id=record.run_id,
            state=ended.state,
            groups=groups,
            usage=ended.usage,
            failure=ended.failure,
            started_at=past.started_at,
            elapsed=history.elapsed,
            stats=ended.stats,
        )
        _log.warning("run %s: %s", record.run_id, failure.message)
        if events:
            await store.append(record.run_id, events, adopted.epoch)
        last = events[-1].sequence if events else history.sequence
        await store.finish(record.run_id, ended_record(record, result, last), adopted.epoch)
