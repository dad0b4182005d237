"""Both real providers against local servers of their wire formats: what is the same for both."""

import json
import logging
from pathlib import Path

import pytest
import trio
from provider_wire import ANTHROPIC, KEY, OPENAI, Wire, everything_said, talk
from wire_peer import cut, hang

from motet.agents.model import reasons
from motet.agents.model.providers._network import forbid_network
from motet.agents.model.providers.prices import Price
from motet.model.chat import Finish
from motet.model.usage import Usage
from motet.ports import Provider

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@both
@ways
async def test_an_answer_has_its_text_its_finish_and_its_usage(wire: Wire, stream: bool) -> None:
    heard: list[str] = []
    async with talk(wire, [wire.say("hello world")]) as it:
        assert isinstance(it.provider, Provider)
        reply = await it.ask(stream=stream, hear=heard.append)
    assert (reply.text, reply.finish, reply.model) == ("hello world", Finish.STOP, "m")
    assert (reply.usage.calls, reply.usage.input_tokens, reply.usage.output_tokens) == (1, 12, 5)
    assert reply.usage.unpriced_calls == 1
    assert reply.response_id
    assert "".join(heard) in {"hello world", "" if not stream else "hello world"}
    assert len(heard) == 3 or not stream


@both
@ways
async def test_tool_calls_arrive_whole_and_in_order(wire: Wire, stream: bool) -> None:
    wanted = [("add", {"a": 1, "b": [2, "ü"]}), ("sub", {})]
    async with talk(wire, [wire.say("let me see", calls=wanted)]) as it:
        reply = await it.ask(stream=stream)
    assert reply.finish is Finish.TOOL_CALLS
    assert reply.text == "let me see"
    assert [call.name for call in reply.tool_calls] == ["add", "sub"]
    assert [json.loads(call.arguments) for call in reply.tool_calls] == [arguments for _, arguments in wanted]
    assert len({call.id for call in reply.tool_calls}) == 2


@both
async def test_arguments_that_are_no_json_come_as_the_model_wrote_them(wire: Wire) -> None:
    async with talk(wire, [wire.say(calls=[("add", '{"a": 1')])]) as it:
        reply = await it.ask()
    assert reply.tool_calls[0].arguments == '{"a": 1'


@both
@ways
async def test_a_service_that_tells_no_usage_is_unpriced(wire: Wire, stream: bool) -> None:
    async with talk(wire, [wire.say("hi", usage=None)], prices={"*": Price(1, 1)}) as it:
        reply = await it.ask(stream=stream)
    assert reply.text == "hi"
    assert reply.usage == Usage(calls=1, unpriced_calls=1)


@both
@ways
async def test_own_prices_make_the_cost(wire: Wire, stream: bool) -> None:
    async with talk(wire, [wire.say("hi", usage=(100, 10))], prices={"m": Price(1, 2)}) as it:
        reply = await it.ask(stream=stream)
    assert reply.usage == Usage(calls=1, input_tokens=100, output_tokens=10, cost_nanos=100_000 + 20_000)


@both
@ways
async def test_fields_that_nobody_knows_do_no_harm(wire: Wire, stream: bool) -> None:
    async with talk(wire, [wire.say("hi", calls=[("add", {})], extra={"brand_new": {"deep": [1]}})]) as it:
        reply = await it.ask(stream=stream)
    assert (reply.text, len(reply.tool_calls)) == ("hi", 1)


@both
@ways
@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [
        (400, reasons.PROVIDER_REJECTED, False),
        (403, reasons.PROVIDER_DENIED, False),
        (404, reasons.PROVIDER_REJECTED, False),
        (408, reasons.PROVIDER_UNAVAILABLE, True),
        (409, reasons.PROVIDER_UNAVAILABLE, True),
        (413, reasons.PROVIDER_REJECTED, False),
        (422, reasons.PROVIDER_REJECTED, False),
        (429, reasons.RATE_LIMITED, True),
        (500, reasons.PROVIDER_UNAVAILABLE, True),
        (503, reasons.PROVIDER_UNAVAILABLE, True),
        (529, reasons.RATE_LIMITED, True),
    ],
)
async def test_a_status_has_its_reason(wire: Wire, stream: bool, status: int, reason: str, retryable: bool) -> None:
    async with talk(wire, then=wire.fail(status, "the\nservice says no")) as it:
        error = await it.fail(stream=stream)
        assert len(it.peer.turns) == 1  # whoever calls repeats it, nobody else
    assert (error.reason, error.retryable) == (reason, retryable)
    assert error.details["http_status"] == status
    assert (error.details["provider"], error.details["model"]) == (wire.name, "m")
    assert "service says no" in error.message
    assert "\n" not in error.message


@both
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"date": "Fri, 20 Nov 2026 10:00:00 GMT", "retry-after": "Fri, 20 Nov 2026 10:00:30 GMT"}, 30),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, 0),
        ({}, None),
    ],
)
async def test_how_long_to_wait_is_what_the_service_says(
    wire: Wire, headers: dict[str, str], seconds: float | None
) -> None:
    async with talk(wire, [wire.fail(429, headers=headers)]) as it:
        error = await it.fail()
    assert (error.reason, error.retry_after) == (reasons.RATE_LIMITED, seconds)


@both
@ways
async def test_a_connection_that_is_cut_is_unavailable(wire: Wire, stream: bool) -> None:
    async with talk(wire, [cut]) as it:
        error = await it.fail(stream=stream)
    assert (error.reason, error.retryable) == (reasons.PROVIDER_UNAVAILABLE, True)


@both
@pytest.mark.parametrize("after", [0, 2])
async def test_a_stream_that_is_cut_is_unavailable(wire: Wire, after: int) -> None:
    heard: list[str] = []
    async with talk(wire, [wire.say("abcdef", cut_after=after), wire.say("whole")]) as it:
        error = await it.fail(hear=heard.append)
        assert (error.reason, error.retryable) == (reasons.PROVIDER_UNAVAILABLE, True)
        assert len(heard) == after
        assert (await it.ask()).text == "whole"


@both
async def test_nobody_at_the_address_is_unavailable(wire: Wire) -> None:
    async with wire.peer() as peer:
        gone = peer.url
    provider = wire.provider(base_url=gone, api_key=KEY)
    async with talk(wire) as it:
        it.provider = provider
        error = await it.fail()
    await provider.aclose()
    assert (error.reason, error.retryable) == (reasons.PROVIDER_UNAVAILABLE, True)


@both
@ways
async def test_a_request_is_over_when_its_time_is(wire: Wire, stream: bool) -> None:
    async with talk(wire, [wire.say("warm"), hang]) as it:
        await it.ask()
        with trio.fail_after(20):
            error = await it.fail(stream=stream, deadline=trio.current_time() + 0.05)
            await it.peer.wait_disconnected()
    assert (error.reason, error.retryable) == (reasons.PROVIDER_UNAVAILABLE, True)


@both
async def test_slow_pieces_are_heard_as_they_come(wire: Wire) -> None:
    heard: list[str] = []
    gate = trio.Event()
    async with talk(wire, [wire.say("abc", gate=gate, pause=0.01)]) as it, trio.open_nursery() as nursery:

        async def listen() -> None:
            await it.ask(hear=heard.append)

        nursery.start_soon(listen)
        await it.peer.wait_requests()
        assert heard == []
        gate.set()
    assert heard == ["a", "b", "c"]


@both
@ways
async def test_a_cancelled_request_is_seen_by_the_service_as_a_disconnect(wire: Wire, stream: bool) -> None:
    act = wire.say("abcdef", hold_after=1) if stream else hang
    async with talk(wire, [act, wire.say("next")]) as it:
        async with trio.open_nursery() as nursery:
            heard = trio.Event()
            nursery.start_soon(lambda: it.ask(stream=stream, hear=lambda _: heard.set()))
            if stream:
                await heard.wait()
            else:
                await it.peer.wait_requests()
            assert it.peer.running == 1
            nursery.cancel_scope.cancel()
        await it.peer.wait_disconnected()
        await it.peer.wait_until(lambda: it.peer.running == 0)
        assert (await it.ask()).text == "next"


@both
async def test_two_hundred_requests_at_once_are_all_answered_with_their_own_answer(wire: Wire) -> None:
    answers: dict[int, str] = {}
    gate = trio.Event()

    async with talk(wire, max_connections=20) as it:
        it.peer.script_by(lambda turn: wire.say(f"answer to {turn.json['messages'][-1]['content']}", gate=gate))

        async def ask(n: int) -> None:
            answers[n] = (await it.ask(f"q{n}", stream=bool(n % 2), width=200)).text

        async with trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(ask, n)
            await it.peer.wait_until(lambda: it.peer.running == 200, 60)
            gate.set()
        assert it.peer.accepted == 200
    assert all(f"q{n}" in answers[n] for n in range(200))


@both
@ways
async def test_connections_are_used_again(wire: Wire, stream: bool) -> None:
    async with talk(wire, then=wire.say("hi")) as it:
        for _ in range(5):
            await it.ask(stream=stream)
        assert it.peer.accepted == 1
        assert len(it.peer.turns) == 5


@both
async def test_connections_stay_within_their_bound(wire: Wire) -> None:
    async with talk(wire, then=wire.say("hi", pause=0.005), max_connections=3) as it:
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(it.ask)
        assert it.peer.peak <= 3
        assert it.peer.accepted <= 3
        assert len(it.peer.turns) == 12


@both
async def test_errors_give_their_connection_back(wire: Wire) -> None:
    async with talk(wire, then=wire.fail(500), max_connections=1) as it:
        with trio.fail_after(20):
            for _ in range(5):
                await it.fail()
        assert it.peer.accepted == 1


@both
async def test_a_closed_provider_lets_go_of_its_connections_and_serves_again(wire: Wire) -> None:
    async with talk(wire, then=wire.say("hi")) as it:
        await it.ask()
        assert it.peer.connections == 1
        await it.provider.aclose()
        await it.provider.aclose()
        await it.peer.wait_closed()
        assert (await it.ask()).text == "hi"
        assert it.peer.accepted == 2


@both
async def test_closing_does_not_break_a_request_under_way(wire: Wire) -> None:
    gate = trio.Event()
    answers: list[str] = []
    async with talk(wire, [wire.say("hi", gate=gate)]) as it:

        async def ask() -> None:
            answers.append((await it.ask()).text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await it.peer.wait_requests()
            await it.provider.aclose()
            gate.set()
    assert answers == ["hi"]


@both
@ways
async def test_the_key_is_sent_and_told_to_nobody(
    wire: Wire, stream: bool, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    async with talk(wire, [wire.deny], api_key=None, api_key_file=file) as it:
        error = await it.fail(stream=stream)
        sent = " ".join(it.peer.turns[0].headers.values())
        assert KEY in sent
        shown = repr(it.provider) + str(it.provider)
    assert (error.reason, error.retryable) == (reasons.PROVIDER_DENIED, False)
    told = everything_said(error) + caplog.text + shown
    assert KEY not in told
    assert KEY[-6:] not in told
    assert KEY[3:11] not in told


@both
async def test_the_idempotency_key_goes_along(wire: Wire) -> None:
    async with talk(wire, then=wire.say("hi")) as it:
        await it.ask(idempotency_key="turn 1")
        await it.ask()
        sent = [turn.headers.get("idempotency-key") for turn in it.peer.turns]
    assert sent[0] in {"turn 1", "turn%201"}
    assert sent[1] != sent[0]


@both
async def test_with_the_network_forbidden_only_this_machine_answers(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talk(wire, then=wire.say("hi")) as it:
        with forbid_network():
            assert (await it.ask()).text == "hi"
            it.provider = wire.provider(base_url="https://models.example/v1", api_key=KEY)
            error = await it.fail()
            assert (error.reason, error.retryable) == (reasons.NETWORK_FORBIDDEN, False)
        monkeypatch.setenv("MOTET_NO_NETWORK", "1")
        assert (await it.fail()).reason == reasons.NETWORK_FORBIDDEN
