"""Members that are stopped between attempts, or while several attempts run beside each other: every one has an outcome and
a receipt, and nothing is held afterwards."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

import motet
from motet import AgentError, FunctionAgent, Group, HedgePolicy, Limits, Member, OnBreach, RetryPolicy, State, StopKind
from motet.model import reason
from motet.testing import ScriptedAgent, check_run

HEDGED = HedgePolicy(delay=2, max_attempts=3)
LATER = AgentError("later", reason="BUSY", retryable=True)
BACKOFF = RetryPolicy(max_attempts=3, initial_backoff=60, max_backoff=60, jitter=0)


def hanging(resist: Callable[[motet.Call], float] = lambda call: 0, **card: Any) -> Any:
    """Calls that only a cancellation ends, so many seconds later."""

    async def run(call: motet.Call) -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(resist(call))
        return "never"

    return FunctionAgent(run, name="a", replay_safe=True, **card)


def nothing_is_held(engine: motet.Engine) -> bool:
    statistics = engine.statistics()
    in_use = [use for use in engine.limits() if use.reserved or (use.what in ("running", "runs") and use.used)]
    return not in_use and statistics.width_waiters == 0 and statistics.members_running == 0


async def leaving(after: float, engine: motet.Engine, group: Group) -> None:
    """Run a group for a caller that goes away after so many seconds. Not by a deadline: the engine would know of that."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, group)
        await trio.sleep(after)
        nursery.cancel_scope.cancel()


class Followed:
    """Runs a group, keeps its events, and checks them at the end."""

    def __init__(self, engine: motet.Engine, group: Group) -> None:
        self.engine = engine
        self.group = group
        self.result: Any = None

    async def run(self, **options: Any) -> None:
        async with self.engine.stream(self.group, **options) as stream:
            events = [event async for event in stream]
        self.result = stream.result
        check_run(events, self.result, plan=self.group)

    @property
    def outcome(self) -> motet.Outcome:
        outcome: motet.Outcome = self.result["g"].outcomes[0]
        return outcome


# ----------------------------------------------------------------------------------------------- beside each other: stopped


async def test_the_deadline_of_a_group_stops_all_attempts_of_its_members(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with motet.open_engine() as engine:
        run = Followed(engine, Group("g", [hanging(), ScriptedAgent("b")], timeout=5, hedge=HEDGED))
        await run.run()
        assert nothing_is_held(engine)
    assert (run.outcome.state, run.outcome.attempts) == (State.TIMED_OUT, 3)
    assert run.outcome.stop.kind is StopKind.STOPPED
    assert [attempt.state for attempt in run.outcome.attempt_log] == [State.TIMED_OUT] * 3
    assert all(attempt.stop.kind is StopKind.STOPPED for attempt in run.outcome.attempt_log)
    assert len(run.result["g"].outcomes) == 2
    assert run.result.elapsed == pytest.approx(5)


async def test_cancelling_a_run_stops_all_attempts_of_its_members(autojump_clock: trio.testing.MockClock) -> None:
    async with motet.open_engine() as engine:
        started = await engine.start(Group("g", [hanging()], hedge=HEDGED))
        await trio.sleep(3)
        record = await engine.cancel(started.run_id)
        assert nothing_is_held(engine)
    outcome = record.result["g"].outcomes[0]
    assert (outcome.state, outcome.failure.reason, outcome.attempts) == (State.CANCELLED, reason.CANCELLED, 2)
    assert [attempt.state for attempt in outcome.attempt_log] == [State.CANCELLED] * 2


async def test_a_caller_that_goes_away_leaves_no_attempt_behind(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[motet.Event] = []
    async with motet.open_engine(observers=[lambda run_id, event: ended.append(event)]) as engine:
        await leaving(5, engine, Group("g", [hanging(lambda call: call.attempt)], hedge=HEDGED))
        assert nothing_is_held(engine)
        assert trio.current_time() == pytest.approx(8)
    outcomes = [event.detail.outcome for event in ended if isinstance(event.detail, motet.MemberEnded)]
    assert [(outcome.state, outcome.attempts) for outcome in outcomes] == [(State.CANCELLED, 3)]
    assert outcomes[0].stop.took == pytest.approx(3)


async def test_an_engine_that_closes_stops_all_attempts(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[motet.Event] = []
    async with motet.open_engine(observers=[lambda run_id, event: ended.append(event)]) as engine:
        await engine.start(Group("g", [hanging()], hedge=HEDGED))
        await trio.sleep(5)
    outcomes = [event.detail.outcome for event in ended if isinstance(event.detail, motet.MemberEnded)]
    assert [outcome.failure.reason for outcome in outcomes] == [reason.ENGINE_CLOSED]
    assert isinstance(ended[-1].detail, motet.RunEnded)


async def test_a_breach_that_cancels_stops_all_attempts(autojump_clock: trio.testing.MockClock) -> None:
    failing = Member(ScriptedAgent("bad", delay=3, error=ValueError("broken")), replicas=5)
    limits = Limits(max_failure_rate=0.5, on_breach=OnBreach.CANCEL)
    async with motet.open_engine() as engine:
        run = Followed(engine, Group("g", [hanging(), failing], hedge=HEDGED, limits=limits))
        await run.run()
    assert (run.outcome.state, run.outcome.failure.reason) == (State.CANCELLED, reason.FAILURE_RATE_EXCEEDED)
    assert run.outcome.attempts == 2


# ------------------------------------------------------------------------------------------------ beside each other: given up


async def test_attempts_that_resist_a_group_deadline_are_given_up_together(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    agent = hanging(lambda call: 100 if call.attempt == 1 else 0)
    async with motet.open_engine(stop_grace=3) as engine:
        run = Followed(engine, Group("g", [agent], timeout=5, hedge=HEDGED))
        await run.run()
        assert engine.statistics().members_detached == 1
    assert run.result.elapsed == pytest.approx(8)
    assert (run.outcome.state, run.outcome.stop.kind) == (State.TIMED_OUT, StopKind.DETACHED)
    kinds = [attempt.stop.kind for attempt in run.outcome.attempt_log]
    assert kinds == [StopKind.DETACHED, StopKind.STOPPED, StopKind.STOPPED]
    assert trio.current_time() == pytest.approx(105)


async def test_a_member_whose_attempts_resist_its_own_timeout_does_not_hold_its_group(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    agent = hanging(lambda call: 100)
    group = Group("g", [Member(agent, timeout=5), ScriptedAgent("b")], max_parallel=1, hedge=HEDGED)
    async with motet.open_engine(stop_grace=3) as engine:
        run = Followed(engine, group)
        await run.run()
        assert not nothing_is_held(engine)
    assert (run.outcome.state, run.outcome.stop.kind) == (State.TIMED_OUT, StopKind.DETACHED)
    assert run.result["g"]["b"].queued == pytest.approx(8)
    assert run.result["g"]["b"].state is State.SUCCEEDED


async def test_what_a_given_up_loser_held_comes_back_when_it_ends(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(call: motet.Call) -> str:
        if call.attempt == 1:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
        return f"answer {call.attempt}"

    agent = FunctionAgent(run, replay_safe=True, max_parallel=2)
    async with motet.open_engine(stop_grace=3) as engine:
        result = await engine.run(Group("g", [agent], hedge=HEDGED))
        assert result.unwrap()["combined_results"] == ["answer 2"]
        assert [use.used for use in engine.limits() if (use.scope, use.what) == ("agent", "running")] == [1]
        await trio.sleep(100)
        assert nothing_is_held(engine)


async def test_a_caller_that_goes_away_while_a_loser_resists_keeps_the_answer(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(call: motet.Call) -> str:
        if call.attempt == 1:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
        return f"answer {call.attempt}"

    ended: list[motet.Event] = []
    async with motet.open_engine(stop_grace=10, observers=[lambda run_id, event: ended.append(event)]) as engine:
        await leaving(5, engine, Group("g", [FunctionAgent(run, replay_safe=True)], hedge=HEDGED))
    outcomes = [event.detail.outcome for event in ended if isinstance(event.detail, motet.MemberEnded)]
    assert [outcome.state for outcome in outcomes] == [State.SUCCEEDED]
    assert outcomes[0].output.text == "answer 2"
    assert outcomes[0].attempt_log[0].stop.kind is StopKind.DETACHED


# ------------------------------------------------------------------------------------------------------ between attempts


@pytest.mark.parametrize("how", ["cancel", "caller", "close"])
async def test_a_member_that_waits_for_its_next_attempt_is_stopped_at_once(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    ended: list[motet.Event] = []
    agent = ScriptedAgent("a", error=LATER)
    group = Group("g", [agent], retry=BACKOFF)
    async with motet.open_engine(observers=[lambda run_id, event: ended.append(event)]) as engine:
        if how == "caller":
            await leaving(70, engine, group)
        else:
            started = await engine.start(group)
            await trio.sleep(70)
            if how == "cancel":
                await engine.cancel(started.run_id)
        assert how == "close" or nothing_is_held(engine)
    assert trio.current_time() == pytest.approx(70)
    (outcome,) = [event.detail.outcome for event in ended if isinstance(event.detail, motet.MemberEnded)]
    assert (outcome.state, outcome.attempts) == (State.CANCELLED, 2)
    assert outcome.stop.kind is StopKind.STOPPED
    assert outcome.stop.took == pytest.approx(0)
    assert len(agent.calls) == 2


async def test_a_decision_stops_a_member_that_waits_for_its_next_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with motet.open_engine() as engine:
        members = [ScriptedAgent("a", error=LATER), ScriptedAgent("b", delay=5)]
        run = Followed(engine, Group("g", members, aggregation="first", retry=BACKOFF))
        await run.run()
    assert (run.outcome.state, run.outcome.failure.reason) == (State.CANCELLED, reason.DECIDED)
    assert run.outcome.attempts == 1
    assert run.result.elapsed == pytest.approx(5)


async def test_a_member_that_waits_for_width_for_its_next_attempt_is_stopped_and_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def narrow(call: motet.Call) -> str:
        if call.member == "a_1":
            raise LATER
        await trio.sleep(60)
        return "ok"

    agent = FunctionAgent(narrow, name="a", max_parallel=1)
    group = Group("g", [Member(agent, replicas=2)], retry=RetryPolicy(max_attempts=2), timeout=30)
    async with motet.open_engine() as engine:
        run = Followed(engine, group)
        await run.run()
        assert nothing_is_held(engine)
    assert [(o.state, o.attempts) for o in run.result["g"].outcomes] == [(State.TIMED_OUT, 1)] * 2
    assert "BUSY" in run.outcome.failure.details["last_failure"]


async def test_an_attempt_that_is_given_up_is_not_tried_again(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    agent = ScriptedAgent("a", delay=60, resist=50, timeout=5)
    retry = RetryPolicy(max_attempts=3, reasons=(reason.DEADLINE_EXCEEDED,), jitter=0)
    async with motet.open_engine(stop_grace=3) as engine:
        run = Followed(engine, Group("g", [agent], retry=retry))
        await run.run()
    assert (run.outcome.state, run.outcome.stop.kind) == (State.TIMED_OUT, StopKind.DETACHED)
    assert (run.outcome.attempts, len(agent.calls)) == (1, 1)
    assert run.result.elapsed == pytest.approx(8)


async def test_a_nested_run_is_stopped_with_the_attempt_that_lost(autojump_clock: trio.testing.MockClock) -> None:
    leaf = ScriptedAgent("leaf", delay=60)

    async def outer(call: motet.Call) -> str:
        if call.attempt == 1:
            await call.run(Group("inner", [leaf]))
        return "quick"

    async with motet.open_engine() as engine:
        run = Followed(engine, Group("g", [FunctionAgent(outer, replay_safe=True)], hedge=HEDGED))
        await run.run()
        assert nothing_is_held(engine)
    assert run.outcome.output.text == "quick"
    assert (leaf.running, leaf.cancelled) == (0, 1)
    (inner,) = run.outcome.nested
    assert inner.outcomes[0].state is State.CANCELLED
    assert inner.outcomes[0].failure.reason == reason.DECIDED
    assert run.result.elapsed == pytest.approx(2)


async def test_a_blocking_function_that_loses_is_detached_and_named() -> None:
    release = threading.Event()
    begun = threading.Event()

    def blocking(call: motet.Call) -> str:
        if call.attempt == 1:
            begun.set()
            release.wait(30)
        # Whichever thread the system lets run first: the second answers only while the first is at work.
        begun.wait(30)
        return f"answer {call.attempt}"

    agent = FunctionAgent(blocking, replay_safe=True, stop_grace=0.01)
    try:
        async with motet.open_engine(stop_grace=5) as engine:
            result = await engine.run(Group("g", [agent], hedge=HedgePolicy(delay=0.01)))
            release.set()
    finally:
        release.set()
    assert begun.is_set()
    outcome = result["g"]["blocking"]
    assert outcome.output.text == "answer 2"
    assert outcome.attempt_log[0].stop.kind is StopKind.DETACHED


async def test_an_agent_that_swallows_its_cancellation_does_not_change_who_won(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def run(call: motet.Call) -> str:
        if call.attempt == 1:
            with suppress(trio.Cancelled):
                await trio.sleep_forever()
        return f"answer {call.attempt}"

    async with motet.open_engine() as engine:
        followed = Followed(engine, Group("g", [FunctionAgent(run, replay_safe=True)], hedge=HEDGED))
        await followed.run()
    assert followed.outcome.output.text == "answer 2"
    assert followed.outcome.attempts == 2


async def test_an_answer_that_was_decided_is_not_undone_by_a_deadline_while_the_losers_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bad = Member(ScriptedAgent("bad", delay=1, error=ValueError("broken")), replicas=2)
    inner = Group("inner", [bad, ScriptedAgent("slow", delay=60, resist=5)], aggregation="majority")
    async with motet.open_engine() as engine:
        run = Followed(engine, Group("g", [Member(ScriptedAgent("outer", nested=inner), timeout=3)]))
        await run.run()
    (nested,) = run.outcome.nested
    assert nested.failure.reason == reason.NO_SUCCESSFUL_RESULTS
    assert nested.state is State.FAILED
