"""The queues between the two threads, without a network: bounds, order, and that giving credit back always wakes the sender."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from motet_server._pipe import QUEUE_BYTES, Credit, Crossing, Debt, Requests, Responses


class Posted:
    """A crossing whose callbacks run when the test says so, all in one thread."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def to_trio(self, fn: Callable[..., object], *args: Any) -> bool:
        self.waiting.append(lambda: fn(*args))
        return True

    def to_loop(self, fn: Callable[..., object], *args: Any) -> None:
        self.waiting.append(lambda: fn(*args))

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


@given(size=st.integers(1, 64), messages=st.lists(st.integers(0, 2 * QUEUE_BYTES), max_size=200))
def test_a_taker_that_keeps_taking_never_leaves_the_sender_without_credit(size: int, messages: list[int]) -> None:
    credit, debt, waiting = Credit(size), Debt(size), 0
    for length in messages:
        data = memoryview(bytes(1)) if length == 0 else _Sized(length)
        assert credit.left
        credit.spend(cast("bytes", data))
        waiting += 1
        # Take only when the sender would have to wait, then everything: the worst case of giving back late.
        if not credit.left:
            assert waiting <= size
        if (due := debt.add(cast("bytes", data))) is not None:
            credit.restore(*due)
            waiting = 0


class _Sized:
    """Stands for bytes of a length that a test need not allocate."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


async def test_a_sender_waits_at_the_queues_size_and_goes_on_when_half_is_taken() -> None:
    crossing, sent = Posted(), 0
    responses = Responses(cast("Crossing", crossing), 64, lambda: None)

    async def send() -> None:
        nonlocal sent
        for number in range(200):
            await responses.send(number.to_bytes(2))
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert sent == 64
        crossing.run()
        for _ in range(31):
            responses.taken(responses.waiting.popleft())
        crossing.run()
        await trio.testing.wait_all_tasks_blocked()
        assert sent == 64
        got = 31
        while got < 200:
            responses.taken(data := responses.waiting.popleft())
            assert int.from_bytes(data) == got
            got += 1
            crossing.run()
            await trio.testing.wait_all_tasks_blocked()
            crossing.run()
    assert sent == 200


async def test_a_sender_waits_when_few_large_messages_fill_the_queue() -> None:
    crossing, sent = Posted(), 0
    responses = Responses(cast("Crossing", crossing), 64, lambda: None)
    large = bytes(QUEUE_BYTES // 2)

    async def send() -> None:
        nonlocal sent
        while True:
            await responses.send(large)
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert sent == 2
        nursery.cancel_scope.cancel()


async def test_a_cancelled_send_queues_nothing() -> None:
    crossing = Posted()
    responses = Responses(cast("Crossing", crossing), 64, lambda: None)
    with trio.CancelScope() as scope:
        scope.cancel()
        await responses.send(b"x")
    assert scope.cancelled_caught
    assert crossing.waiting == []


async def test_a_cancelled_read_takes_nothing() -> None:
    crossing = Posted()
    inbox: Requests[bytes] = Requests(cast("Crossing", crossing), 64, bytes)
    inbox.put(b"x")
    inbox.close()
    crossing.run()
    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(inbox)
    assert scope.cancelled_caught
    assert [data async for data in inbox] == [b"x"]


def test_room_ends_at_the_queues_size_and_for_good_when_nobody_reads() -> None:
    async def main() -> None:
        inbox: Requests[bytes] = Requests(cast("Crossing", Posted()), 64, bytes)
        for _ in range(64):
            assert await inbox.room()
            inbox.put(b"x")
        waiting = asyncio.ensure_future(inbox.room())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        inbox.release()
        assert not await waiting
        assert not await inbox.room()

    asyncio.run(main())


def test_posting_to_a_side_that_has_ended_is_told_or_dropped_but_never_raises() -> None:
    tokens: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        await trio.lowlevel.checkpoint()

    trio.run(main)
    loop = asyncio.new_event_loop()
    loop.close()
    crossing = Crossing(tokens[0], loop)
    called: list[str] = []
    assert not crossing.to_trio(called.append, "trio")
    crossing.to_loop(called.append, "loop")
    assert called == []


class Side:
    """The other thread, which comes when the test says so: what wakes it is noted, and may be told to fail."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def run_sync_soon(self, fn: Callable[[], object]) -> None:
        self.calls.append(fn)

    call_soon_threadsafe = run_sync_soon

    def come(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.mark.parametrize("way", ["to_trio", "to_loop"])
def test_what_is_posted_before_the_other_side_comes_wakes_it_once_and_runs_in_order(way: str) -> None:
    side, got = Side(), list[int]()
    crossing = Crossing(cast("Any", side), cast("Any", side))
    post = getattr(crossing, way)
    for number in range(3):
        post(got.append, number)
    assert (len(side.calls), got) == (1, [])
    side.come()
    assert got == [0, 1, 2]
    post(got.append, 3)
    assert len(side.calls) == 1
    side.come()
    assert got == [0, 1, 2, 3]


@pytest.mark.parametrize("way", ["to_trio", "to_loop"])
def test_what_a_posted_callback_posts_wakes_its_side_again(way: str) -> None:
    side, got = Side(), list[str]()
    crossing = Crossing(cast("Any", side), cast("Any", side))
    post = getattr(crossing, way)

    def first() -> None:
        got.append("first")
        post(got.append, "second")

    post(first)
    side.come()
    assert (got, len(side.calls)) == (["first"], 1)
    side.come()
    assert got == ["first", "second"]


def test_every_post_to_a_trio_that_has_ended_is_told() -> None:
    class Ended(Side):
        def run_sync_soon(self, _fn: Callable[[], object]) -> None:
            raise trio.RunFinishedError

    crossing = Crossing(cast("Any", Ended()), cast("Any", Side()))
    assert [crossing.to_trio(list), crossing.to_trio(list)] == [False, False]


@pytest.mark.parametrize("size", [1, 2, 64])
async def test_messages_cross_between_real_threads_in_order(size: int) -> None:
    token = trio.lowlevel.current_trio_token()
    got: list[int] = []
    made: list[Responses] = []
    ready = trio.Event()

    async def take(loop: asyncio.AbstractEventLoop) -> None:
        woken = asyncio.Event()
        responses = Responses(Crossing(token, loop), size, woken.set)
        made.append(responses)
        token.run_sync_soon(ready.set)
        while len(got) < 2_000:
            await woken.wait()
            woken.clear()
            while responses.waiting:
                data = responses.waiting.popleft()
                got.append(int.from_bytes(data))
                responses.taken(data)

    def thread() -> None:
        async def main() -> None:
            await take(asyncio.get_running_loop())

        asyncio.run(main())

    taker = threading.Thread(target=thread)
    taker.start()
    await ready.wait()
    with trio.fail_after(30):
        for number in range(2_000):
            await made[0].send(number.to_bytes(2))
        await trio.to_thread.run_sync(taker.join)
    assert got == list(range(2_000))
