"""Bounds of dispatches: what may start, when it stops, and that nothing that was paid for is lost."""

from typing import Any

import pytest
import trio

import motet
from motet.patterns.toolweaver import DispatchQuotaExceeded, DispatchResourceLimits, dispatch_agents

OFF: dict[str, Any] = {
    "max_total_cost_usd": None,
    "max_concurrent": None,
    "max_total_agents": None,
    "max_agent_duration_s": None,
    "max_total_duration_s": None,
    "requests_per_second": None,
    "max_failure_rate": None,
    "max_dispatch_depth": None,
}


def only(**bounds: Any) -> DispatchResourceLimits:
    return DispatchResourceLimits(**{**OFF, **bounds})


def tasks(count: int) -> list[dict[str, int]]:
    return [{"n": n} for n in range(count)]


class Worker:
    """Sleeps, costs, and fails as told."""

    def __init__(self, *, seconds: float = 0.0, usd: float | None = None, failing: Any = ()) -> None:
        self.started = 0
        self.running = self.peak = 0
        self.seconds = seconds
        self.usd = usd
        self.failing = failing

    async def __call__(self, prompt: str, args: dict[str, Any], agent_name: str, model: str) -> Any:
        self.started += 1
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await trio.sleep(self.seconds)
        finally:
            self.running -= 1
        if args["n"] in self.failing:
            raise ValueError("no")
        if self.usd is None:
            return args["n"]
        usage = motet.Usage(calls=1, cost_nanos=round(self.usd * 1e9))
        return motet.Reply(motet.Payload.of(args["n"]), usage=usage)


def test_the_defaults_are_those_of_the_page() -> None:
    limits = DispatchResourceLimits()
    assert limits == DispatchResourceLimits(
        max_total_cost_usd=5.0,
        cost_per_agent_estimate=0.01,
        max_concurrent=10,
        max_total_agents=100,
        max_agent_duration_s=300,
        max_total_duration_s=600,
        requests_per_second=10,
        max_failure_rate=0.3,
        min_success_count=0,
        max_dispatch_depth=3,
        current_depth=0,
    )


async def test_a_budget_stops_spending_and_what_was_paid_for_is_kept() -> None:
    worker = Worker(usd=10)
    limits = only(max_total_cost_usd=50, cost_per_agent_estimate=10)
    with pytest.raises(DispatchQuotaExceeded, match="50 US dollars") as caught:
        await dispatch_agents("{n}", tasks(100), executor=worker, limits=limits)
    assert caught.value.reason == "BUDGET_EXCEEDED"
    results = caught.value.results
    assert worker.started == 5
    assert all(result.output == place for place, result in enumerate(results) if result.success)
    assert results.stats.total_cost_usd == pytest.approx(50)
    assert (results.stats.completed_agents, results.stats.skipped_agents) == (5, 95)
    assert {(result.reason, result.cost) for result in results if not result.success} == {("BUDGET_EXCEEDED", 0)}


async def test_true_costs_count_not_estimates() -> None:
    worker = Worker(usd=0.001)
    results = await dispatch_agents("{n}", tasks(20), executor=worker, limits=only(max_total_cost_usd=0.1))
    assert results.stats.total_cost_usd == pytest.approx(0.02)
    assert results[0].cost == pytest.approx(0.001)


async def test_a_cost_that_nobody_knows_is_not_0() -> None:
    limits = only(cost_per_agent_estimate=None)
    results = await dispatch_agents("{n}", tasks(2), executor=Worker(), limits=limits)
    assert [result.cost for result in results] == [None, None]


@pytest.mark.parametrize(("max_parallel", "max_concurrent", "peak"), [(3, 10, 3), (10, 2, 2), (4, None, 4)])
async def test_of_both_widths_the_narrower_holds(max_parallel: int, max_concurrent: int | None, peak: int) -> None:
    worker = Worker(seconds=0.001)
    limits = only(max_concurrent=max_concurrent)
    await dispatch_agents("{n}", tasks(12), executor=worker, max_parallel=max_parallel, limits=limits)
    assert worker.peak == peak


async def test_20_receipts_start_at_once_and_further_ones_ten_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun = trio.current_time()
    await dispatch_agents("Receipt {n}", tasks(20), executor=Worker(seconds=0.01), max_parallel=10)
    assert trio.current_time() - begun < 0.2
    begun = trio.current_time()
    await dispatch_agents("Receipt {n}", tasks(40), executor=Worker(), max_parallel=10)
    assert trio.current_time() - begun == pytest.approx(2.0, abs=0.2)


async def test_too_many_agents_are_refused_before_anything_starts() -> None:
    worker = Worker()
    with pytest.raises(DispatchQuotaExceeded, match="max_total_agents=100") as caught:
        await dispatch_agents("{n}", tasks(101), executor=worker)
    assert (caught.value.reason, caught.value.results, worker.started) == ("MEMBERS_EXCEEDED", [], 0)


@pytest.mark.parametrize("kind", ["exceptions", "timeouts"])
async def test_too_many_failures_stop_the_rest_in_the_same_way_whatever_they_are(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    worker = Worker(seconds=1, failing=range(100)) if kind == "exceptions" else Worker(seconds=60)
    with pytest.raises(DispatchQuotaExceeded) as caught:
        await dispatch_agents(
            "{n}",
            tasks(50),
            executor=worker,
            max_parallel=5,
            timeout_per_agent=2,
            limits=only(max_failure_rate=0.3),
        )
    assert caught.value.reason == "FAILURE_RATE_EXCEEDED"
    assert worker.started == 5
    errors = [result.error for result in caught.value.results[:5]]
    assert errors == (["ValueError: no"] if kind == "exceptions" else ["timeout"]) * 5
    await trio.sleep(10)
    assert worker.running == 0


async def test_a_share_of_failures_at_the_bound_is_not_too_many() -> None:
    worker = Worker(failing={7, 8, 9})
    results = await dispatch_agents(
        "{n}", tasks(10), executor=worker, max_parallel=1, limits=only(max_failure_rate=0.3)
    )
    assert results.stats.failure_rate == pytest.approx(0.3)
    assert results.stats.failed_agents == 3


async def test_too_few_successes_keep_those_that_there_are() -> None:
    with pytest.raises(DispatchQuotaExceeded) as caught:
        await dispatch_agents("{n}", tasks(3), executor=Worker(failing={2}), limits=only(min_success_count=3))
    assert caught.value.reason == "TOO_FEW_SUCCESSES"
    assert [result.success for result in caught.value.results][:2] == [True, True]
    with pytest.raises(DispatchQuotaExceeded, match="more than the 2 agents"):
        await dispatch_agents("{n}", tasks(2), executor=Worker(), limits=only(min_success_count=3))


async def test_the_time_for_all_ends_what_runs_and_keeps_what_had_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    worker = Worker(seconds=1)
    begun = trio.current_time()
    with pytest.raises(DispatchQuotaExceeded) as caught:
        await dispatch_agents("{n}", tasks(8), executor=worker, max_parallel=1, limits=only(max_total_duration_s=2.5))
    assert trio.current_time() - begun == pytest.approx(2.5)
    assert caught.value.reason == "DEADLINE_EXCEEDED"
    results = caught.value.results
    assert [result.success for result in results[:3]] == [True, True, False]
    assert results[2].error == "timeout"
    assert worker.started == 3


async def test_of_both_times_of_an_agent_the_narrower_holds(autojump_clock: trio.testing.MockClock) -> None:
    limits = only(max_agent_duration_s=1)
    results = await dispatch_agents("{n}", tasks(1), executor=Worker(seconds=9), timeout_per_agent=5, limits=limits)
    assert results[0].duration_ms == pytest.approx(1000)
    over = await dispatch_agents("{n}", tasks(1), executor=Worker(), timeout_per_agent=0, limits=limits)
    assert over[0].success is False


async def test_depth_is_counted_without_the_callers_help() -> None:
    deepest: list[int] = []

    async def nest(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> str:
        deepest.append(args["level"])
        try:
            inner = await dispatch_agents("level {level}", [{"level": args["level"] + 1}], executor=nest)
        except DispatchQuotaExceeded as error:
            return error.reason
        answer: str = inner[0].output
        return answer

    results = await dispatch_agents("level {level}", [{"level": 0}], executor=nest)
    assert results[0].output == "DEPTH_EXCEEDED"
    assert deepest == [0, 1, 2, 3]


async def test_the_depth_of_the_engine_holds_too() -> None:
    async def outer(_input: str) -> str:
        with pytest.raises(DispatchQuotaExceeded) as caught:
            await dispatch_agents("{n}", tasks(1), executor=Worker(), limits=only())
        return caught.value.reason

    async with motet.open_engine(max_depth=0) as engine:
        result = await engine.run(motet.Group("g", [motet.FunctionAgent(outer)], "first"), "x")
    assert result.unwrap() == "DEPTH_EXCEEDED"


async def test_a_depth_that_the_caller_knows_of_counts_too() -> None:
    worker = Worker()
    with pytest.raises(DispatchQuotaExceeded, match="depth 4"):
        await dispatch_agents("{n}", tasks(1), executor=worker, limits=DispatchResourceLimits(current_depth=4))
    assert worker.started == 0
    await dispatch_agents("{n}", tasks(1), executor=worker, limits=DispatchResourceLimits(current_depth=3))
    assert worker.started == 1


async def test_a_dispatch_inside_a_run_pays_from_its_budget() -> None:
    async def outer(_input: str) -> int:
        results = await dispatch_agents("{n}", tasks(3), executor=Worker(usd=1), limits=only())
        return len([result for result in results if result.success])

    group = motet.Group("g", [motet.FunctionAgent(outer, estimated_cost_nanos=0)], "first")
    async with motet.open_engine() as engine:
        result = await engine.run(group, "x")
    assert result.usage.cost_nanos >= 3 * 10**9
    assert [nested.name for nested in result["g"].outcomes[0].nested] == ["dispatch"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_total_cost_usd", -1),
        ("max_concurrent", 0),
        ("max_total_agents", -1),
        ("requests_per_second", 0),
        ("max_failure_rate", float("nan")),
        ("min_success_count", None),
        ("current_depth", -1),
        ("max_agent_duration_s", "long"),
        ("max_failure_rate", True),
    ],
)
def test_what_is_no_bound_is_refused_and_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        DispatchResourceLimits(**{field: value})
