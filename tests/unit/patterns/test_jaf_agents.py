"""Agents and tools of JAF's page where the engine meets them: as members, under keys and limits, with wrong arguments."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

import motet
from motet.agents.model.providers.prices import Price
from motet.agents.model.providers.scripted import Rule, ScriptedProvider
from motet.patterns.jaf import (
    Agent,
    AgentToolInput,
    Message,
    ParallelAgentGroup,
    RunConfig,
    RunState,
    create_parallel_agents_tool,
    create_simple_parallel_tool,
    run,
)

Default = Callable[..., ScriptedProvider]


def state(name: str) -> RunState:
    return RunState("r", "t", [Message("user", "go")], name)


async def test_a_member_with_a_key_is_called_once_and_another_instruction_is_another_call(
    default_model: Default,
) -> None:
    provider = default_model(default="ok")

    async def ask(engine: motet.Engine, own: Any, inner: Any) -> None:
        tool = create_simple_parallel_tool([Agent("inner", instructions=inner)], tool_name="ask")
        agent = Agent("a", instructions=own, tools=[tool])
        await engine.run(motet.Group("g", [agent], idempotency=motet.Idempotency()), "hi")

    functions = [lambda _state: "three", lambda _state: "four"]
    async with motet.open_engine() as engine:
        for own in ("one", "one", "two", *functions, *functions):
            await ask(engine, own, "inner")
        await ask(engine, "one", "another inner")
    assert [request.messages[0].text for request in provider.requests] == ["one", "two", "three", "four", "one"]


async def test_a_wrong_argument_starts_nothing_and_the_model_is_told() -> None:
    tool = create_simple_parallel_tool([Agent("inner", instructions="inner")], tool_name="ask")
    boss = Agent("boss", instructions="boss", tools=[tool])
    provider = ScriptedProvider(replies=[[("ask", {"question": "x"})], "done"])
    config = RunConfig(agent_registry={"boss": boss}, model_provider=provider, model_override="m")
    finished = await run(state("boss"), config)
    assert "VALIDATION_ERROR" in finished.final_state.messages[2].content
    assert '{"input": "..."}' in json.loads(finished.final_state.messages[2].content)["message"]
    assert len(provider.requests) == 2


async def test_own_inputs_are_described_to_the_model() -> None:
    group = ParallelAgentGroup("g", [Agent("a"), Agent("a"), Agent("b")], shared_input=False)
    boss = Agent("boss", instructions="boss", tools=[create_parallel_agents_tool([group], "ask")])
    provider = ScriptedProvider(default="done")
    config = RunConfig(agent_registry={"boss": boss}, model_provider=provider, model_override="m")
    await run(state("boss"), config)
    described = provider.requests[0].tools[0].parameters["properties"]["input"]["description"]
    assert described.endswith("a, a_2, b.")


async def test_agents_may_hand_over_to_each_other() -> None:
    first = Agent("first", instructions="first", handoffs=["second"])
    second = Agent("second", instructions="second", handoffs=[first])
    provider = ScriptedProvider(
        replies=[[("transfer_to_second", {})], [("transfer_to_first", {})], "back where it began"]
    )
    registry = {"first": first, "second": second}
    config = RunConfig(agent_registry=registry, model_provider=provider, model_override="m")
    finished = await run(state("first"), config)
    assert finished.outcome.output == "back where it began"
    assert finished.final_state.current_agent_name == "first"


async def test_output_types_give_values() -> None:
    agent = Agent("a", output_type={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    provider = ScriptedProvider(default={"n": 3})
    config = RunConfig(agent_registry={"a": agent}, model_provider=provider, model_override="m")
    assert (await run(state("a"), config)).outcome.output == {"n": 3}


async def test_closing_releases_each_agents_provider_once() -> None:
    provider = ScriptedProvider(default="ok")
    agent = Agent("a", provider=provider, model="m")
    await create_simple_parallel_tool([agent, agent]).aclose()
    assert provider.closed == 1


async def test_limits_of_a_group_hold_and_are_told(default_model: Default) -> None:
    default_model(default="ok", price=Price(1000.0, 1000.0))
    agents = [Agent(f"a{n}", instructions="x") for n in range(4)]
    limits = motet.Limits(max_failure_rate=0.2, min_samples=2, on_breach=motet.OnBreach.CANCEL)

    async def broken(_text: str) -> str:
        await trio.lowlevel.checkpoint()
        raise motet.AgentError("no", reason="BROKEN")

    failing = [motet.FunctionAgent(broken, name=f"f{n}") for n in range(3)]
    group = ParallelAgentGroup("g", [*failing, *agents], limits=limits, max_parallel=3)
    told = json.loads(await create_parallel_agents_tool([group]).execute(AgentToolInput("x")))
    answer = told["parallel_execution_results"]["g"]["aggregated_result"]
    assert (answer["error"], answer["type"]) == ("execution_failed", "FAILURE_RATE_EXCEEDED")


@pytest.mark.parametrize("said", [{"a": [1e400]}, {"a": "text"}])
async def test_results_are_always_json(said: Any) -> None:
    document = json.dumps(said).replace("Infinity", "1e999")

    async def odd(_text: str) -> motet.Payload:
        await trio.lowlevel.checkpoint()
        return motet.Payload.from_json_text(document)

    text = await create_simple_parallel_tool([motet.FunctionAgent(odd)]).execute(AgentToolInput("x"))
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    result = found["parallel_execution_results"]["parallel_group"]["individual_results"]["odd"]["result"]
    assert result in (said, document)


async def test_turns_and_model_of_an_agent_are_its_own_unless_the_run_says_otherwise(default_model: Default) -> None:
    rule = Rule(when_instructions="x", reply="ok")
    provider = default_model(rules=[rule])
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("g", [Agent("a", "x", model="own"), Agent("b", "x")]), "hi")
    assert sorted(request.model for request in provider.requests) == ["own", "scripted-model"]
