"""How long from a caller's cancel to the last member's `finally`? In process and over gRPC, with 100 members that sleep.

Run: python benches/cancel_latency.py
"""

import time
from collections.abc import Awaitable, Callable

import trio

import motet
import motet_server
from _measure import quantile, table
from motet.engine.engine import Engine
from motet_client.trio import Client

MEMBERS = 100
ROUNDS = 200


class Sleepers:
    """Counts its members in and notes when the last one is out."""

    def __init__(self) -> None:
        self.inside = 0
        self.last_out = 0.0
        self.all_in = trio.Event()
        self.all_out = trio.Event()

    def begin(self) -> None:
        self.all_in, self.all_out = trio.Event(), trio.Event()

    async def sleep(self) -> None:
        self.inside += 1
        if self.inside == MEMBERS:
            self.all_in.set()
        try:
            await trio.sleep_forever()
        finally:
            self.inside -= 1
            if not self.inside:
                self.last_out = time.perf_counter()
                self.all_out.set()


async def latencies(sleepers: Sleepers, run: Callable[[], Awaitable[object]]) -> list[float]:
    """Seconds from the cancel to the last `finally`, once for each round."""
    found: list[float] = []
    for _ in range(ROUNDS):
        sleepers.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await sleepers.all_in.wait()
            asked = time.perf_counter()
            nursery.cancel_scope.cancel()
        # Over gRPC the caller may be back before the server has heard of it.
        await sleepers.all_out.wait()
        found.append(sleepers.last_out - asked)
    return found


async def over_grpc(engine: Engine, sleepers: Sleepers) -> list[float]:
    async with motet_server.serve(engine, "127.0.0.1:0") as server, Client(server.address) as client:
        return await latencies(sleepers, lambda: client.run("sleepers"))


async def main() -> None:
    sleepers = Sleepers()
    catalog = motet.Catalog()
    catalog.agent(sleepers.sleep)
    catalog.group("sleepers", [motet.Member("sleep", replicas=MEMBERS)])
    async with motet.open_engine(catalog) as engine:
        figures = {
            "in process": await latencies(sleepers, lambda: engine.run("sleepers")),
            "over gRPC": await over_grpc(engine, sleepers),
        }
    rows = [
        [name, f"{MEMBERS}", f"{quantile(values, 0.5) * 1e3:.2f}", f"{quantile(values, 0.99) * 1e3:.2f}"]
        for name, values in figures.items()
    ]
    table(["caller", "members", "p50, ms", "p99, ms"], rows)


if __name__ == "__main__":
    trio.run(main)
