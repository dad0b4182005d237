"""How long from a caller's cancel to the last member's `finally`? In process, and over gRPC to a server in a process of its
own, with 100 members that sleep; with the garbage collector as it is, and with what was there before frozen out of it.

Run: python benches/cancel_latency.py
"""

import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

import motet
import motet_server
from _harness import millis, quantile, record
from motet_client.trio import Client

MEMBERS: Final = 100
ROUNDS: Final = 400
TURN: Final = 20
"""Cancels of one kind before it is the next one's turn."""
PATIENCE: Final = 10.0


class Sleepers:
    """Counts its members in and notes when the last one is out. Its clock is the machine's, the same in all processes."""

    def __init__(self) -> None:
        self.inside = 0
        self.all_in = trio.Event()
        self.all_out = trio.Event()

    async def sleep(self) -> None:
        if not self.inside:
            self.all_out = trio.Event()
        self.inside += 1
        if self.inside == MEMBERS:
            self.all_in.set()
        try:
            await trio.sleep_forever()
        finally:
            self.inside -= 1
            if not self.inside:
                self.last_out, self.last_out_cpu = time.monotonic(), time.process_time()
                self.all_in = trio.Event()
                self.all_out.set()

    async def ready(self) -> None:
        """Ends when all are in."""
        await self.all_in.wait()

    async def out(self) -> list[float]:
        """When the last one was out, and what CPU time its process had used by then."""
        await self.all_out.wait()
        return [self.last_out, self.last_out_cpu]


def catalog() -> motet.Catalog:
    sleepers = Sleepers()
    made = motet.Catalog()
    made.agent(sleepers.sleep)
    made.group("sleep", [motet.Member("sleep", replicas=MEMBERS)])
    for function in (sleepers.ready, sleepers.out):
        made.agent(function)
        made.group(function.__name__, [function.__name__], aggregation="first")
    return made


class Cancel:
    """The moment at which a caller cancels."""

    def __init__(self) -> None:
        self.at, self.cpu = time.monotonic(), time.process_time()

    def until(self, out: list[float]) -> tuple[float, float]:
        """Seconds until then, and CPU seconds where it is the same process."""
        return out[0] - self.at, out[1] - self.cpu


async def bare(_: Callable[[str], Awaitable[str]]) -> tuple[float, float]:
    """Of a nursery of tasks."""
    sleepers = Sleepers()
    async with trio.open_nursery() as nursery:
        for _number in range(MEMBERS):
            nursery.start_soon(sleepers.sleep)
        await sleepers.ready()
        cancel = Cancel()
        nursery.cancel_scope.cancel()
    return cancel.until(await sleepers.out())


async def cancelled(run: Callable[[str], Awaitable[str]]) -> tuple[float, float]:
    """Of a run. `run` runs a group and gives its answer."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "sleep")
        await run("ready")
        cancel = Cancel()
        nursery.cancel_scope.cancel()
    # Over gRPC the caller may be back before the server has heard of it.
    return cancel.until(json.loads(await run("out")))


@asynccontextmanager
async def served(*options: str) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """A server in a process of its own, by what runs a group there."""
    command = [sys.executable, __file__, "server", *options]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        address = (await process.stdout.receive_some()).decode().strip()
        async with Client(address) as client:

            async def run(group: str) -> str:
                output = (await client.run(group, deadline=PATIENCE)).output
                return output.text if output is not None else ""

            yield run
        # The server leaves at the end of its input.
        await process.stdin.aclose()


async def serve(*, freeze: bool) -> None:
    """Serve until the input ends."""
    async with motet.open_engine(catalog()) as engine, motet_server.serve(engine, "127.0.0.1:0") as server:
        if freeze:
            gc.collect()
            gc.freeze()
        print(server.address, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


async def main() -> None:
    async with motet.open_engine(catalog()) as engine, served() as remote, served("freeze") as frozen:

        async def local(group: str) -> str:
            result = await engine.run(group)
            return result.output.text if result.output is not None else ""

        cases = {
            "bare nursery": (bare, local, False),
            "in process": (cancelled, local, False),
            "in process, frozen": (cancelled, local, True),
            "over gRPC": (cancelled, remote, False),
            "over gRPC, frozen": (cancelled, frozen, False),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for number in range(-1, ROUNDS // TURN):
            for name, (measure, run, freeze) in cases.items():
                gc.collect()
                if freeze:
                    gc.freeze()
                values = [await measure(run) for _ in range(TURN)]
                gc.unfreeze()
                if number >= 0:
                    found[name] += values
    reach = {"in process": "p99 <=5 ms", "over gRPC": "p99 <=20 ms"}
    rows = []
    for name, both in found.items():
        wall, cpu = ([each[which] for each in both] for which in (0, 1))
        figures = [millis(quantile(wall, share)) for share in (0.5, 0.99)]
        figures += ["", ""] if "gRPC" in name else [millis(quantile(cpu, share)) for share in (0.5, 0.99)]
        rows.append([name, f"{MEMBERS}", *figures, reach.get(name, "")])
    record(
        "cancel_latency",
        "How long from a caller's cancel to the last member's `finally`?",
        ["caller", "members", "p50, ms", "p99, ms", "CPU p50, ms", "CPU p99, ms", "reach"],
        rows,
        note=f"{ROUNDS} cancels each, in turns. CPU is what the process computed meanwhile: where it is less, others had the "
        "core. Frozen: `gc.freeze()` once all is set up, so that the collector does not walk what was there before. The "
        "server over gRPC is another process, on the same cores.",
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["server"]:
        trio.run(lambda: serve(freeze=sys.argv[2:] == ["freeze"]))
    else:
        trio.run(main)
