"""The small interfaces that the parts meet at. The engine knows implementations by these alone.

Agent: answers one call.  Aggregator: outcomes to one answer.  Guard: may refuse or delay a start.
Store: keeps background runs.  Observer: hears every event.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import trio

from motet.model.agent import AgentInfo, Reply
from motet.model.event import Event
from motet.model.outcome import Failure, Outcome
from motet.model.payload import EMPTY, Payload
from motet.model.plan import Member, Plan
from motet.model.result import RunResult
from motet.model.run import RunPage, RunQuery, RunRecord

# ---------------------------------------------------------------------------------------------------------- agents


class CallHost(Protocol):
    """What stands behind a call: the engine, or a fake."""

    def report(self, call: "Call", report: Payload) -> None: ...

    async def run(
        self,
        call: "Call",
        target: Plan | str,
        input: Payload | None,
        variables: Mapping[str, Payload],
        timeout: float | None,
    ) -> RunResult: ...


class Call:
    """What an agent receives. Each member has its own; nothing in it is shared with another member.

    Not a dataclass: one is made for every member, and what few agents ask for is made when they ask.
    """

    __slots__ = (
        "attempt",
        "deadline",
        "depth",
        "detached",
        "group",
        "host",
        "input",
        "member",
        "run_id",
        "session_id",
        "stop_detail",
        "variable_payloads",
    )

    def __init__(
        self,
        input: Payload = EMPTY,
        *,
        host: CallHost,
        variables: Mapping[str, Payload] | None = None,
        run_id: str = "",
        group: str = "",
        member: str = "",
        session_id: str = "",
        attempt: int = 1,
        depth: int = 0,
        deadline: float = math.inf,
    ) -> None:
        self.input = input
        """What to answer."""
        self.host = host
        self.variable_payloads: Mapping[str, Payload] = variables if variables is not None else {}
        self.run_id = run_id
        self.group = group
        self.member = member
        """Instance name."""
        self.session_id = session_id
        """The conversation; empty means none."""
        self.attempt = attempt
        """From 1."""
        self.depth = depth
        """Of the run this call belongs to; 0 for a run that no other started."""
        self.deadline = deadline
        """On trio's clock; the nearest of member, group, plan and caller; infinite when there is none."""
        self.stop_detail = ""
        """Set by an agent, before it lets a cancellation through, to say in the receipt how it stopped its work."""
        self.detached = ""
        """Set by an agent, before it lets a cancellation through, to name work that it could not stop and that still runs."""

    @property
    def text(self) -> str:
        """The input as text."""
        return self.input.text

    @property
    def value(self) -> Any:
        """The input as a Python value, a new copy each time."""
        return self.input.value

    @property
    def variables(self) -> dict[str, Any]:
        """Variables as Python values, a new copy each time; numbers such as `member_id` arrive as numbers."""
        return {name: payload.value for name, payload in self.variable_payloads.items()}

    def time_left(self) -> float:
        """Seconds until the deadline; infinite when there is none, 0 when it has passed."""
        return max(0.0, self.deadline - trio.current_time())

    def report(self, report: object) -> None:
        """Tell watchers how far the work is. Cheap, never waits; a member that reports very often has reports dropped."""
        self.host.report(self, Payload.of(report))

    async def run(
        self,
        target: Plan | str,
        input: object = None,
        *,
        variables: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> RunResult:
        """Run a group or plan inside this call: one level deeper, within this call's deadline and limits.

        `target` is a plan, or the name of a group in the catalog; without `input` or
        `variables` it gets this call's. While it waits here the call holds no
        width but its own seat in its group. Raises InvalidRequest when the plan is wrong.
        """
        given = self.variable_payloads
        if variables is not None:
            given = {name: Payload.of(value) for name, value in variables.items()}
        own = self.input if input is None else Payload.of(input)
        return await self.host.run(self, target, own, given, timeout)


@runtime_checkable
class Agent(Protocol):
    """Answers one call.

    `call` returns a reply or raises: `AgentError` to choose the reason, anything else becomes AGENT_FAILED. When it is
    cancelled it stops its work, lets `trio.Cancelled` through, and says on the call what it could not stop. An agent
    that holds resources also has `async def aclose(self) -> None`, called once when the engine closes.
    """

    @property
    def info(self) -> AgentInfo: ...

    async def call(self, call: Call, /) -> Reply: ...


# ----------------------------------------------------------------------------------------------------- aggregation


@dataclass(frozen=True, slots=True)
class Roster:
    """The members of a group, as an aggregation sees them before any has ended."""

    names: Sequence[str]
    """Instance names, in declared order."""
    weights: Sequence[float]
    """One for each name."""
    question: Payload = EMPTY
    """What the members were given, for rules that ask an agent about their answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Questions that an aggregation puts to agents before it can answer: a tiebreak, scores, a summary.

    The engine runs them as a group of their own, inside the asking group's deadline and widths, and gives every outcome
    to `then`, in the order of the members, however it ended. A question that is not asked costs nothing: pure rules
    never make one.
    """

    purpose: str
    """Names the questions' group in events and results: `tiebreaker`, `judge`, `summary`, ..."""
    members: Sequence[Member]
    """One for each question, with its agent, input, timeout and a name unique among them. At least one."""
    then: "Callable[[Sequence[Outcome]], Answer]"
    """What the outcomes make of it: pure, like a tally."""
    max_parallel: int | None = None
    """Most questions at once; None means all."""


Answer: TypeAlias = Payload | Failure | Ask
"""What an aggregation says in the end, or what it has to ask before it can."""


class Tally(Protocol):
    """One group's aggregation in progress. Pure and synchronous: it never waits, reads no clock, starts nothing.

    The engine feeds every outcome once, in the order in which members end, and asks after each whether the answer is
    known. Its cost is constant for each outcome, so that a group's is linear.
    """

    def add(self, index: int, outcome: Outcome) -> bool:
        """Take the outcome of the member with this place in declared order. True once the answer, or that there will
        be none, can no longer change whatever the others do."""
        ...

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        """The answer over all outcomes, in declared order, or why there is none, or what has to be asked first."""
        ...


class Aggregator(Protocol):
    """A rule with its options. One serves any number of groups at once."""

    def begin(self, roster: Roster) -> Tally: ...

    @property
    def agents(self) -> Sequence[str]:
        """Names of the catalog's agents that it may ask, so that an unknown one is refused before anything starts."""
        ...


class RuleBook(Protocol):
    """What a rule may look up while it is made: a catalog."""

    @property
    def aggregations(self) -> "Mapping[str, AggregatorType]": ...

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Python functions that options may name: a request cannot bring code, only the name of code."""
        ...


class AggregatorType(Protocol):
    """A rule that a catalog knows by name."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def options_schema(self) -> Mapping[str, Any]:
        """JSON Schema of the options; empty when it takes none."""
        ...

    @property
    def decides_early(self) -> bool: ...

    def make(self, options: Mapping[str, Any], book: RuleBook, /) -> Aggregator:
        """Raises ValueError, with a sentence that names the option, when the options are wrong."""
        ...


# ---------------------------------------------------------------------------------------------------------- guards


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a guard knows of a start that is asked for. Members of one agent in one group share a ticket."""

    agent: AgentInfo
    run_id: str
    group: str
    depth: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admit:
    """The guard has nothing against it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. The guard names `key` again, from `ended` or `paused`, when it may have room."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never: the member is SKIPPED with this failure."""

    failure: Failure


Admission: TypeAlias = Admit | Wait | Refuse

ADMIT = Admit()


class Guard:
    """May refuse or delay the start of a member. All moments are synchronous; waiting is the engine's.

    `may_start` only looks. When all guards admit, `started` is called on each at once, so a start is granted whole or
    not at all. `ended` follows each `started` exactly once. A call that runs a nested group is `paused` meanwhile, and
    `resumed` when `may_resume` admits. `ended` and `paused` return the keys that may have room now.
    """

    name: str = "guard"

    def may_start(self, ticket: Ticket) -> Admission:  # noqa: ARG002 - for those who override it
        return ADMIT

    def started(self, ticket: Ticket) -> None:  # noqa: ARG002 - for those who override it
        return None

    def ended(self, ticket: Ticket) -> Sequence[Hashable]:  # noqa: ARG002 - for those who override it
        return ()

    def paused(self, ticket: Ticket) -> Sequence[Hashable]:  # noqa: ARG002 - for those who override it
        return ()

    def may_resume(self, ticket: Ticket) -> Admission:  # noqa: ARG002 - for those who override it
        return ADMIT

    def resumed(self, ticket: Ticket) -> None:  # noqa: ARG002 - for those who override it
        return None

    def statistics(self) -> Mapping[str, Any]:
        """What is in use, for `engine.statistics()`."""
        return {}


# ----------------------------------------------------------------------------------------------- store, observers


class Store(Protocol):
    """Keeps background runs: their records, events and results. Bounded: it may forget ended runs, oldest first, but
    never a run that has not ended. Each method is one atomic step."""

    async def create(self, record: RunRecord) -> RunRecord | None:
        """Keep a new run; None when kept. When the record's request_id belongs to a run that is kept, keep nothing
        and return that run's record. Raises Exhausted when every run kept is still running and no more fit."""
        ...

    async def append(self, run_id: str, events: Sequence[Event]) -> None:
        """Add events, which follow those kept without a gap. Raises NotFound."""
        ...

    async def finish(self, run_id: str, record: RunRecord) -> None:
        """Replace the record of a running run by that of its end, result included. Raises NotFound."""
        ...

    async def get(self, run_id: str) -> RunRecord | None:
        """The record, with the result once the run has ended; None when it is not kept."""
        ...

    async def list(self, query: RunQuery) -> RunPage:
        """One page of records. Raises InvalidRequest for a page token that is not one."""
        ...

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` kept events with a sequence above `after`, in order. Raises NotFound."""
        ...

    async def aclose(self) -> None:
        """Release what the store holds. Nothing may be called after."""
        ...


Observer: TypeAlias = Callable[[str, Event], None]
"""Hears every event of every run, as (run_id, event), at the moment it happens. Synchronous and quick; an observer that
raises is logged and not called again."""
