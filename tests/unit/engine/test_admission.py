"""Guards composed: granted whole or not at all, first come first served, nothing lost when a waiter leaves."""

import math
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import trio

import motet
from motet import Group, Member
from motet.engine.admission import Admission
from motet.guards.capacity import Capacity
from motet.model.usage import NONE
from motet.ports import ADMIT, Admit, End, Guard, Refuse, Start, Wait
from motet.testing import ScriptedAgent
from motet.testing.contracts_guard import make_start, make_ticket


class Gate(Guard):
    """Lets through as many as it is told to, and, with `opens`, any number from then on."""

    def __init__(self, name: str, room: int, opens: float = math.inf) -> None:
        self.name = name
        self.room = room
        self.opens = opens
        self.log: list[str] = []
        self.settlements: list[End] = []

    def may_start(self, start: Start, now: float) -> Admit | Wait | Refuse:
        return ADMIT if self.room or now >= self.opens else Wait(self.name, self.opens)

    def started(self, start: Start, now: float) -> None:
        self.room -= 1
        self.log.append("started")

    def ended(self, start: Start, now: float) -> Sequence[Hashable]:
        self.room += 1
        self.log.append("ended")
        return (self.name,)

    def settled(self, start: Start, end: End, now: float) -> Sequence[Hashable]:
        self.log.append("settled")
        self.settlements.append(end)
        return ()


class Recorder:
    """A waiter that wants one start."""

    def __init__(self, admission: Admission, start: Start, name: str, log: list[str]) -> None:
        self.admission, self.start, self.name, self.log = admission, start, name, log
        self.wanted = 1

    def wake(self, key: Hashable) -> bool:
        if not self.wanted:
            return False
        verdict = self.admission.try_start(self.start, trio.current_time())
        if isinstance(verdict, Wait):
            self.admission.wait(verdict, self)
            return False
        self.wanted -= 1
        self.log.append(self.name)
        return True


@pytest.fixture
async def nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


def start(name: str = "a", width: int | None = None) -> Start:
    return make_start(make_ticket(name, max_parallel=width))


async def acquire(admission: Admission, start: Start) -> Refuse | None:
    return await admission.acquire(start, admission.asking(start))


def end(admission: Admission, start: Start) -> None:
    admission.ended(start, End(NONE, 0.0), trio.current_time())


async def test_a_start_that_one_guard_holds_back_is_told_to_none(nursery: trio.Nursery) -> None:
    free, full = Gate("free", 5), Gate("full", 0)
    admission = Admission([free, full], nursery)
    assert admission.try_start(start(), trio.current_time()) == Wait("full")
    assert free.log == []


async def test_a_start_that_a_guard_of_its_group_holds_back_is_told_to_none(nursery: trio.Nursery) -> None:
    free, of_group = Gate("free", 5), Gate("of the group", 0)
    admission = Admission([free], nursery)
    held = Start(replace(make_ticket(), scopes=(of_group,)))
    assert admission.try_start(held, trio.current_time()) == Wait("of the group")
    of_group.room = 1
    assert admission.try_start(held, trio.current_time()) is None
    end(admission, held)
    assert free.log == of_group.log == ["started", "ended", "settled"]


async def test_freed_room_goes_to_those_who_wait_in_the_order_in_which_they_came(nursery: trio.Nursery) -> None:
    gate = Gate("gate", 1)
    admission = Admission([gate], nursery)
    held = start()
    assert admission.try_start(held, trio.current_time()) is None
    log: list[str] = []
    waiters = [Recorder(admission, start(), name, log) for name in ("one", "two", "three")]
    for waiter in waiters:
        assert not waiter.wake(None)
    end(admission, held)
    assert log == ["one"]
    end(admission, waiters[0].start)
    end(admission, waiters[1].start)
    assert log == ["one", "two", "three"]
    assert admission.waiters == 0


async def test_a_waiter_that_no_longer_wants_room_passes_it_on(nursery: trio.Nursery) -> None:
    gate = Gate("gate", 1)
    admission = Admission([gate], nursery)
    held = start()
    admission.try_start(held, trio.current_time())
    log: list[str] = []
    gone, stays = (Recorder(admission, start(), name, log) for name in ("gone", "stays"))
    gone.wake(None)
    stays.wake(None)
    gone.wanted = 0
    end(admission, held)
    assert log == ["stays"]


async def test_a_waiter_without_luck_keeps_its_place(nursery: trio.Nursery) -> None:
    narrow = Capacity(engine=2)
    admission = Admission([narrow], nursery)
    one, other = start("slim", 1), start("other")
    for held in (one, other):
        assert admission.try_start(held, trio.current_time()) is None
    log: list[str] = []
    first = Recorder(admission, start("slim", 1), "first", log)
    second = Recorder(admission, start("slim", 1), "second", log)
    first.wake(None)
    second.wake(None)
    end(admission, other)
    assert log == []
    end(admission, one)
    assert log == ["first"]


async def test_those_who_wait_for_a_moment_are_woken_when_it_comes_in_the_order_in_which_they_came(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate("gate", 0, opens=trio.current_time() + 30)
    admission = Admission([gate], nursery)
    log: list[str] = []
    for name in ("one", "two"):
        assert not Recorder(admission, start(), name, log).wake(None)
    await trio.sleep(29)
    assert log == []
    await trio.sleep(1.5)
    assert log == ["one", "two"]
    assert admission.waiters == 0


async def test_a_call_that_asks_by_itself_waits_until_there_is_room(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate("gate", 0, opens=trio.current_time() + 30)
    admission = Admission([gate], nursery)
    began = trio.current_time()
    asking = start()
    assert await acquire(admission, asking) is None
    assert trio.current_time() - began == pytest.approx(30)
    assert gate.log == ["started"]


async def test_a_call_that_is_cancelled_while_it_asks_has_nothing_and_waits_for_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate("gate", 0)
    admission = Admission([gate], nursery)
    with trio.move_on_after(1) as scope:
        await acquire(admission, start())
    assert scope.cancelled_caught
    assert (gate.log, admission.waiters) == ([], 0)


async def test_a_call_that_is_granted_and_cancelled_in_one_moment_gives_back_what_it_was_granted(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate("gate", 1)
    admission = Admission([gate], nursery)
    held = start()
    admission.try_start(held, trio.current_time())
    scope = trio.CancelScope()

    async def ask() -> None:
        with scope:
            await acquire(admission, start())

    nursery.start_soon(ask)
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()
    end(admission, held)
    await trio.testing.wait_all_tasks_blocked()
    assert gate.room == 1
    assert gate.log.count("started") == gate.log.count("ended") == gate.log.count("settled")


async def test_a_call_that_waits_for_a_run_gives_back_what_it_holds_and_settles_all_the_same(
    nursery: trio.Nursery,
) -> None:
    width = Capacity(engine=1)
    gate = Gate("gate", 1)
    admission = Admission([width, gate], nursery)
    held, other = start(), start("other")
    assert admission.try_start(held, trio.current_time()) is None
    admission.pause(held)
    gate.room = 1
    assert admission.try_start(other, trio.current_time()) is None
    assert isinstance(admission.try_resume(held), Wait)
    admission.ended(held, End(NONE, 0.0), trio.current_time(), paused=True)
    end(admission, other)
    assert [row.used for row in width.uses() if row.scope == "engine"] == [0]
    assert gate.log == ["started", "started", "settled", "ended", "settled"]


async def test_a_guard_that_refuses_makes_the_member_skipped_with_its_failure(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class NoMore(Guard):
        name = "no_more"
        left = 2

        def may_start(self, start: Start, now: float) -> Admit | Wait | Refuse:
            return ADMIT if self.left else Refuse(motet.Failure("BUDGET_EXCEEDED", "the budget is used up"))

        def started(self, start: Start, now: float) -> None:
            self.left -= 1

    agent = ScriptedAgent("a", delay=1)
    async with motet.open_engine(guards=[NoMore()]) as engine:
        result = await engine.run(Group("g", [Member(agent, replicas=4)]))
    assert [o.state.value for o in result["g"].outcomes] == ["SUCCEEDED"] * 2 + ["SKIPPED"] * 2
    assert result["g"]["a_4"].failure == motet.Failure("BUDGET_EXCEEDED", "the budget is used up")


async def test_each_start_is_ended_and_settled_exactly_once_however_the_member_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate = Gate("gate", 3)
    members: list[Any] = [
        ScriptedAgent("fine", delay=1),
        ScriptedAgent("fails", error=OSError()),
        ScriptedAgent("late", delay=60),
        Member(ScriptedAgent("timed", delay=60), timeout=1),
        Member(ScriptedAgent("zero"), timeout=0),
        ScriptedAgent("stubborn", delay=60, resist=30),
    ]
    async with motet.open_engine(guards=[gate], stop_grace=1) as engine:
        await engine.run(Group("g", members, timeout=5))
    assert gate.log.count("started") == gate.log.count("ended") == gate.log.count("settled") == 5
    assert gate.room == 3
    assert [settled.usage.calls for settled in gate.settlements] == [1] * 5


@pytest.mark.parametrize("policy", [None, motet.Idempotency(key="k")])
async def test_a_member_that_a_limit_stops_while_it_waits_for_its_rate_waits_for_nothing_any_more(
    policy: motet.Idempotency | None, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a", delay=5, rate=motet.Rate(calls_per_second=0.5))
    limits = motet.Limits(max_failure_rate=0, min_samples=1)
    group = Group("g", [Member(agent, timeout=1, replicas=3, idempotency=policy)], limits=limits)
    async with motet.open_engine() as engine:
        result = await engine.run(group)
        assert engine.statistics().width_waiters == 0
    assert result["g"].stats.skipped == 2
    assert len(agent.calls) == 1


@pytest.mark.parametrize("bound", ["max_parallel", "max_members"])
async def test_bounds_that_let_nothing_run_are_refused(bound: str) -> None:
    with pytest.raises(motet.InvalidRequest, match=bound):
        async with motet.open_engine(**cast("Any", {bound: 0})):
            pass
