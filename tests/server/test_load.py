"""Many callers at once, and callers that read slowly."""

import asyncio
from typing import Any

import grpc.aio
import trio

import motet_server
from motet_proto.v1 import run_pb2
from motet_proto.v1.payload_pb2 import Payload
from motet_proto.v1.run_service_pb2 import RunRequest, StreamRunRequest
from motet_proto.v1.run_service_pb2_grpc import RunServiceStub
from motet_server.rpc import TransportOptions


async def test_a_thousand_streams_at_once_are_all_answered(rig: Any) -> None:
    async def one(stub: Any, number: int) -> bool:
        request = RunRequest(group_name="holds", input=Payload(text=str(number)))
        last = None
        async for message in stub.StreamRun(StreamRunRequest(request=request)):
            last = message
        return last is not None and last.result.output.text == str(number)

    async def all_of_them() -> list[bool]:
        async with grpc.aio.insecure_channel(rig.server.address) as channel:
            stub = RunServiceStub(channel)
            return await asyncio.gather(*(one(stub, number) for number in range(1000)))

    answers: list[bool] = []

    async def clients() -> None:
        answers.extend(await rig.thread(asyncio.run, all_of_them()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients)
        await rig.until(lambda: rig.engine.statistics().members_running == 1000)
        rig.held.release.set()
    assert answers == [True] * 1000
    assert rig.engine.statistics().runs_active == 0


async def test_a_reader_that_is_slow_does_not_slow_the_run_and_gets_everything(rig: Any) -> None:
    call = rig.runs.StreamRun(StreamRunRequest(request=RunRequest(group_name="heavy", input=Payload(text="hi"))))
    first = await rig.thread(next, call)
    await rig.until(lambda: len(rig.agents["large"].calls) == 50)
    await rig.until(lambda: rig.engine.statistics().runs_active == 0)
    messages = [first, *await rig.collect(call)]
    events = [event for message in messages for event in message.events]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert all(len(message.events) == 1 or message.ByteSize() < 1_000_000 for message in messages[:-1])
    assert messages[-1].result.stats.succeeded == 50


async def test_a_result_above_the_message_size_is_refused_with_a_status(rigs: Any) -> None:
    options = motet_server.ServerOptions(transport=TransportOptions(max_message_bytes=1_000_000))
    async with rigs(options) as rig:
        refusal = await rig.refused(rig.runs.Run, RunRequest(group_name="heavy", input=Payload(text="hi")))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        result = (await rig.thread(rig.runs.Run, RunRequest(group_name="pair", input=Payload(text="hi")))).result
        assert result.state == run_pb2.STATE_SUCCEEDED
