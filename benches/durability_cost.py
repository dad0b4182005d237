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
from _harness import median, ratio, record
from motet.store.memory import MemoryStore
from motet.store.sqlite import SqliteStore

RUNS: Final = {64: 256, 1: 64}
"""In each round, by how many callers start runs at once."""
ROUNDS: Final = 5
"""Of each kind, in turn, so that what else the machine does meets all of them."""
KINDS: Final = ("memory", "SQLite, normal", "SQLite, full")
PATIENCE: Final = 120.0
NOTES: Final = {
    64: "Background runs of one no-op member each, until the store has events, record and result. Many callers share commits: "
    "one takes in what all of them have to write at that moment.",
    1: "One caller, who waits for each run before the next, has nobody to share with.",
}


async def round_of(store: MemoryStore | SqliteStore, callers: int) -> tuple[float, float]:
    """Seconds from the first start to the moment at which every end is kept, and CPU seconds."""
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

        begin, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(start)
        await engine.drain(PATIENCE)
        return time.perf_counter() - begin, time.process_time() - cpu


async def measure(callers: int, folder: Path) -> None:
    """Print the table for so many callers."""
    runs = RUNS[callers]
    rates: defaultdict[str, list[float]] = defaultdict(list)
    cpu: defaultdict[str, list[float]] = defaultdict(list)
    commits: defaultdict[str, list[float]] = defaultdict(list)
    operations: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        for kind in KINDS:
            durability: Literal["full", "normal"] = "full" if kind.endswith("full") else "normal"
            store = (
                MemoryStore()
                if kind == "memory"
                else await SqliteStore.open(folder / f"{callers}-{number}-{durability}.db", durability=durability)
            )
            wall, busy = await round_of(store, callers)
            rates[kind].append(runs / wall)
            cpu[kind].append(busy / runs)
            if isinstance(store, SqliteStore):
                commits[kind].append(store.commits / runs)
                operations[kind].append(store.operations / runs)
    record(
        "durability_cost",
        "What does it cost to keep a background run?",
        (
            f"store, {callers} at once",
            "runs per second",
            "of memory",
            "ms a run",
            "CPU ms a run",
            "operations a run",
            "commits a run",
            "reach",
        ),
        (
            (
                kind,
                f"{median(rates[kind]):,.0f}",
                ratio(rates[kind], rates["memory"]),
                f"{1e3 / median(rates[kind]):.2f}",
                f"{median(cpu[kind]) * 1e3:.2f}",
                f"{median(operations[kind]):.1f}" if operations[kind] else "",
                f"{median(commits[kind]):.2f}" if commits[kind] else "",
                "listed",
            )
            for kind in KINDS
        ),
        note=NOTES[callers],
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for callers in RUNS:
            await measure(callers, Path(folder))


if __name__ == "__main__":
    trio.run(main)
