"""Teams: who the members are, what each is told, and what the summary is written of."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from trio.testing import MockClock

import motet
from motet.agents.model.agent import ModelAgent
from motet.agents.model.instructions import Template
from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.patterns._team import Role, Team, team
from motet.testing import ScriptedAgent, check_run

ROLES = [Role("Optimist", "what can work"), Role("Critic", "what can fail")]


def scripted(**options: Any) -> ScriptedProvider:
    rules = [Rule(when_instructions="numbered answers of a team", reply="the summary")]
    return ScriptedProvider(rules=rules, **{"default": lambda request: f"by {request.model}", **options})


def told(provider: ScriptedProvider) -> list[str]:
    """The instructions of the members, sorted."""
    return sorted(text for each in provider.requests if "numbered answers" not in (text := each.messages[0].text))


def summarized(provider: ScriptedProvider) -> dict[str, Any]:
    """What the summary was written of."""
    (request,) = (each for each in provider.requests if "numbered answers" in each.messages[0].text)
    document: dict[str, Any] = json.loads(request.messages[-1].text)
    return document


async def run(group: motet.Group, input: object = "Shall we?") -> motet.RunResult:
    async with motet.open_engine() as engine, engine.stream(group, input) as stream:
        events = [event async for event in stream]
    check_run(events, stream.result, plan=group)
    return stream.result


async def test_three_members_answer_and_one_summary_is_written() -> None:
    provider = scripted()
    result = await run(team("panel", provider=provider, model="small"))
    assert result.unwrap() == "the summary"
    assert [outcome.member for outcome in result["panel"].outcomes] == ["panel_1", "panel_2", "panel_3"]
    assert told(provider)[2].startswith("You are member 3 of a team of 3.")
    assert summarized(provider)["question"] == "Shall we?"
    assert [answer["text"] for answer in summarized(provider)["answers"]] == ["by small"] * 3


async def test_each_member_is_told_its_role_and_those_beyond_are_generalists() -> None:
    provider = scripted()
    await run(team("panel", provider=provider, model="small", roles=ROLES, size=3))
    roles = [text.split("\n\n")[1] for text in told(provider)]
    assert roles == [
        "Your role: Optimist\nFocus on: what can work",
        "Your role: Critic\nFocus on: what can fail",
        "Your role: General Analyst\nFocus on: comprehensive analysis",
    ]


async def test_a_text_with_places_says_itself_where_the_role_stands() -> None:
    provider = scripted()
    text = "${role} ${member_id}/${total_members} in ${place}: ${focus}; ${unknown}"
    group = team("panel", provider=provider, model="small", roles=ROLES, instructions=text, variables={"place": "Faro"})
    await run(group)
    assert told(provider) == [
        "Critic 2/2 in Faro: what can fail; ${unknown}",
        "Optimist 1/2 in Faro: what can work; ${unknown}",
    ]


async def test_a_role_may_have_its_own_model_and_text_and_the_summary_a_better_one() -> None:
    cheap, dear = scripted(), scripted(name="dear")
    roles = [Role("Optimist"), Role("Critic", model="large", provider=dear, instructions="You find faults.")]
    group = team("panel", provider=cheap, model="small", roles=roles, summary_model="premium", summary_provider=dear)
    result = await run(group)
    assert [outcome.output.text for outcome in result["panel"].outcomes] == ["by small", "by large"]
    assert told(dear) == ["You find faults.\n\nYour role: Critic\nFocus on: what your role asks for"]
    assert [request.model for request in dear.requests] == ["large", "premium"]
    assert [outcome.member for outcome in result["panel"].outcomes] == ["panel_1", "panel_2"]


async def test_a_role_with_a_model_alone_stays_with_the_provider_and_fallbacks_of_the_team() -> None:
    provider = scripted()
    base = ModelAgent("panel", provider=provider, model="small", instructions=Template("{{ role }}"))
    await run(team("panel", base, roles=[Role("Optimist"), Role("Critic", model="large")]))
    assert {(each.messages[0].text, each.model) for each in provider.requests[:2]} == {
        ("Optimist", "small"),
        ("Critic", "large"),
    }
    assert base.choices[0].model == "small"


async def test_failed_members_are_named_to_the_summary_and_are_no_answers(autojump_clock: MockClock) -> None:
    async def member(call: motet.Call) -> str:
        if call.variables["member_id"] == 2:
            raise RuntimeError("no idea")
        return "yes"

    provider = scripted()
    group = team("panel", motet.agent(member), summary_provider=provider, summary_model="premium")
    assert (await run(group)).unwrap() == "the summary"
    assert [answer["member"] for answer in summarized(provider)["answers"]] == ["panel_1", "panel_3"]
    assert [(each["member"], each["reason"]) for each in summarized(provider)["failed"]] == [
        ("panel_2", "AGENT_FAILED")
    ]


async def test_no_summary_is_written_below_min_successes_and_the_answers_are_kept() -> None:
    async def member(call: motet.Call) -> str:
        if call.variables["member_id"] == 2:
            raise RuntimeError("no idea")
        return "yes"

    provider = scripted()
    group = team("panel", motet.agent(member), min_successes=3, summary_provider=provider, summary_model="premium")
    result = await run(group)
    assert result.failure.reason == "TOO_FEW_SUCCESSES"
    assert result["panel"]["panel_1"].output.text == "yes"
    assert provider.requests == []


async def test_a_slow_member_is_stopped_and_the_others_are_summed_up(autojump_clock: MockClock) -> None:
    provider = ScriptedProvider(
        rules=[
            Rule(when_instructions="numbered answers", reply="the summary"),
            Rule(when_instructions="Optimist", reply=Say("late", delay=math.inf)),
        ],
        default="no",
    )
    group = team("panel", provider=provider, model="small", roles=ROLES, member_timeout=5)
    result = await run(group)
    assert result.unwrap() == "the summary"
    assert result["panel"]["panel_1"].state is motet.State.TIMED_OUT
    assert result["panel"]["panel_1"].stop.kind is motet.StopKind.STOPPED


async def test_another_rule_may_stand_in_place_of_the_summary_and_weighs_the_roles() -> None:
    def vote(call: motet.Call) -> str:
        return "no" if call.variables["role"] == "Critic" else "yes"

    roles = [Role("Optimist"), Role("Optimist"), Role("Critic", weight=5)]
    result = await run(team("panel", ScriptedAgent("judge", reply=vote), roles=roles, aggregation="vote"))
    assert result.unwrap()["answer"] == "no"


async def test_a_team_is_an_agent_of_another_group() -> None:
    provider = scripted()
    panel = Team("panel", provider=provider, model="small", description="Asks three")
    result = await run(motet.Group("outer", [panel], "first"))
    assert result.unwrap() == "the summary"
    assert [group.name for group in result["outer"]["panel"].nested] == ["panel"]
    assert panel.info.description == "Asks three"


async def test_a_team_in_a_catalog_lets_go_of_its_providers_when_the_engine_closes() -> None:
    members, writers = scripted(), scripted(name="writers")
    catalog = motet.Catalog()
    catalog.add(Team("panel", provider=members, model="small", summary_provider=writers, summary_model="large"))
    async with motet.open_engine(catalog) as engine:
        assert (await engine.run(motet.Group("g", ["panel"], "first"), "?")).unwrap() == "the summary"
    assert (members.closed, writers.closed) == (1, 1)


def test_a_large_team_of_one_agent_is_one_seat_with_replicas() -> None:
    group = team("panel", ScriptedAgent("judge"), size=100_000, aggregation="combine")
    (member,) = group.members
    assert isinstance(member, motet.Member)
    assert member.replicas == 100_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size: 0 is too small"),
        ({"size": 1, "roles": ROLES}, "size: 1 is too small"),
        ({"agent": ScriptedAgent("judge"), "model": "small"}, "agent: it has a model"),
        ({"agent": ScriptedAgent("judge"), "roles": [Role("Critic", model="large")]}, r"roles\[0\]: only model agents"),
        ({"roles": [Role("Critic", provider=ScriptedProvider())]}, r"roles\[0\].provider: name its model"),
        ({"summary_model": "large", "aggregation": "vote"}, "summary: nothing is summarized"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        team("panel", **options)


def test_the_name_stands_for_the_function_also_when_agents_that_use_it_were_imported_before() -> None:
    code = "import motet.patterns.oxygent; from motet.patterns import team; print(callable(team))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
