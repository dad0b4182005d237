"""A real server in a thread of its own, an engine that follows a script, and workers in threads."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import grpc
import pytest
import trio

import motet
import motet_client
import motet_server
from motet.agents.remote import RemoteAgent
from motet.catalog import Catalog
from motet_client.worker import Worker
from motet_proto.v1 import worker_service_pb2_grpc as worker_grpc

PATIENCE = 20.0
Script = Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Any]]


class Server:
    """A real server in a thread of its own."""

    def __init__(self, heartbeat: float = 5.0) -> None:
        self.address = ""
        self._heartbeat = heartbeat
        self._up = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._stop: trio.Event
        self.server: motet_server.Server
        self._thread = threading.Thread(target=trio.run, args=(self._serve,))

    async def _serve(self) -> None:
        catalog = Catalog()
        catalog.add(*(RemoteAgent(name, stop_timeout=60) for name in ("shout", "sing")))
        self._token, self._stop = trio.lowlevel.current_trio_token(), trio.Event()
        options = motet_server.ServerOptions(worker_heartbeat=self._heartbeat)
        async with (
            motet.open_engine(catalog) as engine,
            motet_server.serve(engine, "127.0.0.1:0", options=options) as self.server,
        ):
            self.address = self.server.address
            self._up.set()
            await self._stop.wait()
            await self.server.drain(0)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(PATIENCE)
        return self

    def __exit__(self, *_error: object) -> None:
        self._token.run_sync_soon(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as opened:
        yield opened


class Engine(worker_grpc.WorkerServiceServicer):
    """An engine that does what a test says: a function of the requests and the context, for each connection in turn."""

    def __init__(self, *scripts: Script) -> None:
        self.address = ""
        self._scripts = list(scripts)
        self.metadata: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def Serve(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802 - gRPC's name
        self.metadata.put(dict(context.invocation_metadata()))
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        yield from script(requests, context)


@contextmanager
def _scripted(*scripts: Script) -> Iterator[Engine]:
    engine = Engine(*scripts)
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    worker_grpc.add_WorkerServiceServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    engine.address = f"127.0.0.1:{port}"
    yield engine
    server.stop(0).wait(PATIENCE)


@contextmanager
def _serving(worker: Worker) -> Iterator[list[motet_client.MotetClientError]]:
    """The worker in a thread; it is drained at the end. What `run` raised is in the list."""
    raised: list[motet_client.MotetClientError] = []

    def run() -> None:
        try:
            worker.run()
        except motet_client.MotetClientError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        worker.drain()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the worker does not end"


@pytest.fixture
def serving() -> Callable[[Worker], AbstractContextManager[list[motet_client.MotetClientError]]]:
    return _serving


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    return _until


@pytest.fixture
def scripted() -> Callable[..., AbstractContextManager[Engine]]:
    return _scripted


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "what was waited for does not happen"
        time.sleep(0.005)
