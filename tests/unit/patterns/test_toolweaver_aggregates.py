"""Votes, ranks and scores over results: what failed, is missing or cannot be compared breaks none of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.patterns.toolweaver import SubAgentResult, best_result, collect_all, majority_vote, rank_by_metric


def said(output: Any) -> SubAgentResult:
    return SubAgentResult(task_args={}, output=output, success=True)


FAILED = SubAgentResult(task_args={}, error="timeout", success=False)


def test_collect_all_keeps_every_result_in_order() -> None:
    results = [said("a"), FAILED, said("b")]
    assert collect_all(results) == results


def test_the_value_that_most_have_wins_and_of_equals_the_first() -> None:
    votes = [said({"category": name}) for name in ("food", "travel", "travel", "food", "other")]
    assert majority_vote(votes, "category") == "food"
    assert majority_vote(votes[1:], "category") == "travel"


def test_votes_may_be_for_lists_and_objects() -> None:
    votes = [said({"tags": ["a", "b"]}), said({"tags": {"x": 1, "y": 2}}), said({"tags": {"y": 2, "x": 1}})]
    assert majority_vote(votes, "tags") == {"x": 1, "y": 2}
    assert majority_vote([said({"v": {1, 2}}), said({"v": {1, 2}}), said({"v": 3})], "v") == {1, 2}


def test_failed_missing_and_null_values_do_not_vote() -> None:
    votes = [FAILED, FAILED, said({"other": 1}), said({"category": None}), said({"category": "food"}), said(None)]
    assert majority_vote(votes, "category") == "food"
    assert majority_vote([FAILED, said("no object")], "category") is None
    assert majority_vote([], "category") is None


def test_outputs_that_are_json_text_are_read_and_whole_outputs_may_vote() -> None:
    assert majority_vote([said('{"category": "food"}')], "category") == "food"
    assert majority_vote([said("yes"), said("no"), said("yes")]) == "yes"
    assert majority_vote([{"category": "food"}, {"category": "food"}], "category") == "food"


def test_true_and_1_are_not_one_value() -> None:
    assert majority_vote([said({"v": True}), said({"v": 1}), said({"v": 1})], "v") == 1


@pytest.mark.parametrize("reverse", [True, False])
def test_results_without_a_number_come_last_whichever_the_direction(reverse: bool) -> None:
    results = [said({"score": 2}), FAILED, said({"score": None}), said({"score": 5}), said({}), said({"score": "9"})]
    ranked = rank_by_metric(results, "score", reverse)
    numbers = [result.output["score"] for result in ranked[:2]]
    assert numbers == ([5, 2] if reverse else [2, 5])
    assert ranked[2:] == [results[1], results[2], results[4], results[5]]


def test_equal_numbers_keep_their_order() -> None:
    results = [{"score": 1, "n": n} for n in range(5)]
    assert rank_by_metric(results, "score") == results


@given(st.lists(st.one_of(st.none(), st.integers(), st.floats(), st.booleans(), st.text())), st.booleans())
def test_a_ranking_loses_nothing_and_is_sorted(scores: list[Any], reverse: bool) -> None:
    results = [said({"score": score}) for score in scores]
    ranked = rank_by_metric(results, "score", reverse)
    assert {id(result) for result in ranked} == {id(result) for result in results}
    numbers = [
        score
        for result in ranked
        if isinstance(score := result.output["score"], int | float) and not isinstance(score, bool) and score == score  # noqa: PLR0124 - not NaN
    ]
    assert numbers == sorted(numbers, reverse=reverse)
    assert [result.output["score"] for result in ranked[: len(numbers)]] == numbers


def test_the_best_result_is_the_first_with_the_highest_score() -> None:
    results = [said({"q": 1}), FAILED, said({"q": 3, "n": 1}), said({"q": 3, "n": 2})]
    best = best_result(results, lambda result: result.output["q"])
    assert best is results[2]


def test_results_that_cannot_be_scored_are_passed_over() -> None:
    results = [said({}), said({"q": None}), said({"q": float("nan")}), said({"q": -1})]
    assert best_result(results, lambda result: result.output["q"]) is results[3]
    assert best_result([FAILED], lambda result: result.output["q"]) is None
    assert best_result([], lambda result: 1) is None
    assert best_result([said(1)], lambda result: None) is None


def test_a_score_function_that_raises_for_all_is_told() -> None:
    with pytest.raises(ValueError, match="score_fn raised for every result; the last: KeyError"):
        best_result([said({}), FAILED], lambda result: result.output["q"])
