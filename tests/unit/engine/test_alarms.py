"""Alarms: each key rings once, at the earliest moment that was asked for, and one task does it all."""

from collections.abc import AsyncIterator, Callable, Hashable

import pytest
import trio

from motet.engine.alarms import Alarms


class Rung:
    """What rang, and when in seconds from the start."""

    def __init__(self) -> None:
        self.start = trio.current_time()
        self.log: list[tuple[Hashable, float]] = []
        self.then: Callable[[Hashable], None] | None = None

    def __call__(self, key: Hashable) -> None:
        self.log.append((key, round(trio.current_time() - self.start, 6)))
        if self.then is not None:
            self.then(key)

    def at(self, seconds: float) -> float:
        return self.start + seconds


@pytest.fixture
async def nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


@pytest.fixture
async def rung(nursery: trio.Nursery) -> Rung:
    return Rung()


@pytest.fixture
async def alarms(nursery: trio.Nursery, rung: Rung) -> Alarms[Hashable]:
    return Alarms(nursery, rung)


async def test_each_key_rings_at_its_moment(
    alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    alarms.set("late", rung.at(5))
    alarms.set("early", rung.at(2))
    await trio.sleep(10)
    assert rung.log == [("early", 2), ("late", 5)]


async def test_a_key_rings_once_at_the_earliest_of_its_moments(
    alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    for seconds in (5, 2, 7):
        alarms.set("key", rung.at(seconds))
    await trio.sleep(10)
    assert rung.log == [("key", 2)]


async def test_an_earlier_moment_that_comes_up_while_it_waits_is_kept(
    alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    alarms.set("late", rung.at(60))
    await trio.sleep(1)
    alarms.set("early", rung.at(2))
    await trio.sleep(2)
    assert rung.log == [("early", 2)]


async def test_a_dropped_key_does_not_ring(
    alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    alarms.set("kept", rung.at(3))
    alarms.set("dropped", rung.at(2))
    alarms.drop("dropped")
    alarms.drop("unknown")
    await trio.sleep(10)
    assert rung.log == [("kept", 3)]


async def test_a_key_that_was_dropped_may_be_set_for_later(
    alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    alarms.set("key", rung.at(2))
    alarms.drop("key")
    alarms.set("key", rung.at(4))
    await trio.sleep(10)
    assert rung.log == [("key", 4)]


async def test_a_ring_may_set_its_key_anew_and_drop_others(
    alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    def then(key: Hashable) -> None:
        alarms.drop("other")
        if len(rung.log) < 3:
            alarms.set(key, trio.current_time() + 1)

    rung.then = then
    alarms.set("key", rung.at(1))
    alarms.set("other", rung.at(1))
    await trio.sleep(10)
    first, *rest = rung.log
    assert first[1] == 1
    # Both were due at one moment: whichever rang first went on, and the other rings only when it was that one.
    assert [when for key, when in rest if key == first[0]] == [2, 3]


async def test_a_ring_that_sets_a_moment_which_has_come_rings_again_without_end_in_between(
    alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    rung.then = lambda key: alarms.set(key, trio.current_time()) if len(rung.log) < 3 else None
    alarms.set("key", rung.at(1))
    await trio.sleep(5)
    assert rung.log == [("key", 1)] * 3


async def test_a_moment_that_has_passed_rings_at_once(
    alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    alarms.set("key", rung.at(-5))
    await trio.testing.wait_all_tasks_blocked()
    assert rung.log == [("key", 0)]


async def test_there_is_a_task_only_while_there_is_a_moment(
    nursery: trio.Nursery, alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    assert len(nursery.child_tasks) == 0
    alarms.set("one", rung.at(1))
    alarms.set("two", rung.at(2))
    assert len(nursery.child_tasks) == 1
    await trio.sleep(3)
    assert len(nursery.child_tasks) == 0
    alarms.set("three", rung.at(4))
    await trio.sleep(3)
    assert rung.log == [("one", 1), ("two", 2), ("three", 4)]
    assert len(nursery.child_tasks) == 0


async def test_closed_alarms_ring_no_more_and_leave_no_task(
    nursery: trio.Nursery, alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    alarms.set("key", rung.at(1))
    await trio.testing.wait_all_tasks_blocked()
    alarms.close()
    alarms.set("key", rung.at(2))
    await trio.sleep(5)
    assert rung.log == []
    assert len(nursery.child_tasks) == 0


async def test_alarms_may_be_closed_before_their_task_has_begun(
    nursery: trio.Nursery, alarms: Alarms[Hashable], rung: Rung, autojump_clock: trio.testing.MockClock
) -> None:
    alarms.set("key", rung.at(1))
    alarms.close()
    await trio.sleep(5)
    assert rung.log == []
    assert len(nursery.child_tasks) == 0
