"""The statistical stop of a vote: its arithmetic, and that it is used only when asked for and says so."""

import math
from typing import Any

import pytest

from motet.aggregate._stopping import leader_is_right
from motet.aggregate.vote import VOTE
from motet.model.payload import Payload
from motet.testing.contracts_aggregator import BOOK, decide, succeeded


def exact(ahead: int, behind: int) -> float:
    """P(Beta(ahead + 1, behind + 1) > 1/2) as a sum of binomials."""
    tosses = ahead + behind + 1
    return math.ldexp(sum(math.comb(tosses, heads) for heads in range(ahead + 1)), -tosses)


@pytest.mark.parametrize(("ahead", "behind"), [(0, 0), (1, 0), (4, 0), (5, 3), (60, 59), (300, 0), (500, 430)])
def test_the_probability_is_that_of_the_beta_distribution(ahead: int, behind: int) -> None:
    assert leader_is_right(ahead, behind) == pytest.approx(exact(ahead, behind), abs=1e-9)


def test_the_probability_is_one_in_the_end_and_never_more_than_a_rounding_above() -> None:
    for ahead in (10, 1000, 100_000):
        assert 0.5 < leader_is_right(ahead, ahead / 2) <= 1 + 1e-9


def vote(
    outputs: str, weights: list[float] | None = None, *, early_stop: bool = True, **options: Any
) -> tuple[Any, int]:
    outcomes = [succeeded(f"m{n}", out) for n, out in enumerate(outputs)]
    answer, ended = decide(
        VOTE.make(options, BOOK), outcomes, range(len(outcomes)), early_stop=early_stop, weights=weights
    )
    assert isinstance(answer, Payload), answer
    return answer.value, ended


def test_it_stops_once_the_leader_is_right_with_the_confidence_asked_for() -> None:
    said, ended = vote("a" * 100, confidence=0.95)
    assert ended == 4
    assert said["stopped_statistically"] is True
    assert said["stopped_at_probability"] == pytest.approx(exact(4, 0))


def test_a_runner_up_makes_it_wait_longer() -> None:
    _, ended = vote("ab" + "a" * 98, confidence=0.95)
    assert ended > 6
    assert exact(ended - 1, 1) >= 0.95 > exact(ended - 2, 1)


def test_it_is_never_the_default() -> None:
    said, ended = vote("a" * 100)
    assert ended == 50
    assert "stopped_statistically" not in said


def test_it_does_not_claim_a_stop_when_everybody_was_heard() -> None:
    said, _ = vote("a" * 10, confidence=0.6, early_stop=False)
    assert "stopped_statistically" not in said


def test_weights_count_as_parts_of_an_average_vote() -> None:
    assert vote("a" * 100, [7.0] * 100, confidence=0.95)[1] == 4


def test_it_does_not_stop_while_the_leaders_share_is_too_small() -> None:
    assert vote("b" + "a" * 40, confidence=0.8, minimum_share=0.8)[1] == 5
