"""FailureRate: strictly more failed members than the limit, after enough have ended, stop the group once."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.guards.failure_rate import FailureRate
from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Limits, OnBreach
from motet.model.state import State
from motet.ports import Admit, Guard, Refuse, Scope
from motet.testing.contracts_guard import GuardContract, make_start

SCOPE = Scope("group", "g", "r", 100)
FAILED = Outcome(member="m", agent="a", state=State.FAILED, failure=Failure("X", "x"))
TIMED_OUT = Outcome(member="m", agent="a", state=State.TIMED_OUT, failure=Failure("X", "x"))
SUCCEEDED = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of("ok"))
CACHED = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of("ok"), attempts=0, cached=True)
CANCELLED = Outcome(member="m", agent="a", state=State.CANCELLED, failure=Failure("X", "x"))
SKIPPED = Outcome(member="m", agent="a", state=State.SKIPPED, failure=Failure("X", "x"), attempts=0)


def tell(limits: Limits, outcomes: Sequence[Outcome]) -> tuple[FailureRate, list[tuple[int, Failure, bool]]]:
    """The guard after these outcomes, and its breaches with how many had ended by then."""
    breaches: list[tuple[int, Failure, bool]] = []
    guard = FailureRate(SCOPE, limits, lambda failure, cancel: breaches.append((told, failure, cancel)))
    for told, outcome in enumerate(outcomes, 1):  # noqa: B007 - the callback above reads it
        guard.member_ended(outcome)
    return guard, breaches


class TestFailureRateKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return tell(Limits(max_failure_rate=0.5), [])[0]


def test_it_stops_the_group_at_the_first_outcome_above_the_rate() -> None:
    guard, breaches = tell(Limits(max_failure_rate=0.3), [SUCCEEDED] * 3 + [FAILED, TIMED_OUT] + [SUCCEEDED] * 5)
    ((told, failure, cancel),) = breaches
    assert told == 5
    assert not cancel
    assert failure.reason == reason.FAILURE_RATE_EXCEEDED
    assert failure.message == "2 of 5 members failed; the limit is 30 %"
    assert failure.details == {"failed": 2, "ended": 5, "max_failure_rate": 0.3}
    assert guard.may_start(make_start(), 0.0) == Refuse(failure)


@pytest.mark.parametrize("rate", [0.07, 0.14, 0.28, 0.29, 0.3, 0.55, 0.56, 0.57, 0.58])
def test_exactly_the_rate_is_not_above_it_whatever_floats_make_of_it(rate: float) -> None:
    failed = round(rate * 100)
    guard, breaches = tell(Limits(max_failure_rate=rate), [SUCCEEDED] * (100 - failed) + [FAILED] * failed)
    assert breaches == []
    assert isinstance(guard.may_start(make_start(), 0.0), Admit)
    guard.member_ended(FAILED)
    assert len(breaches) == 1


def test_fewer_than_the_samples_say_nothing() -> None:
    assert tell(Limits(max_failure_rate=0.0), [FAILED] * 4)[1] == []
    assert [told for told, _, _ in tell(Limits(max_failure_rate=0.0), [FAILED] * 6)[1]] == [5]
    assert [told for told, _, _ in tell(Limits(max_failure_rate=0.0, min_samples=2), [FAILED] * 6)[1]] == [2]


def test_members_that_were_cancelled_or_never_started_are_not_counted() -> None:
    _, breaches = tell(Limits(max_failure_rate=0.5, min_samples=2), [CANCELLED, SKIPPED, FAILED, CANCELLED, CACHED])
    assert breaches == []


def test_a_kept_answer_counts_as_a_success() -> None:
    guard, breaches = tell(Limits(max_failure_rate=0.5, min_samples=2), [CACHED, FAILED])
    assert breaches == []
    assert [(use.what, use.limit, use.used) for use in guard.uses()] == [("failures", 0.5, 0.5)]


def test_cancel_is_what_the_limits_say() -> None:
    limits = Limits(max_failure_rate=0.0, min_samples=1, on_breach=OnBreach.CANCEL)
    assert [cancel for _, _, cancel in tell(limits, [FAILED])[1]] == [True]


def test_limits_without_a_rate_are_refused() -> None:
    with pytest.raises(ValueError, match="max_failure_rate"):
        FailureRate(SCOPE, Limits(), lambda failure, cancel: None)


@given(
    st.integers(0, 1000),
    st.integers(1, 12),
    st.lists(st.sampled_from([FAILED, TIMED_OUT, SUCCEEDED, CACHED, CANCELLED, SKIPPED]), max_size=40),
)
def test_it_trips_at_the_first_outcome_at_which_the_rate_is_above_and_never_before_the_samples(
    thousandths: int, samples: int, outcomes: list[Outcome]
) -> None:
    _, breaches = tell(Limits(max_failure_rate=thousandths / 1000, min_samples=samples), outcomes)
    failed = ended = 0
    expected: list[int] = []
    for told, outcome in enumerate(outcomes, 1):
        failed += outcome.state in (State.FAILED, State.TIMED_OUT)
        ended += outcome.state in (State.FAILED, State.TIMED_OUT, State.SUCCEEDED)
        if ended >= samples and not expected and Fraction(failed, ended) > Fraction(thousandths, 1000):
            expected.append(told)
    assert [told for told, _, _ in breaches] == expected
