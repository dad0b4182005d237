"""What real providers make of answers that make no sense, are far too large, or lead elsewhere: a reason, never a raw exception."""

import json
from typing import Any

import pytest
import trio
from provider_wire import ANTHROPIC, KEY, OPENAI, Wire, everything_said, talk
from wire_peer import Act, Turn, events, respond

from motet.agents.model import reasons
from motet.agents.model.providers.prices import Price

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@both
@ways
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"choices": 3, "content": 3}',
        b'{"choices": [3], "content": [3]}',
        b'{"choices": [{"message": 3}], "content": [{"type": 3}]}',
        b'{"choices": [{"message": {"content": 3, "tool_calls": 3}}], "content": [{"type": "text", "text": 3}]}',
        b'{"choices": [{"message": {"tool_calls": [3]}}], "content": [{"type": "tool_use", "input": 3, "name": 3}]}',
        b'{"choices": [{"message": {"tool_calls": [{"function": 3}]}}], "content": {"a": 1}}',
        b'{"choices": {"a": 1}, "content": null}',
    ],
    ids=range(15),
)
async def test_a_body_that_makes_no_sense_has_a_reason(wire: Wire, stream: bool, body: bytes) -> None:
    async with talk(wire, [respond(200, body), wire.say("next")]) as it:
        error = await it.fail(stream=stream)
        assert (error.reason, error.retryable) == (reasons.PROVIDER_INVALID, True)
        assert len(error.message) <= 300
        assert (await it.ask()).text == "next"


@both
@pytest.mark.parametrize(
    "stream",
    [
        b"data: {\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: \xff\xff\n\n",
        b"data: 3\n\n",
        b"data: [3]\n\n",
        b'data: {"type": "content_block_delta", "choices": [{"delta": 3, "index": "x"}]}\n\n',
        b'data: {"type": "content_block_delta", "choices": [{"delta": {"tool_calls": [{"index": "x"}]}}]}\n\n',
        b'data: {"type": "message_start", "message": 3, "choices": 3}\n\n',
        b'data: {"type": "content_block_start", "index": -1, "content_block": [], "choices": [[]]}\n\n',
        b"data: <html>",
        b"",
        b"\n\n\n:comment\n\n",
        b"data: [DONE]\n\n",
    ],
    ids=range(13),
)
async def test_a_stream_that_makes_no_sense_has_a_reason(wire: Wire, stream: bytes) -> None:
    async with talk(wire, [events(stream), wire.say("next")]) as it:
        error = await it.fail()
        assert error.reason in {reasons.PROVIDER_INVALID, reasons.PROVIDER_UNAVAILABLE}
        assert error.retryable
        assert len(error.message) <= 300
        assert (await it.ask()).text == "next"


@both
async def test_a_web_page_instead_of_an_answer_has_a_reason(wire: Wire) -> None:
    page = b"<html>" + b"x" * 100_000
    for status, reason in ((200, reasons.PROVIDER_INVALID), (502, reasons.PROVIDER_UNAVAILABLE)):
        async with talk(wire, [respond(status, page, {"content-type": "text/html"})]) as it:
            error = await it.fail()
        assert error.reason == reason
        assert len(error.message) <= 300


@both
async def test_a_very_long_line_is_read_without_harm(wire: Wire) -> None:
    async with talk(wire, [wire.say("x" * 3_000_000, pieces=1)]) as it:
        with trio.fail_after(30):
            assert len((await it.ask()).text) == 3_000_000


@both
@ways
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"{" * 50_000,
        b'{"error": ' + b"[" * 50_000,
        b'{"error": 3}',
        b'{"error": {"message": {"a": 1}, "type": [], "code": {}}}',
        b"[]",
        b'{"error": "' + b"x" * 1_000_000 + b'"}',
    ],
    ids=range(8),
)
async def test_an_error_whose_body_makes_no_sense_has_the_reason_of_its_status(
    wire: Wire, stream: bool, body: bytes
) -> None:
    async with talk(wire, [respond(400, body), respond(503, body)]) as it:
        rejected, unavailable = await it.fail(stream=stream), await it.fail(stream=stream)
    assert (rejected.reason, rejected.retryable) == (reasons.PROVIDER_REJECTED, False)
    assert (unavailable.reason, unavailable.retryable) == (reasons.PROVIDER_UNAVAILABLE, True)
    assert max(len(rejected.message), len(unavailable.message)) <= 300


@both
@ways
async def test_a_redirect_is_not_followed_with_the_key(wire: Wire, stream: bool) -> None:
    async with talk(wire) as it, wire.peer() as elsewhere:
        elsewhere.script(then=wire.say("give me your key"))
        it.peer.script([respond(status, b"", {"location": elsewhere.url}) for status in (301, 307)])
        for _ in range(2):
            error = await it.fail(stream=stream)
            assert (error.reason, error.retryable) == (reasons.PROVIDER_REJECTED, False)
        assert elsewhere.turns == []


@both
@ways
@pytest.mark.parametrize(
    "counts", [(-5, 5), (2**80, 2**80), ("7", None), ([], {}), (1.5, True), (3, float("1e300"))], ids=range(6)
)
async def test_usage_that_makes_no_sense_does_not_spoil_the_books(wire: Wire, stream: bool, counts: Any) -> None:
    async with talk(wire, [_telling(wire, counts)], prices={"*": Price(1, 1)}) as it:
        reply = await it.ask(stream=stream)
    assert reply.text == "hi"
    figures = (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cost_nanos)
    assert all(type(figure) is int and 0 <= figure < 2**63 for figure in figures)


def _telling(wire: Wire, counts: tuple[Any, Any]) -> Act:
    """An answer with these counts instead of its own."""
    names = ("prompt_tokens", "completion_tokens") if wire is OPENAI else ("input_tokens", "output_tokens")
    told = json.dumps(dict(zip(names, counts, strict=True)))

    async def act(turn: Turn) -> None:
        pieces: list[dict[str, Any]]
        whole: dict[str, Any]
        if wire is OPENAI:
            choice = {"index": 0, "finish_reason": "stop"}
            whole = {"choices": [{**choice, "message": {"content": "hi"}}], "usage": "@"}
            pieces = [{"choices": [{**choice, "delta": {"content": "hi"}}], "usage": "@"}]
        else:
            block = {"type": "text", "text": "hi"}
            whole = {"content": [block], "stop_reason": "end_turn", "usage": "@"}
            pieces = [
                {"type": "message_start", "message": {"usage": "@"}},
                {"type": "content_block_start", "index": 0, "content_block": block},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": "@"},
            ]
        if turn.streamed:
            said = (f"data: {json.dumps(piece)}\n\n" for piece in pieces)
            await events(*(piece.replace('"@"', told).encode() for piece in said))(turn)
        else:
            await turn.answer(json.dumps(whole).replace('"@"', told).encode())

    return act


@both
async def test_the_last_word_of_a_hostile_service_gives_no_key_away(wire: Wire) -> None:
    async def echo(turn: Turn) -> None:
        await turn.answer(" ".join(turn.headers.values()).encode(), 400, {"x-request-id": KEY})

    async with talk(wire, [echo]) as it:
        error = await it.fail()
    assert KEY not in everything_said(error)
