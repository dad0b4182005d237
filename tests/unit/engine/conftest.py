"""Crashes without processes: a store that several engines share and whose holders can die, and runs of many kinds to cut.
Knows engines only from outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio

import motet
from motet import Group, GroupAgent, HedgePolicy, Idempotency, Limits, Member, OnBreach, Parallel, RetryPolicy
from motet import Sequence as Steps
from motet.errors import AgentError, LeaseLost
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.event import Event
from motet.model.payload import Payload
from motet.model.plan import Plan
from motet.model.run import RunQuery, RunRecord, RunRequest
from motet.model.state import State
from motet.ports import Adopted, Call
from motet.store import codec
from motet.store.memory import MemoryStore
from motet.testing import AskingRule, ScriptedAgent


class Disk:
    """What outlives engines: the runs of one store, in the form in which a file would keep them, and who holds each."""

    def __init__(self) -> None:
        self.data = MemoryStore()
        self.requests: dict[str, str | None] = {}
        self.holders: dict[str, tuple[SharedStore | None, int]] = {}
        """By run: the holder, and its epoch."""
        self.broken: Exception | None = None
        """Raised by every write while it is set."""
        self.unreadable: dict[str, Exception] = {}
        """By run: raised when its events are read."""

    def open(self) -> "SharedStore":
        return SharedStore(self)

    async def leave(self, record: RunRecord, request: RunRequest | None, events: Sequence[Event]) -> None:
        """Keep a run as a process leaves it that is killed after these events."""
        await self.data.create(record)
        self.requests[record.run_id] = None if request is None else codec.encode_request(request)
        self.holders[record.run_id] = (None, 1)
        await self.data.append(record.run_id, [codec.decode_event(codec.encode_event(event)) for event in events])


class SharedStore:
    """One holder's door to a disk."""

    shared = True

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.alive = True
        self.writes = 0
        """Calls of `append` and `finish`, whatever came of them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.disk.data, name)

    def die(self) -> None:
        """From now on this holder is gone; what its engine still writes is refused."""
        self.alive = False

    async def create(self, record: RunRecord, request: RunRequest | None = None) -> RunRecord | None:
        self._check()
        known = await self.disk.data.create(record)
        if known is None:
            self.disk.holders[record.run_id] = (self, 1)
            self.disk.requests[record.run_id] = None if request is None else codec.encode_request(request)
        return known

    async def append(self, run_id: str, events: Sequence[Event], epoch: int = 1) -> None:
        self.writes += 1
        self._check(run_id, epoch)
        await self.disk.data.append(run_id, [codec.decode_event(codec.encode_event(event)) for event in events])

    async def finish(self, run_id: str, record: RunRecord, epoch: int = 1) -> None:
        self.writes += 1
        self._check(run_id, epoch)
        await self.disk.data.finish(run_id, codec.decode_record(codec.encode_record(record)))

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        if run_id in self.disk.unreadable:
            raise self.disk.unreadable[run_id]
        return await self.disk.data.events(run_id, after, limit)

    async def adopt(self, limit: int = 100) -> Sequence[Adopted]:
        self._check()
        page = await self.disk.data.list(RunQuery(states=frozenset({State.RUNNING}), limit=1000))
        adopted: list[Adopted] = []
        for record in page.runs:
            holder, epoch = self.disk.holders[record.run_id]
            if (holder is None or not holder.alive) and len(adopted) < limit:
                self.disk.holders[record.run_id] = (self, epoch + 1)
                text = self.disk.requests[record.run_id]
                request = None if text is None else codec.decode_request(text)
                adopted.append(Adopted(record, request, epoch + 1))
        return adopted

    async def asked_stops(self) -> Sequence[str]:
        asked = await self.disk.data.asked_stops()
        return [run_id for run_id in asked if self.disk.holders[run_id][0] is self]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.die()

    def _check(self, run_id: str = "", epoch: int = 0) -> None:
        if self.disk.broken is not None:
            raise self.disk.broken
        if not self.alive or (run_id and self.disk.holders[run_id] != (self, epoch)):
            raise LeaseLost(f"another holds run {run_id}")


class Trier:
    """An agent that tells attempts apart: `takes` seconds, and an error where `fails` says so of the attempt's number."""

    def __init__(
        self,
        name: str,
        *,
        takes: Callable[[int], float] = lambda _: 1.0,
        fails: Callable[[int], bool] = lambda _: False,
        replay_safe: bool | None = None,
        nested: str = "",
    ) -> None:
        self.info = AgentInfo(name=name, kind=AgentKind.FUNCTION, replay_safe=replay_safe)
        self.calls: list[Call] = []
        self._takes = takes
        self._fails = fails
        self._nested = nested

    async def call(self, call: Call, /) -> Reply:
        self.calls.append(call)
        if self._nested:
            await call.run(self._nested, f"try {call.attempt}")
            await call.run(self._nested, "again")
        await trio.sleep(self._takes(call.attempt))
        if self._fails(call.attempt):
            raise AgentError("not this time", reason="BUSY", retryable=True)
        return Reply(Payload.of(f"{call.member} tried"))


@dataclass
class Scenario:
    """A run of some kind."""

    name: str
    plan: Plan
    options: dict[str, Any] = field(default_factory=dict)
    """Of `engine.start`."""
    cancel_after: float | None = None
    """Seconds after which it is cancelled the first time."""

    def catalog(self) -> motet.Catalog:
        """A new one, with agents that have not been called."""
        catalog = motet.Catalog()
        catalog.add(
            ScriptedAgent("a", delay=1, reply="a"),
            ScriptedAgent("b", delay=2, reply="b", progress=["half"]),
            ScriptedAgent("c", delay=3, reply="c"),
            ScriptedAgent("bad", delay=1.5, error=AgentError("it broke", reason="BROKEN")),
            ScriptedAgent("endless", delay=1e6),
            ScriptedAgent("twice", delay=0.5, nested="pair"),
            GroupAgent("nests", "pair"),
            GroupAgent("deep", "outer"),
            ScriptedAgent("one_at_a_time", delay=1, max_parallel=1),
            Trier("never", fails=lambda _: True),
            Trier("once", replay_safe=False),
            Trier("once_or_again", fails=lambda attempt: attempt < 2, replay_safe=False),
            Trier("flaky", fails=lambda attempt: attempt < 3),
            Trier("runs", fails=lambda attempt: attempt < 2, nested="pair"),
            Trier("slow_first", takes=lambda attempt: 5.0 if attempt == 1 else 0.5, replay_safe=True),
        )
        catalog.add_group(Group("pair", ["a", "b"]))
        catalog.add_group(Group("outer", ["nests", "a"]))
        catalog.add_aggregation(AskingRule("b", rounds=2, questions=2))
        catalog.check()
        return catalog


TRIES = RetryPolicy(max_attempts=4, initial_backoff=0.5, jitter=0.0)
SCENARIOS = (
    Scenario("wide", Group("g", ["a", "b", "c", "bad"], timeout=60)),
    Scenario("narrow", Group("g", [Member("a", replicas=4), "bad", "b"], max_parallel=2)),
    Scenario("steps", Steps([Group("one", ["a", "b"]), Group("two", ["c"]), Group("three", ["a"])], feed_forward=True)),
    Scenario(
        "a step fails", Steps([Group("one", ["a"]), Group("two", ["bad"]), Group("three", ["a"])], feed_forward=True)
    ),
    Scenario("branches", Parallel([Group("left", ["a", "c"]), Steps([Group("up", ["b"]), Group("down", ["a"])])])),
    Scenario("nested", Group("g", ["nests", "twice", "c"])),
    Scenario("deeper", Group("g", ["deep", "a"], timeout=30)),
    Scenario("retries", Group("g", ["flaky", "a", "bad"], retry=TRIES)),
    Scenario("retries used up", Group("g", ["never", "flaky"], retry=replace(TRIES, max_attempts=3))),
    Scenario("not to be repeated", Group("g", ["once", "a", "once"], max_parallel=2)),
    Scenario("not to be repeated but retried", Group("g", ["once_or_again", "once"], retry=TRIES)),
    Scenario("held back", Group("g", [Member("one_at_a_time", replicas=3), "c", "a"], max_parallel=2)),
    Scenario("retries of nested", Group("g", ["runs", "c"], retry=TRIES)),
    Scenario("hedged", Group("g", ["slow_first", "a"], hedge=HedgePolicy(delay=1.0))),
    Scenario("decided", Group("g", ["a", "b", "c", Member("endless", name="e")], motet.Aggregation("first"))),
    Scenario("decided and waiting", Group("g", ["a", "b", "c"], motet.Aggregation("first"), max_parallel=1)),
    Scenario("asks", Group("g", ["a", "bad"], motet.Aggregation("asking"))),
    Scenario("cancelled", Group("g", ["a", "nests", "c"], max_parallel=2), cancel_after=2.5),
    Scenario("timed out", Group("g", ["a", "c", Member("b", timeout=1), Member("a", timeout=0)], timeout=2.5)),
    Scenario(
        "of the plan timed out",
        Steps([Group("one", ["a"]), Parallel([Group("two", ["deep"]), Group("three", ["b"])])], timeout=2.5),
    ),
    Scenario(
        "of the run timed out", Steps([Group("one", ["a", "nests"]), Group("two", ["c", "deep"])]), {"timeout": 4.0}
    ),
    Scenario(
        "calls timed out",
        Group(
            "g", [Member("flaky", timeout=2.7), Member("never", timeout=3.1), Member("nests", timeout=1.5)], retry=TRIES
        ),
    ),
    Scenario(
        "too many failures",
        Group(
            "g",
            [Member("bad", replicas=3), Member("a", replicas=4)],
            max_parallel=2,
            limits=Limits(max_failure_rate=0.3, min_samples=2),
        ),
    ),
    Scenario(
        "breached",
        Group("g", ["flaky", "runs", "c"], retry=TRIES, limits=Limits(max_calls=5, on_breach=OnBreach.CANCEL)),
    ),
    Scenario("majority", Group("g", ["a", "b", "c", "bad", "nests"], "majority")),
    Scenario("limited", Group("g", [Member("a", replicas=4)], max_parallel=1, limits=Limits(max_calls=2))),
    Scenario("of the run limited", Group("g", ["nests", "c", "a"], max_parallel=1), {"limits": Limits(max_calls=4)}),
    Scenario("keyed", Group("g", ["a", "b", "bad"], idempotency=Idempotency())),
)


@dataclass(frozen=True)
class Told:
    """A run that went to its end: what the store had of it."""

    record: RunRecord
    """As it was at the start."""
    request: RunRequest | None
    events: list[Event]


async def tell(scenario: Scenario) -> Told:
    """Run a scenario to its end. In mock time."""
    disk = Disk()
    async with motet.open_engine(scenario.catalog(), store=disk.open()) as engine:
        started = await engine.start(scenario.plan, "hello", **scenario.options)
        if scenario.cancel_after is not None:
            await trio.sleep(scenario.cancel_after)
            await engine.cancel(started.run_id)
        async with engine.watch(started.run_id) as stream:
            events = [event async for event in stream]
        record = await engine.get(started.run_id)
    text = disk.requests[started.run_id]
    assert text is not None
    running = replace(record, state=State.RUNNING, ended_at=None, last_sequence=0, result=None)
    return Told(running, codec.decode_request(text), events)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "_"))
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Each kind of run."""
    chosen: Scenario = request.param
    return chosen


@pytest.fixture
async def told(scenario: Scenario) -> Told:
    """The run of the scenario, as it went when nothing died. The test itself has to ask for the clock."""
    return await tell(scenario)
