"""The checker reports every promise that a history breaks about what an aggregation asks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from motet.model.event import Event, GroupEnded, GroupStarted, MemberEnded, MemberProgress, MemberStarted
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.result import GroupResult, Saved, Stats
from motet.model.state import State
from motet.model.usage import NONE, Usage
from motet.testing import check_run

FIRST, SECOND = "outer/@", "outer/@#2"
ASKED = Usage(calls=1, cost_nanos=5)
SAID = Outcome(member="q", agent="judge", state=State.SUCCEEDED, output=Payload.of(1), ran=0.0, usage=ASKED)
CUT = replace(
    SAID,
    state=State.CANCELLED,
    output=None,
    failure=Failure("CANCELLED", "the caller cancelled the run"),
    stop=StopReceipt(StopKind.STOPPED, 0.0),
)


def question(parent: str, outcome: Outcome = SAID) -> GroupResult:
    """A question to one agent, which answered unless the outcome says otherwise."""
    good = outcome.succeeded
    return GroupResult(
        name="judge",
        state=State.SUCCEEDED if good else State.CANCELLED,
        aggregate=Payload.of([1]) if good else None,
        failure=outcome.failure,
        outcomes=(outcome,),
        stats=Stats(members=1, succeeded=int(good), cancelled=int(not good), peak_running=1),
        parent=parent,
        usage=ASKED,
    )


def events_of(group: GroupResult) -> list[Event]:
    [outcome] = group.outcomes
    details: list[tuple[Any, str]] = [
        (GroupStarted(1, (("q", "judge"),)), ""),
        (MemberStarted("judge", 0.0), "q"),
        (MemberEnded(outcome), "q"),
        (GroupEnded(replace(group, outcomes=())), ""),
    ]
    return [Event(1, 2.0, detail, group.name, member, group.parent) for detail, member in details]


def ask(case: Any, *questions: GroupResult) -> None:
    """Let the group `outer` have asked these; their events are the 17th to the one before its end."""
    case.insert(17, [event for group in questions for event in events_of(group)])
    usage = case.result["outer"].usage
    for group in questions:
        usage += group.usage
    case.edit_group("outer", asked=questions, usage=usage)
    case.edit_result(usage=case.result["race"].usage + usage)


@pytest.fixture
def asked(case: Any) -> Any:
    """The history with two questions, 17 to 20 and 21 to 24; 25 is the end of `outer`."""
    ask(case, question(FIRST), question(SECOND))
    return case


def edit_question(number: int, **changes: Any) -> Callable[[Any], None]:
    """Change the result of a question, and its end event with it."""

    def edit(case: Any) -> None:
        questions = list(case.result["outer"].asked)
        questions[number - 1] = changed = replace(questions[number - 1], **changes)
        case.edit_detail(16 + 4 * number, result=replace(changed, outcomes=(), asked=()))
        case.edit_group("outer", asked=tuple(questions))

    return edit


def test_a_history_with_questions_that_keeps_every_promise_passes(asked: Any) -> None:
    check_run(asked.events, asked.result, plan=asked.plan)


def test_a_group_that_was_cancelled_while_it_asked_shows_the_question_that_was_cut(case: Any) -> None:
    ask(case, question(FIRST, CUT))
    case.edit_group("outer", state=State.CANCELLED, failure=CUT.failure)
    assert case.problems() == []
    case.edit_group("outer", asked=(), usage=case.result["outer"]["host"].usage)
    assert "group outer: it is CANCELLED, and no member or question has the reason CANCELLED" in case.problems()


def test_a_question_that_never_started_has_no_events(case: Any) -> None:
    skipped = replace(
        question(FIRST, CUT),
        state=State.SKIPPED,
        outcomes=(replace(CUT, state=State.SKIPPED, attempts=0, stop=None, usage=NONE),),
        stats=Stats(members=1, skipped=1),
        usage=NONE,
    )
    case.edit_group("outer", asked=(skipped,))
    assert case.problems() == []


def test_an_aggregation_that_asks_in_a_nested_group_is_checked_there(case: Any) -> None:
    inner = case.result["outer"]["host"].nested[0]
    asked = question("outer/host/inner/@")
    inner = replace(inner, asked=(asked,), usage=inner.usage + ASKED)
    case.insert(15, events_of(asked))
    case.edit(19, detail=GroupEnded(replace(inner, outcomes=(), asked=())))
    usage = case.result["outer"].usage + ASKED
    case.edit_group("outer", usage=usage)
    case.edit_result(usage=case.result["race"].usage + usage)
    case.edit_outcome("outer", "host", nested=(inner,), usage=usage)
    assert case.problems() == []
    case.move(20, to=15)
    assert any("host ends before group outer/host/inner" in problem for problem in case.problems())


BROKEN: dict[str, tuple[Callable[[Any], object], str]] = {
    "question before a member has ended": (
        lambda c: c.move(16, to=20),
        "outer/@/judge starts before the members of group outer, which asks, have ended",
    ),
    "question before the group that asks": (
        lambda c: c.move(17, to=10),
        "group outer/@/judge starts outside the run of the group that asks",
    ),
    "question after the group that asks": (
        lambda c: c.move(25, to=24),
        "group outer ends before group outer/@#2/judge, which it asks",
    ),
    "two questions at once": (
        lambda c: c.move(20, to=21),
        "group outer/@#2/judge starts before group outer/@/judge, a question before it, has ended",
    ),
    "question of a group that nobody knows": (
        lambda c: [c.edit(n, parent="other/@") for n in range(17, 21)],
        "group other/@/judge starts outside the run of the group that asks",
    ),
    "question that no result tells of": (
        lambda c: c.edit_group("outer", asked=c.result["outer"].asked[:1]),
        "group outer/@#2/judge: it has events, and no result of a group that started",
    ),
    "questions that no result tells of": (
        lambda c: c.edit_group("outer", asked=()),
        "group outer/@/judge: it has events, and no result of a group that started",
    ),
    "questions of a group without a result": (
        lambda c: [c.edit(n, parent="race/@") for n in range(17, 21)],
        "group race/@/judge: it has events, and no result of a group that started",
    ),
    "questions of a nested group without a result": (
        lambda c: [c.edit(n, parent="x/y/z/@") for n in range(17, 21)],
        "group x/y/z/@/judge: no result of a group tells of it",
    ),
    "question without events": (
        lambda c: c.events.__setitem__(slice(None), [e for e in c.events if e.parent != SECOND]),
        "group outer/@#2/judge: it is SUCCEEDED and has no events",
    ),
    "question out of order": (
        lambda c: c.edit_group("outer", asked=c.result["outer"].asked[::-1]),
        "outer/@: the questions are not in the order in which they started",
    ),
    "question with a wrong number": (
        edit_question(2, parent="outer/@#3"),
        "group outer: the parent of its question 2 is 'outer/@#3', 'outer/@#2' is right",
    ),
    "question under a member": (edit_question(1, parent="outer/host"), "the parent of its question 1 is 'outer/host'"),
    "question with a name that it did not have": (
        edit_question(1, name="other"),
        "group outer/@/other: it is SUCCEEDED and has no events",
    ),
    "question to nobody": (edit_question(1, outcomes=()), "group outer: its question 1 was put to nobody"),
    "question without an end": (lambda c: c.drop(20), "group outer/@/judge has no GroupEnded"),
    "member of a question without an end": (lambda c: c.drop(19), "group outer/@/judge ends before its members q"),
    "other outcome of a question": (
        edit_question(1, outcomes=(replace(SAID, output=Payload.of(2)),)),
        "group outer/@/judge, member q: MemberEnded and the result differ",
    ),
    "other result of a question": (
        lambda c: c.edit_detail(20, result=replace(question(FIRST), outcomes=(), elapsed=0.5)),
        "group outer/@/judge: GroupEnded and the result differ",
    ),
    "wrong count of a question": (edit_question(1, stats=Stats()), "group outer/@/judge: stats.members is 0"),
    "wrong usage of a question": (edit_question(1, usage=NONE), "group outer/@/judge: its usage is not the sum over"),
    "question without an answer": (edit_question(1, aggregate=None), "outer/@/judge: it is SUCCEEDED and has no aggre"),
    "question that took too long": (edit_question(1, elapsed=3.0), "group outer: its questions took 3.0 s in a group"),
    "saved of a question": (edit_question(1, saved=Saved()), "outer/@/judge: decided_early is False and saved is set"),
    "question that was decided": (
        edit_question(1, outcomes=(replace(CUT, failure=Failure("DECIDED", "it was decided")),)),
        "group outer/@/judge: members were stopped because it was decided, and decided_early is not set",
    ),
    "group end with questions": (
        lambda c: c.edit_detail(25, result=replace(c.result["outer"], outcomes=())),
        "group outer: GroupEnded and the result differ",
    ),
    "questions that cost nothing": (
        lambda c: c.edit_group("outer", usage=c.result["outer"]["host"].usage),
        "group outer: its usage is not the sum over its members and questions",
    ),
    "questions in the run's members": (
        lambda c: c.edit_detail(1, members=7),
        "run: RunStarted says 7 members, 5 have outcomes",
    ),
    "questions in the group's members": (
        lambda c: c.edit_detail(10, members=3),
        "group outer: GroupStarted says 3 members, 1 have outcomes",
    ),
    "questions in the group's statistics": (
        lambda c: c.edit_group("outer", stats=replace(c.result["outer"].stats, members=3)),
        "group outer: stats.members is 3, the outcomes say 1",
    ),
    "skipped group that asked": (
        lambda c: c.edit_group("after", asked=(question("after/@"),)),
        "group after: it is SKIPPED and has asked",
    ),
    "progress of a member while its group asks": (
        lambda c: c.insert(18, [replace(c.events[15], detail=MemberProgress(Payload.of(1)))]),
        "progress of host, which does not run",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_about_questions_is_reported(name: str, asked: Any) -> None:
    break_it, report = BROKEN[name]
    asked.plan = None
    break_it(asked)
    assert any(report in problem for problem in asked.problems()), asked.problems()
