"""One request to a model as an agent: what travels, what is reported, what is paid."""

import json
import math

import pytest
import trio

import motet
from motet.agents.model import reasons
from motet.agents.model.chat_agent import ChatAgent, Pieces, chat_name
from motet.agents.model.codec import reply_of, reply_value, request_of, request_value
from motet.agents.model.providers.scripted import Say, ScriptedProvider
from motet.model.chat import ChatReply, ChatRequest, Finish, Message, Role, Sampling, ToolCall, ToolSpec
from motet.model.usage import Usage
from motet.ports import ChatContext
from motet.testing import RecordingHost, make_call

REQUEST = ChatRequest(
    model="x",
    messages=(
        Message(role=Role.SYSTEM, text="be kind"),
        Message(role=Role.USER, text="grüße \u2028"),
        Message(role=Role.ASSISTANT, tool_calls=(ToolCall(id="1", name="look", arguments='{"a": 1e400}'),)),
        Message(role=Role.TOOL, tool_call_id="1", text="no", failed=True),
    ),
    tools=(ToolSpec(name="look", description="looks", parameters={"type": "object"}),),
    output_schema={"type": "object"},
    output_name="report",
    sampling=Sampling(temperature=0.5, stop=("a", "b"), extra={"top_k": 3}),
    stream=False,
)
PLAIN = ChatRequest(model="x", messages=(Message(role=Role.USER, text="hi"),))


@pytest.mark.parametrize("request_", [REQUEST, PLAIN])
def test_a_request_comes_back_from_its_json_as_it_was(request_: ChatRequest) -> None:
    assert request_of(json.loads(json.dumps(request_value(request_)))) == request_


def test_a_reply_comes_back_from_its_json_as_it_was() -> None:
    reply = ChatReply(
        text="t",
        tool_calls=(ToolCall(id="1", name="look", arguments="{nonsense"),),
        finish=Finish.TOOL_CALLS,
        model="x-1",
        usage=Usage(calls=1, input_tokens=2, output_tokens=3, cost_nanos=4, unpriced_calls=0),
        response_id="r",
    )
    for each in (reply, ChatReply(text="only")):
        assert reply_of(json.loads(json.dumps(reply_value(each)))) == each


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"role": "nobody"}]},
        {"messages": [{"role": "user", "text": 3}]},
        {"messages": [{"role": "user"}], "sampling": {"heat": 1}},
        {"messages": [{"role": "user"}], "tools": [3]},
        {"messages": [{"role": "user"}], "stream": "yes"},
    ],
)
async def test_what_is_no_request_is_refused_before_the_provider_is_asked(wrong: object) -> None:
    provider = ScriptedProvider(default="hi")
    with pytest.raises(motet.AgentError) as caught:
        await ChatAgent(provider, "x").call(make_call(wrong))
    assert caught.value.reason == "INPUT_INVALID"
    assert provider.requests == []


async def test_the_answer_is_the_reply_as_json_with_its_usage() -> None:
    usage = Usage(calls=1, input_tokens=5, output_tokens=1, cost_nanos=7)
    provider = ScriptedProvider("own", replies=[Say("hi", usage=usage, response_id="r1")])
    reply = await ChatAgent(provider, "x").call(make_call(request_value(PLAIN)))
    assert reply_of(reply.output.json()).text == "hi"
    assert reply.usage == usage
    assert reply.metadata == {
        "provider": "own",
        "system": "scripted",
        "model": "x",
        "requested_model": "x",
        "finish": "stop",
        "response_id": "r1",
    }


async def test_the_provider_is_told_deadline_key_and_width(autojump_clock: trio.abc.Clock) -> None:
    provider = ScriptedProvider(default="hi")
    call = make_call(request_value(PLAIN), deadline=5.0, idempotency_key="k")
    await ChatAgent(provider, "x", max_parallel=7).call(call)
    (context,) = provider.contexts
    assert (context.deadline, context.idempotency_key, context.width) == (5.0, "k", 7)


async def test_text_is_reported_as_it_comes_some_pieces_together(autojump_clock: trio.abc.Clock) -> None:
    text = "".join(map(str, range(200)))
    provider = ScriptedProvider(default=Say(text, delay=1.0, pieces=len(text)))
    host = RecordingHost()
    await ChatAgent(provider, "x").call(make_call(request_value(PLAIN), host=host))
    deltas = [report.json()["delta"] for report in host.reports]
    assert "".join(deltas) == text
    assert 15 <= len(deltas) <= 22  # one second at 50 ms each


async def test_a_quick_stream_is_reported_by_length_and_a_huge_piece_in_parts(
    autojump_clock: trio.abc.Clock,
) -> None:
    host = RecordingHost()
    pieces = Pieces(make_call(host=host))
    await trio.lowlevel.checkpoint()
    for _ in range(1000):
        pieces.hear("ab")
    pieces.flush()
    assert "".join(report.json()["delta"] for report in host.reports) == "ab" * 1000
    assert len(host.reports) <= 12
    host.reports.clear()
    pieces.hear("\x00" * 30_000)
    pieces.flush()
    assert "".join(report.json()["delta"] for report in host.reports) == "\x00" * 30_000
    assert max(report.size for report in host.reports) < 64 * 1024


async def test_the_longest_answer_stays_below_what_a_member_may_report(autojump_clock: trio.abc.Clock) -> None:
    host = RecordingHost()
    pieces = Pieces(make_call(host=host))
    await trio.lowlevel.checkpoint()
    for _ in range(40_000):
        pieces.hear("x" * 100)
    pieces.flush()
    assert len(host.reports) < 10_000
    assert sum(len(report.json()["delta"]) for report in host.reports) == 4_000_000


@pytest.mark.parametrize(
    ("why", "unpriced"), [(reasons.RATE_LIMITED, 0), (reasons.PROVIDER_DENIED, 0), (reasons.PROVIDER_UNAVAILABLE, 1)]
)
async def test_a_request_that_was_turned_away_costs_nothing_one_that_broke_off_has_no_known_price(
    why: str, unpriced: int
) -> None:
    provider = ScriptedProvider(default=motet.AgentError("no", reason=why))
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [ChatAgent(provider, "x")]), request_value(PLAIN))
    (outcome,) = result["g"].outcomes
    assert outcome.failure.reason == why
    assert (outcome.usage.calls, outcome.usage.unpriced_calls) == (1, unpriced)


async def test_agents_of_one_provider_share_its_width(autojump_clock: trio.abc.Clock) -> None:
    provider = ScriptedProvider("own", default=Say("hi", delay=1.0))
    catalog = motet.Catalog()
    catalog.add_provider("own", 2)
    members = [motet.Member(ChatAgent(provider, model), replicas=3) for model in ("x", "y")]
    async with motet.open_engine(catalog) as engine:
        result = await engine.run(motet.Group("g", members), request_value(PLAIN))
    assert result.succeeded
    assert provider.peak == 2


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-4o", "openai:gpt-4o"),
        ("local", "meta-llama/Llama 3", "local:meta-llama-Llama-3"),
        ("-", "ü", "_-:-"),
        ("p", "m" * 200, "p:" + "m" * 126),
    ],
)
def test_its_name_is_provider_and_model_with_what_names_may_not_have_replaced(
    provider: str, model: str, name: str
) -> None:
    assert chat_name(provider, model) == name
    assert ChatAgent(ScriptedProvider(provider), model).info.name == name


def test_a_model_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="name the model"):
        ChatAgent(ScriptedProvider(), "")


async def test_a_call_without_a_deadline_says_so_to_the_provider() -> None:
    provider = ScriptedProvider(default="hi")
    await ChatAgent(provider, "x").call(make_call(request_value(PLAIN)))
    assert provider.contexts[0].deadline == math.inf


async def test_a_character_that_a_server_cuts_in_half_is_whole_in_reports_and_answer(
    autojump_clock: trio.abc.Clock,
) -> None:
    class Halving(ScriptedProvider):
        async def chat(self, request: ChatRequest, context: ChatContext, /) -> ChatReply:
            for piece in ("a\ud83d", "\ude00b", "\udc00"):
                context.hear(piece)
                await trio.sleep(0.1)
            calls = (ToolCall(id="1", name="look", arguments="\ud83d\ude00"),)
            return ChatReply(text="a\ud83d\ude00b\udc00", tool_calls=calls)

    host = RecordingHost()
    reply = await ChatAgent(Halving(), "x").call(make_call(request_value(PLAIN), host=host))
    said = "a\N{GRINNING FACE}b\N{REPLACEMENT CHARACTER}"
    assert "".join(report.json()["delta"] for report in host.reports) == said
    assert reply_of(reply.output.json()).text == said
    assert reply_of(reply.output.json()).tool_calls[0].arguments == "\N{GRINNING FACE}"
    reply.output.text.encode()
