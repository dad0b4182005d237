"""Workers that break the protocol of WorkerService, say too much or too little: told why, and nothing of them is left."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import trio

from motet.agents.remote import RemoteAgent
from motet.model.plan import Aggregation, Group, Member
from motet_proto.v1 import payload_pb2
from motet_proto.v1 import worker_service_pb2 as pb
from motet_proto.v1.worker_service_pb2_grpc import WorkerServiceStub
from motet_server.rpc import TransportOptions

Code = grpc.StatusCode


def text(value: str) -> payload_pb2.Payload:
    return payload_pb2.Payload(text=value)


def says(**fields: Any) -> pb.WorkerMessage:
    return pb.WorkerMessage(**fields)


def hello(worker_id: str = "w1", *names: str, **agent: Any) -> pb.WorkerMessage:
    agents = [pb.WorkerAgent(name=name, **agent) for name in names or ("shout",)]
    return says(hello=pb.WorkerHello(worker_id=worker_id, agents=agents))


async def test_a_silent_worker_is_lost_after_three_heartbeats_and_told_why(rigs: Any) -> None:
    async with rigs(worker_heartbeat=0.05) as rig:
        worker = await rig.worker()
        async with rig.running() as results:
            await worker.hear("lease")
            end: Any = await worker.end()
        assert end.code() is Code.UNAVAILABLE
        assert "silent" in end.details()
        assert results[0].groups[0].outcomes[0].failure.reason == "WORKER_LOST"
        assert not rig.server.workers.connected


async def test_heartbeats_keep_a_worker_and_come_back(rigs: Any) -> None:
    async with rigs(worker_heartbeat=0.2) as rig:
        worker = await rig.worker()
        async with rig.running() as results:
            lease = await worker.hear("lease")
            for _ in range(8):
                worker.say(says(heartbeat=pb.Heartbeat(running=1)))
                assert (await worker.hear("heartbeat")).running == 1
            worker.reply(lease, "HI")
        assert results[0].unwrap() == "HI"


async def test_a_call_too_large_for_a_message_fails_alone(rigs: Any) -> None:
    async with rigs(transport=TransportOptions(max_message_bytes=1000)) as rig:
        worker = await rig.worker()
        result = await rig.engine.run("one", "x" * 2000)
        failure = result.groups[0].outcomes[0].failure
        assert failure is not None
        assert failure.reason == "INPUT_INVALID"
        async with rig.running() as results:
            worker.reply(await worker.hear("lease"), "small")
        assert results[0].unwrap() == "small"


async def test_undeclared_agents_are_taken_only_where_that_is_allowed(rigs: Any) -> None:
    async with rigs(workers_may_register=True) as rig:
        worker = await rig.worker("w1", "fresh")
        async with rig.running(Group("g", ["fresh"], Aggregation("first"))) as results:
            worker.reply(await worker.hear("lease"), "new")
        assert results[0].unwrap() == "new"
        other = rig.raw()
        other.hello("w2", "local")
        end: Any = await other.end()
        assert end.code() is Code.INVALID_ARGUMENT


MISTAKES: dict[str, tuple[list[pb.WorkerMessage], str]] = {
    "a heartbeat first": ([says(heartbeat=pb.Heartbeat())], "hello"),
    "nothing at all": ([says()], "hello"),
    "no agents": ([says(hello=pb.WorkerHello(worker_id="w1"))], "agents"),
    "no id": ([hello("")], "worker_id"),
    "an unknown agent": ([hello("w1", "nobody")], "nobody"),
    "an agent of the catalog": ([hello("w1", "local")], "local"),
    "an agent twice": ([hello("w1", "shout", "shout")], "twice"),
    "a negative capacity": ([hello("w1", "shout", capacity=-1)], "capacity"),
    "a huge capacity": ([hello("w1", "shout", capacity=2**31 - 1)], "capacity"),
    "hello twice": ([hello(), hello()], "hello"),
    "an empty message": ([hello(), says()], "message"),
    "another's lease": ([hello(), says(reply=pb.LeaseReply(lease_id="x", epoch=2**62, output=text("")))], "lease"),
    "progress without a report": ([hello(), says(progress=pb.LeaseProgress(lease_id="x"))], "report"),
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_a_worker_that_breaks_the_protocol_is_told_and_leaves_nothing(rig: Any, name: str) -> None:
    messages, word = MISTAKES[name]
    worker = rig.raw()
    worker.say(*messages)
    end: Any = await worker.end()
    assert end.code() is Code.INVALID_ARGUMENT
    assert word in end.details()
    await rig.until(lambda: not rig.server.workers.connected)
    agent = rig.engine.catalog.agents["shout"]
    assert isinstance(agent, RemoteAgent)
    assert not agent.desk.offers


async def test_a_message_above_the_limit_ends_only_its_own_stream(rig: Any) -> None:
    good = await rig.worker("good")
    bad = await rig.worker("bad")
    bad.say(says(reply=pb.LeaseReply(output=text("x" * (17 * 1024 * 1024)))))
    end: Any = await bad.end()
    assert end.code() is Code.RESOURCE_EXHAUSTED
    async with rig.running() as results:
        good.reply(await good.hear("lease"), "fine")
    assert results[0].unwrap() == "fine"


async def test_a_worker_that_does_not_read_is_left_and_its_calls_are_told(rigs: Any) -> None:
    async with rigs(worker_heartbeat=0.1) as rig:
        over = threading.Event()

        def talks() -> Iterator[pb.WorkerMessage]:
            agent = pb.WorkerAgent(name="brief", capacity=64)
            yield says(hello=pb.WorkerHello(worker_id="deaf", agents=[agent]))
            while not over.wait(0.03):
                yield says(heartbeat=pb.Heartbeat())

        call = WorkerServiceStub(rig.channel).Serve(talks())
        await rig.until(lambda: rig.server.workers.connected)
        plan = Group("g", [Member("brief", replicas=64)])
        async with rig.running(plan, "x" * 1_000_000) as results:
            pass
        over.set()
        call.cancel()
    reasons = {outcome.failure.reason for outcome in results[0].groups[0].outcomes}
    assert reasons == {"WORKER_LOST", "WORKER_UNAVAILABLE"}, "some were sent, and some were not"


async def test_many_workers_come_work_and_go(rig: Any) -> None:
    workers = [await rig.worker(f"w{number}") for number in range(30)]

    async def serve(worker: Any) -> None:
        worker.reply(await worker.hear("lease"), "x")

    plan = Group("g", [Member("shout", replicas=30)])
    async with rig.running(plan) as results, trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(serve, worker)
    assert results[0].stats.succeeded == 30
    for worker in workers:
        worker.close()
    await rig.until(lambda: not rig.server.workers.connected)
