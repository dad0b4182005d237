"""Dispatches of ToolWeaver's page on the engine: order, answers, tasks that are the same, failures, who answers."""

import json
import math
from typing import Any

import pytest
import trio

import motet
from motet.agents.model.defaults import set_default_model
from motet.agents.model.providers.prices import Price
from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.patterns.toolweaver import (
    AggregateFailed,
    DispatchResourceLimits,
    DispatchResults,
    SubAgentResult,
    dispatch_agents,
    forget_answers,
)

OPEN = DispatchResourceLimits(requests_per_second=None, max_failure_rate=None)
"""Nothing waits and no failure stops the rest."""


async def echo(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> dict[str, Any]:
    await trio.lowlevel.checkpoint()
    return {"prompt": prompt, "args": args, "agent": agent_name, "model": model}


class Counting:
    """Answers with how often it was asked."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.calls = 0
        self.seconds = seconds

    async def __call__(self, prompt: str, args: dict[str, Any], agent_name: str, model: str) -> Any:
        self.calls += 1
        number = self.calls
        await trio.sleep(self.seconds)
        return {"number": number, "model": model}


async def test_results_come_in_the_order_of_the_tasks(autojump_clock: trio.testing.MockClock) -> None:
    async def later_first(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> str:
        await trio.sleep(5 - args["n"])
        return prompt

    results = await dispatch_agents("task {n}", [{"n": n} for n in range(5)], executor=later_first)
    assert isinstance(results, DispatchResults)
    assert [result.output for result in results] == [f"task {n}" for n in range(5)]
    assert [result.duration_ms for result in results] == pytest.approx([5000, 4000, 3000, 2000, 1000])
    assert all(result.success and result.error is None for result in results)
    assert results.stats.concurrent_count == 5


async def test_the_executor_gets_prompt_arguments_agent_and_model() -> None:
    results = await dispatch_agents("Parse {text}", [{"text": "a"}], "parser", "sonnet", executor=echo)
    assert results[0].output == {"prompt": "Parse a", "args": {"text": "a"}, "agent": "parser", "model": "sonnet"}


async def test_what_an_executor_does_to_its_arguments_and_answer_is_its_own_affair() -> None:
    shared: dict[str, Any] = {"seen": []}

    async def mutate(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        args["items"].append("more")
        shared["seen"].append(args["items"])
        return shared

    task = {"items": ["one"]}
    first, second = await dispatch_agents("{items}", [task, {"items": ["two"]}], executor=mutate)
    first.output["seen"] = "changed"
    assert task == {"items": ["one"]}
    assert second.output["seen"][-1] == ["two", "more"]
    again = await dispatch_agents("{items}", [task], executor=mutate)
    assert again[0].output["seen"] != "changed"


async def test_tasks_that_are_the_same_are_asked_once_and_answered_again_at_once_and_for_nothing() -> None:
    executor = Counting(seconds=0.01)
    first = await dispatch_agents("{n}", [{"n": 1}] * 10, executor=executor)
    assert executor.calls == 1
    assert [result.output["number"] for result in first] == [1] * 10
    assert sum(result.cost for result in first) == pytest.approx(0.01)
    again = await dispatch_agents("{n}", [{"n": 1}], executor=executor)
    assert executor.calls == 1
    assert (again[0].duration_ms, again[0].cost, again[0].cached, again[0].success) == (0.0, 0.0, True, True)
    forget_answers()
    await dispatch_agents("{n}", [{"n": 1}], executor=executor)
    assert executor.calls == 2


async def test_another_model_executor_agent_or_template_is_another_task() -> None:
    executor = Counting()
    await dispatch_agents("{n}", [{"n": 1}], executor=executor)
    await dispatch_agents("{n}", [{"n": 1}], executor=executor, model="opus")
    await dispatch_agents("{n}", [{"n": 1}], executor=executor, agent_name="other")
    await dispatch_agents("n = {n}", [{"n": 1}], executor=executor)
    assert executor.calls == 4
    other = Counting()
    results = await dispatch_agents("{n}", [{"n": 1}], executor=other)
    assert (other.calls, results[0].output["number"]) == (1, 1)


async def test_another_provider_or_agent_of_the_same_name_is_another_task() -> None:
    for answer in ("one", "two"):
        provider = ScriptedProvider(default=answer)
        assert (await dispatch_agents("x", [{}], provider=provider))[0].output == answer
        assert (await dispatch_agents("x", [{}], provider=provider))[0].cached

        async def same(prompt: str, answer: str = answer) -> str:
            await trio.lowlevel.checkpoint()
            return answer

        assert (await dispatch_agents("x", [{}], agent=motet.FunctionAgent(same)))[0].output == answer


async def test_failures_are_asked_again_and_sameness_may_be_switched_off() -> None:
    calls = 0

    async def fails_once(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> str:
        nonlocal calls
        await trio.lowlevel.checkpoint()
        calls += 1
        if calls == 1:
            raise ValueError("no")
        return "ok"

    assert (await dispatch_agents("x", [{}], executor=fails_once))[0].error == "ValueError: no"
    assert (await dispatch_agents("x", [{}], executor=fails_once))[0].output == "ok"
    await dispatch_agents("x", [{}, {}], executor=fails_once, idempotent=False)
    assert calls == 4


async def test_answers_outlive_the_engine_of_one_dispatch_but_an_engine_that_is_given_keeps_its_own() -> None:
    executor = Counting()
    async with motet.open_engine() as engine:
        for _ in range(2):
            await dispatch_agents("x", [{}], executor=executor, engine=engine)
    assert executor.calls == 1
    await dispatch_agents("x", [{}], executor=executor)
    assert executor.calls == 2


async def test_arguments_without_a_json_form_reach_the_executor_as_copies() -> None:
    seen = []

    async def look(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> str:
        await trio.lowlevel.checkpoint()
        seen.append(args)
        return prompt

    task = {"when": {1, 2}, "n": 1}
    results = await dispatch_agents("{n}", [task, task], executor=look)
    assert [result.output for result in results] == ["1", "1"]
    assert seen == [task, task]
    assert seen[0] is not task
    assert seen[0]["when"] is not task["when"]


async def test_failures_and_timeouts_are_results_and_say_why(autojump_clock: trio.testing.MockClock) -> None:
    async def mixed(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> Any:
        if args["kind"] == "slow":
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        if args["kind"] == "odd":
            return object()
        raise motet.AgentError("unreadable", reason="BLURRED")

    tasks = [{"kind": "slow"}, {"kind": "odd"}, {"kind": "bad"}]
    slow, odd, bad = await dispatch_agents("{kind}", tasks, executor=mixed, timeout_per_agent=3, limits=OPEN)
    assert (slow.error, slow.reason, slow.success, slow.output) == ("timeout", "DEADLINE_EXCEEDED", False, None)
    assert slow.duration_ms == pytest.approx(3000)
    assert odd.reason == "OUTPUT_INVALID"
    assert (bad.error, bad.reason, bad.task_args) == ("unreadable", "BLURRED", {"kind": "bad"})


async def test_an_executor_that_is_not_async_fails_and_is_told_so() -> None:
    def blocking(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> Any:
        return prompt

    results = await dispatch_agents("x", [{}], executor=blocking)
    assert "async def" in results[0].error


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_aggregate_fn_makes_of_the_results_is_returned(is_async: bool) -> None:
    async def later(results: DispatchResults) -> int:
        await trio.lowlevel.checkpoint()
        return len(results)

    assert await dispatch_agents("x", [{}, {}], executor=echo, aggregate_fn=later if is_async else len) == 2
    assert await dispatch_agents("x", [], executor=echo, aggregate_fn=len) == 0


async def test_an_aggregate_fn_that_raises_loses_no_result() -> None:
    with pytest.raises(AggregateFailed, match="KeyError") as caught:
        await dispatch_agents("x", [{}], executor=echo, aggregate_fn=lambda results: results[0].output["nothing"])
    assert caught.value.results[0].success


async def test_without_an_executor_a_model_answers_and_its_true_cost_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    provider = ScriptedProvider(
        rules=[Rule(when_user="receipt 2", reply=Say("hm", delay=60))],
        default={"total": 3},
        price=Price(1.0, 1.0),
    )
    results = await dispatch_agents(
        "Read receipt {n}", [{"n": n} for n in range(3)], provider=provider, timeout_per_agent=5
    )
    assert [json.loads(result.output) if result.success else result.error for result in results] == [
        {"total": 3},
        {"total": 3},
        "timeout",
    ]
    assert {request.model for request in provider.requests} == {"haiku"}
    assert 0 < results[0].cost < 0.01
    assert provider.peak == 3


async def test_haiku_is_the_programs_default_model_where_it_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOTET_MODEL", raising=False)
    provider = ScriptedProvider(default="ok")
    try:
        set_default_model(provider, "usual")
        await dispatch_agents("x", [{}])
        await dispatch_agents("x", [{}], model="opus")
        set_default_model(provider)
        await dispatch_agents("y", [{}])
    finally:
        set_default_model(None)
    assert [request.model for request in provider.requests] == ["usual", "opus", "haiku"]


async def test_without_any_provider_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    set_default_model(None)
    with pytest.raises(motet.AgentError, match="provider") as caught:
        await dispatch_agents("x", [{}])
    assert caught.value.reason == "PROVIDER_MISSING"


async def test_any_agent_may_answer_with_the_arguments_as_variables() -> None:
    async def greet(prompt: str, name: str) -> str:
        await trio.lowlevel.checkpoint()
        return f"{prompt}! {name}"

    results = await dispatch_agents("Hello {name}", [{"name": "Ada"}], agent=motet.FunctionAgent(greet))
    assert results[0].output == "Hello Ada! Ada"


async def test_what_an_agent_cannot_be_given_is_refused() -> None:
    async def greet(prompt: str) -> str:
        await trio.lowlevel.checkpoint()
        return prompt

    with pytest.raises(ValueError, match=r"arguments\[1\]: .* JSON form"):
        await dispatch_agents("x", [{}, {"n": object()}], agent=motet.FunctionAgent(greet))


async def test_a_budget_of_an_agents_own_is_its_failure_and_ends_nothing() -> None:
    async def poor(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> str:
        await trio.lowlevel.checkpoint()
        raise motet.AgentError("my purse is empty", reason="BUDGET_EXCEEDED")

    results = await dispatch_agents("{n}", [{"n": 1}, {"n": 2}], executor=poor)
    assert [result.reason for result in results] == ["BUDGET_EXCEEDED"] * 2


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"template": 3}, "template"),
        ({"template": "{unknown}"}, r"template: for arguments\[0\] {unknown} is no argument"),
        ({"arguments": "abc"}, "arguments"),
        ({"arguments": {"n": 1}}, "arguments"),
        ({"arguments": [{"n": 1}, 3]}, r"arguments\[1\]"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"timeout_per_agent": -1}, "timeout_per_agent"),
        ({"agent_name": "two words"}, "agent_name"),
        ({"executor": 3}, "executor"),
        ({"provider": ScriptedProvider(default="x")}, "executor and provider"),
    ],
)
async def test_what_is_wrong_is_refused_before_anything_starts(options: dict[str, Any], field: str) -> None:
    executor = Counting()
    given: dict[str, Any] = {"template": "{n}", "arguments": [{"n": 1}], "executor": executor, **options}
    with pytest.raises(ValueError, match=f"^{field}"):
        await dispatch_agents(**given)
    assert executor.calls == 0


async def test_a_cancelled_dispatch_leaves_nothing_running(autojump_clock: trio.testing.MockClock) -> None:
    running = 0
    patience = math.inf

    async def hang(prompt: str, args: dict[str, Any], agent_name: str, model: str) -> str:
        nonlocal running
        running += 1
        try:
            await trio.sleep(patience)
        finally:
            running -= 1
        return "at last"

    with trio.move_on_after(1) as scope:
        await dispatch_agents("{n}", [{"n": n} for n in range(5)], executor=hang, timeout_per_agent=None)
    assert scope.cancelled_caught
    assert running == 0
    patience = 1
    assert (await dispatch_agents("{n}", [{"n": 0}], executor=hang))[0].output == "at last"


async def test_dispatches_at_the_same_time_ask_the_same_task_once(autojump_clock: trio.testing.MockClock) -> None:
    executor = Counting(seconds=1)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(dispatch_agents, "x", [{}], "default", "haiku", 10, 30, None, executor)
    assert executor.calls == 1


def test_answers_outlive_the_loop_of_one_program() -> None:
    executor = Counting()
    for _ in range(2):
        trio.run(dispatch_agents, "x", [{}], "default", "haiku", 10, 30, None, executor)
    assert executor.calls == 1


def test_results_are_values() -> None:
    result = SubAgentResult(task_args={"n": 1}, output="x", success=True)
    with pytest.raises(AttributeError):
        result.output = "y"  # type: ignore[misc]
