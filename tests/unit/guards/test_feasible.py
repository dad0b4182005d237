"""FeasibleDeadline: a start with too little time left is refused, and only where the agent is known."""

import math

import pytest

from motet.guards.feasible import FeasibleDeadline
from motet.model import reason
from motet.ports import ADMIT, Admission, Guard, Profile, Refuse
from motet.testing.contracts_guard import GuardContract, StubProfile, make_start, make_ticket

NOW = 50.0


class TestFeasibleDeadlineKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return FeasibleDeadline()


def ask(profile: Profile | None, deadline: float) -> Admission:
    return FeasibleDeadline().may_start(make_start(make_ticket(profile=profile), deadline=deadline), NOW)


def test_a_start_with_less_time_than_calls_usually_take_is_refused() -> None:
    verdict = ask(StubProfile(times=[1.0, 2.0, 9.0]), NOW + 1.5)
    assert isinstance(verdict, Refuse)
    assert verdict.failure.reason == reason.DEADLINE_INFEASIBLE
    assert verdict.failure.message == "1.5 s were left, and calls of agent usually take 2 s"
    assert verdict.failure.details == {"seconds_left": 1.5, "usually_seconds": 2.0}


@pytest.mark.parametrize("left", [2.0, 2.5, math.inf])
def test_a_start_with_as_much_time_as_calls_usually_take_is_admitted(left: float) -> None:
    assert ask(StubProfile(times=[1.0, 2.0, 9.0]), NOW + left) == ADMIT


@pytest.mark.parametrize("profile", [None, StubProfile()])
def test_a_start_of_an_agent_that_has_never_answered_is_admitted(profile: Profile | None) -> None:
    assert ask(profile, NOW + 0.001) == ADMIT


def test_a_deadline_that_has_passed_leaves_no_time_rather_than_less_than_none() -> None:
    verdict = ask(StubProfile(times=[1.0]), NOW - 3.0)
    assert isinstance(verdict, Refuse)
    assert verdict.failure.details["seconds_left"] == 0.0
