"""How members, groups and runs ended. Field names are those of the engine's own results; nothing here knows the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from motet_client._errors import RunFailed
from motet_client._payload import Payload


class State(StrEnum):
    """The state of a run, a group or a member."""

    QUEUED = "QUEUED"
    """Accepted, not yet started."""
    RUNNING = "RUNNING"
    """Started, not yet ended."""
    SUCCEEDED = "SUCCEEDED"
    """Ended with an answer."""
    FAILED = "FAILED"
    """Ended without one."""
    TIMED_OUT = "TIMED_OUT"
    """Started, and its deadline passed."""
    CANCELLED = "CANCELLED"
    """Started, and was stopped by the caller or because the answer was decided."""
    SKIPPED = "SKIPPED"
    """Never started."""

    @property
    def ended(self) -> bool:
        """Nothing follows this state."""
        return self not in (State.QUEUED, State.RUNNING)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something has no answer."""

    reason: str
    """Stable and upper case."""
    message: str
    """One sentence for a person."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for a program, by reason: `http_status`, `exit_code`, `retry_after_seconds`, ..."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class StopKind(StrEnum):
    """What became of a member that was asked to stop."""

    STOPPED = "STOPPED"
    """Nothing of it runs any more."""
    DETACHED = "DETACHED"
    """Something of it could not be stopped and may still run."""


@dataclass(frozen=True, slots=True)
class StopReceipt:
    """Proof of what became of a member that was cancelled or timed out."""

    kind: StopKind
    took: float
    """Seconds from the moment the stop was asked to the moment it was known."""
    detail: str = ""
    """What was stopped, or what still runs; empty means nothing to add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Calls, tokens and money, of one call or of many added up."""

    calls: int = 0
    """Calls of agents, nested ones included."""
    input_tokens: int = 0
    """Tokens read by models."""
    output_tokens: int = 0
    """Tokens written by models."""
    cost_nanos: int = 0
    """Money of the calls whose price is known, in billionths of a US dollar."""
    unpriced_calls: int = 0
    """Calls whose price is not known; they are not in `cost_nanos`."""


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


class AttemptKind(StrEnum):
    """Why an attempt was made."""

    FIRST = "FIRST"
    RETRY = "RETRY"
    """The one before had failed."""
    HEDGE = "HEDGE"
    """Beside one that was slow."""
    RESUME = "RESUME"
    """The one before was running when its server's process ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one attempt of a member ended."""

    number: int
    """From 1, in the order in which they started."""
    kind: AttemptKind
    state: State
    """SUCCEEDED, FAILED, TIMED_OUT or CANCELLED."""
    failure: Failure | None = None
    """Set if and only if `state` is not SUCCEEDED."""
    started: float = 0.0
    """Seconds from the member's start to the attempt's."""
    ran: float = 0.0
    """Seconds from the attempt's start to its end."""
    usage: Usage = field(default_factory=Usage)
    """Its own, without groups that it ran."""
    stop: StopReceipt | None = None
    """Set if and only if `state` is CANCELLED or TIMED_OUT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one member ended."""

    member: str
    """Instance name, unique in the group."""
    agent: str
    state: State
    """One of the five ends."""
    output: Payload | None = None
    """What the agent said; set if and only if `state` is SUCCEEDED."""
    failure: Failure | None = None
    """Why there is no output; set if and only if `state` is not SUCCEEDED."""
    attempts: int = 1
    """Attempts made; 0 if and only if `state` is SKIPPED or the output is `cached`."""
    queued: float = 0.0
    """Seconds from the group's start to the member's, or to the moment it was skipped."""
    ran: float = 0.0
    """Seconds from the member's start to its end."""
    usage: Usage = field(default_factory=Usage)
    """What the member used, descendants included."""
    cached: bool = False
    """The output came from an earlier call with the same key."""
    stop: StopReceipt | None = None
    """Set if and only if `state` is CANCELLED or TIMED_OUT."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the agent added to its reply: JSON values."""
    nested: "tuple[GroupResult, ...]" = ()
    """Groups that the member ran itself, in the order in which they started."""
    attempt_log: tuple[Attempt, ...] = ()
    """Every attempt, by number, when there was more than one; else empty."""

    @property
    def succeeded(self) -> bool:
        return self.state is State.SUCCEEDED


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
    """Empty in the plan itself, else the chain of group/member seats that led here."""
    usage: Usage = field(default_factory=Usage)
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
    usage: Usage = field(default_factory=Usage)
    failure: Failure | None = None
    """Why the run did not succeed; set if and only if `state` is not SUCCEEDED."""
    started_at: datetime
    """By the server's clock, in UTC."""
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
