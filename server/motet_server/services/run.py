"""RunService without MapRun: run, stream, start, get, list, cancel, watch, and the limits in use."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from motet.errors import InvalidRequest, Violation
from motet.model.event import Event
from motet_proto.v1 import run_pb2
from motet_proto.v1 import run_service_pb2 as pb
from motet_server import wire_requests, wire_results
from motet_server.rpc import RpcContext, Send
from motet_server.services.gate import Gate
from motet_server.services.intake import Intake, within, write_result

FULL_MESSAGE: Final = 256 * 1024
"""Bytes of events that go in one message: the outputs of many members together would pass any limit on messages."""

if TYPE_CHECKING:
    from motet.engine.engine import Engine
    from motet.engine.stream import RunStream


class RunService:
    """The handlers. New work passes the gate; looking at runs and cancelling them does not."""

    def __init__(self, engine: "Engine", gate: Gate, intake: Intake) -> None:
        self._engine = engine
        self._gate = gate
        self._intake = intake

    async def run(self, message: pb.RunRequest, context: RpcContext) -> pb.RunResponse:
        """The run is in the RPC's scope: its deadline, cancel and disconnect are the run's."""
        with self._gate.work():
            request = await self._intake.read(message, message, context.metadata)
            result = await self._engine.run(request)
            return pb.RunResponse(result=await write_result(result))

    async def stream_run(self, message: pb.StreamRunRequest, context: RpcContext, send: Send) -> None:
        with self._gate.work():
            request = await self._intake.read(message, message.request, context.metadata)
            with within("request"):
                async with self._engine.stream(request) as stream:
                    await _follow(stream, pb.StreamRunResponse, send)

    async def start_run(self, message: pb.StartRunRequest, context: RpcContext) -> pb.StartRunResponse:
        with self._gate.work():
            request = await self._intake.read(message, message.request, context.metadata)
            with within("request"):
                started = await self._engine.start(request)
            return pb.StartRunResponse(run_id=started.run_id, existing=started.existing)

    async def get_run(self, message: pb.GetRunRequest, _context: RpcContext) -> pb.GetRunResponse:
        self._intake.check(message)
        return pb.GetRunResponse(run=wire_results.run_to_pb(await self._engine.get(message.run_id)))

    async def list_runs(self, message: pb.ListRunsRequest, _context: RpcContext) -> pb.ListRunsResponse:
        self._intake.check(message)
        unspecified = [
            Violation(f"states[{n}]", "must be a state") for n, state in enumerate(message.states) if not state
        ]
        if unspecified:
            raise InvalidRequest(unspecified)
        page = await self._engine.list(wire_requests.run_query_from_pb(message))
        runs = map(wire_results.run_to_pb, page.runs)
        return pb.ListRunsResponse(runs=runs, next_page_token=page.next_page_token)

    async def cancel_run(self, message: pb.CancelRunRequest, _context: RpcContext) -> pb.CancelRunResponse:
        self._intake.check(message)
        return pb.CancelRunResponse(run=wire_results.run_to_pb(await self._engine.cancel(message.run_id)))

    async def watch_run(self, message: pb.WatchRunRequest, _context: RpcContext, send: Send) -> None:
        """A watcher that leaves takes nothing with it."""
        self._intake.check(message)
        async with self._engine.watch(message.run_id, message.after_sequence) as stream:
            await _follow(stream, pb.WatchRunResponse, send)

    async def list_limits(self, message: pb.ListLimitsRequest, _context: RpcContext) -> pb.ListLimitsResponse:
        self._intake.check(message)
        uses = sorted(self._engine.limits(message.tenant), key=lambda use: (use.scope, use.name, use.guard, use.what))
        return pb.ListLimitsResponse(
            uses=map(wire_results.limit_use_to_pb, uses), waiting=self._engine.statistics().width_waiters
        )


async def _follow(stream: "RunStream", response: Callable[..., Message], send: Send) -> None:
    """Send what waits, as few messages, until the run has ended; the last has the last events and the result."""
    last: list[run_pb2.Event] = []
    async for batch in stream.batches():
        for events in in_messages(batch):
            if last:
                await send(response(events=last, run_id=stream.run_id))
            last = events
        if last and last[-1].WhichOneof("detail") != "run_ended":
            await send(response(events=last, run_id=stream.run_id))
            last = []
    if stream.result is None:
        raise RuntimeError(f"the stream of run {stream.run_id} ended without a result")
    await send(response(events=last, result=await write_result(stream.result), run_id=stream.run_id))


def in_messages(batch: Iterable[Event]) -> Iterator[list[run_pb2.Event]]:
    """The events as messages take them: together while they are small, a large one by itself."""
    events: list[run_pb2.Event] = []
    size = 0
    for event in batch:
        written = wire_results.event_to_pb(event)
        own = written.ByteSize()
        if events and size + own > FULL_MESSAGE:
            yield events
            events, size = [], 0
        events.append(written)
        size += own
    if events:
        yield events
