"""What the recorded events of a run say about where it stood when its process ended. Pure: from events to values, and from
there to the events that end what cannot go on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from motet.engine import settle
from motet.model import reason
from motet.model import usage as usage_module
from motet.model.event import (
    AttemptEnded,
    AttemptStarted,
    Detail,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
)
from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome
from motet.model.result import GroupResult
from motet.model.state import State

Key: TypeAlias = tuple[str, str]
"""Parent and name of a group."""
INTERRUPTED = Failure(reason.INTERRUPTED, "the process that ran it ended")


@dataclass(frozen=True, slots=True)
class Told:
    """One fact to add to a run's events."""

    detail: Detail
    group: str
    member: str
    parent: str


@dataclass(slots=True)
class MemberHistory:
    """A member that had started and not ended."""

    agent: str
    started: float
    """Seconds from the run's start."""
    queued: float
    attempts: list[Attempt] = field(default_factory=list)
    """Those that an event has told the end of."""
    open: dict[int, tuple[AttemptKind, float]] = field(default_factory=dict)
    """Attempts that ran: why, and since when in seconds from the run's start."""
    retry_at: float | None = None
    """When another attempt was to follow the last, which had ended, in seconds from the run's start; None when none was."""
    nested: list[str] = field(default_factory=list)
    """Paths of the groups that its last attempt ran, in the order in which they started."""
    nested_before: list[str] = field(default_factory=list)
    """Paths of the groups that earlier attempts ran."""

    @property
    def was_called(self) -> bool:
        """A call was running when the process ended: this time, or the time before and nothing has happened since."""
        last = self.attempts[-1] if self.attempts else None
        if self.open or last is None:
            return bool(self.open)
        # One that succeeded, without the member's own end, has answered what nobody knows any more.
        return last.failure is None or last.failure.reason == reason.INTERRUPTED

    @property
    def is_over(self) -> bool:
        """Its last attempt failed and was not to be followed by another: only its own end is missing."""
        last = self.attempts[-1] if self.attempts else None
        return not self.was_called and self.retry_at is None and last is not None

    def interrupted(self, elapsed: float) -> list[Attempt]:
        """The attempts that ran, as they ended with the process."""
        return [
            Attempt(
                number=number,
                kind=kind,
                state=State.FAILED,
                failure=INTERRUPTED,
                started=since - self.started,
                ran=max(0.0, elapsed - since),
                usage=usage_module.UNPRICED_CALL,
            )
            for number, (kind, since) in sorted(self.open.items())
        ]


@dataclass(slots=True)
class GroupHistory:
    """A group that had started."""

    parent: str
    name: str
    started: float
    """Seconds from the run's start."""
    members: int
    seats: tuple[tuple[str, str], ...]
    fingerprint: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """By instance name, in the order in which they were recorded."""
    running: dict[str, MemberHistory] = field(default_factory=dict)
    """By instance name."""
    told: GroupResult | None = None
    """Its end, without outcomes."""
    peak: int = 0
    """Most members that ran at the same moment."""


class History:
    """The events of one run."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.groups: dict[Key, GroupHistory] = {}
        self.sequence = 0
        self.elapsed = 0.0
        """Seconds from the run's start to the last event."""
        self.ended: RunEnded | None = None
        self.progress = 0
        self.running = 0
        """Members of the plan's own groups that had started and not ended."""
        self.peak = 0
        """Most of them at the same moment."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:  # noqa: C901, PLR0912 - one branch for each kind
        """Take the next event."""
        self.sequence = event.sequence
        self.elapsed = event.elapsed
        group = self.groups.get((event.parent, event.group))
        match event.detail:
            case GroupStarted(members, seats, fingerprint):
                self.groups[event.parent, event.group] = GroupHistory(
                    event.parent, event.group, event.elapsed, members, seats, fingerprint
                )
                owner = self._owner(event.parent)
                if owner is not None and event.parent not in owner.nested:
                    owner.nested.append(event.parent)
            case MemberStarted(agent, queued) if group is not None:
                running = group.running[event.member] = MemberHistory(agent, event.elapsed, queued)
                running.open[1] = (AttemptKind.FIRST, event.elapsed)
                group.peak = max(group.peak, len(group.running))
                if not event.parent:
                    self.running += 1
                    self.peak = max(self.peak, self.running)
            case AttemptStarted(number, kind) if group is not None:
                running = group.running[event.member]
                running.open[number] = (kind, event.elapsed)
                running.retry_at = None
                if kind is AttemptKind.RETRY:
                    # One that was resumed may take up what the one before had begun.
                    running.nested_before += running.nested
                    running.nested = []
            case AttemptEnded(attempt, retry_in) if group is not None:
                running = group.running[event.member]
                running.retry_at = None if retry_in is None else event.elapsed + retry_in
                running.open.pop(attempt.number, None)
                running.attempts.append(attempt)
            case MemberEnded(outcome) if group is not None:
                if group.running.pop(event.member, None) is not None and not event.parent:
                    self.running -= 1
                group.outcomes[event.member] = outcome
            case MemberProgress():
                self.progress += 1
            case GroupEnded(result) if group is not None:
                group.told = result
            case RunEnded():
                self.ended = event.detail
            case _:
                pass

    def under(self, path: str) -> list[GroupHistory]:
        """The groups of the nested run at this path, in the order in which they started."""
        return [group for group in self.groups.values() if group.parent == path]

    def result(self, group: GroupHistory, names: Sequence[str] | None = None) -> GroupResult | None:
        """How a group ended, outcomes and questions included; None when it has not. `names` is the declared order, where
        the seats that the events list are not all."""
        if group.told is None:
            return None
        order = names if names is not None else [name for name, _ in group.seats]
        known = [group.outcomes[name] for name in order if name in group.outcomes]
        listed = set(order)
        known += [outcome for name, outcome in group.outcomes.items() if name not in listed]
        path = f"{group.parent}/{group.name}/@" if group.parent else f"{group.name}/@"
        asked = [self.result(each) for each in self.groups.values() if _is_asked(each, path)]
        return replace(group.told, outcomes=tuple(known), asked=tuple(each for each in asked if each is not None))

    def results_under(self, path: str) -> list[GroupResult]:
        """Those of the ended groups of the nested run at this path."""
        results = [self.result(group) for group in self.under(path)]
        return [result for result in results if result is not None]

    # ---------------------------------------------------------------------------------------- ending what cannot go on

    def close_run(self, elapsed: float, failure: Failure) -> Iterator[Told]:
        """Ends for every group that is open, the innermost first."""
        for group in [each for each in self.groups.values() if not each.parent]:
            yield from self.close(group, elapsed, failure)

    def close_path(self, path: str, elapsed: float, failure: Failure = INTERRUPTED) -> Iterator[Told]:
        """Ends for the open groups of the nested run at this path."""
        for group in self.under(path):
            yield from self.close(group, elapsed, failure)

    def close(self, group: GroupHistory, elapsed: float, failure: Failure) -> Iterator[Told]:
        """Ends for a group and all that is open in it; it is closed in this history too."""
        if group.told is not None:
            return
        for name, member in list(group.running.items()):
            yield from self._close_member(group, name, member, elapsed, failure)
        own = f"{group.parent}/{group.name}/@" if group.parent else f"{group.name}/@"
        for question in [each for each in self.groups.values() if _is_asked(each, own)]:
            yield from self.close(question, elapsed, failure)
        for name, agent in group.seats:
            if name not in group.outcomes:
                skipped = Outcome(
                    member=name,
                    agent=agent,
                    state=State.SKIPPED,
                    failure=failure,
                    attempts=0,
                    queued=max(0.0, elapsed - group.started),
                )
                group.outcomes[name] = skipped
                yield Told(MemberEnded(skipped), group.name, name, group.parent)
        outcomes = list(group.outcomes.values())
        asked = [each.told for each in self.groups.values() if _is_asked(each, own) and each.told is not None]
        early = any(o.failure is not None and o.failure.reason == reason.DECIDED for o in outcomes)
        group.told = GroupResult(
            name=group.name,
            state=State.FAILED,
            failure=failure,
            elapsed=max(0.0, elapsed - group.started),
            stats=settle.count(outcomes, group.peak),
            parent=group.parent,
            usage=settle.total_usage([*(o.usage for o in outcomes), *(each.usage for each in asked)]),
            decided_early=early,
            saved=settle.saved(outcomes, lambda _: None) if early else None,
        )
        yield Told(GroupEnded(group.told), group.name, "", group.parent)

    def _close_member(
        self, group: GroupHistory, name: str, member: MemberHistory, elapsed: float, failure: Failure
    ) -> Iterator[Told]:
        nested: list[GroupResult] = []
        for path in [*member.nested_before, *member.nested]:
            yield from self.close_path(path, elapsed, failure)
            nested += self.results_under(path)
        interrupted = member.interrupted(elapsed)
        log = sorted([*member.attempts, *interrupted], key=lambda each: each.number)
        if len(log) > 1:
            for attempt in interrupted:
                yield Told(AttemptEnded(attempt), group.name, name, group.parent)
        usage = settle.total_usage([*(attempt.usage for attempt in log), *(each.usage for each in nested)])
        outcome = Outcome(
            member=name,
            agent=member.agent,
            state=State.FAILED,
            failure=failure,
            attempts=len(log),
            queued=member.queued,
            ran=max(0.0, elapsed - member.started),
            usage=usage,
            nested=tuple(nested),
            attempt_log=tuple(log) if len(log) > 1 else (),
        )
        del group.running[name]
        group.outcomes[name] = outcome
        yield Told(MemberEnded(outcome), group.name, name, group.parent)

    def _owner(self, path: str) -> MemberHistory | None:
        """The running member that a nested run's path belongs to; None for the plan itself and for questions."""
        head, _, tail = path.rpartition("/")
        name = tail.partition("#")[0]
        parent, _, group = head.rpartition("/")
        owner = self.groups.get((parent, group))
        return None if owner is None else owner.running.get(name)


def _is_asked(group: GroupHistory, path: str) -> bool:
    """It is among the questions at this path: `path` itself, and `path#2`, `path#3`, ..."""
    return group.parent == path or group.parent.startswith(f"{path}#")
