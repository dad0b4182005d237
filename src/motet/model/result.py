"""How groups and runs ended, with every outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from motet.errors import RunFailed
from motet.model import usage as _usage
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.state import State
from motet.model.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts over the members of a group or a run; nested groups count by themselves."""

    members: int = 0
    """Replicas counted."""
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    skipped: int = 0
    detached: int = 0
    """Members whose receipt says DETACHED."""
    peak_running: int = 0
    """Most members that ran at the same moment."""
    ran: float = 0.0
    """Sum of run times, in seconds."""
    queued: float = 0.0
    """Sum of queue times, in seconds."""
    progress_dropped: int = 0
    """Progress reports that were not made events because a member sent too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What an early decision spared: members that did not start, or did not have to finish."""

    members: int = 0
    """Members that ended SKIPPED or CANCELLED with reason DECIDED."""
    calls: int = 0
    """Those of them that had not started: calls that were never made."""
    cost_nanos: int = 0
    """What the calls that were never made were expected to cost, in billionths of a US dollar, by their agents' cards."""
    unpriced_calls: int = 0
    """Calls that were never made and whose cost is not known; they are not in `cost_nanos`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """How one group ended."""

    name: str
    state: State
    """SUCCEEDED if and only if `aggregate` is set; otherwise FAILED, TIMED_OUT, CANCELLED or SKIPPED."""
    aggregate: Payload | None = None
    """The answer."""
    failure: Failure | None = None
    """Why there is no answer; set if and only if `state` is not SUCCEEDED."""
    outcomes: tuple[Outcome, ...] = ()
    """One for each member, in declared order, whatever happened."""
    decided_early: bool = False
    """The answer was known before every member had ended, and the rest were stopped."""
    elapsed: float = 0.0
    """Seconds from the group's start to its end; 0 when it never started."""
    stats: Stats = field(default_factory=Stats)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The group's own, as given."""
    parent: str = ""
    """Empty in the plan itself, else the chain of group/member seats that led here, as in `Event.parent`."""
    usage: Usage = _usage.NONE
    """Sum over the members, and over what the aggregation asked."""
    asked: "tuple[GroupResult, ...]" = ()
    """Groups of questions that the aggregation put to agents, in order; their `parent` ends in `/@` and the purpose is
    their name."""
    saved: Saved | None = None
    """Set if and only if `decided_early`."""

    def __getitem__(self, member: str) -> Outcome:
        """The outcome of the member with this instance name. Raises KeyError."""
        for outcome in self.outcomes:
            if outcome.member == member:
                return outcome
        raise KeyError(member)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended. A run whose members failed has a result too."""

    run_id: str
    state: State
    """SUCCEEDED if and only if every group has an answer; otherwise FAILED, TIMED_OUT or CANCELLED."""
    output: Payload | None = None
    """A group's answer, a sequence's last, a parallel's object from group name to answer; None when it has none."""
    groups: tuple[GroupResult, ...] = ()
    """All groups of the plan, in declared order, those that never started included."""
    usage: Usage = _usage.NONE
    failure: Failure | None = None
    """Why the run did not succeed; set if and only if `state` is not SUCCEEDED."""
    started_at: datetime
    """By the wall clock, in UTC. A record only: nothing is decided by it."""
    elapsed: float = 0.0
    """Seconds from start to end."""
    stats: Stats = field(default_factory=Stats)

    @property
    def succeeded(self) -> bool:
        return self.state is State.SUCCEEDED

    def __getitem__(self, group: str) -> GroupResult:
        """The result of the plan's group with this name. Raises KeyError."""
        for result in self.groups:
            if result.name == group:
                return result
        raise KeyError(group)

    def unwrap(self) -> Any:
        """The output as a Python value. Raises RunFailed when the run did not succeed."""
        if self.state is State.SUCCEEDED and self.output is not None:
            return self.output.value
        failure = self.failure or Failure("RUN_FAILED", "the run has no output")
        raise RunFailed(failure.message, reason=failure.reason, result=self)
