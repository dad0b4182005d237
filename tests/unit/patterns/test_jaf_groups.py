"""Groups of JAF's page on the engine: what counts as success, what a deadline leaves, what is refused."""

import json
from typing import Any

import pytest
import trio

import motet
from motet.patterns.jaf import (
    AgentToolInput,
    ParallelAgentGroup,
    ParallelExecutionConfig,
    ParallelTool,
    create_parallel_agents_tool,
    create_simple_parallel_tool,
)


def says(name: str, text: Any = None, *, after: float = 0.0, error: str = "", retryable: bool = False) -> Any:
    """An agent that answers, or fails, after some seconds."""

    async def answer(input: str) -> Any:
        await trio.sleep(after)
        if error:
            raise motet.AgentError(error, reason="BROKEN", retryable=retryable)
        return f"{name}: {input}" if text is None else text

    return motet.FunctionAgent(answer, name=name)


async def told(tool: ParallelTool, input: str = "x") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await tool.execute(AgentToolInput(input)))
    return found


async def group_of(*agents: Any, input: str = "x", **options: Any) -> dict[str, Any]:
    found = await told(create_parallel_agents_tool([ParallelAgentGroup("g", agents, **options)]), input)
    group: dict[str, Any] = found["parallel_execution_results"]["g"]
    return group


async def test_failures_are_failures_and_never_a_consensus() -> None:
    group = await group_of(
        says("a", error="no"), says("b", error="no"), says("c", after=0.001), result_aggregation="majority"
    )
    assert group["aggregated_result"]["error"] == "no_majority"
    assert group["individual_results"]["a"] == {"error": True, "message": "no", "type": "BROKEN"}


async def test_when_all_fail_the_answer_names_each_and_why() -> None:
    group = await group_of(says("a", error="no"), says("b", error="never"))
    assert group["aggregated_result"] == {
        "error": "no_successful_results",
        "message": "All agents failed",
        "attempted_agents": ["a", "b"],
        "failure_details": {
            "a": {"type": "BROKEN", "message": "no"},
            "b": {"type": "BROKEN", "message": "never"},
        },
    }


async def test_first_is_a_race_and_its_losers_are_stopped(autojump_clock: trio.testing.MockClock) -> None:
    begun = trio.current_time()
    group = await group_of(
        says("slow", after=600), says("fast", after=0.05), says("wrong", error="no"), result_aggregation="first"
    )
    assert trio.current_time() - begun < 1
    assert group["aggregated_result"] == "fast: x"
    assert group["individual_results"]["slow"]["cancelled"] is True


async def test_a_group_whose_time_is_over_keeps_what_had_finished(autojump_clock: trio.testing.MockClock) -> None:
    group = await group_of(says("fast", after=1), says("slow", after=60), timeout=5)
    assert group["error"] == "timeout"
    assert group["completed_agents"] == ["fast"]
    assert group["timed_out_agents"] == ["slow"]
    assert group["agent_count"] == 2
    assert group["individual_results"]["fast"] == {"success": True, "result": "fast: x"}
    assert group["individual_results"]["slow"]["type"] == "DEADLINE_EXCEEDED"
    assert group["aggregated_result"] == {"combined_results": ["fast: x"], "result_count": 1}
    assert group["execution_time_ms"] == pytest.approx(5000)


async def test_a_timeout_of_0_is_already_over() -> None:
    group = await group_of(says("a"), timeout=0)
    assert group["error"] == "timeout"
    assert group["completed_agents"] == []
    assert group["timed_out_agents"] == ["a"]
    assert group["aggregated_result"] is None


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
async def test_the_global_timeout_holds_when_a_program_calls_the_tool(
    mode: str, autojump_clock: trio.testing.MockClock
) -> None:
    groups = [ParallelAgentGroup("one", [says("a", after=1)]), ParallelAgentGroup("two", [says("b", after=60)])]
    begun = trio.current_time()
    found = await told(create_parallel_agents_tool(groups, inter_group_execution=mode, global_timeout=3))
    assert trio.current_time() - begun == pytest.approx(3)
    results = found["parallel_execution_results"]
    assert results["one"]["aggregated_result"]["combined_results"] == ["a: x"]
    assert results["two"]["error"] == "timeout"


async def test_a_group_that_fails_stops_no_other() -> None:
    groups = [ParallelAgentGroup("one", [says("a", error="no")]), ParallelAgentGroup("two", [says("b")])]
    results = (await told(create_parallel_agents_tool(groups)))["parallel_execution_results"]
    assert results["one"]["aggregated_result"]["error"] == "no_successful_results"
    assert results["two"]["aggregated_result"]["combined_results"] == ["b: x"]


async def test_agents_and_groups_of_one_name_are_kept_apart() -> None:
    twice = says("twin")
    groups = [ParallelAgentGroup("g", [twice, twice]), ParallelAgentGroup("g", [twice])]
    found = await told(create_parallel_agents_tool(groups))
    assert found["total_groups"] == 2
    assert list(found["parallel_execution_results"]) == ["g", "g_2"]
    assert list(found["parallel_execution_results"]["g"]["individual_results"]) == ["twin", "twin_2"]


async def test_custom_aggregators_may_be_async_and_are_asked_when_nobody_succeeded() -> None:
    async def count(results: list[str]) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        return {"count": len(results)}

    options: dict[str, Any] = {"result_aggregation": "custom", "custom_aggregator": count}
    assert (await group_of(says("a"), says("b"), **options))["aggregated_result"] == {"count": 2}
    assert (await group_of(says("a", error="no"), **options))["aggregated_result"] == {"count": 0}


async def test_custom_aggregators_get_texts_and_may_answer_none() -> None:
    seen: list[list[str]] = []

    def look(results: list[str]) -> None:
        seen.append(results)

    agents = (says("a", {"n": 1}), says("b", "text"), says("c", b"\xff"))
    group = await group_of(*agents, result_aggregation="custom", custom_aggregator=look)
    assert seen == [['{"n":1}', "text", "\ufffd"]]
    assert group["aggregated_result"] is None
    assert group["individual_results"]["a"]["result"] == {"n": 1}
    assert group["individual_results"]["c"]["result"] == "/w=="


@pytest.mark.parametrize("answer", [lambda _results: 1 / 0, lambda _results: object()])
async def test_an_aggregator_that_fails_loses_no_result(answer: Any) -> None:
    group = await group_of(says("a"), result_aggregation="custom", custom_aggregator=answer)
    assert group["aggregated_result"]["error"] == "custom_aggregation_failed"
    assert group["individual_results"]["a"]["success"] is True


async def test_agents_may_get_inputs_of_their_own() -> None:
    agents = (says("a"), says("a"), says("b"), says("c"))
    own = json.dumps({"a": "first", "a_2": "second", "b": {"n": 1}})
    group = await group_of(*agents, shared_input=False, input=own)
    results = {name: each["result"] for name, each in group["individual_results"].items()}
    assert results["a"] == "a: first"
    assert results["a_2"] == "a: second"
    assert results["b"] == 'b: {"n":1}'
    assert results["c"] == f"c: {own}"
    shared = await group_of(says("a"), shared_input=False, input="plain")
    assert shared["individual_results"]["a"]["result"] == "a: plain"


async def test_without_own_inputs_json_is_given_to_all_as_it_is() -> None:
    group = await group_of(says("a"), input='{"a": "mine"}')
    assert group["individual_results"]["a"]["result"] == 'a: {"a": "mine"}'


async def test_width_of_a_group_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    begun = trio.current_time()
    await group_of(*(says(f"a{n}", after=1) for n in range(6)), max_parallel=2)
    assert trio.current_time() - begun == pytest.approx(3)


async def test_retries_are_made_of_failures_that_may_pass(autojump_clock: trio.testing.MockClock) -> None:
    calls: list[str] = []

    def flaky(name: str, *, retryable: bool) -> Any:
        async def answer(input: str) -> str:
            await trio.lowlevel.checkpoint()
            calls.append(name)
            if calls.count(name) == 1:
                raise motet.AgentError("later", reason="BUSY", retryable=retryable)
            return "ok"

        return motet.FunctionAgent(answer, name=name)

    config = ParallelExecutionConfig(
        [ParallelAgentGroup("g", [flaky("passing", retryable=True), flaky("lasting", retryable=False)])], max_retries=2
    )
    results = (await told(create_parallel_agents_tool(config)))["parallel_execution_results"]["g"]
    assert results["aggregated_result"]["combined_results"] == ["ok"]
    assert (calls.count("passing"), calls.count("lasting")) == (2, 1)


async def test_the_fallback_asks_one_after_another_in_the_time_that_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    running = peak = 0

    async def crowded(input: str) -> str:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        try:
            await trio.sleep(1)
            if running > 1:
                raise motet.AgentError("too many at once", reason="CROWDED")
            return "ok"
        finally:
            running -= 1

    agents = [motet.FunctionAgent(crowded, name=name) for name in ("a", "b")]
    groups = [ParallelAgentGroup("g", agents, result_aggregation="majority"), ParallelAgentGroup("h", [says("fine")])]
    found = await told(create_parallel_agents_tool(groups, fallback_to_auto=True, global_timeout=2.5))
    group = found["parallel_execution_results"]["g"]
    assert group["fallback"]["because"]["type"] == "NO_SUCCESSFUL_RESULTS"
    assert group["error"] == "timeout"
    assert group["completed_agents"] == ["a"]
    assert "fallback" not in found["parallel_execution_results"]["h"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"result_aggregation": "best"}, "result_aggregation"),
        ({"result_aggregation": "custom"}, "custom_aggregator"),
        ({"custom_aggregator": len}, "custom_aggregator"),
        ({"result_aggregation": "custom", "custom_aggregator": 3}, "custom_aggregator"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"agents": []}, "agents"),
        ({"agents": "abc"}, "agents"),
        ({"agents": [len]}, r"agents\[0\]"),
        ({"name": "two words"}, "name"),
    ],
)
def test_a_wrong_group_is_refused_and_the_field_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"{field}: "):
        ParallelAgentGroup(**{"name": "g", "agents": [says("a")], **options})


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"groups": []}, "groups"),
        ({"groups": ["g"]}, r"groups\[0\]"),
        ({"inter_group_execution": "mixed"}, "inter_group_execution"),
        ({"global_timeout": -1}, "global_timeout"),
        ({"max_retries": -1}, "max_retries"),
    ],
)
def test_a_wrong_configuration_is_refused_and_the_field_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        ParallelExecutionConfig(**{"groups": [ParallelAgentGroup("g", [says("a")])], **options})


def test_a_wrong_name_of_a_tool_and_options_said_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot name a tool"):
        create_simple_parallel_tool([says("a")], tool_name="two words")
    config = ParallelExecutionConfig([ParallelAgentGroup("g", [says("a")])])
    with pytest.raises(ValueError, match="say there how it runs"):
        create_parallel_agents_tool(config, global_timeout=3)


async def test_arguments_that_are_none_are_refused() -> None:
    tool = create_simple_parallel_tool([says("a")])
    with pytest.raises(ValueError, match="args: "):
        await tool.execute({"question": "x"})
    assert json.loads(await tool.execute({"input": "x"}))["total_groups"] == 1
