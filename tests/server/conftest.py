"""A server on a free port around an engine of scripted agents, and gRPC clients that live in threads."""

import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import pytest
import trio
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # its package ships no types

import motet
import motet_server
from motet.catalog import Catalog
from motet.engine.engine import Engine
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.plan import Aggregation, Group, Member
from motet.ports import Call
from motet.testing.fakes import ScriptedAgent
from motet_proto.v1.catalog_service_pb2_grpc import CatalogServiceStub
from motet_proto.v1.run_service_pb2_grpc import RunServiceStub

T = TypeVar("T")
PATIENCE = 30.0
"""Seconds after which a test that waits for a condition gives up."""


class HeldAgent:
    """Answers once it is released."""

    def __init__(self) -> None:
        self.info = AgentInfo(name="held", kind=AgentKind.FUNCTION)
        self.release = trio.Event()

    async def call(self, call: Call, /) -> Reply:
        await self.release.wait()
        return Reply(call.input)


@dataclass
class Rig:
    """An engine, its server and a client of it."""

    engine: Engine
    server: motet_server.Server
    channel: grpc.Channel
    agents: dict[str, ScriptedAgent]
    held: HeldAgent
    limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(200))

    @property
    def runs(self) -> RunServiceStub:
        return RunServiceStub(self.channel)

    @property
    def catalog(self) -> CatalogServiceStub:
        return CatalogServiceStub(self.channel)

    async def thread(self, work: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a blocking function, such as a stub's method, in a thread."""
        return await trio.to_thread.run_sync(
            lambda: work(*args, **options), abandon_on_cancel=True, limiter=self.limiter
        )

    async def collect(self, responses: Iterable[T]) -> list[T]:
        """All messages of a stream."""
        return await self.thread(list, responses)

    async def refused(self, work: Callable[..., Any], *args: Any, **options: Any) -> "Refusal":
        """Call what must end with an error status, and unpack it. A stream is read until it does."""

        def call() -> Any:
            answer: Any = work(*args, **options)
            return list(answer) if hasattr(answer, "__next__") else answer

        with pytest.raises(grpc.RpcError) as caught:
            await self.thread(call)
        return Refusal.of(caught.value)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that another thread or task does has happened."""
        with trio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110  # what it waits for happens in other threads, which set no event
                await trio.sleep(0.005)


@dataclass
class Refusal:
    """An error status with its details unpacked."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: dict[str, str]
    details: list[str]

    @classmethod
    def of(cls, error: Any) -> "Refusal":
        packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        names = []
        for detail in status_pb2.Status.FromString(packed).details if packed else ():
            detail.Unpack(info)
            detail.Unpack(bad)
            names.append(detail.type_url.rpartition(".")[2])
        fields = {violation.field: violation.description for violation in bad.field_violations}
        return cls(error.code(), error.details(), info.reason, fields, names)


def make_catalog() -> tuple[Catalog, dict[str, ScriptedAgent], HeldAgent]:
    agents = [
        ScriptedAgent("echo", reply=lambda call: call.input),
        ScriptedAgent("upper", reply=lambda call: call.text.upper()),
        ScriptedAgent("deep", reply=lambda call: call.depth),
        ScriptedAgent("left", reply=lambda call: call.time_left() if call.deadline < math.inf else None),
        ScriptedAgent("hello", reply=lambda call: {"hello": call.variables.get("name")}),
        ScriptedAgent("fails", error=AgentError("it broke", reason="BROKEN", details={"part": 7})),
        ScriptedAgent("slow", delay=0.3),
        ScriptedAgent("endless", delay=math.inf),
        ScriptedAgent("talks", delay=0.01, progress=range(5)),
        ScriptedAgent("large", reply="x" * 100_000),
    ]
    catalog = Catalog()
    held = HeldAgent()
    catalog.add(*agents, held)
    catalog.add_group(Group("pair", [Member("echo"), Member("upper")]), "Says it twice.")
    catalog.add_group(Group("mixed", [Member("upper"), Member("fails")]))
    catalog.add_group(Group("waits", [Member("endless")]))
    catalog.add_group(Group("slow-pair", [Member("slow"), Member("slow")]))
    catalog.add_group(Group("chatty", [Member("talks", replicas=3)]))
    catalog.add_group(Group("one", [Member("echo")], Aggregation("first")))
    catalog.add_group(Group("holds", [Member("held")], Aggregation("first")))
    catalog.add_group(Group("heavy", [Member("large", replicas=50)]))
    return catalog, {agent.info.name: agent for agent in agents}, held


@asynccontextmanager
async def open_rig(options: motet_server.ServerOptions | None = None, **engine: Any) -> AsyncIterator[Rig]:
    catalog, agents, held = make_catalog()
    async with (
        motet.open_engine(catalog, **engine) as opened,
        motet_server.serve(opened, "127.0.0.1:0", options=options) as server,
    ):
        # gRPC's clients take 4 MiB unless told; the server sends up to its own limit.
        with grpc.insecure_channel(server.address, [("grpc.max_receive_message_length", 16 * 1024 * 1024)]) as channel:
            yield Rig(opened, server, channel, agents, held)


@pytest.fixture
def rigs() -> Callable[..., AbstractAsyncContextManager[Rig]]:
    """Opens rigs with settings of their own."""
    return open_rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as opened:
        yield opened
