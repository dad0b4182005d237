"""How a server comes to an end: draining loses no work, leaving ends what the server itself runs and nothing else."""

import math
import queue
from typing import Any

import grpc
import pytest
import trio

import motet_server
from motet.errors import Unavailable
from motet.model.state import State
from motet_proto.v1 import run_pb2
from motet_proto.v1.payload_pb2 import Payload
from motet_proto.v1.run_service_pb2 import (
    CancelRunRequest,
    GetRunRequest,
    ListRunsRequest,
    MapInput,
    MapOpen,
    MapRunRequest,
    RunRequest,
    StartRunRequest,
    StreamRunRequest,
    WatchRunRequest,
)

Code = grpc.StatusCode


def asks(group: str) -> RunRequest:
    return RunRequest(group_name=group, input=Payload(text="hi"))


async def test_a_draining_server_refuses_new_work_and_still_tells_of_the_old(rig: Any) -> None:
    run_id = (await rig.thread(rig.runs.StartRun, StartRunRequest(request=asks("waits")))).run_id
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.server.drain, math.inf)
        await rig.until(lambda: rig.engine.statistics().draining)
        for method, request in [
            (rig.runs.Run, asks("pair")),
            (rig.runs.StreamRun, StreamRunRequest(request=asks("pair"))),
            (rig.runs.StartRun, StartRunRequest(request=asks("pair"))),
            (rig.runs.MapRun, iter([MapRunRequest(open=MapOpen(request=RunRequest(group_name="pair")))])),
        ]:
            refusal = await rig.refused(method, request)
            assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "DRAINING")
        run = (await rig.thread(rig.runs.GetRun, GetRunRequest(run_id=run_id))).run
        assert run.state == run_pb2.STATE_RUNNING
        assert len((await rig.thread(rig.runs.ListRuns, ListRunsRequest())).runs) == 1
        watch = rig.runs.WatchRun(WatchRunRequest(run_id=run_id))
        assert (await rig.thread(next, watch)).events
        cancelled = (await rig.thread(rig.runs.CancelRun, CancelRunRequest(run_id=run_id))).run
        assert cancelled.state == run_pb2.STATE_CANCELLED
        assert (await rig.collect(watch))[-1].HasField("result")


async def test_what_runs_may_finish_within_the_grace(rig: Any) -> None:
    call = rig.runs.Run.future(asks("slow-pair"))
    await rig.until(lambda: rig.agents["slow"].running)
    await rig.server.drain(30)
    assert (await rig.thread(call.result)).result.state == run_pb2.STATE_SUCCEEDED


async def test_what_outlasts_the_grace_is_cancelled_and_still_answered(rig: Any) -> None:
    plain = rig.runs.Run.future(asks("waits"))
    streamed = rig.runs.StreamRun(StreamRunRequest(request=asks("waits")))
    await rig.until(lambda: rig.agents["endless"].running == 2)
    await rig.server.drain(0.05)
    assert (await rig.thread(plain.result)).result.state == run_pb2.STATE_CANCELLED
    assert (await rig.collect(streamed))[-1].result.state == run_pb2.STATE_CANCELLED


async def test_a_map_answers_what_runs_and_then_says_that_it_drains(rig: Any) -> None:
    outbox: queue.SimpleQueue[MapRunRequest | None] = queue.SimpleQueue()
    outbox.put(MapRunRequest(open=MapOpen(request=RunRequest(group_name="holds"))))
    outbox.put(MapRunRequest(input=MapInput(id="a", input=Payload(text="hi"))))
    call = rig.runs.MapRun(iter(outbox.get, None))
    await rig.until(lambda: rig.engine.statistics().members_running)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.server.drain, 30)
        await rig.until(lambda: rig.engine.statistics().draining)
        rig.held.release.set()
        assert (await rig.thread(next, call)).id == "a"
        with pytest.raises(grpc.RpcError) as caught:
            await rig.thread(next, call)
        assert caught.value.code() is Code.UNAVAILABLE
    outbox.put(None)


async def test_a_second_drain_with_less_grace_shortens_the_first(rig: Any) -> None:
    call = rig.runs.Run.future(asks("waits"))
    await rig.until(lambda: rig.agents["endless"].running)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.server.drain, math.inf)
        await rig.until(lambda: rig.engine.statistics().draining)
        await rig.server.drain(0)
    assert (await rig.thread(call.result)).result.state == run_pb2.STATE_CANCELLED


async def test_a_cancellation_from_around_waits_for_the_drain(rig: Any) -> None:
    call = rig.runs.Run.future(asks("slow-pair"))
    await rig.until(lambda: rig.agents["slow"].running)
    with trio.CancelScope() as scope:
        scope.cancel()
        await rig.server.drain(30)
    assert (await rig.thread(call.result)).result.state == run_pb2.STATE_SUCCEEDED


async def test_answers_on_their_way_arrive_when_the_server_leaves_after_a_drain(rigs: Any) -> None:
    async with rigs() as rig:
        call = rig.runs.StreamRun(StreamRunRequest(request=asks("chatty")))
        await rig.until(lambda: rig.engine.statistics().runs_started)
        await rig.server.drain(30)
        messages = await rig.collect(call)
    assert messages[-1].result.state == run_pb2.STATE_SUCCEEDED


async def test_leaving_cancels_the_servers_calls_and_leaves_background_runs_to_the_engine(rig: Any) -> None:
    agent = rig.agents["endless"]
    async with motet_server.serve(rig.engine, "127.0.0.1:0") as server:
        with grpc.insecure_channel(server.address) as channel:
            runs = type(rig.runs)(channel)
            started = await rig.thread(runs.StartRun, StartRunRequest(request=asks("waits")))
            call = runs.Run.future(asks("waits"))
            await rig.until(lambda: agent.running == 2)
    assert call.exception() is not None
    assert (agent.running, agent.cancelled) == (1, 1)
    assert (await rig.engine.get(started.run_id)).state is State.RUNNING
    assert (await rig.engine.cancel(started.run_id)).state is State.CANCELLED


async def test_a_port_that_is_taken_is_told_at_once(rig: Any) -> None:
    with pytest.raises(Unavailable, match=str(rig.server.port)):
        async with motet_server.serve(rig.engine, rig.server.address):
            pytest.fail("two servers on one port")


async def test_two_servers_serve_one_engine(rig: Any) -> None:
    async with motet_server.serve(rig.engine, "127.0.0.1:0") as second:
        with grpc.insecure_channel(second.address) as channel:
            started = await rig.thread(type(rig.runs)(channel).StartRun, StartRunRequest(request=asks("waits")))
    run = (await rig.thread(rig.runs.GetRun, GetRunRequest(run_id=started.run_id))).run
    assert run.state == run_pb2.STATE_RUNNING


def test_the_public_names_are_these() -> None:
    assert sorted(motet_server.__all__) == ["Server", "ServerOptions", "serve"]
    assert all(callable(getattr(motet_server, name)) for name in motet_server.__all__)
    with pytest.raises(AttributeError):
        _ = motet_server.nothing
