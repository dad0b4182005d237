"""A small history of a run, made by hand, in which every kind of promise is at stake; and means to break it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from motet.model.event import (
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
    RunStarted,
)
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import Group, Member, Plan, Sequence
from motet.model.result import GroupResult, RunResult, Saved, Stats
from motet.model.state import State
from motet.model.usage import Usage
from motet.testing import check_run
from motet.testing.contracts_store import STARTED_AT

ONE = Usage(calls=1, unpriced_calls=1)
TWO = ONE + ONE
STOPPED = StopReceipt(StopKind.STOPPED, 0.0)


def failure(reason: str) -> Failure:
    return Failure(reason, f"because of {reason}")


# Group `race` (first, three members, width 2): `fast` succeeds, `slow` is stopped, `late` never starts.
FAST = Outcome(member="fast", agent="a", state=State.SUCCEEDED, output=Payload.of("x"), ran=1.0, usage=ONE)
SLOW = Outcome(
    member="slow", agent="b", state=State.CANCELLED, failure=failure("DECIDED"), ran=1.0, usage=ONE, stop=STOPPED
)
LATE = Outcome(member="late", agent="a", state=State.SKIPPED, failure=failure("DECIDED"), attempts=0, queued=1.0)
RACE = GroupResult(
    name="race",
    state=State.SUCCEEDED,
    aggregate=Payload.of("x"),
    outcomes=(FAST, SLOW, LATE),
    decided_early=True,
    elapsed=1.0,
    stats=Stats(members=3, succeeded=1, cancelled=1, skipped=1, peak_running=2, ran=2.0, queued=1.0),
    usage=TWO,
    saved=Saved(members=2, calls=1, unpriced_calls=1),
)
# Group `outer` (one member), whose member runs group `inner` (one member, which fails) and fails.
INNER_MEMBER = Outcome(member="m", agent="a", state=State.FAILED, failure=failure("AGENT_FAILED"), ran=1.0, usage=ONE)
INNER = GroupResult(
    name="inner",
    state=State.FAILED,
    failure=failure("NO_SUCCESSFUL_RESULTS"),
    outcomes=(INNER_MEMBER,),
    elapsed=1.0,
    stats=Stats(members=1, failed=1, peak_running=1, ran=1.0),
    parent="outer/host",
    usage=ONE,
)
HOST = replace(INNER_MEMBER, member="host", agent="c", failure=failure("GROUP_FAILED"), usage=TWO, nested=(INNER,))
OUTER = replace(
    INNER,
    name="outer",
    parent="",
    outcomes=(HOST,),
    usage=TWO,
)
# Group `after` is never reached.
AFTER_MEMBER = Outcome(member="a", agent="a", state=State.SKIPPED, failure=failure("PREVIOUS_STEP_FAILED"), attempts=0)
AFTER = GroupResult(
    name="after",
    state=State.SKIPPED,
    failure=failure("PREVIOUS_STEP_FAILED"),
    outcomes=(AFTER_MEMBER,),
    stats=Stats(members=1, skipped=1),
)
RESULT = RunResult(
    run_id="r",
    state=State.FAILED,
    groups=(RACE, OUTER, AFTER),
    usage=TWO + TWO,
    failure=failure("GROUP_FAILED"),
    started_at=STARTED_AT,
    elapsed=2.0,
    stats=Stats(members=5, succeeded=1, failed=1, cancelled=1, skipped=2, peak_running=2, ran=3.0, queued=1.0),
)
PLAN = Sequence(
    [
        Group("race", [Member("a", "fast"), Member("b", "slow"), Member("a", "late")], "first", max_parallel=2),
        Group("outer", [Member("c", "host")]),
        Group("after", ["a"]),
    ],
    feed_forward=True,
)


def bare(group: GroupResult) -> GroupEnded:
    return GroupEnded(replace(group, outcomes=(), asked=()))


DETAILS: list[tuple[float, Any, str, str, str]] = [
    (0.0, RunStarted("r", STARTED_AT, 5), "", "", ""),  # 1
    (0.0, GroupStarted(3, (("fast", "a"), ("slow", "b"), ("late", "a"))), "race", "", ""),  # 2
    (0.0, MemberStarted("a", 0.0), "race", "fast", ""),  # 3
    (0.0, MemberStarted("b", 0.0), "race", "slow", ""),  # 4
    (0.5, MemberProgress(Payload.of(1)), "race", "fast", ""),  # 5
    (1.0, MemberEnded(FAST), "race", "fast", ""),  # 6
    (1.0, MemberEnded(LATE), "race", "late", ""),  # 7
    (1.0, MemberEnded(SLOW), "race", "slow", ""),  # 8
    (1.0, bare(RACE), "race", "", ""),  # 9
    (1.0, GroupStarted(1, (("host", "c"),)), "outer", "", ""),  # 10
    (1.0, MemberStarted("c", 0.0), "outer", "host", ""),  # 11
    (1.0, GroupStarted(1, (("m", "a"),)), "inner", "", "outer/host"),  # 12
    (1.0, MemberStarted("a", 0.0), "inner", "m", "outer/host"),  # 13
    (2.0, MemberEnded(INNER_MEMBER), "inner", "m", "outer/host"),  # 14
    (2.0, bare(INNER), "inner", "", "outer/host"),  # 15
    (2.0, MemberEnded(HOST), "outer", "host", ""),  # 16
    (2.0, bare(OUTER), "outer", "", ""),  # 17
    (2.0, RunEnded(RESULT.state, RESULT.failure, RESULT.usage, RESULT.stats), "", "", ""),  # 18
]


def renumbered(events: list[Event]) -> list[Event]:
    return [replace(event, sequence=number) for number, event in enumerate(events, 1)]


@dataclass
class Case:
    """A history that may be changed piece by piece; what is not changed stays consistent with the rest."""

    events: list[Event]
    result: RunResult
    plan: Plan | None = None

    def problems(self) -> list[str]:
        """What the checker reports, one promise each; empty when it is content."""
        try:
            check_run(self.events, self.result, plan=self.plan)
        except AssertionError as error:
            return str(error).split("\n- ")[1:]
        return []

    def drop(self, number: int) -> None:
        """Take the event with this number away and close the gap."""
        del self.events[number - 1]
        self.events = renumbered(self.events)

    def repeat(self, number: int, at: int) -> None:
        """Put a copy of an event at another place."""
        self.events.insert(at - 1, replace(self.events[number - 1], elapsed=self.events[at - 2].elapsed))
        self.events = renumbered(self.events)

    def insert(self, at: int, events: list[Event]) -> None:
        """Put events at another place."""
        self.events[at - 1 : at - 1] = events
        self.events = renumbered(self.events)

    def move(self, number: int, to: int) -> None:
        event = self.events.pop(number - 1)
        self.events.insert(to - 1, replace(event, elapsed=self.events[to - 2].elapsed))
        self.events = renumbered(self.events)

    def edit(self, number: int, **changes: Any) -> None:
        self.events[number - 1] = replace(self.events[number - 1], **changes)

    def edit_detail(self, number: int, /, **changes: Any) -> None:
        self.edit(number, detail=replace(self.events[number - 1].detail, **changes))

    def edit_result(self, **changes: Any) -> None:
        """Change the run's result, and its end event with it."""
        self.result = replace(self.result, **changes)
        shared = ("state", "failure", "usage", "stats")
        self.edit_detail(len(self.events), **{name: getattr(self.result, name) for name in shared})

    def edit_group(self, name: str, /, **changes: Any) -> None:
        """Change a group of the plan, and its end event with it."""
        groups = tuple(replace(group, **changes) if group.name == name else group for group in self.result.groups)
        self.result = replace(self.result, groups=groups)
        self._follow(
            lambda event: isinstance(event.detail, GroupEnded) and event.group == name, bare(self.result[name])
        )

    def edit_outcome(self, group: str, member: str, /, **changes: Any) -> None:
        """Change an outcome of a group of the plan, and its end event with it."""
        outcomes = tuple(replace(o, **changes) if o.member == member else o for o in self.result[group].outcomes)
        self.edit_group(group, outcomes=outcomes)
        changed = next((o for o in outcomes if o.member == member), None)
        if changed is not None:
            ended = MemberEnded(changed)
            self._follow(
                lambda event: isinstance(event.detail, MemberEnded) and (event.group, event.member) == (group, member),
                ended,
            )

    def _follow(self, which: Callable[[Event], bool], detail: Any) -> None:
        self.events = [replace(event, detail=detail) if which(event) else event for event in self.events]


@pytest.fixture
def case() -> Case:
    """The history as it should be."""
    events = [Event(number, *detail) for number, detail in enumerate(DETAILS, 1)]
    return Case(events, RESULT, PLAN)
