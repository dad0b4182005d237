"""The checker reports every promise about attempts, kept answers and limits that a history breaks."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from motet.model.event import AttemptEnded, AttemptStarted, Event
from motet.model.outcome import Attempt, AttemptKind, Failure, StopKind, StopReceipt
from motet.model.plan import Aggregation, HedgePolicy, Idempotency, Limits, Member, RetryPolicy, Sequence
from motet.model.state import State
from motet.model.usage import NONE, Usage
from motet.testing import ScriptedAgent

FAILURE = Failure("AGENT_FAILED", "it failed")
INTERRUPTED = Failure("INTERRUPTED", "the process that ran it ended")
STOPPED = StopReceipt(StopKind.STOPPED, 0.0)
ONE = Usage(calls=1, unpriced_calls=1)
# The first call fails, the second is slow, and the third, beside it, answers.
FIRST = Attempt(number=1, kind=AttemptKind.FIRST, state=State.FAILED, failure=FAILURE, ran=0.5, usage=ONE)
SLOW = Attempt(
    number=2,
    kind=AttemptKind.RETRY,
    state=State.CANCELLED,
    failure=Failure("DECIDED", "another attempt answered first"),
    started=0.5,
    ran=0.5,
    usage=ONE,
    stop=STOPPED,
)
WINNER = Attempt(number=3, kind=AttemptKind.HEDGE, state=State.SUCCEEDED, started=0.75, ran=0.25, usage=ONE)
RETRY, HEDGE = RetryPolicy(max_attempts=2), HedgePolicy(delay=0.25)


def of_fast(case: Any, told: list[tuple[float, Any]], log: tuple[Attempt, ...], **outcome: Any) -> None:
    """Give member `fast`, which the history has succeed at its first call, these attempts."""
    case.insert(6, [Event(0, elapsed, detail, "race", "fast") for elapsed, detail in told])
    change = {"attempts": len(log), "attempt_log": log, "usage": sum((each.usage for each in log), NONE)}
    case.edit_outcome("race", "fast", **{**change, **outcome})
    spend(case)


def spend(case: Any) -> None:
    """Add up again what is used."""
    case.edit_group("race", usage=sum((o.usage for o in case.result["race"].outcomes), NONE))
    case.edit_result(usage=sum((group.usage for group in case.result.groups), NONE))


@pytest.fixture
def tried(case: Any) -> Any:
    """The history, in which `fast` (events 3 and 11) makes three attempts, told by events 6 to 10."""
    told = [
        (0.5, AttemptEnded(FIRST, 0.0)),  # 6
        (0.5, AttemptStarted(2, AttemptKind.RETRY)),  # 7
        (0.75, AttemptStarted(3, AttemptKind.HEDGE)),  # 8
        (1.0, AttemptEnded(WINNER)),  # 9
        (1.0, AttemptEnded(SLOW)),  # 10
    ]
    of_fast(case, told, (FIRST, SLOW, WINNER))
    case.plan = with_race(case, retry=RETRY, hedge=HEDGE)
    return case


@pytest.fixture
def kept(case: Any) -> Any:
    """The history, in which the answer of `fast` is from an earlier call."""
    case.drop(5)
    case.drop(3)
    case.edit_outcome("race", "fast", attempts=0, cached=True, usage=NONE, ran=0.0, queued=1.0)
    stats = case.result["race"].stats
    case.edit_group("race", stats=replace(stats, ran=1.0, queued=2.0, peak_running=1))
    case.edit_result(stats=replace(case.result.stats, ran=2.0, queued=2.0, peak_running=1))
    spend(case)
    case.plan = with_race(case, idempotency=Idempotency())
    return case


def with_race(case: Any, **changes: Any) -> Sequence:
    return Sequence([replace(case.plan.steps[0], **changes), *case.plan.steps[1:]], feed_forward=True)


def race(**changes: Any) -> Callable[[Any], object]:
    """Change what the plan says of the group."""
    return lambda c: setattr(c, "plan", with_race(c, **changes))


def log(number: int, **changes: Any) -> Callable[[Any], object]:
    """Change one attempt of `fast`, in its log and in the event of its end."""

    def change(case: Any) -> None:
        entries = list(case.result["race"]["fast"].attempt_log)
        entries[number - 1] = replace(entries[number - 1], **changes)
        case.edit_outcome("race", "fast", attempt_log=tuple(entries))
        told = {1: 6, 2: 10, 3: 9}[number]
        case.edit_detail(told, attempt=entries[number - 1])

    return change


def fast(**changes: Any) -> Callable[[Any], object]:
    return lambda c: c.edit_outcome("race", "fast", **changes)


def test_attempts_that_keep_every_promise_pass(tried: Any) -> None:
    assert tried.problems() == []


def test_a_member_that_was_to_be_tried_again_and_was_not_passes(case: Any) -> None:
    case.insert(6, [Event(0, 0.5, AttemptEnded(FIRST, 30.0), "race", "fast")])
    assert case.problems() == []


def test_a_history_that_goes_on_after_a_crash_is_one_unbroken_stream(case: Any) -> None:
    crashed = replace(FIRST, failure=INTERRUPTED)
    again = replace(WINNER, number=2, kind=AttemptKind.RESUME)
    told = [
        (0.5, AttemptEnded(crashed)),
        (0.75, AttemptStarted(2, AttemptKind.RESUME)),
        (1.0, AttemptEnded(again)),
    ]
    of_fast(case, told, (crashed, again))
    assert case.problems() == []
    # What another process began is numbered on from where the first had come.
    case.events = [replace(e, sequence=e.sequence + (e.sequence > 6)) for e in case.events]
    assert case.problems()[0] == "sequence is 8, 7 is next"


def test_an_answer_that_is_lost_with_its_process_is_asked_for_again_or_interrupted(case: Any) -> None:
    lost = replace(WINNER, number=1, kind=AttemptKind.FIRST, started=0.0)
    again = replace(FIRST, number=2, kind=AttemptKind.RESUME, started=0.5)
    told = [
        (0.5, AttemptEnded(lost)),
        (0.5, AttemptStarted(2, AttemptKind.RESUME)),
        (1.0, AttemptEnded(again)),
    ]
    of_fast(case, told, (lost, again), state=State.FAILED, output=None, failure=FAILURE)
    assert not any("attempt is SUCCEEDED" in problem for problem in case.problems())
    case.edit_outcome("race", "fast", attempt_log=(lost, replace(again, kind=AttemptKind.RETRY)))
    assert any("fast: it is FAILED and an attempt is SUCCEEDED" in problem for problem in case.problems())
    assert any("attempt 2: it is a RETRY of one that is SUCCEEDED" in problem for problem in case.problems())
    case.edit_outcome("race", "fast", failure=INTERRUPTED)
    assert not any("attempt is SUCCEEDED" in problem for problem in case.problems())


def test_two_attempts_may_answer_at_one_moment(tried: Any) -> None:
    log(2, state=State.SUCCEEDED, failure=None, stop=None)(tried)
    assert tried.problems() == []


def test_an_answer_from_an_earlier_call_passes(kept: Any) -> None:
    assert kept.problems() == []


BROKEN: dict[str, tuple[Callable[[Any], object], str]] = {
    # events
    "a number left out": (lambda c: c.edit_detail(8, number=4), "attempt 4 of fast starts, 3 is next"),
    "a second first": (
        lambda c: c.edit_detail(7, kind=AttemptKind.FIRST),
        "attempt 2 of fast says that it is the first",
    ),
    "a hedge beside nothing": (
        lambda c: c.edit_detail(7, kind=AttemptKind.HEDGE),
        "attempt 2 of fast is a hedge beside nothing",
    ),
    "a retry beside another": (
        lambda c: c.edit_detail(8, kind=AttemptKind.RETRY),
        "attempt 3 of fast starts before attempt 2 has ended",
    ),
    "a resume beside another": (
        lambda c: c.edit_detail(8, kind=AttemptKind.RESUME),
        "attempt 3 of fast starts before attempt 2 has ended",
    ),
    "an attempt before its member": (lambda c: c.move(7, to=3), "attempt 2 of fast starts, which does not run"),
    "an attempt after its member": (lambda c: c.repeat(8, at=12), "attempt 3 of fast starts, which does not run"),
    "an end before the start": (lambda c: c.move(10, to=7), "attempt 2 of fast ends and has not started"),
    "an end after the member": (lambda c: c.move(10, to=11), "attempt 2 of fast ends, which does not run"),
    "two ends": (lambda c: c.repeat(9, at=10), "attempt 3 of fast ends a second time"),
    "no end": (lambda c: c.drop(10), "fast ends before its attempt 2"),
    "no end of the first": (lambda c: c.drop(6), "fast ends before its attempt 1"),
    "another kind at the end": (
        lambda c: c.edit_detail(9, attempt=replace(WINNER, kind=AttemptKind.RETRY)),
        "attempt 3 of fast ends as RETRY, it started as HEDGE",
    ),
    "a wait that is none": (lambda c: c.edit_detail(6, retry_in=-1.0), "attempt 1 of fast is to be tried again in -1"),
    "an endless wait": (lambda c: c.edit_detail(6, retry_in=math.inf), "attempt 1 of fast is to be tried again in inf"),
    "a success tried again": (
        lambda c: c.edit_detail(9, retry_in=1.0),
        "attempt 3 of fast is to be tried again and has not failed",
    ),
    "an attempt of the group": (lambda c: c.edit(7, member=""), "AttemptStarted is placed at"),
    "an end of the group": (lambda c: c.edit(9, member=""), "AttemptEnded is placed at"),
    "the end and the log": (
        lambda c: c.edit_detail(9, attempt=replace(WINNER, ran=0.1)),
        "group race, member fast: AttemptEnded and the log differ in attempt 3",
    ),
    "a start without an entry": (
        fast(attempts=2, attempt_log=(FIRST, SLOW)),
        "group race, member fast: 3 attempts started, the outcome says 2",
    ),
    # outcomes
    "no log": (fast(attempt_log=()), "fast: it made 3 attempts, its log has those numbered []"),
    "another order": (
        fast(attempt_log=(FIRST, WINNER, SLOW)),
        "fast: it made 3 attempts, its log has those numbered [1, 3, 2]",
    ),
    "a log of one": (fast(attempts=1, attempt_log=(FIRST,)), "it made 1 attempts, its log has those numbered [1]"),
    "usage of the winner only": (fast(usage=ONE), "fast: its usage is not the sum over its attempts and the groups"),
    "nobody answered": (
        log(3, state=State.FAILED, failure=FAILURE),
        "fast: it is SUCCEEDED and no attempt is SUCCEEDED",
    ),
    "an answer lost": (
        fast(state=State.FAILED, failure=FAILURE, output=None),
        "fast: it is FAILED and an attempt is SUCCEEDED",
    ),
    "a failure of nobody": (
        lambda c: (
            fast(state=State.FAILED, failure=FAILURE, output=None)(c),
            log(1, state=State.CANCELLED, stop=STOPPED)(c),
        ),
        "fast: it is FAILED and no attempt is FAILED",
    ),
    "late first": (log(1, started=0.25), "fast, attempt 1: it started 0.25 s after its member"),
    "back in time": (
        log(3, started=0.25),
        "attempt 3: it started at 0.25 s of 1.0 s, the attempt before it started at",
    ),
    "after its member": (log(3, started=1.5), "fast, attempt 3: it started at 1.5 s of 1.0 s"),
    "an attempt that runs": (log(2, state=State.RUNNING), "fast, attempt 2: its state is RUNNING, which is no end of"),
    "an attempt never made": (log(2, state=State.SKIPPED), "attempt 2: its state is SKIPPED, which is no end of"),
    "a first that is a retry": (log(1, kind=AttemptKind.RETRY), "fast, attempt 1: its kind is RETRY"),
    "a later first": (log(2, kind=AttemptKind.FIRST), "fast, attempt 2: its kind is FIRST"),
    "a failed attempt without why": (log(1, failure=None), "fast, attempt 1: it is FAILED and has no failure"),
    "an answer with a failure": (log(3, failure=FAILURE), "fast, attempt 3: it is SUCCEEDED and has a failure"),
    "a loser without a receipt": (log(2, stop=None), "fast, attempt 2: it is CANCELLED and has no stop receipt"),
    "a winner with a receipt": (log(3, stop=STOPPED), "fast, attempt 3: it is SUCCEEDED and has a stop receipt"),
    "an endless receipt": (log(2, stop=StopReceipt(StopKind.STOPPED, math.inf)), "fast, attempt 2: took is inf"),
    "an attempt of negative length": (log(3, ran=-1.0), "fast, attempt 3: ran is -1.0"),
    # plans
    "a retry too many": (race(retry=RetryPolicy()), "fast is tried again 1 times, its policy allows 0"),
    "a retry that nobody asked for": (race(retry=None), "fast is tried again 1 times, its policy allows 0"),
    "a retry against the member's policy": (
        lambda c: race(members=[Member("a", "fast", retry=RetryPolicy()), *c.plan.steps[0].members[1:]])(c),
        "fast is tried again 1 times, its policy allows 0",
    ),
    "a hedge that nobody asked for": (race(hedge=None), "fast is hedged, and its group has no policy"),
    "a hedge of an agent that forbids it": (
        lambda c: race(members=[Member(ScriptedAgent("a"), "fast"), *c.plan.steps[0].members[1:]])(c),
        "fast is hedged, and its agent is not replay_safe",
    ),
    "too many at once": (
        race(hedge=HedgePolicy(delay=0.25, max_attempts=1)),
        "fast makes 2 attempts at once, its policy allows 1",
    ),
    "too few successes": (
        race(limits=Limits(min_successes=2)),
        "group race: it is SUCCEEDED with 1 successes of 2",
    ),
    "too many failures": (
        lambda c: (
            race(
                limits=Limits(max_failure_rate=0.25, min_samples=2), aggregation=Aggregation("first", early_stop=False)
            )(c),
            c.edit_group("race", stats=replace(c.result["race"].stats, failed=1)),
        ),
        "group race: it is SUCCEEDED, and 1 of 2 members failed, max_failure_rate is 0.25",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_about_attempts_is_reported(name: str, tried: Any) -> None:
    break_it, report = BROKEN[name]
    break_it(tried)
    assert any(report in problem for problem in tried.problems()), tried.problems()


BROKEN_KEPT: dict[str, tuple[Callable[[Any], object], str]] = {
    "attempts": (fast(attempts=1), "fast: it is SUCCEEDED, from an earlier call, after 1 attempts"),
    "no attempts": (fast(cached=False), "member race/fast: it is SUCCEEDED after 0 attempts"),
    "a start": (
        lambda c: c.insert(3, [replace(c.events[2], detail=replace(c.events[2].detail, agent="a"), member="fast")]),
        "fast: it is SUCCEEDED, from an earlier call, with 1 attempts started",
    ),
    "a failure": (
        fast(state=State.FAILED, failure=FAILURE, output=None),
        "fast: it is FAILED and from an earlier call; only successes are kept",
    ),
    "run time": (fast(ran=0.5, queued=0.5), "fast: it is from an earlier call and has run"),
    "usage": (fast(usage=ONE), "fast: it is from an earlier call and has used something"),
    "groups": (
        lambda c: c.edit_outcome("race", "fast", nested=c.result["outer"]["host"].nested),
        "fast: it is from an earlier call and has run groups",
    ),
    "no policy": (race(idempotency=None), "fast is from an earlier call, and the plan does not ask for that"),
}


@pytest.mark.parametrize("name", BROKEN_KEPT)
def test_a_broken_promise_about_kept_answers_is_reported(name: str, kept: Any) -> None:
    break_it, report = BROKEN_KEPT[name]
    break_it(kept)
    assert any(report in problem for problem in kept.problems()), kept.problems()


def test_a_members_own_retries_stand_for_the_groups(tried: Any) -> None:
    members = tried.plan.steps[0].members
    tried.plan = with_race(tried, retry=None, members=[replace(members[0], retry=RETRY), *members[1:]])
    assert tried.problems() == []


def test_a_members_own_key_stands_for_the_groups(kept: Any) -> None:
    members = kept.plan.steps[0].members
    kept.plan = with_race(
        kept, idempotency=None, members=[replace(members[0], idempotency=Idempotency()), *members[1:]]
    )
    assert kept.problems() == []
