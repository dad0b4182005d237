"""What does a member cost beside a bare trio task, and does that change with the width? CPU time of a group of N async
function agents that do `sleep(0)`, alone and with a follower of its events, and of a nursery of N tasks that do the same.

Run: python benches/member_cost.py
"""

from functools import partial

import trio

import motet
from _harness import cpu_seconds, interleaved, median, ratio, ratio_of, record
from motet.engine.engine import Engine

ROUNDS = 5
SECONDS = 0.3
WIDTHS = (10, 100, 1_000, 10_000)
REACH = {1_000: "<=2.0", 10_000: "same +-10 %"}


@motet.agent
async def nothing() -> None:
    await trio.sleep(0)  # noqa: ASYNC115 - the very same call as in the bare nursery


async def bare(width: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(width):
            nursery.start_soon(trio.sleep, 0)


async def followed(engine: Engine, group: motet.Group) -> None:
    async with engine.stream(group) as run:
        async for _batch in run.batches():
            pass


async def samples_of(engine: Engine, width: int) -> dict[str, list[float]]:
    """CPU seconds for each member."""
    group = motet.Group("group", [motet.Member(nothing, replicas=width)])
    taken = await interleaved(
        ROUNDS,
        {
            "run": partial(cpu_seconds, partial(engine.run, group), at_least=SECONDS),
            "followed": partial(cpu_seconds, partial(followed, engine, group), at_least=SECONDS),
            "bare": partial(cpu_seconds, partial(bare, width), at_least=SECONDS),
        },
        warm_up=1,
    )
    return {name: [value / width for value in values] for name, values in taken.items()}


async def main() -> None:
    async with motet.open_engine() as engine:
        taken = {width: await samples_of(engine, width) for width in WIDTHS}
    of_thousand = ratio_of(taken[1_000]["run"], taken[1_000]["bare"])
    rows = [
        [
            f"{width:,}",
            *(f"{median(samples[name]) * 1e6:.1f}" for name in ("bare", "run", "followed")),
            ratio(samples["run"], samples["bare"]),
            ratio(samples["followed"], samples["bare"]),
            f"{(ratio_of(samples['run'], samples['bare']) / of_thousand - 1) * 100:+.0f} %",
            REACH.get(width, ""),
        ]
        for width, samples in taken.items()
    ]
    head = ["members", "bare task, us", "member, us", "with a follower, us", "ratio", "ratio with a follower"]
    record(
        "member_cost",
        "What does a member cost beside a bare trio task?",
        [*head, "ratio against that at 1,000", "reach"],
        rows,
        note="CPU time of a whole run (request, plan check, guards, events, outcomes, result) of function agents that "
        "`sleep(0)`, divided by its members; bare is a nursery of tasks that do the same.",
    )


if __name__ == "__main__":
    trio.run(main)
