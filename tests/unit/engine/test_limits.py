"""Limits: where they come from, failure rates and successes of groups, and what `engine.limits()` shows of it all."""

from typing import Any

import pytest
import trio

import motet
from motet import FunctionAgent, Group, Limits, Member, OnBreach, Parallel, State, Usage
from motet.model import reason
from motet.model.bounds import Quota, TenantBounds
from motet.model.limit_use import LimitUse
from motet.model.plan import Idempotency
from motet.model.rate import Breaker, Rate
from motet.testing import ScriptedAgent

FIVE_DOWN = tuple(range(1, 6))


def failing(*numbers: int, took: float = 1, name: str = "a") -> Any:
    """Replicas of these numbers fail."""

    async def run(call: motet.Call) -> str:
        await trio.sleep(took)
        if call.variables["member_id"] in numbers:
            raise ValueError("broken")
        return call.member

    return FunctionAgent(run, name=name)


def states(result: motet.RunResult, group: str = "g") -> list[str]:
    return [outcome.state.value for outcome in result[group].outcomes]


# --------------------------------------------------------------------------------------------------- where they come from


@pytest.mark.parametrize(
    ("catalogs", "tenants", "requests", "calls"),
    [(2, None, None, 2), (2, None, 10, 2), (10, None, 1, 1), (10, 3, 5, 3), (None, 3, 2, 2), (2, 3, None, 2)],
)
async def test_a_request_can_only_tighten_what_the_catalog_and_its_tenant_allow(
    catalogs: int | None, tenants: int | None, requests: int | None, calls: int, checked_run: Any
) -> None:
    catalog = motet.Catalog(limits=Limits(max_calls=catalogs))
    catalog.add_tenant("t", TenantBounds(limits=Limits(max_calls=tenants)))
    agent = ScriptedAgent("a")
    async with motet.open_engine(catalog) as engine:
        group = Group("g", [Member(agent, replicas=8)], limits=Limits(max_calls=7))
        await checked_run(engine, group, tenant="t", limits=Limits(max_calls=requests))
    assert len(agent.calls) == calls


async def test_background_and_mapped_runs_have_the_catalogs_limits_too(autojump_clock: trio.testing.MockClock) -> None:
    async def inputs() -> Any:
        await trio.lowlevel.checkpoint()
        yield motet.MapInput(motet.Payload.of("x"))

    agent = ScriptedAgent("a")
    group = Group("g", [Member(agent, replicas=8)])
    async with motet.open_engine(motet.Catalog(limits=Limits(max_calls=2))) as engine:
        started = await engine.start(group)
        async with engine.watch(started.run_id) as run:
            async for _ in run:
                pass
        assert len(agent.calls) == 2
        async with engine.map(group, inputs()) as answers:
            async for _ in answers:
                pass
        assert len(agent.calls) == 4


async def test_members_and_depth_of_a_run_are_bounded_by_the_catalog_and_the_request(checked_run: Any) -> None:
    inner = Group("inner", [ScriptedAgent("leaf")])
    outer = Group("g", [ScriptedAgent("outer", nested=inner)])
    crowd = Group("crowd", [Member(ScriptedAgent("a"), replicas=5)])
    async with motet.open_engine(motet.Catalog(limits=Limits(max_members=4, max_depth=0))) as engine:
        with pytest.raises(motet.InvalidRequest, match="between 1 and 4"):
            await engine.run(crowd, limits=Limits(max_members=100))
        deep = await checked_run(engine, outer, limits=Limits(max_depth=5))
    assert deep["g"]["outer"].failure.reason == reason.DEPTH_EXCEEDED


# ---------------------------------------------------------------------------------------------------------- failure rate


async def test_a_group_of_which_too_many_failed_stops_after_enough_samples(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    group = Group("g", [Member(failing(*FIVE_DOWN), replicas=9)], max_parallel=1, limits=Limits(max_failure_rate=0.5))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["FAILED"] * 5 + ["SKIPPED"] * 4
    assert result["g"]["a_6"].failure.reason == reason.FAILURE_RATE_EXCEEDED
    assert (result["g"].state, result["g"].failure.reason) == (State.FAILED, reason.FAILURE_RATE_EXCEEDED)


@pytest.mark.parametrize(("failures", "state"), [((1, 2, 3), State.SUCCEEDED), ((1, 2, 3, 4), State.FAILED)])
async def test_a_share_of_failures_has_to_be_above_the_rate_not_at_it(
    failures: tuple[int, ...], state: State, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    limits = Limits(max_failure_rate=0.3, min_samples=10)
    group = Group("g", [Member(failing(*failures), replicas=10)], limits=limits)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result["g"].state is state
    assert result.stats.failed == len(failures)


async def test_timeouts_are_failures_and_what_runs_may_be_cancelled(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    late = Member(ScriptedAgent("late", delay=60), replicas=3, timeout=1)
    long = Member(ScriptedAgent("long", delay=50), replicas=2)
    limits = Limits(max_failure_rate=0.9, min_samples=3, on_breach=OnBreach.CANCEL)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [late, long], limits=limits))
    assert states(result) == ["TIMED_OUT"] * 3 + ["CANCELLED"] * 2
    assert result["g"]["long_1"].failure.reason == reason.FAILURE_RATE_EXCEEDED
    assert result.elapsed == pytest.approx(1)


async def test_on_drain_what_runs_finishes_and_the_group_has_failed_all_the_same(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    late = Member(ScriptedAgent("late", delay=60), replicas=3, timeout=1)
    long = Member(ScriptedAgent("long", delay=50), replicas=2)
    limits = Limits(max_failure_rate=0.5, min_samples=3)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [late, long], limits=limits))
    assert states(result) == ["TIMED_OUT"] * 3 + ["SUCCEEDED"] * 2
    assert result["g"].failure.reason == reason.FAILURE_RATE_EXCEEDED


async def test_a_rate_of_the_run_holds_for_each_of_its_groups(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    bad = Group("bad", [Member(failing(*FIVE_DOWN), replicas=6)], max_parallel=1)
    good = Group("good", [Member(failing(1, name="b"), replicas=6)], max_parallel=1)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Parallel([bad, good]), limits=Limits(max_failure_rate=0.5))
    assert result["bad"].failure.reason == reason.FAILURE_RATE_EXCEEDED
    assert result["good"].state is State.SUCCEEDED


async def test_a_member_that_answers_at_its_second_attempt_is_no_failure(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def flaky(call: motet.Call) -> str:
        await trio.sleep(1)
        if call.attempt == 1:
            raise motet.AgentError("later", retryable=True)
        return "ok"

    group = Group(
        "g",
        [Member(FunctionAgent(flaky), replicas=6)],
        retry=motet.RetryPolicy(max_attempts=2),
        limits=Limits(max_failure_rate=0),
    )
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result.state is State.SUCCEEDED


# --------------------------------------------------------------------------------------------------------- min successes


async def test_a_group_with_too_few_successes_fails_and_keeps_its_results(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    group = Group("g", [Member(failing(3), replicas=3)], max_parallel=1, limits=Limits(min_successes=3))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert states(result) == ["SUCCEEDED", "SUCCEEDED", "FAILED"]
    assert (result["g"].state, result["g"].failure.reason) == (State.FAILED, reason.TOO_FEW_SUCCESSES)
    assert result["g"]["a_1"].output.text == "a_1"


async def test_a_group_stops_when_enough_successes_are_out_of_reach(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [Member(failing(1, 2), replicas=2), Member(ScriptedAgent("slow", delay=60), replicas=3)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, max_parallel=3, limits=Limits(min_successes=4)))
    assert states(result) == ["FAILED", "FAILED", "CANCELLED", "CANCELLED", "SKIPPED"]
    assert result["g"]["slow_1"].failure.reason == reason.TOO_FEW_SUCCESSES
    assert result["g"].failure.reason == reason.TOO_FEW_SUCCESSES
    assert result.elapsed == pytest.approx(1)


async def test_an_early_decision_waits_for_as_many_successes_as_are_asked_for(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [ScriptedAgent(f"a{i}", reply=f"a{i}", delay=i) for i in range(1, 6)]
    group = Group("g", members, aggregation="first", limits=Limits(min_successes=3))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result.unwrap() == "a1"
    assert result["g"].decided_early
    assert states(result) == ["SUCCEEDED"] * 3 + ["CANCELLED"] * 2
    assert result.elapsed == pytest.approx(3)


# ---------------------------------------------------------------------------------------------------------- what is shown


def one(uses: tuple[LimitUse, ...], guard: str, scope: str, what: str, name: str = "") -> LimitUse:
    found = [use for use in uses if (use.guard, use.scope, use.what) == (guard, scope, what) and name in ("", use.name)]
    assert len(found) == 1, (found, uses)
    return found[0]


def bounded_catalog() -> motet.Catalog:
    catalog = motet.Catalog(limits=Limits(max_calls=100))
    catalog.add_provider("p", 3, rate=Rate(calls_per_minute=600), breaker=Breaker())
    catalog.add_tenant("t", TenantBounds(max_parallel=7, max_runs=2, per_hour=Quota(calls=50)))
    catalog.add(ScriptedAgent("a", delay=10, provider="p", max_parallel=4, usage=Usage(calls=1, cost_nanos=3)))
    return catalog


async def test_what_is_in_use_of_every_limit_is_seen_while_it_runs_and_after(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = Limits(max_cost_nanos=1000, max_failure_rate=0.5, min_successes=1)
    group = Group("g", [Member("a", replicas=2)], limits=limits)
    async with motet.open_engine(bounded_catalog(), max_parallel=9) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: engine.run(group, tenant="t"))
        await trio.sleep(5)
        uses = engine.limits()
        assert engine.statistics().limits == uses
        run = one(uses, "budget", "run", "calls")
        # The agent's cost is not known: its first call has set aside all there is, and the second waits.
        assert (run.limit, run.used, run.reserved) == (100, 0, 1)
        cost = one(uses, "budget", "group", "cost_nanos")
        assert (cost.limit, cost.used, cost.reserved) == (1000, 0, 1000)
        assert cost.name == f"{run.name}/g"
        assert engine.statistics().width_waiters == 1
        for scope, name in (("engine", ""), ("provider", "p"), ("agent", "a")):
            assert one(uses, "capacity", scope, "running", name).used == 1
        assert one(uses, "quota", "tenant", "runs").used == 1
        assert one(uses, "quota", "tenant", "running").used == 1
        assert one(uses, "quota", "tenant", "calls").reserved == 1
        assert one(uses, "failure_rate", "group", "failures").limit == 0.5
        assert one(uses, "min_successes", "group", "successes").limit == 1
        assert one(uses, "breaker", "provider", "failures").state == "closed"
        await trio.sleep(10)
        uses = engine.limits()
        cost = one(uses, "budget", "group", "cost_nanos")
        assert (cost.used, cost.reserved) == (3, 3)
        assert one(uses, "min_successes", "group", "successes").used == 1
    assert sorted(uses, key=lambda use: (use.scope, use.name)) == list(uses)


async def test_when_all_has_ended_nothing_is_in_use_but_what_was_spent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with motet.open_engine(bounded_catalog(), max_parallel=9) as engine:
        await engine.run(Group("g", [Member("a", replicas=2)], limits=Limits(max_calls=5)), tenant="t")
        uses = engine.limits()
        assert {use.scope for use in uses} <= {"engine", "provider", "agent", "tenant"}
        assert all(use.used == 0 for use in uses if use.what in ("running", "runs"))
        assert all(use.reserved == 0 for use in uses)
        calls = one(uses, "quota", "tenant", "calls")
        assert (calls.name, calls.used, calls.limit, calls.window) == ("t", 2, 50, 3600)


async def test_a_tenant_sees_its_own_limits_and_its_runs_alone(autojump_clock: trio.testing.MockClock) -> None:
    catalog = bounded_catalog()
    catalog.add_tenant("other", TenantBounds(per_day=Quota(calls=9)))
    group = Group("g", [Member("a")], limits=Limits(max_tokens=10))
    async with motet.open_engine(catalog) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: engine.run(group, tenant="t"))
        nursery.start_soon(lambda: engine.run(group, tenant="other"))
        await trio.sleep(5)
        mine, others, all_uses = engine.limits("t"), engine.limits("other"), engine.limits()
        assert {use.scope for use in mine} == {"group", "run", "tenant"}
        assert {use.name for use in mine if use.scope == "tenant"} == {"t"}
        assert {use.name for use in others if use.scope == "tenant"} == {"other"}
        assert {use.name for use in mine}.isdisjoint(use.name for use in others)
        assert set(mine) | set(others) <= set(all_uses)
        assert engine.limits("nobody") == ()


async def test_every_limit_is_shown_once_however_runs_are_nested(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[tuple[LimitUse, ...]] = []
    leaf = ScriptedAgent("leaf", delay=1)
    inner = Group("inner", [leaf], limits=Limits(max_calls=50))

    async def outer(call: motet.Call) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run, inner)
            nursery.start_soon(engine.run, Group("own", [leaf]))
            await trio.sleep(0.5)
            seen.append(engine.limits())
        return "ok"

    async with motet.open_engine(bounded_catalog()) as engine:
        group = Group("g", [FunctionAgent(outer)], limits=Limits(max_calls=70))
        await engine.run(group, tenant="t", limits=Limits(max_calls=90))
    keys = [(use.guard, use.scope, use.name, use.what, use.window) for use in seen[0]]
    assert len(keys) == len(set(keys))
    assert {use.limit for use in seen[0] if use.guard == "budget"} == {50, 70, 90, 100}


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_stopped_group_does_not_wait_for_members_that_wait_for_their_rate(
    keyed: bool, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def quick(call: motet.Call) -> str:
        await trio.lowlevel.checkpoint()
        return "ok"

    rated = FunctionAgent(quick, rate=Rate(calls_per_minute=1, burst=1))
    members = [
        Member(rated, replicas=3, idempotency=Idempotency() if keyed else None),
        Member(ScriptedAgent("bad", delay=1, error=ValueError("broken")), replicas=5),
    ]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, limits=Limits(max_failure_rate=0.5)))
    assert result.stats.skipped == 2
    assert result.elapsed == pytest.approx(1)
