"""The http agent: a call becomes one request to a URL that the catalog names, and the response the reply.

Knows httpx2, which it imports on the first call. Nothing of the call chooses where the request goes.
"""

import contextlib
import json
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args
from urllib.parse import quote, unquote, urlencode, urlsplit

import trio

from motet.agents._card import checked, digest
from motet.agents._http_checks import check_headers, check_method, check_statuses, check_url
from motet.agents._http_pool import Pool
from motet.agents._http_retry_after import retry_after_seconds
from motet.agents._life import Life
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.payload import Payload
from motet.model.rate import Breaker, Rate
from motet.model.reason import INPUT_INVALID, OUTPUT_INVALID
from motet.ports import Call

if TYPE_CHECKING:
    import ssl

    import httpx2

HTTP_STATUS: Final = "HTTP_STATUS"
"""The response's status is not one of `ok_statuses`. Details: `http_status`, `body`, `retry_after_seconds`."""
HTTP_UNREACHABLE: Final = "HTTP_UNREACHABLE"
"""No connection could be made. Retryable."""
HTTP_TIMEOUT: Final = "HTTP_TIMEOUT"
"""The server took too long to accept the connection, or to answer within the call's deadline. Retryable."""
HTTP_FAILED: Final = "HTTP_FAILED"
"""The connection broke, or what came was not HTTP. Retryable, though the server may have done the work."""
OUTPUT_TOO_LARGE: Final = "OUTPUT_TOO_LARGE"
"""The response is longer than `max_output_bytes` and was cut off. Details: `max_output_bytes`."""

SendMode = Literal["body", "json", "query"]
OutputMode = Literal["auto", "text", "json", "bytes"]

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Those that urllib3, gRPC gateways and cloud SDKs agree may pass by themselves."""
DEFAULT_CONNECTIONS: Final = 100
"""For an agent without `max_parallel`: what httpx2 itself takes."""
_KNOWN_STATUSES: Final = frozenset(map(int, HTTPStatus))
_BODY_TOLD: Final = 2 * 1024
_ERROR_BODY_READ: Final = 64 * 1024
"""Read to its end, an error's body leaves the connection for the next call; a longer one is not worth it."""
_ERROR_BODY_SECONDS: Final = 2.0
_INLINE: Final = 256 * 1024
"""A response up to this size is decoded at once; a larger one in a thread."""
_CLOSE_SECONDS: Final = 1.0
_KEY_SAFE: Final = "!#$&'()*+,-./:;=?@[]^_`{|}~"
"""A key goes out as it is; only what a header cannot carry, and the percent sign, is percent-encoded."""
_HEADERS: Final = {"accept": "*/*", "accept-encoding": "identity", "connection": "keep-alive", "user-agent": "motet"}
"""Of every request, unless the agent's own say otherwise."""
_MEDIA_TYPE: Final = re.compile(r"[!#$&^_.+0-9A-Za-z-]+/[!#$&^_.+0-9A-Za-z-]+(?:\s*;[\x20-\x7e]*)?")


class HttpAgent:
    """Sends each call to a URL and makes the response the reply.

    `send="body"` sends the input's bytes with its media type; `"json"` sends `{"input": ..., "variables": {...}}`;
    `"query"` adds `input=...` to the URL. `method=None` means POST, with `send="query"` GET. `output="auto"` goes by the
    response's content type: JSON, text, else bytes. `ok_statuses` is a status or class (`"2xx"`), or several. Times are
    in seconds. Redirects are not followed and no cookie is kept. The request also carries `motet-run-id`,
    `motet-member`, `motet-depth` and, when there is a deadline, `motet-time-left` in seconds; and `idempotency-key`, the
    same for every attempt of one member, when the call has one and `headers` set no other.

    At most `max_parallel` connections (100 when None) are open; further calls wait in order. Proxies and passwords of
    the environment (`HTTP_PROXY`, netrc) are ignored: the catalog alone says where the data of a call goes. What is not
    named here goes on the card as it is: `AgentInfo` says what it means. Raises ValueError, which names the parameter,
    when one is wrong.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        send: SendMode = "body",
        output: OutputMode = "auto",
        max_parallel: int | None = None,
        provider: str = "",
        timeout: float | None = None,
        connect_timeout: float = 5.0,
        max_output_bytes: int = 16 * 2**20,
        ok_statuses: str | int | Sequence[str | int] = "2xx",
        verify: "bool | ssl.SSLContext" = True,
        description: str = "",
        replay_safe: bool | None = None,
        labels: Mapping[str, str] | None = None,
        version: str = "",
        estimated_cost_nanos: int | None = None,
        estimated_tokens: int | None = None,
        rate: Rate | None = None,
        weight: float = 1.0,
        breaker: Breaker | None = None,
    ) -> None:
        self._place = check_url(url)
        self._url = url
        if send not in get_args(SendMode):
            raise ValueError(f"send: must be one of {', '.join(map(repr, get_args(SendMode)))}, not {send!r}")
        if output not in get_args(OutputMode):
            raise ValueError(f"output: must be one of {', '.join(map(repr, get_args(OutputMode)))}, not {output!r}")
        self._method = check_method(method if method is not None else "GET" if send == "query" else "POST")
        self._headers = check_headers(headers or {})
        self._sent_headers = {**self._headers, **_authorization(url)}
        self._ok_statuses = check_statuses(ok_statuses)
        if not connect_timeout > 0:
            raise ValueError("connect_timeout: must be a number of seconds above 0")
        if max_output_bytes < 1:
            raise ValueError("max_output_bytes: must be at least 1")
        if max_parallel is not None and max_parallel < 1:
            raise ValueError("max_parallel: must be at least 1, or None for no bound of its own")
        self._send: SendMode = send
        self._output: OutputMode = output
        self._connect_timeout = connect_timeout
        self._max_output_bytes = max_output_bytes
        tls = url.lower().startswith("https:")
        self._life = Life(self)
        self._pool = Pool(max_parallel or DEFAULT_CONNECTIONS, verify=verify if tls else None)
        self.info = checked(
            AgentInfo(
                name=name,
                kind=AgentKind.HTTP,
                description=description,
                version=version,
                max_parallel=max_parallel,
                provider=provider,
                timeout=timeout,
                replay_safe=replay_safe,
                labels=dict(labels or {}),
                estimated_cost_nanos=estimated_cost_nanos,
                estimated_tokens=estimated_tokens,
                rate=rate,
                weight=weight,
                breaker=breaker,
            )
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {
            "url": digest({"url": self._url}),
            "method": self._method,
            "headers": digest(self._headers),
            "send": self._send,
            "output": self._output,
            "ok_statuses": sorted(self._ok_statuses),
        }

    async def call(self, call: Call, /) -> Reply:
        url, headers, content = self._request(call)
        self._life.use(call)
        async with self._pool.transport() as transport:
            try:
                return await self._exchange(transport, call, url, headers, content)
            except trio.Cancelled:
                call.stop_detail = "connection closed"
                raise

    async def aclose(self) -> None:
        """Close every connection, those in use when their call ends. A later call begins anew."""
        await self._pool.aclose()

    # --------------------------------------------------------------------------------------------------- what goes out

    def _request(self, call: Call) -> tuple[str, dict[str, str], bytes | None]:
        """URL, headers and body. Raises AgentError INPUT_INVALID."""
        headers = dict(_HEADERS)
        url, content = self._url, None
        try:
            if self._send == "query":
                query = urlencode({"input": call.input.text})
                url += ("&" if "?" in url else "?") + query
            elif self._send == "json":
                headers["content-type"] = "application/json"
                content = _envelope(call).encode()
            else:
                headers["content-type"] = call.input.effective_media_type
                content = call.input.data
        except UnicodeError as error:
            message = (
                f"http agent '{self.info.name}' cannot take this input with send='{self._send}': it is not UTF-8 text"
            )
            raise AgentError(message, reason=INPUT_INVALID) from error
        if not _MEDIA_TYPE.fullmatch(headers.get("content-type", "a/b")):
            message = f"http agent '{self.info.name}' cannot send the media type {headers['content-type']!r}"
            raise AgentError(message, reason=INPUT_INVALID)
        if key := call.idempotency_key:
            headers["idempotency-key"] = quote(key, safe=_KEY_SAFE)
        headers.update(self._sent_headers)
        headers["motet-run-id"] = quote(call.run_id, safe="/:")
        headers["motet-member"] = quote(call.member, safe="/:")
        headers["motet-depth"] = str(call.depth)
        return url, headers, content

    async def _exchange(
        self,
        transport: "httpx2.AsyncHTTPTransport",
        call: Call,
        url: str,
        headers: dict[str, str],
        content: bytes | None,
    ) -> Reply:
        import httpx2  # noqa: PLC0415 - `import motet` stays quick

        left = call.time_left()
        bound = left if math.isfinite(left) else None
        if bound is not None:
            headers["motet-time-left"] = f"{bound:.3f}"
        # What bounds the call is its cancel scope; these only keep httpx2's own default of 5 s away.
        timeout = httpx2.Timeout(bound, connect=min(self._connect_timeout, left)).as_dict()
        try:
            request = httpx2.Request(
                self._method, url, headers=headers, content=content, extensions={"timeout": timeout}
            )
            response = await transport.handle_async_request(request)
            response.request = request
            try:
                return await self._reply(response)
            finally:
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await response.aclose()
        except httpx2.TimeoutException as error:
            raise self._failed(HTTP_TIMEOUT, "took too long", error) from error
        except httpx2.ConnectError as error:
            raise self._failed(HTTP_UNREACHABLE, "cannot be reached", error) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._failed(HTTP_FAILED, "broke off", error) from error

    def _failed(self, reason: str, what: str, error: Exception) -> AgentError:
        # Errors of our own side may quote the request, headers included; those of the peer's side do not.
        said = "" if type(error).__name__ in {"LocalProtocolError", "InvalidURL"} else f": {error}"
        message = f"{self._place} {what} ({type(error).__name__}{said.rstrip(': ')})"
        return AgentError(message, reason=reason, retryable=type(error).__name__ != "InvalidURL")

    # --------------------------------------------------------------------------------------------------- what comes back

    async def _reply(self, response: "httpx2.Response") -> Reply:
        status = response.status_code
        if str(status) not in self._ok_statuses and f"{status // 100}xx" not in self._ok_statuses:
            raise await self._refusal(response)
        body = bytearray()
        await _receive(response, body, self._max_output_bytes)
        if len(body) > self._max_output_bytes:
            raise AgentError(
                f"{self._place} answered with more than {self._max_output_bytes} bytes; "
                "raise the agent's max_output_bytes or ask for less",
                reason=OUTPUT_TOO_LARGE,
                details={"max_output_bytes": self._max_output_bytes},
            )
        media_type = response.headers.get("content-type", "")
        if len(body) <= _INLINE:
            output = self._interpret(bytes(body), media_type)
        else:
            output = await trio.to_thread.run_sync(self._interpret, bytes(body), media_type)
        return Reply(output, metadata={"http_status": status})

    async def _refusal(self, response: "httpx2.Response") -> AgentError:
        import httpx2  # noqa: PLC0415 - `import motet` stays quick

        status = response.status_code
        body = bytearray()
        # The status is known: for its explanation nobody waits long, and without it the status still counts.
        with trio.move_on_after(_ERROR_BODY_SECONDS), contextlib.suppress(httpx2.HTTPError):
            await _receive(response, body, _ERROR_BODY_READ)
        details: dict[str, Any] = {"http_status": status, "body": body[:_BODY_TOLD].decode(errors="replace")}
        wait = retry_after_seconds(response.headers.get("retry-after"), response.headers.get("date"))
        if wait is not None:
            details["retry_after_seconds"] = wait
        phrase = HTTPStatus(status).phrase if status in _KNOWN_STATUSES else ""
        return AgentError(
            f"{self._place} answered {status} {phrase}".rstrip(),
            reason=HTTP_STATUS,
            details=details,
            retryable=status in RETRYABLE_STATUSES,
            retry_after=wait,
        )

    def _interpret(self, body: bytes, content_type: str) -> Payload:
        essence, _, parameters = content_type.partition(";")
        essence = essence.strip().lower()
        form = self._output
        if form == "auto":
            is_json = essence == "application/json" or essence.endswith("+json")
            form = "json" if is_json else "text" if essence.startswith("text/") else "bytes"
        if form == "bytes":
            return Payload.from_bytes(body, content_type)
        if form == "text":
            return Payload.from_text(_decode(body, parameters), "" if essence == "text/plain" else essence)
        try:
            document = body.decode("utf-8-sig")  # a byte order mark is wrong in JSON, but RFC 8259 lets readers skip it
            return Payload.from_json_text(document, essence if essence.endswith("+json") else "")
        except ValueError as error:
            raise AgentError(
                f"{self._place} answered with what is not JSON ({error})",
                reason=OUTPUT_INVALID,
                details={"output": body[:800].decode(errors="replace")[:200]},
            ) from error


async def _receive(response: "httpx2.Response", body: bytearray, limit: int) -> None:
    """Fill `body`, which ends up longer than `limit` when there was more; then the connection is closed.

    Cut by a cancellation, not by leaving the loop: httpx2's inner generators end only by what comes from within.
    """
    # A server may encode what nobody asked it to; else what is in the stream needs no second pair of generators around it.
    encoded = "content-encoding" in response.headers
    with trio.CancelScope() as cut:
        async for chunk in response.aiter_bytes() if encoded else cast("httpx2.AsyncByteStream", response.stream):
            if len(body) <= limit:
                body += chunk
            if len(body) > limit:
                cut.cancel()


def _authorization(url: str) -> dict[str, str]:
    """The header that says what stands before the @ of a URL."""
    parts = urlsplit(url)
    if not parts.username and not parts.password:
        return {}
    token = b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode())
    return {"authorization": f"Basic {token.decode()}"}


def _envelope(call: Call) -> str:
    """The JSON of `send="json"`, from the payloads' own documents, so that numbers keep their precision."""
    variables = (f"{json.dumps(name)}:{_document(value)}" for name, value in call.variable_payloads.items())
    return f'{{"input":{_document(call.input)},"variables":{{{",".join(variables)}}}}}'


def _document(payload: Payload) -> str:
    return payload.text if payload.kind == "json" else json.dumps(payload.text, ensure_ascii=False)


def _decode(body: bytes, parameters: str) -> str:
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", parameters, re.IGNORECASE)
    try:
        return body.decode(charset[1] if charset else "utf-8", errors="replace")
    except (LookupError, ValueError):  # no such charset, or one that is no text encoding
        return body.decode(errors="replace")
