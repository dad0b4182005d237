"""Budgets of groups and runs: what starts, what is stopped, and what is reported as spent. Descendants pay too."""

from typing import Any

import pytest
import trio

import motet
from motet import (
    AgentError,
    FunctionAgent,
    Group,
    GroupAgent,
    Limits,
    Member,
    OnBreach,
    Parallel,
    Sequence,
    State,
    Usage,
)
from motet.model import reason
from motet.testing import AskingRule, ScriptedAgent


def paid(*, cost: int = 0, tokens: int = 0, took: float = 1, name: str = "a", **card: Any) -> Any:
    """An agent whose calls cost so much and take so many seconds."""

    async def run(call: motet.Call) -> motet.Reply:
        await trio.sleep(took)
        usage = Usage(calls=1, input_tokens=tokens, cost_nanos=cost)
        return motet.Reply(motet.Payload.of(call.member), usage)

    return FunctionAgent(run, name=name, **card)


def states(result: motet.RunResult, group: str = "g") -> list[str]:
    return [outcome.state.value for outcome in result[group].outcomes]


def skipped_for_budget(result: motet.RunResult, group: str = "g") -> int:
    failures = [outcome.failure for outcome in result[group].outcomes if outcome.state is State.SKIPPED]
    assert {failure.reason for failure in failures} <= {reason.BUDGET_EXCEEDED}
    return len(failures)


# ---------------------------------------------------------------------------------------------------------- of a group


async def test_no_more_calls_start_than_a_group_may_make_and_the_answers_are_kept(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    group = Group("g", [Member(ScriptedAgent("a", delay=1), replicas=5)], limits=Limits(max_calls=3))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["SUCCEEDED"] * 3 + ["SKIPPED"] * 2
    assert skipped_for_budget(result) == 2
    assert result.state is State.SUCCEEDED
    assert result.unwrap()["result_count"] == 3
    assert result.usage.calls == 3


async def test_a_budget_of_nothing_lets_nothing_start_and_the_group_fails_for_it(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent], limits=Limits(max_calls=0)))
    assert skipped_for_budget(result) == 1
    assert result["g"].state is State.FAILED
    assert agent.calls == []


@pytest.mark.parametrize("what", ["cost", "tokens"])
async def test_a_member_whose_declared_estimate_does_not_fit_waits_and_is_skipped_when_it_never_will(
    what: str, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = paid(cost=40, tokens=40, estimated_cost_nanos=40, estimated_tokens=40)
    limits = Limits(max_cost_nanos=100) if what == "cost" else Limits(max_tokens=100)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [Member(agent, replicas=5)], limits=limits))
    assert states(result) == ["SUCCEEDED"] * 2 + ["SKIPPED"] * 3
    assert result["g"]["a_3"].queued == pytest.approx(1)
    assert (result.usage.cost_nanos, result.usage.input_tokens) == (80, 80)


async def test_what_a_call_does_not_use_of_its_estimate_is_left_for_others(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = paid(cost=20, estimated_cost_nanos=50)
    group = Group("g", [Member(agent, replicas=5)], limits=Limits(max_cost_nanos=100))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["SUCCEEDED"] * 5
    # Two beside each other by the declaration, then three by what they really cost.
    assert result.elapsed == pytest.approx(2)
    assert result.usage.cost_nanos == 100


async def test_a_cheaper_member_starts_though_a_dearer_one_before_it_does_not_fit(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    dear = paid(cost=200, name="dear", estimated_cost_nanos=200)
    cheap = paid(cost=10, name="cheap", estimated_cost_nanos=10)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [dear, cheap], limits=Limits(max_cost_nanos=100)))
    assert states(result) == ["SKIPPED", "SUCCEEDED"]


async def test_on_drain_what_runs_finishes_when_the_budget_is_overspent(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    dear = paid(cost=500, took=1, name="dear", estimated_cost_nanos=10)
    slow = paid(cost=10, took=5, name="slow", estimated_cost_nanos=10)
    group = Group("g", [dear, slow, Member(slow, replicas=3)], max_parallel=2, limits=Limits(max_cost_nanos=100))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["SUCCEEDED", "SUCCEEDED", "SKIPPED", "SKIPPED", "SKIPPED"]
    assert skipped_for_budget(result) == 3
    assert result.elapsed == pytest.approx(5)
    assert result.usage.cost_nanos == 510
    assert result.state is State.SUCCEEDED


async def test_on_cancel_what_runs_is_stopped_with_a_receipt_and_answers_are_kept(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    dear = paid(cost=500, took=1, name="dear", estimated_cost_nanos=10)
    slow = paid(cost=10, took=5, name="slow", estimated_cost_nanos=10)
    limits = Limits(max_cost_nanos=100, on_breach=OnBreach.CANCEL)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [dear, slow, slow], max_parallel=2, limits=limits))
    assert states(result) == ["SUCCEEDED", "CANCELLED", "SKIPPED"]
    stopped = result["g"]["slow"]
    assert stopped.failure.reason == reason.BUDGET_EXCEEDED
    assert stopped.stop.kind is motet.StopKind.STOPPED
    assert result.elapsed == pytest.approx(1)
    assert result["g"].state is State.SUCCEEDED
    assert result.unwrap()["combined_results"] == ["dear"]


async def test_a_group_without_an_answer_fails_with_the_budget_that_stopped_it(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def wasteful(call: motet.Call) -> str:
        call.spend(Usage(calls=1, cost_nanos=500))
        await trio.sleep(1)
        raise ValueError("broken")

    group = Group("g", [Member(FunctionAgent(wasteful), replicas=3)], limits=Limits(max_cost_nanos=100))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["FAILED", "SKIPPED", "SKIPPED"]
    assert result["g"].failure.reason == reason.BUDGET_EXCEEDED
    assert result.usage.cost_nanos == 500


async def test_time_that_calls_run_is_bounded_over_all_of_them(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=2)
    group = Group("g", [Member(agent, replicas=10)], max_parallel=1, limits=Limits(max_duration=5))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["SUCCEEDED"] * 3 + ["SKIPPED"] * 7
    assert result.elapsed == pytest.approx(6)


# ------------------------------------------------------------------------------------------------------ unknown prices


async def test_calls_without_a_price_are_counted_as_unpriced_and_go_while_money_is_left(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=1)
    group = Group("g", [Member(agent, replicas=4)], limits=Limits(max_cost_nanos=100))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["SUCCEEDED"] * 4
    assert (result.usage.cost_nanos, result.usage.unpriced_calls) == (0, 4)
    # The first of an unknown agent runs alone; then it is known to name no price.
    assert result.elapsed == pytest.approx(2)


async def test_no_money_admits_only_what_is_declared_free(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [paid(name="unknown"), paid(name="free", estimated_cost_nanos=0)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, limits=Limits(max_cost_nanos=0)))
    assert states(result) == ["SKIPPED", "SUCCEEDED"]


# ----------------------------------------------------------------------------------------- what failed and stopped calls used


async def test_what_a_call_told_counts_when_it_fails_or_is_cancelled(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def told(call: motet.Call) -> str:
        call.spend(Usage(calls=1, cost_nanos=30))
        await trio.sleep(1)
        call.spend(Usage(cost_nanos=20))
        if call.member == "fails":
            raise AgentError("no")
        await trio.sleep(60)
        return "ok"

    agent = FunctionAgent(told)
    members = [Member(agent, name="fails"), Member(agent, name="cut", timeout=5)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members))
    assert states(result) == ["FAILED", "TIMED_OUT"]
    assert [outcome.usage.cost_nanos for outcome in result["g"].outcomes] == [50, 50]
    assert result.usage == Usage(calls=2, cost_nanos=100)


# ------------------------------------------------------------------------------------------------------------ of a run


@pytest.mark.parametrize("shape", [Parallel, Sequence])
async def test_the_groups_of_a_run_pay_from_one_budget(
    shape: Any, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=1)
    groups = [Group(name, [Member(agent, replicas=2)], max_parallel=1) for name in ("one", "two")]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, shape(groups), limits=Limits(max_calls=3))
    assert len(agent.calls) == 3
    assert skipped_for_budget(result, "one") + skipped_for_budget(result, "two") == 1
    assert result.usage.calls == 3


async def test_a_group_pays_from_its_own_budget_and_the_runs(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=1)
    narrow = Group("narrow", [Member(agent, replicas=3)], limits=Limits(max_calls=1))
    wide = Group("wide", [Member(agent, replicas=5)], limits=Limits(max_calls=100))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Sequence([narrow, wide]), limits=Limits(max_calls=4))
    assert states(result, "narrow").count("SUCCEEDED") == 1
    assert states(result, "wide").count("SUCCEEDED") == 3


async def test_a_breach_of_the_run_that_cancels_stops_all_its_groups(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    dear = Group("dear", [paid(cost=500, took=1, name="dear", estimated_cost_nanos=10)])
    slow = Group("slow", [paid(took=60, name="slow", estimated_cost_nanos=10)])
    limits = Limits(max_cost_nanos=100, on_breach=OnBreach.CANCEL)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Parallel([dear, slow]), limits=limits)
    assert states(result, "dear") == ["SUCCEEDED"]
    assert result["slow"]["slow"].failure.reason == reason.BUDGET_EXCEEDED
    assert result["slow"].failure.reason == reason.BUDGET_EXCEEDED
    assert result.elapsed == pytest.approx(1)
    assert result.state is State.FAILED


# ------------------------------------------------------------------------------------------------------------- descendants


def running(inner: Group | str, name: str = "outer") -> Any:
    async def run(call: motet.Call) -> Any:
        return (await call.run(inner)).unwrap()

    return FunctionAgent(run, name=name)


async def test_what_a_nested_group_does_is_paid_by_the_group_and_the_run_around_it(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    leaf = ScriptedAgent("leaf", delay=1)
    inner = Group("inner", [Member(leaf, replicas=5)])
    for where in ("group", "run"):
        limits = Limits(max_calls=4)
        group = Group("g", [running(inner)], limits=limits if where == "group" else None)
        leaf.calls.clear()
        async with motet.open_engine() as engine:
            result = await checked_run(engine, group, limits=limits if where == "run" else None)
        assert len(leaf.calls) == 3
        nested = result["g"]["outer"].nested[0]
        assert [o.failure.reason for o in nested.outcomes if o.failure] == [reason.BUDGET_EXCEEDED] * 2
        assert result.usage.calls == 4


async def test_a_nested_group_does_not_wait_for_what_its_own_caller_has_set_aside(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    leaf = paid(cost=10, name="leaf")
    middle = running(Group("leaves", [Member(leaf, replicas=2)]), "middle")
    group = Group("g", [running(Group("inner", [middle]))])
    limits = Limits(max_cost_nanos=100, max_tokens=100, max_calls=10, max_duration=100)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group, limits=limits)
    assert result.state is State.SUCCEEDED
    assert result.usage.cost_nanos == 20


@pytest.mark.parametrize("max_calls", [1, 2, 3])
async def test_a_group_as_an_agent_is_one_call_and_its_members_pay_the_rest(
    max_calls: int, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    catalog = motet.Catalog()
    leaf = ScriptedAgent("leaf", delay=1, usage=Usage(calls=1, cost_nanos=10))
    catalog.group("inner", [Member(leaf, replicas=2)])
    catalog.add(GroupAgent("team", "inner"))
    limits = Limits(max_calls=max_calls, max_cost_nanos=20, max_duration=100)
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, Group("g", ["team"], limits=limits))
    assert len(leaf.calls) == max_calls - 1
    assert (result.usage.calls, result.usage.cost_nanos) == (max_calls, 10 * (max_calls - 1))
    assert (result.state is State.SUCCEEDED) is (max_calls > 1)


@pytest.mark.parametrize(("max_calls", "answered"), [(4, True), (3, False)])
async def test_what_an_aggregation_asks_is_paid_from_the_same_budget(
    max_calls: int, answered: bool, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    catalog = motet.Catalog()
    judge = ScriptedAgent("judge", reply="judged")
    catalog.add(judge)
    catalog.add_aggregation(AskingRule("judge"))
    members = Member(ScriptedAgent("a", delay=1), replicas=3)
    group = Group("g", [members], aggregation="asking", limits=Limits(max_calls=max_calls))
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["SUCCEEDED"] * 3
    assert (result["g"].state is State.SUCCEEDED) is answered
    assert len(judge.calls) == int(answered)
    if not answered:
        assert result["g"].asked[0].outcomes[0].failure.reason == reason.BUDGET_EXCEEDED
    assert result.usage.calls == max_calls
