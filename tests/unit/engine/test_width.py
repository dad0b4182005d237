"""The four widths: group, agent, provider, engine. Waiting for one never holds another."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

import motet
from motet import Group, Member, State
from motet.testing import ScriptedAgent


def total_peak(agents: list[ScriptedAgent]) -> int:
    return max(agent.peak for agent in agents)


async def test_no_more_members_of_a_group_run_at_once_than_its_width(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=1)
    group = Group("g", [Member(agent, replicas=10)], max_parallel=3)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert agent.peak == 3
    assert result.elapsed == pytest.approx(4)
    assert result["g"]["a_10"].queued == pytest.approx(3)
    assert result["g"]["a_10"].ran == pytest.approx(1)


async def test_an_agents_own_width_holds_over_all_groups_and_runs(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("narrow", delay=1, max_parallel=2)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(engine.run, Group(f"g{number}", [Member(agent, replicas=3)]))
    assert agent.peak == 2
    assert len(agent.calls) == 9


async def test_agents_of_one_provider_share_its_width(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    catalog = motet.Catalog()
    catalog.add_provider("cloud", 2)
    agents = [ScriptedAgent(f"a{i}", delay=1, provider="cloud") for i in range(6)]
    catalog.add(*agents)
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, Group("g", [a.info.name for a in agents]))
    assert result.stats.peak_running == 2
    assert result.elapsed == pytest.approx(3)


async def test_the_engines_width_holds_over_all_runs(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=1)
    async with motet.open_engine(max_parallel=4) as engine, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(engine.run, Group(f"g{number}", [Member(agent, replicas=4)]))
    assert agent.peak == 4
    assert trio.current_time() >= 5


async def test_a_member_that_waits_for_its_agent_does_not_hold_a_place_in_the_group(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    narrow = ScriptedAgent("narrow", delay=10, max_parallel=1)
    free = ScriptedAgent("free", delay=1)
    group = Group("g", [narrow, narrow, narrow, free], max_parallel=2)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result["g"]["free"].queued == 0
    assert result.elapsed == pytest.approx(30)


async def test_waiting_groups_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    order: list[str] = []

    def note(call: motet.Call) -> str:
        order.append(call.group)
        return "x"

    agent = ScriptedAgent("a", delay=1, max_parallel=1, reply=note)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        for name in ("one", "two", "three"):
            nursery.start_soon(engine.run, Group(name, [Member(agent, replicas=3)]))
            await trio.testing.wait_all_tasks_blocked()
    # The first group stands in line for its second member before the others come.
    assert order == ["one", *["one", "two", "three"] * 2, "two", "three"]


async def test_a_cancelled_waiter_passes_its_turn_on(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=1, max_parallel=1)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:

        async def impatient() -> None:
            with trio.move_on_after(0.5):
                await engine.run(Group("impatient", [agent]))

        nursery.start_soon(engine.run, Group("first", [agent]))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(impatient)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(engine.run, Group("last", [agent]))
        await trio.testing.wait_all_tasks_blocked()
        assert engine.statistics().width_waiters == 2
    assert [call.group for call in agent.calls] == ["first", "last"]


async def test_nested_groups_of_width_one_do_not_deadlock(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    leaf = ScriptedAgent("leaf", delay=1)
    inner = ScriptedAgent("inner", nested=Group("innermost", [leaf, leaf], max_parallel=1), max_parallel=1)
    outer = ScriptedAgent("outer", nested=Group("inner", [inner, inner], max_parallel=1), max_parallel=1)
    async with motet.open_engine(max_parallel=1) as engine:
        result = await checked_run(engine, Group("g", [outer, outer], max_parallel=1), timeout=60)
    assert result.state is State.SUCCEEDED
    assert leaf.peak == 1
    assert len(leaf.calls) == 8
    assert result.elapsed == pytest.approx(8)


async def test_an_agent_of_width_one_may_call_itself(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    catalog = motet.Catalog()

    @catalog.agent(max_parallel=1)
    async def countdown(call: motet.Call) -> str:
        left = int(call.text)
        if left:
            await call.run("again", str(left - 1))
        await trio.sleep(1)
        return str(left)

    catalog.add_group(Group("again", ["countdown"]))
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, Group("g", ["countdown"]), "3", timeout=60)
    assert result.state is State.SUCCEEDED
    assert result.elapsed == pytest.approx(4)


async def test_members_beyond_the_width_are_not_spawned(autojump_clock: trio.testing.MockClock) -> None:
    tasks: list[int] = []

    async def sleeper(call: motet.Call) -> str:
        await trio.sleep(1)
        tasks.append(trio.lowlevel.current_statistics().tasks_living)
        return "x"

    group = Group("g", [Member(motet.FunctionAgent(sleeper), replicas=5000)], max_parallel=50)
    async with motet.open_engine() as engine:
        before = trio.lowlevel.current_statistics().tasks_living
        result = await engine.run(group)
    assert result.stats.succeeded == 5000
    assert max(tasks) <= before + 50 + 5


def used_of_engine(statistics: motet.EngineStatistics) -> float:
    (row,) = (row for row in statistics.limits if (row.guard, row.scope) == ("capacity", "engine"))
    return row.used


async def test_statistics_tell_what_runs_and_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=5)
    async with motet.open_engine(max_parallel=2) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, Group("g", [Member(agent, replicas=7)]))
        await trio.testing.wait_all_tasks_blocked()
        busy = engine.statistics()
        assert (busy.runs_active, busy.members_running, busy.members_waiting) == (1, 2, 5)
        assert used_of_engine(busy) == 2
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)
        idle = engine.statistics()
    assert (idle.runs_active, idle.members_running, idle.members_waiting) == (0, 0, 0)
    assert used_of_engine(idle) == 0
    assert idle.runs_ended == {State.CANCELLED: 1}


async def test_a_map_holds_no_more_inputs_than_it_may_have_in_flight(autojump_clock: trio.testing.MockClock) -> None:
    taken = 0
    answered = 0

    async def inputs() -> AsyncIterator[motet.MapInput]:
        nonlocal taken
        for number in range(40):
            taken += 1
            assert taken - answered <= 4 + 1
            yield motet.MapInput(motet.Payload.of(str(number)), id=f"n{number}")

    agent = ScriptedAgent("a", delay=1, reply=lambda call: call.text)
    async with motet.open_engine() as engine, engine.map(Group("g", [agent]), inputs(), max_in_flight=4) as answers:
        seen = {}
        async for answer in answers:
            await trio.sleep(0.7)
            answered += 1
            seen[answer.index] = (answer.id, answer.result.unwrap()["combined_results"])
    assert seen == {n: (f"n{n}", [str(n)]) for n in range(40)}
    assert agent.peak <= 4
