"""Counts the work of fixed runs: what is run, and how it is counted. Knows nothing of what the figures may be.

Run: python tests/work/count_work.py            prints the table
     python tests/work/count_work.py --update   and puts it into test_work.py
"""

import gc
import statistics
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import trio
import trio.testing

import motet

TIMES: Final = 3
"""That a run is counted; the middle figure is taken, for what happens now and then is not its work."""
TABLE: Final = Path(__file__).with_name("test_work.py")
BEGIN: Final = 'FIGURES: Final = """\n'
END: Final = '"""\n'


class Work(NamedTuple):
    """What a run does, for each of its members; None where it hangs on when other threads do their part."""

    calls: float | None = None
    """Python functions that are called, and coroutines and generators that are gone on with, those of trio included."""
    tasks: float | None = None
    """Tasks that are spawned."""
    wakeups: float | None = None
    """Times that a task is made to go on."""
    hops: float | None = None
    """Calls that go to a thread."""
    events: float | None = None
    """Events that are made."""
    kept: float | None = None
    """Blocks of memory that are still in use when the run has ended: its result."""
    cyclic: float | None = None
    """Blocks that only the garbage collector frees."""
    peak: float | None = None
    """Bytes in use at the most, above what was in use before."""


# ----------------------------------------------------------------------------------------------------------- what is run


class Nothing:
    """The cheapest agent that there can be, so that what is counted is the engine. It fails as often as it is told to."""

    def __init__(self, fails: int = 0) -> None:
        self.info = motet.AgentInfo(name="nothing", kind=motet.AgentKind.FUNCTION)
        self._fails = fails

    async def call(self, call: motet.Call, /) -> motet.Reply:
        if call.attempt <= self._fails:
            raise motet.AgentError("again", retryable=True)
        await trio.lowlevel.checkpoint()
        return REPLY


@motet.agent
async def coroutine(text: str) -> str:
    await trio.lowlevel.checkpoint()
    return text


@motet.agent
def blocking(text: str) -> str:
    return text


REPLY: Final = motet.Reply(motet.Payload.of("ok"))
INPUT: Final = motet.Payload.of("Hello")
NESTED: Final = motet.GroupAgent("nested", motet.Group("inner", [motet.Member(Nothing(), replicas=10)]))
RETRY: Final = motet.RetryPolicy(max_attempts=2, jitter=0)
RETRIED: Final = motet.Group("g", [motet.Member(Nothing(fails=1), replicas=100)], retry=RETRY)
Workload = Callable[[motet.Engine], Awaitable[object]]


CATALOG: Final = motet.Catalog()
for width in (1, 100):
    CATALOG.group(f"{width}", [motet.Member(Nothing(), replicas=width)])


def group(agent: motet.Agent, members: int, **options: Any) -> Workload:
    plan = motet.Group("g", [motet.Member(agent, replicas=members)], **options)
    return lambda engine: engine.run(plan, INPUT)


async def followed(engine: motet.Engine) -> object:
    async with engine.stream(motet.Group("g", [motet.Member(Nothing(), replicas=100)]), INPUT) as run:
        batches = [batch async for batch in run.batches()]
    return batches, run.result


class Fixed(NamedTuple):
    """A run that is always the same."""

    members: int
    workload: Workload
    judged: tuple[str, ...] = Work._fields
    """What does not depend on when other threads do their part."""
    served: bool = False
    """The run is asked for over gRPC. What is counted is the engine's thread, with the one hop of the client that asks."""


WORKLOADS: Final[dict[str, Fixed]] = {
    "1 member": Fixed(1, group(Nothing(), 1)),
    "100 members": Fixed(100, group(Nothing(), 100)),
    "1,000 members": Fixed(1_000, group(Nothing(), 1_000)),
    "1,000 members, 50 at a time": Fixed(1_000, group(Nothing(), 1_000, max_parallel=50)),
    "100 coroutine functions": Fixed(100, group(coroutine, 100)),
    "100 blocking functions": Fixed(100, group(blocking, 100), ("tasks", "hops", "events")),
    "10 groups of 10, nested": Fixed(100, group(NESTED, 10)),
    "100 members that are tried twice": Fixed(100, lambda engine: engine.run(RETRIED, INPUT)),
    "100 members, one follower": Fixed(100, followed),
    "1 member over gRPC": Fixed(1, group(Nothing(), 1), ("calls", "tasks", "wakeups", "hops", "events"), served=True),
    "100 members over gRPC": Fixed(
        100, group(Nothing(), 100), ("calls", "tasks", "wakeups", "hops", "events"), served=True
    ),
}

# ---------------------------------------------------------------------------------------------------------- how it is counted


@dataclass(eq=False)
class Tasks(trio.abc.Instrument):
    """Counts what trio tells."""

    spawned: int = 0
    wakeups: int = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.spawned += 1

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self.wakeups += 1

    @contextmanager
    def counted(self) -> Iterator[None]:
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)


@dataclass
class Calls:
    """Counts what this thread calls."""

    calls: int = 0
    hops: int = 0
    events: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        made = motet.Event.__init__.__code__
        to_thread = trio.to_thread.run_sync

        def called(frame: FrameType, what: str, _: object) -> None:
            if what == "call":
                self.calls += 1
                self.events += frame.f_code is made

        def hopped(*args: Any, **options: Any) -> Any:
            self.hops += 1
            return to_thread(*args, **options)

        trio.to_thread.run_sync = hopped  # type: ignore[assignment] # it passes on what it is given
        sys.setprofile(called)
        try:
            yield
        finally:
            sys.setprofile(None)
            trio.to_thread.run_sync = to_thread


async def work_for_a_member(fixed: Fixed) -> Work:
    async with motet.open_engine(CATALOG) as engine, asking(engine, fixed) as ask:
        for _ in range(TIMES):
            await ask()
        rounds = [await work_of(ask) for _ in range(TIMES)]
    middle = (statistics.median(values) for values in zip(*rounds, strict=True))
    return Work(
        **{
            figure: round(value / fixed.members, 2)
            for figure, value in zip(Work._fields, middle, strict=True)
            if figure in fixed.judged
        }
    )


@asynccontextmanager
async def asking(engine: motet.Engine, fixed: Fixed) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    if not fixed.served:
        yield lambda: fixed.workload(engine)
        return
    from motet_client import Client
    from motet_server import serve

    async with serve(engine, "127.0.0.1:0") as server:
        with Client(server.address) as client:
            yield lambda: trio.to_thread.run_sync(client.run, f"{fixed.members}", "Hello")


async def work_of(ask: Callable[[], Awaitable[object]]) -> tuple[int, ...]:
    calls, tasks = Calls(), Tasks()
    with calls.counted():
        await ask()
    with tasks.counted():  # apart, for instruments are called too
        await ask()
    await trio.testing.wait_all_tasks_blocked()
    gc.collect()
    gc.disable()
    before = sys.getallocatedblocks()
    result = await ask()
    after = sys.getallocatedblocks()
    gc.collect()
    kept = sys.getallocatedblocks() - before
    gc.enable()
    del result
    tracemalloc.start()
    await ask()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    cyclic = max(0, after - before - kept)
    return calls.calls, tasks.spawned, tasks.wakeups, calls.hops, calls.events, kept, cyclic, peak


def count_all() -> dict[str, Work]:
    """In this process, which should be a fresh one."""
    return {
        name: trio.run(work_for_a_member, fixed, clock=trio.testing.MockClock(autojump_threshold=0))
        if fixed.judged == Work._fields
        else trio.run(work_for_a_member, fixed)
        for name, fixed in WORKLOADS.items()
    }


# ----------------------------------------------------------------------------------------------------------------- the table


def table(counted: dict[str, Work]) -> str:
    """A line for each run: its name and members, then its figures, "-" for what is not judged."""
    rows = [["run", "members", *Work._fields]]
    for name, work in counted.items():
        rows.append([name, f"{WORKLOADS[name].members}", *("-" if value is None else f"{value:g}" for value in work)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def main(arguments: list[str]) -> None:
    text = table(count_all())
    sys.stdout.write(text)
    if arguments == ["--update"]:
        head, begin, rest = TABLE.read_text(encoding="utf-8").partition(BEGIN)
        _, end, tail = rest.partition(END)
        TABLE.write_text(head + begin + text + end + tail, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
