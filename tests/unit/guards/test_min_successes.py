"""MinSuccesses: a group that can no longer have its successes is stopped; one that has too few in the end says why."""

import pytest

from motet.guards.min_successes import MinSuccesses
from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Limits
from motet.model.state import State
from motet.ports import Admit, Guard, Refuse, Scope
from motet.testing.contracts_guard import GuardContract, make_start

SUCCEEDED = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of("ok"))
FAILED = Outcome(member="m", agent="a", state=State.FAILED, failure=Failure("X", "x"))
OTHERS = [
    Outcome(member="m", agent="a", state=state, failure=Failure("X", "x"), attempts=int(state is not State.SKIPPED))
    for state in (State.FAILED, State.TIMED_OUT, State.CANCELLED, State.SKIPPED)
]


def asks(least: int, members: int) -> tuple[MinSuccesses, list[tuple[Failure, bool]]]:
    breaches: list[tuple[Failure, bool]] = []
    scope = Scope("group", "g", "r", members)
    guard = MinSuccesses(scope, Limits(min_successes=least), lambda *told: breaches.append(told))
    return guard, breaches


class TestMinSuccessesKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return asks(2, 5)[0]


@pytest.mark.parametrize("other", OTHERS, ids=lambda outcome: outcome.state.name)
def test_it_stops_the_group_at_the_member_that_puts_the_number_out_of_reach(other: Outcome) -> None:
    guard, breaches = asks(3, 5)
    guard.member_ended(other)
    guard.member_ended(SUCCEEDED)
    guard.member_ended(other)
    assert breaches == []
    assert isinstance(guard.may_start(make_start(), 0.0), Admit)
    guard.member_ended(other)
    ((failure, cancel),) = breaches
    assert cancel
    assert failure.reason == reason.TOO_FEW_SUCCESSES
    assert failure.message == "at most 2 of 5 members can still succeed; the limit asks for 3"
    assert failure.details == {"succeeded": 1, "ended": 4, "members": 5, "min_successes": 3}
    guard.member_ended(other)
    assert len(breaches) == 1
    assert guard.may_start(make_start(), 0.0) == Refuse(failure)


def test_enough_successes_are_enough_whatever_comes_after() -> None:
    guard, breaches = asks(1, 3)
    for outcome in (SUCCEEDED, FAILED, FAILED):
        guard.member_ended(outcome)
    assert breaches == []
    assert guard.met
    assert guard.unmet() is None


def test_too_few_in_the_end_are_told_with_the_figures() -> None:
    guard, _ = asks(3, 3)
    guard.member_ended(SUCCEEDED)
    assert not guard.met
    assert guard.unmet().message == "1 of 3 members succeeded; the limit asks for 3"
    assert [(use.what, use.limit, use.used) for use in guard.uses()] == [("successes", 3, 1)]


def test_more_than_there_are_members_starts_nothing() -> None:
    guard, breaches = asks(4, 3)
    assert isinstance(guard.may_start(make_start(), 0.0), Refuse)
    guard.member_ended(OTHERS[-1])
    assert len(breaches) == 1


def test_limits_without_a_number_are_refused() -> None:
    with pytest.raises(ValueError, match="min_successes"):
        MinSuccesses(Scope("group", "g", "r", 1), Limits(), lambda failure, cancel: None)
