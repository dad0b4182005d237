"""The Python worker and its connection: an engine that breaks off, is silent, or says little."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc

from motet_client.worker import Worker, WorkerCall
from motet_proto.v1 import worker_service_pb2 as pb

PATIENCE = 20.0


def welcome(interval: float = 5.0, epoch: int = 1) -> pb.EngineMessage:
    message = pb.EngineMessage(welcome=pb.EngineWelcome(epoch=epoch))
    message.welcome.heartbeat_interval.FromNanoseconds(round(interval * 1e9))
    return message


def test_a_worker_comes_back_with_the_same_id_and_its_token_after_a_broken_connection(
    serving: Any, until: Any, scripted: Any
) -> None:
    ids: list[str] = []

    def breaks(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        ids.append(next(requests).hello.worker_id)
        yield welcome()
        if len(ids) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield from (pb.EngineMessage(drain=pb.EngineDrain()) for _ in requests)

    with scripted(breaks) as engine:
        worker = Worker(engine.address, token="secret")
        worker.agent(lambda _call: "", name="shout")
        with serving(worker) as raised:
            until(lambda: len(ids) == 2)
            worker.close()
        assert not raised
    assert ids == [worker.worker_id] * 2
    assert engine.metadata.get()["authorization"] == "Bearer secret"


def test_a_silent_engine_is_left_and_what_ran_for_it_is_cancelled(serving: Any, until: Any, scripted: Any) -> None:
    connections, cancelled = [], threading.Event()

    def silent(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        connections.append(next(requests))
        yield welcome(0.05)
        if len(connections) == 1:
            yield pb.EngineMessage(lease=pb.Lease(lease_id="x", epoch=1, agent="shout"))
        over = threading.Event()
        context.add_callback(over.set)
        over.wait(PATIENCE)

    def shout(call: WorkerCall) -> None:
        if call.wait_cancelled(PATIENCE):
            cancelled.set()

    with scripted(silent) as engine:
        worker = Worker(engine.address)
        worker.agent(shout)
        with serving(worker):
            until(lambda: len(connections) == 2)
            assert cancelled.is_set()
            worker.close()


def test_a_worker_sends_heartbeats_while_it_has_nothing_else_to_say(serving: Any, until: Any, scripted: Any) -> None:
    beats: list[int] = []

    def counts(requests: Iterator[Any], _context: grpc.ServicerContext) -> Iterator[Any]:
        next(requests)
        yield welcome(0.05)
        for request in requests:
            if request.WhichOneof("message") == "drain":
                return
            beats.append(request.heartbeat.running)
            yield pb.EngineMessage(heartbeat=pb.Heartbeat())

    with scripted(counts) as engine:
        worker = Worker(engine.address)
        worker.agent(lambda _call: "", name="shout")
        with serving(worker):
            until(lambda: len(beats) >= 5)
    assert set(beats) == {0}
