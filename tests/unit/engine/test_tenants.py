"""Tenants: quotas of time and for good, what they may run at once, and that a restart forgets nothing of what they used."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import trio

import motet
from motet import Exhausted, FunctionAgent, Group, Limits, Member, State, Usage
from motet.errors import StoreFailed
from motet.model import reason
from motet.model.bounds import Quota, TenantBounds
from motet.model.quota_use import QuotaUse
from motet.store import MemoryStore
from motet.testing import ScriptedAgent

HOUR = 3600.0


class LastingStore(MemoryStore):
    """Outlives the engine that closes it, as a store on disk does."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = 0

    async def use(self, uses: Sequence[QuotaUse]) -> Sequence[QuotaUse]:
        if self.fails:
            self.fails -= 1
            raise StoreFailed("the disk is gone")
        return await super().use(uses)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def bounded(**tenants: TenantBounds) -> motet.Catalog:
    catalog = motet.Catalog()
    for name, bounds in tenants.items():
        catalog.add_tenant("*" if name == "everyone" else name, bounds)
    return catalog


def of_window(window: str, quota: Quota) -> TenantBounds:
    return replace(TenantBounds(), **{window: quota})  # type: ignore[arg-type]


def group_of(agent: Any, replicas: int = 1, name: str = "g") -> Group:
    return Group(name, [Member(agent, replicas=replicas)])


async def refusal(engine: motet.Engine, group: Group, tenant: str) -> Exhausted:
    with pytest.raises(Exhausted) as caught:
        await engine.run(group, tenant=tenant)
    assert caught.value.reason == reason.QUOTA_EXCEEDED
    return caught.value


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> float:
    """The wall clock stands at a whole day when the engine opens; from there on it goes with trio's."""
    day = 86400.0 * 20_000
    clock = SimpleNamespace(time=lambda: day + trio.current_time())
    monkeypatch.setattr("motet.app.time", clock)
    return day


# ------------------------------------------------------------------------------------------------------------ at once


async def test_a_tenant_has_no_more_calls_at_once_than_it_may_and_others_do_not_wait_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agents = {name: ScriptedAgent(f"of_{name}", delay=1) for name in ("t", "other")}
    async with (
        motet.open_engine(bounded(t=TenantBounds(max_parallel=2))) as engine,
        trio.open_nursery() as nursery,
    ):
        for tenant, agent in agents.items():
            for number in range(2):
                group = group_of(agent, 3, f"g{number}")
                nursery.start_soon(partial(engine.run, group, tenant=tenant))
    assert agents["t"].peak == 2
    assert agents["other"].peak == 6
    assert trio.current_time() == pytest.approx(3)


async def test_a_nested_group_of_a_tenant_with_one_call_at_once_does_not_wait_for_itself(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    leaf = ScriptedAgent("leaf", delay=1)
    outer = ScriptedAgent("outer", nested=group_of(leaf, 2, "inner"))
    bounds = TenantBounds(max_parallel=1, max_runs=1, per_hour=Quota(calls=3, cost_nanos=100))
    async with motet.open_engine(bounded(t=bounds)) as engine:
        result = await checked_run(engine, group_of(outer), tenant="t")
    assert result.state is State.SUCCEEDED
    assert leaf.peak == 1


async def test_one_run_more_than_a_tenant_may_have_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=5)
    async with motet.open_engine(bounded(t=TenantBounds(max_runs=2))) as engine, trio.open_nursery() as nursery:
        first = await engine.start(group_of(agent), tenant="t")
        nursery.start_soon(lambda: engine.run(group_of(agent), tenant="t"))
        await trio.sleep(1)
        error = await refusal(engine, group_of(agent), "t")
        assert error.details["what"] == "runs"
        assert error.retry_after is None
        with pytest.raises(Exhausted):
            await engine.start(group_of(agent), tenant="t")
        await engine.run(group_of(agent), tenant="other")
        async with engine.watch(first.run_id) as run:
            async for _ in run:
                pass
        await engine.run(group_of(agent), tenant="t")
    assert len(agent.calls) == 4


# ------------------------------------------------------------------------------------------------------- hour, day, total


@pytest.mark.parametrize(("window", "length"), [("per_hour", HOUR), ("per_day", 24 * HOUR)])
async def test_a_quota_of_a_window_comes_back_when_the_window_turns(
    window: str, length: float, wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine(bounded(t=of_window(window, Quota(calls=3)))) as engine:
        await trio.sleep(100)
        result = await engine.run(group_of(agent, 4), tenant="t")
        skipped = [outcome for outcome in result["g"].outcomes if outcome.state is State.SKIPPED]
        assert [outcome.failure.reason for outcome in skipped] == [reason.QUOTA_EXCEEDED]
        error = await refusal(engine, group_of(agent), "t")
        assert error.retry_after == pytest.approx(length - 100)
        await trio.sleep(length - 100)
        await engine.run(group_of(agent), tenant="t")
    assert len(agent.calls) == 4


async def test_the_time_that_calls_run_is_used_up_and_comes_back_when_the_window_turns(
    wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a", delay=20)
    store = LastingStore()
    catalog = bounded(t=of_window("per_hour", Quota(duration=60)))
    async with motet.open_engine(catalog, store=store) as engine:
        result = await engine.run(group_of(agent, 4), tenant="t")
        assert result.stats.succeeded == 3
        assert result["g"]["a_4"].failure.details["what"] == "seconds"
    async with motet.open_engine(catalog, store=store) as engine:
        error = await refusal(engine, group_of(agent), "t")
        assert {key: error.details[key] for key in ("window", "what", "limit", "used")} == {
            "window": "hour",
            "what": "seconds",
            "limit": 60,
            "used": 60,
        }
        assert error.retry_after is not None
        await trio.sleep(error.retry_after)
        assert (await engine.run(group_of(agent), tenant="t")).succeeded


async def test_a_total_does_not_come_back(wall: float, autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", usage=Usage(calls=1, cost_nanos=60))
    async with motet.open_engine(bounded(t=TenantBounds(total=Quota(cost_nanos=100)))) as engine:
        await engine.run(group_of(agent), tenant="t")
        await engine.run(group_of(agent), tenant="t", limits=Limits(max_calls=1))
        await trio.sleep(1000 * HOUR)
        result = await engine.run(group_of(agent), tenant="t")
    assert result["g"]["a_1"].failure.reason == reason.QUOTA_EXCEEDED
    assert len(agent.calls) == 1


async def test_nothing_of_a_run_that_is_refused_starts_in_any_of_its_forms(
    wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine(bounded(t=TenantBounds(total=Quota(calls=1)))) as engine:
        await engine.run(group_of(agent), tenant="t")
        group = group_of(agent)
        with pytest.raises(Exhausted):
            await engine.start(group, tenant="t")
        with pytest.raises(Exhausted):
            async with engine.stream(group, tenant="t"):
                pass
        with pytest.raises(Exhausted):
            await engine.run(motet.RunRequest(target=group, tenant="t", request_id="r"))
        assert engine.statistics().runs_started == 1
        assert (await engine.list()).runs == ()
    assert len(agent.calls) == 1


async def test_retries_hedges_and_nested_groups_count_against_the_quota(
    wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    async def flaky(call: motet.Call) -> str:
        await trio.lowlevel.checkpoint()
        if call.attempt == 1:
            raise motet.AgentError("later", retryable=True)
        return "ok"

    group = Group("g", [FunctionAgent(flaky)], retry=motet.RetryPolicy(max_attempts=2))
    outer = ScriptedAgent("outer", nested=Group("inner", group.members, retry=group.retry))
    async with motet.open_engine(bounded(t=TenantBounds(total=Quota(calls=5)))) as engine:
        await engine.run(group, tenant="t")
        await engine.run(group_of(outer), tenant="t")
        error = await refusal(engine, group, "t")
    assert error.details["used"] == 5


# --------------------------------------------------------------------------------------------------------- who is bounded


async def test_everyone_without_bounds_of_its_own_has_those_of_the_star_each_for_itself(
    wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a")
    catalog = bounded(everyone=TenantBounds(total=Quota(calls=1)), rich=TenantBounds(total=Quota(calls=2)))
    async with motet.open_engine(catalog) as engine:
        for tenant in ("one", "two", "rich", "rich", "", "", ""):
            await engine.run(group_of(agent), tenant=tenant)
        for tenant in ("one", "two", "rich"):
            await refusal(engine, group_of(agent), tenant)
    assert len(agent.calls) == 7


async def test_the_limits_of_the_star_hold_for_runs_of_tenants_it_stands_for(checked_run: Any) -> None:
    agent = ScriptedAgent("a")
    catalog = bounded(everyone=TenantBounds(limits=Limits(max_calls=1)), rich=TenantBounds())
    async with motet.open_engine(catalog) as engine:
        for tenant, calls in (("one", 1), ("rich", 3), ("", 3)):
            result = await checked_run(engine, group_of(agent, 3), tenant=tenant)
            assert result.stats.succeeded == calls


# ---------------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("window", ["per_hour", "per_day", "total"])
async def test_what_a_tenant_has_used_survives_a_restart(
    window: str, wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a", usage=Usage(calls=1, input_tokens=3, output_tokens=4, cost_nanos=5))
    store = LastingStore()
    for quota in (Quota(calls=3), Quota(tokens=21), Quota(cost_nanos=15)):
        tenant = f"{quota.calls}-{quota.tokens}-{quota.cost_nanos}"
        catalog = bounded(**{tenant: of_window(window, quota)})
        async with motet.open_engine(catalog, store=store) as engine:
            await engine.run(group_of(agent, 2), tenant=tenant)
        async with motet.open_engine(catalog, store=store) as engine:
            await engine.run(group_of(agent), tenant=tenant)
            await refusal(engine, group_of(agent), tenant)
        async with motet.open_engine(catalog, store=store) as engine:
            await refusal(engine, group_of(agent), tenant)


async def test_use_that_the_store_could_not_take_is_given_again(
    wall: float, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    agent = ScriptedAgent("a")
    store = LastingStore()
    catalog = bounded(t=TenantBounds(total=Quota(calls=2)))
    async with motet.open_engine(catalog, store=store) as engine:
        await engine.run(group_of(agent), tenant="t")
        await trio.sleep(1)
        store.fails = 2
        await engine.run(group_of(agent), tenant="t")
        await trio.sleep(60)
    assert "tried again" in caplog.text
    async with motet.open_engine(catalog, store=store) as engine:
        await refusal(engine, group_of(agent), "t")


async def test_a_run_is_refused_while_it_is_not_known_what_its_tenant_has_used(
    wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a")
    store = LastingStore()
    async with motet.open_engine(bounded(everyone=TenantBounds(total=Quota(calls=2))), store=store) as engine:
        store.fails = 1
        with pytest.raises(StoreFailed):
            await engine.run(group_of(agent), tenant="t")
        assert agent.calls == []
        await engine.run(group_of(agent), tenant="")
        await engine.run(group_of(agent), tenant="t")
    assert len(agent.calls) == 2


async def test_engines_that_share_a_store_count_together_from_run_to_run(
    wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a")
    store = LastingStore()
    catalog = bounded(t=TenantBounds(total=Quota(calls=2)))
    async with motet.open_engine(catalog, store=store) as one:
        await one.run(group_of(agent), tenant="t")
        await trio.sleep(1)
        async with motet.open_engine(catalog, store=store) as two:
            await two.run(group_of(agent), tenant="t")
            await refusal(two, group_of(agent), "t")
    assert len(agent.calls) == 2


async def test_a_repeat_of_a_request_finds_its_run_whatever_is_left_of_the_quota(
    wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a", delay=5)
    request = motet.RunRequest(target=group_of(agent), tenant="t", request_id="r")
    async with (
        motet.open_engine(bounded(t=TenantBounds(max_runs=1, total=Quota(calls=1)))) as engine,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(engine.run, request)
        await trio.sleep(1)
        during = await engine.run(request)
        after = await engine.start(request.target, tenant="t", request_id="r")
        assert after.run_id == during.run_id
    assert len(agent.calls) == 1


async def test_a_run_that_a_member_starts_on_the_engine_itself_is_on_its_tenants_account(
    wall: float, autojump_clock: trio.testing.MockClock
) -> None:
    leaf = ScriptedAgent("leaf", delay=1)

    async def outer(call: motet.Call) -> int:
        return (await engine.run(group_of(leaf, 5))).stats.succeeded

    async with motet.open_engine(bounded(t=TenantBounds(total=Quota(calls=3)))) as engine:
        result = await engine.run(Group("g", [FunctionAgent(outer)]), tenant="t")
    assert result["g"]["outer"].output.value == 2
    assert len(leaf.calls) == 2
