"""Background runs: start, watch from a cursor, join by request_id, cancel, drain; and streams of own runs."""

from typing import Any

import pytest
import trio

import motet
from motet import Group, Member, State
from motet.store.memory import MemoryStore
from motet.testing import ScriptedAgent, check_run


async def collect(stream: motet.RunStream) -> list[motet.Event]:
    async with stream:
        return [event async for event in stream]


async def test_a_started_run_goes_on_without_its_caller(autojump_clock: trio.testing.MockClock) -> None:
    async with motet.open_engine() as engine:
        with trio.move_on_after(1):
            started = await engine.start(Group("g", [ScriptedAgent("a", delay=5)]), labels={"who": "me"})
            await trio.sleep_forever()
        record = await engine.get(started.run_id)
        assert (record.state, record.result, record.target) == (State.RUNNING, None, "g")
        await trio.sleep(10)
        record = await engine.get(started.run_id)
        assert record.state is State.SUCCEEDED
        assert record.labels == {"who": "me"}
        events = await collect(engine.watch(started.run_id))
        check_run(events, record.result)
        assert record.last_sequence == len(events)


async def test_a_watch_replays_from_its_cursor_and_then_follows(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=1)
    seen: dict[int, list[int]] = {}
    async with motet.open_engine() as engine:
        started = await engine.start(Group("g", [Member(agent, replicas=5)], max_parallel=1))

        async def watch(after: int, wait: float) -> None:
            await trio.sleep(wait)
            stream = engine.watch(started.run_id, after)
            seen[after] = [event.sequence for event in await collect(stream)]
            assert stream.result is not None

        async with trio.open_nursery() as nursery:
            for after, wait in ((0, 0), (3, 2.5), (7, 0.5), (14, 99)):
                nursery.start_soon(watch, after, wait)
    assert seen == {after: list(range(after + 1, 15)) for after in (0, 3, 7, 14)}


async def test_a_watcher_that_leaves_or_stops_reading_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with motet.open_engine() as engine:
        started = await engine.start(Group("g", [Member(ScriptedAgent("a", delay=1), replicas=3)], max_parallel=1))
        async with engine.watch(started.run_id) as stream:
            async for _ in stream:
                break
        async with engine.watch(started.run_id) as stopped:
            await trio.sleep(10)
            assert (await engine.get(started.run_id)).state is State.SUCCEEDED
            assert len([event async for event in stopped]) == 10


async def test_cancel_returns_the_record_with_every_receipt(autojump_clock: trio.testing.MockClock) -> None:
    async with motet.open_engine() as engine:
        group = Group("g", [ScriptedAgent("a", delay=60), ScriptedAgent("b", delay=1)])
        started = await engine.start(group)
        await trio.sleep(2)
        record = await engine.cancel(started.run_id)
        assert record.state is State.CANCELLED
        assert record.result["g"]["a"].stop.kind is motet.StopKind.STOPPED
        assert record.result["g"]["b"].state is State.SUCCEEDED
        assert await engine.cancel(started.run_id) == record
        with pytest.raises(motet.NotFound):
            await engine.cancel("run_0")


async def test_a_run_that_its_caller_waits_for_can_be_cancelled_by_its_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = Group("g", [ScriptedAgent("a", delay=60, resist=1)])
    async with motet.open_engine() as engine:
        async with engine.stream(group) as run:
            await trio.sleep(1)
            record = await engine.cancel(run.run_id)
            events = [event async for event in run]
        check_run(events, run.result, plan=group)
        assert record.result == run.result
        assert record.state is State.CANCELLED
        with pytest.raises(motet.NotFound):
            await engine.cancel(run.run_id)


async def test_the_same_request_id_finds_the_same_run_and_another_request_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", delay=5)
    catalog = motet.Catalog()
    catalog.add(agent)
    group = Group("g", ["a"])
    async with motet.open_engine(catalog) as engine:
        first = await engine.start(group, "x", request_id="r1", variables={"a": 1, "b": 2})
        again = await engine.start(group, "x", request_id="r1", variables={"b": 2, "a": 1})
        assert again == motet.Started(first.run_id, existing=True)
        with pytest.raises(motet.RequestIdReused):
            await engine.start(group, "y", request_id="r1", variables={"a": 1, "b": 2})
        await trio.sleep(10)
        assert (await engine.start(group, "x", request_id="r1", variables={"b": 2, "a": 1})).run_id == first.run_id
    assert len(agent.calls) == 1


async def test_concurrent_callers_with_one_request_id_share_one_run(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=5)
    request = motet.RunRequest(target=Group("g", [agent]), request_id="r")
    results: list[motet.RunResult] = []
    async with motet.open_engine() as engine:

        async def ask() -> None:
            results.append(await engine.run(request))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
    assert len(agent.calls) == 1
    assert len({result.run_id for result in results}) == 1
    assert len(results) == 10


async def test_a_shared_run_is_stopped_when_the_last_caller_leaves_and_not_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", delay=60)
    request = motet.RunRequest(target=Group("g", [agent]), request_id="r")
    async with motet.open_engine() as engine:

        async def leave_after(seconds: float) -> None:
            with trio.move_on_after(seconds):
                await engine.run(request)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_after, 1)
            nursery.start_soon(leave_after, 3)
            await trio.sleep(2)
            assert agent.running == 1
        assert agent.running == 0
        assert trio.current_time() == pytest.approx(3)
        page = await engine.list()
        assert [run.state for run in page.runs] == [State.CANCELLED]


async def test_a_stream_with_a_request_id_gives_the_same_events(autojump_clock: trio.testing.MockClock) -> None:
    request = motet.RunRequest(target=Group("g", [ScriptedAgent("a", delay=1)]), request_id="r")
    async with motet.open_engine() as engine:
        stream = engine.stream(request)
        events = await collect(stream)
        check_run(events, stream.result)


async def test_listing_filters_and_pages(autojump_clock: trio.testing.MockClock) -> None:
    async with motet.open_engine() as engine:
        ids = [
            (await engine.start(Group("g", [ScriptedAgent("a")]), labels={"odd": str(n % 2)})).run_id for n in range(6)
        ]
        await engine.start(Group("slow", [ScriptedAgent("a", delay=60)]))
        await trio.sleep(1)
        page = await engine.list(motet.RunQuery(states=frozenset({State.SUCCEEDED}), labels={"odd": "1"}, limit=2))
        rest = await engine.list(
            motet.RunQuery(
                states=frozenset({State.SUCCEEDED}), labels={"odd": "1"}, limit=2, page_token=page.next_page_token
            )
        )
    assert [r.run_id for r in (*page.runs, *rest.runs)] == [ids[5], ids[3], ids[1]]
    assert not rest.next_page_token


async def test_leaving_a_stream_early_stops_the_run_and_waits_for_the_receipts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", delay=60, resist=2)
    async with motet.open_engine() as engine:
        async with engine.stream(Group("g", [agent])) as run:
            async for event in run:
                if isinstance(event.detail, motet.MemberStarted):
                    break
        assert agent.running == 0
        assert run.result.state is State.CANCELLED
        assert run.result["g"]["a"].stop.took == pytest.approx(2)


async def test_an_exception_in_a_streams_body_comes_out_as_it_is(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=60)
    with pytest.raises(LookupError, match="mine"):
        async with motet.open_engine() as engine, engine.stream(Group("g", [agent])):
            await trio.sleep(1)
            raise LookupError("mine")
    assert agent.cancelled == 1


async def test_cancel_of_a_stream_lets_the_events_go_on_to_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = Group("g", [ScriptedAgent("a", delay=60), ScriptedAgent("b", delay=60)], max_parallel=1)
    async with motet.open_engine() as engine, engine.stream(group) as run:
        events = []
        async for event in run:
            events.append(event)
            if isinstance(event.detail, motet.MemberStarted):
                run.cancel()
    check_run(events, run.result, plan=group)
    assert [o.state for o in run.result["g"].outcomes] == [State.CANCELLED, State.SKIPPED]


async def test_events_that_wait_come_as_one_batch(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g", [Member(ScriptedAgent("a", delay=1), replicas=100)])
    async with motet.open_engine() as engine, engine.stream(group) as run:
        sizes = [len(batch) async for batch in run.batches()]
    assert sum(sizes) == 204
    assert len(sizes) <= 4


async def test_draining_refuses_new_work_and_lets_running_work_finish(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", delay=5)
    group = Group("g", [agent])
    async with motet.open_engine() as engine:
        started = await engine.start(group)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.drain, 60)
            await trio.testing.wait_all_tasks_blocked()
            for attempt in (engine.run, engine.start):
                with pytest.raises(motet.Unavailable):
                    await attempt(group)
            with pytest.raises(motet.Unavailable):
                engine.stream(group)
        assert trio.current_time() == pytest.approx(5)
        assert (await engine.get(started.run_id)).state is State.SUCCEEDED


async def test_draining_stops_what_is_left_after_its_grace(autojump_clock: trio.testing.MockClock) -> None:
    async with motet.open_engine() as engine:
        started = await engine.start(Group("g", [ScriptedAgent("a", delay=60)]))
        await engine.drain(3)
        record = await engine.get(started.run_id)
        assert record.state is State.CANCELLED
        assert trio.current_time() == pytest.approx(3)


async def test_a_second_drain_with_less_grace_shortens_the_first(autojump_clock: trio.testing.MockClock) -> None:
    async with motet.open_engine() as engine:
        started = await engine.start(Group("g", [ScriptedAgent("a", delay=60)]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.drain, 50)
            await trio.sleep(1)
            nursery.start_soon(engine.drain, 2)
        assert trio.current_time() == pytest.approx(3)
        assert (await engine.get(started.run_id)).state is State.CANCELLED


async def test_a_member_may_start_nested_runs_while_the_engine_drains(autojump_clock: trio.testing.MockClock) -> None:
    inner = Group("inner", [ScriptedAgent("leaf")])
    async with motet.open_engine() as engine:
        started = await engine.start(Group("g", [ScriptedAgent("a", delay=2, nested=inner)]))
        await trio.sleep(1)
        await engine.drain(10)
        assert (await engine.get(started.run_id)).state is State.SUCCEEDED


async def test_closing_the_engine_stops_background_runs_and_records_how_they_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Kept(MemoryStore):
        async def aclose(self) -> None:
            records.extend((await self.list(motet.RunQuery())).runs)

    records: list[motet.RunRecord] = []
    agent = ScriptedAgent("a", delay=60)
    async with motet.open_engine(store=Kept()) as engine:
        await engine.start(Group("g", [agent]))
        await trio.sleep(1)
    assert [record.state for record in records] == [State.CANCELLED]
    assert agent.running == 0


async def test_a_store_that_fails_stops_the_run_and_harms_no_other(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(MemoryStore):
        async def append(self, run_id: str, events: Any, epoch: int = 1) -> None:
            await trio.sleep(2)
            raise OSError("disk full")

    agent = ScriptedAgent("a", delay=60)
    async with motet.open_engine(store=Full()) as engine:
        await engine.start(Group("g", [agent]))
        other = await engine.run(Group("h", [ScriptedAgent("b", delay=5)]))
        assert other.state is State.SUCCEEDED
        assert agent.cancelled == 1
    assert "the store failed" in caplog.text


async def test_an_input_of_a_map_that_cannot_run_is_an_answer_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def inputs() -> Any:
        yield motet.MapInput(motet.Payload.of("fine"))
        yield motet.MapInput(motet.Payload.of("x" * 100))
        yield motet.MapInput(motet.Payload.of("fine too"))

    group = Group("g", [ScriptedAgent("a")])
    async with motet.open_engine(max_payload_bytes=50) as engine, engine.map(group, inputs()) as answers:
        states = {answer.index: answer.result.state async for answer in answers}
    assert states == {0: State.SUCCEEDED, 1: State.FAILED, 2: State.SUCCEEDED}


async def test_an_exception_of_a_maps_inputs_is_raised_after_the_answers_before_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def inputs() -> Any:
        yield motet.MapInput(motet.Payload.of("fine"))
        raise LookupError("mine")

    answered = []
    async with motet.open_engine() as engine, engine.map(Group("g", [ScriptedAgent("a", delay=1)]), inputs()) as map_:
        with pytest.raises(LookupError, match="mine"):
            async for answer in map_:
                answered.append(answer.index)  # noqa: PERF401 - those before the exception count
    assert answered == [0]


async def test_the_runs_of_a_map_see_their_callers_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async def inputs() -> Any:
        yield motet.MapInput(motet.Payload.of("x"))

    agent = ScriptedAgent("a", delay=60)
    async with motet.open_engine() as engine:
        with trio.move_on_after(5):
            async with engine.map(Group("g", [agent]), inputs()) as answers:
                async for _ in answers:
                    pytest.fail("nothing is answered in time")
        assert agent.running == 0
    assert agent.calls[0].deadline == pytest.approx(trio.current_time())


async def test_leaving_a_map_stops_what_it_runs(autojump_clock: trio.testing.MockClock) -> None:
    async def inputs() -> Any:
        while True:
            await trio.lowlevel.checkpoint()
            yield motet.MapInput(motet.Payload.of("x"))

    agent = ScriptedAgent("a", delay=3)
    async with motet.open_engine() as engine:
        async with engine.map(Group("g", [agent]), inputs(), max_in_flight=5) as answers:
            async for _ in answers:
                break
        assert agent.running == 0
        assert engine.statistics().runs_active == 0
