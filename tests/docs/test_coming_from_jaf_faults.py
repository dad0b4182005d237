"""What the rows for JAF's faults in docs/guides/coming-from.md say, done: one function for each row."""

import json
import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock as Clock

import motet
from motet import Guardrail, ModelAgent, ModelState, Sampling, Say, ScriptedProvider, State, guardrail
from motet.patterns import (
    Agent,
    AgentToolInput,
    ParallelAgentGroup,
    ParallelTool,
    create_parallel_agents_tool,
    create_simple_parallel_tool,
)
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


async def test_jaf_error_text(autojump_clock: Clock) -> None:
    said = await group_told([bad("one", 1), bad("two", 1), ok()], result_aggregation="majority")
    assert said["aggregated_result"]["error"] == "no_majority"
    assert "success" not in said["individual_results"]["one"]


async def test_jaf_late(autojump_clock: Clock) -> None:
    said = await group_told([ok(), hangs()], timeout=1)
    assert said["aggregated_result"]["combined_results"] == ["ok says yes"]
    assert trio.current_time() < 2


async def test_jaf_blocking() -> None:
    release = threading.Event()

    def blocks() -> None:
        release.wait(30)

    async with motet.open_engine(stop_grace=0.05) as engine:
        group = motet.Group("g", [motet.agent(blocks, stop_grace=0.01)], timeout=0.05)  # type: ignore[call-overload]
        try:
            outcome = (await engine.run(group, ""))["g"]["blocks"]
        finally:
            release.set()
    assert outcome.state is State.TIMED_OUT
    assert outcome.stop.kind is motet.StopKind.DETACHED


async def test_jaf_duplicates() -> None:
    agent = ok()
    said = await group_told([agent, agent, agent], result_aggregation="majority")
    assert list(said["individual_results"]) == ["ok", "ok_2", "ok_3"]
    groups = [ParallelAgentGroup("same", [ok()]), ParallelAgentGroup("same", [ok()])]
    assert list((await told(create_parallel_agents_tool(groups)))["parallel_execution_results"]) == ["same", "same_2"]


async def test_jaf_own_agent() -> None:
    catalog = motet.Catalog()
    catalog.add(ScriptedAgent("ok", reply="the registry's"))
    async with motet.open_engine(catalog) as engine:
        tool = create_simple_parallel_tool([ok()], engine=engine)
        assert "ok says yes" in await tool.execute(AgentToolInput(input="x"), {})


async def test_jaf_global_timeout(autojump_clock: Clock) -> None:
    groups = [ParallelAgentGroup("quick", [ok()]), ParallelAgentGroup("slow", [hangs()])]
    said = (await told(create_parallel_agents_tool(groups, global_timeout=1)))["parallel_execution_results"]
    assert said["quick"]["aggregated_result"]["result_count"] == 1
    assert said["slow"]["error"] == "timeout"
    await group_told([agent := ok()], timeout=0)
    assert agent.calls == []


async def test_jaf_bounds(autojump_clock: Clock) -> None:
    agent = ok(delay=0.1)
    await run([motet.Member(agent, replicas=1000)], max_parallel=20)
    assert (len(agent.calls), agent.peak) == (1000, 20)
    calls = motet.Limits(max_calls=3)
    counted = ok()
    await run([motet.Member(counted, replicas=10)], limits=calls, max_parallel=1)
    assert len(counted.calls) == 3


async def test_jaf_session() -> None:
    provider = ScriptedProvider(default=lambda request: f"{len(request.messages)}")
    agents = [Agent(name, provider=provider, model="any", max_turns=1) for name in ("a", "b", "c")]
    async with motet.open_engine() as engine:
        group = motet.Group("g", agents, preserve_session=True)
        results = [await engine.run(group, "again", session_id="s") for _ in range(4)]
    assert [outcome.output.text for outcome in results[3]["g"].outcomes] == ["7", "7", "7"]


async def test_jaf_person(autojump_clock: Clock) -> None:
    ask, asked = trio.open_memory_channel[str](0)
    answer, answered = trio.open_memory_channel[str](0)

    @motet.agent(timeout=60)
    async def approval(text: str) -> str:
        await ask.send(text)
        return await answered.receive()

    async def person() -> None:
        async for question in asked:
            await trio.sleep(5)
            await answer.send(f"{question}: approved")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(person)
        result = await run([approval, ok()], input="pay 10 EUR")
        nursery.cancel_scope.cancel()
    assert result["g"]["approval"].output.text == "pay 10 EUR: approved"


async def test_jaf_settings_kept() -> None:
    first = ScriptedProvider("first", default=motet.AgentError("down", reason="PROVIDER_UNAVAILABLE"))
    second = ScriptedProvider("second", default="from the second")
    sampling, spare = Sampling(max_output_tokens=99), motet.ModelChoice(second, "other")
    agent = ModelAgent("a", provider=first, model="any", sampling=sampling, fallbacks=[spare])
    said = await group_told([agent])
    assert said["aggregated_result"]["combined_results"] == ["from the second"]
    assert second.requests[0].sampling.max_output_tokens == 99


async def test_jaf_aggregator_errors() -> None:
    async def slow_count(texts: list[str]) -> int:
        await trio.lowlevel.checkpoint()
        return len(texts)

    def broken(texts: list[str]) -> object:
        raise KeyError("no")

    said = await group_told([ok()], result_aggregation="custom", custom_aggregator=slow_count)
    assert said["aggregated_result"] == 1
    said = await group_told([ok()], result_aggregation="custom", custom_aggregator=broken)
    assert said["aggregated_result"]["error"] == "custom_aggregation_failed"
    assert said["individual_results"]["ok"]["success"] is True
    with pytest.raises(ValueError, match="result_aggregation"):
        ParallelAgentGroup("g", [ok()], result_aggregation="consensus")


async def test_jaf_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MOTET_MODEL"):
        monkeypatch.delenv(name, raising=False)
    said = await group_told([Agent("a")])
    assert said["individual_results"]["a"]["type"] == "PROVIDER_MISSING"


async def test_jaf_stream() -> None:
    provider = ScriptedProvider(default=Say("a plain answer", pieces=3))
    group = motet.Group("g", [ModelAgent("a", provider=provider, model="any")], "first")
    with trio.fail_after(30):
        async with motet.open_engine() as engine, engine.stream(group, "question") as stream:
            kinds = [type(event.detail).__name__ async for event in stream]
    assert kinds[-1] == "RunEnded"
    assert stream.result.unwrap() == "a plain answer"


async def test_jaf_guardrails(capsys: pytest.CaptureFixture[str]) -> None:
    judged = []

    @guardrail
    def first(text: str, state: ModelState) -> None:
        judged.append(text)

    def broken(text: str, state: ModelState) -> str | None:
        raise RuntimeError("cannot judge")

    provider = ScriptedProvider(default='{"value": 1}')
    guards = [first, Guardrail(broken)]
    agent = ModelAgent("a", provider=provider, model="any", output_type=int, output_guardrails=guards)
    assert (await run([agent]))["g"]["a"].failure.reason == "GUARDRAIL_FAILED"
    assert judged == ['{"value": 1}']
    assert capsys.readouterr().out == ""


async def test_jaf_cancel(autojump_clock: Clock) -> None:
    agent = hangs()
    async with motet.open_engine() as engine:
        started = await engine.start(motet.Group("g", [agent]), "")
        await trio.sleep(1)
        record = await engine.cancel(started.run_id)
    assert record.result.groups[0].outcomes[0].stop.kind is motet.StopKind.STOPPED
    assert agent.cancelled == 1
