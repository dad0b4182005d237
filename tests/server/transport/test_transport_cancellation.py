"""How RPCs end early: the client cancels, leaves or runs out of time; handlers leak what they should not."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue

from motet_server.rpc import RpcContext, Send

in_thread = trio.to_thread.run_sync


async def test_a_clients_cancel_cancels_the_handler(rig: Any, waiter: Any) -> None:
    async with rig.open(Wait=waiter, stream_Wait=waiter.stream) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            call = client.future("Wait")
            await rig.until(lambda: waiter.started == 1)
            call.cancel()
            await rig.until(lambda: waiter.ended == 1)
            await rig.settled(transport, idle)


async def test_a_clients_cancel_cancels_a_stream(rig: Any, waiter: Any) -> None:
    async with rig.open(stream_Wait=waiter.stream) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            call = client.stream("Wait")
            assert await in_thread(next, call) == "started"
            call.cancel()
            await rig.until(lambda: waiter.ended == 1)
            await rig.settled(transport, idle)


async def test_a_client_that_disconnects_cancels_its_handlers(rig: Any, waiter: Any) -> None:
    async with rig.open(Wait=waiter) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            calls = [client.future("Wait") for _ in range(5)]
            await rig.until(lambda: waiter.started == 5)
        await rig.until(lambda: waiter.ended == 5)
        await rig.settled(transport, idle)
        assert all(call.done() for call in calls)


async def test_a_deadline_cancels_the_handler(rig: Any, waiter: Any) -> None:
    async with rig.open(Wait=waiter) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            code = await in_thread(lambda: client.code("Wait", timeout=0.2))
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            await rig.until(lambda: waiter.started == waiter.ended)
            await rig.settled(transport, idle)


async def test_a_bidi_handler_that_waits_for_requests_is_cancelled_with_its_call(rig: Any) -> None:
    ended = trio.Event()

    async def wait(requests: AsyncIterator[StringValue], _context: RpcContext, send: Send) -> None:
        try:
            await send(await anext(requests))
            async for _ in requests:
                pytest.fail("no second request is sent")
            await trio.sleep_forever()
        finally:
            ended.set()

    async with rig.open(bidi_Wait=wait) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            call = client.bidi("Wait", iter(["one"]))
            assert await in_thread(next, call) == "one"
            call.cancel()
            with trio.fail_after(10):
                await ended.wait()
            await rig.settled(transport, idle)


async def test_a_handler_that_ends_well_after_its_cancel_leaves_nobody_waiting(rig: Any) -> None:
    started, release, ended = trio.Event(), trio.Event(), trio.Event()

    async def stubborn(_request: StringValue, _context: RpcContext) -> StringValue:
        started.set()
        with trio.CancelScope(shield=True):
            await release.wait()
        ended.set()
        return StringValue()

    async with rig.open(Stubborn=stubborn) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            call = client.future("Stubborn")
            await started.wait()
            call.cancel()
            # The handler of the loop waits for the one of trio.
            assert await rig.tasks_in_loop(transport) > idle
            assert transport.active == 1
            release.set()
            await ended.wait()
            await rig.settled(transport, idle)


async def test_a_handler_that_had_ended_when_the_cancel_comes_leaves_nobody_waiting(
    rig: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def quick(_request: StringValue, _context: RpcContext, send: Send) -> None:
        for _ in range(40):
            await send(StringValue(value="x" * 10_000))

    async with rig.open(stream_Quick=quick) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport, ("grpc.http2.bdp_probe", 0)) as client:
            call = client.stream("Quick")
            await in_thread(next, call)
            # The handler has ended, its messages wait for the reader in the loop.
            await rig.until(lambda: transport.active == 0)
            assert await rig.tasks_in_loop(transport) > idle
            call.cancel()
            await rig.settled(transport, idle)
    assert caplog.records == []  # a client that leaves is no error of the server


def _cancelled() -> BaseException:
    caught: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                caught.append(error)
                raise

    trio.run(main)
    return caught[0]


LEAKS = {
    "asyncio_cancelled": asyncio.CancelledError,
    "trio_cancelled": _cancelled,
    "generator_exit": GeneratorExit,
    "group": lambda: BaseExceptionGroup("leak", [GeneratorExit(), ValueError("x")]),
    "group_of_cancelled": lambda: BaseExceptionGroup("leak", [_cancelled(), GeneratorExit()]),
}


@pytest.mark.parametrize("kind", ["unary", "stream"])
@pytest.mark.parametrize("leak", LEAKS)
async def test_a_handler_that_leaks_still_sends_a_status(
    rig: Any, echo: Any, leak: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = await in_thread(LEAKS[leak])

    async def unary(_request: StringValue, _context: RpcContext) -> StringValue:
        raise error

    async def stream(_request: StringValue, _context: RpcContext, _send: Send) -> None:
        raise error

    def read(client: Any) -> Any:
        if kind == "unary":
            return client.future("Unary").exception()
        with pytest.raises(grpc.RpcError) as caught:
            next(client.stream("Stream"))
        return caught.value

    with caplog.at_level(logging.ERROR, "motet.server"):
        async with rig.open(Unary=unary, stream_Stream=stream, **echo) as transport:
            with rig.client(transport) as client, trio.fail_after(10):
                failure = await in_thread(read, client)
                assert failure.code() is grpc.StatusCode.INTERNAL
                assert failure.details() == "internal error"
                assert await in_thread(client.unary, "Say", "still here") == "still here"
    assert "leaked" in caplog.text


async def test_a_translation_that_fails_still_sends_a_status(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Unprintable(Exception):
        def __repr__(self) -> str:
            raise ValueError("no")

    async def fail(_request: StringValue, _context: RpcContext) -> StringValue:
        raise Unprintable

    with caplog.at_level(logging.CRITICAL):
        async with rig.open(Fail=fail) as transport:
            with rig.client(transport) as client:
                assert await in_thread(client.code, "Fail") is grpc.StatusCode.INTERNAL


async def test_an_error_in_a_cancelled_handlers_cleanup_does_not_end_the_others(rig: Any, echo: Any) -> None:
    started = trio.Event()

    async def messy(_request: StringValue, _context: RpcContext) -> StringValue:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            started.set()
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("cleanup")

    async with rig.open(Messy=messy, **echo) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            call = client.future("Messy")
            await started.wait()
            call.cancel()
            await rig.settled(transport, idle)
            assert await in_thread(client.unary, "Say", "still here") == "still here"
