"""RunService without MapRun: run, stream, start, get, list, cancel, watch, and the limits in use."""

from typing import TYPE_CHECKING

from motet.errors import InvalidRequest, Violation
from motet_proto.v1 import run_service_pb2 as pb
from motet_server import wire_requests, wire_results
from motet_server.auth import tenant_for
from motet_server.rpc import RpcContext, Send
from motet_server.services.following import Written, follow
from motet_server.services.gate import Gate
from motet_server.services.intake import Intake, within, write_result
from motet_server.services.ownership import Ownership

if TYPE_CHECKING:
    from motet.engine.engine import Engine


class RunService:
    """The handlers. New work passes the gate; looking at runs and cancelling them does not."""

    def __init__(self, engine: "Engine", gate: Gate, intake: Intake) -> None:
        self._engine = engine
        self._gate = gate
        self._intake = intake
        self._written = Written()
        self._owners = Ownership(engine)

    async def run(self, message: pb.RunRequest, context: RpcContext) -> pb.RunResponse:
        """The run is in the RPC's scope: its deadline, cancel and disconnect are the run's."""
        with self._gate.work():
            request = await self._intake.read(message, message, context)
            result = await self._engine.run(request)
            return await write_result(result, pb.RunResponse)

    async def stream_run(self, message: pb.StreamRunRequest, context: RpcContext, send: Send) -> None:
        with self._gate.work():
            request = await self._intake.read(message, message.request, context)
            with within("request"):
                async with self._engine.stream(request) as stream:
                    with self._owners.streamed(stream.run_id, request.tenant):
                        await follow(stream, pb.StreamRunResponse, send)

    async def start_run(self, message: pb.StartRunRequest, context: RpcContext) -> pb.StartRunResponse:
        with self._gate.work():
            request = await self._intake.read(message, message.request, context)
            with within("request"):
                started = await self._engine.start(request)
            return pb.StartRunResponse(run_id=started.run_id, existing=started.existing)

    async def get_run(self, message: pb.GetRunRequest, context: RpcContext) -> pb.GetRunResponse:
        self._intake.check(message)
        return pb.GetRunResponse(run=wire_results.run_to_pb(await self._owners.get(message.run_id, context)))

    async def list_runs(self, message: pb.ListRunsRequest, context: RpcContext) -> pb.ListRunsResponse:
        self._intake.check(message)
        unspecified = [
            Violation(f"states[{n}]", "must be a state") for n, state in enumerate(message.states) if not state
        ]
        if unspecified:
            raise InvalidRequest(unspecified)
        page = await self._owners.list(wire_requests.run_query_from_pb(message), context)
        runs = map(wire_results.run_to_pb, page.runs)
        return pb.ListRunsResponse(runs=runs, next_page_token=page.next_page_token)

    async def cancel_run(self, message: pb.CancelRunRequest, context: RpcContext) -> pb.CancelRunResponse:
        self._intake.check(message)
        await self._owners.check(message.run_id, context)
        return pb.CancelRunResponse(run=wire_results.run_to_pb(await self._engine.cancel(message.run_id)))

    async def watch_run(self, message: pb.WatchRunRequest, context: RpcContext, send: Send) -> None:
        """A watcher that leaves takes nothing with it."""
        self._intake.check(message)
        await self._owners.check(message.run_id, context)
        async with self._engine.watch(message.run_id, message.after_sequence) as stream:
            await follow(stream, pb.WatchRunResponse, send, self._written.writer(message.run_id))

    async def list_limits(self, message: pb.ListLimitsRequest, context: RpcContext) -> pb.ListLimitsResponse:
        self._intake.check(message)
        tenant = tenant_for(context.caller, message.tenant)
        uses = sorted(self._engine.limits(tenant), key=lambda use: (use.scope, use.name, use.guard, use.what))
        return pb.ListLimitsResponse(
            uses=map(wire_results.limit_use_to_pb, uses), waiting=self._engine.statistics().width_waiters
        )
