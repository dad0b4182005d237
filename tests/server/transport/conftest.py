"""A small rig for tests of a transport: services made of handlers, a synchronous client in threads, waiting for conditions.

Every test that asks for `rig` runs on each transport named in `TRANSPORTS`: whatever implements the interface passes them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue

from motet_server.rpc import Method, RpcContext, RpcStatus, Send, Service, TransportOptions
from motet_server.transport import Transport, open_transport

TRANSPORTS = {"grpc_aio_thread": open_transport}


def translate(error: Exception) -> RpcStatus:
    """What the tests expect of a handler's error that is not an RpcError."""
    return RpcStatus(grpc.StatusCode.FAILED_PRECONDITION, f"translated {error!r}")


@dataclass
class Client:
    """A synchronous client of the service `test.Echo`; its calls block, so tests make them in threads."""

    channel: grpc.Channel

    def _call(self, name: str, kind: str) -> Any:
        return getattr(self.channel, kind)(
            f"/test.Echo/{name}", request_serializer=_encode, response_deserializer=_decode
        )

    def unary(self, name: str, value: str = "", **options: Any) -> str:
        return str(self._call(name, "unary_unary")(value, **options))

    def future(self, name: str, value: str = "", **options: Any) -> Any:
        return self._call(name, "unary_unary").future(value, **options)

    def stream(self, name: str, value: str = "", **options: Any) -> Any:
        return self._call(name, "unary_stream")(value, **options)

    def bidi(self, name: str, values: Iterator[str], **options: Any) -> Any:
        return self._call(name, "stream_stream")(values, **options)

    def code(self, name: str, value: str = "", **options: Any) -> grpc.StatusCode:
        """The status code of a unary call."""
        error = self.future(name, value, **options).exception()
        return grpc.StatusCode.OK if error is None else error.code()


def _encode(value: str) -> bytes:
    return StringValue(value=value).SerializeToString()


def _decode(data: bytes) -> str:
    return StringValue.FromString(data).value


@dataclass
class Rig:
    """Opens one kind of transport."""

    factory: Callable[..., AbstractAsyncContextManager[Transport]]

    def open(
        self,
        address: str = "127.0.0.1:0",
        *,
        options: TransportOptions | None = None,
        extra: Any = None,
        **handlers: Any,
    ) -> AbstractAsyncContextManager[Transport]:
        """Serve `test.Echo` with a unary handler for each name; `stream_` and `bidi_` before a name make it another kind."""
        methods = [_method(name, handler) for name, handler in handlers.items()]
        services = [Service("test.Echo", methods)]
        return self.factory(services, address, options=options or TransportOptions(), translate=translate, extra=extra)

    @contextmanager
    def client(self, transport: Transport, *options: tuple[str, Any]) -> Iterator[Client]:
        """A client with a connection of its own."""
        own = ("grpc.use_local_subchannel_pool", 1)
        with grpc.insecure_channel(transport.address, options=(own, *options)) as channel:
            yield Client(channel)

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until a condition holds; the time is only there to fail."""
        with trio.fail_after(seconds):
            while not condition():  # noqa: ASYNC110 - the condition may lie in another thread
                await trio.sleep(0.002)

    async def settled(self, transport: Transport, idle: int) -> None:
        """Wait until no handler is left on either side; `idle` is what `tasks_in_loop` gave before the first."""
        await self.until(lambda: transport.active == 0)
        with trio.fail_after(20):
            while await self.tasks_in_loop(transport) > idle:  # noqa: ASYNC110 - as above
                await trio.sleep(0.005)

    async def tasks_in_loop(self, transport: Transport) -> int:
        """How many asyncio tasks the transport's loop has: handlers that are stuck show up here."""
        return await transport.call_in_loop(lambda: len(asyncio.all_tasks()))


def _method(name: str, handler: Any) -> Method:
    kind: Any
    kind, _, bare = name.rpartition("_")
    return Method(bare, kind or "unary", StringValue, StringValue, handler)


@pytest.fixture(params=list(TRANSPORTS.values()), ids=list(TRANSPORTS))
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


class Waiter:
    """A handler that waits for its cancellation and counts."""

    def __init__(self) -> None:
        self.started = 0
        self.ended = 0

    async def __call__(self, _request: StringValue, _context: RpcContext) -> StringValue:
        self.started += 1
        try:
            await trio.sleep_forever()
        finally:
            self.ended += 1

    async def stream(self, _request: StringValue, _context: RpcContext, send: Send) -> None:
        self.started += 1
        try:
            await send(StringValue(value="started"))
            await trio.sleep_forever()
        finally:
            self.ended += 1


@pytest.fixture
def waiter() -> Waiter:
    return Waiter()


async def say(request: StringValue, _context: RpcContext) -> StringValue:
    return StringValue(value=request.value)


async def count(request: StringValue, _context: RpcContext, send: Send) -> None:
    for number in range(int(request.value)):
        await send(StringValue(value=str(number)))


async def shout(requests: AsyncIterator[StringValue], _context: RpcContext, send: Send) -> None:
    async for request in requests:
        await send(StringValue(value=request.value.upper()))


@pytest.fixture
def echo() -> dict[str, Any]:
    """The three plain handlers, one of each kind: Say, Count and Shout."""
    return {"Say": say, "stream_Count": count, "bidi_Shout": shout}
