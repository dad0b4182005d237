"""What the rows for ToolWeaver in docs/guides/coming-from.md say, done: one function for each row."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock as Clock

import motet
from motet.model.usage import Usage
from motet.patterns import (
    DispatchQuotaExceeded,
    DispatchResourceLimits,
    best_result,
    collect_all,
    dispatch_agents,
    forget_answers,
    majority_vote,
    rank_by_metric,
)
from motet.patterns.toolweaver import AggregateFailed
from motet.testing import AttemptScript, ScriptedAgent, check_run

FREE = DispatchResourceLimits(requests_per_second=None, max_failure_rate=None)


@pytest.fixture(autouse=True)
def _nothing_answered_before() -> None:
    forget_answers()


class Executor:
    """Answers with the prompt and counts."""

    def __init__(self, seconds: float = 0.0, cost_usd: float | None = None, fails: Sequence[int] = ()) -> None:
        self.seconds = seconds
        self.cost_usd = cost_usd
        self.fails = set(fails)
        self.prompts: list[str] = []

    async def __call__(self, prompt: str, args: dict[str, Any], agent_name: str, model: str) -> object:
        number = len(self.prompts)
        self.prompts.append(prompt)
        await trio.sleep(self.seconds)
        if number in self.fails:
            raise RuntimeError("broken")
        if self.cost_usd is None:
            return {"said": prompt, "model": model}
        nanos = round(self.cost_usd * 1e9)
        return motet.Reply(motet.Payload.of(prompt), Usage(calls=1, cost_nanos=nanos))


def tasks(count: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in range(count)]


async def run(members: Sequence[Any], rule: Any = "combine", **options: Any) -> motet.RunResult:
    group = motet.Group("g", members, rule, **options)
    async with motet.open_engine() as engine, engine.stream(group, "question") as stream:
        events = [event async for event in stream]
    check_run(events, stream.result, plan=group)
    return stream.result


def says(name: str, value: object, **options: Any) -> ScriptedAgent:
    return ScriptedAgent(name, reply=value, **options)


# ------------------------------------------------------------------------------------------------------------ features


async def test_tw_dispatch(autojump_clock: Clock) -> None:
    results = await dispatch_agents("Task {n}", tasks(3), max_parallel=3, executor=Executor(1), limits=FREE)
    assert [(each.task_args, each.success) for each in results] == [({"n": n}, True) for n in range(3)]
    assert results[1].output["said"] == "Task 1"
    assert trio.current_time() == pytest.approx(1, abs=0.1)
    (late,) = await dispatch_agents("Wait {n}", tasks(1), timeout_per_agent=1, executor=Executor(60), limits=FREE)
    assert (late.success, late.error) == (False, "timeout")
    with pytest.raises(ValueError, match="max_parallel"):
        await dispatch_agents("Task {n}", tasks(1), max_parallel=0, executor=Executor())


async def test_tw_limits() -> None:
    limits = DispatchResourceLimits()
    assert (limits.max_total_cost_usd, limits.cost_per_agent_estimate) == (5.0, 0.01)
    assert (limits.max_concurrent, limits.max_total_agents, limits.min_success_count) == (10, 100, 0)
    assert (limits.max_agent_duration_s, limits.max_total_duration_s) == (300, 600)
    assert (limits.requests_per_second, limits.max_failure_rate, limits.max_dispatch_depth) == (10, 0.3, 3)
    executor = Executor()
    with pytest.raises(DispatchQuotaExceeded, match="101 agents"):
        await dispatch_agents("Task {n}", tasks(101), executor=executor)
    assert executor.prompts == []


async def test_tw_stats(autojump_clock: Clock) -> None:
    results = await dispatch_agents("Task {n}", tasks(4), executor=Executor(1, 0.5, fails=[3]), limits=FREE)
    stats = results.stats
    assert (stats.total_agents, stats.completed_agents, stats.failed_agents) == (4, 3, 1)
    assert (stats.concurrent_count, stats.failure_rate) == (4, 0.25)
    assert stats.elapsed_seconds == pytest.approx(1, abs=0.1)
    assert stats.total_cost_usd == pytest.approx(1.51)


async def test_tw_rate(autojump_clock: Clock) -> None:
    limits = DispatchResourceLimits(requests_per_second=2, max_concurrent=None)
    results = await dispatch_agents(
        "Task {n}", tasks(10), max_parallel=10, timeout_per_agent=1, executor=Executor(), limits=limits
    )
    assert all(each.success for each in results)
    assert trio.current_time() == pytest.approx((10 - 4) / 2, abs=0.6)


async def test_tw_idempotency() -> None:
    executor = Executor(cost_usd=0.5)
    (first,) = await dispatch_agents("Task {n}", tasks(1), executor=executor)
    (again,) = await dispatch_agents("Task {n}", tasks(1), executor=executor)
    assert (first.cost, first.cached) == (0.5, False)
    assert (again.output, again.cost, again.duration_ms, again.cached) == (first.output, 0.0, 0.0, True)
    assert len(executor.prompts) == 1


async def test_tw_safety() -> None:
    executor = Executor()
    await dispatch_agents('Act as a poet.\n\n{"key": "{n}"}', tasks(1), executor=executor)
    assert executor.prompts == ['Act as a poet.\n\n{"key": "0"}']


async def test_tw_collect_all() -> None:
    results = await dispatch_agents("Task {n}", tasks(2), executor=Executor(fails=[0]), aggregate_fn=collect_all)
    assert sorted(each.success for each in results) == [False, True]


def test_tw_majority_vote() -> None:
    assert majority_vote([{"label": "a"}, {"label": "b"}, {"label": "b"}], "label") == "b"
    assert majority_vote([{"tags": [1]}, {"tags": [1]}, {"tags": []}], "tags") == [1]
    assert majority_vote([{"label": "first"}, {"label": "second"}], "label") == "first"
    assert majority_vote([], "label") is None


def test_tw_rank_by_metric() -> None:
    results = [{"s": 1}, {"s": None}, {"s": 3}, {}]
    assert rank_by_metric(results, "s") == [{"s": 3}, {"s": 1}, {"s": None}, {}]
    assert rank_by_metric(results, "s", reverse=False) == [{"s": 1}, {"s": 3}, {"s": None}, {}]


async def test_tw_best_result() -> None:
    results = await dispatch_agents("{n}", tasks(3), executor=Executor(fails=[1]), limits=FREE)
    assert best_result(results, lambda each: len(each.output["said"])) is not None
    assert best_result([], len) is None


async def test_tw_vote() -> None:
    members = [says("a", {"label": "x"}, weight=2), says("b", {"label": "y"}), says("c", {"label": "x"})]
    rule = motet.Aggregation("vote", {"field": "/label"}, early_stop=False)
    answer = (await run(members, rule)).unwrap()
    assert (answer["answer"], answer["votes"], answer["total_agents"]) == ("x", {"x": 2, "y": 1}, 3)
    seats = [motet.Member(members[1], weight=5), members[0], members[2]]
    answer = (await run(seats, rule)).unwrap()
    assert answer["answer"] == "y"
    assert answer["weighted_scores"]["y"] == 5


async def test_tw_best_of_n() -> None:
    members = [says("a", {"done": 0.2, "sure": 1}), says("b", {"done": 0.9, "sure": 0.8})]
    criteria = [{"name": "done", "field": "/done", "weight": 0.7}, {"name": "sure", "field": "/sure", "weight": 0.3}]
    answer = (await run(members, motet.Aggregation("best", {"criteria": criteria}))).unwrap()
    assert answer["member"] == "b"


async def test_tw_numbers() -> None:
    answer = (await run([says("a", 1), says("b", 2), says("c", 9), says("d", "many")], "ensemble")).unwrap()
    assert (answer["mean"], answer["median"], answer["min"], answer["max"], answer["count"]) == (4, 2, 1, 9, 3)


async def test_tw_merge() -> None:
    members = [says("a", "x" * 2000), says("b", "short")]
    rule = motet.Aggregation("merge", {"max_length": 500})
    merged = str((await run(members, rule)).unwrap())
    assert "short" in merged
    assert "x" * 600 not in merged


async def test_tw_conflicts() -> None:
    rule = motet.Aggregation("vote", early_stop=False)
    agreed = (await run([says("a", "x"), says("b", "x")], rule)).unwrap()
    assert (agreed["unanimous"], agreed["has_conflict"], agreed["answer"]) == (True, False, "x")
    split = (await run([says("a", "x"), says("b", "y")], rule)).unwrap()
    assert (split["unanimous"], split["has_conflict"]) == (False, True)


async def test_tw_tiebreak() -> None:
    rule = motet.Aggregation("vote", {"ties": "tiebreaker", "tiebreaker": says("judge", "y")})
    assert (await run([says("a", "x"), says("b", "y")], rule)).unwrap()["answer"] == "y"


async def test_tw_fallback_agent() -> None:
    async def fallback(outcomes: list[motet.Outcome]) -> str:
        await trio.lowlevel.checkpoint()
        return "nobody knew" if not any(outcome.succeeded for outcome in outcomes) else "known"

    members = [ScriptedAgent("a", error=RuntimeError("broken"))]
    assert (await run(members, motet.Aggregation("custom", {"function": fallback}))).unwrap() == "nobody knew"


async def test_tw_outliers() -> None:
    members = [says(f"m{n}", value) for n, value in enumerate([10, 11, 9, 500])]
    answer = (await run(members, motet.Aggregation("ensemble", {"outliers": "mad"}))).unwrap()
    assert answer["max"] == 11


async def test_tw_delegation(autojump_clock: Clock) -> None:
    passing = motet.AgentError("busy", retryable=True, retry_after=2)
    agent = ScriptedAgent("a", attempts=[passing, AttemptScript(reply="at last")])
    retry = motet.RetryPolicy(max_attempts=3)
    outcome = (await run([agent], retry=retry))["g"]["a"]
    assert (outcome.output.text, outcome.attempts) == ("at last", 2)
    assert trio.current_time() >= 2


# ---------------------------------------------------------------------------------------------- what failed, and holds here


async def test_tw_discovery() -> None:
    catalog = motet.Catalog()
    catalog.agent(_translate, name="french", labels={"skill": "translate"})
    catalog.agent(_translate, name="sums", labels={"skill": "add"})
    able = [agent for agent in catalog.agents.values() if agent.info.labels.get("skill") == "translate"]
    async with motet.open_engine(catalog) as engine:
        result = await engine.run(motet.Group("g", able), "bread")
    assert [outcome.agent for outcome in result["g"].outcomes] == ["french"]


async def _translate(text: str) -> str:
    return text


async def test_tw_budget() -> None:
    executor = Executor(cost_usd=2.0)
    limits = DispatchResourceLimits(max_total_cost_usd=5, cost_per_agent_estimate=2, requests_per_second=None)
    with pytest.raises(DispatchQuotaExceeded) as caught:
        await dispatch_agents("Task {n}", tasks(100), executor=executor, limits=limits)
    assert len(executor.prompts) == 2
    kept = [each for each in caught.value.results if each.success]
    assert len(kept) == 2
    assert caught.value.results.stats.total_cost_usd == pytest.approx(4)


async def test_tw_failure_rate(autojump_clock: Clock) -> None:
    executor = Executor(1, fails=range(100))
    limits = DispatchResourceLimits(requests_per_second=None)
    with pytest.raises(DispatchQuotaExceeded) as caught:
        await dispatch_agents("Task {n}", tasks(50), max_parallel=5, executor=executor, limits=limits)
    assert caught.value.reason == "FAILURE_RATE_EXCEEDED"
    started = len(executor.prompts)
    assert started <= 10
    await trio.sleep(5)
    assert len(executor.prompts) == started
    assert len(caught.value.results) == 50


async def test_tw_durations(autojump_clock: Clock) -> None:
    limits = DispatchResourceLimits(max_total_duration_s=0.5, requests_per_second=None)
    with pytest.raises(DispatchQuotaExceeded) as caught:
        await dispatch_agents("Task {n}", tasks(2), max_parallel=1, executor=Executor(0.4), limits=limits)
    assert trio.current_time() == pytest.approx(0.5, abs=0.1)
    assert [each.success for each in caught.value.results] == [True, False]


async def test_tw_depth() -> None:
    reached = []

    async def deeper(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> str:
        reached.append(args["n"])
        await dispatch_agents("Task {n}", [{"n": args["n"] + 1}], executor=deeper)
        return "done"

    await dispatch_agents("Task {n}", tasks(1), executor=deeper)
    assert reached == [0, 1, 2, 3]


async def test_tw_single_flight(autojump_clock: Clock) -> None:
    executor = Executor(1)
    results = await dispatch_agents("Same", tasks(1) * 10, executor=executor, limits=FREE)
    assert (len(executor.prompts), len(results)) == (1, 10)
    results[0].output["said"] = "changed"
    assert results[1].output["said"] == "Same"
    (other,) = await dispatch_agents("Same", tasks(1), executor=executor, model="another", limits=FREE)
    assert other.output["model"] == "another"
    assert len(executor.prompts) == 2


async def test_tw_unserialisable() -> None:
    (result,) = await dispatch_agents("Task", [{"thing": object()}], executor=Executor())
    assert result.success


async def test_tw_waiting(autojump_clock: Clock) -> None:
    await dispatch_agents("Task {n}", tasks(50), executor=Executor(0.005), limits=FREE)
    assert trio.current_time() == pytest.approx(0.025, abs=0.005)


async def test_tw_aggregate_errors() -> None:
    async def count(results: Sequence[object]) -> Any:
        await trio.lowlevel.checkpoint()
        return len(results)

    def broken(results: Sequence[object]) -> object:
        raise KeyError("no")

    counted: Any = await dispatch_agents("Task {n}", tasks(3), executor=Executor(), aggregate_fn=count)
    assert counted == 3
    with pytest.raises(AggregateFailed) as caught:
        await dispatch_agents("Task {n}", tasks(3), executor=Executor(), aggregate_fn=broken)
    assert [each.success for each in caught.value.results] == [True] * 3


async def test_tw_braces() -> None:
    executor = Executor()
    await dispatch_agents('Answer as {"a": {"b": "{n}"}} or {{n}}', tasks(1), executor=executor)
    assert executor.prompts == ['Answer as {"a": {"b": "0"}} or {n}']
    with pytest.raises(ValueError, match="no argument"):
        await dispatch_agents("{missing}", tasks(1), executor=executor)


async def test_tw_circuit(autojump_clock: Clock) -> None:
    breaker = motet.Breaker(failures=2, cooldown=30)
    broken = ScriptedAgent("broken", error=motet.AgentError("down"), breaker=breaker)
    fine = ScriptedAgent("fine")
    members = [motet.Member(broken, replicas=4), motet.Member(fine, replicas=4)]
    result = await run(members, max_parallel=1)
    reasons = [outcome.failure.reason for outcome in result["g"].outcomes[:4]]
    assert reasons == ["AGENT_FAILED", "AGENT_FAILED", "CIRCUIT_OPEN", "CIRCUIT_OPEN"]
    assert len(fine.calls) == 4


async def test_tw_key_reused() -> None:
    keyed = motet.Idempotency(key="mine")
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("g", [ScriptedAgent("a")], idempotency=keyed), "one")
        result = await engine.run(motet.Group("g", [ScriptedAgent("a")], idempotency=keyed), "two")
    assert result["g"]["a"].failure.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_tw_timeout_zero() -> None:
    executor = Executor(math.inf)
    (result,) = await dispatch_agents("Task {n}", tasks(1), timeout_per_agent=0, executor=executor, limits=FREE)
    assert (result.success, executor.prompts) == (False, [])


def test_tw_docs() -> None:
    guides = sorted((Path(__file__).parents[2] / "docs" / "guides").glob("*.md"))
    programs = [
        code
        for guide in guides
        for code in re.findall(r"^```python\n(.*?)^```", guide.read_text(), re.MULTILINE | re.DOTALL)
    ]
    assert len(programs) > 10
    for code in programs:
        compile(code, "page", "exec")
