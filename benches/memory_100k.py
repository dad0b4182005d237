"""Does memory grow with members that have not started? Peak resident memory of a process that runs a group of 100,000
no-op replicas under max_parallel=50, over the same process before the run; and what the result itself weighs.

Run: python benches/memory_100k.py
"""

import resource
import sys
import tracemalloc

import trio

import motet
from _measure import table

MEMBERS = 100_000
WIDTH = 50
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system tells the peak."""


@motet.agent
async def nothing(text: str) -> str:
    await trio.lowlevel.checkpoint()
    return text


def peak() -> float:
    """Most megabytes that were resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e6


async def measured(members: int) -> tuple[float, int]:
    """Growth of the peak in MB, and most members at once."""
    group = motet.Group("wide", [motet.Member(nothing, replicas=members)], aggregation="majority", max_parallel=WIDTH)
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("warm", [nothing]))
        before = peak()
        result = await engine.run(group)
        grown = peak() - before
    return grown, result.stats.peak_running


async def result_size(members: int) -> float:
    """MB that the result holds once the run is over: an outcome for each member is what a caller asks for."""
    group = motet.Group("wide", [motet.Member(nothing, replicas=members)], aggregation="majority", max_parallel=WIDTH)
    async with motet.open_engine() as engine:
        tracemalloc.start()
        result = await engine.run(group)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    del result
    return held / 1e6


def main() -> None:
    grown, running = trio.run(measured, MEMBERS)
    # A tenth, since tracing makes it slow; the result is linear in its members.
    held = trio.run(result_size, MEMBERS // 10) * 10
    table(
        ["members", "max_parallel", "peak running", "peak RSS growth, MB", "of it the result, MB", "bytes per member"],
        [[f"{MEMBERS:,}", f"{WIDTH}", f"{running}", f"{grown:.0f}", f"{held:.0f}", f"{grown * 1e6 / MEMBERS:,.0f}"]],
    )


if __name__ == "__main__":
    main()
