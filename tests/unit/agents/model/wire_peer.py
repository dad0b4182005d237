"""A local server of a model service as a test scripts it: what it received, who is connected, who left. Knows no format."""

import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import h11
import trio
from http_peer import Exchange, Peer, open_peer

JSON = "application/json"
SSE = "text/event-stream"


class ClientGone(Exception):
    """The client left before it was answered."""


@dataclass
class Turn:
    """One request, and the means to answer it."""

    exchange: Exchange
    path: str
    headers: dict[str, str]
    json: Any
    """The body, decoded."""
    number: int
    """From 1, over all requests of the server."""

    @property
    def streamed(self) -> bool:
        return bool(self.json.get("stream"))

    async def answer(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """A whole response; what is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.exchange.answer(status, data, {"content-type": JSON, **(headers or {})})

    async def start_events(self) -> None:
        await self.exchange.start(200, {"content-type": SSE, "x-request-id": f"req_{self.number}"})

    async def data(self, data: bytes) -> None:
        await self.exchange.data(data)

    async def end(self) -> None:
        await self.exchange._send(h11.EndOfMessage())

    async def pieces(self, parts: Sequence[bytes], pause: float, hold_after: int | None, cut_after: int | None) -> bool:
        """Send the parts, each after a pause. False when the stream is to be cut there."""
        for count in range(len(parts) + 1):
            if count == cut_after:
                return False
            if count == hold_after:
                await self.pause()
            if count < len(parts):
                await self.pause(pause)
                await self.data(parts[count])
        return True

    async def pause(self, seconds: float = math.inf) -> None:
        """Let time pass while watching the connection. Raises ClientGone as soon as the client has closed it."""
        with trio.move_on_after(seconds):
            await self.exchange.client_gone()
            raise ClientGone

    async def until(self, gate: trio.Event) -> None:
        """Wait for the gate. Raises ClientGone when the client closes the connection before."""
        gone = False
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                nonlocal gone
                await self.exchange.client_gone()
                gone = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await gate.wait()
            nursery.cancel_scope.cancel()
        if gone:
            raise ClientGone


Act = Callable[[Turn], Awaitable[None]]
"""Answers one request."""


class WirePeer:
    """A server on a free port of 127.0.0.1 while its block runs. Requests beyond the script get `then`, or a 418."""

    root: ClassVar[str] = ""
    """What `url` ends in."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        """Every request so far."""
        self.running = 0
        """Requests that are being answered."""
        self.peak = 0
        """Most that were at the same moment."""
        self.disconnects = 0
        """Clients that left before they were answered."""
        self._acts: list[Act] = []
        self._then: Act | None = None
        self._by: Callable[[Turn], Act] | None = None
        self._changed = trio.Event()
        self._stack = AsyncExitStack()
        self._server: Peer = None

    async def __aenter__(self) -> Self:
        self._server = await self._stack.enter_async_context(open_peer())
        self._server.handler = self._handle
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._server.port}{self.root}"

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return int(self._server.connections)

    @property
    def accepted(self) -> int:
        """Connections that were ever opened."""
        return int(self._server.accepted)

    def script(self, acts: Sequence[Act] = (), *, then: Act | None = None) -> None:
        """Answer the next requests so, and those after them by `then`."""
        self._acts, self._then, self._by = list(acts), then, None

    def script_by(self, choose: Callable[[Turn], Act]) -> None:
        """Answer each request by what it says: the same whatever the order of requests."""
        self._by = choose

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for a condition on what the server saw. Raises trio.TooSlowError."""
        with trio.fail_after(seconds):
            while not condition():
                await self._changed.wait()

    async def wait_requests(self, count: int = 1) -> None:
        await self.wait_until(lambda: len(self.turns) >= count)

    async def wait_disconnected(self, count: int = 1) -> None:
        await self.wait_until(lambda: self.disconnects >= count)

    async def wait_closed(self, seconds: float = 10.0) -> None:
        """Wait until no connection is open. Raises trio.TooSlowError."""
        with trio.fail_after(seconds):
            while self.connections:  # noqa: ASYNC110 - the server below counts and tells nobody
                await trio.sleep(0.001)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        body = json.loads(request.body or b"null")
        turn = Turn(exchange, request.target, request.headers, body, len(self.turns) + 1)
        self.turns.append(turn)
        self.running += 1
        self.peak = max(self.peak, self.running)
        self._tell()
        try:
            await self._act(turn)(turn)
        except (ClientGone, trio.BrokenResourceError):
            self.disconnects += 1
        finally:
            self.running -= 1
            self._tell()

    def _act(self, turn: Turn) -> Act:
        if self._by is not None:
            return self._by(turn)
        if self._acts:
            return self._acts.pop(0)
        return self._then or respond(418, b"nothing is scripted for this request")


def respond(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Act:
    """A whole response, whatever was asked."""

    async def act(turn: Turn) -> None:
        await turn.answer(body, status, headers)

    return act


def events(*chunks: bytes, then: Act | None = None) -> Act:
    """A stream of server-sent events, byte by byte as given; `then` goes on, and may hold or break off."""

    async def act(turn: Turn) -> None:
        await turn.start_events()
        for chunk in chunks:
            await turn.data(chunk)
        if then is not None:
            await then(turn)
        else:
            await turn.end()

    return act


async def cut(turn: Turn) -> None:
    """Close the connection: before any header, or wherever the response is."""
    await trio.lowlevel.checkpoint()


async def hang(turn: Turn) -> None:
    """Say nothing until the client leaves."""
    await turn.pause()
