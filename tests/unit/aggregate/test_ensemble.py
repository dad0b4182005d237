"""ensemble: the statistics, what is left out and what is no number."""

import statistics
from collections.abc import Sequence
from typing import Any

import pytest

from motet.aggregate import BUILTIN
from motet.aggregate._outliers import outliers
from motet.aggregate.ensemble import describe
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import AggregatorType, Roster
from motet.testing.contracts_aggregator import BOOK, AggregatorContract, failed, succeeded

ENSEMBLE = BUILTIN["ensemble"]


class TestEnsembleKeepsTheContract(AggregatorContract):
    def make_type(self) -> AggregatorType:
        return ENSEMBLE

    def make_output(self, number: int) -> object:
        return number


def answer_of(outcomes: Sequence[Outcome], weights: Sequence[float] | None = None, **options: Any) -> Any:
    tally = ENSEMBLE.make(options, BOOK).begin(
        Roster([outcome.member for outcome in outcomes], weights or [1.0] * len(outcomes))
    )
    answer = tally.answer(outcomes)
    return answer.value if isinstance(answer, Payload) else answer


def members(*values: object) -> list[Outcome]:
    return [succeeded("abcdefghij"[place], value) for place, value in enumerate(values)]


def test_the_answer_holds_the_statistics_and_who_said_what() -> None:
    assert answer_of([*members(2, 4, 4.5), failed("x"), succeeded("y", "four")]) == {
        "mean": 3.5,
        "median": 4,
        "stdev": statistics.stdev([2, 4, 4.5]),
        "min": 2,
        "max": 4.5,
        "spread": 2.5,
        "count": 3,
        "weighted_mean": 3.5,
        "values": [2, 4, 4.5],
        "members": {"a": 2, "b": 4, "c": 4.5},
        "left_out": [],
        "not_numbers": [{"member": "y", "problem": "is text, not a number"}],
    }


def test_one_value_has_no_deviation() -> None:
    answer = answer_of(members(7))
    assert (answer["mean"], answer["median"], answer["stdev"], answer["spread"], answer["count"]) == (7, 7, 0, 0, 1)


def test_integers_stay_integers_where_they_are_exact() -> None:
    big = 2**80 + 1
    answer = answer_of(members(big, big, big))
    for name in ("mean", "median", "min", "max", "weighted_mean"):
        assert answer[name] == big
        assert isinstance(answer[name], int)
    assert answer["spread"] == 0


def test_a_weighted_mean_uses_weights_only_when_asked() -> None:
    assert answer_of(members(1, 5), [3.0, 1.0])["weighted_mean"] == 3
    assert answer_of(members(1, 5), [3.0, 1.0], weighted=True)["weighted_mean"] == 2
    assert answer_of(members(1, 5), [3.0, 1.0], weighted=True)["mean"] == 3


def test_weights_that_sum_to_zero_have_no_weighted_mean() -> None:
    answer = answer_of(members(1, 5), [0.0, 0.0], weighted=True)
    assert answer["weighted_mean"] is None
    assert answer["mean"] == 3


def test_weights_belong_to_members_whoever_else_failed_or_was_left_out() -> None:
    outcomes = [failed("x"), *members(1, 2, 3, 1000)]
    answer = answer_of(outcomes, [9.0, 1.0, 1.0, 2.0, 7.0], weighted=True, outliers="mad")
    assert answer["weighted_mean"] == 2.25


def test_no_number_at_all_is_a_failure_with_the_reasons() -> None:
    answer = answer_of(members("x", True, 10**400))
    assert isinstance(answer, Failure)
    assert answer.reason == "NO_NUMBERS"
    assert [entry["problem"] for entry in answer.details["not_numbers"]] == [
        "is text, not a number",
        "is true, not a number",
        "is too large",
    ]


@pytest.mark.parametrize("huge", [10**400, -(10**400), 1e301, 10**4200])
def test_a_number_that_floats_cannot_work_with_is_reported_and_not_counted(huge: float) -> None:
    answer = answer_of(members(1, huge))
    assert answer["values"] == [1]
    assert answer["not_numbers"] == [{"member": "b", "problem": "is too large"}]


def test_the_largest_numbers_have_finite_statistics() -> None:
    answer = answer_of(members(1e300, -1e300, 5e-324), outliers="iqr")
    assert answer["count"] == 3
    assert answer["spread"] == 2e300


def test_a_selector_says_where_the_number_is() -> None:
    assert answer_of(members({"total": 3}, '{"total": 5}'), field="/total")["mean"] == 4
    assert answer_of(members([1, 2], [3]), function=len)["values"] == [2, 1]
    assert answer_of(members("1.5", "2.5"), numbers_in_text=True)["mean"] == 2


# ----------------------------------------------------------------------------------------------------------- outliers


@pytest.mark.parametrize("method", ["mad", "iqr"])
@pytest.mark.parametrize(
    ("values", "out"),
    [
        ([1, 2, 100], [2]),
        ([100, 1, 2], [0]),
        ([1, 2, 3], []),
        ([10, 10, 1000], [2]),
        ([10, 11, 12, 13, 500], [4]),
        ([10.0, 10.0, 10.0, 10.000000001], []),
        ([5, 5, 5, 5], []),
        ([1, 1000], []),
        ([7], []),
        ([], []),
    ],
)
def test_outliers_are_told_from_three_values_on(method: str, values: list[float], out: list[int]) -> None:
    assert list(outliers(values, method)) == out


def test_what_is_left_out_is_told_with_its_value_and_the_reason() -> None:
    answer = answer_of(members(1, 2, 100), outliers="mad")
    assert answer["values"] == [1, 2]
    assert answer["members"] == {"a": 1, "b": 2}
    assert answer["left_out"] == [{"member": "c", "value": 100, "why": "modified z-score 66.1, more than 3.5 is out"}]
    assert answer_of(members(1, 2, 100), outliers="iqr")["left_out"][0]["why"] == "outside -2 to 6"
    assert answer_of(members(1, 1, 9), outliers="mad")["left_out"][0]["why"] == "at least half of the values agree on 1"


def test_the_modified_z_score_is_the_published_one() -> None:
    # Median 6, MAD 2: 0.6745 * (17 - 6) / 2 is 3.71, 0.6745 * (16 - 6) / 2 is 3.37.
    assert list(outliers([4, 5, 6, 8, 17], "mad")) == [4]
    assert list(outliers([4, 5, 6, 8, 16], "mad")) == []


def test_the_fences_are_those_of_inclusive_quartiles() -> None:
    # Q1 2, Q3 4: the upper fence is 7.
    assert list(outliers([1, 2, 3, 4, 7], "iqr")) == []
    assert list(outliers([1, 2, 3, 4, 7.1], "iqr")) == [4]


def test_the_threshold_moves_the_bound() -> None:
    assert list(outliers([1, 2, 3, 4, 7.1], "iqr", 3.0)) == []
    assert list(outliers([4, 5, 6, 8, 17], "mad", 4.0)) == []
    assert answer_of(members(4, 5, 6, 8, 17), outliers="mad", threshold=4)["left_out"] == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"outliers": "zscore"}, "outliers: must be 'none', 'mad' or 'iqr'"),
        ({"outliers": "mad", "threshold": 0.5}, "threshold: must be 0.6745 or more for mad"),
        ({"outliers": "iqr", "threshold": -1}, "threshold: must be 0 or more"),
        ({"threshold": 2}, "threshold: is for outliers, which is none"),
        ({"field": "/a", "function": "f"}, "give only one of field, function"),
        ({"function": "f"}, "function: there is no function 'f'"),
        ({"weighted": 1}, "weighted: must be true or false"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ENSEMBLE.make(options, BOOK)


def test_the_description_of_one_value_needs_no_second() -> None:
    assert describe([3], [2.0])["weighted_mean"] == 3
