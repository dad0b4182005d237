"""What does a member in flight weigh, and does memory grow with members that have not started? Resident memory of fresh
processes that do nothing else.

Run: python benches/memory.py
"""

import json
import resource
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Final

import trio
import trio.testing

import motet
from _harness import fresh, median, megabytes, record, resident

IN_FLIGHT: Final = (1_000, 10_000)
MEMBERS: Final = 100_000
WIDTH: Final = 50
ROUNDS: Final = 3
UNIT: Final = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system tells the peak."""


@motet.agent
async def nothing() -> None:
    await trio.lowlevel.checkpoint()


@motet.agent
async def waits() -> None:
    await trio.sleep_forever()


async def grown_by(start: Callable[[], Awaitable[object]], running: Callable[[], int], count: int) -> int:
    """Bytes that the process has grown by once so many are inside."""
    before = resident()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        while running() < count:  # noqa: ASYNC110 - the engine counts them, and tells when it is asked
            await trio.sleep(0.01)
        # Counted is not yet called: all have to take their first step.
        await trio.testing.wait_all_tasks_blocked()
        grown = resident() - before
        nursery.cancel_scope.cancel()
    return grown


async def members(count: int) -> dict[str, float]:
    """Bytes for each member of one group, all inside their agent at once."""
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("warm", [nothing]))
        group = motet.Group("g", [motet.Member(waits, replicas=count)])
        grown = await grown_by(lambda: engine.run(group), lambda: engine.statistics().members_running, count)
    return {"each": grown / count}


async def tasks(count: int) -> dict[str, float]:
    """Bytes for each task of a bare nursery."""
    inside = 0

    async def one() -> None:
        nonlocal inside
        inside += 1
        await trio.sleep_forever()

    async def start() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)

    return {"each": await grown_by(start, lambda: inside, count) / count}


def wide(aggregation: str, count: int) -> motet.Group:
    return motet.Group("g", [motet.Member(nothing, replicas=count)], aggregation=aggregation, max_parallel=WIDTH)


def peak() -> int:
    """Most bytes that were resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


async def queued(count: int) -> dict[str, float]:
    """Growth of the peak over a group most of whose members wait for their turn."""
    async with motet.open_engine() as engine:
        await engine.run(wide("majority", 100))
        before = peak()
        result = await engine.run(wide("majority", count))
        return {"grown": peak() - before, "running": result.stats.peak_running}


async def result_of(count: int) -> dict[str, float]:
    """Bytes that the result holds once the run is over: an outcome for each member is what a caller asks for."""
    async with motet.open_engine() as engine:
        tracemalloc.start()
        result = await engine.run(wide("majority", count))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return {"held": held * len(result.groups)}


CASES: Final = {each.__name__: each for each in (members, tasks, queued, result_of)}


def measured(case: Callable[[int], object], count: int, figure: str) -> float:
    """The median over fresh processes."""
    return median(fresh(__file__, case.__name__, str(count))[figure] for _ in range(ROUNDS))


def main() -> None:
    rows = []
    for count in IN_FLIGHT:
        member, task = measured(members, count, "each"), measured(tasks, count, "each")
        rows.append([f"{count:,}", f"{task / 1e3:.1f}", f"{member / 1e3:.1f}", f"{member / task:.1f}", "<=10 KB"])
    record(
        "memory",
        "What does a member in flight weigh, and does memory grow with members that have not started?",
        ["members in flight", "bare task, KB", "member, KB", "ratio", "reach"],
        rows,
        note="Growth of a fresh process's resident memory once all members of one group wait inside their agent, and once "
        "all tasks of a bare nursery wait.",
    )
    grown, running = measured(queued, MEMBERS, "grown"), measured(queued, MEMBERS, "running")
    # A tenth, since tracing makes it slow; the result is linear in its members.
    held = fresh(__file__, "result_of", str(MEMBERS // 10))["held"] * 10
    record(
        "memory",
        "What does a member in flight weigh, and does memory grow with members that have not started?",
        ["members", "max_parallel", "peak running", "growth of the peak, MB", "of it the result, MB", "reach"],
        [[f"{MEMBERS:,}", f"{WIDTH}", f"{running:.0f}", megabytes(grown), megabytes(held), "<=50 MB"]],
        note="Growth of the peak over the process before the run, whose result has an outcome for each member.",
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(trio.run(CASES[sys.argv[1]], int(sys.argv[2]))))
    else:
        main()
