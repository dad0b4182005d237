"""What calls of an agent have used decides what is expected of the next: times, costs and tokens, live."""

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import FunctionAgent, Group, Limits, Member, State, Usage
from motet.engine.profile import MIN_SAMPLES, RECENT, WINDOW, AgentProfile, Window
from motet.model import reason
from motet.ports import End
from motet.testing import ScriptedAgent

CAREFUL = Limits(skip_infeasible=True)


def taking(name: str = "a", **card: Any) -> Any:
    """An agent that takes as many seconds, and costs as many nanos, as its input says."""

    async def run(call: motet.Call) -> motet.Reply:
        await trio.sleep(float(call.text))
        return motet.Reply(motet.Payload.of("ok"), Usage(calls=1, cost_nanos=int(float(call.text))))

    return FunctionAgent(run, name=name, **card)


def of(agent: Any, replicas: int = 1, **options: Any) -> Group:
    return Group("g", [Member(agent, replicas=replicas)], **options)


# ------------------------------------------------------------------------------------------------------------------- pure


@given(st.lists(st.integers(0, 20), min_size=1, max_size=3 * WINDOW), st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_value_that_enough_of_the_last_do_not_exceed(
    values: list[int], share: float
) -> None:
    window = Window()
    for value in values:
        window.add(value)
    last = sorted(values[-WINDOW:])
    found = window.quantile(share)
    assert len(window) == len(last)
    assert sum(value <= found for value in last) >= share * len(last)
    assert all(sum(v <= smaller for v in last) < share * len(last) for smaller in set(last) if smaller < found)


def test_calls_that_others_stopped_tell_nothing() -> None:
    profile = AgentProfile(ScriptedAgent("a").info)
    for _ in range(10):
        profile.learn(End(Usage(calls=1, cost_nanos=5), 1, None))
    assert (profile.cost_nanos, profile.tokens, profile.quantile(0.5), profile.seen) == (None, None, None, False)


def test_an_agent_is_failing_while_more_than_half_of_its_last_calls_failed() -> None:
    profile = AgentProfile(ScriptedAgent("a").info)
    for fault in [True] * 3 + [False] * 2:
        profile.learn(End(Usage(calls=1), 1, fault))
    assert profile.failing
    profile.learn(End(Usage(calls=1), 1, False))
    assert not profile.failing
    for _ in range(RECENT):
        profile.learn(End(Usage(calls=1), 1, True))
    assert profile.failing


# ------------------------------------------------------------------------------------------------------- infeasible deadlines


async def test_a_member_with_less_time_left_than_its_agent_usually_needs_is_skipped_when_the_group_says_so(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking()
    async with motet.open_engine() as engine:
        await checked_run(engine, of(agent, MIN_SAMPLES), "10")
        result = await checked_run(engine, of(agent, timeout=5, limits=CAREFUL), "10")
    outcome = result["g"]["a_1"]
    assert (outcome.state, outcome.failure.reason) == (State.SKIPPED, reason.DEADLINE_INFEASIBLE)
    assert outcome.failure.details == {"seconds_left": 5, "usually_seconds": 10}
    assert result.elapsed == 0


@pytest.mark.parametrize("bound", ["member", "group", "run", "agent"])
async def test_the_nearest_deadline_decides_whoever_set_it(
    bound: str, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking(timeout=5 if bound == "agent" else None)
    quick = Member(agent, timeout=100, replicas=MIN_SAMPLES)
    member = Member(agent, timeout=5 if bound == "member" else None)
    group = Group("g", [member], timeout=5 if bound == "group" else None)
    async with motet.open_engine() as engine:
        await checked_run(engine, Group("g", [quick]), "10")
        timeout = 5 if bound == "run" else None
        result = await checked_run(engine, group, "10", timeout=timeout, limits=CAREFUL)
    assert result["g"]["a"].failure.reason == reason.DEADLINE_INFEASIBLE


async def test_time_in_the_queue_counts_against_the_groups_deadline(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking()
    async with motet.open_engine() as engine:
        await checked_run(engine, of(agent, MIN_SAMPLES), "10")
        result = await checked_run(engine, of(agent, 3, max_parallel=1, timeout=25, limits=CAREFUL), "10")
    assert [outcome.state.value for outcome in result["g"].outcomes] == ["SUCCEEDED", "SUCCEEDED", "SKIPPED"]
    assert result["g"]["a_3"].failure.reason == reason.DEADLINE_INFEASIBLE
    assert result.elapsed == pytest.approx(20)


async def test_without_the_wish_it_starts_and_is_stopped_by_its_deadline(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking()
    async with motet.open_engine() as engine:
        await checked_run(engine, of(agent, MIN_SAMPLES), "10")
        result = await checked_run(engine, of(agent, timeout=5), "10")
    assert result["g"]["a_1"].state is State.TIMED_OUT


async def test_an_agent_that_is_not_known_yet_is_given_its_chance(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking()
    async with motet.open_engine() as engine:
        await checked_run(engine, of(agent, MIN_SAMPLES - 1), "10")
        result = await checked_run(engine, of(agent, timeout=5, limits=CAREFUL), "1")
    assert result["g"]["a_1"].state is State.SUCCEEDED


async def test_the_median_follows_what_the_agent_does_now(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking()
    async with motet.open_engine() as engine:
        await checked_run(engine, of(agent, 10), "10")
        await checked_run(engine, of(agent, 11), "1")
        result = await checked_run(engine, of(agent, timeout=5, limits=CAREFUL), "1")
    assert result["g"]["a_1"].state is State.SUCCEEDED


async def test_failed_calls_do_not_count_as_quick_ones(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking()
    async with motet.open_engine() as engine:
        await checked_run(engine, of(agent, MIN_SAMPLES), "10")
        await checked_run(engine, of(agent, 20), "not a number")
        result = await checked_run(engine, of(agent, timeout=5, limits=CAREFUL), "10")
    assert result["g"]["a_1"].failure.reason == reason.DEADLINE_INFEASIBLE


async def test_the_time_of_groups_that_it_ran_is_not_the_agents_own(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    leaf = ScriptedAgent("leaf", delay=10)
    outer = ScriptedAgent("outer", nested=Group("inner", [leaf]))
    limits = Limits(max_duration=35)
    async with motet.open_engine() as engine:
        await checked_run(engine, of(outer, MIN_SAMPLES))
        result = await checked_run(engine, of(outer, 3, max_parallel=1), limits=limits)
    assert result.stats.succeeded == 3
    assert result.elapsed == pytest.approx(30)


# ------------------------------------------------------------------------------------------------------ estimates from use


async def test_what_calls_really_cost_replaces_what_the_card_declares(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking(estimated_cost_nanos=1000)
    limits = Limits(max_cost_nanos=100)
    async with motet.open_engine() as engine:
        too_dear = await checked_run(engine, of(agent, limits=limits), "10")
        await checked_run(engine, of(agent), "10")
        fits = await checked_run(engine, of(agent, 10, limits=limits), "10")
    assert too_dear["g"]["a_1"].failure.reason == reason.BUDGET_EXCEEDED
    assert fits.stats.succeeded == 10
    assert fits.elapsed == pytest.approx(10)


async def test_what_is_known_of_an_agent_is_of_its_version(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async with motet.open_engine() as engine:
        await checked_run(engine, of(taking(version="1"), MIN_SAMPLES), "10")
        result = await checked_run(engine, of(taking(version="2"), timeout=5, limits=CAREFUL), "1")
    assert result["g"]["a_1"].state is State.SUCCEEDED


async def test_what_one_run_learned_the_next_one_knows(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = taking()
    group = of(agent, 4, limits=Limits(max_cost_nanos=100))
    async with motet.open_engine() as engine:
        first = await checked_run(engine, group, "10")
        second = await checked_run(engine, group, "10")
    # Of an agent that nothing is known of, the first call is made alone.
    assert first.elapsed == pytest.approx(20)
    assert second.elapsed == pytest.approx(10)
