"""How soon is the first of three there when the others straggle? The fastest member takes 10 ms; what a run with the rule
`first` adds to that, beside a bare nursery that is cancelled by whoever ends first.

Run: python benches/first_of_three.py
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial

import trio

import motet
from _harness import interleaved, millis, quantile, record

ROUNDS = 200
FASTEST = 0.010
STRAGGLERS = (0.050, 10.0)
"""How long the two others would take, in seconds."""


async def extra(call: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Seconds over the fastest member's own, and CPU seconds of it all."""
    begin, cpu = time.perf_counter(), time.process_time()
    await call()
    return time.perf_counter() - begin - FASTEST, time.process_time() - cpu


async def bare(*waits: float) -> None:
    async with trio.open_nursery() as nursery:

        async def one(seconds: float) -> None:
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()

        for seconds in waits:
            nursery.start_soon(one, seconds)


@motet.agent
async def wait(seconds: float) -> None:
    await trio.sleep(seconds)


def member(seconds: float) -> motet.Member:
    return motet.Member(wait, input=motet.Payload.of(seconds))


async def main() -> None:
    alone = motet.Group("g", [member(FASTEST)])
    group = motet.Group("g", [member(each) for each in (*STRAGGLERS, FASTEST)], aggregation="first")
    async with motet.open_engine() as engine:
        result = await engine.run(group)
        if not (result.succeeded and result.groups[0].decided_early):
            raise RuntimeError("the first success did not decide")
        taken = await interleaved(
            ROUNDS,
            {
                "trio.sleep": partial(extra, partial(trio.sleep, FASTEST)),
                "bare nursery, first of 3": partial(extra, partial(bare, *STRAGGLERS, FASTEST)),
                "run of 1 member": partial(extra, partial(engine.run, alone)),
                "run, first of 3": partial(extra, partial(engine.run, group)),
            },
            warm_up=5,
        )
    rows = []
    for name, both in taken.items():
        wall, cpu = ([each[which] for each in both] for which in (0, 1))
        figures = [millis(quantile(wall, share)) for share in (0.5, 0.99)]
        rows.append([name, *figures, millis(quantile(cpu, 0.5)), "+<=2 ms" if name == "run, first of 3" else ""])
    record(
        "first_of_three",
        "How soon is the first of three there when the others straggle?",
        ["", "over the fastest, p50, ms", "p99, ms", "CPU, p50, ms", "reach"],
        rows,
        note=f"Time beyond the {FASTEST * 1e3:g} ms that the fastest member sleeps; the others sleep "
        f"{STRAGGLERS[0] * 1e3:g} ms and {STRAGGLERS[1]:g} s. {ROUNDS} times each. CPU is all that it computed.",
    )


if __name__ == "__main__":
    trio.run(main)
