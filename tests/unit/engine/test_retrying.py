"""Retries: which failures are tried again, when, and how the attempts show in outcomes and events."""

import math
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import AgentError, Failure, FunctionAgent, Group, Limits, Member, RetryPolicy, State, Usage
from motet.engine.retrying import retry_wait
from motet.model import reason
from motet.model.event import AttemptEnded, AttemptStarted
from motet.model.outcome import AttemptKind
from motet.testing import ScriptedAgent

STEADY = RetryPolicy(max_attempts=3, initial_backoff=1, backoff_multiplier=2, jitter=0)
RETRYABLE = Failure("BUSY", "try later", {"retryable": True})
PRICED = Usage(calls=1, input_tokens=2, output_tokens=3, cost_nanos=5)


def failing(times: float, *, name: str = "a", took: float = 0.0, error: AgentError | None = None) -> Any:
    """Fails so often, each time after `took` seconds, then answers."""

    async def run(call: motet.Call) -> motet.Reply:
        await trio.sleep(took)
        if call.attempt <= times:
            call.spend(PRICED)
            raise error or AgentError("try later", reason="BUSY", retryable=True)
        return motet.Reply(motet.Payload.of(f"answer {call.attempt}"), PRICED)

    return FunctionAgent(run, name=name)


# ------------------------------------------------------------------------------------------------------- pure: how long

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(2, 100),
    initial_backoff=st.floats(0, 1000),
    max_backoff=st.floats(0, 1000),
    backoff_multiplier=st.floats(1, 1e300),
    jitter=st.floats(0, 1),
)


@given(policies, st.integers(1, 99), st.floats(0, 1))
def test_a_wait_is_within_the_backoff_and_its_jitter(policy: RetryPolicy, made: int, chance: float) -> None:
    wait = retry_wait(policy, made, RETRYABLE, chance)
    if made >= policy.max_attempts:
        assert wait is None
        return
    full = policy.initial_backoff
    for _ in range(made - 1):
        full = min(full * policy.backoff_multiplier, policy.max_backoff)
    full = min(full, policy.max_backoff)
    assert full * (1 - policy.jitter) <= wait * (1 + 1e-9) + 1e-9
    assert wait <= full


@given(policies, st.floats(0, 1))
def test_waits_do_not_shrink_from_attempt_to_attempt(policy: RetryPolicy, chance: float) -> None:
    waits = [retry_wait(policy, made, RETRYABLE, chance) for made in range(1, policy.max_attempts)]
    assert waits == sorted(waits)
    assert all(0 <= wait < math.inf for wait in waits)


@given(policies, st.floats(0.001, 1e6), st.floats(0, 1))
def test_what_the_agent_asks_for_is_waited_for_at_least(policy: RetryPolicy, after: float, chance: float) -> None:
    failure = Failure("BUSY", "try later", {"retryable": True, "retry_after_seconds": after})
    plain = retry_wait(policy, 1, RETRYABLE, chance)
    assert retry_wait(policy, 1, failure, chance) == max(plain, after)


def test_without_a_policy_or_a_reason_there_is_no_wait() -> None:
    assert retry_wait(None, 1, RETRYABLE, 0) is None
    assert retry_wait(STEADY, 1, Failure("BUSY", "not marked"), 0) is None
    named = RetryPolicy(max_attempts=3, reasons=("OTHER",))
    assert retry_wait(named, 1, RETRYABLE, 0) is None
    assert retry_wait(named, 1, Failure("OTHER", "named"), 0) is not None


# ------------------------------------------------------------------------------------------------------------ behaviour


async def test_a_failed_call_is_made_again_until_it_answers_and_every_attempt_is_seen(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    events: list[motet.Event] = []
    agent = failing(2, took=0.5)
    async with motet.open_engine(observers=[lambda run_id, event: events.append(event)]) as engine:
        result = await checked_run(engine, Group("g", [agent], retry=STEADY))
    outcome = result["g"]["a"]
    assert outcome.state is State.SUCCEEDED
    assert outcome.output.text == "answer 3"
    assert outcome.attempts == 3
    assert outcome.ran == pytest.approx(0.5 + 1 + 0.5 + 2 + 0.5)
    log = outcome.attempt_log
    assert [(a.number, a.kind, a.state) for a in log] == [
        (1, AttemptKind.FIRST, State.FAILED),
        (2, AttemptKind.RETRY, State.FAILED),
        (3, AttemptKind.RETRY, State.SUCCEEDED),
    ]
    assert [a.started for a in log] == pytest.approx([0, 1.5, 4])
    assert [a.ran for a in log] == pytest.approx([0.5, 0.5, 0.5])
    assert [a.failure.reason if a.failure else None for a in log] == ["BUSY", "BUSY", None]
    told = [e.detail for e in events if isinstance(e.detail, AttemptStarted | AttemptEnded)]
    assert [type(each).__name__ for each in told] == [
        "AttemptEnded",
        "AttemptStarted",
        "AttemptEnded",
        "AttemptStarted",
        "AttemptEnded",
    ]
    ends = [each for each in told if isinstance(each, AttemptEnded)]
    assert [end.retry_in for end in ends] == [1, 2, None]
    assert tuple(end.attempt for end in ends) == log
    assert [each.number for each in told if isinstance(each, AttemptStarted)] == [2, 3]


async def test_the_usage_of_all_attempts_is_added_up(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [failing(2)], retry=STEADY))
    thrice = Usage(calls=3, input_tokens=6, output_tokens=9, cost_nanos=15)
    assert result["g"]["a"].usage == thrice
    assert result.usage == thrice
    assert [attempt.usage for attempt in result["g"]["a"].attempt_log] == [PRICED] * 3


async def test_the_last_failure_is_the_members_when_all_attempts_fail(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [failing(math.inf)], retry=STEADY))
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.attempts) == (State.FAILED, 3)
    assert outcome.failure.reason == "BUSY"
    assert result.elapsed == pytest.approx(3)


async def test_a_member_that_answers_at_once_has_no_attempt_log(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [failing(0)], retry=STEADY))
    assert result["g"]["a"].attempts == 1
    assert result["g"]["a"].attempt_log == ()


@pytest.mark.parametrize(
    ("error", "reasons", "attempts"),
    [
        (AgentError("no", reason="BAD"), (), 1),
        (AgentError("later", reason="BAD", retryable=True), (), 3),
        (ValueError("a bug"), (), 1),
        (ValueError("a bug"), (reason.AGENT_FAILED,), 3),
        (AgentError("no", reason="BAD"), ("BAD", "WORSE"), 3),
        (AgentError("later", reason="BAD", retryable=True), ("WORSE",), 1),
    ],
)
async def test_only_failures_that_are_retryable_or_whose_reason_is_named_are_tried_again(
    error: Exception, reasons: tuple[str, ...], attempts: int, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", error=error)
    policy = RetryPolicy(max_attempts=3, reasons=reasons)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], retry=policy))
    assert len(agent.calls) == attempts
    assert result["g"]["a"].attempts == attempts


async def test_a_member_has_its_own_policy_in_place_of_the_groups(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    never = Member(failing(math.inf, name="never"), retry=RetryPolicy())
    twice = Member(failing(math.inf, name="twice"), retry=RetryPolicy(max_attempts=2))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [never, twice, failing(math.inf)], retry=STEADY))
    assert [outcome.attempts for outcome in result["g"].outcomes] == [1, 2, 3]


async def test_retry_after_is_honoured_beyond_the_backoff(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    busy = AgentError("later", reason="BUSY", retryable=True, retry_after=42)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [failing(1, error=busy)], retry=STEADY))
    assert result["g"]["a"].attempt_log[1].started == pytest.approx(42)


@pytest.mark.parametrize("bound", ["member", "group", "run"])
async def test_no_retry_is_waited_for_that_the_deadline_would_not_let_start(
    bound: str, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    busy = AgentError("later", reason="BUSY", retryable=True, retry_after=42)
    member = Member(failing(1, error=busy), timeout=40 if bound == "member" else None)
    group = Group("g", [member], retry=STEADY, timeout=40 if bound == "group" else None)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group, timeout=40 if bound == "run" else None)
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.attempts) == (State.FAILED, 1)
    assert outcome.failure.reason == "BUSY"
    assert result.elapsed == pytest.approx(0)


async def test_a_members_timeout_spans_all_its_attempts(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    member = Member(failing(math.inf, took=3), timeout=5.5)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [member], retry=STEADY))
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.attempts) == (State.TIMED_OUT, 2)
    assert outcome.failure.reason == reason.DEADLINE_EXCEEDED
    assert outcome.ran == pytest.approx(5.5)
    assert outcome.stop.kind is motet.StopKind.STOPPED
    assert [attempt.state for attempt in outcome.attempt_log] == [State.FAILED, State.TIMED_OUT]


async def test_an_agents_timeout_is_for_each_call(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    agent = ScriptedAgent("a", delay=60, timeout=2)
    policy = RetryPolicy(
        max_attempts=3, initial_backoff=1, backoff_multiplier=1, jitter=0, reasons=(reason.DEADLINE_EXCEEDED,)
    )
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], retry=policy))
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.attempts) == (State.TIMED_OUT, 3)
    assert outcome.ran == pytest.approx(2 + 1 + 2 + 1 + 2)
    assert all(attempt.stop is not None for attempt in outcome.attempt_log)
    assert agent.running == 0


async def test_a_call_that_its_agents_timeout_stopped_is_not_tried_again_unless_asked(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=60, timeout=2)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], retry=STEADY))
    assert result["g"]["a"].attempts == 1


async def test_while_a_member_waits_for_its_next_attempt_its_agent_serves_another(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    starts: list[tuple[str, int, float]] = []

    async def narrow(call: motet.Call) -> str:
        starts.append((call.member, call.attempt, trio.current_time()))
        await trio.sleep(1)
        if call.member == "m_1" and call.attempt == 1:
            raise AgentError("later", retryable=True)
        return "ok"

    agent = FunctionAgent(narrow, max_parallel=1)
    policy = RetryPolicy(max_attempts=2, initial_backoff=5, jitter=0)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [Member(agent, name="m", replicas=3)], retry=policy))
    assert starts == [("m_1", 1, 0), ("m_2", 1, 1), ("m_3", 1, 2), ("m_1", 2, 6)]
    assert result.stats.succeeded == 3


async def test_the_seat_in_the_group_is_kept_while_waiting_for_the_next_attempt(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    retried = Member(failing(1), retry=RetryPolicy(max_attempts=2, initial_backoff=5, jitter=0))
    other = ScriptedAgent("b")
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [retried, other], max_parallel=1))
    assert result["g"]["b"].queued == pytest.approx(5)


async def test_retries_that_would_amplify_an_outage_are_not_made_and_the_failure_says_so(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    catalog = motet.Catalog(settings=motet.EngineSettings(retry_share=0))
    agent = ScriptedAgent("a", error=AgentError("down", reason="DOWN", retryable=True))
    policy = RetryPolicy(max_attempts=2, jitter=0)
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, Group("g", [Member(agent, replicas=15)], retry=policy))
    assert len(agent.calls) == 15 + 10
    refused = [outcome for outcome in result["g"].outcomes if outcome.attempts == 1]
    assert len(refused) == 5
    for outcome in refused:
        assert outcome.failure.reason == "DOWN"
        assert reason.RETRIES_EXHAUSTED in outcome.failure.details["no_retry"]


async def test_cancelled_during_the_backoff_a_member_is_cancelled_with_a_receipt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", error=AgentError("down", reason="DOWN", retryable=True))
    policy = RetryPolicy(max_attempts=2, initial_backoff=60, max_backoff=60, jitter=0)
    async with motet.open_engine() as engine:
        started = await engine.start(Group("g", [agent], retry=policy))
        await trio.sleep(10)
        record = await engine.cancel(started.run_id)
    outcome = record.result["g"]["a"]
    assert outcome.state is State.CANCELLED
    assert outcome.failure.reason == reason.CANCELLED
    assert "DOWN" in outcome.failure.details["last_failure"]
    assert outcome.stop.kind is motet.StopKind.STOPPED
    assert (outcome.attempts, len(agent.calls)) == (1, 1)
    assert trio.current_time() == pytest.approx(10)


async def test_a_member_that_ran_a_group_runs_it_again_and_both_are_told_and_paid(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    leaf = ScriptedAgent("leaf", usage=PRICED)

    async def outer(call: motet.Call) -> str:
        await call.run(Group("inner", [leaf]))
        if call.attempt == 1:
            raise AgentError("later", retryable=True)
        return "ok"

    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [FunctionAgent(outer)], retry=STEADY))
    outcome = result["g"]["outer"]
    assert (outcome.state, outcome.attempts) == (State.SUCCEEDED, 2)
    assert [group.name for group in outcome.nested] == ["inner", "inner"]
    assert outcome.usage == Usage(calls=4, input_tokens=4, output_tokens=6, cost_nanos=10, unpriced_calls=2)


async def test_a_blocking_function_is_tried_again(checked_run: Any) -> None:
    def blocking(call: motet.Call) -> str:
        if call.attempt == 1:
            raise AgentError("later", retryable=True)
        return "ok"

    policy = RetryPolicy(max_attempts=2, initial_backoff=0)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [FunctionAgent(blocking)], retry=policy))
    assert result["g"]["blocking"].attempts == 2
    assert result["g"]["blocking"].output.text == "ok"


async def test_a_retry_pays_from_the_budget_and_is_not_made_when_that_is_used_up(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    group = Group("g", [failing(math.inf)], retry=STEADY, limits=Limits(max_calls=2))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    outcome = result["g"]["a"]
    assert (outcome.state, outcome.attempts) == (State.FAILED, 2)
    assert outcome.failure.reason == "BUSY"
    assert reason.BUDGET_EXCEEDED in outcome.failure.details["no_retry"]


async def test_every_attempt_has_the_same_idempotency_key_and_its_own_number(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", error=AgentError("down", retryable=True))
    async with motet.open_engine() as engine:
        await checked_run(engine, Group("g", [Member(agent, replicas=2)], retry=STEADY))
    by_member = {name: [c for c in agent.calls if c.member == name] for name in ("a_1", "a_2")}
    for calls in by_member.values():
        assert [call.attempt for call in calls] == [1, 2, 3]
        assert len({call.idempotency_key for call in calls}) == 1
    assert by_member["a_1"][0].idempotency_key != by_member["a_2"][0].idempotency_key


async def test_a_next_attempt_waits_for_width_whatever_timeout_its_agent_gives_each_call(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def narrow(call: motet.Call) -> str:
        if call.member == "m_1" and call.attempt == 1:
            raise AgentError("later", retryable=True)
        await trio.sleep(3)
        return "ok"

    agent = FunctionAgent(narrow, max_parallel=1, timeout=4)
    policy = RetryPolicy(max_attempts=2, initial_backoff=5, jitter=0)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [Member(agent, name="m", replicas=3)], retry=policy))
    assert result["g"]["m_1"].state is State.SUCCEEDED
    assert [attempt.started for attempt in result["g"]["m_1"].attempt_log] == pytest.approx([0, 6])


async def test_a_member_whose_time_is_over_while_it_waits_for_width_ends_as_its_last_attempt_did(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def narrow(call: motet.Call) -> str:
        if call.member == "short":
            raise AgentError("later", reason="BUSY", retryable=True)
        await trio.sleep(10)
        return "ok"

    agent = FunctionAgent(narrow, max_parallel=1)
    group = Group("g", [Member(agent, name="short", timeout=5), Member(agent, name="long")], retry=STEADY)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    outcome = result["g"]["short"]
    assert (outcome.state, outcome.failure.reason, outcome.attempts) == (State.FAILED, "BUSY", 1)
    assert outcome.ran == pytest.approx(5)
    assert result.elapsed == pytest.approx(10)
