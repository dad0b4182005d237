"""An engine with remote agents, its server, and workers that do exactly what a test tells them to."""

import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest
import trio

import motet
import motet_server
from motet.agents.remote import RemoteAgent
from motet.catalog import Catalog
from motet.model.plan import Aggregation, Group
from motet.testing.fakes import ScriptedAgent
from motet_proto.v1 import payload_pb2
from motet_proto.v1 import worker_service_pb2 as pb
from motet_proto.v1.worker_service_pb2_grpc import WorkerServiceStub

PATIENCE = 20.0


class Raw:
    """A worker that does exactly what a test tells it to; heartbeats of the engine are passed over."""

    def __init__(self, stub: WorkerServiceStub, rig: "Rig") -> None:
        self._out: queue.SimpleQueue[pb.WorkerMessage | None] = queue.SimpleQueue()
        self._in: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._rig = rig
        self.call = stub.Serve(iter(self._out.get, None))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for message in self.call:
                self._in.put(message)
            self._in.put(None)
        except grpc.RpcError as error:
            self._in.put(error)

    def say(self, *messages: pb.WorkerMessage) -> None:
        for message in messages:
            self._out.put(message)

    def hello(self, worker_id: str = "w1", *names: str, **agent: Any) -> None:
        agents = [pb.WorkerAgent(name=name, **agent) for name in names or ("shout",)]
        self.say(pb.WorkerMessage(hello=pb.WorkerHello(worker_id=worker_id, agents=agents)))

    def reply(self, lease: pb.Lease, output: str) -> None:
        text = payload_pb2.Payload(text=output)
        self.say(pb.WorkerMessage(reply=pb.LeaseReply(lease_id=lease.lease_id, epoch=lease.epoch, output=text)))

    def close(self) -> None:
        self._out.put(None)

    async def hear(self, kind: str) -> Any:
        """The next message of a kind, which no other but heartbeats comes before."""
        while True:
            message = await self._rig.thread(self._in.get, timeout=PATIENCE)
            if isinstance(message, pb.EngineMessage) and message.WhichOneof("message") == "heartbeat" != kind:
                continue
            assert isinstance(message, pb.EngineMessage), message
            assert message.WhichOneof("message") == kind, message
            return getattr(message, kind)

    async def end(self, *, after: int = 100) -> grpc.RpcError | None:
        """How the stream ended; None when it ended well. Messages before it are passed over."""
        for _ in range(after):
            message = await self._rig.thread(self._in.get, timeout=PATIENCE)
            if not isinstance(message, pb.EngineMessage):
                return message  # type: ignore[no-any-return]
        raise AssertionError("the stream does not end")


class Rig:
    """An engine with remote agents, and its server."""

    def __init__(self, engine: motet.Engine, server: motet_server.Server, channel: grpc.Channel) -> None:
        self.engine = engine
        self.server = server
        self.channel = channel
        self.limiter = trio.CapacityLimiter(100)
        self._made: list[Raw] = []

    async def thread(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await trio.to_thread.run_sync(
            lambda: work(*args, **options), abandon_on_cancel=True, limiter=self.limiter
        )

    def raw(self) -> Raw:
        worker = Raw(WorkerServiceStub(self.channel), self)
        self._made.append(worker)
        return worker

    async def worker(self, *words: str, **agent: Any) -> Raw:
        """One that is welcome."""
        worker = self.raw()
        worker.hello(*words, **agent)
        await worker.hear("welcome")
        return worker

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what it waits for happens in other threads, which set no event
                await trio.sleep(0.005)

    @asynccontextmanager
    async def running(self, target: Any = "one", input: object = "hi", **options: Any) -> AsyncIterator[list[Any]]:
        """A run beside the block; its result is in the list after it."""
        results: list[Any] = []

        async def run() -> None:
            results.append(await self.engine.run(target, input, **options))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
            yield results
        assert results, "the run does not end"

    def close(self) -> None:
        for worker in self._made:
            worker.close()
            worker.call.cancel()


@asynccontextmanager
async def open_rig(*, engine: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Rig]:
    catalog = Catalog()
    catalog.add(RemoteAgent("shout"), RemoteAgent("brief", queue_timeout=0.1), ScriptedAgent("local"))
    catalog.add_group(Group("one", ["shout"], Aggregation("first")))
    chosen = motet_server.ServerOptions(**options)
    async with (
        motet.open_engine(catalog, **(engine or {})) as opened,
        motet_server.serve(opened, "127.0.0.1:0", options=chosen) as server,
    ):
        with grpc.insecure_channel(server.address, [("grpc.max_send_message_length", -1)]) as channel:
            rig = Rig(opened, server, channel)
            try:
                yield rig
            finally:
                rig.close()


@pytest.fixture
def rigs() -> Callable[..., AbstractAsyncContextManager[Rig]]:
    """Opens rigs with settings of their own."""
    return open_rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as opened:
        yield opened
