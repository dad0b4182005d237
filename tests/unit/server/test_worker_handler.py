"""The times of WorkerService, on a clock that the tests move: hello, heartbeats, silence, and a worker that takes nothing."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
import trio
import trio.testing

from motet.agents.remote import RemoteAgent, Workers, workers_for
from motet.errors import InvalidRequest, Unavailable
from motet_proto.v1 import worker_service_pb2 as pb
from motet_server.rpc import RpcContext
from motet_server.services.worker import WorkerService

HELLO = pb.WorkerMessage(hello=pb.WorkerHello(worker_id="w1", agents=[pb.WorkerAgent(name="shout")]))
CONTEXT = RpcContext("/motet.v1.WorkerService/Serve", {}, math.inf, "ipv4:127.0.0.1:1", 0.0)
BEAT = pb.WorkerMessage(heartbeat=pb.Heartbeat())


class Worker:
    """What a worker says at which times, and what it hears."""

    def __init__(self, *said: tuple[float, pb.WorkerMessage], reads: bool = True) -> None:
        self._said = said
        self._reads = reads
        self.heard: list[tuple[float, str]] = []

    async def talk(self) -> AsyncGenerator[Any, None]:
        for moment, message in self._said:
            await trio.sleep_until(moment)
            yield message
        await trio.sleep_forever()

    async def send(self, message: Any) -> None:
        if not self._reads:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        decoded = pb.EngineMessage.FromString(message if isinstance(message, bytes) else message.SerializeToString())
        self.heard.append((trio.current_time(), str(decoded.WhichOneof("message"))))


async def serve(worker: Worker, workers: Workers | None = None) -> None:
    service = WorkerService(
        workers or workers_for({"shout": RemoteAgent("shout")}), heartbeat_interval=5.0, max_message_bytes=1000
    )
    async with aclosing(worker.talk()) as requests:
        try:
            await service.serve(requests, CONTEXT, worker.send)
        except ExceptionGroup as group:
            (error,) = group.exceptions
            raise error from group


async def test_a_stream_without_hello_ends_after_ten_seconds(autojump_clock: object) -> None:
    with pytest.raises(InvalidRequest, match="hello"):
        await serve(Worker((11.0, HELLO)))
    assert trio.current_time() == 10.0


async def test_a_silent_worker_is_left_after_three_intervals(autojump_clock: object) -> None:
    worker, workers = Worker((1.0, HELLO), (6.0, BEAT)), workers_for({"shout": RemoteAgent("shout")})
    with pytest.raises(Unavailable, match="silent") as caught:
        await serve(worker, workers)
    assert caught.value.reason == "WORKER_SILENT"
    assert trio.current_time() == 21.0
    assert worker.heard[:4] == [(1.0, "welcome"), (6.0, "heartbeat"), (11.0, "heartbeat"), (16.0, "heartbeat")]
    assert not workers.connected


async def test_a_worker_that_takes_nothing_is_left_though_it_talks(autojump_clock: object) -> None:
    beats = [(float(moment), BEAT) for moment in range(1, 60)]
    with pytest.raises(Unavailable, match="does not read") as caught:
        await serve(Worker((0.0, HELLO), *beats, reads=False))
    assert caught.value.reason == "WORKER_SILENT"
    assert trio.current_time() == 15.0


async def test_a_worker_that_talks_and_reads_stays(autojump_clock: object) -> None:
    beats = [(float(moment), BEAT) for moment in range(1, 3600, 14)]
    worker = Worker((0.0, HELLO), *beats)
    with trio.move_on_after(3600) as stay:
        await serve(worker)
    assert stay.cancelled_caught
    assert math.isclose(len(worker.heard), 720, abs_tol=1)
