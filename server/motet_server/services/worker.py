"""WorkerService: holds the streams of workers, each read by one task and written by another. Which worker gets which call
is decided in `motet.agents.remote`."""

import logging
from collections.abc import AsyncIterator
from typing import Final, NoReturn

import trio
from google.protobuf.message import Message

from motet.agents.remote import Connection, Lease, Workers
from motet.errors import InvalidRequest, LeaseLost, Unavailable, Violation
from motet_proto.v1 import worker_service_pb2 as pb
from motet_server import validation, wire_worker
from motet_server.rpc import RpcContext, Send

HEARTBEAT_INTERVAL: Final = 5.0
"""Seconds. Three of them lose a worker: shorter than callers usually wait, long enough for a stop of the interpreter."""
MISSED: Final = 3
"""Intervals of silence after which a side is taken for gone."""
HELLO_BOUND: Final = 10.0
"""Seconds that a worker has to say hello: a stream without one costs memory and serves nobody."""
LARGE_ANSWER: Final = 128 * 1024
"""Bytes above which an answer is read in a thread, as requests are."""
_log = logging.getLogger("motet.workers")


class WorkerService:
    """The handler of Serve."""

    def __init__(self, workers: Workers, *, heartbeat_interval: float, max_message_bytes: int) -> None:
        self._workers = workers
        self._interval = heartbeat_interval
        self._max_bytes = max_message_bytes

    async def serve(self, requests: AsyncIterator[pb.WorkerMessage], _context: RpcContext, send: Send) -> None:
        """One worker, from its hello to the end of its stream."""
        connection = self._workers.connect(wire_worker.hello_from_pb(await self._hello(requests)))
        why = "its stream broke"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak, connection, send, nursery.cancel_scope)
                await self._listen(connection, requests)
                why = "it ended its stream"
                nursery.cancel_scope.cancel()
        finally:
            replaced = connection.dismissed
            self._workers.disconnect(connection, "it left" if connection.leaving else why)
        if replaced:
            text = f"worker {connection.worker_id}: {replaced}, and only its latest connection counts"
            raise LeaseLost(text, reason="WORKER_REPLACED")

    async def _hello(self, requests: AsyncIterator[pb.WorkerMessage]) -> pb.WorkerHello:
        message: pb.WorkerMessage | None = None
        with trio.move_on_after(HELLO_BOUND):
            message = await anext(requests, None)
        if message is None or message.WhichOneof("message") != "hello":
            _refuse("hello", f"must be the first message, within {HELLO_BOUND:g} s")
        validation.validate(message)
        return message.hello

    # -------------------------------------------------------------------------------------------------- engine to worker

    async def _speak(self, connection: Connection, send: Send, whole: trio.CancelScope) -> None:
        """Tell the worker what there is to tell, and otherwise that the engine lives; end the `whole` when it has left."""
        await self._send(send, wire_worker.welcome_to_pb(self._interval, connection.epoch))
        while True:
            with trio.move_on_after(self._interval) as wait:
                order = await connection.order()
            if wait.cancelled_caught:
                await self._send(send, wire_worker.heartbeat_to_pb(len(connection.leases)))
                continue
            if order is None:
                whole.cancel()
                return
            message = wire_worker.order_to_pb(order).SerializeToString()
            if len(message) > self._max_bytes and isinstance(order, Lease):
                connection.answer(order, wire_worker.input_too_large(len(message), self._max_bytes))
                continue
            await self._send(send, message)

    async def _send(self, send: Send, message: Message | bytes) -> None:
        with trio.move_on_after(MISSED * self._interval) as bound:
            await send(message)
        if bound.cancelled_caught:
            raise Unavailable("the worker does not read what it is sent; connect again", reason="WORKER_SILENT")

    # -------------------------------------------------------------------------------------------------- worker to engine

    async def _listen(self, connection: Connection, requests: AsyncIterator[pb.WorkerMessage]) -> None:
        """Until the worker ends the stream. Raises Unavailable when it is silent, InvalidRequest when it talks nonsense."""
        while True:
            message: pb.WorkerMessage | None = None
            with trio.move_on_after(MISSED * self._interval) as bound:
                message = await anext(requests, None)
            if bound.cancelled_caught:
                text = f"the worker was silent for {MISSED} heartbeats of {self._interval:g} s; connect again"
                raise Unavailable(text, reason="WORKER_SILENT")
            if message is None:
                return
            await self._take(connection, message)

    async def _take(self, connection: Connection, message: pb.WorkerMessage) -> None:
        match message.WhichOneof("message"):
            case "heartbeat":
                return
            case "progress":
                self._report(connection, message)
            case "reply":
                await self._answer(connection, message, message.reply)
            case "failure":
                await self._answer(connection, message, message.failure)
            case "stopped":
                await self._answer(connection, message, message.stopped)
            case "drain":
                connection.drain(told=False)
            case "hello":
                _refuse("hello", "must be the first message only")
            case _:
                _refuse("message", "must be set, to a kind that this server knows")

    def _report(self, connection: Connection, message: pb.WorkerMessage) -> None:
        validation.validate(message)
        lease = self._find(connection, message.progress.lease_id, message.progress.epoch, "progress")
        if lease is None or lease.ticket.stopping:
            return
        try:
            lease.ticket.call.report(wire_worker.report_from_pb(message.progress))
        except ValueError:  # too large: whoever watches can do without, the call cannot
            self._workers.reports_dropped += 1

    async def _answer(
        self,
        connection: Connection,
        message: pb.WorkerMessage,
        answer: pb.LeaseReply | pb.LeaseFailure | pb.LeaseStopped,
    ) -> None:
        lease = self._find(connection, answer.lease_id, answer.epoch, str(message.WhichOneof("message")))
        if lease is None:
            self._workers.refused += 1
            _log.info("worker %s: an answer for lease %s is too late", connection.worker_id, answer.lease_id[:80])
            return
        try:
            if message.ByteSize() > LARGE_ANSWER:
                await trio.to_thread.run_sync(validation.validate, message)
            else:
                validation.validate(message)
        except InvalidRequest as error:
            found = wire_worker.invalid_answer(str(error))
        else:
            found = wire_worker.answer_from_pb(answer)
        connection.answer(lease, found)

    def _find(self, connection: Connection, lease_id: str, epoch: int, kind: str) -> Lease | None:
        try:
            return connection.find(lease_id, epoch)
        except KeyError:
            _refuse(f"{kind}.lease_id", "must be a lease that this worker was given")


def _refuse(field: str, message: str) -> NoReturn:
    raise InvalidRequest([Violation(field, message)], reason="PROTOCOL_VIOLATION")
