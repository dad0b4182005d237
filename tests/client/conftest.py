"""A scripted gRPC server, and the three doors of the client behind one asynchronous face, so that one suite runs on all."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, Self

import grpc
import pytest
import trio

import motet_client
import motet_client.aio
import motet_client.trio
from motet_proto.v1 import catalog_service_pb2_grpc as catalog_grpc
from motet_proto.v1 import run_pb2
from motet_proto.v1 import run_service_pb2 as pb
from motet_proto.v1 import run_service_pb2_grpc as run_grpc

Scenario = Callable[[Any], Awaitable[None]]


class Script:
    """What the server answers: handlers by the name of the RPC, and every request it saw."""

    def __init__(self) -> None:
        self.on: dict[str, Callable[[Any, grpc.ServicerContext], Any]] = {}
        self.seen: dict[str, list[Any]] = defaultdict(list)
        self.metadata: dict[str, str] = {}
        self.time_left: float | None = None
        self.cancelled = threading.Event()
        self.begun = threading.Event()

    def handle(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.seen[name].append(request)
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.time_left = context.time_remaining()
        if name not in self.on:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name} has no script")
        return self.on[name](request, context)

    def listen(self, context: grpc.ServicerContext) -> None:
        """Set `cancelled` when the call is over."""
        if not context.add_callback(self.cancelled.set):
            self.cancelled.set()

    def hang(self, _request: Any, context: grpc.ServicerContext) -> Any:
        """A handler that answers nothing until the client cancels."""
        self.listen(context)
        self.begun.set()
        self.cancelled.wait(30)
        return pb.RunResponse()


def servicer(base: type, script: Script) -> Any:
    def method(name: str) -> Any:
        return lambda _self, request, context: script.handle(name, request, context)

    names = [name for name in vars(base) if not name.startswith("_")]
    return type(base.__name__, (base,), {name: method(name) for name in names})()


class Door:
    """One of the three doors: `play` runs an async scenario with an open client."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def play(self, scenario: Scenario, **settings: Any) -> None:
        if self.name == "trio":
            trio.run(self._async, scenario, motet_client.trio.Client, settings)
        elif self.name == "aio":
            asyncio.run(self._async(scenario, motet_client.aio.Client, settings))
        else:
            with motet_client.Client(self.address, **settings) as client, pytest.raises(StopIteration):
                scenario(_AsIfAsync(client)).__await__().send(None)

    async def _async(self, scenario: Scenario, client_type: Any, settings: dict[str, Any]) -> None:
        async with client_type(self.address, **settings) as client:
            await scenario(client)


class Ready:
    """An awaitable that never waits: what `make` returns, when it is awaited."""

    def __init__(self, make: Callable[[], Any] = lambda: None) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self._make()


class _AsIfAsync:
    """The synchronous client with the face of the others; nothing in it ever waits for a loop."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name in ("stream", "watch", "map", "list_runs"):
            return lambda *given, **named: _AsIfAsyncStream(method(*given, **named))

        return lambda *given, **named: Ready(lambda: method(*given, **named))


class _AsIfAsyncStream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Self:
        self._stream.__enter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stream.__exit__(*error)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._stream)
        except StopIteration:
            raise StopAsyncIteration from None


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def address(script: Script) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    run_grpc.add_RunServiceServicer_to_server(servicer(run_grpc.RunServiceServicer, script), server)
    catalog_grpc.add_CatalogServiceServicer_to_server(servicer(catalog_grpc.CatalogServiceServicer, script), server)
    health = import_module("grpc_health.v1.health")
    checks = health.HealthServicer()
    checks.set("motet.v1.RunService", 2)
    import_module("grpc_health.v1.health_pb2_grpc").add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    script.cancelled.set()
    server.stop(0).wait(10)


@pytest.fixture(params=["sync", "aio", "trio"])
def door(request: pytest.FixtureRequest, address: str) -> Door:
    return Door(request.param, address)


class Make:
    """Messages that a server would send."""

    @staticmethod
    def result(output: str = "done", run_id: str = "r1") -> run_pb2.RunResult:
        result = run_pb2.RunResult(run_id=run_id, state=run_pb2.STATE_SUCCEEDED)
        result.output.text = output
        return result

    @staticmethod
    def events(*numbers: int) -> list[run_pb2.Event]:
        return [run_pb2.Event(sequence=each, member_started=run_pb2.MemberStarted(agent="a")) for each in numbers]

    @classmethod
    def streamed(cls, *numbers: int, end: bool = False) -> pb.StreamRunResponse:
        return pb.StreamRunResponse(events=cls.events(*numbers), run_id="r1", result=cls.result() if end else None)

    @classmethod
    def watched(cls, *numbers: int, end: bool = False) -> pb.WatchRunResponse:
        return pb.WatchRunResponse(events=cls.events(*numbers), run_id="r1", result=cls.result() if end else None)


@pytest.fixture
def ready() -> type[Ready]:
    return Ready


@pytest.fixture
def make() -> type[Make]:
    return Make
