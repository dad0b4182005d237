"""Model agents over the real SDKs and real sockets: turns, tokens, retries, fallbacks, widths, stops. No scripted provider."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic_peer
import openai_peer
import pytest
import trio
from wire_peer import Turn

import motet
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.choice import ModelChoice
from motet.agents.model.providers.anthropic import AnthropicProvider
from motet.agents.model.providers.openai import OpenAIProvider

GROUP = "g"
QUICK = motet.RetryPolicy(max_attempts=3, initial_backoff=0.0, max_backoff=0.0)


async def look(city: str) -> str:
    """Look a city up.

    Args:
        city: Its name.
    """
    await trio.lowlevel.checkpoint()
    return f"21 degrees in {city}"


def hosted(peer: Any) -> OpenAIProvider:
    return OpenAIProvider(base_url=peer.url, api_key="k")


def other(peer: Any) -> AnthropicProvider:
    return AnthropicProvider(base_url=peer.url, api_key="k")


@asynccontextmanager
async def engine_with(agent: ModelAgent, **providers: int) -> AsyncIterator[motet.Engine]:
    """An engine that closes the agent at its end."""
    catalog = motet.Catalog()
    catalog.add(agent)
    for name, width in providers.items():
        catalog.add_provider(name, width)
    with trio.fail_after(60):
        async with motet.open_engine(catalog) as engine:
            yield engine


async def test_turns_tools_and_tokens_go_over_the_wire(openai: Any) -> None:
    openai.script(
        [openai_peer.say(calls=[("look", {"city": "Oslo"})]), openai_peer.say("It is 21 degrees.", usage=(30, 6))]
    )
    agent = ModelAgent("m", provider=hosted(openai), model="gpt", tools=[look], instructions="be brief")
    async with engine_with(agent) as engine, engine.stream(motet.Group(GROUP, [agent], "first"), "weather?") as stream:
        details = [event.detail async for event in stream]
    assert stream.result.unwrap() == "It is 21 degrees."
    pieces = [each.report.json() for each in details if isinstance(each, motet.MemberProgress)]
    assert "".join(each.get("delta", "") for each in pieces) == "It is 21 degrees."
    assert {"tool": "look", "call_id": "call_1", "status": "executed"} in pieces
    first, second = (turn.json for turn in openai.turns)
    assert first["tools"][0]["function"]["name"] == "look"
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert second["messages"][3]["content"] == "21 degrees in Oslo"
    usage = stream.result[GROUP].outcomes[0].usage
    assert (usage.input_tokens, usage.output_tokens) == (12 + 30, 5 + 6)
    # The agent, its two turns, its tool.
    assert usage.calls == 4


@pytest.mark.parametrize("how", ["timeout", "caller"])
async def test_a_stop_while_tokens_come_is_seen_by_the_service_as_a_disconnect(openai: Any, how: str) -> None:
    openai.script([openai_peer.say("warm")], then=openai_peer.say("one two three", pieces=3, hold_after=1))
    agent = ModelAgent("m", provider=hosted(openai), model="gpt")
    async with engine_with(agent) as engine:
        # The SDK is imported and connected: what is left to do takes far less than a second.
        await engine.run(motet.Group(GROUP, [agent]))
        run = await engine.start(motet.Group(GROUP, [motet.Member(agent, timeout=1.0 if how == "timeout" else None)]))
        async with engine.watch(run.run_id) as stream:
            async for event in stream:
                if isinstance(event.detail, motet.MemberProgress) and how == "caller":
                    await engine.cancel(run.run_id)
        await openai.wait_disconnected()
        await openai.wait_until(lambda: openai.running == 0)
        outcome = stream.result[GROUP].outcomes[0]
    assert outcome.state is (motet.State.TIMED_OUT if how == "timeout" else motet.State.CANCELLED)
    assert outcome.stop.kind is motet.StopKind.STOPPED
    assert len(openai.turns) == 2


async def test_429_and_500_and_a_cut_connection_are_tried_again_by_the_engine(openai: Any) -> None:
    openai.script(
        [
            openai_peer.fail(429, headers={"retry-after-ms": "20"}),
            openai_peer.say("half of it", cut_after=1),
            openai_peer.say("whole"),
        ]
    )
    agent = ModelAgent("m", provider=hosted(openai), model="gpt", retry=QUICK)
    async with engine_with(agent) as engine:
        result = await engine.run(motet.Group(GROUP, [agent], "first"), "go")
    assert result.unwrap() == "whole"
    turn = result[GROUP].outcomes[0].nested[0].outcomes[0]
    failed = [attempt.failure.reason for attempt in turn.attempt_log[:2]]
    assert failed == [reasons.RATE_LIMITED, reasons.PROVIDER_UNAVAILABLE]
    assert turn.attempt_log[1].started >= 0.02


async def test_another_services_model_answers_with_the_whole_conversation(openai: Any, anthropic: Any) -> None:
    openai.script([openai_peer.say(calls=[("look", {"city": "Oslo"})])], then=openai_peer.fail(500))
    anthropic.script([anthropic_peer.say("21 degrees")])
    agent = ModelAgent(
        "m",
        provider=hosted(openai),
        model="gpt",
        fallbacks=[ModelChoice(other(anthropic), "claude")],
        tools=[look],
        retry=None,
    )
    async with engine_with(agent) as engine:
        result = await engine.run(motet.Group(GROUP, [agent], "first"), "weather?")
    assert result.unwrap() == "21 degrees"
    metadata = result[GROUP].outcomes[0].metadata
    assert (metadata["provider"], metadata["turns"]) == ("anthropic", 2)
    said = json.dumps(anthropic.turns[0].json["messages"])
    assert "tool_use" in said
    assert "21 degrees in Oslo" in said


async def test_a_handoff_carries_the_conversation_to_another_service(openai: Any, anthropic: Any) -> None:
    openai.script([openai_peer.say("one moment", calls=[("transfer_to_expert", {})])])
    anthropic.script([anthropic_peer.say("here I am")])
    expert = ModelAgent("expert", provider=other(anthropic), model="claude", instructions="You are the expert.")
    agent = ModelAgent("front", provider=hosted(openai), model="gpt", handoffs=[expert])
    async with engine_with(agent) as engine:
        result = await engine.run(motet.Group(GROUP, [agent], "first"), "help")
    assert result.unwrap() == "here I am"
    assert "You are the expert." in json.dumps(anthropic.turns[0].json["system"])


async def test_two_hundred_members_have_at_most_twenty_requests_under_way(openai: Any) -> None:
    def answer(turn: Turn) -> Any:
        if turn.json["messages"][-1]["role"] == "tool":
            return openai_peer.say("done", pause=0.001)
        return openai_peer.say(calls=[("look", {"city": "Oslo"})])

    openai.script_by(answer)
    agent = ModelAgent("m", provider=hosted(openai), model="gpt", tools=[look])
    async with engine_with(agent, openai=20) as engine:
        result = await engine.run(motet.Group(GROUP, [motet.Member(agent, replicas=200)]), "go")
    assert [outcome.output.text for outcome in result[GROUP].outcomes] == ["done"] * 200
    assert len(openai.turns) == 400
    assert openai.peak <= 20
    assert openai.accepted <= 40


async def test_without_a_provider_the_environment_names_service_and_model(
    openai: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", openai.url)
    monkeypatch.setenv("MOTET_MODEL", "local-model")
    openai.script(then=openai_peer.say("hi"))
    agent = ModelAgent("m")
    for _ in range(2):  # an engine after another: connections belong to the program's run, not to the agent
        async with engine_with(agent) as engine:
            result = await engine.run(motet.Group(GROUP, [agent], "first"), "go")
        assert result.unwrap() == "hi"
    assert openai.turns[0].json["model"] == "local-model"
    with trio.fail_after(10):
        while openai.connections:
            await trio.sleep(0.01)
