"""What workers and the engine say to each other: messages of WorkerService to nouns and back. Does not validate."""

import math
from typing import Final

import trio

from motet.agents.remote import (
    Answer,
    CancelOrder,
    DrainOrder,
    Failed,
    Hello,
    Lease,
    OfferedAgent,
    Order,
    Replied,
    Stopped,
)
from motet.model import reason
from motet.model.outcome import Failure, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.usage import Usage
from motet_proto.v1 import run_pb2
from motet_proto.v1 import worker_service_pb2 as pb
from motet_server import wire

STOP_KINDS_FROM_PB: Final = {number: kind for kind, number in wire.STOP_KINDS.items()}


def hello_from_pb(message: pb.WorkerHello) -> Hello:
    return Hello(
        worker_id=message.worker_id,
        agents=tuple(map(_agent_from_pb, message.agents)),
        capacity=message.capacity,
        library=message.library,
    )


def _agent_from_pb(message: pb.WorkerAgent) -> OfferedAgent:
    return OfferedAgent(
        name=message.name,
        version=message.version,
        description=message.description,
        input_schema=message.input_schema,
        capacity=message.capacity,
        replay_safe=message.replay_safe,
        labels=dict(message.labels),
    )


def welcome_to_pb(heartbeat_interval: float, epoch: int) -> pb.EngineMessage:
    interval = wire.duration_to_pb(heartbeat_interval)
    return pb.EngineMessage(welcome=pb.EngineWelcome(heartbeat_interval=interval, epoch=epoch))


def heartbeat_to_pb(running: int) -> pb.EngineMessage:
    return pb.EngineMessage(heartbeat=pb.Heartbeat(running=running))


def order_to_pb(order: Order) -> pb.EngineMessage:
    """Inside trio only: a lease says how much time is left now."""
    match order:
        case Lease():
            return pb.EngineMessage(lease=lease_to_pb(order, trio.current_time()))
        case CancelOrder(lease, why):
            cancel = pb.CancelLease(lease_id=lease.id, epoch=lease.connection.epoch, reason=why)
            return pb.EngineMessage(cancel=cancel)
        case DrainOrder():
            return pb.EngineMessage(drain=pb.EngineDrain())


def lease_to_pb(lease: Lease, now: float) -> pb.Lease:
    """`now` is on trio's clock."""
    call = lease.ticket.call
    return pb.Lease(
        lease_id=lease.id,
        epoch=lease.connection.epoch,
        agent=lease.ticket.desk.name,
        input=wire.payload_to_pb(call.input),
        variables=wire.payloads_to_pb(call.variable_payloads),
        time_left=None if call.deadline == math.inf else wire.duration_to_pb(max(0.0, call.deadline - now)),
        cost_left_nanos=wire.count_to_pb(call.left("cost_nanos"), wire.MAX_INT64),
        tokens_left=wire.count_to_pb(call.left("tokens"), wire.MAX_INT64),
        idempotency_key=wire.text_to_pb(call.idempotency_key),
        attempt=call.attempt,
        run_id=wire.text_to_pb(call.run_id),
        member=wire.text_to_pb(call.member),
        session_id=wire.text_to_pb(call.session_id),
        depth=call.depth,
    )


def report_from_pb(message: pb.LeaseProgress) -> Payload:
    return wire.payload_from_pb(message.report)


def answer_from_pb(message: pb.LeaseReply | pb.LeaseFailure | pb.LeaseStopped) -> Answer:
    """The message has been validated."""
    usage = usage_from_pb(message.usage) if message.HasField("usage") else None
    if isinstance(message, pb.LeaseReply):
        return Replied(wire.payload_from_pb(message.output), usage, wire.struct_from_pb(message.metadata))
    if isinstance(message, pb.LeaseFailure):
        return Failed(failure_from_pb(message.failure), usage, message.retryable)
    return Stopped(receipt_from_pb(message.receipt), usage)


def invalid_answer(problem: str) -> Answer:
    """In place of an answer that is none, such as JSON that is not JSON."""
    return Failed(Failure(reason.OUTPUT_INVALID, f"the worker's answer cannot be taken: {problem}"))


def input_too_large(size: int, most: int) -> Answer:
    """In place of an answer to a call that does not fit into a message."""
    message = f"the call has {size} bytes, a message to a worker at most {most}; send less, or a reference"
    return Failed(Failure(reason.INPUT_INVALID, message))


def usage_from_pb(message: run_pb2.Usage) -> Usage:
    """What is below 0 counts as 0: a worker must not be able to give back what others have used."""
    return Usage(
        calls=max(0, message.calls),
        input_tokens=max(0, message.input_tokens),
        output_tokens=max(0, message.output_tokens),
        cost_nanos=max(0, message.cost_nanos),
        unpriced_calls=max(0, message.unpriced_calls),
    )


def usage_to_pb(usage: Usage) -> run_pb2.Usage:
    return run_pb2.Usage(
        calls=usage.calls,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_nanos=usage.cost_nanos,
        unpriced_calls=usage.unpriced_calls,
    )


def failure_from_pb(message: run_pb2.Failure) -> Failure:
    """A failure without a reason has the one of an agent that gives none."""
    return Failure(message.reason or reason.AGENT_FAILED, message.message, wire.struct_from_pb(message.details))


def failure_to_pb(failure: Failure) -> run_pb2.Failure:
    return run_pb2.Failure(
        reason=wire.text_to_pb(failure.reason),
        message=wire.text_to_pb(failure.message),
        details=wire.struct_to_pb(failure.details),
    )


def receipt_from_pb(message: run_pb2.StopReceipt) -> StopReceipt:
    """A receipt that does not say which kind it is proves nothing: it counts as DETACHED."""
    kind = STOP_KINDS_FROM_PB.get(message.kind, StopKind.DETACHED)
    return StopReceipt(kind, max(0.0, wire.duration_from_pb(message.took)), message.detail)


def receipt_to_pb(receipt: StopReceipt) -> run_pb2.StopReceipt:
    return run_pb2.StopReceipt(
        kind=wire.STOP_KINDS[receipt.kind],
        took=wire.duration_to_pb(receipt.took),
        detail=wire.text_to_pb(receipt.detail),
    )
