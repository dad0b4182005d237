"""What holds of OxyGent's agents here beyond its page: failures, values, memory, bounds, and how they are found."""

import gc
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import motet
from motet.agents.model.defaults import set_default_model
from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.patterns.oxygent import (
    LocalAgent,
    Memory,
    Message,
    OxyRequest,
    OxyResponse,
    OxyState,
    ParallelAgent,
    Space,
    gather,
    oxy_space,
)
from motet.testing import ScriptedAgent


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    made = ScriptedProvider(
        rules=[Rule(when_instructions="numbered answers of a team", reply="the summary")],
        default=lambda request: f"heard {len(request.messages)}",
    )
    set_default_model(made, "small")
    yield made
    set_default_model(None)
    oxy_space.clear()


def summarized(provider: ScriptedProvider) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(provider.requests[-1].messages[-1].text)
    return document


def coordinator(*members: motet.Agent, **options: Any) -> ParallelAgent:
    space = Space()
    space.add(*members)
    names = [member.info.name for member in members]
    return ParallelAgent("coordinator", permitted_tool_name_list=names, space=space, **options)


async def test_a_failed_member_is_named_to_the_summary_and_never_summed_up(provider: ScriptedProvider) -> None:
    agent = coordinator(ScriptedAgent("good", reply="yes"), ScriptedAgent("bad", error=RuntimeError("out of ink")))
    response = await agent.run("Shall we?")
    assert response.output == "the summary"
    assert [answer["text"] for answer in summarized(provider)["answers"]] == ["yes"]
    assert response.extra["failed_members"] == [
        {"member": "bad", "state": "FAILED", "reason": "AGENT_FAILED", "message": "RuntimeError: out of ink"}
    ]


async def test_a_team_without_any_answer_fails_and_asks_for_no_summary(provider: ScriptedProvider) -> None:
    response = await coordinator(ScriptedAgent("bad", error=RuntimeError("out of ink"))).run("Shall we?")
    assert (response.state, response.output) == (OxyState.FAILED, "")
    assert response.failure.reason == "NO_SUCCESSFUL_RESULTS"
    assert response.extra["team_size"] == 1
    assert provider.requests == []


async def test_members_may_answer_with_any_json_value(provider: ScriptedProvider) -> None:
    first, second = ScriptedAgent("numbers", reply={"total": 12.5}), ScriptedAgent("list", reply=[1, 2])
    assert (await coordinator(first, second).run("Sum?")).output == "the summary"
    assert [answer["text"] for answer in summarized(provider)["answers"]] == ['{"total":12.5}', "[1,2]"]
    assert (len(first.calls), len(second.calls)) == (1, 1)


async def test_a_slow_member_is_stopped_and_the_answers_that_are_there_are_summed_up(
    provider: ScriptedProvider, autojump_clock: MockClock
) -> None:
    agent = coordinator(ScriptedAgent("quick", reply="yes"), ScriptedAgent("slow", delay=math.inf, timeout=5))
    response = await agent.run("Shall we?")
    assert response.output == "the summary"
    assert [each["member"] for each in response.extra["failed_members"]] == ["slow"]
    assert response.extra["execution_time"] == pytest.approx(5, abs=0.1)


async def test_a_coordinator_keeps_its_own_timeout(provider: ScriptedProvider, autojump_clock: MockClock) -> None:
    agent = coordinator(ScriptedAgent("slow", delay=math.inf), timeout=2)
    response = await agent.run("Shall we?")
    assert response.failure.reason == "DEADLINE_EXCEEDED"
    assert trio.current_time() < 10


async def test_members_do_not_see_what_others_do_with_their_arguments(provider: ScriptedProvider) -> None:
    seen = []

    async def greedy(text: str, call: motet.Call) -> str:
        own = call.variables
        own["notes"].append("mine")
        seen.append(own["notes"])
        return text

    agent = coordinator(motet.agent(name="one")(greedy), motet.agent(name="two")(greedy))
    await agent.run("Shall we?", notes=[])
    assert seen == [["mine"], ["mine"]]


async def test_a_coordinator_among_its_own_members_ends(provider: ScriptedProvider, autojump_clock: MockClock) -> None:
    space = Space()
    agent = ParallelAgent("ouroboros", permitted_tool_name_list=["ouroboros"], space=space)
    response = await agent.run("Who?")
    assert response.state is OxyState.FAILED
    assert trio.current_time() < 10


async def test_the_last_rounds_of_a_session_are_shown_to_the_model(provider: ScriptedProvider) -> None:
    agent = LocalAgent("desk", short_memory_size=2)
    async with motet.open_engine() as engine:
        said = [(await agent.run(f"number {n}", engine=engine, session_id="s")).output for n in range(5)]
    assert said == ["heard 1", "heard 3", "heard 5", "heard 5", "heard 5"]
    texts = [message.text for message in provider.requests[-1].messages]
    assert texts == ["number 2", "heard 5", "number 3", "heard 5", "number 4"]


async def test_members_of_a_team_remember_their_own_rounds(provider: ScriptedProvider) -> None:
    agent = LocalAgent("desk", team_size=2, short_memory_size=1)
    async with motet.open_engine() as engine:
        for n in range(3):
            await agent.run(f"number {n}", engine=engine, session_id="s")
    members = [each for each in provider.requests if "numbered answers" not in each.messages[0].text]
    assert [message.text for message in members[-1].messages] == ["number 1", "heard 3", "number 2"]


async def test_arguments_that_an_author_changes_are_those_that_are_asked(provider: ScriptedProvider) -> None:
    class Polite(LocalAgent):
        async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
            oxy_request.arguments["query"] = f"Please: {oxy_request.get_query()}"
            return await super()._execute(oxy_request)

    assert (await Polite("polite").run("do it")).ok
    assert provider.requests[0].messages[-1].text == "Please: do it"


async def test_placeholders_stand_for_arguments_and_unknown_ones_stay(provider: ScriptedProvider) -> None:
    await LocalAgent("desk", prompt="Into ${language}, not ${this}.").run("Good morning", language="French")
    assert provider.requests[0].messages[0].text == "Into French, not ${this}."


async def test_what_is_asked_as_an_object_is_passed_on_as_one(provider: ScriptedProvider) -> None:
    member = ScriptedAgent("member", reply=lambda call: {"got": call.value})
    space = Space()
    space.add(member)

    class Asking(ParallelAgent):
        async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
            return await oxy_request.call("member", oxy_request.arguments)

    response = await Asking("asking", space=space).run({"city": "Faro"})
    assert response.output == {"got": {"city": "Faro"}}


async def test_a_failed_call_of_another_agent_has_no_output_and_says_why(provider: ScriptedProvider) -> None:
    seen: list[OxyResponse] = []
    space = Space()
    space.add(ScriptedAgent("bad", error=RuntimeError("out of ink")))

    class Asking(ParallelAgent):
        async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
            seen.append(await oxy_request.call("bad"))
            return seen[0]

    response = await Asking("asking", space=space).run("?")
    assert (seen[0].output, seen[0].state) == ("", OxyState.ERROR)
    assert response.failure.message == "RuntimeError: out of ink"


async def test_a_model_that_fails_is_a_response_too(provider: ScriptedProvider, autojump_clock: MockClock) -> None:
    provider._default = Say(error=motet.AgentError("no such model", reason="PROVIDER_REJECTED"))

    class Asking(ParallelAgent):
        async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
            memory = Memory([Message.user_message("Hello")])
            return await oxy_request.call("large", {"messages": memory})

    response = await Asking("asking").run("?")
    assert response.failure.reason == "PROVIDER_REJECTED"


@pytest.mark.parametrize("given", ["text", OxyResponse(output=object()), OxyResponse(extra={"thing": object()})])
async def test_what_is_no_response_is_refused(provider: ScriptedProvider, given: Any) -> None:
    class Wrong(LocalAgent):
        async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
            response: OxyResponse = given
            return response

    response = await Wrong("wrong").run("?")
    assert response.failure.reason == "OUTPUT_INVALID"


async def test_a_run_inside_a_run_belongs_to_it(provider: ScriptedProvider) -> None:
    inner = LocalAgent("inner")

    @motet.agent
    async def outer(text: str) -> object:
        return (await inner.run(text)).output

    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("top", [outer]), "Hello")
    assert [group.name for group in result["top"]["outer"].nested] == ["inner"]


async def test_gather_keeps_the_order_and_raises_the_first_error(autojump_clock: MockClock) -> None:
    async def after(seconds: float, value: str) -> str:
        await trio.sleep(seconds)
        if value == "bad":
            raise ValueError(value)
        return value

    assert await gather(after(2, "a"), after(1, "b")) == ["a", "b"]
    assert trio.current_time() == pytest.approx(2)
    with pytest.raises(ValueError, match="bad"):
        await gather(after(60, "a"), after(1, "bad"))
    assert trio.current_time() == pytest.approx(3)


async def test_the_space_forgets_agents_that_nobody_holds_and_prefers_the_newer() -> None:
    space = Space()
    first = LocalAgent("desk", space=space)
    second = LocalAgent("desk", space=space)
    assert space.agent("desk") is second
    del first, second
    gc.collect()
    assert space.names() == []
    space.add(desk=lambda text: text)
    assert space.agent("desk").info.name == "desk"
    with pytest.raises(ValueError, match="has no name"):
        space.add({"name": "desk"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocalAgent("no spaces please"), "cannot name an agent"),
        (lambda: LocalAgent("desk", tools="search"), "tools: is one text"),
        (lambda: ParallelAgent("desk", permitted_tool_name_list="search"), "permitted_tool_name_list: is one text"),
    ],
)
def test_what_is_wrong_is_refused_where_an_agent_is_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


async def test_a_size_that_is_none_fails_the_call_with_its_name(provider: ScriptedProvider) -> None:
    response = await LocalAgent("desk", team_size=0).run("?")
    assert "size: 0 is too small" in response.failure.message
    assert provider.requests == []


async def test_when_the_caller_goes_away_nothing_of_a_team_runs_on(
    provider: ScriptedProvider, autojump_clock: MockClock
) -> None:
    provider._default = Say("late", delay=math.inf)
    with trio.move_on_after(1):
        await LocalAgent("desk", team_size=3).run("?")
    assert (provider.running, provider.cancelled) == (0, 3)


async def test_agents_of_a_catalog_answer_by_name_once_for_a_key_and_in_the_background(
    provider: ScriptedProvider,
) -> None:
    catalog = motet.Catalog()
    broken = LocalAgent("broken", tools=["nobody"])
    catalog.add(
        LocalAgent("desk"),
        LocalAgent("panel", team_size=2),
        ParallelAgent("both", permitted_tool_name_list=["desk", "panel"], space=Space()),
        broken,
    )
    group = motet.Group("g", ["desk", "panel", "both", "broken"], idempotency=motet.Idempotency())
    async with motet.open_engine(catalog) as engine:
        started = await engine.start(group, "question")
        async with engine.watch(started.run_id) as watched:
            assert [event async for event in watched]
        first = (await engine.get(started.run_id)).result.groups[0]
        again = (await engine.run(group, "question"))["g"]
    assert [outcome.state.value for outcome in first.outcomes] == ["SUCCEEDED"] * 3 + ["FAILED"]
    assert [outcome.cached for outcome in again.outcomes] == [True, True, True, False]
    assert again["broken"].failure.reason == "TOOL_NOT_FOUND"


async def test_another_prompt_is_another_question(provider: ScriptedProvider) -> None:
    agent = LocalAgent("desk", prompt="Be brief.")
    group = motet.Group("g", [agent], idempotency=motet.Idempotency())
    async with motet.open_engine() as engine:
        await engine.run(group, "question")
        agent.prompt = "Be long."
        result = await engine.run(group, "question")
    assert not result["g"]["desk"].cached
    assert [request.messages[0].text for request in provider.requests] == ["Be brief.", "Be long."]
