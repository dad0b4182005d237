"""first: who wins, and when it is known."""

from motet.aggregate import BUILTIN
from motet.model.payload import Payload
from motet.testing.contracts_aggregator import BOOK, decide, failed, roster_of, succeeded

FIRST = BUILTIN["first"].make({}, BOOK)


def test_the_member_that_succeeds_first_in_time_wins_not_the_first_declared() -> None:
    outcomes = [succeeded("a", "slow"), succeeded("b", "fast")]
    assert decide(FIRST, outcomes, [1, 0], early_stop=True) == (Payload.of("fast"), 1)


def test_a_failure_that_comes_first_does_not_win() -> None:
    outcomes = [failed("a"), succeeded("b", "x"), succeeded("c", "y")]
    assert decide(FIRST, outcomes, [0, 2, 1], early_stop=True) == (Payload.of("y"), 2)


def test_a_later_success_does_not_take_the_answer_away() -> None:
    outcomes = [succeeded("a", "slow"), succeeded("b", "fast")]
    assert decide(FIRST, outcomes, [1, 0], early_stop=False)[0] == Payload.of("fast")


def test_outcomes_that_were_never_fed_are_taken_in_declared_order() -> None:
    outcomes = [failed("a"), succeeded("b", "x"), succeeded("c", "y")]
    assert FIRST.begin(roster_of(outcomes)).answer(outcomes) == Payload.of("x")
