"""What the rows for JAF in docs/guides/coming-from.md say, done: one function for each row."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock as Clock

import motet
from motet import ModelAgent, Sampling, Say, ScriptedProvider, as_tool
from motet.patterns import (
    Agent,
    AgentToolInput,
    Message,
    ParallelAgentGroup,
    ParallelExecutionConfig,
    ParallelTool,
    RunConfig,
    RunState,
    create_domain_experts_tool,
    create_language_specialists_tool,
    create_parallel_agents_tool,
    create_simple_parallel_tool,
)
from motet.patterns import run as run_state
from motet.testing import ScriptedAgent


def ok(name: str = "ok", delay: float = 0.0) -> ScriptedAgent:
    return ScriptedAgent(name, reply=f"{name} says yes", delay=delay)


def bad(name: str = "bad", delay: float = 0.0) -> ScriptedAgent:
    return ScriptedAgent(name, error=RuntimeError("broken"), delay=delay)


def hangs(name: str = "slow") -> ScriptedAgent:
    return ScriptedAgent(name, delay=math.inf)


async def told(tool: ParallelTool, input: str = "question") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await tool.execute(AgentToolInput(input=input), {}))
    return found


async def group_told(agents: Sequence[motet.Agent], **options: Any) -> dict[str, Any]:
    tool = create_parallel_agents_tool([ParallelAgentGroup("g", agents, **options)])
    found: dict[str, Any] = (await told(tool))["parallel_execution_results"]["g"]
    return found


async def run(
    members: Sequence[Any], rule: str = "combine", input: object = "question", **options: Any
) -> motet.RunResult:
    async with motet.open_engine() as engine:
        return await engine.run(motet.Group("g", members, rule, **options), input)


async def test_jaf_group() -> None:
    said = await group_told([ok("one"), ok("two")], metadata={"topic": "water"})
    assert said["metadata"] == {"topic": "water"}
    assert list(said["individual_results"]) == ["one", "two"]


async def test_jaf_shared_input() -> None:
    echo = [ScriptedAgent(name, reply=lambda call: call.text) for name in ("one", "two")]
    tool = create_simple_parallel_tool(echo, shared_input=False)
    results = (await told(tool, '{"one": "uno"}'))["parallel_execution_results"]["parallel_group"]
    assert results["individual_results"]["one"]["result"] == "uno"
    assert results["individual_results"]["two"]["result"] == '{"one": "uno"}'


async def test_jaf_config(autojump_clock: Clock) -> None:
    for mode, seconds in (("sequential", 2), ("parallel", 1)):
        groups = [ParallelAgentGroup(name, [ok(delay=1)]) for name in ("a", "b")]
        begun = trio.current_time()
        said = await told(ParallelTool(ParallelExecutionConfig(groups, inter_group_execution=mode), "both"))
        assert trio.current_time() - begun == pytest.approx(seconds, abs=0.1)
        assert said["execution_mode"] == mode


async def test_jaf_envelope() -> None:
    said = await told(create_parallel_agents_tool([ParallelAgentGroup("g", [ok(), bad()])]))
    group = said["parallel_execution_results"]["g"]
    assert (said["execution_mode"], said["total_groups"]) == ("sequential", 1)
    assert group["individual_results"]["ok"] == {"success": True, "result": "ok says yes"}
    assert group["individual_results"]["bad"]["error"] is True
    assert (group["group_name"], group["agent_count"]) == ("g", 2)
    assert group["execution_time_ms"] >= 0


async def test_jaf_combine(autojump_clock: Clock) -> None:
    said = await group_told([ok("late", 1), ok("early")])
    assert said["aggregated_result"] == {"combined_results": ["late says yes", "early says yes"], "result_count": 2}


async def test_jaf_first(autojump_clock: Clock) -> None:
    slow = ok("slow", 60)
    said = await group_told([slow, bad(), ok("fast", 1)], result_aggregation="first")
    assert said["aggregated_result"] == "fast says yes"
    assert trio.current_time() < 2
    assert slow.cancelled == 1


async def test_jaf_majority(autojump_clock: Clock) -> None:
    said = await group_told([ok("one"), ok("two"), bad()], result_aggregation="majority")
    assert said["aggregated_result"] == "one says yes"
    said = await group_told([ok("one"), bad("b1", 1), bad("b2", 1)], result_aggregation="majority")
    assert said["aggregated_result"]["error"] == "no_majority"


async def test_jaf_custom() -> None:
    def count(texts: list[str]) -> int:
        return len(texts)

    assert (await group_told([ok()], result_aggregation="custom", custom_aggregator=count))["aggregated_result"] == 1
    assert (await group_told([bad()], result_aggregation="custom", custom_aggregator=count))["aggregated_result"] == 0


async def test_jaf_failures(autojump_clock: Clock) -> None:
    late = await group_told([ok(), hangs()], timeout=1)
    assert (late["error"], late["completed_agents"], late["timed_out_agents"]) == ("timeout", ["ok"], ["slow"])
    failed = (await group_told([bad()]))["aggregated_result"]
    assert (failed["error"], failed["attempted_agents"]) == ("no_successful_results", ["bad"])
    assert failed["failure_details"]["bad"]["type"] == "AGENT_FAILED"


async def test_jaf_helpers() -> None:
    (languages,) = create_language_specialists_tool({"es": ok("es"), "fr": ok("fr")}).config.groups
    assert (languages.timeout, languages.metadata) == (30, {"languages": ["es", "fr"]})
    assert create_domain_experts_tool({"law": ok("law")}).config.groups[0].timeout == 60
    simple = create_simple_parallel_tool([ok()], metadata={"topic": "water"})
    assert simple.config.groups[0].metadata == {"topic": "water"}
    assert (simple.name, list(simple.config.named())) == ("execute_parallel_agents", ["parallel_group"])


async def test_jaf_agent_tool() -> None:
    helper = as_tool(
        ok("helper"),
        name="run_helper",
        description="Helps.",
        timeout=5,
        output=lambda outcome: f"<{outcome.output.text}>",
        enabled=lambda call: call.text != "alone",
    )
    provider = ScriptedProvider(replies=[[("run_helper", {"input": "x"})], "done", "no tools here"])
    agent = ModelAgent("asker", provider=provider, model="any", tools=[helper])
    assert (await run([agent], "first")).unwrap() == "done"
    assert provider.requests[1].messages[-1].text == "<helper says yes>"
    await run([agent], "first", "alone")
    assert provider.requests[2].tools == ()


async def test_jaf_tool_statuses(autojump_clock: Clock) -> None:
    async def add(left: int, right: int) -> int:
        await trio.sleep(1)
        return left + right

    async def sleepy() -> str:
        await trio.sleep(60)
        return "awake"

    async def broken() -> str:
        raise RuntimeError("broken")

    calls: list[tuple[str, dict[str, object]]] = [
        ("add", {"left": 1, "right": 2}),
        ("add", {"left": "x"}),
        ("nobody", {}),
        ("sleepy", {}),
        ("broken", {}),
    ]
    provider = ScriptedProvider(replies=[calls, "done"])
    agent = ModelAgent("a", provider=provider, model="any", tools=[add, sleepy, broken], tool_timeout=2)
    outcome = (await run([agent]))["g"]["a"]
    statuses = [use["status"] for use in outcome.metadata["tools"]]
    assert statuses == ["executed", "validation_error", "tool_not_found", "timed_out", "failed"]
    assert trio.current_time() < 4


async def test_jaf_run_loop() -> None:
    provider = ScriptedProvider(
        replies=[[("transfer_to_expert", {})], '{"value": 42}'], default=[("transfer_to_expert", {})]
    )
    expert = ModelAgent("expert", provider=provider, model="any", output_type=int)
    desk = ModelAgent("desk", provider=provider, model="any", handoffs=[expert])
    outcome = (await run([desk]))["g"]["desk"]
    assert outcome.output.value == 42
    assert outcome.metadata["handoffs"] == ["expert"]
    looping = ModelAgent("loop", provider=provider, model="any", tools=[ok("transfer_to_expert")], max_turns=2)
    assert (await run([looping]))["g"]["loop"].failure.reason == "MAX_TURNS"
    state = RunState("r", "t", [Message("user", "question")], "desk")
    config = RunConfig(
        agent_registry={"desk": Agent("desk", model="any")}, model_provider=ScriptedProvider(default="yes")
    )
    assert (await run_state(state, config)).final_state.messages[-1].content == "yes"


async def test_jaf_events() -> None:
    provider = ScriptedProvider(replies=[[("ok", {"input": "x"})], Say("one two", pieces=2)])
    agent = ModelAgent("asker", provider=provider, model="any", tools=[ok()])
    async with motet.open_engine() as engine, engine.stream(motet.Group("g", [agent]), "question") as stream:
        events = [event async for event in stream]
    groups = [event.group for event in events if isinstance(event.detail, motet.GroupStarted)]
    assert groups == ["g", "turn_1", "tools_1", "turn_2"]
    started = [event for event in events if isinstance(event.detail, motet.MemberStarted)]
    assert len(started) == len([event for event in events if isinstance(event.detail, motet.MemberEnded)]) == 4
    assert isinstance(events[-1].detail, motet.RunEnded)


async def test_jaf_tool_control(autojump_clock: Clock) -> None:
    tool = ok("look", 1)
    calls = [("look", {"input": str(n)}) for n in range(4)]
    provider = ScriptedProvider(replies=[calls, "done"])
    agent = ModelAgent("a", provider=provider, model="any", tools=[tool], max_parallel_tools=2, tool_timeout=5)
    assert (await run([agent], "first")).unwrap() == "done"
    assert tool.peak == 2


async def test_jaf_coordination() -> None:
    last = motet.Group("last", [ScriptedAgent("c", reply=lambda call: call.text)], "first")
    plan = motet.Sequence([motet.Group("both", [ok("a"), ok("b")], "merge"), last], feed_forward=True)
    async with motet.open_engine() as engine:
        result = await engine.run(plan, "question")
    assert "a says yes" in str(result.unwrap())
    assert "b says yes" in str(result.unwrap())


async def test_jaf_empty_answer() -> None:
    provider = ScriptedProvider(replies=["", "here it is"])
    assert (await run([ModelAgent("a", provider=provider, model="any")], "first")).unwrap() == "here it is"


async def test_jaf_forced_tools() -> None:
    provider = ScriptedProvider(replies=[[("ok", {"input": "x"})], "done"])
    forced = Sampling(tool_choice="ok")
    agent = ModelAgent("a", provider=provider, model="any", tools=[ok()], sampling=forced)
    assert (await run([agent], "first")).unwrap() == "done"
    assert [request.sampling.tool_choice for request in provider.requests] == ["ok", ""]


async def test_jaf_hooks() -> None:
    heard: list[str] = []

    def watch(run_id: str, event: motet.Event) -> None:
        if isinstance(event.detail, motet.MemberStarted | motet.MemberEnded):
            heard.append(f"{type(event.detail).__name__} {event.group}")

    agent = ModelAgent("a", provider=ScriptedProvider(default="yes"), model="any")
    async with motet.open_engine(observers=[watch]) as engine:
        await engine.run(motet.Group("g", [agent]), "question")
    assert heard == ["MemberStarted g", "MemberStarted turn_1", "MemberEnded turn_1", "MemberEnded g"]
