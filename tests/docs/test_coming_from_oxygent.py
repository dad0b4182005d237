"""What the rows for OxyGent in docs/guides/coming-from.md say, done: one function for each row."""

import json
import math
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock as Clock

import motet
from motet import ScriptedProvider, set_default_model
from motet.agents.model.guardrails import guardrail
from motet.agents.model.instructions import ModelState
from motet.agents.model.providers.scripted import Rule, Say
from motet.model.chat import ChatRequest
from motet.patterns import LocalAgent, ParallelAgent
from motet.patterns.oxygent import OxyRequest, OxyResponse, OxyState, Space, gather, oxy_space
from motet.testing import AttemptScript, ScriptedAgent


@pytest.fixture(autouse=True)
def provider() -> Iterator[ScriptedProvider]:
    """The program's default model: sums up, and answers everything else with its model's name."""
    rules = [Rule(when_instructions="numbered answers of a team", reply="the summary")]
    made = ScriptedProvider(rules=rules, default=lambda request: f"by {request.model}")
    set_default_model(made, "usual")
    yield made
    set_default_model(None)
    oxy_space.clear()


def system_of(request: ChatRequest) -> str:
    return request.messages[0].text


def summarized(provider: ScriptedProvider) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(provider.requests[-1].messages[-1].text)
    return document


def coordinator(*members: motet.Agent, **options: Any) -> ParallelAgent:
    space = Space()
    space.add(*members)
    return ParallelAgent("both", permitted_tool_name_list=[each.info.name for each in members], space=space, **options)


async def run(members: Sequence[Any], rule: Any = "combine", **options: Any) -> motet.RunResult:
    async with motet.open_engine() as engine:
        return await engine.run(motet.Group("g", members, rule, **options), "question")


# ------------------------------------------------------------------------------------------------------------ features


async def test_ox_parallel_agent(provider: ScriptedProvider) -> None:
    members = [ScriptedAgent(name, reply=f"{name} says yes") for name in ("a", "b")]
    response = await coordinator(*members, llm_model="premium").run("question")
    assert response.output == "the summary"
    assert [answer["text"] for answer in summarized(provider)["answers"]] == ["a says yes", "b says yes"]
    assert [member.calls[0].text for member in members] == ["question", "question"]


async def test_ox_no_members(provider: ScriptedProvider) -> None:
    response = await ParallelAgent("both").run("question")
    assert response.state is OxyState.FAILED
    assert provider.requests == []


async def test_ox_team_size(provider: ScriptedProvider) -> None:
    agent = LocalAgent("team", team_size=2, prompt="You are ${member_id} of ${total_members}.")
    assert (await agent.run("question")).output == "the summary"
    assert sorted(map(system_of, provider.requests))[:2] == ["You are 1 of 2.", "You are 2 of 2."]
    assert [answer["member"] for answer in summarized(provider)["answers"]] == ["team_1", "team_2"]


async def test_ox_customize(provider: ScriptedProvider) -> None:
    class Roles(LocalAgent):
        def customize_team_member(self, member_id: int, total_members: int) -> dict[str, Any]:
            return {"role_description": f"role {member_id}", "focus_area": f"area {total_members}"}

    await Roles("roles", team_size=2, prompt="${role_description}, ${focus_area}").run("question")
    assert sorted(map(system_of, provider.requests))[1:] == ["role 1, area 2", "role 2, area 2"]


async def test_ox_member_model(provider: ScriptedProvider) -> None:
    await LocalAgent("team", team_size=2, llm_model="premium", member_llm_model="cheap").run("question")
    assert [request.model for request in provider.requests] == ["cheap", "cheap", "premium"]


async def test_ox_placeholders(provider: ScriptedProvider) -> None:
    await LocalAgent("desk", prompt="Into ${language}, not ${this}.").run("question", language="French")
    assert system_of(provider.requests[0]) == "Into French, not ${this}."


async def test_ox_memory(provider: ScriptedProvider) -> None:
    agent = LocalAgent("desk", short_memory_size=1)
    async with motet.open_engine() as engine:
        for number in range(3):
            await agent.run(f"number {number}", engine=engine, session_id="s")
    assert [message.text for message in provider.requests[-1].messages] == ["number 1", "by usual", "number 2"]


async def test_ox_rounds(provider: ScriptedProvider) -> None:
    async def look() -> str:
        return "nothing"

    provider._default = lambda request: [("look", {})]
    response = await LocalAgent("desk", tools=[look], max_react_rounds=3).run("question")
    assert (response.failure.reason, len(provider.requests)) == ("MAX_TURNS", 3)


async def test_ox_call(autojump_clock: Clock) -> None:
    class Both(ParallelAgent):
        async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
            calls = [oxy_request.call(name, oxy_request.arguments) for name in self.permitted_tool_name_list]
            responses = await gather(*calls)
            return OxyResponse(OxyState.COMPLETED, [response.output for response in responses])

    space = Space()
    space.add(ScriptedAgent("a", reply="A", delay=1), ScriptedAgent("b", reply="B", delay=1))
    response = await Both("both", permitted_tool_name_list=["a", "b"], space=space).run("question")
    assert response.output == ["A", "B"]
    assert trio.current_time() == pytest.approx(1, abs=0.1)


async def test_ox_guards(autojump_clock: Clock) -> None:
    agent = ScriptedAgent("a", attempts=[motet.AgentError("busy", retryable=True), AttemptScript(reply="yes")])
    retry = motet.RetryPolicy(max_attempts=2, initial_backoff=1.0)
    outcome = (await run([agent], retry=retry))["g"]["a"]
    assert (outcome.attempts, outcome.output.text) == (2, "yes")
    assert (await run([ScriptedAgent("a", error=RuntimeError("wrong"))], retry=retry))["g"]["a"].attempts == 1
    narrow = ScriptedAgent("narrow", delay=1, max_parallel=2)
    await run([motet.Member(narrow, replicas=6)])
    assert narrow.peak == 2


async def test_ox_interceptor(provider: ScriptedProvider) -> None:
    @guardrail
    def closed(text: str, state: ModelState) -> str | None:
        return "we are closed" if text == "question" else None

    agent = motet.ModelAgent("desk", provider=provider, model="any", input_guardrails=[closed])
    failure = (await run([agent]))["g"]["desk"].failure
    assert (failure.reason, failure.details["why"]) == ("GUARDRAIL_TRIPPED", "we are closed")


async def test_ox_states(autojump_clock: Clock) -> None:
    members = [
        ScriptedAgent("done"),
        ScriptedAgent("failed", error=RuntimeError("broken")),
        ScriptedAgent("late", delay=math.inf, timeout=1),
    ]
    states = [outcome.state.value for outcome in (await run(members))["g"].outcomes]
    assert states == ["SUCCEEDED", "FAILED", "TIMED_OUT"]
    assert (await coordinator(members[1]).run("question")).state == OxyState.ERROR


async def test_ox_extra(autojump_clock: Clock) -> None:
    result = await run([coordinator(ScriptedAgent("a", delay=2), ScriptedAgent("b", delay=4))])
    extra = result["g"]["both"].metadata
    assert (extra["team_size"], extra["failed_members"]) == (2, [])
    assert extra["execution_time"] == pytest.approx(4, abs=0.1)
    assert extra["parallel_efficiency"] == pytest.approx(2, abs=0.1)
    assert extra["parallel_id"] == result.run_id


async def test_ox_flow() -> None:
    text = str((await run([ScriptedAgent("a", reply="one"), ScriptedAgent("b", reply="two")], "merge")).unwrap())
    assert text.index("one") < text.index("two")


async def test_ox_batch() -> None:
    async def questions() -> AsyncIterator[motet.MapInput]:
        for number in range(3):
            yield motet.MapInput(motet.Payload.of(f"question {number}"))

    group = motet.Group("g", [ScriptedAgent("a", reply=lambda call: call.text)], "first")
    async with motet.open_engine() as engine, engine.map(group, questions(), max_in_flight=2) as answers:
        said = {answer.index: answer.result.unwrap() async for answer in answers}
    assert said == {0: "question 0", 1: "question 1", 2: "question 2"}


async def test_ox_trace(provider: ScriptedProvider) -> None:
    agent = LocalAgent("team", team_size=2)
    group = motet.Group("g", [agent], "first")
    async with motet.open_engine() as engine, engine.stream(group, "question") as stream:
        events = [event async for event in stream]
    parents = {event.group: event.parent for event in events if isinstance(event.detail, motet.GroupStarted)}
    assert parents["team"] == "g/team"
    assert stream.result["g"]["team"].nested[0].name == "team"


async def test_ox_edited() -> None:
    last = motet.Group("last", [ScriptedAgent("c", reply=lambda call: f"based on {call.text}")], "first")
    steps = motet.Sequence(
        [motet.Group("draft", [ScriptedAgent("a", reply="a draft")], "first"), last], feed_forward=True
    )
    async with motet.open_engine() as engine:
        assert (await engine.run(steps, "question")).unwrap() == "based on a draft"
        assert (await engine.run(last, "a better draft")).unwrap() == "based on a better draft"


async def test_ox_friendly_error() -> None:
    down = motet.AgentError("The shop is closed; try tomorrow.", reason="SHOP_CLOSED")
    failure = (await run([ScriptedAgent("a", error=down)]))["g"]["a"].failure
    assert (failure.reason, failure.message) == ("SHOP_CLOSED", "The shop is closed; try tomorrow.")


async def test_ox_distributed(autojump_clock: Clock) -> None:
    agent = ScriptedAgent("a", delay=5, reply="once")
    group = motet.Group("g", [agent], "first")
    async with motet.open_engine() as engine:
        first = await engine.start(group, "question", request_id="mine")
        again = await engine.start(group, "question", request_id="mine")
        async with engine.watch(first.run_id) as watched:
            events = [event async for event in watched]
    assert again.run_id == first.run_id
    assert isinstance(events[-1].detail, motet.RunEnded)
    assert len(agent.calls) == 1


# ---------------------------------------------------------------------------------------------- what failed, and holds here


async def test_ox_failed_members(provider: ScriptedProvider) -> None:
    good, broken = ScriptedAgent("good", reply="yes"), ScriptedAgent("bad", error=RuntimeError("out of ink"))
    response = await coordinator(good, broken).run("question")
    assert response.output == "the summary"
    assert [answer["text"] for answer in summarized(provider)["answers"]] == ["yes"]
    assert [each["member"] for each in summarized(provider)["failed"]] == ["bad"]


async def test_ox_values(provider: ScriptedProvider) -> None:
    members = [ScriptedAgent("a", reply={"total": 12.5}), ScriptedAgent("b", reply=None)]
    assert (await coordinator(*members).run("question")).output == "the summary"
    assert [len(member.calls) for member in members] == [1, 1]


async def test_ox_linear_cost() -> None:
    async def calls_of(members: int) -> int:
        count = 0

        def heard(_frame: object, event: str, _argument: object) -> None:
            nonlocal count
            count += event == "call"

        group = [motet.Member(ScriptedAgent("a"), replicas=members)]
        before = sys.getprofile()
        sys.setprofile(heard)
        try:
            await run(group)
        finally:
            sys.setprofile(before)
        return count

    await calls_of(10)
    assert await calls_of(400) < 4.4 * await calls_of(100)


async def test_ox_arguments() -> None:
    seen = []

    async def greedy(text: str, call: motet.Call) -> str:
        notes = call.variables["notes"]
        notes.append("mine")
        seen.append(notes)
        return text

    named = [motet.agent(name=name)(greedy) for name in ("a", "b")]
    await coordinator(*named).run("question", notes=[])
    assert seen == [["mine"], ["mine"]]


async def test_ox_recursion(autojump_clock: Clock) -> None:
    space = Space()
    agent = ParallelAgent("itself", permitted_tool_name_list=["itself"], space=space)
    with trio.fail_after(60):
        response = await agent.run("question")
    assert response.state is OxyState.FAILED


async def test_ox_queue_time(autojump_clock: Clock) -> None:
    agent = ScriptedAgent("a", delay=0.3, max_parallel=1, timeout=0.5)
    outcomes = (await run([motet.Member(agent, replicas=3)]))["g"].outcomes
    assert [outcome.state.value for outcome in outcomes] == ["SUCCEEDED"] * 3
    assert outcomes[2].queued == pytest.approx(0.6, abs=0.05)
    assert outcomes[2].ran == pytest.approx(0.3, abs=0.05)


async def test_ox_own_timeout(autojump_clock: Clock) -> None:
    response = await coordinator(ScriptedAgent("slow", delay=math.inf), timeout=0.2).run("question")
    assert response.failure.reason == "DEADLINE_EXCEEDED"
    assert trio.current_time() == pytest.approx(0.2, abs=0.1)


async def test_ox_no_retries(provider: ScriptedProvider) -> None:
    provider._default = Say(error=motet.AgentError("busy", retryable=True))
    response = await LocalAgent("desk", retries=1).run("question")
    assert response.state is OxyState.FAILED
    assert len(provider.requests) == 1


async def test_ox_coordinator_keeps(provider: ScriptedProvider, autojump_clock: Clock) -> None:
    provider._default = Say("late", delay=math.inf)
    agent = LocalAgent("team", team_size=4, timeout=3, max_parallel=2)
    response = await agent.run("question")
    assert response.failure.reason == "DEADLINE_EXCEEDED"
    assert provider.peak == 2


async def test_ox_race(autojump_clock: Clock) -> None:
    slow, quick = ScriptedAgent("slow", delay=60), ScriptedAgent("quick", reply="quick", delay=1)
    assert (await run([slow, quick], "first")).unwrap() == "quick"
    assert slow.cancelled == 1
    few = await run([ScriptedAgent("a"), ScriptedAgent("b")], limits=motet.Limits(max_calls=1), max_parallel=1)
    assert [outcome.state.value for outcome in few["g"].outcomes] == ["SUCCEEDED", "SKIPPED"]


async def test_ox_tolerant(provider: ScriptedProvider, autojump_clock: Clock) -> None:
    members = [ScriptedAgent(f"m{n}", delay=1, error=RuntimeError("broken") if n else None) for n in range(3)]
    assert (await coordinator(*members).run("question")).output == "the summary"
    assert trio.current_time() == pytest.approx(1, abs=0.1)


def test_ox_install(tmp_path: Path) -> None:
    code = "import sys, motet.patterns.oxygent; print('mcp' in sys.modules, 'openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "False"]
    assert list(tmp_path.iterdir()) == []
