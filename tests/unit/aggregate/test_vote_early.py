"""When a vote is decided: no later than it can be, and never before."""

from collections.abc import Sequence
from typing import Any

from motet.aggregate.vote import VOTE
from motet.model.payload import Payload
from motet.testing.contracts_aggregator import BOOK, decide, failed, succeeded


def ended(
    outputs: Sequence[object],
    weights: Sequence[float] | None = None,
    order: Sequence[int] | None = None,
    **options: Any,
) -> int:
    """How many members had ended when the answer was known."""
    outcomes = [failed(f"m{n}") if out is None else succeeded(f"m{n}", out) for n, out in enumerate(outputs)]
    order = range(len(outcomes)) if order is None else order
    return decide(VOTE.make(options, BOOK), outcomes, order, early_stop=True, weights=weights)[1]


def test_it_stops_when_the_leader_can_no_longer_be_caught() -> None:
    assert ended("aaabb") == 3


def test_the_first_declared_needs_only_half_since_ties_are_its_own() -> None:
    assert ended("aabb") == 2


def test_a_tie_that_a_member_declared_earlier_may_still_win_is_waited_for() -> None:
    assert ended("aabb", order=[2, 3, 0, 1]) == 4


def test_half_is_not_enough_where_a_tie_is_an_error_or_asks_an_agent() -> None:
    assert ended("aabb", ties="error") == 4
    assert ended("aabb", ties="tiebreaker", tiebreaker="judge") == 4
    assert ended("aaab", ties="error") == 3


def test_heavy_members_settle_it_alone() -> None:
    assert ended("abb", [3, 1, 1]) == 1


def test_members_of_weight_zero_are_not_waited_for() -> None:
    assert ended("aab", [1, 1, 0], ties="error") == 2
    assert ended("abc", [0, 1, 0]) == 2


def test_a_share_that_the_members_still_out_may_spoil_is_waited_for() -> None:
    assert ended("aaab", minimum_share=0.75) == 3
    assert ended("aaaab", minimum_share=0.75) == 4


def test_a_share_that_is_out_of_reach_ends_it() -> None:
    assert ended("abcdefgh", minimum_share=0.9) == 2


def test_a_majority_that_is_out_of_reach_ends_it() -> None:
    assert ended([None, None, "a", "a"], method="majority") == 2


def test_an_abstention_lowers_what_a_majority_needs() -> None:
    null = Payload.from_json(None)
    assert ended([null, null, "a", "a", "b"], method="majority") == 4
    assert ended(["a", "a", null, "b"], method="majority") == 3


def test_where_answers_differ_in_form_the_members_declared_earlier_are_waited_for() -> None:
    loose: dict[str, Any] = {"normalise": {"case": True}}
    assert ended(["A", "a", "a"], order=[1, 2, 0]) == 2
    assert ended(["A", "a", "a"], order=[1, 2, 0], **loose) == 3
    assert ended(["A", "a", "a"], order=[0, 1, 2], **loose) == 2


def test_a_close_race_is_decided_by_its_last_vote_and_a_clear_one_at_half() -> None:
    assert ended(["abc"[n % 3] for n in range(300)]) == 300
    assert ended("a" * 300) == 150
