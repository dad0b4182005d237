"""The checker reports every promise about events that a history breaks."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from motet.model.event import Event, MemberStarted
from motet.model.payload import Payload
from motet.testing import check_run


def test_a_history_that_keeps_every_promise_passes(case: Any) -> None:
    check_run(case.events, case.result)
    check_run(iter(case.events), case.result, plan=case.plan)
    assert case.problems() == []


def test_a_second_nested_run_of_one_member_is_told_apart_by_its_parent(case: Any) -> None:
    outer = case.result["outer"]
    host = outer["host"]
    again = replace(host.nested[0], parent="outer/host#2")
    copies = [replace(event, parent="outer/host#2", elapsed=2.0) for event in case.events[11:15]]
    copies[3] = replace(copies[3], detail=replace(copies[3].detail, result=replace(again, outcomes=())))
    case.events[15:15] = copies
    case.events = [replace(event, sequence=number) for number, event in enumerate(case.events, 1)]
    case.edit_outcome("outer", "host", nested=(*host.nested, again))
    assert case.problems() == []
    case.edit_outcome("outer", "host", nested=(again, *host.nested))
    assert case.problems() == ["outer/host: the nested runs are not in the order in which they started"]


def test_every_broken_promise_is_listed(case: Any) -> None:
    case.edit(5, elapsed=-1.0)
    case.edit_detail(1, run_id="other")
    case.edit_outcome("race", "slow", stop=None)
    problems = case.problems()
    assert len(problems) == 3
    with pytest.raises(AssertionError, match="run r breaks 3 promises:"):
        check_run(case.events, case.result)


BROKEN: dict[str, tuple[Callable[[Any], object], str]] = {
    "no events": (lambda c: c.events.clear(), "there are no events"),
    "a gap": (lambda c: c.events.pop(4), "sequence is 6, 5 is next"),
    "numbers from 0": (lambda c: c.edit(1, sequence=0), "sequence is 0, 1 is next"),
    "time goes back": (lambda c: c.edit(12, elapsed=0.25), "elapsed goes back"),
    "time is not a number": (lambda c: c.edit(12, elapsed=math.nan), "elapsed goes back"),
    "no start": (lambda c: c.drop(1), "the first event is not RunStarted"),
    "no end": (lambda c: c.drop(18), "the last event is not RunEnded"),
    "something after the end": (lambda c: c.repeat(5, at=19), "the last event is not RunEnded"),
    "two starts": (lambda c: c.repeat(1, at=5), "a second RunStarted"),
    "two ends": (lambda c: c.repeat(18, at=19), "a second RunEnded"),
    "run event in a group": (lambda c: c.edit(1, group="race"), "RunStarted is placed at"),
    "run event under a parent": (lambda c: c.edit(18, parent="outer/host"), "RunEnded is placed at"),
    "group event of a member": (lambda c: c.edit(9, member="fast"), "GroupEnded is placed at"),
    "member event without member": (lambda c: c.edit(5, member=""), "MemberProgress is placed at"),
    "group starts twice": (lambda c: c.repeat(2, at=5), "group race starts while it runs"),
    "group starts again": (lambda c: c.repeat(2, at=10), "group race starts a second time"),
    "group never starts": (lambda c: c.drop(2), "an event of group race, which is not running"),
    "group never ends": (lambda c: c.drop(9), "group race has no GroupEnded"),
    "group ends twice": (lambda c: c.repeat(9, at=10), "an event of group race, which is not running"),
    "member before its group": (lambda c: c.move(3, to=2), "an event of group race, which is not running"),
    "group ends before a member": (lambda c: c.move(9, to=8), "group race ends before its members slow"),
    "skipped member after its group": (lambda c: c.move(7, to=9), "an event of group race, which is not running"),
    "member starts twice": (lambda c: c.repeat(3, at=5), "fast starts a second time"),
    "attempts from 2": (lambda c: c.edit_detail(3, attempt=2), "fast starts with attempt 2"),
    "member starts after its end": (lambda c: c.repeat(3, at=7), "fast starts after its end"),
    "member never starts": (lambda c: c.drop(4), "it is CANCELLED with 0 attempts started"),
    "member never ends": (lambda c: c.drop(8), "group race ends before its members slow"),
    "member ends twice": (lambda c: c.repeat(6, at=7), "fast ends a second time"),
    "member ends before its start": (lambda c: c.move(6, to=3), "fast starts after its end"),
    "skipped member starts": (
        lambda c: c.events.__setitem__(slice(None), _with_start_of_late(c)),
        "it is SKIPPED with 1 attempts started",
    ),
    "progress before the start": (lambda c: c.move(5, to=3), "progress of fast, which does not run"),
    "progress after the end": (lambda c: c.move(5, to=6), "progress of fast, which does not run"),
    "outcome of another": (lambda c: c.edit(6, member="late"), "the outcome is of fast, the event of late"),
    "agent of another": (lambda c: c.edit_detail(3, agent="b"), "agent b started, the outcome is of a"),
    "other queue time": (lambda c: c.edit_detail(3, queued=0.5), "it queued 0.5 s when it started, 0.0 s says"),
    "other outcome": (
        lambda c: c.edit_detail(6, outcome=replace(c.result["race"]["fast"], output=Payload.of("y"))),
        "group race, member fast: MemberEnded and the result differ",
    ),
    "other group result": (
        lambda c: c.edit_detail(9, result=replace(c.result["race"], outcomes=(), elapsed=0.9)),
        "group race: GroupEnded and the result differ",
    ),
    "group end with outcomes": (
        lambda c: c.edit_detail(9, result=c.result["race"]),
        "group race: GroupEnded and the result differ",
    ),
    "members at the group's start": (lambda c: c.edit_detail(2, members=2), "GroupStarted says 2 members, 3 have"),
    "seats at the group's start": (lambda c: c.edit_detail(10, seats=()), "the seats in GroupStarted are not"),
    "members at the run's start": (lambda c: c.edit_detail(1, members=3), "RunStarted says 3 members, 5 have"),
    "id at the run's start": (lambda c: c.edit_detail(1, run_id="q"), "RunStarted is of q, the result of r"),
    "time at the run's start": (
        lambda c: c.edit_detail(1, started_at=c.result.started_at.replace(year=2000)),
        "RunStarted and the result differ in started_at",
    ),
    "state at the run's end": (
        lambda c: c.edit_detail(18, state="TIMED_OUT"),
        "RunEnded and the result differ in state",
    ),
    "failure at the run's end": (lambda c: c.edit_detail(18, failure=None), "the result differ in failure"),
    "usage at the run's end": (
        lambda c: c.edit_detail(18, usage=c.result["race"].usage),
        "the result differ in usage",
    ),
    "stats at the run's end": (lambda c: c.edit_detail(18, stats=c.result["race"].stats), "the result differ in stats"),
    "nested before its member": (lambda c: c.move(12, to=11), "group outer/host/inner starts outside the run of its"),
    "nested after its member": (lambda c: c.move(16, to=15), "host ends before group outer/host/inner"),
    "nested without a result": (
        lambda c: c.edit_outcome("outer", "host", nested=()),
        "group outer/host/inner: it has events, and no result of a group that started",
    ),
    "nested without events": (
        lambda c: c.events.__setitem__(slice(None), [e for e in c.events if not e.parent]),
        "group outer/host/inner: it is FAILED and has no events",
    ),
    "skipped group with events": (
        lambda c: c.events.__setitem__(
            slice(17, 17), [replace(c.events[1], group="after"), replace(c.events[8], group="after")]
        ),
        "group after: it has events, and no result of a group that started",
    ),
    "nested under nobody": (
        lambda c: [c.edit(n, parent="outer/nobody") for n in range(12, 16)],
        "group outer/nobody/inner: no result of a member tells of it",
    ),
    "member that nobody knows": (lambda c: c.edit(5, member="x"), "group race: member x has events and no outcome"),
}


def _with_start_of_late(case: Any) -> list[Event]:
    start = replace(case.events[6], detail=MemberStarted("a", 1.0), elapsed=1.0)
    return [replace(e, sequence=n) for n, e in enumerate([*case.events[:6], start, *case.events[6:]], 1)]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_about_events_is_reported(name: str, case: Any) -> None:
    break_it, report = BROKEN[name]
    case.plan = None
    break_it(case)
    assert any(report in problem for problem in case.problems()), case.problems()
