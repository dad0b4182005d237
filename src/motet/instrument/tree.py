"""The tree of calls of a run, made from its events alone: run, groups, members, attempts, and what each of them ran.

Pure. Events are known by the names of their classes and fields, so those of a client or of a file will do as well.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from motet.model.state import State
from motet.model.usage import Usage

Kind: TypeAlias = Literal["run", "group", "member", "attempt"]
Role: TypeAlias = Literal["", "turn", "tools", "question", "request", "tool"]

TURN: Final = re.compile(r"turn_[0-9]+(_fallback_[0-9]+)?")
TOOLS: Final = re.compile(r"tools_[0-9]+")
"""Names of the groups that a model agent consists of: one for each turn, one for the tools that a turn wants called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """What became of a tool that a model wanted called."""

    tool: str
    """As the model wrote it."""
    call_id: str
    status: str
    """`executed`, `tool_not_found`, `validation_error`, `timed_out` or `failed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing that ran, or waits to. Times are seconds since the run's start."""

    kind: Kind
    name: str
    """The run's id, the group's name, the member's instance name, or the attempt's number."""
    role: Role = ""
    """Of a model agent's groups `turn` and `tools`, of their members `request` and `tool`; `question` for a group that an
    aggregation asks; else empty."""
    agent: str = ""
    """Of a member."""
    queued_at: float = 0.0
    """Since when it could have started: a member's group's start."""
    start: float | None = None
    """None when it has not started, or never did."""
    end: float | None = None
    """None while it has not ended."""
    state: State = State.RUNNING
    reason: str = ""
    """Of its failure; empty when there is none."""
    message: str = ""
    attempts: int = 0
    """Of a member: calls of its agent that have started."""
    why: str = ""
    """Of an attempt: FIRST, RETRY, HEDGE or RESUME."""
    cached: bool = False
    """A member's answer came from an earlier call."""
    usage: Usage | None = None
    """What it used, descendants included; None while it is not known. An attempt's is its own."""
    stop: str = ""
    """Of what was cancelled or timed out: STOPPED or DETACHED; else empty."""
    stop_took: float = 0.0
    """Seconds that the stop took."""
    stop_detail: str = ""
    tools: tuple[ToolUse, ...] = ()
    """Of a model agent: calls of tools, also of those that never ran."""
    started_at: datetime | None = None
    """Of a run: the moment that its times count from, by the wall clock, in UTC; None when the events begin later."""
    members: int = 0
    """Of a group, and of a run without nested ones: as declared, replicas counted."""
    children: tuple["Node", ...] = ()
    """In the order in which they were declared or started."""

    @property
    def is_open(self) -> bool:
        """It has not ended, as far as the events tell."""
        return self.end is None


def owner_of(parent: str) -> tuple[str, str, str]:
    """Whose the groups with this `Event.parent` are: parent and name of a group, and the member in it; the member is empty
    for what the group's aggregation asks. All empty for the plan's own groups."""
    head, _, tail = parent.rpartition("/")
    above, _, group = head.rpartition("/")
    name = tail.partition("#")[0]
    return above, group, "" if name == "@" else name


@dataclass(slots=True)
class _Attempt:
    number: int
    why: str
    start: float
    end: float | None = None
    told: Any = None
    groups: list["_Group"] = field(default_factory=list)


@dataclass(slots=True)
class _Member:
    name: str
    agent: str
    start: float | None = None
    end: float | None = None
    outcome: Any = None
    attempts: list[_Attempt] = field(default_factory=list)
    groups: list["_Group"] = field(default_factory=list)
    tools: list[ToolUse] = field(default_factory=list)

    def begin(self, group: "_Group") -> None:
        """Take a group that it runs: under the attempt that runs it, where only one can."""
        running = [attempt for attempt in self.attempts if attempt.end is None]
        (running[0] if len(running) == 1 else self).groups.append(group)

    def attempt(self, number: int) -> _Attempt | None:
        return next((attempt for attempt in self.attempts if attempt.number == number), None)


@dataclass(slots=True)
class _Group:
    name: str
    start: float
    declared: int
    members: dict[str, _Member] = field(default_factory=dict)
    asked: list["_Group"] = field(default_factory=list)
    end: float | None = None
    result: Any = None

    def member(self, name: str) -> _Member:
        return self.members.setdefault(name, _Member(name, ""))


class Tree:
    """Feed it every event in order; `snapshot` gives the tree as it stands."""

    def __init__(self, run_id: str = "") -> None:
        self.run_id = run_id
        self.sequence = 0
        """Of the newest event."""
        self.elapsed = 0.0
        """Of the newest event."""
        self._started_at: datetime | None = None
        self._members = 0
        self._ended: Any = None
        self._groups: dict[tuple[str, str], _Group] = {}
        self._roots: list[_Group] = []

    @property
    def ended(self) -> bool:
        """The last event of the run is in it."""
        return self._ended is not None

    def apply(self, event: Any) -> None:
        """Take the next event."""
        self.sequence, self.elapsed = event.sequence, event.elapsed
        detail = event.detail
        # By name: the engine's events and a client's are different classes with the same names and fields.
        match type(detail).__name__:
            case "RunStarted":
                self.run_id, self._members, self._started_at = detail.run_id, detail.members, detail.started_at
            case "GroupStarted":
                self._begin(event, detail)
            case "GroupEnded":
                group = self._group(event)
                group.end, group.result = event.elapsed, detail.result
            case "RunEnded":
                self._ended = detail
            case name:
                self._member(name, event, self._group(event).member(event.member))

    def _begin(self, event: Any, detail: Any) -> None:
        group = self._groups.get((event.parent, event.group))
        if group is not None:  # that of a run that goes on
            return
        group = _Group(event.group, event.elapsed, detail.members)
        group.members = {name: _Member(name, agent) for name, agent in detail.seats}
        self._groups[event.parent, event.group] = group
        parent, name, member = owner_of(event.parent)
        owner = self._groups.get((parent, name)) if event.parent else None
        if owner is None:
            self._roots.append(group)
        elif member:
            owner.member(member).begin(group)
        else:
            owner.asked.append(group)

    def _group(self, event: Any) -> _Group:
        key = (event.parent, event.group)
        if key not in self._groups:  # the events begin in the middle
            self._groups[key] = _Group(event.group, event.elapsed, 0)
            self._roots.append(self._groups[key])
        return self._groups[key]

    @staticmethod
    def _member(kind: str, event: Any, member: _Member) -> None:
        detail = event.detail
        match kind:
            case "MemberStarted":
                member.agent, member.start = detail.agent, event.elapsed
                member.attempts.append(_Attempt(detail.attempt, "FIRST", event.elapsed))
            case "AttemptStarted":
                member.attempts.append(_Attempt(detail.number, str(detail.kind), event.elapsed))
            case "AttemptEnded":
                attempt = member.attempt(detail.attempt.number)
                if attempt is not None:
                    attempt.end, attempt.told = event.elapsed, detail.attempt
            case "MemberProgress":
                use = tool_use(detail.report)
                if use is not None:
                    member.tools.append(use)
            case "MemberEnded":
                member.agent, member.end, member.outcome = detail.outcome.agent, event.elapsed, detail.outcome

    def snapshot(self) -> Node:
        """The whole run."""
        ended = self._ended
        return Node(
            kind="run",
            name=self.run_id,
            start=0.0,
            end=self.elapsed if ended else None,
            state=State(ended.state) if ended else State.RUNNING,
            **_failure(ended),
            usage=_usage(ended),
            started_at=self._started_at,
            members=self._members,
            children=tuple(_group_node(group) for group in self._roots),
        )


def tool_use(report: Any) -> ToolUse | None:
    """What a progress report of a model agent says of a tool; None for every other report."""
    if report.kind != "json" or '"call_id"' not in report.content:
        return None
    said = report.value
    if not isinstance(said, dict):
        return None
    words = [said.get(name) for name in ("tool", "call_id", "status")]
    tool, call_id, status = (word if isinstance(word, str) else None for word in words)
    if tool is None or call_id is None or status is None:
        return None
    return ToolUse(tool=tool, call_id=call_id, status=status)


def _group_node(group: _Group, role: Role = "") -> Node:
    seat: Role = "request" if role == "turn" else "tool" if role == "tools" else ""
    result = group.result
    return Node(
        kind="group",
        name=group.name,
        role=role,
        queued_at=group.start,
        start=group.start,
        end=group.end,
        state=State(result.state) if result else State.RUNNING,
        **_failure(result),
        usage=_usage(result),
        members=group.declared,
        children=(
            *(_member_node(member, group, seat) for member in group.members.values()),
            *(_group_node(asked, "question") for asked in group.asked),
        ),
    )


def _member_node(member: _Member, group: _Group, role: Role) -> Node:
    outcome = member.outcome
    several = len(member.attempts) > 1
    of_attempts = [each for attempt in member.attempts for each in attempt.groups]
    is_model = any(each.name == "turn_1" for each in (*of_attempts, *member.groups))
    attempts = tuple(_attempt_node(each, member, is_model=is_model) for each in member.attempts) if several else ()
    groups = member.groups if several else [*of_attempts, *member.groups]
    return Node(
        kind="member",
        name=member.name,
        role=role,
        agent=member.agent,
        queued_at=group.start,
        start=member.start,
        end=member.end,
        state=State(outcome.state) if outcome else State.QUEUED if member.start is None else State.RUNNING,
        **_failure(outcome),
        attempts=outcome.attempts if outcome else len(member.attempts),
        cached=bool(outcome and outcome.cached),
        usage=_usage(outcome),
        **_stop(outcome),
        tools=tuple(member.tools),
        children=(*attempts, *(_group_node(each, _role(each, is_model=is_model)) for each in groups)),
    )


def _attempt_node(attempt: _Attempt, member: _Member, *, is_model: bool) -> Node:
    told = attempt.told
    end = attempt.end if attempt.end is not None else member.end
    unknown = State.RUNNING if member.outcome is None else State(member.outcome.state)
    return Node(
        kind="attempt",
        name=str(attempt.number),
        why=attempt.why,
        queued_at=attempt.start,
        start=attempt.start,
        end=end,
        state=State(told.state) if told else unknown,
        **_failure(told),
        usage=_usage(told),
        **_stop(told),
        children=tuple(_group_node(each, _role(each, is_model=is_model)) for each in attempt.groups),
    )


def _role(group: _Group, *, is_model: bool) -> Role:
    if is_model and TURN.fullmatch(group.name):
        return "turn"
    return "tools" if is_model and TOOLS.fullmatch(group.name) else ""


def _failure(ended: Any) -> dict[str, Any]:
    failure = ended.failure if ended else None
    return {"reason": failure.reason, "message": failure.message} if failure else {}


def _stop(ended: Any) -> dict[str, Any]:
    stop = ended.stop if ended else None
    return {"stop": str(stop.kind), "stop_took": stop.took, "stop_detail": stop.detail} if stop else {}


def _usage(ended: Any) -> Usage | None:
    if not ended:
        return None
    used = ended.usage
    return Usage(
        calls=used.calls,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cost_nanos=used.cost_nanos,
        unpriced_calls=used.unpriced_calls,
    )
