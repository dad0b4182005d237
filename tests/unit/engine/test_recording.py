"""The way of a run into its store: what becomes of the run, and of its record, when the store does not take it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio

import motet
from motet.engine.recording import STORE_PATIENCE
from motet.errors import StoreFailed
from motet.model.event import Event, MemberStarted
from motet.model.run import RunRecord
from motet.store.memory import MemoryStore
from motet.testing import ScriptedAgent, check_run

FULL = StoreFailed("the disk is full; make room", reason="STORE_FULL")
GROUP = motet.Group("g", ["slow", "quick"])


class Moody(MemoryStore):
    """Fails, or takes its time, as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.appending: Exception | None = None
        self.finishing: Exception | None = None
        self.stuck = False
        self.gate: trio.Event | None = None
        """Waited for before every `append`."""
        self.appends = 0

    async def append(self, run_id: str, events: Sequence[Event], epoch: int = 1) -> None:
        self.appends += 1
        await self._mood(self.appending)
        if self.gate is not None:
            await self.gate.wait()
        await super().append(run_id, events, epoch)

    async def finish(self, run_id: str, record: RunRecord, epoch: int = 1) -> None:
        await self._mood(self.finishing)
        await super().finish(run_id, record, epoch)

    async def _mood(self, error: Exception | None) -> None:
        if error is not None:
            raise error
        if self.stuck:
            await trio.sleep_forever()


def make() -> tuple[motet.Catalog, ScriptedAgent]:
    """A catalog, and its slow agent."""
    catalog, slow = motet.Catalog(), ScriptedAgent("slow", delay=100)
    catalog.add(slow, ScriptedAgent("quick", delay=2))
    return catalog, slow


async def until(condition: Callable[[], Awaitable[object]], most: float = 1000) -> None:
    """In mock time: look every second."""
    with trio.fail_after(most):
        while not await condition():
            await trio.sleep(1)


async def test_a_run_that_cannot_be_recorded_is_stopped_and_its_end_is_kept_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    (catalog, slow), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(GROUP)).run_id
        await trio.sleep(1)
        store.appending = FULL
        await trio.sleep(3)
        assert (slow.cancelled, engine.statistics().runs_active) == (1, 0)
        assert (await engine.get(run_id)).state is motet.State.RUNNING
        store.appending = None
        await until(lambda: _has_ended(engine, run_id), 60)
        record = await engine.get(run_id)
        assert record.state is motet.State.CANCELLED
        assert record.result.failure.reason == "CANCELLED"
        assert "disk is full" in record.result.failure.message
        assert record.result["g"]["slow"].failure.details == {"store": "STORE_FULL"}
        assert record.result["g"]["quick"].state is motet.State.SUCCEEDED
        async with engine.watch(run_id) as stream:
            check_run([event async for event in stream], stream.result, plan=GROUP)


async def test_an_end_that_could_not_be_kept_is_kept_later(autojump_clock: trio.testing.MockClock) -> None:
    (catalog, _), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine:
        store.finishing = FULL
        run_id = (await engine.start(motet.Group("g", ["quick"]))).run_id
        await trio.sleep(200)
        assert (await engine.get(run_id)).state is motet.State.RUNNING
        store.finishing = None
        await until(lambda: _has_ended(engine, run_id), 60)
        record = await engine.get(run_id)
        assert record.state is motet.State.SUCCEEDED
        async with engine.watch(run_id) as stream:
            check_run([event async for event in stream], record.result)


async def test_other_runs_go_on_while_one_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    (catalog, _), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine:
        await engine.start(GROUP)
        await trio.sleep(1)
        store.appending = FULL
        await trio.sleep(2)
        result = await engine.run(motet.Group("g", ["quick"]))
        assert result.succeeded


async def test_a_store_that_does_not_answer_has_failed_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    (catalog, slow), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(GROUP)).run_id
        await trio.sleep(1)
        store.stuck = True
        await trio.sleep(STORE_PATIENCE)
        assert slow.cancelled == 0
        await trio.sleep(3)
        assert slow.cancelled == 1
        store.stuck = False
        await until(lambda: _has_ended(engine, run_id), 2 * STORE_PATIENCE)
        record = await engine.get(run_id)
        assert record.result["g"]["slow"].failure.details == {"store": "STORE_UNAVAILABLE"}


async def test_cancelling_a_run_whose_store_fails_says_so(autojump_clock: trio.testing.MockClock) -> None:
    (catalog, slow), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(GROUP)).run_id
        await trio.sleep(1)
        store.appending = store.finishing = FULL
        with pytest.raises(StoreFailed):
            await engine.cancel(run_id)
        assert slow.running == 0
        store.appending = store.finishing = None
        await until(lambda: _has_ended(engine, run_id), 60)


async def test_an_engine_closes_though_its_store_fails(autojump_clock: trio.testing.MockClock) -> None:
    (catalog, slow), store = make(), Moody()
    with trio.fail_after(10):
        async with motet.open_engine(catalog, store=store) as engine:
            await engine.start(GROUP)
            await trio.sleep(1)
            store.appending = store.finishing = FULL
            await trio.sleep(2)
    assert (slow.cancelled, slow.running) == (1, 0)


async def test_a_caller_that_waits_for_a_run_is_told_its_end_though_the_store_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    (catalog, _), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine, trio.open_nursery() as nursery:

        async def fail() -> None:
            await trio.sleep(1)
            store.appending = store.finishing = FULL

        nursery.start_soon(fail)
        with trio.fail_after(2 * STORE_PATIENCE):
            result = await engine.run(motet.RunRequest(target=GROUP, request_id="mine"))
        assert result.state is motet.State.CANCELLED
        store.appending = store.finishing = None


async def test_a_caller_that_leaves_is_not_held_by_a_store_that_fails(autojump_clock: trio.testing.MockClock) -> None:
    (catalog, slow), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine:
        with trio.fail_after(2 * STORE_PATIENCE), trio.move_on_after(5):
            async with engine.stream(motet.RunRequest(target=GROUP, request_id="mine")):
                store.appending = store.finishing = FULL
                await trio.sleep_forever()
        assert slow.running == 0
        store.appending = store.finishing = None


async def test_a_store_with_a_fault_of_its_own_ends_that_run_only(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    (catalog, slow), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine:
        await engine.start(GROUP)
        await trio.sleep(1)
        store.appending = ZeroDivisionError("the store's own fault")
        await trio.sleep(3)
        assert (slow.cancelled, engine.statistics().runs_active) == (1, 0)
        store.appending = None
        run_id = (await engine.start(motet.Group("g", ["quick"]))).run_id
        await until(lambda: _has_ended(engine, run_id), 10)
    assert "the store failed" in caplog.text


async def test_an_engine_that_lost_a_run_stops_it_and_writes_nothing_more(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    (catalog, slow), store = make(), disk.open()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(GROUP)).run_id
        await trio.sleep(1)
        kept = await disk.data.events(run_id, 0, 100)
        disk.holders[run_id] = (disk.open(), 2)
        await trio.sleep(3)
        assert (slow.cancelled, engine.statistics().runs_active) == (1, 0)
        writes = store.writes
        await trio.sleep(100)
        assert store.writes == writes
        assert await disk.data.events(run_id, 0, 100) == kept
        assert (await engine.get(run_id)).state is motet.State.RUNNING


async def test_an_agent_that_must_not_be_called_twice_is_called_once_its_start_is_kept(
    disk: Any, autojump_clock: trio.testing.MockClock
) -> None:
    (catalog, slow), store = make(), Moody()
    slow.info = motet.AgentInfo(name="slow", kind=motet.AgentKind.FUNCTION, replay_safe=False)
    store.gate = trio.Event()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(motet.Group("g", ["slow", "quick"]))).run_id
        await trio.sleep(1)
        assert (len(slow.calls), engine.statistics().members_running) == (0, 2)
        store.gate.set()
        await trio.sleep(1)
        assert len(slow.calls) == 1
        kept = await store.events(run_id, 0, 100)
        assert any(isinstance(event.detail, MemberStarted) and event.member == "slow" for event in kept)


async def test_runs_that_are_not_recorded_wait_for_no_store(autojump_clock: trio.testing.MockClock) -> None:
    (catalog, slow), store = make(), Moody()
    slow.info = motet.AgentInfo(name="slow", kind=motet.AgentKind.FUNCTION, replay_safe=False)
    async with motet.open_engine(catalog, store=store) as engine:
        assert (await engine.run(GROUP)).succeeded
    assert store.appends == 0


async def test_events_that_come_together_are_kept_together(autojump_clock: trio.testing.MockClock) -> None:
    (catalog, _), store = make(), Moody()
    async with motet.open_engine(catalog, store=store) as engine:
        run_id = (await engine.start(motet.Group("g", [motet.Member("quick", replicas=200)]))).run_id
        await until(lambda: _has_ended(engine, run_id), 60)
        assert (await engine.get(run_id)).last_sequence == 404
    assert store.appends <= 12


async def _has_ended(engine: motet.Engine, run_id: str) -> bool:
    return (await engine.get(run_id)).state.ended
