"""Following a run: its events, one by one or in batches, and its result at the end."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import trio

from motet.engine import causes
from motet.engine.journal import EventBuffer
from motet.model.event import Event
from motet.model.result import RunResult

if TYPE_CHECKING:
    from motet.engine.run import RunExecution

MAX_BATCH: Final = 512
"""Events in one batch: a few ten kilobytes as a message, far below what transports allow."""


class RunStream(ABC):
    """A run that is followed. `async with` it, iterate over it, and read `result` when the iteration has ended.

    For one reader. It is its own iterator and no generator, so that a reader may stop anywhere without leaving one behind.
    """

    run_id: str
    result: RunResult | None
    """How the run ended; None until then."""

    def __init__(self) -> None:
        self._taken: deque[Event] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._taken:
            self._taken.extend(await self._next_batch())
        if not self._taken:
            raise StopAsyncIteration
        return self._taken.popleft()

    def batches(self) -> "Batches":
        """The events, all that wait at once, at most 512; ends after the last."""
        return Batches(self)

    async def next_batch(self) -> Sequence[Event]:
        """The next events, at least one; empty after the last."""
        if self._taken:
            batch = tuple(self._taken)
            self._taken.clear()
            return batch
        return await self._next_batch()

    @abstractmethod
    async def _next_batch(self) -> Sequence[Event]: ...

    @abstractmethod
    def cancel(self) -> None:
        """Ask the run to stop. Go on iterating to see how it ends. Of no effect on a run that is only watched."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Batches:
    """The batches of a stream."""

    def __init__(self, stream: RunStream) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Event]:
        batch = await self._stream.next_batch()
        if not batch:
            raise StopAsyncIteration
        return batch


class OwnStream(RunStream):
    """A run that lives as long as this context: leaving it early stops the run and waits for the receipts."""

    def __init__(self, run: "RunExecution") -> None:
        super().__init__()
        self._run = run
        self._buffer = EventBuffer()
        self.run_id = run.run_id
        run.follow(self._buffer.put)
        self._away = run.engine.away()

    @property
    def result(self) -> RunResult | None:  # type: ignore[override] # read from the run, which outlives every iteration
        return self._run.result

    def cancel(self) -> None:
        self._run.stop(causes.cancelled(trio.current_time()))

    async def _next_batch(self) -> Sequence[Event]:
        return await self._buffer.take(MAX_BATCH)

    async def __aenter__(self) -> Self:
        await self._run.engine.know(self._run.request.tenant)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._run.enter()
        self._run.engine.spawn(self._run, self._buffer.close)
        self._away.go()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._run.result is None:
            now = trio.current_time()
            deadline = self._run.caller_deadline
            leaving = "the caller left the stream" if error is None else "the caller cancelled the run"
            self._run.stop(
                causes.deadline_exceeded(deadline, "caller") if now >= deadline else causes.cancelled(now, leaving)
            )
        # Bounded: a stopped run detaches members that do not stop within the grace.
        with self._away.bounded(), trio.CancelScope(shield=True):
            await self._run.done.wait()
        await self._away.back()  # noqa: ASYNC102 - waiting for width is cancellable, as everywhere
