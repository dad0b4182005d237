"""A model agent hands the conversation to another, from an allow-list, with the turns counted on."""

from typing import Any

import pytest
import trio

import motet
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.guardrails import Guardrail
from motet.agents.model.handoffs import handoff_name
from motet.agents.model.providers.scripted import Calls, Rule, Say, ScriptedProvider
from motet.model.chat import Role


async def look() -> str:
    await trio.lowlevel.checkpoint()
    return "seen"


def make(name: str, provider: ScriptedProvider, **options: Any) -> ModelAgent:
    return ModelAgent(name, provider=provider, model=f"model-{name}", instructions=f"You are {name}.", **options)


async def run(agent: ModelAgent, **options: Any) -> motet.Outcome:
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [agent]), "help me", **options)
    return result["g"].outcomes[0]


async def test_the_conversation_goes_on_under_the_other_agent() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    second = ScriptedProvider("second", replies=[{"ok": True}])
    billing = make("billing", second, tools=[look], output_type=schema, description="Knows bills.")
    first = ScriptedProvider("first", replies=[Say("one moment", tool_calls=[("transfer_to_billing", {})])])
    outcome = await run(make("triage", first, handoffs=[billing]))
    assert outcome.output.json() == {"ok": True}
    (offered,) = first.requests[0].tools
    assert (offered.name, "Knows bills." in offered.description) == ("transfer_to_billing", True)
    request = second.requests[0]
    assert request.model == "model-billing"
    assert [m.role for m in request.messages] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL]
    assert request.messages[0].text == "You are billing."
    assert [tool.name for tool in request.tools] == ["look"]
    assert request.output_schema == schema
    assert outcome.metadata["agent"] == "billing"
    assert outcome.metadata["handoffs"] == ["billing"]
    assert outcome.metadata["provider"] == "second"
    assert outcome.metadata["turns"] == 2
    assert outcome.metadata["tools"] == []


async def test_other_tools_of_that_turn_run_first_and_other_handoffs_are_told_which_counted() -> None:
    second = ScriptedProvider(replies=["done"])
    a, b = make("a", second), make("b", ScriptedProvider())
    calls: Calls = [("transfer_to_a", {}), ("look", {}), ("transfer_to_b", {})]
    outcome = await run(make("triage", ScriptedProvider(replies=[calls]), tools=[look], handoffs=[b, a]))
    assert [group.name for group in outcome.nested] == ["turn_1", "tools_1", "turn_2"]
    results = [m for m in second.requests[0].messages if m.role is Role.TOOL]
    assert [(m.tool_call_id, m.failed) for m in results] == [("call_1", False), ("call_2", False), ("call_3", True)]
    assert results[1].text == "seen"
    assert "a" in results[2].text
    assert outcome.metadata["handoffs"] == ["a"]
    assert outcome.metadata["tools"] == [
        {"tool": "look", "call_id": "call_2", "turn": 1, "status": "executed"},
        {"tool": "transfer_to_b", "call_id": "call_3", "turn": 1, "status": "failed", "reason": "HANDED_OVER"},
    ]


async def test_agents_that_are_not_on_the_list_are_not_found() -> None:
    provider = ScriptedProvider(replies=[[("transfer_to_root", {})], "stays here"])
    outcome = await run(make("triage", provider, handoffs=[make("billing", ScriptedProvider())]))
    assert outcome.output.text == "stays here"
    assert outcome.metadata["tools"][0]["status"] == "tool_not_found"
    assert outcome.metadata["agent"] == "triage"


async def test_agents_that_hand_to_each_other_for_ever_are_stopped_by_the_turns_of_the_first() -> None:
    provider = ScriptedProvider(
        rules=[
            Rule(reply=[("transfer_to_b", {})], when_instructions="You are a"),
            Rule(reply=[("transfer_to_a", {})], when_instructions="You are b"),
        ]
    )
    a = make("a", provider, max_turns=5)
    b = make("b", provider, handoffs=[a], max_turns=100)
    a.add_handoffs(b)
    outcome = await run(a)
    assert outcome.failure.reason == reasons.MAX_TURNS
    assert len(provider.requests) == 5
    assert a.settings["handoffs"]["transfer_to_b"]["handoffs"] == {"transfer_to_a": "a"}


async def test_output_guardrails_are_those_of_the_agent_that_answers_and_input_guardrails_of_the_first() -> None:
    asked: list[str] = []

    def guard(name: str) -> Guardrail:
        def judge(text: str, state: Any) -> None:
            asked.append(f"{name} {state.agent}")

        return Guardrail(judge, name=name)

    billing = make(
        "billing",
        ScriptedProvider(replies=["done"]),
        input_guardrails=[guard("in2")],
        output_guardrails=[guard("out2")],
    )
    triage = make(
        "triage",
        ScriptedProvider(replies=[[("transfer_to_billing", {})]]),
        handoffs=[billing],
        input_guardrails=[guard("in1")],
        output_guardrails=[guard("out1")],
    )
    await run(triage)
    assert asked == ["in1 triage", "out2 billing"]


async def test_the_limits_of_the_agent_that_is_handed_to_hold_from_then_on(autojump_clock: trio.abc.Clock) -> None:
    busy = ScriptedProvider(default=[("look", {})])
    billing = make("billing", busy, tools=[look], limits=motet.Limits(max_calls=1))
    outcome = await run(make("triage", ScriptedProvider(replies=[[("transfer_to_billing", {})]]), handoffs=[billing]))
    assert outcome.failure.reason == "BUDGET_EXCEEDED"
    assert outcome.failure.details["used"]["calls"] == 2
    assert len(busy.requests) == 1


def test_names_of_handoffs_follow_the_agents_and_clashes_are_refused() -> None:
    provider = ScriptedProvider()
    assert handoff_name("team.billing:v2") == "transfer_to_team_billing_v2"
    assert len(handoff_name("x" * 128)) == 64
    with pytest.raises(ValueError, match="transfer_to_a_b"):
        make("m", provider, handoffs=[make("a.b", provider), make("a:b", provider)])

    def transfer_to_a() -> str:
        return ""

    with pytest.raises(ValueError, match="transfer_to_a is the name of a tool"):
        make("m", provider, tools=[transfer_to_a], handoffs=[make("a", provider)])


async def test_agents_that_reach_each_other_by_tool_and_handoff_are_closed_once() -> None:
    provider = motet.ScriptedProvider()
    worker = motet.ModelAgent("worker", provider=provider, model="m")
    boss = motet.ModelAgent("boss", provider=provider, model="m", tools=[worker])
    worker.add_handoffs(boss)
    await boss.aclose()
    assert provider.closed
