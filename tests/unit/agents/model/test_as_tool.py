"""Groups, plans and agents as tools of a model."""

import json
import math
from typing import Any

import pytest
import trio.testing
from pydantic import BaseModel

import motet
from motet import AgentError, AgentInfo, AgentKind, Call, Group, Member, Outcome, Payload, Reply, State
from motet.agents.model.as_tool import MAX_PARTIAL_BYTES, as_tool
from motet.agents.model.tool import ArgumentsInvalid, Tool, ToolStatus
from motet.agents.model.tool_calls import prepare, told
from motet.testing.fakes import ScriptedAgent


async def used(one: Tool, arguments: object, catalog: motet.Catalog | None = None, **own: Any) -> Outcome:
    """What becomes of a call, as a model agent makes it."""
    async with motet.open_engine(catalog) as engine:
        given = prepare(one, json.dumps(arguments))
        group = Group("tools_1", [Member(one.agent, input=given, timeout=one.timeout)])
        return (await engine.run(group, **own))["tools_1"].outcomes[0]


def echo(name: str, **own: Any) -> ScriptedAgent:
    return ScriptedAgent(name, reply=lambda call: f"{name}: {call.text}", **own)


class Composite:
    """An agent that works through groups of its own, as model agents do."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.info = AgentInfo(name=name, kind=AgentKind.MODEL, description="Thinks.", timeout=7, composite=True)
        self.error = error
        self.depth = -1

    async def call(self, call: Call, /) -> Reply:
        self.depth = call.depth
        if self.error is not None:
            raise self.error
        result = await call.ask(Group("turn_1", [echo("inner")]))
        return Reply(result.outcomes[0].output, metadata={"turns": 1})


async def test_a_group_gets_the_text_and_answers() -> None:
    one = as_tool(Group("panel", [echo("a"), echo("b")]), description="Asks both.")
    assert one.spec.name == "panel"
    assert one.spec.description == "Asks both."
    assert one.spec.parameters["required"] == ["input"]
    outcome = await used(one, {"input": "hi"})
    assert told(one, outcome) == (
        ToolStatus.EXECUTED,
        '{"combined_results":["a: hi","b: hi"],"result_count":2}',
    )


async def test_a_group_of_the_catalog_is_found_by_its_name() -> None:
    catalog = motet.Catalog()
    catalog.add_group(Group("team.panel", [echo("a")], "first"))
    one = as_tool("team.panel")
    assert one.spec.name == "team_panel"
    assert (await used(one, {"input": "hi"}, catalog)).output.text == "a: hi"


async def test_a_plan_needs_a_name() -> None:
    plan = motet.Sequence([Group("x", [echo("a")], "first"), Group("y", [echo("b")], "first")], feed_forward=True)
    with pytest.raises(ValueError, match="give name="):
        as_tool(plan)
    assert (await used(as_tool(plan, name="steps"), {"input": "hi"})).output.text == "b: a: hi"


async def test_with_a_schema_of_its_own_the_entries_are_variables() -> None:
    @motet.agent
    async def speak(given: dict[str, Any], city: str, days: int, tone: str) -> str:
        await trio.lowlevel.checkpoint()
        return f"{given} {city} {days} {tone}"

    class Ask(BaseModel):
        city: str
        days: int = 2

    for target in (Group("panel", [speak], "first"), speak):
        one = as_tool(target, name="ask", input_schema=Ask)
        assert one.spec.parameters["properties"]["days"]["default"] == 2
        outcome = await used(one, {"city": "Faro"}, variables={"tone": "dry"})
        assert outcome.output.text == "{'city': 'Faro', 'days': 2} Faro 2 dry"
        with pytest.raises(ArgumentsInvalid, match="city: is required"):
            prepare(one, "{}")


async def test_a_leaf_agent_is_used_as_it_is() -> None:
    agent = echo("leaf", timeout=5.0)
    one = as_tool(agent)
    assert one.agent is agent
    assert one.timeout == 5
    assert (await used(one, {"input": "hi"})).output.text == "leaf: hi"
    for wrong in ("{}", '{"input":1}', '{"input":"hi","more":1}'):
        with pytest.raises(ArgumentsInvalid, match="a text and nothing else"):
            prepare(one, wrong)


async def test_an_agent_with_a_schema_on_its_card_gets_the_object() -> None:
    class Looks:
        info = AgentInfo(
            name="look", kind=AgentKind.FUNCTION, input_schema='{"type":"object","properties":{"n":{"type":"integer"}}}'
        )

        async def call(self, call: Call, /) -> Reply:
            return Reply(Payload.of(call.value["n"] + 1))

    assert (await used(as_tool(Looks()), {"n": 2})).output.json() == 3


async def test_an_agent_that_runs_groups_itself_runs_one_level_deeper() -> None:
    thinker = Composite("thinker")
    one = as_tool(thinker)
    assert one.spec.description == "Thinks."
    assert one.timeout == 7
    outcome = await used(one, {"input": "hi"})
    assert outcome.output.text == "inner: hi"
    assert outcome.metadata == {"turns": 1}
    assert thinker.depth == 1
    limited = await used(one, {"input": "hi"}, limits=motet.Limits(max_depth=0))
    assert limited.failure.reason == "DEPTH_EXCEEDED"


async def test_an_agent_fails_with_its_own_reason() -> None:
    one = as_tool(Composite("thinker", AgentError("no", reason="GUARDRAIL_TRIPPED", details={"guardrail": "g"})))
    outcome = await used(one, {"input": "hi"})
    assert json.loads(told(one, outcome)[1]) == {"error": "GUARDRAIL_TRIPPED", "message": "no"}
    assert outcome.failure.details["guardrail"] == "g"


async def test_a_group_that_failed_tells_the_results_so_far(autojump_clock: trio.testing.MockClock) -> None:
    bad = ScriptedAgent("bad", delay=1, error=AgentError("broke", reason="BROKEN"))
    worse = ScriptedAgent("worse", delay=2, error=AgentError("broke too", reason="BROKEN"))
    one = as_tool(Group("panel", [echo("a"), bad, worse], "majority"))
    status, text = told(one, await used(one, {"input": "hi"}))
    assert status is ToolStatus.FAILED
    said = json.loads(text)
    assert said["error"] == "NO_MAJORITY"
    assert said["results"][0] == {"group": "panel", "member": "a", "state": "SUCCEEDED", "output": "a: hi"}
    assert said["results"][1] == {
        "group": "panel",
        "member": "bad",
        "state": "FAILED",
        "error": "BROKEN",
        "message": "broke",
    }


async def test_a_group_that_ran_out_of_time_tells_the_results_so_far(autojump_clock: trio.testing.MockClock) -> None:
    one = as_tool(Group("panel", [echo("a"), ScriptedAgent("slow", delay=math.inf)]), timeout=3)
    status, text = told(one, await used(one, {"input": "hi"}))
    assert status is ToolStatus.TIMED_OUT
    said = json.loads(text)
    assert said["error"] == "DEADLINE_EXCEEDED"
    assert [result["state"] for result in said["results"]] == ["SUCCEEDED", "TIMED_OUT"]


@pytest.mark.parametrize(("members", "size"), [(3, 100_000), (2000, 300), (1, 10)])
async def test_partial_results_are_bounded_and_say_what_is_left_out(
    members: int, size: int, autojump_clock: trio.testing.MockClock
) -> None:
    talker = ScriptedAgent("talker", reply="\u00e9" * size)
    bad = ScriptedAgent("bad", delay=1, error=AgentError("x" * 10_000, reason="BROKEN"))
    group = Group("panel", [bad, Member(talker, replicas=members)], limits=motet.Limits(min_successes=members + 1))
    one = as_tool(group)
    _, text = told(one, await used(one, {"input": "hi"}))
    assert len(text.encode()) <= MAX_PARTIAL_BYTES
    said = json.loads(text)
    assert said["error"] == "TOO_FEW_SUCCESSES"
    assert len(said["results"]) + said.get("results_left_out", 0) == members + 1
    assert ("results_left_out" in said) == (members == 2000)
    assert ("output_cut" in said["results"][1]) == (size > 10)


async def test_the_author_may_say_what_the_model_reads() -> None:
    one = as_tool(
        Group("panel", [echo("a")], "first"), output=lambda outcome: f"[{outcome.state}] {outcome.output.text}"
    )
    assert told(one, await used(one, {"input": "hi"}))[1] == "[SUCCEEDED] a: hi"


async def test_tools_that_call_each_other_end_at_the_depth() -> None:
    catalog = motet.Catalog()
    one = as_tool("loop")

    class Again:
        info = AgentInfo(name="again", kind=AgentKind.MODEL, composite=True)
        calls = 0

        async def call(self, call: Call, /) -> Reply:
            Again.calls += 1
            result = await call.ask(Group("tools_1", [Member(one.agent, input=prepare(one, '{"input":"x"}'))]))
            failure = result.outcomes[0].failure
            raise AgentError(failure.message, reason=failure.reason)

    catalog.add_group(Group("loop", [Again()]))
    outcome = await used(one, {"input": "hi"}, catalog, limits=motet.Limits(max_depth=3))
    assert outcome.state is State.FAILED
    assert Again.calls == 3


async def test_what_an_agent_holds_is_released_with_the_tool() -> None:
    class Holding(Composite):
        closed = 0

        async def aclose(self) -> None:
            Holding.closed += 1

    await as_tool(Holding("h")).agent.aclose()  # type: ignore[attr-defined]
    await as_tool(Group("panel", [echo("a")])).agent.aclose()  # type: ignore[attr-defined]
    assert Holding.closed == 1


async def test_a_tools_call_is_made_once_where_the_group_asks_for_that() -> None:
    asked = echo("a")
    for target in (Group("panel", [asked], "first"), asked):
        one = as_tool(target, name="panel", input_schema={"properties": {"q": {"type": "string"}}, "required": ["q"]})
        group = Group(
            "tools_1", [Member(one.agent, name=name, input=prepare(one, '{"q":"x"}')) for name in ("x", "y")],
            idempotency=motet.Idempotency(), max_parallel=1,
        )  # fmt: skip
        before = len(asked.calls)
        async with motet.open_engine() as engine:
            result = await engine.run(group)
        assert result.succeeded
        assert len(asked.calls) - before == 1


def test_wrong_names_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot name a tool"):
        as_tool(echo("a"), name="a b")
    with pytest.raises(ValueError, match="at most 64"):
        as_tool(echo("a" * 65))
    with pytest.raises(ValueError, match="must be an object"):
        as_tool(echo("a"), input_schema=int)
