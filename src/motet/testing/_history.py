"""Replays a run's events, tells where their order breaks a promise, and keeps what the other checks compare results
with. Knows events only, neither results nor plans."""

import math
from dataclasses import dataclass, field

from motet.model.event import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
    RunStarted,
)
from motet.model.outcome import Attempt, AttemptKind, Outcome

OF_MEMBERS = MemberStarted | AttemptStarted | AttemptEnded | MemberProgress | MemberEnded


def seat_path(parent: str, group: str, member: str) -> str:
    """Where a member sits: the `parent` of the groups that it runs; from its second run on, `#2`, `#3`, ... follow."""
    return f"{group_path(parent, group)}/{member}"


def group_path(parent: str, group: str) -> str:
    """Where a group stands: `parent/group`."""
    return f"{parent}/{group}" if parent else group


def questions_path(parent: str, group: str) -> str:
    """The `parent` of what a group's aggregation asks; from its second question on, `#2`, `#3`, ... follow."""
    return f"{group_path(parent, group)}/@"


def runner(parent: str) -> str:
    """What ran the groups with this parent: the seat of a member, or the place of a group's questions (`.../@`)."""
    path, mark, number = parent.rpartition("#")
    return path if mark and number.isdecimal() else parent


def run_number(parent: str) -> int:
    """Which run of its runner the groups with this parent belong to, from 1."""
    _, mark, number = parent.rpartition("#")
    return int(number) if mark and number.isdecimal() else 1


def asker(parent: str) -> tuple[str, str] | None:
    """(parent, name) of the group whose aggregation asked the groups with this parent; None when a member ran them."""
    path, mark, rest = runner(parent).rpartition("/@")
    if not mark or rest:
        return None
    above, _, name = path.rpartition("/")
    return above, name


@dataclass(slots=True, eq=False)
class Seat:
    """What the events say of one member."""

    agent: str = ""
    queued: float = 0.0
    """As its start says."""
    started: dict[int, AttemptKind] = field(default_factory=dict)
    """Attempts by number, in the order in which they started."""
    ended: dict[int, Attempt] = field(default_factory=dict)
    """Those that an event has told the end of, by number."""
    widest: int = 0
    """Most attempts that ran at the same moment."""
    outcome: Outcome | None = None

    @property
    def attempts(self) -> int:
        return len(self.started)

    @property
    def open(self) -> list[int]:
        """Attempts that have started and, as far as events have told, not ended."""
        return [number for number in self.started if number not in self.ended]

    @property
    def running(self) -> bool:
        return self.attempts > 0 and self.outcome is None


@dataclass(slots=True, eq=False)
class Scope:
    """What the events say of one group, from its start to its end."""

    parent: str
    name: str
    first: int
    """Sequence number of its first event."""
    began: float = 0.0
    """Seconds from the run's start to its first event."""
    started: GroupStarted | None = None
    ended: GroupEnded | None = None
    last: int = 0
    """Sequence number of its end; 0 while there is none."""
    seats: dict[str, Seat] = field(default_factory=dict)
    running: int = 0
    peak: int = 0

    @property
    def label(self) -> str:
        return f"group {group_path(self.parent, self.name)}"

    @property
    def members_ended(self) -> bool:
        """Whether as many members have ended as the group said that it has."""
        ended = sum(seat.outcome is not None for seat in self.seats.values())
        return self.started is None or ended >= self.started.members


class History:
    """The events of one run, replayed. `problems` lists what is wrong with them by themselves."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.problems: list[str] = []
        self.scopes: list[Scope] = []
        """In the order in which they started."""
        self.run_started: RunStarted | None = None
        self.run_ended: RunEnded | None = None
        self.peak = 0
        """Most members of the plan's own groups that ran at the same moment."""
        self.peak_with_nested = 0
        self._running = 0
        self._running_with_nested = 0
        self._open: dict[tuple[str, str], Scope] = {}
        self._open_under: dict[str, list[Scope]] = {}
        """Open groups by the seat of the member that runs them, or the place of the questions that they are."""
        self._known: set[tuple[str, str]] = set()
        self._seats: dict[str, Seat] = {}
        """Running members by the path of their seat."""
        self._numbering()
        for event in events:
            self._take(event)
        for scope in self._open.values():
            self._say(f"{scope.label} has no GroupEnded")

    def of(self, parent: str) -> list[Scope]:
        """The groups under this parent, in the order in which they started."""
        return [scope for scope in self.scopes if scope.parent == parent]

    def _say(self, problem: str, event: Event | None = None) -> None:
        self.problems.append(f"event {event.sequence}: {problem}" if event else problem)

    def _numbering(self) -> None:
        elapsed = 0.0
        for expected, event in enumerate(self.events, 1):
            if event.sequence != expected:
                self._say(f"sequence is {event.sequence}, {expected} is next")
            if not event.elapsed >= elapsed:
                self._say(f"elapsed goes back from {elapsed} to {event.elapsed}", event)
            elapsed = max(elapsed, event.elapsed)
        if not self.events:
            self._say("there are no events")
            return
        if not isinstance(self.events[0].detail, RunStarted):
            self._say("the first event is not RunStarted")
        if not isinstance(self.events[-1].detail, RunEnded):
            self._say("the last event is not RunEnded")

    def _take(self, event: Event) -> None:
        self._check_place(event)
        match event.detail:
            case RunStarted() as detail:
                self._once(event, self.run_started)
                self.run_started = self.run_started or detail
            case RunEnded() as detail:
                self._once(event, self.run_ended)
                self.run_ended = detail
            case GroupStarted() as detail:
                self._group_started(event, detail)
            case GroupEnded() as detail:
                self._group_ended(event, detail)
            case MemberStarted() as detail:
                self._member_started(event, detail)
            case AttemptStarted() as detail:
                self._attempt_started(event, detail)
            case AttemptEnded() as detail:
                self._attempt_ended(event, detail)
            case MemberProgress():
                self._member_progress(event)
            case MemberEnded() as detail:
                self._member_ended(event, detail)

    def _check_place(self, event: Event) -> None:
        in_run = isinstance(event.detail, RunStarted | RunEnded)
        of_member = isinstance(event.detail, OF_MEMBERS)
        if bool(event.group) is in_run or bool(event.member) is not of_member or (event.parent and in_run):
            place = f"parent {event.parent!r}, group {event.group!r}, member {event.member!r}"
            self._say(f"{type(event.detail).__name__} is placed at {place}", event)

    def _once(self, event: Event, before: RunStarted | RunEnded | None) -> None:
        if before is not None:
            self._say(f"a second {type(event.detail).__name__}", event)

    def _group_started(self, event: Event, detail: GroupStarted) -> None:
        scope = Scope(event.parent, event.group, event.sequence, event.elapsed, started=detail)
        key = (event.parent, event.group)
        if key in self._open:
            self._say(f"{scope.label} starts while it runs", event)
        elif key in self._known:
            self._say(f"{scope.label} starts a second time", event)
        self._known.add(key)
        of = asker(event.parent)
        if of is not None:
            self._question_started(event, scope, self._open.get(of))
        elif event.parent and runner(event.parent) not in self._seats:
            self._say(f"{scope.label} starts outside the run of its parent member", event)
        self._opened(scope)

    def _question_started(self, event: Event, scope: Scope, asking: Scope | None) -> None:
        if asking is None:
            self._say(f"{scope.label} starts outside the run of the group that asks", event)
        elif not asking.members_ended:
            self._say(f"{scope.label} starts before the members of {asking.label}, which asks, have ended", event)
        for other in self._open_under.get(runner(event.parent), ()):
            self._say(f"{scope.label} starts before {other.label}, a question before it, has ended", event)

    def _group_ended(self, event: Event, detail: GroupEnded) -> None:
        scope = self._scope(event)
        del self._open[event.parent, event.group]
        self._open_under[runner(event.parent)].remove(scope)
        scope.ended, scope.last = detail, event.sequence
        for question in self._open_under.get(questions_path(event.parent, event.group), ()):
            self._say(f"{scope.label} ends before {question.label}, which it asks", event)
        late = [name for name, seat in scope.seats.items() if seat.outcome is None]
        if late:
            self._say(f"{scope.label} ends before its members {', '.join(late)}", event)
        for name in late:
            self._stop(scope, name)

    def _member_started(self, event: Event, detail: MemberStarted) -> None:
        scope, seat = self._seat(event)
        if seat.outcome is not None:
            self._say(f"{event.member} starts after its end", event)
        if seat.attempts:
            self._say(f"{event.member} starts a second time", event)
        elif detail.attempt != 1:
            self._say(f"{event.member} starts with attempt {detail.attempt}", event)
        if seat.attempts or seat.outcome is not None:
            return
        seat.agent, seat.queued = detail.agent, detail.queued
        seat.started[1] = AttemptKind.FIRST
        seat.widest = 1
        self._seats[seat_path(event.parent, event.group, event.member)] = seat
        scope.running += 1
        scope.peak = max(scope.peak, scope.running)
        self._running_with_nested += 1
        self.peak_with_nested = max(self.peak_with_nested, self._running_with_nested)
        if not event.parent:
            self._running += 1
            self.peak = max(self.peak, self._running)

    def _attempt_started(self, event: Event, detail: AttemptStarted) -> None:
        seat = self._seat(event)[1]
        name = f"attempt {detail.number} of {event.member}"
        if not seat.running:
            self._say(f"{name} starts, which does not run", event)
        if detail.number != seat.attempts + 1:
            self._say(f"{name} starts, {seat.attempts + 1} is next", event)
            return
        if detail.kind is AttemptKind.FIRST:
            self._say(f"{name} says that it is the first", event)
        elif detail.kind is AttemptKind.HEDGE and not seat.open:
            self._say(f"{name} is a hedge beside nothing", event)
        elif detail.kind is not AttemptKind.HEDGE and seat.open:
            self._say(f"{name} starts before attempt {seat.open[0]} has ended", event)
        seat.started[detail.number] = detail.kind
        seat.widest = max(seat.widest, len(seat.open))

    def _attempt_ended(self, event: Event, detail: AttemptEnded) -> None:
        seat = self._seat(event)[1]
        attempt, name = detail.attempt, f"attempt {detail.attempt.number} of {event.member}"
        if not seat.running:
            self._say(f"{name} ends, which does not run", event)
        if attempt.number not in seat.started:
            self._say(f"{name} ends and has not started", event)
            return
        if attempt.number in seat.ended:
            self._say(f"{name} ends a second time", event)
            return
        if attempt.kind is not seat.started[attempt.number]:
            self._say(f"{name} ends as {attempt.kind}, it started as {seat.started[attempt.number]}", event)
        if detail.retry_in is not None and not 0 <= detail.retry_in < math.inf:
            self._say(f"{name} is to be tried again in {detail.retry_in} s", event)
        elif detail.retry_in is not None and attempt.failure is None:
            self._say(f"{name} is to be tried again and has not failed", event)
        seat.ended[attempt.number] = attempt

    def _member_progress(self, event: Event) -> None:
        if not self._seat(event)[1].running:
            self._say(f"progress of {event.member}, which does not run", event)

    def _member_ended(self, event: Event, detail: MemberEnded) -> None:
        scope, seat = self._seat(event)
        if seat.outcome is not None:
            self._say(f"{event.member} ends a second time", event)
            return
        if detail.outcome.member != event.member:
            self._say(f"the outcome is of {detail.outcome.member}, the event of {event.member}", event)
        path = seat_path(event.parent, event.group, event.member)
        for nested in self._open_under.get(path, ()):
            self._say(f"{event.member} ends before {nested.label}, which it runs", event)
        if seat.attempts > 1:
            for number in seat.open:
                self._say(f"{event.member} ends before its attempt {number}", event)
        if seat.running:
            self._stop(scope, event.member)
        seat.outcome = detail.outcome

    def _stop(self, scope: Scope, member: str) -> None:
        if self._seats.pop(seat_path(scope.parent, scope.name, member), None) is None:
            return
        scope.running -= 1
        self._running_with_nested -= 1
        if not scope.parent:
            self._running -= 1

    def _seat(self, event: Event) -> tuple[Scope, Seat]:
        scope = self._scope(event)
        return scope, scope.seats.setdefault(event.member, Seat())

    def _scope(self, event: Event) -> Scope:
        """The open group of the event. One that is not open is reported, once, and opened."""
        scope = self._open.get((event.parent, event.group))
        if scope is None:
            scope = Scope(event.parent, event.group, event.sequence, event.elapsed)
            self._say(f"an event of {scope.label}, which is not running", event)
            self._opened(scope)
        return scope

    def _opened(self, scope: Scope) -> None:
        self.scopes.append(scope)
        self._open[scope.parent, scope.name] = scope
        self._open_under.setdefault(runner(scope.parent), []).append(scope)
