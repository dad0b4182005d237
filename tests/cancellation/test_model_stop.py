"""Stopping a model agent stops the request that runs, the tools that run, and starts nothing more."""

from typing import Any

import pytest
import trio

import motet
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.guardrails import Guardrail
from motet.agents.model.providers.scripted import Say, ScriptedProvider
from motet.agents.model.tool import Tool
from motet.model.chat import ToolSpec
from motet.testing import ScriptedAgent


def make(provider: ScriptedProvider, **options: Any) -> ModelAgent:
    return ModelAgent("m", provider=provider, model="x", **options)


async def test_a_call_that_times_out_while_the_model_writes_closes_the_request(autojump_clock: trio.abc.Clock) -> None:
    provider = ScriptedProvider(default=Say("a b c d e f g h i j", delay=10, pieces=10))
    member = motet.Member(make(provider), timeout=3.5)
    async with motet.open_engine() as engine, engine.stream(motet.Group("g", [member]), "go") as stream:
        details = [event.detail async for event in stream]
    heard = [each.report.json()["delta"] for each in details if isinstance(each, motet.MemberProgress)]
    outcome = stream.result["g"].outcomes[0]
    assert outcome.state is motet.State.TIMED_OUT
    assert outcome.stop.kind is motet.StopKind.STOPPED
    assert (provider.cancelled, provider.running) == (1, 0)
    assert "".join(heard) == "a b c"
    turn = outcome.nested[0].outcomes[0]
    assert turn.stop.detail == "request closed"
    # What was written so far is paid for, and nobody said how much.
    assert outcome.usage.unpriced_calls == 1


async def test_a_caller_that_goes_away_stops_request_and_tools(autojump_clock: trio.abc.Clock) -> None:
    worker = ScriptedAgent("work", delay=100)
    tool = Tool(spec=ToolSpec(name="work"), agent=worker)
    provider = ScriptedProvider(replies=[[("work", {})] * 3], default="never")
    async with motet.open_engine() as engine:
        with trio.move_on_after(5) as scope:
            await engine.run(motet.Group("g", [make(provider, tools=[tool])]), "go")
    assert scope.cancelled_caught
    assert (len(worker.calls), worker.cancelled, worker.running) == (3, 3, 0)
    assert len(provider.requests) == 1


async def test_a_trip_of_an_input_guardrail_cancels_the_first_turn_at_once(autojump_clock: trio.abc.Clock) -> None:
    async def no(text: str, state: object) -> str:
        await trio.sleep(1)
        return "not that"

    provider = ScriptedProvider(default=Say("long", delay=60))
    began = trio.current_time()
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [make(provider, input_guardrails=[Guardrail(no)])]), "go")
    (outcome,) = result["g"].outcomes
    assert outcome.failure.reason == reasons.GUARDRAIL_TRIPPED
    assert outcome.failure.details["why"] == "not that"
    assert trio.current_time() - began == pytest.approx(1)
    assert (provider.cancelled, provider.running) == (1, 0)
    assert outcome.nested[0].outcomes[0].state is motet.State.CANCELLED


@pytest.mark.parametrize("passes", [True, False])
async def test_no_tool_starts_before_every_input_guardrail_has_passed(
    autojump_clock: trio.abc.Clock, passes: bool
) -> None:
    async def slow(text: str, state: object) -> bool:
        await trio.sleep(30)
        return passes

    worker = ScriptedAgent("work")
    tool = Tool(spec=ToolSpec(name="work"), agent=worker)
    provider = ScriptedProvider(replies=[[("work", {})], "done"])
    agent = make(provider, tools=[tool], input_guardrails=[Guardrail(slow)])
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, motet.Group("g", [agent]), "go")
        await trio.sleep(29)
        assert len(provider.requests) == 1
        assert worker.calls == []
    assert len(worker.calls) == (1 if passes else 0)


async def test_a_turn_that_fails_does_not_wait_for_the_guardrails(autojump_clock: trio.abc.Clock) -> None:
    async def slow(text: str, state: object) -> None:
        await trio.sleep(1000)

    provider = ScriptedProvider(default=motet.AgentError("no", reason=reasons.PROVIDER_DENIED))
    began = trio.current_time()
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [make(provider, input_guardrails=[Guardrail(slow)])]), "go")
    assert result["g"].outcomes[0].failure.reason == reasons.PROVIDER_DENIED
    assert trio.current_time() - began < 1


async def test_an_output_guardrail_stops_the_answer() -> None:
    provider = ScriptedProvider(default="the secret is 42")
    secret = Guardrail(lambda text, state: "secret" not in text, name="secrets")
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [make(provider, output_guardrails=[secret])]), "go")
    (outcome,) = result["g"].outcomes
    assert outcome.failure.reason == reasons.GUARDRAIL_TRIPPED
    assert outcome.failure.details["stage"] == "output"
    assert outcome.output is None


async def test_the_first_of_several_models_to_answer_stops_the_others_requests(autojump_clock: trio.abc.Clock) -> None:
    quick, slow = ScriptedProvider(default=Say("q", delay=1)), ScriptedProvider(default=Say("s", delay=60))
    agents = [make(slow), make(quick), make(slow)]
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", agents, "first"), "go")
    assert result.unwrap() == "q"
    assert (slow.cancelled, slow.running) == (2, 0)


async def test_a_budget_that_cancels_stops_the_turn_that_runs(autojump_clock: trio.abc.Clock) -> None:
    costly = ScriptedAgent("costly", delay=5, usage=motet.Usage(calls=1, input_tokens=1000), estimated_tokens=1)
    cheap = motet.Usage(calls=1, input_tokens=1)
    provider = ScriptedProvider(replies=[Say("known", usage=cheap), Say("late", delay=60, usage=cheap)])
    agent = make(provider)
    limits = motet.Limits(max_tokens=500, on_breach=motet.OnBreach.CANCEL)
    async with motet.open_engine() as engine:
        # An agent that nobody has seen is given all that is left, and nothing runs beside it.
        await engine.run(motet.Group("g", [agent]), "go")
        result = await engine.run(motet.Group("g", [costly, agent]), "go", limits=limits)
    (_, outcome) = result["g"].outcomes
    assert outcome.state is motet.State.CANCELLED
    assert outcome.failure.reason == "BUDGET_EXCEEDED"
    assert outcome.ran == pytest.approx(5)
    assert (provider.cancelled, provider.running) == (1, 0)
