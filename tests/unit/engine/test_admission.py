"""Guards composed: granted whole or not at all, first come first served, nothing lost when a waiter leaves."""

from collections.abc import Hashable, Sequence
from typing import Any, cast

import pytest
import trio

import motet
from motet import Group, Member
from motet.engine.admission import Admission
from motet.guards.capacity import Capacity
from motet.model.agent import AgentInfo, AgentKind
from motet.ports import ADMIT, Admit, Guard, Refuse, Ticket, Wait
from motet.testing import ScriptedAgent


class Gate(Guard):
    """Lets through as many as it is told to."""

    def __init__(self, name: str, room: int) -> None:
        self.name = name
        self.room = room
        self.log: list[str] = []

    def may_start(self, ticket: Ticket) -> Admit | Wait | Refuse:
        return ADMIT if self.room else Wait(self.name)

    def started(self, ticket: Ticket) -> None:
        self.room -= 1
        self.log.append("started")

    def ended(self, ticket: Ticket) -> Sequence[Hashable]:
        self.room += 1
        self.log.append("ended")
        return (self.name,)


class Recorder:
    """A waiter that wants one start."""

    def __init__(self, admission: Admission, ticket: Ticket, name: str, log: list[str]) -> None:
        self.admission, self.ticket, self.name, self.log = admission, ticket, name, log
        self.wanted = 1

    def wake(self, key: Hashable) -> bool:
        if not self.wanted:
            return False
        verdict = self.admission.try_start(self.ticket)
        if isinstance(verdict, Wait):
            self.admission.wait(verdict.key, self)
            return False
        self.wanted -= 1
        self.log.append(self.name)
        return True


def ticket(name: str = "a", width: int | None = None) -> Ticket:
    return Ticket(AgentInfo(name=name, kind=AgentKind.FUNCTION, max_parallel=width), "run", "g", 0)


def test_a_start_that_one_guard_holds_back_is_told_to_none() -> None:
    free, full = Gate("free", 5), Gate("full", 0)
    admission = Admission([free, full])
    assert admission.try_start(ticket()) == Wait("full")
    assert free.log == []


def test_freed_room_goes_to_those_who_wait_in_the_order_in_which_they_came() -> None:
    gate = Gate("gate", 1)
    admission = Admission([gate])
    held = ticket()
    assert admission.try_start(held) is None
    log: list[str] = []
    waiters = [Recorder(admission, ticket(), name, log) for name in ("one", "two", "three")]
    for waiter in waiters:
        assert not waiter.wake(None)
    admission.ended(held)
    assert log == ["one"]
    admission.ended(waiters[0].ticket)
    admission.ended(waiters[1].ticket)
    assert log == ["one", "two", "three"]
    assert admission.waiters == 0


def test_a_waiter_that_no_longer_wants_room_passes_it_on() -> None:
    gate = Gate("gate", 1)
    admission = Admission([gate])
    admission.try_start(ticket())
    log: list[str] = []
    gone, stays = (Recorder(admission, ticket(), name, log) for name in ("gone", "stays"))
    gone.wake(None)
    stays.wake(None)
    gone.wanted = 0
    admission.ended(ticket())
    assert log == ["stays"]


def test_a_waiter_without_luck_keeps_its_place() -> None:
    narrow = Capacity(engine=2)
    admission = Admission([narrow])
    one = ticket("slim", 1)
    for held in (one, ticket("other")):
        assert admission.try_start(held) is None
    log: list[str] = []
    first = Recorder(admission, ticket("slim", 1), "first", log)
    second = Recorder(admission, ticket("slim", 1), "second", log)
    first.wake(None)
    second.wake(None)
    admission.ended(ticket("other"))
    assert log == []
    admission.ended(one)
    assert log == ["first"]


async def test_a_guard_that_refuses_makes_the_member_skipped_with_its_failure(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class NoMore(Guard):
        name = "no_more"
        left = 2

        def may_start(self, ticket: Ticket) -> Admit | Wait | Refuse:
            return ADMIT if self.left else Refuse(motet.Failure("BUDGET_EXCEEDED", "the budget is used up"))

        def started(self, ticket: Ticket) -> None:
            self.left -= 1

    agent = ScriptedAgent("a", delay=1)
    async with motet.open_engine(guards=[NoMore()]) as engine:
        result = await engine.run(Group("g", [Member(agent, replicas=4)]))
    assert [o.state.value for o in result["g"].outcomes] == ["SUCCEEDED"] * 2 + ["SKIPPED"] * 2
    assert result["g"]["a_4"].failure == motet.Failure("BUDGET_EXCEEDED", "the budget is used up")


async def test_each_start_is_ended_exactly_once_however_the_member_ends(
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
    assert gate.log.count("started") == gate.log.count("ended") == 6
    assert gate.room == 3


@pytest.mark.parametrize("bound", ["max_parallel", "max_members"])
async def test_bounds_that_let_nothing_run_are_refused(bound: str) -> None:
    with pytest.raises(motet.InvalidRequest, match=bound):
        async with motet.open_engine(**cast("Any", {bound: 0})):
            pass
