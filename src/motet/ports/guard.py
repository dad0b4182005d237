"""Guard: may refuse or delay the start of a run, or of one attempt of a member."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from motet.model.agent import AgentInfo
from motet.model.limit_use import LimitUse
from motet.model.outcome import AttemptKind, Failure, Outcome
from motet.model.plan import Limits
from motet.model.quota_use import QuotaUse
from motet.model.usage import Usage


class Profile(Protocol):
    """What is known of one agent's calls: what its card declares until it has been seen, then what it really used. Live:
    the figures move while the engine runs. None means not known."""

    @property
    def cost_nanos(self) -> int | None:
        """Billionths of a US dollar that a call is expected to cost; None also for an agent whose replies name no price."""
        ...

    @property
    def tokens(self) -> int | None:
        """Tokens that a call is expected to use, input and output together."""
        ...

    @property
    def seen(self) -> bool:
        """A call of it has ended and told what it used, or the card says what to expect: where a figure is None all the
        same, there will be none."""
        ...

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share, 0 to 1, of its last successful calls have answered."""
        ...

    @property
    def failing(self) -> bool:
        """More than half of its last calls failed."""
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """What members of one agent in one group share when they ask to start."""

    agent: AgentInfo
    run_id: str
    group: str
    depth: int
    labels: Mapping[str, str] = field(default_factory=dict)
    tenant: str = ""
    """Empty means nobody's account."""
    profile: "Profile | None" = None
    """None in tests of guards that do not look at it."""
    course: "Course | None" = None
    """What its starts pass; None: the guards of `scopes`, and all of the engine's."""
    scopes: "tuple[Guard, ...]" = ()
    """Guards of the group, its run, the runs around it and its tenant, asked beside the engine's own."""


class Start:
    """One attempt of a member: what asks to start and, once it has, runs. Compared by identity. Not a dataclass: one is
    made for every member."""

    __slots__ = ("deadline", "kind", "ticket")

    def __init__(self, ticket: Ticket, kind: AttemptKind = AttemptKind.FIRST, deadline: float = math.inf) -> None:
        self.ticket = ticket
        self.kind = kind
        self.deadline = deadline
        """On trio's clock."""


@dataclass(frozen=True, slots=True)
class End:
    """How one attempt ended."""

    usage: Usage
    """Its own, without groups that it ran: those were starts of their own."""
    ran: float
    """Seconds."""
    fault: bool | None = None
    """True: the agent failed by itself, or was slower than its own timeout. False: it answered. None: it was stopped by
    others, which says nothing about it."""


@dataclass(frozen=True, slots=True)
class RunTicket:
    """What a guard knows of a run that asks to start."""

    run_id: str
    tenant: str
    depth: int
    max_depth: int
    members: int
    """Members of its plan, with those of the runs around it so far."""
    max_members: int
    nested: bool = False
    """It runs inside a member of another run."""


@dataclass(frozen=True, slots=True)
class Admit:
    """The guard has nothing against it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. The guard names `key` again, from `ended` or `paused`, when it may have room."""

    key: Hashable
    until: float = math.inf
    """On trio's clock: when it may have room without anything ending; infinite when only an end makes room."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never: the member is SKIPPED with this failure."""

    failure: Failure


Admission: TypeAlias = Admit | Wait | Refuse

ADMIT = Admit()


class Guard:
    """May refuse or delay the start of a run or of an attempt. All moments are synchronous; waiting is the engine's. `now` is
    on trio's clock.

    `may_start` only looks. When all guards admit, `started` is called on each at once, so a start is granted whole or
    not at all. `ended` follows each `started` exactly once, save for a start that ends while it is paused: `paused` was
    then its last moment but `settled`. A call that waits for a nested run is `paused` meanwhile, and `resumed` when
    `may_resume` admits. `settled` follows every started attempt exactly once, after `ended` or the last `paused`, with
    what it used. `ended`, `paused` and `settled` return the keys that may have room now.
    """

    name: str = "guard"
    inherited: bool = True
    """Of a guard that was made for a scope: whether runs inside it ask it too."""

    def concerns(self, agent: AgentInfo, tenant: str, *, repeats: bool) -> bool:  # noqa: ARG002 - for those who override it
        """Whether starts of this agent on this tenant's account can matter to it; one that they do not is told nothing of
        them. `repeats` says that the member may call its agent more than once. Asked once for each agent of a group."""
        return True

    def may_run(self, run: RunTicket, now: float) -> Admission:  # noqa: ARG002 - for those who override it
        """Admit or Refuse, before anything of the run starts; a run never waits here."""
        return ADMIT

    def run_started(self, run: RunTicket, now: float) -> None:  # noqa: ARG002 - for those who override it
        return None

    def run_ended(self, run: RunTicket, now: float) -> None:  # noqa: ARG002 - for those who override it
        return None

    def may_start(self, start: Start, now: float) -> Admission:  # noqa: ARG002 - for those who override it
        return ADMIT

    def started(self, start: Start, now: float) -> None:  # noqa: ARG002 - for those who override it
        return None

    def ended(self, start: Start, now: float) -> Sequence[Hashable]:  # noqa: ARG002 - for those who override it
        return ()

    def paused(self, start: Start, now: float) -> Sequence[Hashable]:  # noqa: ARG002 - for those who override it
        return ()

    def may_resume(self, start: Start, now: float) -> Admission:  # noqa: ARG002 - for those who override it
        return ADMIT

    def resumed(self, start: Start, now: float) -> None:  # noqa: ARG002 - for those who override it
        return None

    def settled(self, start: Start, end: End, now: float) -> Sequence[Hashable]:  # noqa: ARG002 - for those who override it
        return ()

    def member_ended(self, outcome: Outcome) -> None:  # noqa: ARG002 - for those who override it
        """The outcome of a member of the scope that this guard was made for. Only told to guards of a group."""
        return

    def uses(self) -> Sequence[LimitUse]:
        """What is in use now, for `engine.limits()`."""
        return ()


class Course:
    """Guards put together for starts that pass them again and again: of each moment those guards that look at it."""

    __slots__ = ("ended", "guards", "may_start", "settled", "started")

    def __init__(self, guards: "Sequence[Guard]") -> None:
        self.guards = tuple(guards)
        """All, in the order in which they are asked."""
        self.may_start = [guard.may_start for guard in guards if type(guard).may_start is not Guard.may_start]
        self.started = [guard.started for guard in guards if type(guard).started is not Guard.started]
        self.ended = [guard.ended for guard in guards if type(guard).ended is not Guard.ended]
        self.settled = [guard.settled for guard in guards if type(guard).settled is not Guard.settled]


@dataclass(frozen=True, slots=True)
class Scope:
    """What limits are for: one group that runs, one run, or one tenant's account in one run."""

    kind: str
    """group or run."""
    name: str
    """Of the group; of a run its id."""
    run_id: str
    members: int = 0
    """Of the group, replicas counted."""


class GuardsOf(Protocol):
    """Makes the guards of a scope from its limits; nothing for limits that bound nothing."""

    def __call__(self, scope: Scope, limits: Limits, breached: Callable[[Failure, bool], None], /) -> "Sequence[Guard]":
        """A guard calls `breached`, at most once, with the failure and whether what runs is to be cancelled, at the moment
        from which it admits nothing more."""
        ...


class Account(Protocol):
    """What a guard that must outlive the process gives to the engine, which keeps it in the store."""

    changed: Callable[[], None]
    """Set by the engine: to be called when `taken` has something new to give."""

    def taken(self) -> Sequence[QuotaUse]:
        """What was used since the last call, by tenant and window; it counts as handed over."""
        ...

    def known(self, totals: Sequence[QuotaUse]) -> None:
        """What the store knows, use by other processes included, after it has taken what was handed over. Raises nothing."""
        ...

    def wanted(self, tenant: str) -> Sequence[QuotaUse]:
        """Empty uses, one for each window of this tenant whose total the store has not told yet; empty when all are known
        or the tenant is not bounded."""
        ...
