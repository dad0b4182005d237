"""What does durability cost? Background runs of one member each, until the store knows how each has ended: with the store in
memory, and in a SQLite file that survives a killed process, or a power cut too. 64 callers at once share commits; a single
one that waits for each run has nobody to share with.

Run: python benches/durability_cost.py
"""

import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Final, Literal

import trio

import motet
from _measure import median, table
from motet.store.memory import MemoryStore
from motet.store.sqlite import SqliteStore

RUNS: Final = {64: 256, 1: 64}
"""In each round, by how many callers start runs at once."""
ROUNDS: Final = 5
"""Of each kind, in turn, so that what else the machine does meets all of them."""
KINDS: Final = ("memory", "SQLite, normal", "SQLite, full")
PATIENCE: Final = 120.0


async def round_of(store: MemoryStore | SqliteStore, callers: int) -> float:
    """Seconds from the first start to the moment at which every end is kept."""
    catalog = motet.Catalog()

    @catalog.agent()
    async def echo(text: str) -> str:
        await trio.lowlevel.checkpoint()
        return text

    group = motet.Group("g", ["echo"])
    async with motet.open_engine(catalog, store=store) as engine:

        async def start() -> None:
            for _ in range(RUNS[callers] // callers):
                started = await engine.start(group, "hello")
                if callers == 1:
                    async with engine.watch(started.run_id) as events:
                        async for _event in events:
                            pass

        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(start)
        await engine.drain(PATIENCE)
        return time.perf_counter() - begin


async def measure(callers: int, folder: Path) -> None:
    """Print the table for so many callers."""
    runs = RUNS[callers]
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    commits: defaultdict[str, list[float]] = defaultdict(list)
    operations: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        for kind in KINDS:
            if kind == "memory":
                seconds[kind].append(await round_of(MemoryStore(), callers))
                continue
            durability: Literal["full", "normal"] = "full" if kind.endswith("full") else "normal"
            store = await SqliteStore.open(folder / f"{callers}-{number}-{durability}.db", durability=durability)
            seconds[kind].append(await round_of(store, callers))
            commits[kind].append(store.commits / runs)
            operations[kind].append(store.operations / runs)
    base = median(seconds["memory"])
    table(
        (f"store, {callers} at once", "runs per second", "of memory", "ms a run", "operations a run", "commits a run"),
        (
            (
                kind,
                f"{runs / median(seconds[kind]):,.0f}",
                f"{base / median(seconds[kind]):.2f}",
                f"{median(seconds[kind]) / runs * 1e3:.2f}",
                f"{median(operations[kind]):.1f}" if operations[kind] else "",
                f"{median(commits[kind]):.2f}" if commits[kind] else "",
            )
            for kind in KINDS
        ),
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for callers in RUNS:
            await measure(callers, Path(folder))


if __name__ == "__main__":
    trio.run(main)
