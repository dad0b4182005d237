"""Puts a server around an engine: the services, health and the transport, and how they come to an end together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from motet.agents.remote import Workers, workers_for
from motet_proto.v1 import catalog_service_pb2, run_service_pb2, worker_service_pb2
from motet_server.access import Access
from motet_server.auth import Authorise
from motet_server.health import Health
from motet_server.rpc import Method, Service, TransportOptions
from motet_server.services.catalog import CatalogService
from motet_server.services.gate import Gate
from motet_server.services.intake import Intake
from motet_server.services.map import MapService
from motet_server.services.run import RunService
from motet_server.services.worker import HEARTBEAT_INTERVAL, WorkerService
from motet_server.status import to_status
from motet_server.tls import Tls, credentials
from motet_server.transport import Transport, open_transport
from motet_server.validation import MAX_PLAN_DEPTH

if TYPE_CHECKING:
    from motet.catalog import Catalog
    from motet.engine.engine import Engine

HEALTH_BOUND: Final = 1.0
"""Seconds that telling the watchers of health may take: one that does not read must not hold up a drain."""
ANSWER_BOUND: Final = 5.0
"""Seconds that a drained server waits for callers to take the last answers; who reads slower loses them."""
WORKER_BOUND: Final = 5.0
"""Seconds that workers of a drained server have to leave, once no run needs them any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The settings of a server."""

    transport: TransportOptions = field(default_factory=TransportOptions)
    """Sizes, counts and times of the connections."""
    max_plan_depth: int = MAX_PLAN_DEPTH
    """Most plans in each other, from 1; the messages themselves end at 48."""
    expressions: bool = True
    """Callers may send CEL expressions in the options of aggregations. An expression is bounded in steps, not in memory:
    turn this off where callers are not trusted. Those of the catalog always work."""
    reflection: bool = True
    """Tell the services and their messages to tools such as grpcurl. It shows the contract, no data."""
    workers_may_register: bool = False
    """Workers may bring agents that the catalog does not declare, under names that it does not use. Otherwise they serve
    agents of kind remote only."""
    worker_heartbeat: float = HEARTBEAT_INTERVAL
    """Seconds between signs of life of a worker, and of the server to it; three without one end the connection."""
    tls: Tls | Callable[[], Tls] | None = None
    """The certificate to show. A function is asked before each handshake, in a thread of gRPC's, so that certificates can be
    renewed. None: no encryption."""
    authorise: Authorise | None = None
    """Decides who calls, such as `auth.Tokens`; the server then keeps each caller to its rights and its tenant. Health needs no
    caller. None: everybody may call, and tenants are trusted as given."""

    def __post_init__(self) -> None:
        if not 0 < self.worker_heartbeat < float("inf"):
            raise ValueError("worker_heartbeat: must be a finite number of seconds above 0")


class Server:
    """A running server. Made by `serve` only."""

    def __init__(
        self,
        engine: "Engine",
        transport: Transport,
        gate: Gate,
        health: Health,
        workers: Workers,
        *,
        access: Access | None,
    ) -> None:
        self._engine = engine
        self._transport = transport
        self._gate = gate
        self._health = health
        self._workers = workers
        self._access = access

    @property
    def address(self) -> str:
        """As bound: `127.0.0.1:50061`."""
        return self._transport.address

    @property
    def port(self) -> int:
        """As bound; the one that was found free when it was asked for with 0."""
        return self._transport.port

    @property
    def workers(self) -> Workers:
        """Those that are connected."""
        return self._workers

    def recheck(self) -> int:
        """Ask `authorise` anew about each call in progress, and end with its status what it refuses now. Returns how many.

        For when tokens have changed. Background runs go on.
        """
        return 0 if self._access is None else self._transport.recheck(self._access.still)

    async def drain(self, grace: float) -> None:
        """Come to an end without losing work; returns when none is left.

        From now on health says NOT_SERVING and new work is refused with UNAVAILABLE, reason DRAINING; runs can still be
        looked at, watched and cancelled. Running work, background runs and the engine's own included, has `grace`
        seconds, is then cancelled, and its results still reach their callers. Workers go on for as long as it needs them
        and are then told to leave. Shielded: a cancellation from around
        waits for the end, so bound it by `grace`. A second call with a smaller grace shortens the first.
        """
        with trio.CancelScope(shield=True):
            self._gate.close()
            with trio.move_on_after(HEALTH_BOUND):
                await _in_loop(self._transport, self._health.shut)
            await self._engine.drain(grace)
            with trio.move_on_after(WORKER_BOUND):
                await self._workers.drain()
            with trio.move_on_after(ANSWER_BOUND):
                await self._gate.wait_idle()

    async def _leave(self) -> None:
        """After a drain the last answers may still be on their way; otherwise what runs is cancelled at once."""
        drained = not self._gate.is_open and not self._gate.working
        self._gate.close()
        await self._transport.stop(ANSWER_BOUND if drained else 0.0)


@asynccontextmanager
async def serve(
    engine: "Engine", address: str = "127.0.0.1:50061", *, options: ServerOptions | None = None
) -> AsyncIterator[Server]:
    """Serve an engine over gRPC, in any trio program, for as long as the block lasts.

    Port 0 takes a free one; `server.address` tells which. Leaving the block cancels the RPCs that run and closes the
    port; background runs belong to the engine and go on. Raises Unavailable when the address cannot be bound, or not with
    this certificate.
    """
    chosen = options or ServerOptions()
    gate = Gate()
    catalog = cast("Catalog", engine.catalog)
    workers = workers_for(catalog.agents, catalog.add if chosen.workers_may_register else None)
    serving = WorkerService(
        workers, heartbeat_interval=chosen.worker_heartbeat, max_message_bytes=chosen.transport.max_message_bytes
    )
    services = [*_services(engine, gate, Intake(chosen.max_plan_depth, chosen.expressions)), _worker_service(serving)]
    health = Health([service.name for service in services], with_reflection=chosen.reflection)
    access = None if chosen.authorise is None else Access(chosen.authorise)
    async with open_transport(
        services,
        address,
        options=chosen.transport,
        translate=to_status,
        extra=health.register,
        admit=None if access is None else access.admit,
        credentials=None if chosen.tls is None else credentials(chosen.tls),
    ) as transport:
        await _in_loop(transport, health.open)
        server = Server(engine, transport, gate, health, workers, access=access)
        yield server
        await server._leave()  # noqa: SLF001  # an error in the block needs no flush: the transport's own end is quick


async def _in_loop(transport: Transport, fn: Callable[[], Any]) -> None:
    await transport.call_in_loop(fn)


def _services(engine: "Engine", gate: Gate, intake: Intake) -> list[Service]:
    run, mapping, catalog = (
        RunService(engine, gate, intake),
        MapService(engine, gate, intake),
        CatalogService(engine, intake),
    )
    r, c = run_service_pb2, catalog_service_pb2
    return [
        Service(
            "motet.v1.RunService",
            [
                Method("Run", "unary", r.RunRequest, r.RunResponse, run.run),
                Method("StreamRun", "stream", r.StreamRunRequest, r.StreamRunResponse, run.stream_run),
                Method("StartRun", "unary", r.StartRunRequest, r.StartRunResponse, run.start_run),
                Method("GetRun", "unary", r.GetRunRequest, r.GetRunResponse, run.get_run),
                Method("ListRuns", "unary", r.ListRunsRequest, r.ListRunsResponse, run.list_runs),
                Method("CancelRun", "unary", r.CancelRunRequest, r.CancelRunResponse, run.cancel_run),
                Method("WatchRun", "stream", r.WatchRunRequest, r.WatchRunResponse, run.watch_run),
                Method("MapRun", "bidi", r.MapRunRequest, r.MapRunResponse, mapping.map_run),
                Method("ListLimits", "unary", r.ListLimitsRequest, r.ListLimitsResponse, run.list_limits),
            ],
        ),
        Service(
            "motet.v1.CatalogService",
            [
                Method("ListAgents", "unary", c.ListAgentsRequest, c.ListAgentsResponse, catalog.list_agents),
                Method("GetAgent", "unary", c.GetAgentRequest, c.GetAgentResponse, catalog.get_agent),
                Method("ListGroups", "unary", c.ListGroupsRequest, c.ListGroupsResponse, catalog.list_groups),
                Method("GetGroup", "unary", c.GetGroupRequest, c.GetGroupResponse, catalog.get_group),
                Method(
                    "ListAggregations",
                    "unary",
                    c.ListAggregationsRequest,
                    c.ListAggregationsResponse,
                    catalog.list_aggregations,
                ),
            ],
        ),
    ]


def _worker_service(serving: WorkerService) -> Service:
    w = worker_service_pb2
    return Service("motet.v1.WorkerService", [Method("Serve", "bidi", w.WorkerMessage, w.EngineMessage, serving.serve)])
