"""Deadlines nest: member, group, plan, caller; the nearest counts. Queue time is told apart from run time."""

import math
from typing import Any

import pytest
import trio

import motet
from motet import Group, Member, Parallel, Sequence, State
from motet.testing import ScriptedAgent


async def test_a_group_timeout_keeps_every_finished_outcome(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [ScriptedAgent("quick", reply="kept", delay=1), ScriptedAgent("slow", delay=60)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, timeout=5))
    assert result.unwrap() == {"combined_results": ["kept"], "result_count": 1}
    slow = result["g"]["slow"]
    assert slow.state is State.TIMED_OUT
    assert slow.failure.reason == "DEADLINE_EXCEEDED"
    assert slow.stop == motet.StopReceipt(motet.StopKind.STOPPED, 0.0)
    assert slow.ran == pytest.approx(5)


async def test_a_group_that_times_out_without_an_answer_is_timed_out(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [ScriptedAgent("slow", delay=60)], timeout=5))
    assert result.state is State.TIMED_OUT
    assert result["g"].failure.details["aggregation_reason"] == "NO_SUCCESSFUL_RESULTS"


async def test_a_members_timeout_does_not_count_its_time_in_the_queue(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=3)
    group = Group("g", [Member(agent, replicas=3, timeout=4)], max_parallel=1)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert [o.state for o in result["g"].outcomes] == [State.SUCCEEDED] * 3
    assert result["g"]["a_3"].queued == pytest.approx(6)


async def test_a_member_whose_deadline_passed_in_the_queue_never_starts(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=3)
    group = Group("g", [Member(agent, replicas=4)], max_parallel=1, timeout=5)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    states = [o.state for o in result["g"].outcomes]
    assert states == [State.SUCCEEDED, State.TIMED_OUT, State.SKIPPED, State.SKIPPED]
    assert result["g"]["a_4"].failure.reason == "DEADLINE_EXCEEDED"
    assert len(agent.calls) == 2


@pytest.mark.parametrize(
    ("plan", "timeout"),
    [
        (lambda a: Group("g", [a], timeout=0), None),
        (lambda a: Group("g", [Member(a, timeout=0)]), None),
        (lambda a: Sequence([Group("g", [a])], timeout=0), None),
        (lambda a: Parallel([Group("g", [a])], timeout=0), None),
        (lambda a: Group("g", [a]), 0),
    ],
    ids=["group", "member", "sequence", "parallel", "run"],
)
async def test_a_timeout_of_zero_means_already_over(plan: Any, timeout: float | None, checked_run: Any) -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine() as engine:
        result = await checked_run(engine, plan(agent), timeout=timeout)
    assert not agent.calls
    assert result["g"]["a"].state is State.SKIPPED
    assert result["g"]["a"].failure.reason == "DEADLINE_EXCEEDED"
    assert result.state in (State.TIMED_OUT, State.FAILED)


async def test_the_nearest_deadline_is_the_one_that_a_call_sees(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a")
    slow = ScriptedAgent("slow", delay=2, reply=lambda call: round(call.time_left(), 6))
    async with motet.open_engine() as engine:
        await engine.run(Group("free", [agent]))
        await engine.run(Group("g", [Member(agent, timeout=7)], timeout=9), timeout=11)
        await engine.run(Group("g", [Member(agent, timeout=9)], timeout=7), timeout=11)
        await engine.run(Sequence([Group("g", [agent], timeout=9)], timeout=5), timeout=11)
        with trio.move_on_after(3):
            await engine.run(Group("g", [Member(agent, timeout=7)], timeout=9), timeout=11)
        result = await engine.run(Group("g", [slow], timeout=9))
    start = trio.current_time() - 2
    left = [call.deadline - start for call in agent.calls]
    assert left[0] == math.inf
    assert left[1:] == pytest.approx([7, 7, 5, 3])
    assert result.unwrap()["combined_results"] == [7]


async def test_the_callers_own_deadline_stops_the_run_and_is_told_as_such(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", delay=60)
    ended: list[motet.RunEnded] = []

    def observe(run_id: str, event: motet.Event) -> None:
        if isinstance(event.detail, motet.RunEnded):
            ended.append(event.detail)

    async with motet.open_engine(observers=[observe]) as engine:
        with trio.move_on_after(2) as scope:
            await engine.run(Group("g", [agent]))
        assert scope.cancelled_caught
        assert engine.statistics().members_running == 0
    assert agent.cancelled == 1
    assert ended[0].state is State.TIMED_OUT


async def test_a_plan_timeout_bounds_all_steps_together(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    steps = [Group(f"g{i}", [ScriptedAgent(f"a{i}", delay=2)]) for i in range(4)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Sequence(steps, timeout=5))
    assert [g.state for g in result.groups] == [State.SUCCEEDED, State.SUCCEEDED, State.TIMED_OUT, State.SKIPPED]
    assert result.state is State.TIMED_OUT
    assert result.elapsed == pytest.approx(5)


async def test_an_agents_own_timeout_holds_where_the_member_has_none(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=10, timeout=2)
    group = Group("g", [agent, Member(agent, name="longer", timeout=20)])
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result["g"]["a"].state is State.TIMED_OUT
    assert result["g"]["longer"].state is State.SUCCEEDED


@pytest.mark.parametrize("timeout", [-1, math.nan, -0.001])
async def test_a_negative_timeout_is_refused_and_named(timeout: float) -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest) as raised:
            await engine.run(Group("g", [Member(agent, timeout=timeout)], timeout=timeout), timeout=timeout)
    assert [v.field for v in raised.value.violations] == [
        "timeout",
        "plan.group.timeout",
        "plan.group.members[0].timeout",
    ]
    assert not agent.calls
