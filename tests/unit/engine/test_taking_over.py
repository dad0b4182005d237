"""Two engines on one store: who takes over what, runs that nobody waits for any more, and stops that others ask for."""

from dataclasses import replace
from typing import Any

import pytest
import trio

import motet
from motet.engine.continuing import LOOK_EVERY, ORPHAN_GRACE
from motet.errors import StoreFailed
from motet.testing import ScriptedAgent, check_run

GROUP = motet.Group("g", ["slow", "quick"])


def make(delay: float = 10) -> tuple[motet.Catalog, ScriptedAgent]:
    """A catalog, and its slow agent."""
    catalog, slow = motet.Catalog(), ScriptedAgent("slow", delay=delay)
    catalog.add(slow, ScriptedAgent("quick", delay=1))
    return catalog, slow


async def leave(disk: Any, catalog: motet.Catalog, request: motet.RunRequest, *, waits: bool) -> str:
    """Let an engine die two seconds after the start of a run; `waits` says that its caller waits for it. Its id."""
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.run if waits else engine.start, request)
        await trio.sleep(2)
        record = (await engine.list()).runs[0]
        store.die()
        nursery.cancel_scope.cancel()
    return record.run_id


async def test_what_a_dead_engine_ran_is_taken_over_within_seconds(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    (catalog, slow), (other, other_slow) = make(), make()
    async with motet.open_engine(other, store=disk.open()) as engine:
        await leave(disk, catalog, motet.RunRequest(target=GROUP), waits=False)
        died = trio.current_time()
        (record,) = (await engine.list()).runs
        async with engine.watch(record.run_id) as stream:
            events = [event async for event in stream]
        check_run(events, stream.result, plan=GROUP)
        assert trio.current_time() - died <= LOOK_EVERY + 10 + 0.1
    assert (len(slow.calls), len(other_slow.calls)) == (1, 1)
    assert stream.result["g"]["slow"].attempts == 2


async def test_one_engine_of_several_takes_a_run_over(disk: Any, autojump_clock: trio.testing.MockClock) -> None:
    catalog, slow = make()
    async with (
        motet.open_engine(catalog, store=disk.open()) as one,
        motet.open_engine(catalog, store=disk.open()) as two,
    ):
        for _ in range(5):
            await leave(disk, catalog, motet.RunRequest(target=GROUP), waits=False)
            await trio.sleep(30)
        assert [record.state for record in (await one.list()).runs] == [motet.State.SUCCEEDED] * 5
        assert (await two.list()).runs == (await one.list()).runs
    assert len(slow.calls) == 10


async def test_an_engine_opens_though_its_store_fails_and_takes_over_later(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, _ = make()
    run_id = await leave(disk, catalog, motet.RunRequest(target=GROUP), waits=False)
    disk.broken = StoreFailed("the disk is full; make room", reason="STORE_FULL")
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        await trio.sleep(10)
        disk.broken = None
        await trio.sleep(LOOK_EVERY + 11)
        assert (await engine.get(run_id)).state is motet.State.SUCCEEDED


@pytest.mark.parametrize("error", [StoreFailed("it cannot be read"), ValueError("what is kept is no event")])
async def test_a_run_that_cannot_be_read_keeps_no_other_from_going_on(
    disk: Any, autojump_clock: trio.testing.MockClock, error: Exception
) -> None:
    catalog, _ = make(delay=5)
    ids = [await leave(disk, catalog, motet.RunRequest(target=GROUP), waits=False)]
    # Each by an engine of its own that died at once, so that none of them has taken over what was left before.
    record, request = await disk.data.get(ids[0]), motet.RunRequest(target=GROUP)
    events = await disk.data.events(ids[0], 0, 100)
    for number in (2, 3):
        run_id = f"{ids[0]}_{number}"
        first = replace(events[0], detail=replace(events[0].detail, run_id=run_id))
        await disk.leave(replace(record, run_id=run_id, last_sequence=0), request, [first, *events[1:]])
        ids.append(run_id)
    disk.unreadable[ids[1]] = error
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        await trio.sleep(30)
        states = [(await engine.get(run_id)).state for run_id in ids]
        assert states == [motet.State.SUCCEEDED, motet.State.RUNNING, motet.State.SUCCEEDED]
        disk.unreadable.clear()
        await trio.sleep(30)
        assert (await engine.get(ids[1])).state is motet.State.SUCCEEDED


async def test_nothing_is_taken_from_an_engine_that_lives(disk: Any, autojump_clock: trio.testing.MockClock) -> None:
    catalog, slow = make(delay=100)
    async with (
        motet.open_engine(catalog, store=disk.open()) as one,
        motet.open_engine(catalog, store=disk.open()) as two,
    ):
        run_id = (await one.start(GROUP)).run_id
        async with two.watch(run_id) as stream:
            events = [event async for event in stream]
        check_run(events, stream.result, plan=GROUP)
        assert two.statistics().runs_started == 0
    assert len(slow.calls) == 1


async def test_a_run_waits_for_its_caller_to_come_back(disk: Any, autojump_clock: trio.testing.MockClock) -> None:
    catalog, slow = make()
    request = motet.RunRequest(target=GROUP, request_id="mine")
    run_id = await leave(disk, catalog, request, waits=True)
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        await trio.sleep(ORPHAN_GRACE / 2)
        assert len(slow.calls) == 1
        result = await engine.run(request)
        assert (result.run_id, result.state) == (run_id, motet.State.SUCCEEDED)
        assert len(slow.calls) == 2
        async with engine.watch(run_id) as stream:
            check_run([event async for event in stream], stream.result, plan=GROUP)


async def test_a_streaming_caller_that_comes_back_sees_the_whole_run(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, _ = make()
    request = motet.RunRequest(target=GROUP, request_id="mine")
    await leave(disk, catalog, request, waits=True)
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        async with engine.stream(request) as stream:
            events = [event async for event in stream]
        check_run(events, stream.result, plan=GROUP)
        assert stream.result.succeeded


async def test_a_caller_that_comes_back_with_another_request_is_refused(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, _ = make()
    await leave(disk, catalog, motet.RunRequest(target=GROUP, request_id="mine"), waits=True)
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        with pytest.raises(motet.RequestIdReused):
            await engine.run(motet.RunRequest(target=motet.Group("other", ["quick"]), request_id="mine"))


async def test_of_two_callers_that_come_back_at_once_one_may_leave_without_the_run_ending(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, slow = make()
    request = motet.RunRequest(target=GROUP, request_id="mine")
    await leave(disk, catalog, request, waits=True)
    results: list[motet.RunResult] = []

    async def stay(engine: motet.Engine) -> None:
        results.append(await engine.run(request))

    async def go(engine: motet.Engine) -> None:
        with trio.move_on_after(3):
            await engine.run(request)

    for callers in ([go, stay], [stay, go]):
        async with motet.open_engine(catalog, store=disk.open()) as engine, trio.open_nursery() as nursery:
            for caller in callers:
                nursery.start_soon(caller, engine)
    assert [result.state for result in results] == [motet.State.SUCCEEDED] * 2
    assert slow.cancelled == 1


async def test_a_run_that_nobody_comes_back_for_ends_as_interrupted(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, slow = make()
    run_id = await leave(disk, catalog, motet.RunRequest(target=GROUP, request_id="mine"), waits=True)
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        await trio.sleep(ORPHAN_GRACE - 1)
        assert (await engine.get(run_id)).state is motet.State.RUNNING
        await trio.sleep(2 * LOOK_EVERY)
        record = await engine.get(run_id)
        assert (record.state, record.result.failure.reason) == (motet.State.CANCELLED, "INTERRUPTED")
        assert record.result["g"]["quick"].state is motet.State.SUCCEEDED
        async with engine.watch(run_id) as stream:
            check_run([event async for event in stream], stream.result, plan=GROUP)
    assert len(slow.calls) == 1


async def test_a_run_that_is_started_again_in_the_background_no_longer_waits_for_callers(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, _ = make()
    request = motet.RunRequest(target=GROUP, request_id="mine")
    run_id = await leave(disk, catalog, request, waits=True)
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        assert await engine.start(request) == motet.Started(run_id, existing=True)
        await trio.sleep(20)
        assert (await engine.get(run_id)).state is motet.State.SUCCEEDED


async def test_a_run_is_cancelled_through_an_engine_that_does_not_hold_it(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, slow = make(delay=1000)
    async with (
        motet.open_engine(catalog, store=disk.open()) as one,
        motet.open_engine(catalog, store=disk.open()) as two,
    ):
        run_id = (await one.start(GROUP)).run_id
        await trio.sleep(3)
        asked = trio.current_time()
        record = await two.cancel(run_id)
        assert (record.state, record.result.failure.reason) == (motet.State.CANCELLED, "CANCELLED")
        assert record.result["g"]["slow"].stop.kind is motet.StopKind.STOPPED
        assert record.result["g"]["quick"].state is motet.State.SUCCEEDED
        assert trio.current_time() - asked < 2 * LOOK_EVERY
    assert slow.cancelled == 1


async def test_a_run_whose_stop_was_asked_for_before_it_is_taken_over_is_not_continued(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, slow = make()
    run_id = await leave(disk, catalog, motet.RunRequest(target=GROUP), waits=False)
    await disk.data.ask_stop(run_id)
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        await trio.sleep(5)
        record = await engine.get(run_id)
        assert (record.state, record.result.failure.reason) == (motet.State.CANCELLED, "CANCELLED")
    assert len(slow.calls) == 1


async def test_a_stop_that_a_crash_cuts_short_is_not_forgotten(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    calls: list[str] = []

    async def hangs(call: motet.Call) -> None:
        calls.append(call.member)
        try:
            await trio.sleep(1000)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(3):
                await trio.sleep_forever()

    catalog, _ = make()
    catalog.add(motet.FunctionAgent(hangs))
    store = disk.open()
    async with motet.open_engine(catalog, store=store) as engine, trio.open_nursery() as nursery:
        run_id = (await engine.start(motet.Group("g", ["hangs", "quick"]))).run_id
        await trio.sleep(2)
        nursery.start_soon(engine.cancel, run_id)
        await trio.sleep(1)
        store.die()
        nursery.cancel_scope.cancel()
    assert (await disk.data.get(run_id)).state is motet.State.RUNNING
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        await trio.sleep(5)
        record = await engine.get(run_id)
        assert (record.state, record.result.failure.reason) == (motet.State.CANCELLED, "CANCELLED")
        async with engine.watch(run_id) as stream:
            check_run([event async for event in stream], stream.result)
    assert calls == ["hangs"]


async def test_a_retry_that_was_due_when_its_engine_died_waits_out_the_rest(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    calls: list[float] = []

    async def flaky(call: motet.Call) -> str:
        await trio.lowlevel.checkpoint()
        calls.append(trio.current_time())
        if call.attempt == 1:
            raise motet.AgentError("later", retryable=True)
        return "ok"

    catalog, _ = make()
    catalog.add(motet.FunctionAgent(flaky))
    tries = motet.RetryPolicy(max_attempts=2, initial_backoff=60, max_backoff=60, jitter=0)
    group = motet.Group("g", [motet.Member("flaky", retry=tries), "quick"])
    run_id = await leave(disk, catalog, motet.RunRequest(target=group), waits=False)
    died = trio.current_time()
    async with motet.open_engine(catalog, store=disk.open()) as engine, engine.watch(run_id) as stream:
        check_run([event async for event in stream], stream.result, plan=group)
    assert stream.result["g"]["flaky"].attempts == 2
    # The last that was told came a second after the start. The wall clock, which mock time leaves alone, may add to it.
    first, second = calls
    assert first == 0
    assert 30 < second - died < 59.5


async def test_a_run_that_waits_for_its_callers_can_be_cancelled(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, slow = make()
    run_id = await leave(disk, catalog, motet.RunRequest(target=GROUP, request_id="mine"), waits=True)
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        record = await engine.cancel(run_id)
        assert (record.state, record.result.failure.reason) == (motet.State.CANCELLED, "CANCELLED")
    assert len(slow.calls) == 1


async def test_the_same_request_id_on_two_engines_is_one_run(disk: Any, autojump_clock: trio.testing.MockClock) -> None:
    catalog, slow = make()
    results: list[motet.RunResult] = []
    async with (
        motet.open_engine(catalog, store=disk.open()) as one,
        motet.open_engine(catalog, store=disk.open()) as two,
    ):

        async def ask(engine: motet.Engine) -> None:
            results.append(await engine.run(motet.RunRequest(target=GROUP, request_id="mine")))

        async with trio.open_nursery() as nursery:
            for engine in (one, two, one, two):
                nursery.start_soon(ask, engine)
    assert len({result.run_id for result in results}) == 1
    assert len(results) == 4
    assert len(slow.calls) == 1


async def test_a_key_is_one_call_for_all_engines(disk: Any, autojump_clock: trio.testing.MockClock) -> None:
    catalog, slow = make()
    keyed = motet.Group("g", ["slow"], idempotency=motet.Idempotency(key="mine"))
    results: list[motet.RunResult] = []
    async with (
        motet.open_engine(catalog, store=disk.open()) as one,
        motet.open_engine(catalog, store=disk.open()) as two,
    ):

        async def ask(engine: motet.Engine) -> None:
            results.append(await engine.run(keyed, "the same"))

        async with trio.open_nursery() as nursery:
            for engine in (one, two, one, two):
                nursery.start_soon(ask, engine)
    assert sorted(result["g"]["slow"].cached for result in results) == [False, True, True, True]
    assert len(slow.calls) == 1


async def test_a_continued_run_counts_among_the_runs_of_its_tenant(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, _ = make()
    catalog.add_tenant("acme", motet.TenantBounds(max_runs=1))
    await leave(disk, catalog, motet.RunRequest(target=GROUP, tenant="acme"), waits=False)
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        await trio.sleep(1)
        with pytest.raises(motet.Exhausted):
            await engine.start(GROUP, tenant="acme")
        await trio.sleep(20)
        await engine.start(GROUP, tenant="acme")


async def test_an_engine_that_closes_leaves_its_background_runs_to_the_next(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, slow = make()
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        run_id = (await engine.start(GROUP)).run_id
        await trio.sleep(2)
    assert slow.running == 0
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        async with engine.watch(run_id) as stream:
            events = [event async for event in stream]
        check_run(events, stream.result, plan=GROUP)
        assert stream.result.succeeded
        assert stream.result["g"]["slow"].attempts == 2
    assert len(slow.calls) == 2


async def test_an_engine_that_closes_ends_the_runs_that_nobody_else_can_carry_on(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    catalog, slow = make()
    objects = motet.Group("g", [ScriptedAgent("object", delay=10)])
    async with trio.open_nursery() as nursery, motet.open_engine(catalog, store=disk.open()) as engine:
        await engine.start(objects)
        nursery.start_soon(engine.run, motet.RunRequest(target=GROUP, request_id="mine"))  # noqa: ASYNC111 - the caller outlives the engine
        await trio.sleep(2)
        ids = [record.run_id for record in (await engine.list()).runs]
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        assert engine.statistics().runs_started == 0
        for run_id in ids:
            record = await engine.get(run_id)
            assert (record.state, record.result.failure.reason) == (motet.State.CANCELLED, "ENGINE_CLOSED")
            async with engine.watch(run_id) as stream:
                check_run([event async for event in stream], record.result)
    assert len(ids) == 2
    assert len(slow.calls) == 1
