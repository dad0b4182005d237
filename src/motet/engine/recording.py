"""Brings the events and the end of one background run into the store, whatever becomes of either."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from motet.engine import causes
from motet.engine.causes import StopCause
from motet.engine.journal import EventBuffer
from motet.engine.stream import MAX_BATCH
from motet.errors import LeaseLost, StoreFailed
from motet.model import reason
from motet.model.event import Event
from motet.model.result import RunResult
from motet.model.run import RunRecord
from motet.ports import Store

if TYPE_CHECKING:
    from motet.engine.run import RunExecution

STORE_PATIENCE: Final = 30.0
"""Seconds that a write may take; a store that needs longer has failed."""
FIRST_RETRY: Final = 0.5
LONGEST_RETRY: Final = 30.0
"""Seconds between tries of a store that has failed: a disk that was full may have room again."""
T = TypeVar("T")
_log = logging.getLogger("motet.engine")


class LiveRun:
    """A background run that has not ended, and the notice that there is more to read."""

    def __init__(self, run: "RunExecution", record: RunRecord, epoch: int) -> None:
        self.run = run
        self.record = record
        self.epoch = epoch
        self.attached = record.attached
        """Somebody waits for it, and it is stopped when the last of them leaves."""
        self.followers = 0
        self.recorded = trio.Event()
        """Its result is in the store, or will not be."""
        self.can_go_on = False
        """Another engine that opens the store can carry it on."""
        self.left_at: int | None = None
        """The last event that is recorded here of a run that is left to another engine; None while it is this one's."""
        self.failing = False
        """The store does not take what the run has to tell."""
        self._changed = trio.Event()
        self._kept = 0

    @property
    def changed(self) -> trio.Event:
        """Set at the next change; take it before reading."""
        return self._changed

    def notify(self, kept: int | None = None) -> None:
        """Something has changed; `kept` is the last event that the store has."""
        if kept is not None:
            self._kept = kept
        self._changed.set()
        self._changed = trio.Event()

    def leave(self) -> None:
        """Record what was told so far and no more: what is stopped from now on goes on elsewhere."""
        if self.can_go_on and not self.attached and self.run.result is None and self.left_at is None:
            self.left_at = self.run.journal.sequence
            self.run.left = True

    async def concluded(self) -> None:
        """Wait until the run has ended, and for as long as patience lasts until the store knows it."""
        await self.run.done.wait()
        with trio.move_on_after(STORE_PATIENCE):
            await self.recorded.wait()

    async def barrier(self) -> None:
        """Wait until the store has all that the run has told so far."""
        told = self.run.journal.sequence
        while self._kept < told and not self.recorded.is_set():
            await self._changed.wait()


class Recorder:
    """The way of one run into the store."""

    def __init__(self, store: Store, live: LiveRun, buffer: EventBuffer, giving_up: trio.Event) -> None:
        """`giving_up` is set when the engine closes: a store that fails then is not tried again."""
        self._store = store
        self._live = live
        self._buffer = buffer
        self._giving_up = giving_up

    async def record(self) -> None:
        """Until the end of the run is kept. Never raises: what the store does must not take other runs with it."""
        live = self._live
        run = live.run
        last = run.history.sequence if run.history is not None else 0
        # A shield, since a record must also be made of how a run ends when the engine closes; bounded by the run itself,
        # which detaches what does not stop, and by the patience with the store.
        with trio.CancelScope(shield=True):
            try:
                while batch := await self._buffer.take(MAX_BATCH):
                    if live.left_at is not None:
                        batch = [event for event in batch if event.sequence <= live.left_at]
                    if batch:
                        await self._append(batch)
                        last = batch[-1].sequence
                        live.notify(last)
                await run.done.wait()
                if run.result is not None and live.left_at is None:
                    ended = ended_record(live.record, run.result, last)
                    await self._until_kept(lambda: self._store.finish(run.run_id, ended, live.epoch))
            except LeaseLost as error:
                _log.warning("run %s: %s", run.run_id, error)
                await self._stop(causes.cancelled(trio.current_time(), "another process has taken the run over"))
            except Exception:  # noqa: BLE001 - a store is foreign code; its failure ends this run only
                # A run that cannot be recorded must not go on unseen.
                _log.exception("run %s: the store failed, the run is stopped", run.run_id)
                await self._stop(causes.cancelled(trio.current_time(), "the store failed"))

    async def _append(self, batch: Sequence[Event]) -> None:
        live = self._live
        await self._until_kept(lambda: self._store.append(live.run.run_id, batch, live.epoch))

    async def _until_kept(self, write: Callable[[], Awaitable[T]]) -> T:
        """Try until the store has taken it, or the engine gives up. The run is stopped at the first failure: what cannot be
        recorded must not go on costing; what it had told so far is kept once the store takes it."""
        live = self._live
        wait = FIRST_RETRY
        while True:
            try:
                with trio.fail_after(STORE_PATIENCE):
                    return await write()
            except (StoreFailed, trio.TooSlowError) as error:
                if self._giving_up.is_set():
                    raise
                if not live.failing:
                    live.failing = True
                    _log.warning("run %s: the store does not take it, the run is stopped: %s", live.run.run_id, error)
                    live.run.stop(_store_failed(error))
            with trio.move_on_after(wait):
                await self._giving_up.wait()
            wait = min(2 * wait, LONGEST_RETRY)

    async def _stop(self, cause: StopCause) -> None:
        self._live.run.stop(cause)
        # What it still tells is read and dropped, so that it ends.
        while await self._buffer.take(MAX_BATCH):
            pass
        await self._live.run.done.wait()


def ended_record(record: RunRecord, result: RunResult, last: int) -> RunRecord:
    """The record of a run at its end."""
    ended_at = max(datetime.now(UTC), record.started_at)
    return replace(record, state=result.state, ended_at=ended_at, last_sequence=last, result=result)


def _store_failed(error: Exception) -> StopCause:
    what = error.reason if isinstance(error, StoreFailed) else reason.STORE_UNAVAILABLE
    text = error.message if isinstance(error, StoreFailed) else f"the store did not answer within {STORE_PATIENCE:g} s"
    return StopCause(reason.CANCELLED, f"the run cannot be recorded: {text}", trio.current_time(), {"store": what})
