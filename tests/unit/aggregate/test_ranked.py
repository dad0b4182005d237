"""ranked_vote: Borda count and instant runoff, ballots that are incomplete or spoiled, ties."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.aggregate._runoff import MAX_ROUNDS, Ballot, borda, instant_runoff
from motet.aggregate.ranked import RANKED_VOTE
from motet.aggregate.vote import NO_VOTES, TIE
from motet.model.outcome import Failure
from motet.model.payload import Payload
from motet.ports import AggregatorType
from motet.testing.contracts_aggregator import BOOK, AggregatorContract, decide, failed, succeeded

RUNOFF = {"method": "instant_runoff"}


class TestBordaKeepsTheContract(AggregatorContract):
    def make_type(self) -> AggregatorType:
        return RANKED_VOTE

    def make_output(self, number: int) -> object:
        return [["a", "b"], ["b"], ["c", "a", "b"]][number % 3]


class TestInstantRunoffKeepsTheContract(TestBordaKeepsTheContract):
    options: ClassVar[Mapping[str, Any]] = RUNOFF


def vote(outputs: Sequence[object], weights: Sequence[float] | None = None, **options: Any) -> Payload | Failure:
    """The answer when members m0, m1, ... say this; "-" is a member that failed."""
    outcomes = [failed(f"m{n}") if out == "-" else succeeded(f"m{n}", out) for n, out in enumerate(outputs)]
    answer, _ = decide(
        RANKED_VOTE.make(options, BOOK), outcomes, range(len(outcomes)), early_stop=False, weights=weights
    )
    assert isinstance(answer, Payload | Failure)
    return answer


def report(*args: Any, **options: Any) -> Any:
    answer = vote(*args, **options)
    assert isinstance(answer, Payload), answer
    assert answer.text.encode().decode() == answer.text
    return answer.value


def test_borda_gives_points_by_place() -> None:
    assert report([["a", "b", "c"], ["b", "c", "a"], ["b", "a", "c"], "-"]) == {
        "answer": "b",
        "ranking": ["b", "a", "c"],
        "scores": {"b": 5.0, "a": 3.0, "c": 1.0},
        "total_agents": 4,
        "abstained": [],
        "spoiled": [],
    }


def test_candidates_that_a_borda_ballot_leaves_out_share_the_points_that_are_left() -> None:
    assert report([["a"], ["b", "c", "d"]])["scores"] == {"b": 4.0, "a": 3.0, "c": 3.0, "d": 2.0}


def test_an_instant_runoff_moves_ballots_on_until_one_has_more_than_half() -> None:
    ballots = [["a", "c"]] * 4 + [["b", "c"]] * 3 + [["c", "b"]] * 2
    said = report(ballots, **RUNOFF)
    assert said["answer"] == "b"
    assert said["ranking"] == ["b", "a", "c"]
    assert said["rounds"] == [
        {"scores": {"a": 4.0, "b": 3.0, "c": 2.0}, "eliminated": ["c"]},
        {"scores": {"b": 5.0, "a": 4.0}, "eliminated": []},
    ]
    assert "tie" not in said


def test_the_methods_may_disagree() -> None:
    ballots = [["a", "b"]] * 3 + [["b", "c", "a"]] * 2
    assert report(ballots)["answer"] == "b"
    assert report(ballots, **RUNOFF)["answer"] == "a"


def test_a_ballot_whose_candidates_are_all_struck_out_counts_no_more() -> None:
    said = report([["a"], ["a"], ["b"], ["b"], ["b"], ["c", "a"], ["d"], ["d"], ["d"], ["d"]], **RUNOFF)
    assert sum(said["rounds"][0]["scores"].values()) == 10
    assert sum(said["rounds"][-1]["scores"].values()) < 10


def test_weights_count_and_can_be_left_out() -> None:
    ballots = [["a", "b"], ["a", "b"], ["b", "a"]]
    for options in ({}, RUNOFF):
        assert report(ballots, [1, 1, 3], **options)["answer"] == "b"
        assert report(ballots, [1, 1, 3], weighted=False, **options)["answer"] == "a"
        assert report(ballots, [0, 0, 1], **options)["answer"] == "b"


@pytest.mark.parametrize("options", [{}, RUNOFF])
def test_of_level_candidates_the_first_named_wins_or_it_is_an_error(options: dict[str, Any]) -> None:
    ballots = [["b", "a"], ["a", "b"]]
    said = report(ballots, **options)
    assert (said["answer"], said["tie"]) == ("b", True)
    refused = vote(ballots, ties="error", **options)
    assert isinstance(refused, Failure)
    assert refused.reason == TIE


def test_level_last_candidates_that_cannot_matter_are_struck_out_together_and_are_no_tie() -> None:
    said = report([["a"]] * 5 + [["b"]] * 5 + [["c"], ["d", "b"]], ties="error", **RUNOFF)
    assert said["rounds"][0]["eliminated"] == ["d", "c"]
    assert said["answer"] == "b"
    assert "tie" not in said


def test_level_last_candidates_that_could_together_reach_another_are_a_tie() -> None:
    ballots = [["c", "d"], ["d", "c"], *[["b"]] * 2, *[["a"]] * 3]
    said = report(ballots, **RUNOFF)
    assert said["rounds"][0]["eliminated"] == ["d"]
    assert said["tie"] is True
    assert isinstance(vote(ballots, ties="error", method="instant_runoff"), Failure)


def test_ballots_come_as_arrays_as_objects_and_as_text() -> None:
    said = report([["a", "b"], {"ranking": ["a", "b"]}, '["a","b"]', '{"ranking":["a","b"]}'])
    assert said["scores"] == {"a": 4.0, "b": 0.0}
    assert report([{"order": ["a"]}], field="/order")["answer"] == "a"


def test_spoiled_ballots_are_reported_and_empty_ones_abstain() -> None:
    said = report([["a"], ["a", "a"], 7, "words", {"a": 1}, [], Payload.from_json(None)])
    assert [entry["member"] for entry in said["spoiled"]] == ["m1", "m2", "m3", "m4"]
    assert said["spoiled"][0]["problem"] == "names a candidate twice"
    assert said["abstained"] == ["m5", "m6"]


def test_without_a_ballot_that_counts_there_is_no_answer() -> None:
    refused = vote([7, []])
    assert isinstance(refused, Failure)
    assert refused.reason == NO_VOTES
    assert refused.details["abstained"] == ["m1"]


def test_candidates_may_be_any_json_and_are_normalised() -> None:
    said = report([[{"x": 1, "y": 2}, "B"], [{"y": 2, "x": 1}, "b "]], normalise={"case": True, "whitespace": True})
    assert said["ranking"] == [{"x": 1, "y": 2}, "B"]
    assert list(said["scores"]) == [json.dumps({"x": 1, "y": 2}, separators=(",", ":")), "B"]


def test_every_borda_ballot_gives_the_same_sum() -> None:
    for ranking in ([0], [1, 2], [3, 2, 1, 0], [0, 1, 2]):
        assert sum(borda([Ballot(1, ranking)], 4).scores) == 2 * (3 + 2 + 1 + 0)


def struck_one_by_one(ballots: Sequence[Ballot], candidates: int) -> int:
    """The winner of an instant runoff, counted anew for each round."""
    left = list(range(candidates))
    while True:
        tops = [next((c for c in ballot.ranking if c in left), None) for ballot in ballots]
        scores = [sum(b.weight for b, top in zip(ballots, tops, strict=True) if top == c) for c in left]
        if 2 * max(scores) > sum(scores):
            return left[scores.index(max(scores))]
        left.remove(max(left, key=lambda c: (-scores[left.index(c)], c)))


@given(
    rankings=st.lists(st.permutations(range(5)).flatmap(lambda p: st.integers(1, 5).map(lambda n: p[:n])), min_size=1),
    weights=st.lists(st.integers(1, 3), min_size=50, max_size=50),
)
def test_an_instant_runoff_elects_whom_a_count_by_hand_elects(rankings: list[list[int]], weights: list[int]) -> None:
    ballots = [Ballot(weight, ranking) for weight, ranking in zip(weights, rankings, strict=False)]
    assert instant_runoff(ballots, 5).ranking[0] == struck_one_by_one(ballots, 5)


def test_a_runoff_of_very_many_candidates_reports_some_rounds_and_counts_all() -> None:
    ballots = [Ballot(n + 1, [n, (n + 1) % 300]) for n in range(300)]
    standings = instant_runoff(ballots, 300)
    assert len(standings.rounds) == MAX_ROUNDS + 1
    assert standings.rounds_total > MAX_ROUNDS + 1
    assert sorted(standings.ranking) == list(range(300))
