"""Runs of model agents that are cut anywhere and go on: what had ended is neither asked nor called again, the answer is the same,
and a session gets what was said once."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio

import motet
from motet import Group, Limits, Member, RetryPolicy
from motet import Sequence as Steps
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.as_tool import as_tool
from motet.agents.model.choice import ModelChoice
from motet.agents.model.codec import request_value
from motet.agents.model.guardrails import AgentGuardrail
from motet.agents.model.providers.scripted import Say, ScriptedProvider
from motet.agents.model.tool import Tool
from motet.model.chat import ChatRequest, Role, ToolSpec
from motet.model.event import Event, MemberEnded
from motet.model.outcome import Outcome
from motet.model.session import MEMBER, SessionEntry, SessionSettings
from motet.sessions.book import SessionBook, session_key
from motet.store import codec
from motet.testing import ScriptedAgent, check_run

SESSION = "s"
KEY = session_key("", SESSION)


@dataclass
class World:
    """A catalog of model agents that hand to and call each other, new each time but the same for each number."""

    catalog: motet.Catalog
    plan: motet.Plan
    providers: Sequence[ScriptedProvider]
    agents: Sequence[ScriptedAgent]

    @property
    def called(self) -> list[str]:
        """Where the calls were made that cost something, each time anew."""
        keys = [context.idempotency_key for provider in self.providers for context in provider.contexts]
        keys += [call.idempotency_key for agent in self.agents for call in agent.calls]
        return [key.partition("/")[2] for key in keys]


def speaker(salt: int) -> Any:
    """Answers that depend on nothing but the request: another process says the same."""

    def speak(request: ChatRequest) -> Say:
        chance = random.Random(f"{salt} {json.dumps(request_value(request))}")  # noqa: S311 - no secret
        delay = chance.choice([0.5, 1.0, 2.0])
        fate = chance.random()
        if fate < 0.08:
            return Say("part", delay=delay, error=motet.AgentError("no", reason=reasons.PROVIDER_DENIED))
        if fate < 0.12:
            return Say("", delay=delay)
        asked = sum(message.role is Role.TOOL for message in request.messages)
        if fate < 0.75 and asked < 6 and request.tools:
            names = [*(tool.name for tool in request.tools), "nothing"]
            return Say(
                tool_calls=[(chance.choice(names), {"input": "x"}) for _ in range(chance.randint(1, 3))], delay=delay
            )
        return Say(f"answer {chance.randint(0, 9)}", delay=delay)

    return speak


def make(number: int) -> World:
    chance = random.Random(number)  # noqa: S311 - no secret
    providers = [ScriptedProvider(name, replies=speaker(number)) for name in ("p", "q")]
    quick, slow = ScriptedAgent("quick", delay=0.3), ScriptedAgent("slow", delay=2)
    bad, inner = ScriptedAgent("bad", delay=0.4, error=ValueError("bad")), ScriptedAgent("inner", delay=1.5)
    judges = [ScriptedAgent(f"judge_{place}", delay=chance.choice([0.2, 0.7, 3]), reply=True) for place in range(3)]
    tools = [Tool(spec=ToolSpec(name=agent.info.name), agent=agent) for agent in (quick, slow, bad)]
    nests = chance.random() < 0.7

    def model(name: str, *more: Tool) -> ModelAgent:
        rails = [AgentGuardrail(judge) for judge in judges if chance.random() < 0.2]
        return ModelAgent(
            name,
            provider=chance.choice(providers),
            model="x",
            instructions=f"you are {name}",
            tools=[*chance.sample(tools, chance.randint(1, 3)), *more],
            max_turns=chance.choice([2, 4, 6]),
            retry=chance.choice([None, RetryPolicy(max_attempts=2, initial_backoff=0.5, jitter=0.0)]),
            input_guardrails=rails,
            output_guardrails=rails,
            fallbacks=[ModelChoice(providers[1], "y")] if chance.random() < 0.4 else [],
            max_parallel_tools=chance.choice([None, 1, 2]),
            limits=chance.choice([None, Limits(max_duration=1000.0, max_calls=500, max_tokens=10**9)]),
        )

    leaf = model("leaf")
    group = Group(
        "group", [Member(inner, replicas=2), Member(leaf, name="model")], max_parallel=chance.choice([None, 1])
    )
    middle = model("middle", *([as_tool(group), as_tool(leaf, name="helper")] if nests else []))
    top = model("top", *([as_tool(middle, name="helper")] if nests else []))
    order = [top, middle, leaf]
    for place, agent in enumerate(order):
        # An agent must not be its own tool, not even by way of those that it hands to.
        others = order[place + 1 :] if nests else order
        agent.add_handoffs(*(other for other in others if other is not agent and chance.random() < 0.4))
    catalog = motet.Catalog(sessions=SessionSettings(max_entries=6))
    catalog.add(*order)
    members = [Member(chance.choice(["top", "middle"]), name="one", replicas=2), Member("leaf", name="two")]
    plan: motet.Plan = Group("g", members[: chance.randint(1, 2)], preserve_session=True)
    if chance.random() < 0.5:
        plan = Steps([plan, Group("then", ["top"], preserve_session=True)], feed_forward=True)
    return World(catalog, plan, providers, [quick, slow, bad, inner, *judges])


@dataclass(frozen=True)
class Story:
    """A run that went to its end, and what it left."""

    record: motet.RunRecord
    """As it was at the start."""
    request: motet.RunRequest
    events: list[Event]
    result: motet.RunResult
    entries: Sequence[SessionEntry]


async def tell(number: int, disk: Any) -> Story:
    world = make(number)
    async with motet.open_engine(world.catalog, store=disk.open()) as engine:
        run_id = (await engine.start(world.plan, "hello", session_id=SESSION)).run_id
        async with engine.watch(run_id) as stream:
            events = [event async for event in stream]
        record = await engine.get(run_id)
    check_run(events, stream.result, plan=world.plan)
    running = replace(record, state=motet.State.RUNNING, ended_at=None, last_sequence=0, result=None)
    request = codec.decode_request(disk.requests[run_id])
    return Story(running, request, events, stream.result, await disk.data.session(KEY))


def ends(events: Sequence[Event]) -> dict[str, Outcome]:
    """Recorded outcomes, by where the member sits."""
    return {
        f"{event.parent}/{event.group}/{event.member}": event.detail.outcome
        for event in events
        if isinstance(event.detail, MemberEnded)
    }


def said(result: motet.RunResult) -> list[Any]:
    each = [(o.member, o.state, o.output, o.metadata) for group in result.groups for o in group.outcomes]
    return [result.state, result.output, *each]


def told(entries: Sequence[SessionEntry]) -> list[tuple[str, str, str, motet.Payload]]:
    return [(entry.role, entry.group, entry.member, entry.payload) for entry in entries]


async def go_on(number: int, story: Story, before: list[Event], disk: Any, world: World) -> list[Event]:
    """Let the run go on that was cut after these events, and check it. Its events."""
    await disk.leave(story.record, story.request, before)
    async with motet.open_engine(world.catalog, store=disk.open()) as engine:
        with trio.fail_after(10_000):
            async with engine.watch(story.record.run_id) as stream:
                seen = [event async for event in stream]
        assert isinstance(engine.sessions, SessionBook)
        assert not engine.sessions.turns.holder(KEY)
    check_run(seen, stream.result, plan=world.plan)
    assert seen[: len(before)] == before
    assert said(stream.result) == said(story.result)
    assert not ends(before).keys() & set(world.called)
    assert told(await disk.data.session(KEY)) == told(story.entries)
    return seen


def paid_calls(events: Sequence[Event], world: World) -> int:
    """Members that called a provider or a plain agent."""
    names = {agent.info.name for agent in world.agents}
    outcomes = ends(events).values()
    return sum(o.attempts > 0 and (o.agent in names or o.agent[:2] in {"p:", "q:"}) for o in outcomes)


@pytest.mark.parametrize("number", range(5))
async def test_nothing_that_had_ended_is_asked_or_called_again(
    number: int, disk: Any, autojump_clock: trio.abc.Clock
) -> None:
    story = await tell(number, disk)
    for cut in range(0, len(story.events), max(1, len(story.events) // 10)):
        world = make(number)
        before = story.events[:cut]
        await go_on(number, story, before, type(disk)(), world)
        # Fewer where a turn is known to have failed and its guardrail, which still ran, need not be asked any more.
        assert len(world.called) <= paid_calls(story.events, world) - paid_calls(before, world)


@pytest.mark.parametrize("number", range(5))
async def test_any_number_of_crashes_changes_nothing(number: int, disk: Any, autojump_clock: trio.abc.Clock) -> None:
    story = await tell(number, disk)
    chance = random.Random(number)  # noqa: S311 - no secret
    for _ in range(2):
        before: list[Event] = []
        seen = story.events
        for _ in range(3):
            before = seen[: chance.randint(len(before), len(seen))]
            seen = await go_on(number, story, before, type(disk)(), make(number))


async def test_a_run_that_had_left_its_session_adds_nothing_more(disk: Any, autojump_clock: trio.abc.Clock) -> None:
    story = await tell(0, disk)
    assert any(entry.role == MEMBER for entry in story.entries)
    for left_out in (1, 2):
        again = type(disk)()
        await again.data.remember(KEY, list(story.entries), 100)
        world = make(0)
        await go_on(0, story, story.events[:-left_out], again, world)
        assert world.called == []


async def test_a_run_that_is_cancelled_while_it_goes_on_leaves_the_session_free(
    disk: Any, autojump_clock: trio.abc.Clock
) -> None:
    story = await tell(0, disk)
    for cut in range(0, len(story.events), 11):
        again = type(disk)()
        await again.leave(story.record, story.request, story.events[:cut])
        world = make(0)
        async with motet.open_engine(world.catalog, store=again.open()) as engine:
            await trio.sleep(0.7)
            record = await engine.cancel(story.record.run_id)
            assert record.state.ended
            assert record.result is not None
            check_run(await again.data.events(record.run_id, 0, 10_000), record.result, plan=world.plan)
            with trio.fail_after(5):
                free = Group("free", [ScriptedAgent("plain")], preserve_session=True)
                assert (await engine.run(free, session_id=SESSION)).succeeded
        assert not any(provider.running for provider in world.providers)
        assert not any(agent.running for agent in world.agents)
