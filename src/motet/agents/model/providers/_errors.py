"""What went wrong with a request to a model, as AgentError: by HTTP status, by an error in a body, by the SDK's exception.
Knows no SDK by name: both have exceptions of the same make. Nothing of a request goes into a message."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from motet.agents._http_retry_after import retry_after_seconds
from motet.agents.model.providers._keys import redacted
from motet.agents.model.reasons import (
    CONTENT_REFUSED,
    PROVIDER_DENIED,
    PROVIDER_INVALID,
    PROVIDER_REJECTED,
    PROVIDER_UNAVAILABLE,
    RATE_LIMITED,
)
from motet.errors import AgentError

LONGEST: Final = 300
"""Characters of a message."""
_LONGEST_TOLD: Final = 200
"""Of them, what the service itself said."""
_LIMITED: Final = frozenset({429, 529})
_BY_STATUS: Final = {
    **dict.fromkeys(_LIMITED, (RATE_LIMITED, True, "answers no more requests at present")),
    **dict.fromkeys((408, 409, 425), (PROVIDER_UNAVAILABLE, True, "could not answer")),
    401: (PROVIDER_DENIED, False, "does not accept the key"),
    403: (PROVIDER_DENIED, False, "does not allow this with the key"),
}
# Exceptions by name, so that no SDK has to be imported to know them: of the SDKs, of httpx2, of what lies under it.
_TIMEOUTS: Final = frozenset({"APITimeoutError", "TimeoutException"})
_UNREADABLE: Final = frozenset({"DecodingError", "APIResponseValidationError"})
_UNSENDABLE: Final = frozenset({"InvalidURL", "UnsupportedProtocol", "LocalProtocolError"})
_BROKEN: Final = frozenset({"APIConnectionError", "HTTPError", "StreamError", "SSLError", "EndOfStream"})
_SPENT: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes of a 429 that waiting does not cure."""
_FILTERED: Final = frozenset({"content_filter", "content_policy_violation"})
_BY_TYPE: Final = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "overloaded_error": 529,
    "authentication_error": 401,
    "permission_error": 403,
    "invalid_request_error": 400,
    "billing_error": 402,
    "not_found_error": 404,
    "request_too_large": 413,
    "timeout_error": 504,
    "api_error": 500,
    "server_error": 500,
}
"""Statuses that errors inside a stream stand for, whose own status was 200: both services document their types."""
_STATUS: Final = re.compile(r"[45]\d\d", re.ASCII)
_WORD: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(slots=True, kw_only=True)
class Failures:
    """Makes the errors of one request."""

    provider: str
    model: str
    key: str
    """To leave it out."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the response, once there is one: an error in its stream has its request id."""

    def status(self, status: int, body: object, headers: Mapping[str, str]) -> AgentError:
        """Of a response that is no answer."""
        told = _told(body)
        code = {word for word in (told.code, told.type) if word}
        wait = _wait(headers)
        details: dict[str, Any] = {"http_status": status, "provider": self.provider, "model": self.model}
        request_id = headers.get("x-request-id") or headers.get("request-id")
        if request_id and self._tellable(request_id):
            details["request_id"] = request_id
        if told.code and self._tellable(told.code):
            details["code"] = told.code
        if wait is not None:
            details["retry_after_seconds"] = wait
        reason, retryable, what = _verdict(status, code)
        # The text of a refused key quotes it; the status says all that there is to know.
        said = "" if status == 401 else self._said(told.message)
        if headers.get("x-should-retry") == "false":
            retryable = False
        return AgentError(
            self._sentence(f"{what} ({status})", said),
            reason=reason,
            details=details,
            retryable=retryable,
            retry_after=wait if retryable else None,
        )

    def in_body(self, body: Mapping[str, Any]) -> AgentError:
        """Of an error that came as the body, or in the stream, of a response that began well."""
        told = _told(body)
        status = int(told.code) if _STATUS.fullmatch(told.code) else 0
        status = status or _BY_TYPE.get(told.type, 0) or _BY_TYPE.get(told.code, 0)
        if not status and _SPENT & {told.code, told.type}:
            status = 429
        return self.status(status or 500, body, self.headers)

    def unreachable(self, what: str, error: BaseException | None = None) -> AgentError:
        """Of a connection that could not be made, broke, or was silent for too long."""
        name = f" ({type(error).__name__})" if error is not None else ""
        return AgentError(
            self._sentence(f"{what}{name}"), reason=PROVIDER_UNAVAILABLE, details=self._place(), retryable=True
        )

    def invalid(self, what: str) -> AgentError:
        """Of an answer that cannot be understood."""
        return AgentError(self._sentence(what), reason=PROVIDER_INVALID, details=self._place(), retryable=True)

    def rejected(self, what: str) -> AgentError:
        """Of a request that the service could only refuse, so that it is not sent."""
        return AgentError(self._sentence(what), reason=PROVIDER_REJECTED, details=self._place())

    def of_exception(self, error: BaseException) -> AgentError | None:
        """Of what an SDK or its HTTP client raised; None when it is neither's."""
        response = getattr(error, "response", None)
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and response is not None:
            return self.status(status, getattr(error, "body", None), response.headers)
        names = {base.__name__ for base in type(error).__mro__}
        cause = error.__cause__ or error
        if names & _TIMEOUTS:
            return self.unreachable("took too long", cause)
        if names & _UNREADABLE:
            return self.invalid(f"answered with what cannot be read ({type(error).__name__})")
        if names & _UNSENDABLE:
            return self.rejected(f"cannot be sent this request ({type(error).__name__})")
        return self.unreachable("cannot be reached or broke off", cause) if names & _BROKEN else None

    def _place(self) -> dict[str, Any]:
        return {"provider": self.provider, "model": self.model}

    def _tellable(self, word: str) -> bool:
        """One word that gives no key away: a service may answer with what it was sent."""
        return _WORD.fullmatch(word) is not None and redacted(word, self.key) == word

    def _said(self, message: str) -> str:
        return redacted(" ".join(message.split()), self.key)[:_LONGEST_TOLD]

    def _sentence(self, what: str, said: str = "") -> str:
        sentence = f"provider '{self.provider}' {what}" + (f": {said}" if said else "")
        return sentence if len(sentence) <= LONGEST else sentence[: LONGEST - 3] + "..."


@dataclass(frozen=True, slots=True)
class _Told:
    message: str = ""
    type: str = ""
    code: str = ""


def _told(body: object) -> _Told:
    """What a service's error says: `{"error": {...}}`, `{"error": "..."}`, or the inner object alone."""
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(error, str):
        return _Told("" if error.lstrip().startswith("<") else error)  # a page of some proxy says nothing in one line
    if not isinstance(error, Mapping):
        return _Told()
    message, kind, code = error.get("message"), error.get("type"), error.get("code")
    return _Told(
        message if isinstance(message, str) else "",
        kind if isinstance(kind, str) else "",
        str(code) if isinstance(code, str | int) and not isinstance(code, bool) else "",
    )


def _verdict(status: int, code: set[str]) -> tuple[str, bool, str]:
    """Reason, whether the same request may succeed later, and what the service did."""
    if status in _LIMITED and code & _SPENT:
        return RATE_LIMITED, False, "has no credit left for this key"
    if status == 400 and code & _FILTERED:
        return CONTENT_REFUSED, False, "would not answer"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return PROVIDER_UNAVAILABLE, True, "could not answer"
    if status < 400:
        return PROVIDER_REJECTED, False, "is elsewhere, and redirects are not followed: correct base_url"
    return PROVIDER_REJECTED, False, "refuses the request"


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the service says; its milliseconds are the finer word."""
    fine = headers.get("retry-after-ms")
    if fine is not None and re.fullmatch(r"\d{1,12}(\.\d{1,9})?", fine.strip(), re.ASCII):
        return float(fine) / 1000
    return retry_after_seconds(headers.get("retry-after"), headers.get("date"))
