"""The OpenAI provider against a local server that speaks chat completions: what is particular to that format."""

import json
from typing import Any

import pytest
from openai_peer import chunk, fail, say
from provider_wire import KEY, OPENAI, Talk, talk
from wire_peer import Act, Turn, cut, events, respond

from motet.agents.model import reasons
from motet.agents.model.providers.prices import Price
from motet.model.chat import Finish, Message, Role, Sampling, ToolCall, ToolSpec

ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def delta(finish: str | None = None, **said: Any) -> bytes:
    """One chunk of a stream, with one choice."""
    choice = {"index": 0, "delta": said, "finish_reason": finish}
    return bytes(chunk({"id": "c", "model": "m", "choices": [choice]}))


def call(arguments: str, **own: Any) -> dict[str, Any]:
    """A piece of a tool call."""
    name = {"name": own.pop("name")} if "name" in own else {}
    return {**own, "function": {**name, "arguments": arguments}}


STOP = delta("stop")
DONE = b"data: [DONE]\n\n"


async def streamed(*chunks: bytes, then: Act | None = None, **own: Any) -> Any:
    async with talk(OPENAI, [events(*chunks, then=then)], **own) as it:
        return await it.ask()


async def sent(**own: Any) -> Turn:
    """The request as the server got it."""
    async with talk(OPENAI, [say("hi")]) as it:
        await it.ask(**own)
        return it.peer.turns[0]


async def test_a_request_says_everything_in_the_documented_form() -> None:
    messages = (
        Message(role=Role.SYSTEM, text="be brief"),
        Message(role=Role.USER, text="2+3?"),
        Message(role=Role.ASSISTANT, text="", tool_calls=(ToolCall(id="c1", name="add", arguments='{"a": 2}'),)),
        Message(role=Role.TOOL, text="5", tool_call_id="c1"),
    )
    spec = ToolSpec(name="add", description="Adds.", parameters={"type": "object", "properties": {}})
    sampling = Sampling(
        temperature=0.5, top_p=0.9, max_output_tokens=7, stop=("x",), seed=3, tool_choice="add", extra={"min_p": 0.1}
    )
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    turn = await sent(messages=messages, tools=(spec,), sampling=sampling, output_schema=schema, output_name="sum")
    assert turn.path == "/v1/chat/completions"
    assert turn.headers["authorization"] == f"Bearer {KEY}"
    said = turn.json
    assert [each["role"] for each in said["messages"]] == ["system", "user", "assistant", "tool"]
    assert said["messages"][2]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 2}'}
    assert (said["messages"][3]["tool_call_id"], said["messages"][3]["content"]) == ("c1", "5")
    assert said["tools"][0]["function"]["name"] == "add"
    assert said["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert (said["temperature"], said["top_p"], said["stop"], said["seed"]) == (0.5, 0.9, ["x"], 3)
    assert (said["max_tokens"], said["min_p"]) == (7, 0.1)
    assert said["response_format"]["json_schema"]["name"] == "sum"
    assert (said["stream"], said["stream_options"]) == (True, {"include_usage": True})


async def test_a_whole_answer_is_asked_for_without_stream_options() -> None:
    turn = await sent(stream=False)
    assert not turn.json.get("stream")
    assert "stream_options" not in turn.json


@ways
async def test_finishes_are_told_apart(stream: bool) -> None:
    expected = {
        "stop": Finish.STOP,
        "length": Finish.LENGTH,
        "content_filter": Finish.REFUSED,
        "eos": Finish.STOP,
    }
    async with talk(OPENAI, [say("hi", finish=finish) for finish in expected]) as it:
        assert [(await it.ask(stream=stream)).finish for _ in expected] == list(expected.values())


@ways
async def test_a_refusal_is_a_refusal(stream: bool) -> None:
    async with talk(OPENAI, [say(refusal="I will not")]) as it:
        reply = await it.ask(stream=stream)
    assert (reply.finish, reply.text) == (Finish.REFUSED, "I will not")


@ways
async def test_cached_tokens_are_among_the_prompts_and_have_their_price(stream: bool) -> None:
    prices = {"m": Price(10, 0, 1)}
    async with talk(OPENAI, [say("hi", usage=(100, 0), cached=60)], prices=prices) as it:
        usage = (await it.ask(stream=stream)).usage
    assert (usage.input_tokens, usage.cost_nanos) == (100, 40 * 10_000 + 60 * 1_000)


async def test_a_stream_needs_no_done_and_may_be_cut_once_the_model_has_finished() -> None:
    assert (await streamed(delta(content="hi"), STOP)).text == "hi"
    assert (await streamed(delta(content="hi"), STOP, then=cut)).text == "hi"


async def test_a_stream_that_ends_before_the_model_has_finished_is_unavailable() -> None:
    for last in (b"", DONE):
        async with talk(OPENAI, [events(delta(content="hi"), last)]) as it:
            assert (await it.fail()).reason == reasons.PROVIDER_UNAVAILABLE


async def test_chunks_without_choices_and_comments_are_passed_over() -> None:
    filters = chunk({"id": "", "model": "", "choices": [], "prompt_filter_results": []})
    nothing = chunk({"choices": None})
    reply = await streamed(b": OPENROUTER PROCESSING\n\n", filters, nothing, delta(content="hi"), delta(), STOP, DONE)
    assert (reply.text, reply.model) == ("hi", "m")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_lines_may_end_and_arrive_in_any_way(end: bytes) -> None:
    whole = b"".join([delta(content="grüezi ☃"), delta(content=" there"), STOP, DONE]).replace(b"\n", end)
    assert (await streamed(*(whole[at : at + 1] for at in range(len(whole))))).text == "grüezi ☃ there"
    assert (await streamed(whole.replace(b"data: ", b"data:"))).text == "grüezi ☃ there"


async def test_usage_may_come_with_the_last_choice() -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    reply = await streamed(chunk({**last, "usage": {"prompt_tokens": 3, "completion_tokens": 4}}), DONE)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 4)


@pytest.mark.parametrize(
    "pieces",
    [
        [[call('{"a": 1}', index=0, id="x", name="add")], [call('{"b": 2}', index=1, id="y", name="sub")]],
        [[call('{"a": 1}', index=0, id="x", name="add"), call('{"b": 2}', index=1, id="y", name="sub")]],
        [[call('{"a": 1}', id="x", name="add")], [call('{"b": 2}', id="y", name="sub")]],
        [
            [call("", index=1, id="y", name="sub")],
            [call("", index=0, id="x", name="add")],
            [call('{"b":', index=1), call('{"a": 1', index=0)],
            [call(" 2}", index=1), call("}", index=0)],
        ],
        [[call('{"a": 1}', index=0, id="x", name="add")], [call('{"b": 2}', index=0, id="y", name="sub")]],
    ],
    ids=["one by one", "at once", "without index", "backwards", "all at index 0"],
)
async def test_tool_calls_come_in_whatever_pieces_servers_make(pieces: list[Any]) -> None:
    reply = await streamed(*(delta(tool_calls=each) for each in pieces), delta("tool_calls"), DONE)
    assert [(each.id, each.name, json.loads(each.arguments)) for each in reply.tool_calls] == [
        ("x", "add", {"a": 1}),
        ("y", "sub", {"b": 2}),
    ]


@ways
async def test_calls_count_even_when_the_server_says_that_it_just_stopped(stream: bool) -> None:
    async with talk(OPENAI, [say(calls=[("add", {})], finish="stop")]) as it:
        assert (await it.ask(stream=stream)).finish is Finish.TOOL_CALLS


async def test_a_server_that_does_not_stream_is_understood() -> None:
    heard: list[str] = []

    async def whole(turn: Turn) -> None:
        turn.json["stream"] = False
        await say("hi")(turn)

    async with talk(OPENAI, [whole]) as it:
        assert (await it.ask(hear=heard.append)).text == "hi"
    assert heard == ["hi"]


@pytest.mark.parametrize("error", [{"message": "overloaded", "code": 503}, {"message": "bad", "type": "server_error"}])
async def test_an_error_in_the_stream_is_an_error(error: dict[str, Any]) -> None:
    async with talk(OPENAI, [events(delta(content="hi"), chunk({"error": error}))]) as it:
        failed = await it.fail()
    assert (failed.reason, failed.retryable) == (reasons.PROVIDER_UNAVAILABLE, True)
    assert error["message"] in failed.message


@ways
async def test_an_answer_without_a_choice_makes_no_sense(stream: bool) -> None:
    async with talk(OPENAI, [respond(200, {"id": "x", "model": "m", "choices": []})]) as it:
        assert (await it.fail(stream=stream)).reason == reasons.PROVIDER_INVALID


async def test_no_credit_left_is_not_worth_a_retry() -> None:
    async with talk(OPENAI, [fail(429, "You exceeded your current quota", code="insufficient_quota")]) as it:
        error = await it.fail()
    assert (error.reason, error.retryable) == (reasons.RATE_LIMITED, False)


async def test_a_prompt_that_the_filter_stops_is_refused_content() -> None:
    async with talk(OPENAI, [fail(400, "filtered", code="content_filter")]) as it:
        error = await it.fail()
    assert (error.reason, error.retryable) == (reasons.CONTENT_REFUSED, False)


async def test_a_local_server_wants_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with talk(OPENAI, [say("hi")], api_key=None) as it:
        assert (await it.ask()).text == "hi"


async def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "from-the-environment")
    async with talk(OPENAI, [say("hi")], api_key=None, api_key_env="TEAM_KEY") as it:
        await it.ask()
        assert it.peer.turns[0].headers["authorization"] == "Bearer from-the-environment"


async def test_the_same_provider_serves_several_models() -> None:
    async with talk(OPENAI, then=say("hi")) as it:
        assert await _models(it) == ["a", "b"]


async def _models(it: Talk) -> list[str]:
    return [(await it.ask(model=model)).model for model in ("a", "b")]
