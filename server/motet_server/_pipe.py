"""Bounded queues that carry the messages of one RPC between trio's thread and the asyncio loop's.

Knows neither gRPC nor what the messages mean. Nothing is locked: every attribute belongs to one of the two threads, and
only posted callbacks cross. The sending side owns a credit of messages and bytes, the taking side gives it back by halves.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

QUEUE_BYTES = 4 * 1024 * 1024
"""Bytes that wait in one queue, one message more at most: 4 MiB, so that few large messages do not fill the memory where
`queue_size` small ones would not."""


class Crossing:
    """Posts callbacks from one thread into the other. A callback may be dropped when the other side has ended.

    What is posted before the other side has taken the last post goes with it: waking a thread costs a system call, and
    the interpreter lock is handed over at each.
    """

    def __init__(self, token: trio.lowlevel.TrioToken, loop: asyncio.AbstractEventLoop) -> None:
        self._token = token
        self._loop = loop
        self._for_trio = _Posts()
        self._for_loop = _Posts()

    def to_trio(self, fn: Callable[[*Ts], object], *args: *Ts) -> bool:
        """Run `fn` in trio's thread, in order of posting; False when trio has ended. `fn` must not raise. Loop only."""
        posts = self._for_trio
        if posts.put(partial(fn, *args)):
            try:
                self._token.run_sync_soon(posts.take)
            except trio.RunFinishedError:
                posts.called = False
                return False
        return True

    @trio.lowlevel.enable_ki_protection  # cut between the two steps, it would leave the other side uncalled for good
    def to_loop(self, fn: Callable[[*Ts], object], *args: *Ts) -> None:
        """Run `fn` in the loop's thread, in order of posting. `fn` must not raise. Trio only."""
        posts = self._for_loop
        if posts.put(partial(fn, *args)):
            with suppress(RuntimeError):  # the loop is closed: it has no RPC left that could miss the callback
                self._loop.call_soon_threadsafe(posts.take)


class _Posts:
    """Callbacks on their way in one direction. The only thing that both threads touch, without a lock: whoever takes
    lowers the flag before looking, and whoever puts has put before looking at the flag, so no callback stays behind."""

    def __init__(self) -> None:
        self.called = False
        """The other thread is called and has not come yet."""
        self._waiting: deque[Callable[[], object]] = deque()

    def put(self, callback: Callable[[], object]) -> bool:
        """Add a callback; True when the other thread is to be called for it."""
        self._waiting.append(callback)
        if self.called:
            return False
        self.called = True
        return True

    def take(self) -> None:
        """Run what waits, in the other thread. What comes meanwhile has called again."""
        self.called = False
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()


class Credit:
    """What the sending side may still send before it has to wait. Used by the thread of the sending side only."""

    def __init__(self, size: int) -> None:
        self._messages = size
        self._bytes = QUEUE_BYTES

    @property
    def left(self) -> bool:
        """Whether one more message may be sent, however large."""
        return self._messages > 0 and self._bytes > 0

    def spend(self, data: bytes) -> None:
        """Count a message that is sent."""
        self._messages -= 1
        self._bytes -= len(data)

    def restore(self, messages: int, size: int) -> None:
        """Count messages that were taken at the other side."""
        self._messages += messages
        self._bytes += size


class Debt:
    """What was taken and not yet given back. Used by the thread of the taking side only.

    It is given back by halves of the queue: a post for each message would cost as much as the message.
    """

    def __init__(self, size: int) -> None:
        self._half = (size + 1) // 2
        self._messages = 0
        self._bytes = 0

    def add(self, data: bytes) -> tuple[int, int] | None:
        """Count a message that was taken; the messages and bytes to give back when it is time."""
        self._messages += 1
        self._bytes += len(data)
        if self._messages < self._half and self._bytes * 2 < QUEUE_BYTES:
            return None
        due = (self._messages, self._bytes)
        self._messages = self._bytes = 0
        return due


class Responses:
    """Messages on their way from a trio task to the loop. `wake` is called in the loop's thread when one arrives."""

    def __init__(self, crossing: Crossing, size: int, wake: Callable[[], None]) -> None:
        self._crossing = crossing
        self._wake = wake
        # trio's
        self._credit = Credit(size)
        self._parked = trio.lowlevel.ParkingLot()
        # the loop's
        self.waiting: deque[bytes] = deque()
        self._debt = Debt(size)

    async def send(self, data: bytes) -> None:
        """Trio: queue one message; waits while the queue is full. A checkpoint; when cancelled, nothing was queued."""
        await trio.lowlevel.checkpoint()
        while not self._credit.left:
            await self._parked.park()
        self._credit.spend(data)
        self._crossing.to_loop(self._arrive, data)

    def _restore(self, messages: int, size: int) -> None:
        self._credit.restore(messages, size)
        self._parked.unpark_all()

    def _arrive(self, data: bytes) -> None:
        self.waiting.append(data)
        self._wake()

    def taken(self, data: bytes) -> None:
        """Loop: a message from `waiting` has been written to the network."""
        if (due := self._debt.add(data)) is not None:
            self._crossing.to_trio(self._restore, *due)


class Requests(Generic[T]):
    """Messages on their way from the loop to a trio task, which iterates over them; `decode` makes them what it gets."""

    def __init__(self, crossing: Crossing, size: int, decode: Callable[[bytes], T]) -> None:
        self._crossing = crossing
        self._decode = decode
        # the loop's
        self._credit = Credit(size)
        self._restored = asyncio.Event()
        self._released = False
        # trio's
        self._waiting: deque[bytes] = deque()
        self._debt = Debt(size)
        self._closed = False
        self._parked = trio.lowlevel.ParkingLot()

    async def room(self) -> bool:
        """Loop: wait until one more message may be put; False when nobody takes messages any more."""
        while not self._released and not self._credit.left:
            self._restored.clear()
            await self._restored.wait()
        return not self._released

    def put(self, data: bytes) -> None:
        """Loop: queue one message; `room` was awaited."""
        self._credit.spend(data)
        self._crossing.to_trio(self._arrive, data)

    def close(self) -> None:
        """Loop: no message follows."""
        self._crossing.to_trio(self._close)

    def release(self) -> None:
        """Loop: nobody takes messages any more."""
        self._released = True
        self._restored.set()

    def _restore(self, messages: int, size: int) -> None:
        self._credit.restore(messages, size)
        self._restored.set()

    def _arrive(self, data: bytes) -> None:
        self._waiting.append(data)
        self._parked.unpark_all()

    def _close(self) -> None:
        self._closed = True
        self._parked.unpark_all()

    def __aiter__(self) -> "Requests[T]":
        return self

    async def __anext__(self) -> T:
        """Trio: the next message, in order. A checkpoint; when cancelled, nothing was taken. Raises what `decode` raises."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            await self._parked.park()
        data = self._waiting.popleft()
        if (due := self._debt.add(data)) is not None:
            self._crossing.to_loop(self._restore, *due)
        return self._decode(data)
