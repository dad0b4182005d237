"""Rates and circuit breakers of agents and providers: when calls start, and that nobody polls while they wait."""

from typing import Any

import pytest
import trio

import motet
from motet import FunctionAgent, Group, Member, State, Usage
from motet.model import reason
from motet.model.rate import Breaker, Rate
from motet.testing import ScriptedAgent


class Starts:
    """When calls of an agent started, on trio's clock."""

    def __init__(self, name: str = "a", *, took: float = 0, tokens: int = 0, error: Any = None, **card: Any) -> None:
        self.at: list[float] = []

        async def run(call: motet.Call) -> motet.Reply:
            self.at.append(trio.current_time())
            await trio.sleep(took)
            if error is not None and call.text == "fail":
                raise error
            return motet.Reply(motet.Payload.of("ok"), Usage(calls=1, input_tokens=tokens))

        self.agent = FunctionAgent(run, name=name, **card)

    def group(self, replicas: int = 1, **options: Any) -> Group:
        return Group("g", [Member(self.agent, replicas=replicas)], **options)


class Steps(trio.abc.Instrument):
    """Counts how often anything runs."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


# ------------------------------------------------------------------------------------------------------------------ rates


async def test_calls_start_at_the_very_moments_that_the_rate_allows(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    starts = Starts(rate=Rate(calls_per_second=2, burst=1))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, starts.group(5))
    assert starts.at == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert [outcome.queued for outcome in result["g"].outcomes] == pytest.approx(starts.at)


async def test_a_burst_starts_at_once_and_comes_back_with_rest(autojump_clock: trio.testing.MockClock) -> None:
    starts = Starts(rate=Rate(calls_per_minute=60, burst=3))
    async with motet.open_engine() as engine:
        await engine.run(starts.group(5))
        assert starts.at == pytest.approx([0, 0, 0, 1, 2])
        await trio.sleep(60)
        await engine.run(starts.group(4))
    assert starts.at[5:] == pytest.approx([62, 62, 62, 63])


async def test_several_bounds_hold_together(autojump_clock: trio.testing.MockClock) -> None:
    starts = Starts(rate=Rate(calls_per_second=1, calls_per_minute=6, burst=2))
    async with motet.open_engine() as engine:
        await engine.run(starts.group(4))
    assert starts.at == pytest.approx([0, 0, 10, 20])


async def test_a_heavy_call_counts_for_several(autojump_clock: trio.testing.MockClock) -> None:
    starts = Starts(rate=Rate(calls_per_second=1, burst=2), weight=2)
    async with motet.open_engine() as engine:
        await engine.run(starts.group(3))
    assert starts.at == pytest.approx([0, 2, 4])


async def test_agents_of_one_provider_share_its_rate_and_others_do_not_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    catalog = motet.Catalog()
    catalog.add_provider("p", rate=Rate(calls_per_second=1, burst=1))
    one, two = Starts("one", provider="p"), Starts("two", provider="p")
    free = Starts("free")
    group = Group("g", [Member(each.agent, replicas=2) for each in (one, two, free)])
    async with motet.open_engine(catalog) as engine:
        await engine.run(group)
    assert sorted([*one.at, *two.at]) == pytest.approx([0, 1, 2, 3])
    assert free.at == [0, 0]


async def test_a_rate_holds_over_all_runs_first_come_first_served(autojump_clock: trio.testing.MockClock) -> None:
    starts = Starts(rate=Rate(calls_per_second=1, burst=1))
    ended: list[str] = []

    async def run(name: str) -> None:
        await engine.run(starts.group(2))
        ended.append(name)

    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        for name in ("first", "second"):
            nursery.start_soon(run, name)
            await trio.sleep(0.1)
    assert starts.at == pytest.approx([0, 1, 2, 3])
    assert ended[0] == "first"


async def test_tokens_are_taken_as_expected_and_put_right_by_what_was_used(
    autojump_clock: trio.testing.MockClock,
) -> None:
    starts = Starts(rate=Rate(tokens_per_second=100), tokens=300, estimated_tokens=100)
    async with motet.open_engine() as engine:
        await engine.run(starts.group(1))
        # 100 were there, 300 were used: the debt is paid back, then a full second's worth is there.
        await engine.run(starts.group(1))
        await engine.run(starts.group(1))
    assert starts.at == pytest.approx([0, 3, 6])


async def test_retries_wait_for_the_rate_too(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    busy = motet.AgentError("later", retryable=True)
    starts = Starts(rate=Rate(calls_per_second=0.1, burst=1), error=busy)
    group = starts.group(retry=motet.RetryPolicy(max_attempts=3, initial_backoff=1))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group, "fail")
    assert starts.at == pytest.approx([0, 10, 20])
    assert result["g"]["a_1"].attempts == 3


async def test_a_member_whose_group_is_over_before_the_rate_lets_it_start_never_starts(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    starts = Starts(rate=Rate(calls_per_second=1, burst=1))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, starts.group(5, timeout=2.5))
        assert engine.statistics().width_waiters == 0
        await trio.sleep(10)
    assert starts.at == pytest.approx([0, 1, 2])
    assert result.stats.skipped == 2
    assert result.elapsed == pytest.approx(2.5)


async def test_nobody_polls_while_calls_wait_for_their_rate(autojump_clock: trio.testing.MockClock) -> None:
    starts = Starts(rate=Rate(calls_per_minute=1, burst=1))
    steps = Steps()
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, starts.group(1000, timeout=59))
        await trio.sleep(1)
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(57)
        waiting = steps.count
        trio.lowlevel.remove_instrument(steps)
    assert len(starts.at) == 1
    # The wake-up of this test, and nothing of the 999 that wait but what the mock clock itself does.
    assert waiting <= 5


async def test_width_and_rate_are_granted_together(autojump_clock: trio.testing.MockClock) -> None:
    rated = Starts("rated", provider="p", rate=Rate(calls_per_second=0.1, burst=1))
    free = Starts("free", provider="p", took=1)
    catalog = motet.Catalog()
    catalog.add_provider("p", 1)
    async with motet.open_engine(catalog) as engine:
        await engine.run(Group("g", [Member(rated.agent, replicas=2), Member(free.agent, replicas=3)]))
    # While the second of the rated waits for its rate it holds nothing of the provider's width.
    assert free.at == pytest.approx([0, 1, 2])
    assert rated.at == pytest.approx([0, 10])


# --------------------------------------------------------------------------------------------------------- circuit breakers

BROKEN = Breaker(failures=3, cooldown=10, probes=1)


async def test_an_agent_that_fails_too_often_in_a_row_is_left_alone_probed_and_used_again(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    starts = Starts(error=ValueError("down"), breaker=BROKEN, took=1)
    events: list[tuple[State, str | None]] = []

    async def ask(engine: motet.Engine, text: str, replicas: int = 1) -> list[str]:
        result = await checked_run(engine, starts.group(replicas, max_parallel=1), text)
        events.extend((o.state, o.failure and o.failure.reason) for o in result["g"].outcomes)
        return [outcome.state.value for outcome in result["g"].outcomes]

    async with motet.open_engine() as engine:
        assert await ask(engine, "fail", 5) == ["FAILED"] * 3 + ["SKIPPED"] * 2
        assert events[-1] == (State.SKIPPED, reason.CIRCUIT_OPEN)
        assert [use.state for use in engine.limits() if use.guard == "breaker"] == ["open"]
        await trio.sleep(9)
        assert await ask(engine, "fine") == ["SKIPPED"]
        await trio.sleep(1)
        assert [use.state for use in engine.limits() if use.guard == "breaker"] == ["half_open"]
        assert await ask(engine, "fail", 2) == ["FAILED", "SKIPPED"]
        await trio.sleep(10)
        assert await ask(engine, "fine", 3) == ["SUCCEEDED"] * 3
        assert [use.state for use in engine.limits() if use.guard == "breaker"] == ["closed"]
    assert len(starts.at) == 3 + 1 + 3


async def test_the_refusal_says_when_to_try_again(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    starts = Starts(error=ValueError("down"), breaker=BROKEN)
    async with motet.open_engine() as engine:
        await checked_run(engine, starts.group(3), "fail")
        await trio.sleep(4)
        result = await checked_run(engine, starts.group(), "fail")
    assert result["g"]["a_1"].failure.details["retry_after_seconds"] == pytest.approx(6)


async def test_while_it_is_half_open_no_more_calls_try_than_the_probes(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    starts = Starts(error=ValueError("down"), breaker=Breaker(failures=1, cooldown=10, probes=2), took=1)
    async with motet.open_engine() as engine:
        await checked_run(engine, starts.group(), "fail")
        await trio.sleep(10)
        result = await checked_run(engine, starts.group(4), "fine")
    assert sorted(outcome.state for outcome in result["g"].outcomes) == ["SKIPPED"] * 2 + ["SUCCEEDED"] * 2


async def test_a_breaker_of_a_provider_is_for_all_its_agents(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    catalog = motet.Catalog()
    catalog.add_provider("p", breaker=Breaker(failures=2))
    bad = ScriptedAgent("bad", error=ValueError("down"), provider="p")
    good, free = ScriptedAgent("good", provider="p"), ScriptedAgent("free")
    group = Group("g", [bad, bad, good, free], max_parallel=1)
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, group)
    assert [outcome.state.value for outcome in result["g"].outcomes] == ["FAILED", "FAILED", "SKIPPED", "SUCCEEDED"]
    assert result["g"]["good"].failure.reason == reason.CIRCUIT_OPEN


async def test_cancelled_calls_never_open_a_breaker(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    slow = Starts(breaker=Breaker(failures=1), took=60)
    async with motet.open_engine() as engine:
        await checked_run(engine, slow.group(3, timeout=1))
        with trio.move_on_after(1):
            await engine.run(slow.group(3))
        started = await engine.start(slow.group(3))
        await trio.sleep(1)
        await engine.cancel(started.run_id)
        quick = ScriptedAgent("quick", delay=1)
        await checked_run(engine, Group("g", [slow.agent, quick], aggregation="first"))
        assert {use.used for use in engine.limits() if use.guard == "breaker"} == {0}
    assert len(slow.at) == 10


async def test_a_call_that_is_slower_than_its_own_timeout_counts_as_a_failure(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    of_agent = Starts("of_agent", breaker=Breaker(failures=1), took=60, timeout=1)
    of_member = Starts("of_member", breaker=Breaker(failures=1), took=60)
    group = Group("g", [of_agent.agent, Member(of_member.agent, timeout=1)])
    async with motet.open_engine() as engine:
        await checked_run(engine, group)
        result = await checked_run(engine, group)
    assert [outcome.failure.reason for outcome in result["g"].outcomes] == [reason.CIRCUIT_OPEN] * 2


async def test_an_input_that_an_agent_cannot_take_is_not_its_fault(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    refusing = motet.AgentError("not a number", reason=reason.INPUT_INVALID)
    starts = Starts(error=refusing, breaker=Breaker(failures=1))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, starts.group(4, max_parallel=1), "fail")
    assert result.stats.failed == 4
    assert len(starts.at) == 4


async def test_every_attempt_counts_and_a_retry_is_not_made_into_an_open_circuit(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    busy = motet.AgentError("later", reason="BUSY", retryable=True)
    starts = Starts(error=busy, breaker=Breaker(failures=2, cooldown=60))
    group = starts.group(retry=motet.RetryPolicy(max_attempts=5))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group, "fail")
    outcome = result["g"]["a_1"]
    assert (outcome.state, outcome.failure.reason, outcome.attempts) == (State.FAILED, "BUSY", 2)
    assert reason.CIRCUIT_OPEN in outcome.failure.details["no_retry"]
