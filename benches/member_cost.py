"""What does a member cost beside a bare trio task? CPU time of a group of N no-op agents and of a nursery of N no-op
tasks, in turns, and their ratio.

Run: python benches/member_cost.py
"""

import trio

import motet
from _measure import median, seconds_per_call, table
from motet.engine.engine import Engine
from motet.model.agent import Reply
from motet.model.payload import EMPTY

ROUNDS = 3
SECONDS = 0.4
WIDTHS = (1, 10, 100, 1000)
REPLY = Reply(EMPTY)


class Nothing:
    """The cheapest agent there can be, so that what is measured is the engine."""

    info = motet.AgentInfo(name="nothing", kind=motet.AgentKind.FUNCTION)

    async def call(self, call: motet.Call, /) -> Reply:  # noqa: ARG002 - an agent's signature
        return REPLY


async def nothing() -> Reply:  # noqa: ASYNC124 - a task is made of an async function
    return REPLY


async def bare(width: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(width):
            nursery.start_soon(nothing)


async def row(engine: Engine, width: int) -> list[str]:
    group = motet.Group("group", [motet.Member(Nothing(), replicas=width)])
    cost: list[tuple[float, float]] = [
        (
            await seconds_per_call(lambda: engine.run(group), at_least=SECONDS),
            await seconds_per_call(lambda: bare(width), at_least=SECONDS),
        )
        for _ in range(ROUNDS)
    ]
    run, task = median(pair[0] for pair in cost), median(pair[1] for pair in cost)
    ratio = median(pair[0] / pair[1] for pair in cost)
    return [f"{width}", f"{run * 1e6:,.0f}", f"{task * 1e6:,.0f}", f"{run / width * 1e6:,.1f}", f"{ratio:.1f}"]


async def main() -> None:
    async with motet.open_engine() as engine:
        rows = [await row(engine, width) for width in WIDTHS]
    table(["members", "run, us", "bare nursery, us", "us per member", "ratio"], rows)


if __name__ == "__main__":
    trio.run(main)
