"""The Anthropic provider against a local server that speaks its messages: what is particular to that format."""

import json
from typing import Any

import pytest
from anthropic_peer import event, fail, say
from provider_wire import ANTHROPIC, KEY, talk
from wire_peer import Act, Turn, cut, events

from motet.agents.model import reasons
from motet.agents.model.providers.prices import Price
from motet.model.chat import Finish, Message, Role, Sampling, ToolCall, ToolSpec

ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])

START = event("message_start", message={"id": "msg_1", "model": "m", "content": [], "usage": {"input_tokens": 3}})
TEXT = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
HI = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
STOP = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
END = event("message_stop")

CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "additionalProperties": {"type": "integer"}}


async def streamed(*chunks: bytes, then: Act | None = None) -> Any:
    async with talk(ANTHROPIC, [events(*chunks, then=then)]) as it:
        return await it.ask()


async def sent(**own: Any) -> Turn:
    """The request as the server got it."""
    async with talk(ANTHROPIC, [say("hi")]) as it:
        await it.ask(**own)
        return it.peer.turns[0]


async def test_a_request_says_everything_in_the_documented_form() -> None:
    messages = (
        Message(role=Role.SYSTEM, text="be brief"),
        Message(role=Role.USER, text="2+3 and 4+5?"),
        Message(
            role=Role.ASSISTANT,
            text="well",
            tool_calls=(
                ToolCall(id="c1", name="add", arguments='{"a": 2}'),
                ToolCall(id="c2", name="add", arguments='{"a": 4'),
            ),
        ),
        Message(role=Role.TOOL, text="5", tool_call_id="c1"),
        Message(role=Role.TOOL, text="no JSON", tool_call_id="c2", failed=True),
    )
    spec = ToolSpec(name="add", description="Adds.", parameters={"type": "object", "properties": {}})
    sampling = Sampling(temperature=0.5, max_output_tokens=7, stop=("x",), tool_choice="required", extra={"top_k": 3})
    turn = await sent(messages=messages, tools=(spec,), sampling=sampling)
    assert turn.path == "/v1/messages"
    assert KEY in {turn.headers.get("x-api-key"), turn.headers.get("authorization", "").removeprefix("Bearer ")}
    assert turn.headers["anthropic-version"]
    said = turn.json
    assert said["system"] == "be brief"
    assert [each["role"] for each in said["messages"]] == ["user", "assistant", "user"]
    wanted = [block for block in said["messages"][1]["content"] if block["type"] == "tool_use"]
    assert [(block["id"], block["name"]) for block in wanted] == [("c1", "add"), ("c2", "add")]
    assert wanted[0]["input"] == {"a": 2}
    assert isinstance(wanted[1]["input"], dict)
    results = said["messages"][2]["content"]
    assert [(block["tool_use_id"], bool(block.get("is_error"))) for block in results] == [("c1", False), ("c2", True)]
    assert said["tools"][0]["input_schema"] == {"type": "object", "properties": {}}
    assert said["tool_choice"]["type"] == "any"
    assert (said["max_tokens"], said["stop_sequences"], said["temperature"], said["top_k"]) == (7, ["x"], 0.5, 3)


async def test_the_most_tokens_have_to_be_told_and_are() -> None:
    assert (await sent()).json["max_tokens"] == 4096


@ways
async def test_finishes_are_told_apart(stream: bool) -> None:
    expected = {
        "end_turn": Finish.STOP,
        "stop_sequence": Finish.STOP,
        "max_tokens": Finish.LENGTH,
        "model_context_window_exceeded": Finish.LENGTH,
        "refusal": Finish.REFUSED,
        "brand_new": Finish.STOP,
    }
    async with talk(ANTHROPIC, [say("hi", stop=stop) for stop in expected]) as it:
        assert [(await it.ask(stream=stream)).finish for _ in expected] == list(expected.values())


@ways
async def test_cached_tokens_count_as_input_and_have_their_price(stream: bool) -> None:
    async with talk(ANTHROPIC, [say("hi", usage=(40, 0), cached=60)], prices={"m": Price(10, 0, 1)}) as it:
        usage = (await it.ask(stream=stream)).usage
    assert usage.input_tokens == 100
    assert usage.cost_nanos == 40 * 10_000 + 60 * 1_000


async def test_a_stream_may_be_cut_once_the_model_has_finished() -> None:
    assert (await streamed(START, TEXT, HI, STOP)).text == "hi"
    assert (await streamed(START, TEXT, HI, STOP, then=cut)).text == "hi"


async def test_a_stream_that_ends_before_the_model_has_finished_is_unavailable() -> None:
    async with talk(ANTHROPIC, [events(START, TEXT, HI)]) as it:
        assert (await it.fail()).reason == reasons.PROVIDER_UNAVAILABLE


async def test_the_last_count_of_tokens_is_the_one_that_holds() -> None:
    usage = (await streamed(START, TEXT, HI, STOP, END)).usage
    assert (usage.input_tokens, usage.output_tokens) == (3, 4)


async def test_blocks_of_other_kinds_are_passed_over() -> None:
    thought = [
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
        event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "s"}),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=1, delta={"type": "text_delta", "text": "hi"}),
        event("content_block_delta", index=1, delta={"type": "brand_new_delta"}),
    ]
    assert (await streamed(START, *thought, STOP, END)).text == "hi"


@pytest.mark.parametrize("after", [0, 2])
async def test_an_overloaded_service_may_say_so_within_the_stream(after: int) -> None:
    async with talk(ANTHROPIC, [say("abcdef", error_after=after)]) as it:
        error = await it.fail()
    assert (error.reason, error.retryable) == (reasons.RATE_LIMITED, True)


@ways
async def test_an_overloaded_service_is_worth_a_retry(stream: bool) -> None:
    busy = fail(529, "Overloaded", kind="overloaded_error", headers={"retry-after": "4"})
    async with talk(ANTHROPIC, [busy]) as it:
        error = await it.fail(stream=stream)
    assert (error.reason, error.retryable, error.retry_after) == (reasons.RATE_LIMITED, True, 4)


@ways
async def test_a_closed_schema_is_the_services_own_business(stream: bool) -> None:
    async with talk(ANTHROPIC, then=say('{"a": 1}')) as it:
        for _ in range(2):  # the first request is made before the SDK is known, the second after
            assert json.loads((await it.ask(stream=stream, output_schema=CLOSED)).text) == {"a": 1}
        assert [turn.json["output_config"]["format"]["type"] for turn in it.peer.turns] == ["json_schema"] * 2


@ways
async def test_an_open_schema_is_answered_with_a_tool_and_read_as_the_answer(stream: bool) -> None:
    async with talk(ANTHROPIC, then=say(calls=[("sums", {"x": 1})])) as it:
        for _ in range(2):
            reply = await it.ask(stream=stream, output_schema=OPEN, output_name="sums")
            assert (json.loads(reply.text), reply.tool_calls, reply.finish) == ({"x": 1}, (), Finish.STOP)
        assert [turn.json["tool_choice"]["name"] for turn in it.peer.turns] == ["sums", "sums"]


async def test_what_the_service_has_no_word_for_is_refused_before_anything_is_sent() -> None:
    async with talk(ANTHROPIC, [say("hi")]) as it:
        error = await it.fail(sampling=Sampling(seed=3))
        assert it.peer.turns == []
    assert (error.reason, error.retryable) == (reasons.PROVIDER_REJECTED, False)
    assert "seed" in error.message
