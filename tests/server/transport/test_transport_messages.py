"""What goes through a transport: requests, responses, metadata, statuses; and how much of it waits."""

import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import grpc
import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue

from motet_server.rpc import RpcContext, RpcError, RpcStatus, Send, TransportOptions, current_rpc

in_thread = trio.to_thread.run_sync
program: ContextVar[str] = ContextVar("program", default="none")


async def test_a_unary_call_is_answered(rig: Any, echo: Any) -> None:
    async with rig.open(**echo) as transport:
        with rig.client(transport) as client:
            assert await in_thread(client.unary, "Say", "hello") == "hello"


async def test_a_stream_arrives_whole_and_in_order(rig: Any, echo: Any) -> None:
    async with rig.open(**echo) as transport:
        with rig.client(transport) as client:
            got = await in_thread(lambda: list(client.stream("Count", "1000")))
    assert got == [str(number) for number in range(1000)]


async def test_a_bidi_call_answers_each_request_in_order(rig: Any, echo: Any) -> None:
    async with rig.open(**echo) as transport:
        with rig.client(transport) as client:
            got = await in_thread(lambda: list(client.bidi("Shout", (f"a{number}" for number in range(500)))))
    assert got == [f"A{number}" for number in range(500)]


async def test_an_unknown_method_is_unimplemented(rig: Any, echo: Any) -> None:
    async with rig.open(**echo) as transport:
        with rig.client(transport) as client:
            assert await in_thread(client.code, "Nothing") is grpc.StatusCode.UNIMPLEMENTED


async def test_the_handler_knows_method_metadata_peer_deadline_and_start(rig: Any) -> None:
    seen: list[tuple[RpcContext, float]] = []

    async def look(_request: StringValue, context: RpcContext) -> StringValue:
        assert current_rpc.get() is context
        seen.append((context, trio.current_time()))
        return StringValue()

    async with rig.open(Look=look) as transport:
        with rig.client(transport) as client:
            metadata = (("tenant", "a"), ("tenant", "b"), ("blob-bin", b"\x00"))
            await in_thread(lambda: client.unary("Look", metadata=metadata, timeout=60))
            await in_thread(client.unary, "Look")
    (context, now), (unbounded, _) = seen
    assert context.method == "/test.Echo/Look"
    assert context.metadata["tenant"] == "a, b"
    assert "blob-bin" not in context.metadata
    assert context.peer.startswith("ipv4:127.0.0.1:")
    assert now < context.deadline < now + 61  # gRPC rounds the timeout that it sends
    assert context.started <= now
    assert unbounded.deadline == float("inf")
    assert current_rpc.get() is None


async def test_a_handler_inherits_the_context_of_whoever_opened_the_transport(rig: Any) -> None:
    async def look(_request: StringValue, _context: RpcContext) -> StringValue:
        return StringValue(value=program.get())

    program.set("mine")
    async with rig.open(Look=look) as transport:
        with rig.client(transport) as client:
            assert await in_thread(client.unary, "Look") == "mine"


async def test_a_handlers_error_is_translated(rig: Any) -> None:
    async def fail(request: StringValue, _context: RpcContext) -> StringValue:
        raise LookupError(request.value)

    async with rig.open(Fail=fail) as transport:
        with rig.client(transport) as client:
            error = await in_thread(lambda: client.future("Fail", "what").exception())
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "translated LookupError('what')"


async def test_an_error_alone_in_a_group_is_translated_as_itself(rig: Any) -> None:
    async def fail(request: StringValue, _context: RpcContext) -> StringValue:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [LookupError(request.value)])])

    async with rig.open(Fail=fail) as transport:
        with rig.client(transport) as client:
            error = await in_thread(lambda: client.future("Fail", "what").exception())
    assert error.details() == "translated LookupError('what')"


async def test_an_rpc_error_gives_its_own_status_with_details(rig: Any) -> None:
    async def fail(_request: StringValue, _context: RpcContext) -> StringValue:
        raise RpcError(RpcStatus(grpc.StatusCode.NOT_FOUND, "no such \ud800 run, très", b"\x08\x05"))

    async with rig.open(Fail=fail) as transport:
        with rig.client(transport) as client:
            error = await in_thread(lambda: client.future("Fail").exception())
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "no such ? run, très"
    assert dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x05"


async def test_a_status_too_large_for_metadata_still_arrives_without_its_details(rig: Any) -> None:
    async def fail(_request: StringValue, _context: RpcContext) -> StringValue:
        raise RpcError(RpcStatus(grpc.StatusCode.NOT_FOUND, "m" * 50_000, b"d" * 50_000))

    async with rig.open(Fail=fail) as transport:
        with rig.client(transport) as client:
            error = await in_thread(lambda: client.future("Fail").exception())
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "m" * 2048
    assert "grpc-status-details-bin" not in dict(error.trailing_metadata())


async def test_a_stream_that_fails_keeps_what_it_sent(rig: Any) -> None:
    async def fail(_request: StringValue, _context: RpcContext, send: Send) -> None:
        await send(StringValue(value="one"))
        await send(StringValue(value="two"))
        raise LookupError

    def read(client: Any) -> tuple[list[str], grpc.StatusCode]:
        call = client.stream("Fail")
        got = [next(call), next(call)]
        with pytest.raises(grpc.RpcError):
            next(call)
        return got, call.code()

    async with rig.open(stream_Fail=fail) as transport:
        with rig.client(transport) as client:
            got, code = await in_thread(read, client)
    assert got == ["one", "two"]
    assert code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_message_changed_after_it_was_sent_arrives_as_it_was(rig: Any) -> None:
    async def reuse(_request: StringValue, _context: RpcContext, send: Send) -> None:
        message = StringValue()
        for number in range(200):
            message.value = str(number)
            await send(message)

    async with rig.open(stream_Reuse=reuse) as transport:
        with rig.client(transport) as client:
            got = await in_thread(lambda: list(client.stream("Reuse")))
    assert got == [str(number) for number in range(200)]


async def test_bytes_that_are_no_request_are_an_invalid_argument(rig: Any, echo: Any) -> None:
    def send_garbage(client: Any) -> grpc.StatusCode:
        call = client.channel.unary_unary("/test.Echo/Say")
        code: grpc.StatusCode = call.future(b"\xff\xff\xff").exception().code()
        return code

    async with rig.open(**echo) as transport:
        with rig.client(transport) as client:
            assert await in_thread(send_garbage, client) is grpc.StatusCode.INVALID_ARGUMENT


async def test_messages_above_the_limit_are_refused_both_ways(rig: Any, echo: Any) -> None:
    async def grow(request: StringValue, _context: RpcContext) -> StringValue:
        return StringValue(value="x" * int(request.value))

    options = TransportOptions(max_message_bytes=100_000)
    async with rig.open(options=options, Grow=grow, **echo) as transport:
        with rig.client(transport) as client:
            assert await in_thread(client.code, "Say", "x" * 200_000) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await in_thread(client.code, "Grow", "200000") is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert len(await in_thread(client.unary, "Grow", "90000")) == 90_000


async def test_calls_above_the_limit_are_refused(rig: Any, waiter: Any) -> None:
    async with rig.open(options=TransportOptions(max_concurrent_rpcs=2), Wait=waiter) as transport:
        with rig.client(transport) as client:
            held = [client.future("Wait") for _ in range(2)]
            await rig.until(lambda: waiter.started == 2)
            assert await in_thread(client.code, "Wait") is grpc.StatusCode.RESOURCE_EXHAUSTED
            for call in held:
                call.cancel()
    assert waiter.ended == 2


@pytest.mark.parametrize(("size", "most"), [(2_000, 64 + 64), (1024 * 1024, 16)])
async def test_a_reader_that_stops_stops_the_handler(rig: Any, size: int, most: int) -> None:
    produced = 0

    async def flood(_request: StringValue, _context: RpcContext, send: Send) -> None:
        nonlocal produced
        while True:
            await send(StringValue(value="x" * size))
            produced += 1

    async with rig.open(stream_Flood=flood) as transport:
        # A fixed window of the smallest size: what the network itself keeps is then small, and known.
        with rig.client(transport, ("grpc.http2.bdp_probe", 0)) as client:
            call = client.stream("Flood")
            await in_thread(next, call)
            before = -1
            while before != produced:
                before = produced
                await trio.sleep(0.2)
            assert produced <= most
            await in_thread(lambda: [next(call) for _ in range(300 if size < 10_000 else 30)])
            await rig.until(lambda: produced > before)
            call.cancel()
            await rig.until(lambda: transport.active == 0)


async def test_a_handler_that_reads_slowly_stops_the_sender(rig: Any) -> None:
    sent = 0
    go_on = trio.Event()

    def values() -> Iterator[str]:
        nonlocal sent
        for number in itertools.count():
            sent = number
            yield "x" * 500_000

    async def slow(requests: AsyncIterator[StringValue], _context: RpcContext, send: Send) -> None:
        await anext(requests)
        await send(StringValue())
        await go_on.wait()
        for _ in range(100):
            await anext(requests)

    async with rig.open(bidi_Slow=slow) as transport:
        with rig.client(transport, ("grpc.http2.bdp_probe", 0)) as client:
            call = client.bidi("Slow", values())
            await in_thread(next, call)
            before = -1
            while before != sent:
                before = sent
                await trio.sleep(0.2)
            assert sent <= 32  # 16 MB: the queue's 4 MiB and what the network keeps
            go_on.set()
            assert await in_thread(lambda: list(call)) == []
            await rig.until(lambda: transport.active == 0)


async def test_a_bidi_handler_that_ends_early_ends_the_call_at_once(rig: Any) -> None:
    async def first(requests: AsyncIterator[StringValue], _context: RpcContext, send: Send) -> None:
        await send(await anext(requests))

    hold = threading.Event()

    def values() -> Iterator[str]:
        yield "one"
        hold.wait(30)

    async with rig.open(bidi_First=first) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            call = client.bidi("First", values())
            assert await in_thread(lambda: list(call)) == ["one"]
            assert not hold.is_set()
            hold.set()
            await rig.settled(transport, idle)


async def test_a_bidi_handler_sees_the_end_of_the_requests(rig: Any) -> None:
    async def total(requests: AsyncIterator[StringValue], _context: RpcContext, send: Send) -> None:
        await send(StringValue(value=str(sum([int(request.value) async for request in requests]))))

    async with rig.open(bidi_Total=total) as transport:
        with rig.client(transport) as client:
            assert await in_thread(lambda: list(client.bidi("Total", map(str, range(200))))) == ["19900"]
            assert await in_thread(lambda: list(client.bidi("Total", iter(())))) == ["0"]


async def test_a_thousand_streams_run_at_the_same_time(rig: Any) -> None:
    together = trio.Event()
    started = 0

    async def meet(request: StringValue, _context: RpcContext, send: Send) -> None:
        nonlocal started
        started += 1
        if started == 1000:
            together.set()
        await together.wait()
        await send(request)

    async with rig.open(stream_Meet=meet) as transport:
        with rig.client(transport) as client:
            calls = [client.stream("Meet", str(number)) for number in range(1000)]
            got = await in_thread(lambda: [next(call) for call in calls])
            assert got == [str(number) for number in range(1000)]
            await rig.until(lambda: transport.active == 0)
