"""best: who wins, by one score or several, what is good enough, and when that is settled."""

from collections.abc import Sequence
from typing import Any

import pytest

from motet.aggregate import BUILTIN
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import AggregatorType, Ask
from motet.testing.contracts_aggregator import BOOK, AggregatorContract, decide, failed, roster_of, succeeded

BEST = BUILTIN["best"]
FIELD: dict[str, Any] = {"score": {"field": "/s"}}
TWO = {"criteria": [{"name": "s", "field": "/s", "weight": 3}, {"name": "t", "field": "/t"}]}


class TestBestKeepsTheContract(AggregatorContract):
    options = FIELD

    def make_type(self) -> AggregatorType:
        return BEST

    def make_output(self, number: int) -> object:
        return {"s": number % 2}


class TestBestThatIsGoodEnoughKeepsTheContract(TestBestKeepsTheContract):
    options = {**FIELD, "good_enough": 1}  # noqa: RUF012 - read, never written


def members(**scores: object) -> list[Outcome]:
    return [succeeded(name, {"s": score}) for name, score in scores.items()]


def best(outcomes: Sequence[Outcome], options: dict[str, Any] | None = None) -> Any:
    answer, _ = decide(BEST.make(options or FIELD, BOOK), outcomes, range(len(outcomes)), early_stop=True)
    assert isinstance(answer, Payload), answer
    return answer.value


def test_the_answer_is_the_highest_scored_output_with_all_scores() -> None:
    assert best([*members(a=1, b=3, c=None), failed("d")]) == {
        "answer": {"s": 3},
        "member": "b",
        "score": 3,
        "scores": {"a": 1, "b": 3},
        "unscored": [{"member": "c", "problem": "is null, not a number"}],
    }


def test_ascending_takes_the_lowest() -> None:
    assert best(members(a=2, b=1, c=None), {**FIELD, "order": "ascending"})["member"] == "b"


def test_of_equal_scores_the_first_in_declared_order_wins() -> None:
    assert best(members(a=1, b=2, c=2.0))["member"] == "b"


def test_without_any_score_there_is_no_answer_and_the_reasons_are_told() -> None:
    answer, _ = decide(BEST.make(FIELD, BOOK), [*members(a=None), failed("b")], [0, 1], early_stop=True)
    assert isinstance(answer, Failure)
    assert answer.reason == "NO_SCORES"
    assert answer.details == {
        "unscored": [{"member": "a", "problem": "is null, not a number"}],
        "unscored_total": 1,
    }


# ---------------------------------------------------------------------------------------------------------- criteria


def test_criteria_are_weighed_and_told() -> None:
    outcomes = [succeeded("a", {"s": 1, "t": 9}), succeeded("b", {"s": 4, "t": 1})]
    answer = best(outcomes, TWO)
    assert (answer["member"], answer["score"]) == ("b", 3.25)
    assert answer["scores"] == {"a": 3, "b": 3.25}
    assert answer["criteria"] == {"a": {"s": 1, "t": 9}, "b": {"s": 4, "t": 1}}


def test_a_member_without_one_of_the_criteria_is_unscored() -> None:
    answer = best([succeeded("a", {"s": 100}), succeeded("b", {"s": 1, "t": 1})], TWO)
    assert answer["member"] == "b"
    assert answer["unscored"] == [{"member": "a", "problem": "t: has nothing at /t"}]


def test_weights_count_as_the_decimals_that_were_written() -> None:
    criteria = [{"name": name, "field": f"/{name}", "weight": weight} for name, weight in (("s", 0.1), ("t", 0.2))]
    outcomes = [succeeded("a", {"s": 3, "t": 0}), succeeded("b", {"s": 1, "t": 1})]
    # In binary fractions 0.1 * 3 is more than 0.1 + 0.2 * 1; the totals are equal, so declared order decides.
    assert best(outcomes, {"criteria": criteria})["scores"] == {"a": 1, "b": 1}


def test_judges_of_several_criteria_are_asked_one_after_another_and_only_where_it_matters() -> None:
    options = {
        "criteria": [
            {"name": "style", "agent": "stylist"},
            {"name": "s", "field": "/s"},
            {"name": "truth", "agent": "checker", "timeout": 5},
        ]
    }
    aggregator = BEST.make(options, BOOK)
    assert list(aggregator.agents) == ["stylist", "checker"]
    outcomes = [*members(a=1, b=2, c=None), succeeded("d", {"s": 3})]
    first = aggregator.begin(roster_of(outcomes)).answer(outcomes)
    assert isinstance(first, Ask)
    assert [(m.agent, m.name) for m in first.members] == [("stylist", "a"), ("stylist", "b"), ("stylist", "d")]
    second = first.then([succeeded("a", 1), failed("b"), succeeded("d", 2)])
    assert isinstance(second, Ask)
    assert [(m.agent, m.name, m.timeout) for m in second.members] == [("checker", "a", 5), ("checker", "d", 5)]
    answer = second.then([succeeded("a", 7), succeeded("d", 1)])
    assert isinstance(answer, Payload)
    assert answer.value["member"] == "a"
    assert [entry["member"] for entry in answer.value["unscored"]] == ["b", "c"]


def test_when_every_judge_fails_there_is_no_answer() -> None:
    outcomes = members(a=1, b=2)
    ask = BEST.make({"score": {"agent": "critic"}}, BOOK).begin(roster_of(outcomes)).answer(outcomes)
    assert isinstance(ask, Ask)
    answer = ask.then([failed("a"), failed("b")])
    assert isinstance(answer, Failure)
    assert answer.reason == "NO_SCORES"


# ------------------------------------------------------------------------------------------------------- good enough

ENOUGH = {**FIELD, "good_enough": 5}


def test_the_first_in_declared_order_that_is_good_enough_wins_over_a_better_one() -> None:
    assert best(members(a=1, b=5, c=9), ENOUGH) == {
        "answer": {"s": 5},
        "member": "b",
        "score": 5,
        "scores": {"a": 1, "b": 5},
        "unscored": [],
        "good_enough": True,
    }


def test_when_none_is_good_enough_the_best_wins() -> None:
    answer = best(members(a=1, b=4, c=2), ENOUGH)
    assert (answer["member"], answer["good_enough"], answer["scores"]) == ("b", False, {"a": 1, "b": 4, "c": 2})


def test_it_is_decided_as_soon_as_nobody_declared_before_is_out() -> None:
    outcomes = members(a=1, b=5, c=9, d=9)
    assert decide(BEST.make(ENOUGH, BOOK), outcomes, [0, 1, 2, 3], early_stop=True)[1] == 2
    assert decide(BEST.make(ENOUGH, BOOK), outcomes, [2, 1, 0, 3], early_stop=True)[1] == 3


def test_it_waits_for_a_member_declared_before_whoever_is_good_enough() -> None:
    outcomes = members(a=5, b=9, c=9)
    early, ended = decide(BEST.make(ENOUGH, BOOK), outcomes, [1, 2, 0], early_stop=True)
    assert isinstance(early, Payload)
    assert (early.value["member"], ended) == ("a", 3)


def test_ascending_is_good_enough_at_or_below() -> None:
    assert best(members(a=6, b=5, c=1), {**ENOUGH, "order": "ascending"})["member"] == "b"


def test_a_judged_rule_waits_for_all() -> None:
    outcomes = members(a=9, b=9)
    options = {"score": {"agent": "critic"}, "good_enough": 5}
    ask, ended = decide(BEST.make(options, BOOK), outcomes, [0, 1], early_stop=True)
    assert ended == 2
    assert isinstance(ask, Ask)
    answer = ask.then([succeeded("a", 6), succeeded("b", 9)])
    assert isinstance(answer, Payload)
    assert answer.value["member"] == "a"


def test_a_score_is_measured_once() -> None:
    seen = []

    def score(value: Any) -> int:
        seen.append(value["s"])
        return int(value["s"])

    outcomes = members(a=1, b=2, c=3)
    decide(BEST.make({"score": {"function": score}, "good_enough": 9}, BOOK), outcomes, [0, 1, 2], early_stop=True)
    assert seen == [1, 2, 3]


def test_the_winner_is_the_best_member() -> None:
    outcomes = members(a=1, b=3)
    tally: Any = BEST.make(FIELD, BOOK).begin(roster_of(outcomes))
    tally.answer(outcomes)
    assert list(tally.winners(outcomes)) == [1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "give exactly one of score and criteria"),
        ({**FIELD, **TWO}, "give exactly one of score and criteria"),
        ({"criteria": []}, "criteria: must have 1 or more entries"),
        ({"criteria": [{"field": "/s"}]}, r"criteria\[0\]\.name: is missing"),
        (
            {"criteria": [{"name": "x", "field": "/s"}, {"name": "x", "field": "/t"}]},
            "criteria: two have the same name",
        ),
        ({"criteria": [{"name": "x", "field": "/s", "weight": 0}]}, r"criteria\[0\]\.weight: must be more than 0"),
        ({"criteria": [{"name": "x", "field": "s"}]}, r"criteria\[0\]\.field: must be a JSON pointer"),
        ({**FIELD, "good_enough": "5"}, "good_enough: must be a number"),
        ({**FIELD, "limit": 1}, "limit: is not an option"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        BEST.make(options, BOOK)
