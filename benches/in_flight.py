"""Do 5,000 runs go on at once? Each has one member that waits a second; how long after the last start does the last of
them end, and what do they hold meanwhile: memory, threads. With the garbage collector as Python has it, and as `motet serve` sets it.

Run: python benches/in_flight.py
"""

import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

import motet
from _harness import fresh, median, megabytes, record, resident
from motet.engine.engine import Engine
from motet_server.cli import collector

COUNTS: Final = (500, 5_000)
WAIT: Final = 1.0
ROUNDS: Final = 3
REACH: Final = 1.5


@motet.agent
async def waits() -> None:
    await trio.sleep(WAIT)


GROUP: Final = motet.Group("g", [waits])


async def bare(_: Engine) -> None:
    await trio.sleep(WAIT)


async def run(engine: Engine) -> None:
    await engine.run(GROUP)


async def background(engine: Engine) -> None:
    started = await engine.start(GROUP)
    async with engine.watch(started.run_id) as events:
        async for _batch in events.batches():
            pass


CASES: Final[dict[str, tuple[str, Callable[[Engine], Awaitable[None]], bool]]] = {
    "bare": ("bare trio task", bare, False),
    "run": ("run", run, False),
    "calm run": ("run, collector as in `motet serve`", run, True),
    "background": ("background run, watched", background, False),
    "calm background": ("background run, watched, collector as in `motet serve`", background, True),
}
"""What each is called in the table, what it does, and whether the collector is set for it."""


async def measure(case: str, count: int) -> dict[str, float]:
    """Seconds from the last start to the last end, and the most memory and threads in between."""
    _, one, calm = CASES[case]
    # The store in memory takes a thousand runs that go on, unless it is told otherwise.
    async with motet.open_engine(store=motet.MemoryStore(max_runs=2 * count)) as engine:
        await run(engine)
        if calm:
            collector.calm()
        before, grown, threads = resident(), 0, 0

        async def look() -> None:
            nonlocal grown, threads
            while True:
                grown, threads = max(grown, resident() - before), max(threads, threading.active_count())
                await trio.sleep(0.02)

        async with trio.open_nursery() as outer:
            outer.start_soon(look)
            first, cpu = time.perf_counter(), time.process_time()
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(one, engine)
                # The tasks that were started take their first step now, before this one goes on.
                await trio.lowlevel.checkpoint()
                while case != "bare" and engine.statistics().runs_started <= count:  # noqa: ASYNC110 - the engine tells when it is asked
                    await trio.lowlevel.checkpoint()
                last = time.perf_counter()
            ended, cpu = time.perf_counter(), time.process_time() - cpu
            outer.cancel_scope.cancel()
    return {"starting": last - first, "rest": ended - last, "cpu": cpu, "memory": grown / count, "threads": threads}


def main() -> None:
    rows = []
    for count in COUNTS:
        rounds = [{case: fresh(__file__, case, str(count)) for case in CASES} for _ in range(ROUNDS)]
        for case, (name, _, _) in CASES.items():
            figures = {key: median(each[case][key] for each in rounds) for key in rounds[0][case]}
            rows.append(
                [
                    name,
                    f"{count:,}",
                    f"{figures['starting']:.2f}",
                    f"{figures['rest']:.2f}",
                    f"{figures['cpu']:.2f}",
                    f"{figures['memory'] / 1e3:.1f}",
                    megabytes(figures["memory"] * count),
                    f"{figures['threads']:.0f}",
                    f"<={REACH} s" if case.endswith("run") and count == max(COUNTS) else "",
                ]
            )
    record(
        "in_flight",
        "Do 5,000 runs go on at once?",
        [
            "each",
            "at once",
            "starting, s",
            "last start to last end, s",
            "CPU, s",
            "KB each",
            "MB in all",
            "threads",
            "reach",
        ],
        rows,
        note=f"Each run has one member, which waits {WAIT:g} s. Memory is the growth of a fresh process's.",
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(trio.run(measure, sys.argv[1], int(sys.argv[2]))))
    else:
        main()
