"""How a transport starts and ends: addresses, stop and its grace, interrupts, threads and files that are left."""

import asyncio
import gc
import logging
import os
import signal
import threading
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue

from motet.errors import Unavailable
from motet_server.rpc import Method, RpcContext, RpcStatus, Send, Service, TransportOptions
from motet_server.transport import open_transport

in_thread = trio.to_thread.run_sync


async def test_port_zero_is_a_free_port_and_the_address_says_which(rig: Any, echo: Any) -> None:
    async with rig.open(**echo) as transport:
        assert transport.port > 0
        assert transport.address == f"127.0.0.1:{transport.port}"


async def test_a_unix_socket_is_an_address(rig: Any, echo: Any, tmp_path: Any) -> None:
    async with rig.open(f"unix:{tmp_path}/socket", **echo) as transport:
        assert transport.address == f"unix:{tmp_path}/socket"
        with rig.client(transport) as client:
            assert await in_thread(client.unary, "Say", "hello") == "hello"


@pytest.mark.parametrize(
    ("address", "reason"),
    [("same", "ADDRESS_IN_USE"), ("no such host:1", "ADDRESS_INVALID"), ("192.0.2.1:0", "ADDRESS_NOT_BOUND")],
)
async def test_an_address_that_cannot_be_bound_is_refused_with_the_reason(
    rig: Any, echo: Any, address: str, reason: str
) -> None:
    async with rig.open(**echo) as transport:
        with pytest.raises(Unavailable) as caught:
            async with rig.open(transport.address if address == "same" else address, **echo):
                pytest.fail("the block ran")
    assert caught.value.reason == reason


async def test_an_error_at_the_start_is_raised_where_the_transport_is_opened(rig: Any, echo: Any) -> None:
    def extra(_server: Any) -> None:
        raise LookupError("no servicer")

    with pytest.raises(LookupError, match="no servicer"):
        async with rig.open(extra=extra, **echo):
            pytest.fail("the block ran")


async def test_native_servicers_are_registered_before_the_start(rig: Any, echo: Any) -> None:
    async def native(request: bytes, _context: Any) -> bytes:
        return request * 2

    def extra(server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {"Twice": grpc.unary_unary_rpc_method_handler(native)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Native", handlers),))

    async with rig.open(extra=extra, **echo) as transport:
        with rig.client(transport) as client:
            call: Any = client.channel.unary_unary("/test.Native/Twice")
            assert await in_thread(call, b"ab") == b"abab"
            # They answer while trio does not run at all.
            answers: list[bytes] = []
            caller = threading.Thread(target=lambda: answers.append(call(b"cd")))
            caller.start()
            caller.join(20)
            assert answers == [b"cdcd"]


async def test_a_function_called_in_the_loop_returns_its_value_also_when_it_is_awaited(rig: Any, echo: Any) -> None:
    async def later() -> str:
        return threading.current_thread().name

    def fail() -> None:
        raise LookupError("there")

    async with rig.open(**echo) as transport:
        name = await transport.call_in_loop(lambda: threading.current_thread().name)
        assert name == await transport.call_in_loop(later) != threading.current_thread().name
        with pytest.raises(RuntimeError, match="there"):
            await transport.call_in_loop(fail)
    with pytest.raises(Unavailable):
        await transport.call_in_loop(fail)


async def test_a_loop_that_fails_ends_the_block(rig: Any, waiter: Any) -> None:
    failure = pytest.raises(RuntimeError, match="loop failed")
    with ExitStack() as later, trio.fail_after(20), failure:
        async with rig.open(Wait=waiter) as transport:
            client = later.enter_context(rig.client(transport))
            call = client.future("Wait")
            await rig.until(lambda: waiter.started == 1)
            await transport.call_in_loop(lambda: asyncio.get_running_loop().stop())
            await trio.sleep_forever()
    assert waiter.ended == 1
    assert await in_thread(call.code) is not grpc.StatusCode.OK


async def test_leaving_the_block_cancels_running_handlers_and_tells_their_clients(rig: Any, waiter: Any) -> None:
    with ExitStack() as later, trio.fail_after(20):
        async with rig.open(Wait=waiter) as transport:
            client = later.enter_context(rig.client(transport))
            calls = [client.future("Wait") for _ in range(3)]
            await rig.until(lambda: waiter.started == 3)
        assert waiter.ended == 3
        assert transport.active == 0
        errors = await in_thread(lambda: [call.exception() for call in calls])
    assert {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}


async def test_stop_lets_running_handlers_end_within_the_grace_and_takes_no_new_ones(rig: Any, echo: Any) -> None:
    started, release = trio.Event(), trio.Event()

    async def work(_request: StringValue, _context: RpcContext) -> StringValue:
        started.set()
        await release.wait()
        return StringValue(value="done")

    async with rig.open(Work=work, **echo) as transport:
        with rig.client(transport) as client:
            call = client.future("Work")
            await started.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.stop, 60)
                await trio.testing.wait_all_tasks_blocked()
                with rig.client(transport) as late:
                    assert await in_thread(late.code, "Say") is grpc.StatusCode.UNAVAILABLE
                release.set()
            assert await in_thread(call.result) == "done"


async def test_a_second_stop_with_less_grace_shortens_the_first(rig: Any, waiter: Any) -> None:
    async with rig.open(Wait=waiter) as transport:
        with rig.client(transport) as client:
            call = client.future("Wait")
            await rig.until(lambda: waiter.started == 1)
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(transport.stop, 600)
                    await trio.testing.wait_all_tasks_blocked()
                    await transport.stop(0)
            assert waiter.ended == 1
            assert await in_thread(call.exception) is not None


async def test_a_reader_that_has_stopped_does_not_hold_the_end(rig: Any) -> None:
    async def flood(_request: StringValue, _context: RpcContext, send: Send) -> None:
        while True:
            await send(StringValue(value="x" * 100_000))

    with trio.fail_after(20):
        async with rig.open(stream_Flood=flood) as transport:
            channel: Any = grpc.insecure_channel(transport.address)
            call = channel.unary_stream("/test.Echo/Flood")(b"")
            await in_thread(next, call)
    call.cancel()
    channel.close()


async def test_a_handler_that_resists_its_cancel_is_named_and_its_client_is_told(
    rig: Any, caplog: pytest.LogCaptureFixture
) -> None:
    started, release = trio.Event(), trio.Event()

    async def resist(_request: StringValue, _context: RpcContext) -> StringValue:
        started.set()
        with trio.CancelScope(shield=True):
            await release.wait()
        return StringValue()

    with caplog.at_level(logging.ERROR, "motet.server"), trio.fail_after(20):
        async with rig.open(options=TransportOptions(stop_bound=0.5), Resist=resist) as transport:
            with rig.client(transport) as client:
                call = client.future("Resist")
                await started.wait()
                await transport.stop()
                assert (await in_thread(call.exception)) is not None
            release.set()
    assert "/test.Echo/Resist" in caplog.text


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_of_the_block_runs_every_handlers_finally_and_is_raised(
    rig: Any, waiter: Any, interrupt: type[BaseException]
) -> None:
    with pytest.raises(interrupt):
        async with rig.open(Wait=waiter) as transport:
            with rig.client(transport) as client:
                calls = [client.future("Wait") for _ in range(3)]
                await rig.until(lambda: waiter.started == 3)
                raise interrupt
    assert waiter.ended == 3
    assert all(call.done() or call.exception() for call in calls)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_a_handler_ends_the_block_after_its_status_is_sent(
    rig: Any, waiter: Any, interrupt: type[BaseException], grouped: bool
) -> None:
    async def leave(_request: StringValue, _context: RpcContext) -> StringValue:
        raise BaseExceptionGroup("g", [ValueError(), interrupt()]) if grouped else interrupt

    with ExitStack() as later:
        with pytest.raises(interrupt), trio.fail_after(20):
            async with rig.open(Wait=waiter, Leave=leave) as transport:
                client = later.enter_context(rig.client(transport))
                calls = [client.future("Wait")]
                await rig.until(lambda: waiter.started == 1)
                calls.append(client.future("Leave"))
                await trio.sleep_forever()
        assert waiter.ended == 1
        codes = await in_thread(lambda: [call.code() for call in calls])
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 2


def test_a_real_sigint_runs_every_finally(waiter: Any) -> None:
    def status(error: Exception) -> RpcStatus:
        return RpcStatus(grpc.StatusCode.INTERNAL, str(error))

    async def main() -> None:
        service = Service("test.Echo", [Method("Wait", "unary", StringValue, StringValue, waiter)])
        async with open_transport([service], "127.0.0.1:0", translate=status) as transport:
            with grpc.insecure_channel(transport.address) as channel:
                stub: Any = channel.unary_unary("/test.Echo/Wait")
                call = stub.future(b"")
                while not waiter.started:  # noqa: ASYNC110 - as short as can be: a signal follows
                    await trio.sleep(0.01)
                os.kill(os.getpid(), signal.SIGINT)
                try:
                    await trio.sleep_forever()
                finally:
                    call.cancel()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, strict_exception_groups=True)
    assert waiter.started == waiter.ended == 1


async def test_cancelling_the_program_around_a_transport_ends_it(rig: Any, waiter: Any) -> None:
    with trio.fail_after(20), trio.CancelScope() as scope:
        async with rig.open(Wait=waiter) as transport:
            with rig.client(transport) as client:
                call = client.future("Wait")
                await rig.until(lambda: waiter.started == 1)
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    call.cancel()
    assert scope.cancelled_caught
    assert waiter.ended == 1


async def test_opening_in_a_cancelled_scope_leaves_nothing(rig: Any, echo: Any) -> None:
    before = _threads()
    with trio.fail_after(20), trio.CancelScope() as scope:
        scope.cancel()
        async with rig.open(**echo):
            pytest.fail("the block ran")
    assert scope.cancelled_caught
    await rig.until(lambda: _threads() == before)


async def test_an_exception_of_the_block_comes_out_as_it_was_raised(rig: Any, echo: Any) -> None:
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with rig.open(**echo):
            raise error
    assert caught.value is error


async def test_two_servers_run_in_one_program(rig: Any, echo: Any, waiter: Any) -> None:
    async with rig.open(**echo) as one, rig.open(Wait=waiter, **echo) as two:
        with rig.client(one) as first, rig.client(two) as second:
            for number in range(50):
                assert await in_thread(first.unary, "Say", str(number)) == str(number)
                assert await in_thread(second.unary, "Say", str(number)) == str(number)
            assert await in_thread(first.code, "Wait") is grpc.StatusCode.UNIMPLEMENTED
            await two.stop()
            assert await in_thread(first.unary, "Say", "alone") == "alone"


def _threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if "grpc" in thread.name)


async def test_starting_and_stopping_leaks_no_thread_and_no_file(rig: Any, echo: Any) -> None:
    async def once() -> None:
        async with rig.open(**echo) as transport:
            with rig.client(transport) as client:
                assert await in_thread(client.unary, "Say", "x") == "x"

    def files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are what is wanted

    await once()
    await once()
    before, threads = files(), _threads()
    for _ in range(20):
        await once()
    await rig.until(lambda: files() <= before)
    await rig.until(lambda: len(_threads()) <= len(threads))
