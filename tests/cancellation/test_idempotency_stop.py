"""Who waits for a call that another makes, when that other is stopped, given up, or when the waiter itself is."""

from typing import Any

import pytest
import trio

import motet
from motet import FunctionAgent, Group, HedgePolicy, Member, State, StopKind
from motet.model import reason
from motet.model.plan import Idempotency
from motet.store import MemoryStore
from motet.testing import ScriptedAgent

ONCE = Idempotency(key="K")


class Pair:
    """Two groups whose member has the same key; the first is the one that makes the call."""

    def __init__(self, engine: motet.Engine, agent: Any, **first: Any) -> None:
        self.engine = engine
        self.one = Group("one", [Member(agent, idempotency=ONCE)], **first)
        self.two = Group("two", [Member(agent, idempotency=ONCE)])
        self.results: dict[str, motet.RunResult] = {}
        self.ended: dict[str, float] = {}

    async def run(self, **options: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, self.one, {})
            await trio.sleep(1)
            nursery.start_soon(self._run, self.two, options)

    async def _run(self, group: Group, options: dict[str, Any]) -> None:
        self.results[group.name] = await self.engine.run(group, **options)
        self.ended[group.name] = trio.current_time()

    def outcome(self, group: str) -> motet.Outcome:
        return self.results[group][group].outcomes[0]


async def test_when_the_one_that_makes_the_call_is_stopped_another_takes_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", delay=10)
    async with motet.open_engine() as engine:
        pair = Pair(engine, agent, timeout=5)
        await pair.run()
    assert pair.outcome("one").state is State.TIMED_OUT
    assert pair.outcome("two").state is State.SUCCEEDED
    assert not pair.outcome("two").cached
    assert pair.ended["two"] == pytest.approx(15)
    assert (len(agent.calls), agent.peak) == (2, 1)


async def test_a_waiter_that_is_stopped_leaves_the_call_alone(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=10)
    async with motet.open_engine() as engine:
        pair = Pair(engine, agent)
        await pair.run(timeout=3)
    assert pair.outcome("one").state is State.SUCCEEDED
    waiter = pair.outcome("two")
    assert (waiter.state, waiter.attempts) == (State.SKIPPED, 0)
    assert waiter.failure.reason == reason.DEADLINE_EXCEEDED
    assert pair.ended == {"two": pytest.approx(4), "one": pytest.approx(10)}
    assert (len(agent.calls), agent.cancelled) == (1, 0)


async def test_a_waiters_own_timeout_is_for_its_run_time_and_does_not_count_while_it_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with motet.open_engine() as engine:
        pair = Pair(engine, ScriptedAgent("a", delay=10))
        pair.two = Group("two", [Member(pair.two.seats[0].agent, idempotency=ONCE, timeout=3)])
        await pair.run()
    assert pair.outcome("two").cached
    assert pair.ended["two"] == pytest.approx(10)


async def test_a_member_that_was_given_up_does_not_keep_others_waiting_for_its_key(
    autojump_clock: trio.testing.MockClock,
) -> None:
    calls: list[str] = []

    async def stubborn(call: motet.Call) -> str:
        calls.append(call.group)
        with trio.CancelScope(shield=call.group == "one"):
            await trio.sleep(1000 if call.group == "one" else 2)
        return "ok"

    async with motet.open_engine(stop_grace=3) as engine:
        pair = Pair(engine, FunctionAgent(stubborn), timeout=5)
        await pair.run()
    assert pair.outcome("one").stop.kind is StopKind.DETACHED
    assert pair.outcome("two").state is State.SUCCEEDED
    assert calls == ["one", "two"]
    assert pair.ended == {"one": pytest.approx(8), "two": pytest.approx(10)}


async def test_an_answer_is_given_to_others_as_soon_as_it_is_known_though_a_losing_attempt_still_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def stubborn(call: motet.Call) -> str:
        if call.attempt == 1:
            with trio.CancelScope(shield=True):
                await trio.sleep(1000)
        return "ok"

    async with motet.open_engine(stop_grace=3) as engine:
        pair = Pair(engine, FunctionAgent(stubborn, replay_safe=True), hedge=HedgePolicy(delay=2))
        await pair.run()
    assert pair.outcome("one").state is State.SUCCEEDED
    assert pair.outcome("two").cached
    assert pair.ended == {"one": pytest.approx(5), "two": pytest.approx(5)}


async def test_an_engine_that_closes_gives_its_keys_up(autojump_clock: trio.testing.MockClock) -> None:
    class LastingStore(MemoryStore):
        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    store = LastingStore()
    agent = ScriptedAgent("a", delay=10)
    group = Group("g", [agent], idempotency=ONCE)
    async with motet.open_engine(store=store) as engine:
        await engine.start(group)
        await trio.sleep(5)
    async with motet.open_engine(store=store) as engine:
        result = await engine.run(group)
    assert result["g"]["a"].state is State.SUCCEEDED
    assert not result["g"]["a"].cached
    assert trio.current_time() == pytest.approx(15)


async def test_a_run_that_is_cancelled_while_its_member_waits_for_a_key_skips_it(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=10)
    async with motet.open_engine() as engine:
        pair = Pair(engine, agent)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.run)
            await trio.sleep(2)
            started = await engine.start(pair.two)
            await trio.sleep(1)
            record = await engine.cancel(started.run_id)
    outcome = record.result["two"]["a"]
    assert (outcome.state, outcome.failure.reason) == (State.SKIPPED, reason.CANCELLED)
    assert outcome.queued == pytest.approx(1)
    assert trio.current_time() == pytest.approx(10)
