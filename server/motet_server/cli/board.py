"""Where every member of a run stands, folded from the events. Pure: it draws nothing and reads no clock."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from motet_server.cli import attempts, inner

SAID = 2000
"""Characters of what a model has written that are kept."""
QUEUED, RUNNING = "QUEUED", "RUNNING"
MAX_ROWS = 1000
"""Members of a group that keep a row after they have ended: as many as the event of the start names."""


@dataclass(slots=True)
class Row:
    """One member."""

    member: str
    agent: str = ""
    state: str = QUEUED
    queued: float = 0.0
    """Seconds it waited; 0 while it is queued."""
    started: float = 0.0
    """Seconds since the run's start."""
    ran: float = 0.0
    """Seconds it ran; 0 while it runs."""
    note: Any = None
    """The last progress report, a payload; then the outcome."""
    attempt: int = 1
    """The newest attempt that has started."""
    kind: str = ""
    """Why that one was made: RETRY, HEDGE or RESUME; empty for the first."""
    due: float | None = None
    """When the next attempt starts, in seconds since the run's start; None while one runs."""
    failed: str = ""
    """The reason of the failure that the next attempt follows."""
    doing: str = ""
    """What a model agent is at: its turn, or the tools that it has called."""
    said: str = ""
    """The end of what a model has written so far."""


@dataclass(slots=True)
class GroupBoard:
    """One group."""

    name: str
    parent: str
    members: int
    started: float
    rows: dict[str, Row] = field(default_factory=dict)
    """In declared order. Of a group above MAX_ROWS only those that run."""
    states: Counter[str] = field(default_factory=Counter)
    """Members that run or have ended, by state."""
    limits: Counter[str] = field(default_factory=Counter)
    """Members that a limit kept from starting or stopped, by its reason."""
    state: str = RUNNING

    @property
    def small(self) -> bool:
        return self.members <= MAX_ROWS

    @property
    def waiting(self) -> int:
        return max(0, self.members - self.states.total())

    @property
    def ended(self) -> int:
        return self.states.total() - self.states[RUNNING]


class Board:
    """The whole run. Feed it every event in order."""

    def __init__(self) -> None:
        self.run_id = ""
        self.members = 0
        """Of the plan's groups, nested ones not counted."""
        self.ended = 0
        self.elapsed = 0.0
        """Of the newest event."""
        self.last_sequence = 0
        self.state = QUEUED
        self.groups: dict[tuple[str, str], GroupBoard] = {}

    def apply(self, event: Any) -> None:
        self.elapsed = event.elapsed
        self.last_sequence = event.sequence
        if inner.sort(event.parent, event.group):
            self._inner(event, event.detail)
        else:
            self._outer(event, event.detail)

    def _outer(self, event: Any, detail: Any) -> None:
        # By name: the engine's events and the client's are different classes with the same names and fields.
        match type(detail).__name__:
            case "RunStarted":
                self.run_id, self.members, self.state = detail.run_id, detail.members, RUNNING
            case "GroupStarted":
                self._group_started(event, detail)
            case "MemberStarted":
                self._member_started(event, detail)
            case "AttemptStarted":
                self._attempt_started(event, detail)
            case "AttemptEnded":
                self._attempt_ended(event, detail)
            case "MemberProgress":
                self._progress(self._row(event)[1], detail.report)
            case "MemberEnded":
                self._member_ended(event, detail.outcome)
            case "GroupEnded":
                self._group_ended(event, detail)
            case "RunEnded":
                self.state = str(detail.state)

    def _inner(self, event: Any, detail: Any) -> None:
        """A group that a model agent made of a turn or of tools: shown in the agent's own row."""
        above, name, member = inner.owner(event.parent)
        group = self.groups.get((above, name))
        row = group.rows.get(member) if group is not None else None
        if row is None:
            return
        match type(detail).__name__:
            case "GroupStarted":
                runs_tools = inner.sort(event.parent, event.group) == "tools"
                tools = ", ".join(dict.fromkeys(agent for _, agent in detail.seats)) if runs_tools else ""
                row.doing, row.said = ": ".join(filter(None, (event.group.replace("_", " "), tools))), ""
            case "AttemptStarted":
                row.said = ""
            case "MemberProgress" if inner.delta(detail.report) is not None:
                self._progress(row, detail.report)

    @staticmethod
    def _progress(row: Row, report: Any) -> None:
        piece = inner.delta(report)
        if piece is None:
            row.note = report
        else:
            row.said = (row.said + piece)[-SAID:]

    def _group_started(self, event: Any, detail: Any) -> None:
        group = GroupBoard(event.group, event.parent, detail.members, event.elapsed)
        if group.small:
            group.rows = {member: Row(member, agent) for member, agent in detail.seats}
        self.groups[event.parent, event.group] = group

    def _row(self, event: Any) -> tuple[GroupBoard, Row]:
        key = (event.parent, event.group)
        if key not in self.groups:  # a watch that began after the group's start
            self.groups[key] = GroupBoard(event.group, event.parent, 0, event.elapsed)
        group = self.groups[key]
        return group, group.rows.setdefault(event.member, Row(event.member))

    def _member_started(self, event: Any, detail: Any) -> None:
        row = self._running(event, detail.queued)
        row.agent, row.attempt = detail.agent, max(row.attempt, detail.attempt)

    def _running(self, event: Any, queued: float = 0.0) -> Row:
        """The row of a member that runs; a further attempt starts within the same run of the member."""
        group, row = self._row(event)
        if row.state != RUNNING:
            group.states[RUNNING] += 1
            row.state, row.started, row.queued = RUNNING, event.elapsed, queued
        return row

    def _attempt_started(self, event: Any, detail: Any) -> None:
        row = self._running(event)
        row.attempt, row.kind, row.due = max(row.attempt, detail.number), str(detail.kind), None

    def _attempt_ended(self, event: Any, detail: Any) -> None:
        row = self._running(event)
        if detail.attempt.number >= row.attempt:
            row.attempt, row.kind = detail.attempt.number, ""
        if detail.retry_in is not None:
            row.due = event.elapsed + detail.retry_in
            row.failed = detail.attempt.failure.reason if detail.attempt.failure is not None else ""

    def _member_ended(self, event: Any, outcome: Any) -> None:
        group, row = self._row(event)
        if row.state == RUNNING:
            group.states[RUNNING] -= 1
        row.state = str(outcome.state)
        group.states[row.state] += 1
        limit = attempts.limit_of(outcome)
        if limit:
            group.limits[limit] += 1
        self.ended += not event.parent
        row.agent, row.queued, row.ran, row.note = outcome.agent, outcome.queued, outcome.ran, outcome
        if not group.small:
            del group.rows[event.member]

    def _group_ended(self, event: Any, detail: Any) -> None:
        key = (event.parent, event.group)
        if key in self.groups:
            self.groups[key].state = str(detail.result.state)
            if event.parent:  # nested runs come and go, and would fill the memory of a long one
                del self.groups[key]
