"""Leaving early: the server sees the cancel, the caller gets its own exception, and no thread is left behind."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import grpc
import pytest
import trio

import motet_client
import motet_client.aio
import motet_client.trio


def test_leaving_a_stream_early_cancels_it_on_the_server(door: Any, script: Any, make: Any) -> None:
    def handler(request: Any, context: Any) -> Any:
        script.listen(context)
        yield make.streamed(1)
        script.hang(request, context)

    script.on["StreamRun"] = handler

    async def scenario(client: Any) -> None:
        async with client.stream("g") as run:
            await anext(run)
        assert run.result is None

    door.play(scenario)
    assert script.cancelled.wait(10)


def test_a_stream_that_was_cancelled_ends_without_an_error(door: Any, script: Any, make: Any) -> None:
    def handler(request: Any, context: Any) -> Any:
        script.listen(context)
        yield make.streamed(1, 2)
        script.hang(request, context)

    script.on["StreamRun"] = handler

    async def scenario(client: Any) -> None:
        async with client.stream("g") as run:
            seen = []
            async for event in run:
                seen.append(event.sequence)
                run.cancel()
        assert seen == [1, 2]

    door.play(scenario)
    assert script.cancelled.wait(10)


def test_another_thread_ends_a_synchronous_stream(address: str, script: Any, make: Any) -> None:
    def handler(request: Any, context: Any) -> Any:
        script.listen(context)
        yield make.streamed(1)
        script.hang(request, context)

    script.on["StreamRun"] = handler
    with motet_client.Client(address) as client, client.stream("g") as run:

        def cancel_later() -> None:
            script.begun.wait(10)
            run.cancel()

        canceller = threading.Thread(target=cancel_later)
        canceller.start()
        assert [event.sequence for event in run] == [1]
        canceller.join()
    assert script.cancelled.wait(10)


def test_an_interrupt_cancels_the_synchronous_run_on_the_server(address: str, script: Any) -> None:
    script.on["Run"] = script.hang
    program = f"import motet_client; motet_client.Client({address!r}).run('g')"
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    assert script.begun.wait(30)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert b"KeyboardInterrupt" in said
    assert script.cancelled.wait(10)


@pytest.mark.parametrize("method", ["run", "stream", "watch", "map"])
def test_a_cancelled_trio_scope_cancels_the_call_and_leaves_no_thread(address: str, script: Any, method: str) -> None:
    def handler(request: Any, context: Any) -> Any:
        script.hang(request, context)
        yield from ()

    script.on = {"Run": script.hang, "StreamRun": handler, "WatchRun": handler, "MapRun": handler}

    async def call(client: motet_client.trio.Client) -> None:
        if method == "run":
            await client.run("g")
        elif method == "stream":
            async with client.stream("g"):
                pytest.fail("nothing was sent")
        elif method == "watch":
            await anext(client.watch("r1"))
        else:
            async with client.map("g", ["a"]) as answers:
                await anext(answers)

    async def main() -> None:
        async with motet_client.trio.Client(address) as client:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call, client)
                    await trio.to_thread.run_sync(script.begun.wait, 10)
                    scope.cancel()
            assert scope.cancelled_caught
            assert not readers()
            assert await trio.to_thread.run_sync(script.cancelled.wait, 10)

    trio.run(main)


def test_a_cancelled_asyncio_task_cancels_the_call(address: str, script: Any) -> None:
    def handler(request: Any, context: Any) -> Any:
        script.hang(request, context)
        yield from ()

    script.on = {"StreamRun": handler}

    async def main() -> None:
        async with motet_client.aio.Client(address) as client:
            task = asyncio.create_task(client.stream("g").__aenter__())
            await asyncio.to_thread(script.begun.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(script.cancelled.wait, 10)

    asyncio.run(main())


async def test_a_trio_watch_that_waits_to_connect_again_is_cancelled_at_once(address: str, script: Any) -> None:
    def handler(_request: Any, context: Any) -> Any:
        script.listen(context)
        context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    script.on["WatchRun"] = handler
    async with motet_client.trio.Client(address) as client:
        watch = client.watch("r1", resume=motet_client.Resume(first_delay=3600.0, max_delay=3600.0))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(anext, watch)
                await trio.to_thread.run_sync(script.cancelled.wait, 10)
                await trio.to_thread.run_sync(readers)
                scope.cancel()
        assert scope.cancelled_caught
        assert len(script.seen["WatchRun"]) == 1


def test_a_client_that_closes_ends_its_watches(door: Any, script: Any, make: Any) -> None:
    def handler(request: Any, context: Any) -> Any:
        script.listen(context)
        yield make.watched(1)
        script.hang(request, context)

    script.on["WatchRun"] = handler

    async def scenario(client: Any) -> None:
        watch = client.watch("r1")
        await anext(watch)
        await client.close()
        with pytest.raises((StopAsyncIteration, motet_client.Cancelled)):
            await anext(watch)

    door.play(scenario)
    assert script.cancelled.wait(10)


def readers() -> list[str]:
    """Threads of trio that are at work in a call; idle ones are kept by trio for a while and do no harm."""
    deadline = time.monotonic() + 5
    busy: list[str] = []
    while time.monotonic() < deadline:
        frames = sys._current_frames()
        busy = [name for name in map(_work_of, frames.values()) if name]
        if not busy:
            return []
        time.sleep(0.01)
    return busy


def _work_of(frame: Any) -> str:
    while frame is not None:
        if frame.f_code.co_name == "wait_in_thread":
            return str(frame.f_code.co_filename)
        frame = frame.f_back
    return ""
