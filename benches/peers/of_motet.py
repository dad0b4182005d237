"""Motet's side: a group of N agents, each a function of its own, combined. Once with nobody listening, once with one
subscriber that takes every event. Knows nothing of the other systems."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import motet
from peers._worker import Ready, Work, serve


def group_of(width: int, work: Work) -> motet.Group:
    async def answer(text: str) -> str:  # noqa: ARG001 - what an agent is given
        await trio.sleep(0)  # noqa: ASYNC115 - what the other systems' agents do too
        work.executions += 1
        return "ok"

    return motet.Group("parallel_group", [motet.agent(name=f"agent_{i}")(answer) for i in range(width)])


def combined(result: motet.RunResult) -> int:
    count: int = result.unwrap()["result_count"]
    return count


@asynccontextmanager
async def run(width: int, work: Work) -> AsyncIterator[Ready]:
    async with motet.open_engine() as engine:
        group = group_of(width, work)
        yield Ready(lambda: engine.run(group, "x"), combined)


@asynccontextmanager
async def heard(width: int, work: Work) -> AsyncIterator[Ready]:
    async with motet.open_engine() as engine:
        group = group_of(width, work)

        async def call() -> motet.RunResult | None:
            async with engine.stream(group, "x") as stream:
                async for _ in stream:
                    work.heard += 1
            return stream.result

        yield Ready(call, combined, hears=True)


async def main() -> None:
    await serve({"Motet": run, "Motet, events heard": heard}, ["motet", "trio"], trio.to_thread.run_sync)


if __name__ == "__main__":
    trio.run(main)
