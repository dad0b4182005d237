"""The numbered facts of a run. They are in order, without gaps, from 1; the last is the run's end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from motet_client._payload import Payload
from motet_client._result import Attempt, AttemptKind, Failure, GroupResult, Outcome, State, Stats, Usage


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event of each run."""

    run_id: str
    started_at: datetime
    """By the server's clock, in UTC."""
    members: int
    """Of all groups, replicas counted."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupStarted:
    """A group begins."""

    members: int
    """Replicas counted."""
    seats: tuple[tuple[str, str], ...]
    """(instance name, agent name) of the first members, at most 1,000, in declared order."""
    fingerprint: str = ""
    """Of the request that a nested group came from, in background runs; empty in the plan itself."""


@dataclass(frozen=True, slots=True)
class MemberStarted:
    """A member's agent is called."""

    agent: str
    queued: float
    """Seconds since the group's start."""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A member's agent is called once more: again, or beside the call that runs."""

    number: int
    """From 2."""
    kind: AttemptKind


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """One attempt of a member that makes several has ended. Each of them has this event, the first included, before the
    member's end."""

    attempt: Attempt
    retry_in: float | None = None
    """Seconds until the next attempt; None means that this end brings none."""


@dataclass(frozen=True, slots=True)
class MemberProgress:
    """A member reports on its way."""

    report: Payload


@dataclass(frozen=True, slots=True)
class MemberEnded:
    """A member has ended, or was skipped without a start."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class GroupEnded:
    """A group has ended; every member of it has. `result` is without the outcomes, which the members' events carried."""

    result: GroupResult


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The last event of each run."""

    state: State
    failure: Failure | None
    usage: Usage
    stats: Stats


Detail: TypeAlias = (
    RunStarted
    | GroupStarted
    | MemberStarted
    | AttemptStarted
    | AttemptEnded
    | MemberProgress
    | MemberEnded
    | GroupEnded
    | RunEnded
)


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered fact about a run."""

    sequence: int
    """From 1. Numbers are missing only where the server sent a kind that this client does not know."""
    elapsed: float
    """Seconds since the run's start."""
    detail: Detail
    """What happened."""
    group: str = ""
    """Empty in events of the run."""
    member: str = ""
    """Instance name; empty in events of the run or the group."""
    parent: str = ""
    """Empty in the plan itself, else the chain of group/member seats that led to the group."""
