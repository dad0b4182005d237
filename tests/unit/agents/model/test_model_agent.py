"""A model agent in the real engine: turns, tools, statuses, what it answers and what it tells."""

from datetime import UTC, datetime
from typing import Any

import pytest
import trio

import motet
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.defaults import set_default_model
from motet.agents.model.history import History
from motet.agents.model.loop import Loop
from motet.agents.model.providers.scripted import Rule, Say, Scripted, ScriptedProvider
from motet.agents.model.tool import Tool
from motet.model.chat import ChatRequest, Finish, Role, Sampling, ToolCall, ToolSpec
from motet.model.session import SessionEntry
from motet.model.usage import Usage
from motet.testing import RecordingHost, ScriptedAgent, make_call


async def look(city: str) -> dict[str, Any]:
    """Look a city up."""
    await trio.lowlevel.checkpoint()
    return {"city": city, "degrees": 21}


async def broken() -> str:
    await trio.lowlevel.checkpoint()
    raise motet.AgentError("no such sensor", reason="SENSOR_LOST")


def make(provider: ScriptedProvider, **options: Any) -> ModelAgent:
    return ModelAgent(options.pop("name", "m"), provider=provider, model=options.pop("model", "x"), **options)


async def run(agent: ModelAgent, input: object = "go", **options: Any) -> motet.Outcome:
    async with motet.open_engine(options.pop("catalog", None)) as engine:
        result = await engine.run(motet.Group("g", [agent], **options.pop("group", {})), input, **options)
    return result["g"].outcomes[0]


def told(request: ChatRequest) -> list[tuple[str, str]]:
    return [(message.role.value, message.text) for message in request.messages]


async def test_the_text_of_the_model_is_the_answer() -> None:
    provider = ScriptedProvider(replies=["hello"])
    outcome = await run(make(provider, instructions="be kind", sampling=Sampling(temperature=0.1)), "hi")
    assert outcome.output == motet.Payload.from_text("hello")
    assert told(provider.requests[0]) == [("system", "be kind"), ("user", "hi")]
    assert provider.requests[0].sampling.temperature == 0.1
    assert outcome.metadata == {
        "turns": 1,
        "model": "x",
        "provider": "scripted",
        "agent": "m",
        "handoffs": [],
        "tools": [],
        "finish": "stop",
    }


async def test_json_input_is_told_as_its_text_and_variables_reach_a_function_of_the_state() -> None:
    provider = ScriptedProvider(replies=["ok"])
    agent = make(provider, instructions=lambda state: f"role {state.variables['role']}, turn {state.turn}")
    await run(agent, {"a": 1.50}, variables={"role": "critic"})
    assert told(provider.requests[0]) == [("system", "role critic, turn 1"), ("user", '{"a":1.5}')]


async def test_bytes_that_are_no_text_are_refused_before_the_model_is_asked() -> None:
    provider = ScriptedProvider(default="ok")
    outcome = await run(make(provider), b"\xff\xfe")
    assert outcome.failure.reason == "INPUT_INVALID"
    assert provider.requests == []


async def test_tools_are_run_and_their_results_fed_back_until_there_is_an_answer() -> None:
    provider = ScriptedProvider(replies=[Say("let me look", tool_calls=[("look", {"city": "Oslo"})]), "21 degrees"])
    outcome = await run(make(provider, tools=[look]))
    assert outcome.output.text == "21 degrees"
    second = provider.requests[1]
    assert [m.role for m in second.messages] == [Role.USER, Role.ASSISTANT, Role.TOOL]
    assert second.messages[1].text == "let me look"
    assert second.messages[2].text == '{"city":"Oslo","degrees":21}'
    assert [group.name for group in outcome.nested] == ["turn_1", "tools_1", "turn_2"]
    assert outcome.metadata["tools"] == [{"tool": "look", "call_id": "call_1", "turn": 1, "status": "executed"}]


async def test_each_status_is_told_to_the_model_in_the_order_of_its_calls(autojump_clock: trio.abc.Clock) -> None:
    slow = Tool(spec=ToolSpec(name="slow"), agent=ScriptedAgent("slow", delay=60))
    asked = [
        ToolCall(id="1", name="slow"),
        ToolCall(id="2", name="nothing"),
        ToolCall(id="3", name="look", arguments="{not json"),
        ToolCall(id="4", name="broken"),
        ToolCall(id="5", name="look", arguments='{"city": "Rome"}'),
    ]
    provider = ScriptedProvider(replies=[asked, "done"])
    agent = make(provider, tools=[look, broken, slow], tool_timeout=5)
    async with motet.open_engine() as engine, engine.stream(motet.Group("g", [agent]), "go") as stream:
        events = [event async for event in stream]
    outcome = stream.result["g"].outcomes[0]
    reports = [
        event.detail.report.json()
        for event in events
        if isinstance(event.detail, motet.MemberProgress) and event.member == "m"
    ]
    statuses = ["timed_out", "tool_not_found", "validation_error", "failed", "executed"]
    assert [use["status"] for use in outcome.metadata["tools"]] == statuses
    assert [use.get("reason") for use in outcome.metadata["tools"]] == [
        "DEADLINE_EXCEEDED",
        "TOOL_NOT_FOUND",
        "VALIDATION_ERROR",
        "SENSOR_LOST",
        None,
    ]
    results = provider.requests[1].messages[2:]
    assert [message.tool_call_id for message in results] == ["1", "2", "3", "4", "5"]
    assert [message.failed for message in results] == [True, True, True, True, False]
    # Those that never start are reported at once, the others as each ends.
    assert [(r["call_id"], r["status"]) for r in reports][:2] == [("2", "tool_not_found"), ("3", "validation_error")]
    assert {(r["call_id"], r["status"]) for r in reports} == set(zip("12345", statuses, strict=True))
    assert reports[-1] == {"tool": "slow", "call_id": "1", "status": "timed_out"}
    # Those that are wrong never start.
    assert [o.member for o in outcome.nested[1].outcomes] == ["slow", "broken", "look"]


async def test_two_group_tools_of_one_turn_run_together_and_one_that_times_out_is_told_as_such(
    autojump_clock: trio.abc.Clock,
) -> None:
    quick = motet.Group("quick", [ScriptedAgent("a", delay=1, reply="A"), ScriptedAgent("b", delay=2, reply="B")])
    stuck = motet.Group("stuck", [ScriptedAgent("c", delay=3600)])
    both = [("quick", {"input": "x"}), ("stuck", {"input": "y"})]
    provider = ScriptedProvider(replies=[both, "summary of what there is"])
    began = trio.current_time()
    outcome = await run(make(provider, tools=[quick, stuck], tool_timeout=10))
    assert outcome.output.text == "summary of what there is"
    assert [use["status"] for use in outcome.metadata["tools"]] == ["executed", "timed_out"]
    assert trio.current_time() - began == pytest.approx(10)
    tools = outcome.nested[1]
    assert [o.state for o in tools.outcomes] == [motet.State.SUCCEEDED, motet.State.TIMED_OUT]
    assert tools.outcomes[1].stop.kind is motet.StopKind.STOPPED
    assert '"A"' in provider.requests[1].messages[2].text


async def test_no_more_tools_run_at_once_than_it_allows(autojump_clock: trio.abc.Clock) -> None:
    worker = ScriptedAgent("work", delay=1)
    tool = Tool(spec=ToolSpec(name="work"), agent=worker)
    provider = ScriptedProvider(replies=[[("work", {})] * 6, "done"])
    outcome = await run(make(provider, tools=[tool], max_parallel_tools=2))
    assert worker.peak == 2
    assert [o.member for o in outcome.nested[1].outcomes] == ["work", *(f"work_{n}" for n in range(2, 7))]


async def test_a_model_that_must_call_a_tool_may_answer_once_it_has() -> None:
    provider = ScriptedProvider(replies=[[("look", {"city": "Oslo"})], "done"])
    outcome = await run(make(provider, tools=[look], sampling=Sampling(tool_choice="required")))
    assert outcome.output.text == "done"
    assert [request.sampling.tool_choice for request in provider.requests] == ["required", ""]


async def test_max_turns_fails_with_the_last_text_and_runs_no_more_tools() -> None:
    provider = ScriptedProvider(default=Say("still looking", tool_calls=[("look", {"city": "Oslo"})]))
    outcome = await run(make(provider, tools=[look], max_turns=2))
    assert outcome.failure.reason == reasons.MAX_TURNS
    assert outcome.failure.details["text"] == "still looking"
    assert outcome.failure.details["turns"] == 2
    assert [group.name for group in outcome.nested] == ["turn_1", "tools_1", "turn_2"]


@pytest.mark.parametrize(
    ("finish", "why"), [(Finish.LENGTH, reasons.OUTPUT_TRUNCATED), (Finish.REFUSED, reasons.CONTENT_REFUSED)]
)
async def test_a_cut_or_refused_answer_fails_with_its_text(finish: Finish, why: str) -> None:
    outcome = await run(make(ScriptedProvider(replies=[Say("half of", finish=finish)])))
    assert outcome.failure.reason == why
    assert outcome.failure.details["text"] == "half of"


async def test_an_empty_answer_is_asked_for_once_more() -> None:
    assert (await run(make(ScriptedProvider(replies=["", "now"])))).output.text == "now"
    outcome = await run(make(ScriptedProvider(default="")))
    assert outcome.failure.reason == reasons.OUTPUT_MISMATCH
    assert len(outcome.nested) == 2


async def test_an_output_type_makes_a_json_answer_and_one_mistake_is_repaired() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    provider = ScriptedProvider(replies=['{"n": "three"}', '{"n": 3}'])
    outcome = await run(make(provider, output_type=schema, max_turns=1))
    assert outcome.output.json() == {"n": 3}
    assert outcome.output.kind == "json"
    assert provider.requests[0].output_schema == schema
    assert told(provider.requests[1])[1] == ("assistant", '{"n": "three"}')
    assert "n" in told(provider.requests[1])[2][1]
    twice = await run(make(ScriptedProvider(default="nonsense"), output_type=schema))
    assert twice.failure.reason == reasons.OUTPUT_MISMATCH
    assert twice.failure.details["text"] == "nonsense"
    assert len(twice.nested) == 2


async def test_a_turn_that_fails_for_a_passing_reason_is_tried_again_by_the_engine(
    autojump_clock: trio.abc.Clock,
) -> None:
    busy = motet.AgentError("busy", reason=reasons.RATE_LIMITED, retryable=True, retry_after=7.0)
    provider = ScriptedProvider(replies=[busy, "there"])
    began = trio.current_time()
    outcome = await run(make(provider))
    assert outcome.output.text == "there"
    assert outcome.nested[0].outcomes[0].attempts == 2
    assert trio.current_time() - began >= 7.0


async def test_a_failed_turn_fails_the_agent_with_the_reason_of_the_provider(autojump_clock: trio.abc.Clock) -> None:
    denied = motet.AgentError("no key", reason=reasons.PROVIDER_DENIED, details={"http_status": 401})
    outcome = await run(make(ScriptedProvider(default=denied)))
    assert outcome.failure.reason == reasons.PROVIDER_DENIED
    assert outcome.failure.details["http_status"] == 401
    assert outcome.failure.details["turn"] == "turn_1"
    assert outcome.usage == Usage(calls=2)


async def test_details_of_a_failure_may_have_any_names(autojump_clock: trio.abc.Clock) -> None:
    odd = motet.AgentError("no", reason="ODD", details={"reason": "a", "message": "b", "self": "c", "used": "d"})
    outcome = await run(make(ScriptedProvider(default=odd)))
    assert outcome.failure.reason == "ODD"
    assert outcome.failure.details["reason"] == "a"
    assert outcome.failure.details["used"]["calls"] == 1


async def test_a_turn_that_takes_too_long_ends_at_its_timeout(autojump_clock: trio.abc.Clock) -> None:
    outcome = await run(make(ScriptedProvider(default=Say("late", delay=100)), turn_timeout=3))
    assert outcome.state is motet.State.FAILED
    assert outcome.failure.reason == "DEADLINE_EXCEEDED"
    assert outcome.ran == pytest.approx(3)


async def test_the_usage_of_all_turns_and_tools_adds_up_on_the_outcome_exactly() -> None:
    use = Usage(calls=1, input_tokens=100, output_tokens=10, cost_nanos=7)
    tool_use = Usage(calls=1, cost_nanos=1000)
    tool = Tool(spec=ToolSpec(name="pay"), agent=ScriptedAgent("pay", usage=tool_use))
    provider = ScriptedProvider(replies=[Say(tool_calls=[("pay", {}), ("pay", {})], usage=use), Say("done", usage=use)])
    outcome = await run(make(provider, tools=[tool]))
    assert outcome.usage == Usage(calls=5, input_tokens=200, output_tokens=20, cost_nanos=2014)
    assert sum((group.usage for group in outcome.nested), Usage(calls=1)) == outcome.usage


async def test_two_hundred_members_never_exceed_the_width_of_their_provider(autojump_clock: trio.abc.Clock) -> None:
    provider = ScriptedProvider(
        "llm",
        rules=[
            Rule(reply=Say("done", delay=0.5), when_result="."),
            Rule(reply=Say(tool_calls=[("look", {"city": "x"})], delay=1)),
        ],
    )
    catalog = motet.Catalog()
    catalog.add_provider("llm", 20)
    agent = make(provider, tools=[look])
    async with motet.open_engine(catalog) as engine:
        result = await engine.run(motet.Group("g", [motet.Member(agent, replicas=200)]), "go")
    assert result.stats.succeeded >= 200
    assert len(provider.requests) == 400
    assert provider.peak == 20
    assert provider.running == 0


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("own", ["hello", "hi there", "go"]),
        ("all", ["hello", "hi there", "[other]: good day", "go"]),
        ("none", ["go"]),
    ],
)
def test_the_conversation_begins_with_what_the_session_remembers(mode: History, said: list[str]) -> None:
    past = [("user", "", "hello"), ("member", "m", "hi there"), ("member", "other", "good day")]
    host = RecordingHost()
    host.history = [
        SessionEntry(role=role, member=member, payload=motet.Payload.from_text(text), at=datetime.now(UTC))
        for role, member, text in past
    ]
    agent = make(ScriptedProvider(), history=mode)
    call = make_call("go", host=host, member="m", session_id="s")
    assert [message.text for message in Loop(agent, call).talk.messages] == said


async def test_without_a_provider_the_default_of_the_program_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MOTET_MODEL"):
        monkeypatch.delenv(name, raising=False)
    agent = ModelAgent("m")
    assert (await run(agent)).failure.reason == reasons.PROVIDER_MISSING
    provider = ScriptedProvider("mine", default="hi")
    try:
        set_default_model(provider)
        assert (await run(agent)).failure.reason == reasons.PROVIDER_MISSING
        assert (await run(ModelAgent("m", model="own"))).metadata["model"] == "own"
        set_default_model(provider, "usual")
        outcome = await run(agent)
    finally:
        set_default_model(None)
    assert (outcome.output.text, outcome.metadata["provider"], outcome.metadata["model"]) == ("hi", "mine", "usual")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_turns": 0}, "max_turns"),
        ({"model": ""}, "model"),
        ({"turn_timeout": -1}, "turn_timeout"),
        ({"tool_timeout": float("nan")}, "tool_timeout"),
        ({"max_parallel_tools": 0}, "max_parallel_tools"),
        ({"history": "some"}, "history"),
        ({"retry": motet.RetryPolicy(max_attempts=0)}, "retry.max_attempts"),
        ({"limits": motet.Limits(max_tokens=-1)}, "limits.max_tokens"),
        ({"weight": 0}, "weight"),
    ],
)
def test_wrong_options_are_refused_where_the_agent_is_made(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        make(ScriptedProvider(), **options)


def test_settings_tell_agents_apart_by_what_changes_their_answers_and_hold_no_secret() -> None:
    def of(**options: Any) -> object:
        return make(ScriptedProvider(), **options).settings

    assert of(instructions="a", tools=[look]) == of(instructions="a", tools=[look])
    kinds: list[dict[str, Any]] = [
        {},
        {"instructions": "a"},
        {"tools": [look]},
        {"model": "y"},
        {"sampling": Sampling(seed=1)},
        {"output_type": {"type": "object"}},
        {"history": "none"},
        {"max_turns": 2},
        {"handoffs": [make(ScriptedProvider(), name="other")]},
    ]
    told_apart = [repr(of(**options)) for options in kinds]
    assert len(set(told_apart)) == len(kinds)
    assert "0x" not in "".join(told_apart)


async def test_closing_it_closes_each_of_its_providers_once_and_the_agents_of_its_tools() -> None:
    class Holding(ScriptedAgent):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    first, second, holding = ScriptedProvider("a"), ScriptedProvider("b"), Holding("h")
    tool = Tool(spec=ToolSpec(name="h"), agent=holding)
    one = make(first, tools=[tool])
    two = make(second, name="two", tools=[tool], handoffs=[one])
    one.add_handoffs(two)
    catalog = motet.Catalog()
    catalog.add(two)
    async with motet.open_engine(catalog):
        pass
    assert (first.closed, second.closed, holding.closed) == (1, 1, 1)


async def test_the_same_agent_may_be_many_members_at_once(autojump_clock: trio.abc.Clock) -> None:
    def say(request: ChatRequest) -> Scripted:
        if request.messages[-1].role is Role.TOOL:
            return f"{request.messages[0].text}: {request.messages[-1].text}"
        return [("look", {"city": request.messages[0].text})]

    agent = make(ScriptedProvider(replies=say), tools=[look])
    members = [motet.Member(agent, input=motet.Payload.from_text(f"city{n}")) for n in range(30)]
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", members))
    answers = [outcome.output.text for outcome in result["g"].outcomes]
    assert answers == [f'city{n}: {{"city":"city{n}","degrees":21}}' for n in range(30)]
