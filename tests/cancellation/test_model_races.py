"""A model agent that is stopped at any moment: whatever was told, started or answered in that very moment, nothing goes on and
every promise about runs holds."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio

import motet
from motet.agents.model.agent import ModelAgent
from motet.agents.model.as_tool import as_tool
from motet.agents.model.choice import ModelChoice
from motet.agents.model.guardrails import AgentGuardrail, Guardrail
from motet.agents.model.instructions import ModelState
from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.agents.model.tool import Tool
from motet.model.chat import ChatReply, ChatRequest, ToolSpec
from motet.ports import Agent, ChatContext
from motet.sessions.book import SessionBook
from motet.testing import ScriptedAgent, check_run


@dataclass
class Cast:
    """A run in which much happens, and who takes part."""

    provider: ScriptedProvider
    other: ScriptedProvider
    agents: list[ScriptedAgent]
    group: motet.Group
    seen: list[motet.Event] = field(default_factory=list)

    @property
    def running(self) -> int:
        return self.provider.running + self.other.running + sum(agent.running for agent in self.agents)


def cast() -> Cast:
    """A guardrail beside the first turn, tools at once, one of them a group with a model in it, a model that fails and one
    that answers in its place, a handoff, an output guardrail."""
    broken = motet.AgentError("no", reason="PROVIDER_UNAVAILABLE", retryable=True)
    other = ScriptedProvider(
        "other",
        rules=[
            Rule(reply="the answer", when_instructions="^second$", when_result="with second"),
            Rule(reply=Say(tool_calls=[("transfer_to_second", {})], delay=1), when_result="."),
            Rule(reply=Say("small", delay=1, pieces=4)),
        ],
    )
    wanted = [("work", {}), ("work", {}), ("bad", {}), ("pair", {"input": "x"}), ("nothing", {})]
    provider = ScriptedProvider(
        "first", replies=[Say("so", tool_calls=wanted, delay=2)], default=Say("p", error=broken)
    )
    work, bad = ScriptedAgent("work", delay=1), ScriptedAgent("bad", delay=1, error=OSError("bad"))
    judge, last = ScriptedAgent("judge", delay=1, reply=True), ScriptedAgent("last", delay=1, reply=True)
    inner = ModelAgent("inner", provider=other, model="x", instructions="small")
    tools = [Tool(spec=ToolSpec(name=each.info.name), agent=each) for each in (work, bad)]
    second = ModelAgent(
        "second", provider=other, model="x", instructions="second", output_guardrails=[AgentGuardrail(last)]
    )
    agent = ModelAgent(
        "m",
        provider=provider,
        model="x",
        tools=[*tools, as_tool(motet.Group("pair", [inner, work]))],
        fallbacks=[ModelChoice(other, "y")],
        retry=motet.RetryPolicy(max_attempts=2, initial_backoff=1, jitter=0.0),
        input_guardrails=[AgentGuardrail(judge)],
        handoffs=[second],
    )
    group = motet.Group("g", [agent, ScriptedAgent("beside", delay=3)], preserve_session=True)
    return Cast(provider, other, [work, bad, judge, last], group)


async def follow(cast: Cast, act: Callable[[motet.RunStream, motet.Event], None] | None = None) -> motet.RunResult:
    """Run it to its end and check it; `act` is called in the very moment in which an event happens."""
    streams: list[motet.RunStream] = []

    def heard(_run_id: str, event: motet.Event) -> None:
        cast.seen.append(event)
        if act is not None:
            act(streams[0], event)

    async with motet.open_engine(observers=[heard]) as engine:
        stream = engine.stream(cast.group, "go", session_id="s")
        streams.append(stream)
        with trio.fail_after(1000):
            async with stream:
                async for _ in stream:
                    pass
        assert cast.running == 0
        assert engine.statistics().members_running == 0
        assert isinstance(engine.sessions, SessionBook)
        assert not engine.sessions.turns.holder("s")
    assert stream.result is not None
    check_run(cast.seen, stream.result, plan=cast.group)
    return stream.result


async def count_events() -> int:
    whole = cast()
    result = await follow(whole)
    assert result["g"]["m"].output == motet.Payload.from_text("the answer")
    return len(whole.seen)


async def test_a_run_that_is_cancelled_in_the_moment_of_any_event_stops_whole(autojump_clock: trio.abc.Clock) -> None:
    total = await count_events()
    for number in range(1, total + 1):
        one = cast()

        def cancel(stream: motet.RunStream, event: motet.Event, number: int = number) -> None:
            if event.sequence == number:
                stream.cancel()

        result = await follow(one, cancel)
        ended = isinstance(one.seen[number - 1].detail, motet.RunEnded | motet.GroupEnded)
        assert ended or result.state is motet.State.CANCELLED or result["g"]["m"].state is motet.State.SUCCEEDED


async def test_a_caller_that_leaves_in_the_moment_of_any_event_leaves_nothing_behind(
    autojump_clock: trio.abc.Clock,
) -> None:
    total = await count_events()
    for number in range(1, total, 2):
        one, scope = cast(), trio.CancelScope()

        def leave(event: motet.Event, number: int = number, scope: trio.CancelScope = scope) -> None:
            if event.sequence == number:
                scope.cancel()

        def heard(_run_id: str, event: motet.Event, leave: Any = leave, one: Cast = one) -> None:
            one.seen.append(event)
            leave(event)

        async with motet.open_engine(observers=[heard]) as engine:
            began = trio.current_time()
            with scope:
                await engine.run(one.group, "go", session_id="s")
            assert trio.current_time() - began < 100
            assert one.running == 0
            # The session is free, and what was left is not said in it twice.
            with trio.fail_after(1):
                after = motet.Group("after", [ScriptedAgent("quick")], preserve_session=True)
                assert (await engine.run(after, session_id="s")).succeeded


async def test_any_timeout_stops_whole(autojump_clock: trio.abc.Clock) -> None:
    """Many of these moments are those in which an answer comes."""
    for step in range(34):
        one = cast()
        one.group = motet.Group("g", [replace(one.group.seats[0], timeout=step / 4)])
        result = await follow(one)
        outcome = result["g"].outcomes[0]
        assert outcome.state in {motet.State.TIMED_OUT, motet.State.SUCCEEDED, motet.State.SKIPPED}
        assert outcome.ran <= step / 4


@pytest.mark.parametrize("delay", [0.5, 1.0, 1.5])
async def test_of_two_models_that_answer_about_the_same_time_one_is_taken_and_no_tool_of_the_other_starts(
    delay: float, autojump_clock: trio.abc.Clock
) -> None:
    quick = ScriptedProvider("quick", default=Say("first", delay=1))
    slow = ScriptedProvider("slow", replies=[Say(tool_calls=[("work", {})], delay=delay)], default=Say("late", delay=9))
    work = ScriptedAgent("work", delay=5)
    tool = Tool(spec=ToolSpec(name="work"), agent=work)
    agents = [
        ModelAgent("a", provider=slow, model="x", tools=[tool]),
        ModelAgent("b", provider=quick, model="x"),
    ]
    one = Cast(quick, slow, [work], motet.Group("g", agents, "first"))
    result = await follow(one)
    assert result.unwrap() == "first"
    assert result["g"]["a"].state is motet.State.CANCELLED
    assert work.cancelled == len(work.calls) <= 1
    if delay > 1:
        assert not work.calls


async def test_a_guardrail_that_trips_in_the_moment_of_the_answer_keeps_tools_from_starting(
    autojump_clock: trio.abc.Clock,
) -> None:
    async def trips(text: str, state: ModelState) -> bool:
        await trio.sleep(1)
        return False

    work = ScriptedAgent("work")
    tool = Tool(spec=ToolSpec(name="work"), agent=work)
    for _ in range(20):
        provider = ScriptedProvider(replies=[Say(tool_calls=[("work", {})], delay=1)], default="done")
        agent = ModelAgent("m", provider=provider, model="x", tools=[tool], input_guardrails=[Guardrail(trips)])
        result = await follow(Cast(provider, provider, [work], motet.Group("g", [agent])))
        assert result["g"]["m"].failure.reason == "GUARDRAIL_TRIPPED"
    assert not work.calls


class Stubborn(ScriptedProvider):
    """Does not stop when it is asked to."""

    async def chat(self, request: ChatRequest, context: ChatContext, /) -> ChatReply:
        with trio.CancelScope(shield=True):
            return await super().chat(request, context)


async def test_a_provider_that_does_not_stop_is_named_in_a_receipt_and_starts_nothing_more(
    autojump_clock: trio.abc.Clock,
) -> None:
    provider = Stubborn(replies=[Say(tool_calls=[("work", {})], delay=100)], default="done")
    work = ScriptedAgent("work")
    tool = Tool(spec=ToolSpec(name="work"), agent=work)
    agent = ModelAgent("m", provider=provider, model="x", tools=[tool])
    events: list[motet.Event] = []
    async with motet.open_engine(stop_grace=2, observers=[lambda _, event: events.append(event)]) as engine:
        began = trio.current_time()
        result = await engine.run(motet.Group("g", [agent], timeout=5), "go")
        assert trio.current_time() - began == pytest.approx(7)
        assert provider.running == 1
        now = engine.statistics()
        assert (now.members_running, now.members_detached) == (0, 1)
    check_run(events, result)
    (outcome,) = result["g"].outcomes
    assert outcome.state is motet.State.TIMED_OUT
    (turn,) = outcome.nested[0].outcomes
    assert turn.stop.kind is motet.StopKind.DETACHED
    assert (provider.running, len(provider.requests), work.calls) == (0, 1, [])


async def test_an_engine_that_closes_stops_agents_in_the_middle_of_their_turns_and_tools(
    autojump_clock: trio.abc.Clock,
) -> None:
    for wait in (0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 4.0, 5.0):
        one = cast()
        async with motet.open_engine(catalog_of(one)) as engine:
            started = await engine.start("g", "go", session_id="s")
            await trio.sleep(wait)
        assert one.running == 0
        assert started.run_id


def catalog_of(one: Cast) -> motet.Catalog:
    catalog = motet.Catalog()
    agents = [member.agent for member in one.group.seats if isinstance(member.agent, Agent)]
    catalog.add(*agents)
    catalog.add_group(motet.Group("g", [agent.info.name for agent in agents], preserve_session=True))
    return catalog
