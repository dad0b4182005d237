"""Hedging: a slow call gets company when that is safe, affordable and likely to help; one answer, every attempt told."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import trio

import motet
from motet import AgentError, FunctionAgent, Group, HedgePolicy, Limits, Member, RetryPolicy, State, StopKind, Usage
from motet.engine.profile import MIN_SAMPLES_HIGH, AgentProfile
from motet.engine.retrying import hedge_delay
from motet.model import reason
from motet.model.event import AttemptEnded
from motet.model.outcome import AttemptKind
from motet.model.rate import Breaker
from motet.ports import End
from motet.testing import ScriptedAgent

AFTER_TWO = HedgePolicy(delay=2)
Takes = Callable[[motet.Call], float]


def safe(takes: Takes, *, name: str = "a", fails: Callable[[motet.Call], bool] | None = None, **card: Any) -> Any:
    """An agent that may be called twice: how long a call takes, and whether it fails then."""

    async def run(call: motet.Call) -> str:
        call.spend(Usage(calls=1, cost_nanos=10))
        await trio.sleep(takes(call))
        if fails is not None and fails(call):
            raise AgentError(f"attempt {call.attempt} failed", reason=f"FAILED_{call.attempt}", retryable=True)
        return f"answer {call.attempt}"

    return FunctionAgent(run, name=name, replay_safe=True, **card)


def slow_first(call: motet.Call) -> float:
    return 60 if call.attempt == 1 else 1


# ---------------------------------------------------------------------------------------------------------- pure: when


def profile_of(*ends: tuple[float, bool]) -> AgentProfile:
    profile = AgentProfile(ScriptedAgent("a").info)
    for ran, fault in ends:
        profile.learn(End(Usage(calls=1), ran, fault))
    return profile


def test_only_calls_of_agents_declared_replay_safe_get_company() -> None:
    assert hedge_delay(AFTER_TWO, True, None) == 2
    assert hedge_delay(AFTER_TWO, False, None) is None
    assert hedge_delay(AFTER_TWO, None, None) is None
    assert hedge_delay(None, True, None) is None


def test_a_delay_of_zero_is_a_delay() -> None:
    assert hedge_delay(HedgePolicy(delay=0), True, None) == 0


def test_without_a_delay_it_is_the_live_95th_percentile_once_that_is_known() -> None:
    live = HedgePolicy()
    assert hedge_delay(live, True, profile_of(*[(1.0, False)] * (MIN_SAMPLES_HIGH - 1))) is None
    assert hedge_delay(live, True, profile_of(*[(float(i), False) for i in range(1, 101)])) == 95


def test_while_an_agent_fails_its_calls_get_no_company() -> None:
    assert hedge_delay(AFTER_TWO, True, profile_of(*[(1.0, True)] * 3, *[(1.0, False)] * 2)) is None
    assert hedge_delay(AFTER_TWO, True, profile_of(*[(1.0, True)] * 3, *[(1.0, False)] * 3)) == 2


# ------------------------------------------------------------------------------------------------------------ behaviour


async def test_the_first_answer_wins_and_the_loser_is_stopped_with_a_receipt(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [safe(slow_first)], hedge=AFTER_TWO))
    outcome = result["g"]["a"]
    assert outcome.state is State.SUCCEEDED
    assert outcome.output.text == "answer 2"
    assert outcome.stop is None
    assert (outcome.attempts, outcome.ran) == (2, pytest.approx(3))
    loser, winner = outcome.attempt_log
    assert (loser.number, loser.kind, loser.state) == (1, AttemptKind.FIRST, State.CANCELLED)
    assert loser.failure.reason == reason.DECIDED
    assert loser.stop.kind is StopKind.STOPPED
    assert (winner.number, winner.kind, winner.state) == (2, AttemptKind.HEDGE, State.SUCCEEDED)
    assert (winner.started, winner.ran) == (pytest.approx(2), pytest.approx(1))
    assert outcome.usage == Usage(calls=2, cost_nanos=20)


async def test_a_call_that_answers_before_the_delay_has_no_company(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [safe(lambda call: 1)], hedge=AFTER_TWO))
    assert result["g"]["a"].attempts == 1
    assert result["g"]["a"].attempt_log == ()


async def test_the_first_call_may_win_after_all(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [safe(lambda call: 3)], hedge=AFTER_TWO))
    outcome = result["g"]["a"]
    assert outcome.output.text == "answer 1"
    assert [attempt.state for attempt in outcome.attempt_log] == [State.SUCCEEDED, State.CANCELLED]
    assert result.elapsed == pytest.approx(3)


async def test_no_more_run_at_once_than_the_policy_says(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    policy = HedgePolicy(delay=2, max_attempts=3)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [safe(lambda call: 10)], hedge=policy))
    assert [attempt.started for attempt in result["g"]["a"].attempt_log] == pytest.approx([0, 2, 4])
    assert result.elapsed == pytest.approx(10)


async def test_without_a_delay_company_comes_at_the_live_95th_percentile(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = safe(lambda call: 60 if call.text == "slow" and call.attempt == 1 else 4)
    async with motet.open_engine() as engine:
        await checked_run(engine, Group("g", [Member(agent, replicas=MIN_SAMPLES_HIGH)], hedge=HedgePolicy()))
        result = await checked_run(engine, Group("g", [agent], hedge=HedgePolicy()), "slow")
    assert result["g"]["a"].attempt_log[1].started == pytest.approx(4)
    assert result.elapsed == pytest.approx(8)


async def test_of_a_group_only_the_agents_that_are_replay_safe_get_company(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    unsafe = ScriptedAgent("unsafe", delay=10)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [unsafe, safe(slow_first)], hedge=AFTER_TWO))
    assert [outcome.attempts for outcome in result["g"].outcomes] == [1, 2]
    assert len(unsafe.calls) == 1


async def test_a_group_without_a_replay_safe_agent_is_refused() -> None:
    agent = ScriptedAgent("unsafe")
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest, match="replay_safe") as caught:
            await engine.run(Group("g", [agent], hedge=AFTER_TWO))
    assert caught.value.violations[0].field.endswith("hedge")
    assert agent.calls == []


async def test_a_loser_that_resists_is_detached_and_the_answer_comes_all_the_same(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def stubborn(call: motet.Call) -> str:
        if call.attempt == 1:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
        return "answer 2"

    agent = FunctionAgent(stubborn, replay_safe=True)
    async with motet.open_engine(stop_grace=3) as engine:
        result = await checked_run(engine, Group("g", [agent, ScriptedAgent("b")], hedge=AFTER_TWO))
        assert engine.statistics().members_detached == 1
    outcome = result["g"]["stubborn"]
    assert outcome.state is State.SUCCEEDED
    assert outcome.output.text == "answer 2"
    loser = outcome.attempt_log[0]
    assert (loser.state, loser.stop.kind) == (State.CANCELLED, StopKind.DETACHED)
    assert loser.stop.took == pytest.approx(3)
    assert result.elapsed == pytest.approx(2 + 3)
    assert trio.current_time() == pytest.approx(100)


async def test_when_all_fail_the_member_fails_with_the_last(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = safe(lambda call: 5, fails=lambda call: True)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], hedge=AFTER_TWO))
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.failure.reason) == (State.FAILED, "FAILED_2")
    assert [attempt.failure.reason for attempt in outcome.attempt_log] == ["FAILED_1", "FAILED_2"]
    assert outcome.ran == pytest.approx(7)


async def test_when_one_fails_the_other_may_still_answer(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = safe(lambda call: 3, fails=lambda call: call.attempt == 1)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], hedge=AFTER_TWO))
    assert result["g"]["a"].output.text == "answer 2"
    assert result.elapsed == pytest.approx(5)


async def test_a_call_that_fails_before_the_delay_is_for_the_retry_policy_not_for_a_hedge(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    alone = safe(lambda call: 1, fails=lambda call: True)
    again = safe(lambda call: 60 if call.attempt == 2 else 1, name="b", fails=lambda call: call.attempt == 1)
    retry = RetryPolicy(max_attempts=2, initial_backoff=1, jitter=0)
    group = Group("g", [alone, Member(again, retry=retry)], hedge=AFTER_TWO)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result["g"]["a"].attempts == 1
    outcome = result["g"]["b"]
    assert outcome.output.text == "answer 3"
    kinds = [attempt.kind for attempt in outcome.attempt_log]
    assert kinds == [AttemptKind.FIRST, AttemptKind.RETRY, AttemptKind.HEDGE]
    assert [attempt.started for attempt in outcome.attempt_log] == pytest.approx([0, 2, 4])


async def test_there_is_no_hedge_without_room_for_it(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    agent = safe(lambda call: 10, max_parallel=1)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], hedge=AFTER_TWO))
        assert engine.statistics().width_waiters == 0
    assert result["g"]["a"].attempts == 1


async def test_there_is_no_hedge_while_the_breaker_is_not_closed(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = safe(
        lambda call: 10 if call.text == "slow" else 0,
        fails=lambda call: call.text == "fail",
        breaker=Breaker(failures=1, cooldown=5, probes=3),
    )
    async with motet.open_engine() as engine:
        await checked_run(engine, Group("g", [agent]), "fail")
        await trio.sleep(5)
        half_open = await checked_run(engine, Group("g", [agent], hedge=AFTER_TWO), "slow")
    assert half_open["g"]["a"].state is State.SUCCEEDED
    assert half_open["g"]["a"].attempts == 1


async def test_there_is_no_hedge_while_the_agent_fails(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = safe(lambda call: 10 if call.text == "slow" else 0, fails=lambda call: call.text == "fail")
    async with motet.open_engine() as engine:
        await checked_run(engine, Group("g", [Member(agent, replicas=5)]), "fail")
        result = await checked_run(engine, Group("g", [agent], hedge=AFTER_TWO), "slow")
    assert result["g"]["a"].attempts == 1


async def test_hedges_are_a_share_of_the_first_calls(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    catalog = motet.Catalog(settings=motet.EngineSettings(hedge_share=0))
    agent = safe(lambda call: 10)
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, Group("g", [Member(agent, replicas=15)], hedge=AFTER_TWO))
    assert sum(outcome.attempts for outcome in result["g"].outcomes) == 15 + 10
    assert result.stats.succeeded == 15


@pytest.mark.parametrize(("max_calls", "attempts"), [(1, 1), (2, 2)])
async def test_a_hedge_pays_from_the_same_budget(
    max_calls: int, attempts: int, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    group = Group("g", [safe(lambda call: 10)], hedge=AFTER_TWO, limits=Limits(max_calls=max_calls))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.attempts) == (State.SUCCEEDED, attempts)
    assert outcome.usage.calls == attempts


async def test_what_a_hedge_used_is_not_left_for_the_next_member(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [safe(slow_first), ScriptedAgent("b")]
    group = Group("g", members, max_parallel=1, hedge=AFTER_TWO, limits=Limits(max_calls=2))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result["g"]["a"].attempts == 2
    assert result["g"]["b"].failure.reason == reason.BUDGET_EXCEEDED


async def test_a_members_timeout_stops_all_its_attempts(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = safe(lambda call: math.inf)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [Member(agent, timeout=5)], hedge=AFTER_TWO))
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.attempts) == (State.TIMED_OUT, 2)
    assert outcome.stop.kind is StopKind.STOPPED
    assert [attempt.state for attempt in outcome.attempt_log] == [State.TIMED_OUT, State.TIMED_OUT]
    assert result.elapsed == pytest.approx(5)


async def test_no_hedge_begins_once_the_members_time_is_over(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = safe(lambda call: math.inf)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [Member(agent, timeout=2)], hedge=AFTER_TWO))
    assert result["g"]["a"].state is State.TIMED_OUT
    assert result["g"]["a"].attempts == 1


async def test_an_agents_timeout_is_for_each_of_them(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    agent = safe(lambda call: math.inf if call.attempt == 1 else 4, timeout=5)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], hedge=AFTER_TWO))
    outcome = result["g"]["a"]
    assert outcome.state is State.SUCCEEDED
    assert [attempt.state for attempt in outcome.attempt_log] == [State.TIMED_OUT, State.SUCCEEDED]
    assert outcome.ran == pytest.approx(6)


async def test_a_decided_group_stops_all_attempts_of_a_member(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    slow = safe(lambda call: math.inf)
    quick = ScriptedAgent("quick", delay=4)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [slow, quick], aggregation="first", hedge=AFTER_TWO))
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.failure.reason) == (State.CANCELLED, reason.DECIDED)
    assert [attempt.state for attempt in outcome.attempt_log] == [State.CANCELLED, State.CANCELLED]
    assert result.elapsed == pytest.approx(4)


# Which of two things that happen at one moment comes first is left to chance, so these are tried several times.


@pytest.mark.parametrize("attempt", range(10))
async def test_an_answer_that_comes_in_the_moment_in_which_the_group_is_stopped_is_an_answer(
    attempt: int, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    now = trio.Event()

    async def waits(call: motet.Call) -> str:
        if call.text == "sets" and call.member == "last":
            await trio.sleep(3)
            now.set()
        await now.wait()
        return "ok"

    plain, hedged = FunctionAgent(waits, name="plain"), FunctionAgent(waits, name="hedged", replay_safe=True)
    members: list[Any] = [plain, Member(hedged, name="a"), plain, Member(plain, name="last")]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, aggregation="first", hedge=AFTER_TWO), "sets")
    outcome = result["g"]["a"]
    answered = any(attempt.state is State.SUCCEEDED for attempt in outcome.attempt_log)
    assert outcome.attempts == 2
    assert (outcome.state is State.SUCCEEDED) is answered


@pytest.mark.parametrize("attempt", range(10))
async def test_a_call_that_has_failed_gets_no_company_in_the_same_moment(
    attempt: int, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = safe(lambda call: 2, fails=lambda call: True)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], hedge=AFTER_TWO))
    assert result["g"]["a"].state is State.FAILED


async def test_when_all_have_failed_they_are_tried_again_together_and_each_end_is_told_once(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    ends: list[tuple[int, float | None]] = []

    def hear(run_id: str, event: motet.Event) -> None:
        if isinstance(event.detail, AttemptEnded):
            ends.append((event.detail.attempt.number, event.detail.retry_in))

    agent = safe(lambda call: 5, fails=lambda call: call.attempt < 4)
    retry = RetryPolicy(max_attempts=2, initial_backoff=1, jitter=0)
    async with motet.open_engine(observers=[hear]) as engine:
        result = await checked_run(engine, Group("g", [agent], hedge=AFTER_TWO, retry=retry))
    outcome = result["g"]["a"]
    assert outcome.output.text == "answer 4"
    kinds = [attempt.kind for attempt in outcome.attempt_log]
    assert kinds == [AttemptKind.FIRST, AttemptKind.HEDGE, AttemptKind.RETRY, AttemptKind.HEDGE]
    assert ends == [(1, None), (2, 1), (3, None), (4, None)]


async def test_one_that_resists_its_agents_timeout_does_not_take_the_others_with_it(
    autojump_clock: trio.testing.MockClock, checked_run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(call: motet.Call) -> str:
        with trio.CancelScope(shield=call.attempt == 1):
            await trio.sleep(100 if call.attempt == 1 else 4.5)
        return f"answer {call.attempt}"

    agent = FunctionAgent(run, name="a", replay_safe=True, timeout=5)
    async with motet.open_engine(stop_grace=3) as engine:
        result = await checked_run(engine, Group("g", [agent], hedge=HedgePolicy(delay=4)))
    outcome = result["g"]["a"]
    assert outcome.state is State.SUCCEEDED
    assert outcome.output.text == "answer 2"
    assert outcome.attempt_log[0].stop.kind is StopKind.DETACHED
