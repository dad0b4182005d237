"""How what services and their SDKs say of a failure becomes an AgentError."""

from collections.abc import Mapping

import anthropic
import httpx2
import openai
import pytest

from motet.agents.model import reasons
from motet.agents.model.providers._errors import LONGEST, Failures
from motet.errors import AgentError

KEY = "sk-proj-Abcdef1234567890XyZ"
FAILURES = Failures(provider="ours", model="m-1", key=KEY)
REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1", headers={"authorization": f"Bearer {KEY}"})


def of_status(status: int, error: object = None, headers: Mapping[str, str] | None = None) -> AgentError:
    return FAILURES.status(status, {"error": error or {"message": "no", "type": "t", "code": None}}, headers or {})


@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [
        (307, reasons.PROVIDER_REJECTED, False),
        (400, reasons.PROVIDER_REJECTED, False),
        (401, reasons.PROVIDER_DENIED, False),
        (402, reasons.PROVIDER_REJECTED, False),
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
        (599, reasons.PROVIDER_UNAVAILABLE, True),
    ],
)
def test_a_status_has_its_reason(status: int, reason: str, *, retryable: bool) -> None:
    error = of_status(status)
    assert (error.reason, error.retryable) == (reason, retryable)
    assert error.details == {"http_status": status, "provider": "ours", "model": "m-1"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "whenever"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_service_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    error = of_status(429, headers=headers)
    assert error.retry_after == seconds
    assert error.details.get("retry_after_seconds") == seconds


def test_a_spent_account_is_not_asked_again() -> None:
    error = of_status(429, {"message": "You exceeded your quota", "code": "insufficient_quota"}, {"retry-after": "1"})
    assert (error.reason, error.retryable, error.retry_after) == (reasons.RATE_LIMITED, False, None)
    assert error.details["code"] == "insufficient_quota"


def test_a_service_that_forbids_to_repeat_is_obeyed() -> None:
    assert not of_status(500, headers={"x-should-retry": "false"}).retryable


def test_a_filter_of_the_service_is_a_refusal_and_not_a_wrong_request() -> None:
    assert of_status(400, {"message": "filtered", "code": "content_filter"}).reason == reasons.CONTENT_REFUSED


def test_the_request_id_is_told_when_it_is_one() -> None:
    assert of_status(500, headers={"x-request-id": "req_1"}).details["request_id"] == "req_1"
    assert of_status(500, headers={"request-id": "req_2"}).details["request_id"] == "req_2"
    assert "request_id" not in of_status(500, headers={"x-request-id": f"Bearer {KEY}"}).details


def test_a_message_is_one_short_line_without_the_key() -> None:
    error = of_status(400, {"message": f"no\n\n  such {KEY} thing " + "very " * 200})
    assert error.message.startswith("provider 'ours' refuses the request (400): no such *** thing very")
    assert len(error.message) <= LONGEST
    assert "\n" not in error.message


def test_what_is_said_of_a_refused_key_is_not_repeated() -> None:
    error = of_status(401, {"message": "Incorrect API key provided: sk-pr...0XyZ"})
    assert error.message == "provider 'ours' does not accept the key (401)"


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "", None, [1], {"error": 3}, {"detail": []}], ids=str)
def test_a_body_of_any_kind_does_no_harm(body: object) -> None:
    assert FAILURES.status(502, body, {}).message == "provider 'ours' could not answer (502)"


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, reasons.RATE_LIMITED, True),
        ({"type": "api_error", "message": "?"}, reasons.PROVIDER_UNAVAILABLE, True),
        ({"type": "authentication_error", "message": "?"}, reasons.PROVIDER_DENIED, False),
        ({"type": "invalid_request_error", "message": "?"}, reasons.PROVIDER_REJECTED, False),
        ({"message": "upstream is busy", "code": 429}, reasons.RATE_LIMITED, True),
        ({"message": "?", "code": "insufficient_quota"}, reasons.RATE_LIMITED, False),
        ({"message": "?", "code": "rate_limit_exceeded"}, reasons.RATE_LIMITED, True),
        ({"message": "something else"}, reasons.PROVIDER_UNAVAILABLE, True),
        ("just text", reasons.PROVIDER_UNAVAILABLE, True),
    ],
    ids=str,
)
def test_an_error_inside_a_stream_has_the_reason_of_its_type(error: object, reason: str, *, retryable: bool) -> None:
    failure = FAILURES.in_body({"error": error})
    assert (failure.reason, failure.retryable) == (reason, retryable)


def _status_error(module: object, status: int) -> Exception:
    response = httpx2.Response(status, headers={"retry-after": "4"}, request=REQUEST)
    return module.APIStatusError(f"Error {KEY}", response=response, body={"error": {"message": "no"}})  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (openai.APITimeoutError(REQUEST), reasons.PROVIDER_UNAVAILABLE),
        (openai.APIConnectionError(request=REQUEST), reasons.PROVIDER_UNAVAILABLE),
        (anthropic.APITimeoutError(REQUEST), reasons.PROVIDER_UNAVAILABLE),
        (anthropic.APIConnectionError(request=REQUEST), reasons.PROVIDER_UNAVAILABLE),
        (httpx2.ReadTimeout("x", request=REQUEST), reasons.PROVIDER_UNAVAILABLE),
        (httpx2.PoolTimeout("x", request=REQUEST), reasons.PROVIDER_UNAVAILABLE),
        (httpx2.RemoteProtocolError("x", request=REQUEST), reasons.PROVIDER_UNAVAILABLE),
        (httpx2.DecodingError("x", request=REQUEST), reasons.PROVIDER_INVALID),
        (httpx2.LocalProtocolError(KEY, request=REQUEST), reasons.PROVIDER_REJECTED),
        (httpx2.InvalidURL(KEY), reasons.PROVIDER_REJECTED),
        (_status_error(openai, 429), reasons.RATE_LIMITED),
        (_status_error(anthropic, 529), reasons.RATE_LIMITED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_exception_of_an_sdk_or_its_client_has_its_reason(error: Exception, reason: str) -> None:
    failure = FAILURES.of_exception(error)
    assert failure is not None
    assert failure.reason == reason
    assert KEY not in failure.message


def test_an_exception_of_anybody_else_is_left_as_it_is() -> None:
    assert FAILURES.of_exception(ValueError("ours")) is None
