"""A model agent goes on after a crash from where it stood: turns and tools that had ended are not asked again."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import motet
from motet.agents.model.agent import ModelAgent
from motet.agents.model.guardrails import AgentGuardrail
from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.agents.model.tool import Tool
from motet.model.chat import ToolSpec
from motet.model.event import Event, MemberEnded
from motet.testing import ScriptedAgent, check_run


def load_disk() -> Any:
    """The store that engines' tests have crashes with. Loaded by path: test folders are no packages."""
    name = "motet_tests_engine_conftest_of_models"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "engine" / "conftest.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].Disk()


def make() -> tuple[motet.Catalog, ScriptedProvider, ScriptedAgent]:
    """All new, as in another process."""
    provider = ScriptedProvider(
        rules=[
            Rule(reply=Say("all done", delay=1), when_result="^second$"),
            Rule(reply=Say(tool_calls=[("second", {}), ("second", {})], delay=1), when_result="^first$"),
            Rule(reply=Say(tool_calls=[("first", {}), ("nothing", {})], delay=1)),
        ]
    )
    second = ScriptedAgent("second", delay=2, reply="second")
    first = ScriptedAgent("first", delay=1, reply="first")
    tools = [Tool(spec=ToolSpec(name=each.info.name), agent=each) for each in (first, second)]
    judge = AgentGuardrail(ScriptedAgent("judge", delay=0.5, reply=True))
    catalog = motet.Catalog()
    catalog.add(ModelAgent("m", provider=provider, model="x", tools=tools, input_guardrails=[judge]))
    return catalog, provider, second


def ended(events: list[Event], agent: str) -> int:
    """How many calls of this agent the record knows the end of."""
    return sum(isinstance(event.detail, MemberEnded) and event.detail.outcome.agent == agent for event in events)


@pytest.fixture
async def events(autojump_clock: trio.abc.Clock) -> tuple[Any, list[Event]]:
    """Everything that a run tells, and its record."""
    disk, (catalog, _, _) = load_disk(), make()
    async with motet.open_engine(catalog, store=disk.open()) as engine:
        started = await engine.start(motet.Group("g", ["m"], "first"), "go")
        async with engine.watch(started.run_id) as stream:
            told = [event async for event in stream]
        assert stream.result.unwrap() == "all done"
        return await engine.get(started.run_id), told


async def test_what_had_ended_before_a_crash_is_not_asked_again(events: Any, autojump_clock: trio.abc.Clock) -> None:
    record, told = events
    plan = motet.Group("g", ["m"], "first")
    unfinished = type(record)(
        run_id=record.run_id, state=motet.State.RUNNING, started_at=record.started_at, target=record.target
    )
    request = motet.RunRequest(target=plan, input=motet.Payload.from_text("go"))
    for cut in range(1, len(told) - 1):
        disk, (catalog, provider, second) = load_disk(), make()
        await disk.leave(unfinished, request, told[:cut])
        async with motet.open_engine(catalog, store=disk.open()) as engine:
            with trio.fail_after(1000):
                async with engine.watch(record.run_id) as stream:
                    seen = [event async for event in stream]
        assert stream.result.unwrap() == "all done"
        check_run(seen, stream.result, plan=plan)
        if ended(told[:cut], "m"):
            assert provider.requests == []
        else:
            assert len(provider.requests) == 3 - ended(told[:cut], "scripted:x")
            assert len(second.calls) == 2 - ended(told[:cut], "second")
