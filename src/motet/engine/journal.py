"""Numbers the facts of one run and hands them on: to the engine's observers, and to whoever follows this run."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import trio

from motet.model.event import AttemptEnded, Detail, Event
from motet.ports import Observer

MAX_PROGRESS_PER_MEMBER: Final = 10_000
MAX_PROGRESS_PER_RUN: Final = 200_000
"""Bounds on progress events, so that a chatty member cannot fill the memory of whoever keeps or follows the run; enough
for every token of a long answer. Reports beyond are counted in `Stats.progress_dropped`."""

Sink: TypeAlias = Callable[[Event], None]
_log = logging.getLogger("motet.engine")


class Observers:
    """The engine's observers. One that raises is logged and not called again: it must not take runs down."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def __call__(self, run_id: str, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer(run_id, event)
            except Exception:  # noqa: BLE001 - observers are foreign code
                _log.exception("observer %r failed and is not called again", observer)
                self._observers.remove(observer)


class Journal:
    """The event stream of one run, nested runs included."""

    def __init__(self, run_id: str, observers: Observers, started: float) -> None:
        """`started` is on trio's clock."""
        self.run_id = run_id
        self.started = started
        self.sequence = 0
        self.elapsed = 0.0
        """Seconds, of the last event that was heard."""
        self.heard = bool(observers)
        """Somebody listens."""
        self._sinks: list[Sink] = []
        self.progress = 0
        self.barrier: Callable[[], Awaitable[None]] | None = None
        """Set for a run that is recorded: waits until all that has been told so far is."""
        self._observers = observers

    def follow(self, sink: Sink) -> None:
        """Hear every event from now on."""
        self._sinks.append(sink)
        self.heard = True

    def pass_over(self) -> None:
        """Something happened that nobody hears of, and nobody can begin to later: it is counted, not described."""
        self.sequence += 1

    def emit(self, detail: Detail, group: str = "", member: str = "", parent: str = "") -> None:
        self.sequence += 1
        if not self.heard:
            return
        # Never back, not even by a rounding: a run that goes on after a crash counts from another moment.
        self.elapsed = max(self.elapsed, trio.current_time() - self.started)
        event = Event(self.sequence, self.elapsed, detail, group, member, parent)
        for sink in self._sinks:
            sink(event)
        if self._observers:
            self._observers(self.run_id, event)


class EventBuffer:
    """Events that one follower has not taken yet. Filled synchronously, taken in batches: everything that waits is
    one batch, so a burst costs one wake-up."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._closed = False
        self._wake = trio.Event()

    def put(self, event: Event) -> None:
        self._events.append(event)
        self._wake.set()

    def close(self) -> None:
        """No event will follow."""
        self._closed = True
        self._wake.set()

    async def take(self, limit: int) -> list[Event]:
        """The next events, about `limit` at most; waits for one. Empty once closed and taken whole. For one reader."""
        while not self._events and not self._closed:
            self._wake = trio.Event()
            await self._wake.wait()
        await trio.lowlevel.checkpoint()
        batch = [self._events.popleft() for _ in range(min(limit, len(self._events)))]
        while self._events and isinstance(batch[-1].detail, AttemptEnded):
            # What a last attempt said is in the member's own end: a store must not get the one without the other.
            batch.append(self._events.popleft())
        return batch
