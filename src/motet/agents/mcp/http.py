"""The connection to an MCP server behind a URL: streamable HTTP, with bounds on what one answer may weigh.

Knows httpx2 and mcp's transport; knows neither tools nor calls.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from motet.agents.mcp.convert import RESULT_MOST, TOO_LARGE, Trouble

_CONNECT_SECONDS: Final = 10.0
_WRITE_SECONDS: Final = 30.0
_KEPT: Final = 20
"""Idle connections."""


@asynccontextmanager
async def connected(url: str, headers: Mapping[str, str], trouble: Trouble) -> AsyncIterator[TransportStreams]:
    """The two ways to a server. Entered and left in one task.

    Proxies and passwords of the environment are ignored, and redirects to another origin are not followed: whoever wrote
    the URL says where the data of a call goes. How long an answer may take is the call's own affair.
    """

    async def look(response: httpx2.Response) -> None:  # noqa: ASYNC124 - httpx2 awaits it
        if response.status_code >= HTTPStatus.BAD_REQUEST and response.request.method == "POST":
            trouble.hint = f"it answered with HTTP status {response.status_code}"
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise httpx2.RemoteProtocolError(
                "it sent a compressed answer, which was not asked for", request=response.request
            )
        if kind != "text/event-stream":  # of a stream each event is bounded, not the sum
            assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - the client is async
            response.stream = _Bounded(response.stream)

    client = httpx2.AsyncClient(
        headers={"user-agent": "motet", **headers, "accept-encoding": "identity"},
        timeout=httpx2.Timeout(connect=_CONNECT_SECONDS, write=_WRITE_SECONDS, read=None, pool=None),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_KEPT),
        trust_env=False,
        event_hooks={"response": [look]},
    )
    async with client, streamable_http_client(url, http_client=client, max_sse_event_size=RESULT_MOST) as streams:
        yield streams


class _Bounded(httpx2.AsyncByteStream):
    """A body that breaks off once it has more bytes than a message may have."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:  # noqa: ASYNC900 - the interface of httpx2
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > RESULT_MOST:
                raise httpx2.StreamError(TOO_LARGE)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
