"""What do a nested group, a retry and one more event subscriber cost, and is that linear? CPU time of a run with K of them
less that of the same run without, divided by K.

Run: python benches/nested_cost.py
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import trio

import motet
from _harness import cpu_seconds, interleaved, median, record
from motet.engine.engine import Engine

ROUNDS = 3
SECONDS = 0.15
COUNTS = (10, 100, 1_000)
WATCHERS = (10, 100, 1_000)
MEMBERS = 100
"""Of the run that is watched."""
EVENTS = 2 * MEMBERS + 4

Way: TypeAlias = Callable[[], Awaitable[object]]


@motet.agent
async def nothing() -> None:
    await trio.lowlevel.checkpoint()


@motet.agent
async def first_time(_call: motet.Call) -> None:
    await trio.lowlevel.checkpoint()


@motet.agent
async def second_time(call: motet.Call) -> None:
    await trio.lowlevel.checkpoint()
    if call.attempt == 1:
        raise motet.AgentError("not yet", retryable=True)


async def row(what: str, count: int, share: int, *, more: Way, less: Way, bare: Way) -> list[str]:
    """A line of the table: what each of `share` costs, of which there are `count` in the run."""
    ways = {"more": more, "less": less, "bare": bare}
    samples = await interleaved(
        ROUNDS, {name: partial(cpu_seconds, way, at_least=SECONDS) for name, way in ways.items()}, warm_up=1
    )
    extra = median(one - other for one, other in zip(samples["more"], samples["less"], strict=True)) / share
    plain = median(samples["bare"]) / share
    return [what, f"{count:,}", f"{extra * 1e6:.2f}", f"{plain * 1e6:.2f}", f"{extra / plain:.1f}", "linear"]


async def flat_tasks(count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(trio.lowlevel.checkpoint)


async def nested_tasks(count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(flat_tasks, 1)


async def nested(engine: Engine, count: int) -> list[str]:
    inner = motet.GroupAgent("inner", motet.Group("inner", [nothing]))
    deep = motet.Group("outer", [motet.Member(inner, replicas=count)])
    flat = motet.Group("outer", [motet.Member(nothing, replicas=count)])
    return await row(
        "nested group of one member",
        count,
        count,
        more=partial(engine.run, deep),
        less=partial(engine.run, flat),
        bare=partial(nested_tasks, count),
    )


async def branch(engine: Engine, count: int) -> list[str]:
    plan = motet.Parallel([motet.Group(f"g{number}", [nothing]) for number in range(count)])
    flat = motet.Group("outer", [motet.Member(nothing, replicas=count)])
    return await row(
        "branch of a parallel plan",
        count,
        count,
        more=partial(engine.run, plan),
        less=partial(engine.run, flat),
        bare=partial(nested_tasks, count),
    )


async def fails() -> None:
    await trio.lowlevel.checkpoint()
    raise motet.AgentError("not yet", retryable=True)


async def tried_twice(count: int) -> None:
    for _ in range(count):
        try:
            await fails()
        except motet.AgentError:
            await trio.lowlevel.checkpoint()


async def retry(engine: Engine, count: int) -> list[str]:
    policy = motet.RetryPolicy(max_attempts=2, initial_backoff=0.0)
    # Few at a time: a retry is paid for by first calls, and a burst of nothing but retries would be refused.
    again = motet.Group("g", [motet.Member(second_time, replicas=count)], retry=policy, max_parallel=8)
    once = motet.Group("g", [motet.Member(first_time, replicas=count)], retry=policy, max_parallel=8)
    result = await engine.run(again)
    if any(outcome.attempts != 2 for outcome in result.groups[0].outcomes):
        raise RuntimeError("a member was not tried again")
    return await row(
        "retry",
        count,
        count,
        more=partial(engine.run, again),
        less=partial(engine.run, once),
        bare=partial(tried_twice, count),
    )


async def watched(engine: Engine, count: int) -> None:
    started = await engine.start(motet.Group("g", [motet.Member(nothing, replicas=MEMBERS)]))

    async def watch() -> None:
        async with engine.watch(started.run_id) as events:
            async for _batch in events.batches():
                pass

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(watch)


async def channels(count: int) -> None:
    async def drain(receive: trio.MemoryReceiveChannel[int]) -> None:
        async for _ in receive:
            pass

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            send, receive = trio.open_memory_channel[int](EVENTS)
            nursery.start_soon(drain, receive)
            with send:
                for number in range(EVENTS):
                    send.send_nowait(number)


async def watcher(engine: Engine, count: int) -> list[str]:
    return await row(
        "event to one more watcher",
        count,
        count * EVENTS,
        more=partial(watched, engine, count + 1),
        less=partial(watched, engine, 1),
        bare=partial(channels, count),
    )


async def main() -> None:
    catalog = motet.Catalog(settings=motet.EngineSettings(retry_share=1.0))
    async with motet.open_engine(catalog) as engine:
        rows = [await what(engine, count) for what in (nested, branch, retry) for count in COUNTS]
        rows += [await watcher(engine, count) for count in WATCHERS]
    record(
        "nested_cost",
        "What do a nested group, a retry and one more watcher cost?",
        ["each", "how many", "us", "bare, us", "ratio", "reach"],
        rows,
        note="CPU time of a run with so many of them less that of the same run without, divided by their number. Bare: a "
        "nursery with one task inside a task; a `try` around a call that fails and is made again; an item through a trio "
        f"memory channel. The watched run has {EVENTS} events; what each watcher costs is divided by them.",
    )


if __name__ == "__main__":
    trio.run(main)
