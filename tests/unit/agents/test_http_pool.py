"""The pool of an http agent: a transport for each call in flight, the one used last first, and none kept for long."""

from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from motet.agents._http_pool import KEEPALIVE_SECONDS, Pool


@pytest.fixture
def pool() -> Pool:
    return Pool(3, verify=None)


async def take(pool: Pool, count: int) -> None:
    """Have so many in use at once, and give them back."""
    async with AsyncExitStack() as taken:
        for _ in range(count):
            await taken.enter_async_context(pool.transport())


async def test_transports_are_made_as_calls_need_them(pool: Pool) -> None:
    assert pool.size == 0
    for count, size in ((1, 1), (1, 1), (2, 2), (3, 3), (1, 3)):
        await take(pool, count)
        assert (pool.size, pool.idle) == (size, size)
    await pool.aclose()
    assert (pool.size, pool.idle) == (0, 0)


async def test_no_transport_serves_two_calls_at_once_and_the_last_one_used_is_the_next(pool: Pool) -> None:
    async with pool.transport() as first, pool.transport() as second:
        assert first is not second
    for _ in range(3):
        async with pool.transport() as next_one:
            assert next_one is first
    await pool.aclose()


async def test_a_call_that_finds_no_transport_free_waits_for_one(
    pool: Pool, autojump_clock: trio.testing.MockClock
) -> None:
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def hold() -> None:
            async with pool.transport():
                await trio.sleep(1)

        for _ in range(7):
            nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        assert (pool.size, pool.idle) == (3, 0)
    assert trio.current_time() - begin == 3
    assert (pool.size, pool.idle) == (3, 3)
    await pool.aclose()


async def test_what_nobody_used_for_long_is_closed_a_few_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    pool = Pool(10, verify=None)
    await take(pool, 10)
    await trio.sleep(KEEPALIVE_SECONDS - 1)
    await take(pool, 1)
    assert pool.size == 10
    await trio.sleep(2)
    sizes = []
    for _ in range(6):
        await take(pool, 1)
        sizes.append(pool.size)
    # One that was used in between stays.
    assert sizes == [8, 6, 4, 2, 1, 1]
    await pool.aclose()


async def test_a_call_that_ends_after_the_pool_was_closed_leaves_nothing_open(pool: Pool) -> None:
    async with pool.transport():
        await pool.aclose()
    assert (pool.size, pool.idle) == (0, 0)
    await take(pool, 1)
    assert (pool.size, pool.idle) == (1, 1)
    await pool.aclose()


async def test_a_cancelled_call_gives_its_transport_back(pool: Pool) -> None:
    with trio.CancelScope() as scope:
        async with pool.transport():
            scope.cancel()
            await trio.sleep_forever()
    assert (pool.size, pool.idle) == (1, 1)
    await take(pool, 3)
    assert pool.size == 3
    await pool.aclose()
