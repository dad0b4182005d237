"""The pure decisions at the end of groups and runs: states, failures, counts, usage, what an early decision spared."""

from dataclasses import replace
from typing import Any

import pytest

from motet.engine import causes, settle
from motet.model import reason
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import Limits
from motet.model.result import GroupResult, Saved, Stats
from motet.model.state import State
from motet.model.usage import NONE, Usage
from motet.testing.contracts_aggregator import failed, stopped, succeeded

ANSWER = Payload.of("x")
NO_ANSWER = Failure(reason.NO_SUCCESSFUL_RESULTS, "nobody succeeded", {"members": {}})
RAISED = Failure(reason.AGGREGATION_FAILED, "the aggregation raised")
CANCELLED = causes.cancelled(1.0)
DEADLINE = causes.deadline_exceeded(1.0, "group")


def cut(cause: causes.StopCause) -> Outcome:
    """The outcome of a member that ran when it was stopped."""
    return replace(stopped("cut"), state=cause.state, failure=cause.failure)


def never(member: str, why: str = reason.DECIDED) -> Outcome:
    """The outcome of a member that never started."""
    return Outcome(member=member, agent="agent", state=State.SKIPPED, failure=Failure(why, "skipped"), attempts=0)


def ended(name: str, state: State, why: str = reason.NO_SUCCESSFUL_RESULTS) -> GroupResult:
    if state is State.SUCCEEDED:
        return GroupResult(name=name, state=state, aggregate=ANSWER)
    return GroupResult(name=name, state=state, failure=Failure(why, f"{name} said why"))


def test_what_was_spared_is_what_was_decided_and_only_what_never_started_is_a_call() -> None:
    outcomes = [succeeded("a", 1), stopped("b"), never("c"), never("d"), never("e", reason.CANCELLED), failed("f")]
    cards = {1: 7, 2: 1_000_000, 3: None, 4: 11}
    assert settle.saved(outcomes, cards.__getitem__) == Saved(
        members=3, calls=2, cost_nanos=1_000_000, unpriced_calls=1
    )


def test_a_card_that_says_free_is_a_price_and_an_unknown_price_is_unpriced_not_zero() -> None:
    outcomes = [never("a"), never("b")]
    assert settle.saved(outcomes, lambda _: 0) == Saved(members=2, calls=2)
    assert settle.saved(outcomes, lambda _: None) == Saved(members=2, calls=2, unpriced_calls=2)


def test_nothing_is_spared_when_nothing_was_decided() -> None:
    assert settle.saved([succeeded("a", 1), failed("b"), cut(DEADLINE)], lambda _: 5) == Saved()
    assert settle.saved([], lambda _: 5) == Saved()


def test_usage_is_added_up_field_by_field() -> None:
    parts = [Usage(calls=1, input_tokens=2, output_tokens=3, cost_nanos=4, unpriced_calls=5)] * 3
    assert settle.total_usage(parts) == Usage(
        calls=3, input_tokens=6, output_tokens=9, cost_nanos=12, unpriced_calls=15
    )
    assert settle.total_usage([NONE, NONE]) is NONE
    assert settle.total_usage([]) is NONE


def test_every_state_is_counted_and_times_are_added_up() -> None:
    detached = replace(stopped("d"), stop=StopReceipt(StopKind.DETACHED, 1.0, "a thread"))
    outcomes = [
        replace(succeeded("a", 1), ran=1.0, queued=0.5),
        replace(failed("b"), ran=2.0),
        cut(DEADLINE),
        stopped("c"),
        detached,
        replace(never("e"), queued=0.25),
    ]
    assert settle.count(outcomes, 4, 2) == Stats(
        members=6,
        succeeded=1,
        failed=1,
        timed_out=1,
        cancelled=2,
        skipped=1,
        detached=1,
        peak_running=4,
        ran=3.0,
        queued=0.75,
        progress_dropped=2,
    )


def test_the_statistics_of_a_run_are_the_sum_of_its_groups_but_for_the_peak() -> None:
    one = Stats(members=2, succeeded=1, failed=1, peak_running=2, ran=1.0, queued=0.5, progress_dropped=1)
    assert settle.add_up([one], 9) == replace(one, peak_running=9)
    assert settle.add_up([one, one], 3) == Stats(
        members=4, succeeded=2, failed=2, peak_running=3, ran=2.0, queued=1.0, progress_dropped=2
    )
    assert settle.add_up([], 0) == Stats()


def test_an_answer_makes_a_group_succeed_also_when_its_deadline_passed() -> None:
    for cause in (None, DEADLINE, causes.decided(1.0)):
        assert settle.group_state(ANSWER, cause, [succeeded("a", 1), cut(DEADLINE)]) == (State.SUCCEEDED, ANSWER, None)


def test_a_group_that_was_cancelled_has_no_answer_though_its_members_would_give_one() -> None:
    for cause in (CANCELLED, causes.engine_closed(1.0)):
        outcomes = [succeeded("a", 1), cut(cause)]
        assert settle.group_state(ANSWER, cause, outcomes) == (State.CANCELLED, None, cause.failure)


def test_a_cancellation_that_reached_no_member_and_no_question_changes_nothing() -> None:
    assert settle.group_state(ANSWER, CANCELLED, [succeeded("a", 1)]) == (State.SUCCEEDED, ANSWER, None)
    assert settle.group_state(NO_ANSWER, CANCELLED, [failed("a")]) == (State.FAILED, None, NO_ANSWER)


def test_without_an_answer_a_deadline_is_the_reason_and_what_the_aggregation_said_is_kept() -> None:
    state, aggregate, failure = settle.group_state(NO_ANSWER, DEADLINE, [cut(DEADLINE)])
    assert (state, aggregate) == (State.TIMED_OUT, None)
    assert failure == Failure(
        reason.DEADLINE_EXCEEDED,
        "the deadline of the group passed; nobody succeeded",
        {"members": {}, "aggregation_reason": reason.NO_SUCCESSFUL_RESULTS},
    )


@pytest.mark.parametrize("cause", [None, DEADLINE, causes.decided(1.0)])
def test_an_aggregation_that_raised_fails_the_group_whatever_else_happened(cause: Any) -> None:
    assert settle.group_state(RAISED, cause, [cut(DEADLINE)]) == (State.FAILED, None, RAISED)


def test_a_run_ends_as_its_first_group_without_an_answer() -> None:
    groups = [ended("a", State.SUCCEEDED), ended("b", State.TIMED_OUT), ended("c", State.FAILED)]
    state, failure = settle.run_end(groups, None)
    assert state is State.TIMED_OUT
    assert failure == Failure(reason.NO_SUCCESSFUL_RESULTS, "group b: b said why", {"group": "b"})
    assert settle.run_end(groups[:1], None) == (State.SUCCEEDED, None)
    assert settle.run_end(groups[:1], CANCELLED) == (State.SUCCEEDED, None)


def test_a_run_that_was_stopped_is_cancelled_when_a_group_has_no_answer() -> None:
    assert settle.run_end([ended("a", State.FAILED)], CANCELLED) == (State.CANCELLED, CANCELLED.failure)


@pytest.mark.parametrize(
    ("why", "state"),
    [
        (reason.DEADLINE_EXCEEDED, State.TIMED_OUT),
        (reason.CANCELLED, State.CANCELLED),
        (reason.ENGINE_CLOSED, State.CANCELLED),
        (reason.PREVIOUS_STEP_FAILED, State.FAILED),
    ],
)
def test_a_group_that_never_started_says_with_its_reason_how_the_run_ended(why: str, state: State) -> None:
    assert settle.run_end([ended("a", State.SKIPPED, why)], None)[0] is state


def test_the_answers_of_a_parallel_keep_the_precision_of_numbers() -> None:
    answers = [("a", Payload("json", "1.10")), ("b", Payload.of("x")), ("c", Payload("json", "9" * 40))]
    assert settle.answers_object(answers).text == f'{{"a":1.10,"b":"x","c":{"9" * 40}}}'


BUDGET = Failure(reason.BUDGET_EXCEEDED, "the budget is used up", {"what": "calls"})
TOO_MANY = Failure(reason.FAILURE_RATE_EXCEEDED, "too many failed", {"failed": 3})
OUT_OF_REACH = Failure(reason.TOO_FEW_SUCCESSES, "at most 1 can still succeed", {"min_successes": 2})


@pytest.mark.parametrize("answer", [ANSWER, NO_ANSWER])
@pytest.mark.parametrize("breach", [TOO_MANY, OUT_OF_REACH])
def test_a_group_of_which_too_many_failed_has_no_answer_whatever_its_members_said(
    answer: Payload | Failure, breach: Failure
) -> None:
    assert settle.limited(answer, 5, Limits(), breach) == breach


def test_a_group_that_a_budget_stopped_has_the_answer_that_its_outcomes_give() -> None:
    assert settle.limited(ANSWER, 1, Limits(), BUDGET) == ANSWER


def test_a_group_that_a_budget_stopped_before_it_had_an_answer_failed_because_of_the_budget() -> None:
    failure = settle.limited(NO_ANSWER, 0, Limits(), BUDGET)
    assert isinstance(failure, Failure)
    assert failure.reason == reason.BUDGET_EXCEEDED
    assert failure.details == {"what": "calls", "aggregation_reason": reason.NO_SUCCESSFUL_RESULTS}


@pytest.mark.parametrize(("succeeded", "kept"), [(1, False), (2, True), (3, True)])
def test_a_group_needs_as_many_successes_as_it_says(succeeded: int, kept: bool) -> None:
    answer = settle.limited(ANSWER, succeeded, Limits(min_successes=2), None)
    assert (answer == ANSWER) is kept
    if not kept:
        assert isinstance(answer, Failure)
        assert answer.reason == reason.TOO_FEW_SUCCESSES
        assert answer.details == {"succeeded": 1, "min_successes": 2}


def test_too_few_successes_because_of_a_budget_name_both() -> None:
    answer = settle.limited(ANSWER, 1, Limits(min_successes=2), BUDGET)
    assert isinstance(answer, Failure)
    assert answer.reason == reason.TOO_FEW_SUCCESSES
    assert answer.details["breach"] == reason.BUDGET_EXCEEDED


def test_a_group_within_its_limits_has_its_answer() -> None:
    assert settle.limited(ANSWER, 1, Limits(), None) == ANSWER
    assert settle.limited(NO_ANSWER, 0, Limits(min_successes=0), None) == NO_ANSWER
