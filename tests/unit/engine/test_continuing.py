"""Runs that go on after a crash: the process may have ended after any event, and the run ends as runs end, with every
promise about events and results kept."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import trio

import motet
import motet.testing
from motet.engine.member import MAX_RESUMES
from motet.model.event import MAX_SEATS_LISTED, AttemptEnded, Event, MemberEnded, MemberStarted
from motet.model.outcome import Outcome
from motet.testing import check_run
from motet.testing._plan import groups_of


def ends(events: list[Event]) -> dict[str, Outcome]:
    """Recorded outcomes, by where the member sits."""
    return {
        f"{event.parent}/{event.group}/{event.member}": event.detail.outcome
        for event in events
        if isinstance(event.detail, MemberEnded)
    }


def called(catalog: motet.Catalog) -> list[str]:
    """Where the members sit whose agents were called, once for each call."""
    calls = [call for agent in catalog.agents.values() for call in getattr(agent, "calls", ())]
    return [call.idempotency_key.partition("/")[2] for call in calls]


async def go_on(disk: Any, catalog: motet.Catalog, run_id: str, after: int) -> tuple[motet.RunRecord, list[Event]]:
    """Open an engine over what a crash left; the run's record at its end, and what a watcher saw from a cursor on."""
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        with trio.fail_after(10_000):
            async with engine.watch(run_id, after) as stream:
                seen = [event async for event in stream]
        record = await engine.get(run_id)
        assert stream.result == record.result
        assert engine.statistics().members_running == 0
    return record, seen


async def check_continued(disk: Any, catalog: motet.Catalog, told: Any, before: list[Event]) -> list[Event]:
    """Let a run go on that was left after the events of `before`, and check it. Its events."""
    run_id = told.record.run_id
    cursor = len(before) // 2
    record, seen = await go_on(disk, catalog, run_id, cursor)
    events = list(await disk.data.events(run_id, 0, 10_000))
    assert events[: len(before)] == before
    assert seen == events[cursor:]
    assert record.state.ended
    assert record.last_sequence == len(events)
    check_run(events, record.result, plan=told.request.target)
    recorded = ends(before)
    assert ends(events) | recorded == ends(events)
    assert not recorded.keys() & set(called(catalog))
    return events


async def test_a_run_goes_on_after_any_event(
    told: Any, scenario: Any, disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    for cut in range(len(told.events) + 1):
        disk = type(disk)()
        await disk.leave(told.record, told.request, told.events[:cut])
        try:
            await check_continued(disk, scenario.catalog(), told, told.events[:cut])
        except BaseException as error:
            error.add_note(f"{scenario.name}: left after event {cut} of {len(told.events)}")
            raise


async def test_a_run_survives_any_number_of_crashes(
    told: Any, scenario: Any, disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    chance = random.Random(scenario.name)  # noqa: S311 - which crashes are tried is no secret
    for cut in range(0, len(told.events), 3):
        events, cuts = told.events[:cut], [cut]
        for _ in range(4):
            disk = type(disk)()
            await disk.leave(told.record, told.request, events)
            try:
                events = await check_continued(disk, scenario.catalog(), told, events)
            except BaseException as error:
                error.add_note(f"{scenario.name}: left after events {cuts}")
                raise
            cuts.append(chance.randint(cuts[-1], len(events)))
            events = events[: cuts[-1]]


async def test_members_that_must_not_be_called_twice_are_not(
    told: Any, scenario: Any, disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    for cut in range(len(told.events) + 1):
        disk = type(disk)()
        before = told.events[:cut]
        await disk.leave(told.record, told.request, before)
        catalog = scenario.catalog()
        record, _ = await go_on(disk, catalog, told.record.run_id, cut)
        started = {event.member for event in before if isinstance(event.detail, MemberStarted)} - {
            key.rpartition("/")[2] for key in ends(before)
        }
        # Also one whose answer is known to have come, though the crash took it.
        answered = {
            event.member
            for event in before
            if isinstance(event.detail, AttemptEnded) and event.detail.attempt.state is motet.State.SUCCEEDED
        }
        assert not (answered & started).intersection(call.member for call in catalog.agents["once_or_again"].calls)
        again = [call.member for call in catalog.agents["once"].calls]
        assert not started.intersection(again)
        assert len(again) == len(set(again))
        if scenario.name == "not to be repeated":
            for member in started - {"a"}:
                outcome = record.result["g"][member]
                assert (outcome.state, outcome.failure.reason) == (motet.State.FAILED, "INTERRUPTED")


async def test_a_run_whose_agents_were_objects_ends_as_interrupted(
    told: Any, scenario: Any, disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    for cut in range(len(told.events) + 1):
        disk = type(disk)()
        before = told.events[:cut]
        await disk.leave(told.record, None, before)
        catalog = scenario.catalog()
        record, seen = await go_on(disk, catalog, told.record.run_id, 0)
        assert called(catalog) == []
        assert seen[:cut] == before
        assert record.last_sequence == len(seen)
        if cut == len(told.events):
            assert record.state is told.events[-1].detail.state
        else:
            assert (record.state, record.result.failure.reason) == (motet.State.FAILED, "INTERRUPTED")
        whole = len(record.result.groups) == len(groups_of(told.request.target))
        if whole and not all(group.state is motet.State.SUCCEEDED for group in record.result.groups):
            check_run(seen, record.result)


async def test_after_a_hundred_crashes_a_member_is_not_tried_again(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog = motet.Catalog()
    agent = motet.testing.ScriptedAgent("endless", delay=1e9)
    catalog.add(agent, motet.testing.ScriptedAgent("quick", delay=5))
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(motet.Group("g", ["endless", "quick"]))).run_id
        await trio.sleep(1)
        store.die()
    for crash in range(1, MAX_RESUMES + 1):
        store = disk.open()
        async with motet.open_engine(catalog, store=store):
            await trio.sleep(1)
            store.die()
        assert len(agent.calls) == crash + 1
    record, _ = await go_on(disk, catalog, run_id, 0)
    outcome = record.result["g"]["endless"]
    assert len(agent.calls) == MAX_RESUMES + 1
    assert (outcome.state, outcome.failure.reason, outcome.attempts) == (
        motet.State.FAILED,
        "INTERRUPTED",
        MAX_RESUMES + 1,
    )


async def test_time_that_passed_meanwhile_counts_against_deadlines(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    agents = [motet.testing.ScriptedAgent(name, delay=5) for name in ("a", "b", "c")]
    catalog = motet.Catalog()
    catalog.add(*agents)
    group = motet.Group("g", [motet.Member("a", timeout=500), "b", "c"], timeout=60, max_parallel=1)
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(group)).run_id
        await trio.sleep(7)
        store.die()
    events = await disk.data.events(run_id, 0, 100)
    long_ago = events[0].detail.started_at - timedelta(hours=1)
    first = replace(events[0], detail=replace(events[0].detail, started_at=long_ago))
    request = motet.RunRequest(target=group)
    later = type(disk)()
    await later.leave(
        replace(await disk.data.get(run_id), started_at=long_ago, last_sequence=0), request, [first, *events[1:]]
    )
    record, seen = await go_on(later, catalog, run_id, 0)
    check_run(seen, record.result, plan=group)
    assert [len(agent.calls) for agent in agents] == [1, 1, 0]
    assert [outcome.state for outcome in record.result["g"].outcomes] == [
        motet.State.SUCCEEDED,
        motet.State.TIMED_OUT,
        motet.State.SKIPPED,
    ]
    assert record.result.elapsed > 3600


async def test_a_wall_clock_that_was_set_back_does_not_turn_events_back(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog = motet.Catalog()
    catalog.add(motet.testing.ScriptedAgent("a", delay=1))
    group = motet.Group("g", [motet.Member("a", replicas=3)], max_parallel=1)
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(group)).run_id
        await trio.sleep(1.5)
        store.die()
    record = await disk.data.get(run_id)
    events = await disk.data.events(run_id, 0, 100)
    tomorrow = record.started_at + timedelta(days=1)
    first = replace(events[0], detail=replace(events[0].detail, started_at=tomorrow))
    later = type(disk)()
    await later.leave(
        replace(record, started_at=tomorrow, last_sequence=0), motet.RunRequest(target=group), [first, *events[1:]]
    )
    record, seen = await go_on(later, catalog, run_id, 0)
    check_run(seen, record.result, plan=group)
    assert record.state is motet.State.SUCCEEDED


async def test_a_group_with_more_seats_than_its_events_list_goes_on(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    agent = motet.testing.ScriptedAgent("a", delay=1)
    catalog = motet.Catalog()
    catalog.add(agent)
    group = motet.Group("g", [motet.Member("a", replicas=MAX_SEATS_LISTED + 100)], max_parallel=300)
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(group)).run_id
        await trio.sleep(3.5)
        store.die()
    agent.calls.clear()
    record, seen = await go_on(disk, catalog, run_id, 0)
    check_run(seen, record.result, plan=group)
    assert len(agent.calls) == MAX_SEATS_LISTED + 100 - 900


async def test_what_was_spent_before_the_crash_counts_against_budgets(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    quick = motet.testing.ScriptedAgent("quick", delay=1)
    fails = motet.testing.ScriptedAgent("fails", delay=1, error=motet.AgentError("no", reason="NO"))
    catalog = motet.Catalog()
    catalog.add(quick, fails)
    tries = motet.RetryPolicy(max_attempts=50, initial_backoff=0, jitter=0, reasons=("NO",))
    steps = motet.Sequence([motet.Group("one", ["quick"]), motet.Group("two", [motet.Member("fails", retry=tries)])])
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(steps, limits=motet.Limits(max_calls=6))).run_id
        await trio.sleep(3.5)
        store.die()
    assert (len(quick.calls), len(fails.calls)) == (1, 3)
    record, seen = await go_on(disk, catalog, run_id, 0)
    check_run(seen, record.result, plan=steps)
    # One call of the first step; two that ended, one that was interrupted, and two more.
    assert (len(quick.calls), len(fails.calls)) == (1, 5)
    assert record.result.usage.calls == 6


async def test_a_group_that_the_catalog_no_longer_has_goes_on_as_it_was_started(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, agent = motet.Catalog(), motet.testing.ScriptedAgent("a", delay=5)
    catalog.add(agent)
    catalog.add_group(motet.Group("g", [motet.Member("a", replicas=2)]))
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start("g")).run_id
        await trio.sleep(1)
        store.die()
    other = motet.Catalog()
    other.add(agent)
    record, seen = await go_on(disk, other, run_id, 0)
    check_run(seen, record.result)
    assert record.state is motet.State.SUCCEEDED
    assert [outcome.attempts for outcome in record.result["g"].outcomes] == [2, 2]


async def test_a_run_whose_agent_is_gone_ends_as_interrupted(disk: Any, autojump_clock: trio.testing.MockClock) -> None:
    catalog = motet.Catalog()
    catalog.add(motet.testing.ScriptedAgent("a", delay=1), motet.testing.ScriptedAgent("b", delay=5))
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(motet.Group("g", ["a", "b"]))).run_id
        await trio.sleep(2)
        store.die()
    other = motet.Catalog()
    other.add(motet.testing.ScriptedAgent("a"))
    record, seen = await go_on(disk, other, run_id, 0)
    check_run(seen, record.result)
    assert (record.state, record.result.failure.reason) == (motet.State.FAILED, "INTERRUPTED")
    assert record.result["g"]["a"].state is motet.State.SUCCEEDED
    assert (record.result["g"]["b"].state, record.result["g"]["b"].failure.reason) == (
        motet.State.FAILED,
        "INTERRUPTED",
    )
