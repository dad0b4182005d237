"""vote: who wins, what the report says, and why there may be no answer."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from motet.aggregate._conflict import whole_weights
from motet.aggregate.vote import BELOW_MINIMUM_SHARE, MAX_ANSWERS, NO_VOTES, TIE, VOTE
from motet.model import reason
from motet.model.outcome import Failure
from motet.model.payload import Payload
from motet.ports import AggregatorType
from motet.testing.contracts_aggregator import BOOK, AggregatorContract, Book, answer_with, decide, failed, succeeded


class VoteContract(AggregatorContract):
    """The figures are over the votes cast, so an early decision may change them; the answer it may not."""

    def make_type(self) -> AggregatorType:
        return VOTE

    def make_output(self, number: int) -> object:
        return "ABA"[number % 3]

    def same_answer(self, early: Payload | Failure, full: Payload | Failure) -> bool:
        if isinstance(early, Failure) or isinstance(full, Failure):
            return isinstance(early, Failure) and isinstance(full, Failure)
        return bool(early.value["answer"] == full.value["answer"])


class TestPluralityKeepsTheContract(VoteContract):
    pass


class TestStrictMajorityKeepsTheContract(VoteContract):
    options: ClassVar[Mapping[str, Any]] = {"method": "majority"}


class TestTiesAsErrorsKeepTheContract(VoteContract):
    options: ClassVar[Mapping[str, Any]] = {"ties": "error", "minimum_share": 0.6}


class TestTiebreakersKeepTheContract(VoteContract):
    options: ClassVar[Mapping[str, Any]] = {"ties": "tiebreaker", "tiebreaker": "judge"}


class TestNormalisedVotesKeepTheContract(VoteContract):
    options: ClassVar[Mapping[str, Any]] = {"normalise": {"case": True}}

    def make_output(self, number: int) -> object:
        return "AaBa"[number % 4]


def vote(
    outputs: Sequence[object], weights: Sequence[float] | None = None, *, book: Book = BOOK, **options: Any
) -> Payload | Failure:
    """The answer when members m0, m1, ... say this; None is a member that failed."""
    outcomes = [failed(f"m{n}") if out is None else succeeded(f"m{n}", out) for n, out in enumerate(outputs)]
    answer, _ = decide(VOTE.make(options, book), outcomes, range(len(outcomes)), early_stop=False, weights=weights)
    return answer_with(answer, lambda question: failed(question.name))


def report(*args: Any, **options: Any) -> Any:
    answer = vote(*args, **options)
    assert isinstance(answer, Payload), answer
    assert answer.text.encode().decode() == answer.text
    return answer.value


def failure(*args: Any, **options: Any) -> Failure:
    answer = vote(*args, **options)
    assert isinstance(answer, Failure), answer
    return answer


def test_the_most_common_answer_wins_and_the_report_is_whole() -> None:
    assert report(["b", "a", "a", None, Payload.from_json(None)]) == {
        "answer": "a",
        "confidence": pytest.approx(2 / 3),
        "votes": {"a": 2, "b": 1},
        "weighted_scores": {"a": 2.0, "b": 1.0},
        "total_agents": 5,
        "unanimous": False,
        "has_conflict": False,
        "conflict_severity": "none",
        "members": {"a": ["m1", "m2"], "b": ["m0"]},
        "abstained": ["m4"],
    }


def test_weights_count_and_can_be_left_out() -> None:
    assert report(["a", "a", "b"], [1, 1, 3])["answer"] == "b"
    assert report(["a", "a", "b"], [1, 1, 3])["weighted_scores"] == {"b": 3.0, "a": 2.0}
    assert report(["a", "a", "b"], [1, 1, 3], weighted=False)["answer"] == "a"


def test_a_member_of_weight_zero_is_in_no_figure_but_the_total() -> None:
    said = report(["a", "b"], [0, 1])
    assert said["answer"] == "b"
    assert said["votes"] == {"b": 1}
    assert said["unanimous"] is True
    assert said["total_agents"] == 2


def test_decimal_weights_that_add_up_are_a_tie() -> None:
    assert report(["a", "b", "b"], [0.3, 0.1, 0.2])["tie"] is True
    assert whole_weights([0.5, 0.25, 3.0]) == ([2, 1, 12], 4)


def test_enormous_weights_are_counted_and_reported() -> None:
    said = report(["a", "a", "b"], [1.7e308, 1.7e308, 5e-324])
    assert said["answer"] == "a"
    assert said["weighted_scores"]["a"] == pytest.approx(1.7976931348623157e308)


def test_of_a_tie_the_first_declared_wins_and_it_says_so() -> None:
    said = report(["b", "a", "a", "b"])
    assert said["answer"] == "b"
    assert said["tie"] is True
    assert said["conflict_severity"] == "low"


def test_a_tie_can_be_an_error() -> None:
    failed_vote = failure(["b", "a"], ties="error")
    assert failed_vote.reason == TIE
    assert failed_vote.details["votes"] == {"b": 1, "a": 1}


def test_a_share_below_the_least_is_no_answer() -> None:
    assert failure(["a", "a", "b", "c"], minimum_share=0.51).reason == BELOW_MINIMUM_SHARE
    assert report(["a", "a", "b", "c"], minimum_share=0.5)["answer"] == "a"


def test_a_majority_is_more_than_half_of_those_that_did_not_abstain() -> None:
    null = Payload.from_json(None)
    assert failure(["a", "a", "b", None], method="majority").reason == reason.NO_MAJORITY
    assert report(["a", "a", "b", null], method="majority")["answer"] == "a"


def test_answers_to_abstain_with_are_normalised_like_the_others() -> None:
    said = report(["a", "UNKNOWN", "unknown "], abstain=["unknown"], normalise={"case": True, "whitespace": True})
    assert said["abstained"] == ["m1", "m2"]
    assert failure(["unknown", None], abstain=["unknown"]).reason == NO_VOTES


def test_the_answer_is_as_the_first_declared_of_its_voters_gave_it() -> None:
    assert report(["no", "Yes ", "yes"], normalise={"case": True, "whitespace": True})["answer"] == "Yes "


def test_a_field_is_voted_on_and_members_without_it_are_reported_as_spoiled() -> None:
    said = report([{"label": "x"}, '{"label":"x"}', {"lable": "y"}, "no json"], field="/label")
    assert said["answer"] == "x"
    assert said["votes"] == {"x": 2}
    assert [entry["member"] for entry in said["spoiled"]] == ["m2", "m3"]
    assert failure([{"a": 1}], field="/b").reason == NO_VOTES


def test_a_function_of_the_catalog_is_voted_on() -> None:
    assert report(["xa", "ya", "zb"], book=Book({"last": lambda text: text[-1]}), function="last")["answer"] == "a"


def test_answers_that_read_alike_have_names_of_their_own() -> None:
    said = report(["1", Payload.from_json(1), '"1"', Payload.from_json(1)])
    assert said["answer"] == 1
    assert sorted(said["votes"].values()) == [1, 1, 2]
    assert said["votes"]["1"] == 2


def test_objects_are_one_answer_whatever_the_order_of_their_names() -> None:
    assert report([{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}])["answer"] == {"a": 1, "b": 2}


def test_many_answers_are_listed_up_to_a_bound_and_counted() -> None:
    said = report([f"answer {n}" for n in range(MAX_ANSWERS + 5)])
    assert len(said["votes"]) == MAX_ANSWERS
    assert said["answers_total"] == MAX_ANSWERS + 5


@pytest.mark.parametrize(
    ("votes", "expected"), [("aaabb", "none"), ("aab", "none"), ("aabb", "low"), ("aabbc", "medium"), ("abc", "high")]
)
def test_the_conflict_is_graded_by_the_share_of_the_winner(votes: str, expected: str) -> None:
    said = report(list(votes))
    assert said["conflict_severity"] == expected
    assert said["has_conflict"] is (expected != "none")
