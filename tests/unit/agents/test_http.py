"""The http agent against a real server on the loopback interface: what goes out, what comes back, how it fails."""

import gzip
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trio

from motet.agents._http_retry_after import retry_after_seconds
from motet.agents.http import HttpAgent
from motet.errors import AgentError
from motet.model.payload import Payload
from motet.ports import Call
from motet.testing import RecordingHost


def make_call(input: object = "hello", *, deadline: float = math.inf, **variables: object) -> Call:
    given = {name: Payload.of(value) for name, value in variables.items()}
    host = RecordingHost()
    return Call(
        Payload.of(input),
        host=host,
        variables=given,
        run_id="run-1",
        member="m_2",
        group="g",
        depth=1,
        deadline=deadline,
    )


@asynccontextmanager
async def opened(agent: HttpAgent) -> AsyncIterator[HttpAgent]:
    try:
        yield agent
    finally:
        with trio.move_on_after(5, shield=True):
            await agent.aclose()


async def fails(agent: HttpAgent, call: Call | None = None) -> AgentError:
    async with opened(agent):
        with pytest.raises(AgentError) as caught:
            await agent.call(call or make_call())
    return caught.value


# ------------------------------------------------------------------------------------------------------- what goes out


async def test_a_body_is_the_inputs_bytes_with_its_media_type(peer: Any) -> None:
    call = make_call()
    call.input = Payload.from_text("<a/>", "text/xml")
    async with opened(HttpAgent("x", peer.url)) as agent:
        reply = await agent.call(call)
    [request] = peer.requests
    assert (request.method, request.target, request.body) == ("POST", "/agent", b"<a/>")
    assert request.headers["content-type"] == "text/xml"
    assert reply.output == Payload.from_text("<a/>", "text/xml")
    assert reply.metadata == {"http_status": 200}


async def test_the_request_says_which_member_of_which_run_it_is_for_and_how_long_it_may_take(peer: Any) -> None:
    async with opened(HttpAgent("x", peer.url, headers={"Authorization": "Bearer s3cret"})) as agent:
        await agent.call(make_call())
        await agent.call(make_call(deadline=trio.current_time() + 60))
    without, limited = (request.headers for request in peer.requests)
    assert without["authorization"] == "Bearer s3cret"
    assert (without["motet-run-id"], without["motet-member"], without["motet-depth"]) == ("run-1", "m_2", "1")
    assert "motet-time-left" not in without
    assert 0 < float(limited["motet-time-left"]) <= 60


async def test_json_carries_input_and_variables_with_their_precision(peer: Any) -> None:
    call = make_call("say \u00e9", tone="dry", n=Payload.from_json_text("1.00000000000000000001"))
    async with opened(HttpAgent("x", peer.url, send="json")) as agent:
        await agent.call(call)
    [request] = peer.requests
    assert request.body.decode() == '{"input":"say \u00e9","variables":{"tone":"dry","n":1.00000000000000000001}}'
    assert request.headers["content-type"] == "application/json"


async def test_a_query_is_added_to_the_urls_own_and_cannot_leave_its_place(peer: Any) -> None:
    async with opened(HttpAgent("x", peer.url + "?key=1", send="query")) as agent:
        await agent.call(make_call("a&key=2 #/../"))
    [request] = peer.requests
    assert (request.method, request.body) == ("GET", b"")
    assert request.target == "/agent?key=1&input=a%26key%3D2+%23%2F..%2F"


async def test_the_call_cannot_add_a_header_through_its_media_type(peer: Any) -> None:
    call = make_call()
    call.input = Payload.from_text("x", "text/plain\r\nx-admin: 1")
    error = await fails(HttpAgent("x", peer.url), call)
    assert (error.reason, peer.requests) == ("INPUT_INVALID", [])


async def test_bytes_that_are_no_text_are_refused_where_text_is_sent(peer: Any) -> None:
    for send in ("json", "query"):
        error = await fails(HttpAgent("x", peer.url, send=send), make_call(b"\xff"))
        assert error.reason == "INPUT_INVALID"
    assert peer.requests == []


async def test_proxies_of_the_environment_and_cookies_of_earlier_calls_play_no_part(
    peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    async def handler(exchange: Any) -> None:
        await exchange.answer(headers={"set-cookie": "session=alice; Path=/"})

    peer.handler = handler
    async with opened(HttpAgent("x", peer.url)) as agent:
        await agent.call(make_call())
        await agent.call(make_call())
    assert ["cookie" in request.headers for request in peer.requests] == [False, False]
    assert peer.accepted == 1  # and the connection was used again


# --------------------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json; charset=utf-8", b'{"n": 1.10}', Payload("json", '{"n": 1.10}')),
        ("application/problem+json", b"[]", Payload("json", "[]", "application/problem+json")),
        ("text/plain; charset=latin-1", b"\xe9", Payload("text", "\u00e9")),
        ("text/html", b"<p>", Payload("text", "<p>", "text/html")),
        ("image/png", b"\x89PNG", Payload("data", b"\x89PNG", "image/png")),
    ],
)
async def test_the_output_goes_by_the_content_type(
    peer: Any, content_type: str, body: bytes, expected: Payload
) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.answer(body=body, headers={"content-type": content_type})

    peer.handler = handler
    async with opened(HttpAgent("x", peer.url)) as agent:
        assert (await agent.call(make_call())).output == expected


async def test_what_is_called_json_and_is_not_fails_with_its_beginning(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.answer(body=b"<html>" * 100)

    peer.handler = handler
    error = await fails(HttpAgent("x", peer.url, output="json"))
    assert error.reason == "OUTPUT_INVALID"
    assert error.details["output"] == ("<html>" * 100)[:200]


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (404, False), (429, True), (500, True), (503, True)])
async def test_a_failing_status_is_kept_with_the_start_of_the_body(peer: Any, status: int, retryable: bool) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.answer(status, b"why " * 1000, {"retry-after": "7"})

    peer.handler = handler
    error = await fails(HttpAgent("x", peer.url + "?token=s3cret"))
    assert (error.reason, error.retryable, error.retry_after) == ("HTTP_STATUS", retryable, 7.0)
    assert error.details == {"http_status": status, "body": ("why " * 512), "retry_after_seconds": 7.0}
    assert "s3cret" not in str(error)


async def test_a_redirect_is_not_followed(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.answer(307, headers={"location": "/elsewhere"})

    peer.handler = handler
    error = await fails(HttpAgent("x", peer.url))
    assert (error.details["http_status"], len(peer.requests)) == (307, 1)


async def test_the_statuses_that_count_as_success_can_be_named(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.answer(404, b"nobody")

    peer.handler = handler
    async with opened(HttpAgent("x", peer.url, output="text", ok_statuses=["2xx", 404])) as agent:
        reply = await agent.call(make_call())
    assert (reply.output.text, reply.metadata) == ("nobody", {"http_status": 404})


async def test_a_failing_status_is_kept_though_its_body_breaks_off(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.start(503, {"content-length": "100"})
        await exchange.data(b"so")
        await exchange.stream.aclose()

    peer.handler = handler
    error = await fails(HttpAgent("x", peer.url))
    assert (error.reason, error.details) == ("HTTP_STATUS", {"http_status": 503, "body": "so"})


def test_retry_after_is_understood_in_every_form_and_never_negative() -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    date = format_datetime(now, usegmt=True)
    later, earlier = (format_datetime(now + timedelta(seconds=by), usegmt=True) for by in (90, -90))
    assert retry_after_seconds("120") == 120.0
    assert retry_after_seconds(" 1.5 ") == 1.5
    assert retry_after_seconds("-5") == 0.0
    assert retry_after_seconds(later, date) == 90.0
    assert retry_after_seconds(earlier, date) == 0.0
    assert retry_after_seconds("Sun, 01 Nov 2015 12:00:00 GMT") == 0.0
    assert [retry_after_seconds(value) for value in (None, "", "soon", "9" * 400, "\u0665", "nan")] == [None] * 6


# -------------------------------------------------------------------------------------------------- connections that fail


async def test_what_stands_before_the_at_sign_of_a_url_goes_out_as_basic_authorization(peer: Any) -> None:
    async with opened(
        HttpAgent("x", peer.url.replace("//", "//me:s%40cret@"), headers={"authorization": "x"})
    ) as agent:
        await agent.call(make_call())
    assert peer.requests[0].headers["authorization"] == "Basic bWU6c0BjcmV0"
    assert peer.requests[0].headers["host"] == f"127.0.0.1:{peer.port}"


async def test_a_server_that_is_not_there_is_unreachable_and_may_be_tried_again() -> None:
    with trio.socket.socket() as unheard:  # bound and never listening, so that nobody else gets the port
        await unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        error = await fails(HttpAgent("x", f"http://user:s3cret@127.0.0.1:{port}/a?key=s3cret"))
    assert (error.reason, error.retryable) == ("HTTP_UNREACHABLE", True)
    assert f"http://127.0.0.1:{port}/a" in str(error)
    assert "s3cret" not in str(error)


async def test_a_connection_cut_before_or_within_the_answer_fails_and_may_be_tried_again(peer: Any) -> None:
    async def at_once(exchange: Any) -> None:
        await exchange.stream.aclose()

    async def half_way(exchange: Any) -> None:
        await exchange.start(200, {"content-length": "100"})
        await exchange.data(b"half")
        await exchange.stream.aclose()

    for peer.handler in (at_once, half_way):
        error = await fails(HttpAgent("x", peer.url))
        assert (error.reason, error.retryable) == ("HTTP_FAILED", True)


async def test_what_is_not_http_fails(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.stream.send_all(b"SSH-2.0-OpenSSH_9.7\r\n\r\n")

    peer.handler = handler
    assert (await fails(HttpAgent("x", peer.url))).reason == "HTTP_FAILED"


async def test_an_answer_that_does_not_come_within_the_deadline_times_out(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.client_gone()

    peer.handler = handler
    error = await fails(HttpAgent("x", peer.url), make_call(deadline=trio.current_time() + 0.2))
    assert (error.reason, error.retryable) == ("HTTP_TIMEOUT", True)


async def test_an_answer_that_comes_byte_by_byte_arrives_whole(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.start(200, {"content-type": "text/plain"})
        for letter in b"slowly":
            await exchange.data(bytes([letter]))
            await trio.testing.wait_all_tasks_blocked()
        await exchange.stream.send_all(b"0\r\n\r\n")

    peer.handler = handler
    async with opened(HttpAgent("x", peer.url)) as agent:
        assert (await agent.call(make_call())).output.text == "slowly"


async def test_an_endless_answer_is_cut_off_at_the_bound(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.start()
        while True:  # until the client cuts the connection, which ends the exchange
            await exchange.data(b"x" * 65536)

    peer.handler = handler
    error = await fails(HttpAgent("x", peer.url, max_output_bytes=100_000))
    assert (error.reason, error.details) == ("OUTPUT_TOO_LARGE", {"max_output_bytes": 100_000})


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_cut_off_too(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.answer(body=gzip.compress(bytes(5_000_000)), headers={"content-encoding": "gzip"})

    peer.handler = handler
    assert (await fails(HttpAgent("x", peer.url, max_output_bytes=100_000))).reason == "OUTPUT_TOO_LARGE"
    assert peer.requests[0].headers["accept-encoding"] == "identity"


async def test_a_large_document_comes_back_to_the_letter(peer: Any) -> None:
    document = json.dumps(["x" * 1000] * 2000)
    async with opened(HttpAgent("x", peer.url)) as agent:
        reply = await agent.call(make_call(Payload.from_json_text(document)))
    assert reply.output == Payload("json", document)


# ------------------------------------------------------------------------------------------------- width and closing


async def test_300_calls_of_an_agent_of_width_150_use_no_more_than_150_connections(peer: Any) -> None:
    full = trio.Event()
    waiting = 0

    async def handler(exchange: Any) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 150:
            await trio.testing.wait_all_tasks_blocked(0.05)  # time for a connection too many to show itself
            full.set()
        await full.wait()
        await exchange.answer(body=exchange.request.body)

    peer.handler = handler
    agent = HttpAgent("x", peer.url, max_parallel=150, output="text")
    answers: list[str] = []

    async def one(number: int) -> None:
        answers.append((await agent.call(make_call(str(number)))).output.text)

    async with opened(agent), trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(one, number)
    assert sorted(answers, key=int) == [str(number) for number in range(300)]
    assert peer.peak == 150


async def test_calls_one_after_another_use_one_connection(peer: Any) -> None:
    async with opened(HttpAgent("x", peer.url, max_parallel=10)) as agent:
        for _ in range(5):
            await agent.call(make_call())
    assert (len(peer.requests), peer.accepted) == (5, 1)


async def test_a_connection_that_the_server_has_closed_is_replaced(peer: Any) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.answer(headers={"connection": "close"} if len(peer.requests) == 1 else {})

    peer.handler = handler
    async with opened(HttpAgent("x", peer.url, max_parallel=1)) as agent:
        for _ in range(3):
            await agent.call(make_call())
    assert (len(peer.requests), peer.accepted) == (3, 2)


@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        ("url", {"url": "ftp://x/"}),
        ("url", {"url": "/path"}),
        ("url", {"url": "http://"}),
        ("url", {"url": "http://x:port/"}),
        ("url", {"url": "http://x/a b"}),
        ("url", {"url": "http://x/#part"}),
        ("method", {"method": "GET /"}),
        ("method", {"method": ""}),
        ("method", {"method": "CONNECT"}),
        ("headers", {"headers": {"a b": "c"}}),
        ("headers", {"headers": {"a": "b\r\nc: d"}}),
        ("headers", {"headers": {"Content-Length": "3"}}),
        ("headers", {"headers": {"Motet-Run-Id": "3"}}),
        ("send", {"send": "form"}),
        ("output", {"output": "xml"}),
        ("ok_statuses", {"ok_statuses": "good"}),
        ("ok_statuses", {"ok_statuses": []}),
        ("connect_timeout", {"connect_timeout": 0}),
        ("max_output_bytes", {"max_output_bytes": 0}),
        ("max_parallel", {"max_parallel": 0}),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(parameter: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{parameter}: "):
        HttpAgent("x", **{"url": "http://127.0.0.1/", **wrong})
