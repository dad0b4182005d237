"""A small HTTP/1.1 server on trio and h11 that a test scripts, and that counts the connections it sees."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11
import trio

Headers = Mapping[str, str]


@dataclass
class Request:
    """What the server received."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Exchange:
    """One request, and the means to answer it."""

    request: Request
    stream: trio.SocketStream
    connection: h11.Connection

    async def answer(self, status: int = 200, body: bytes = b"", headers: Headers | None = None) -> None:
        """A whole response."""
        await self.start(status, {"content-length": str(len(body)), **(headers or {})})
        await self.data(body)
        await self._send(h11.EndOfMessage())

    async def start(self, status: int = 200, headers: Headers | None = None) -> None:
        """Only the head; without content-length the body is chunked."""
        await self._send(h11.Response(status_code=status, headers=list((headers or {}).items())))

    async def data(self, body: bytes) -> None:
        await self._send(h11.Data(data=body))

    async def client_gone(self) -> None:
        """Wait until the client has closed the connection."""
        try:
            while await self.stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass

    async def _send(self, event: h11.Event) -> None:
        if data := self.connection.send(event):
            await self.stream.send_all(data)


async def echo(exchange: Exchange) -> None:
    """Answer with the request's body and content type."""
    content_type = exchange.request.headers.get("content-type", "text/plain")
    await exchange.answer(body=exchange.request.body, headers={"content-type": content_type})


@dataclass
class Peer:
    """The server as a test sees it."""

    port: int
    handler: Callable[[Exchange], Awaitable[None]] = echo
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    """Open now."""
    peak: int = 0
    """Most that were open at the same moment."""
    accepted: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/agent"

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.accepted += 1
        self.peak = max(self.peak, self.connections)
        try:
            async with stream:
                await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            pass  # the client, or the script, cut the connection
        finally:
            self.connections -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request = await _receive(stream, connection)
            if request is None:
                return
            self.requests.append(request)
            await self.handler(Exchange(request, stream, connection))
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


async def _receive(stream: trio.SocketStream, connection: h11.Connection) -> Request | None:
    request: Request | None = None
    while True:
        await trio.lowlevel.checkpoint()
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            headers = {name.decode(): value.decode() for name, value in event.headers}
            request = Request(event.method.decode(), event.target.decode(), headers, b"")
        elif isinstance(event, h11.Data) and request is not None:
            request.body += event.data
        else:
            return request


@asynccontextmanager
async def open_peer() -> AsyncIterator[Peer]:
    """Serve on a free port of 127.0.0.1 while the block runs."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        peer = Peer(listeners[0].socket.getsockname()[1])
        await nursery.start(trio.serve_listeners, peer._serve, listeners)
        yield peer
        nursery.cancel_scope.cancel()
