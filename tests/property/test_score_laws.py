"""Laws of rank, best and ensemble, each over groups of members that say anything, hostile things included."""

import copy
import statistics
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.aggregate import BUILTIN
from motet.aggregate._outliers import outliers
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Aggregator, Answer, Ask, Roster
from motet.testing.contracts_aggregator import BOOK, decide, failed, succeeded

DEEP: Final = Payload("json", "[" * 20_000 + "]" * 20_000)
HUGE: Final = (10**400, -(10**400), 10**4299, 2**63, -(2**64), 1.7e308, -1.7e308, 5e-324)
NOT_JSON: Final = (
    Payload("json", "NaN"),
    Payload("json", "1e999"),
    Payload("json", "{"),
    Payload("json", "1" * 5000),
    DEEP,
)

numbers = st.one_of(
    st.integers(-5, 5),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(HUGE),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters(codec=None), max_size=5), st.just("\ud800")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)
outputs = st.one_of(
    numbers,
    numbers.map(lambda number: {"s": number, "t": 1}),
    json_values,
    json_values.map(lambda value: {"s": value}),
    st.binary(max_size=4),
    st.sampled_from(NOT_JSON),
)
FAILED: Final = object()


def outcomes_of(said: Sequence[object]) -> list[Outcome]:
    return [failed(f"m{place}") if what is FAILED else succeeded(f"m{place}", what) for place, what in enumerate(said)]


groups = st.lists(st.one_of(outputs, st.just(FAILED)), max_size=6).map(outcomes_of)
"""Members that say anything, or fail."""


@st.composite
def groups_in_an_order(draw: st.DrawFn) -> tuple[list[Outcome], list[int]]:
    outcomes = draw(groups)
    return outcomes, draw(st.permutations(range(len(outcomes))))


def rule(name: str, **options: Any) -> Aggregator:
    return BUILTIN[name].make(options, BOOK)


WHOLE: Final = {"expression": "output"}
CRITERIA: Final = [{"name": "s", "field": "/s", "weight": 0.7}, {"name": "t", "expression": "output.t", "weight": 2}]
RULES: Final[dict[str, Aggregator]] = {
    "rank": rule("rank", score={"field": "/s"}),
    "rank the whole": rule("rank", score={"field": ""}, order="ascending", limit=2, numbers_in_text=True),
    "rank by expression": rule("rank", score=WHOLE),
    "best": rule("best", score={"field": ""}),
    "best by function": rule("best", score={"function": lambda value: value["s"]}, order="ascending"),
    "best of criteria": rule("best", criteria=CRITERIA),
    "good enough": rule("best", score={"field": ""}, good_enough=1.5),
    "good enough ascending": rule("best", score={"field": "/s"}, good_enough=0, order="ascending"),
    "ensemble": rule("ensemble"),
    "ensemble mad": rule("ensemble", field="", outliers="mad", weighted=True, numbers_in_text=True),
    "ensemble iqr": rule("ensemble", field="/s", outliers="iqr"),
}
every_rule = pytest.mark.parametrize("name", RULES)
laws = settings(deadline=None)
few = settings(laws, max_examples=50)
"""For each of eleven rules."""


def answered(aggregator: Aggregator, outcomes: Sequence[Outcome]) -> Answer:
    return decide(aggregator, outcomes, range(len(outcomes)), early_stop=False)[0]


@every_rule
@few
@given(groups_in_an_order())
def test_the_order_of_completion_never_changes_the_answer(name: str, group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    assert decide(RULES[name], outcomes, order, early_stop=False)[0] == answered(RULES[name], outcomes)


@every_rule
@few
@given(groups_in_an_order())
def test_stopping_early_never_changes_the_answer(name: str, group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    assert decide(RULES[name], outcomes, order, early_stop=True)[0] == answered(RULES[name], outcomes)


@every_rule
@few
@given(groups, st.integers(0, 6))
def test_a_failed_member_more_never_turns_a_failure_into_a_success(
    name: str, outcomes: list[Outcome], place: int
) -> None:
    more = [*outcomes[:place], failed("new"), *outcomes[place:]]
    before, after = answered(RULES[name], outcomes), answered(RULES[name], more)
    assert isinstance(before, Failure) == isinstance(after, Failure)


@every_rule
@few
@given(groups)
def test_outcomes_are_never_changed(name: str, outcomes: list[Outcome]) -> None:
    before = copy.deepcopy(outcomes)
    answered(RULES[name], outcomes)
    assert outcomes == before


@every_rule
@few
@given(groups)
def test_every_group_has_an_answer_with_bytes_or_a_failure(name: str, outcomes: list[Outcome]) -> None:
    answer = answered(RULES[name], outcomes)
    assert isinstance(answer, Payload | Failure)
    if isinstance(answer, Payload):
        assert answer.data


@every_rule
@few
@given(groups)
def test_every_success_is_accounted_for(name: str, outcomes: list[Outcome]) -> None:
    answer = answered(RULES[name], outcomes)
    if isinstance(answer, Failure) or "limit" in name or DEEP in [outcome.output for outcome in outcomes]:
        return
    try:
        told = answer.value  # type: ignore[union-attr]
    except ValueError:
        return  # An output that is not JSON is embedded as it was given.
    if name.startswith("rank"):
        listed = [entry["member"] for part in ("ranking", "unscored") for entry in told[part]]
        listed += [None] * (told["result_count"] - len(listed))
    elif name.startswith("ensemble"):
        listed = [*told["members"], *(entry["member"] for part in ("left_out", "not_numbers") for entry in told[part])]
    else:
        listed = [*told["scores"], *(entry["member"] for entry in told["unscored"])]
        if told.get("good_enough"):
            return
    assert len(listed) == sum(outcome.succeeded for outcome in outcomes)


@laws
@given(groups, st.sampled_from(["ascending", "descending"]))
def test_best_is_the_head_of_rank(outcomes: list[Outcome], order: str) -> None:
    options = {"score": {"expression": "output.s"}, "order": order}
    whole = [o for o in outcomes if o.output is None or o.output not in NOT_JSON]
    best, ranked = answered(rule("best", **options), whole), answered(rule("rank", **options), whole)
    if isinstance(best, Payload):
        assert isinstance(ranked, Payload)
        head = ranked.value["ranking"][0]
        assert (best.value["member"], best.value["score"], best.value["answer"]) == (
            head["member"],
            head["score"],
            head["output"],
        )
    else:
        assert isinstance(ranked, Failure) or ranked.value["ranking"] == []  # type: ignore[union-attr]


@laws
@given(st.lists(numbers, min_size=1, max_size=8))
def test_a_ranking_is_the_stable_sort_of_the_scores(values: list[float]) -> None:
    outcomes = outcomes_of([{"s": value} for value in values])
    for order, reverse in (("ascending", False), ("descending", True)):
        answer = answered(rule("rank", score={"field": "/s"}, order=order), outcomes)
        assert isinstance(answer, Payload)
        scored = {o.member: v for o, v in zip(outcomes, values, strict=True) if not _too_large(v)}
        ranking = [entry["member"] for entry in answer.value["ranking"]]
        assert ranking == sorted(scored, key=lambda member: scored[member], reverse=reverse)


def _too_large(value: float) -> bool:
    return isinstance(value, int) and value.bit_length() > 14_000


usable = st.one_of(st.integers(-(10**20), 10**20), st.floats(-1e300, 1e300))


@laws
@given(st.lists(usable, min_size=1, max_size=12))
def test_an_ensemble_agrees_with_the_statistics_module(values: list[float]) -> None:
    answer = answered(rule("ensemble"), outcomes_of(values))
    assert isinstance(answer, Payload)
    told = answer.value
    assert told["mean"] == statistics.mean(values)
    assert told["median"] == statistics.median(values)
    assert told["stdev"] == (statistics.stdev(values) if len(values) > 1 else 0)
    assert (told["min"], told["max"], told["count"]) == (min(values), max(values), len(values))
    assert told["values"] == values
    assert told["weighted_mean"] == told["mean"]


@laws
@given(
    st.lists(st.tuples(usable, st.integers(0, 50)), min_size=1, max_size=8),
    st.sampled_from([2.0, 0.5, 3.0, 1000.0]),
)
def test_weights_scaled_by_a_constant_change_no_weighted_mean(said: list[tuple[float, int]], scale: float) -> None:
    outcomes = outcomes_of([value for value, _ in said])
    names = [outcome.member for outcome in outcomes]
    aggregator = rule("ensemble", weighted=True)
    told = []
    for factor in (1.0, scale):
        tally = aggregator.begin(Roster(names, [weight * factor for _, weight in said]))
        told.append(tally.answer(outcomes))
    assert told[0] == told[1]


@laws
@given(st.lists(usable, min_size=1, max_size=8), st.lists(st.integers(1, 4), min_size=8, max_size=8))
def test_a_weight_is_as_many_members_that_say_the_same(values: list[float], weights: list[int]) -> None:
    outcomes = outcomes_of(values)
    tally = rule("ensemble", weighted=True).begin(
        Roster([o.member for o in outcomes], [float(w) for w in weights[: len(values)]])
    )
    weighted = tally.answer(outcomes)
    repeated = [value for value, weight in zip(values, weights, strict=False) for _ in range(weight)]
    assert isinstance(weighted, Payload)
    # Whole numbers stay whole, however large; others are the nearest float.
    mean, told = sum(map(Fraction, repeated)) / len(repeated), weighted.value["weighted_mean"]
    assert told == (mean if isinstance(told, int) else float(mean))


@laws
@given(st.lists(usable, max_size=12), st.sampled_from(["mad", "iqr"]))
def test_outliers_leave_at_least_half_of_the_values(values: list[float], method: str) -> None:
    out = outliers(values, method)
    assert len(out) * 2 <= len(values)


@laws
@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=12), st.sampled_from(["mad", "iqr"]), st.data())
def test_outliers_do_not_depend_on_the_order_of_the_values(values: list[int], method: str, data: st.DataObject) -> None:
    other = data.draw(st.permutations(values))
    assert sorted(values[place] for place in outliers(values, method)) == sorted(
        other[place] for place in outliers(other, method)
    )


@laws
@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=12), st.sampled_from(["mad", "iqr"]))
def test_outliers_do_not_depend_on_the_unit(values: list[int], method: str) -> None:
    assert list(outliers(values, method)) == list(outliers([value * 4 + 8 for value in values], method))


@laws
@given(st.lists(st.one_of(outputs, st.just(FAILED)), min_size=1, max_size=5), st.lists(outputs, min_size=5, max_size=5))
def test_no_reply_of_a_judge_makes_a_rule_raise(said: list[object], replies: list[object]) -> None:
    outcomes = outcomes_of([1 if what is not FAILED else FAILED for what in said])
    answer = answered(rule("best", score={"agent": "critic"}), outcomes)
    if isinstance(answer, Ask):
        answer = answer.then(outcomes_of(replies[: len(answer.members)]))
    assert isinstance(answer, Payload | Failure)
    if isinstance(answer, Payload):
        assert answer.value["score"] in answer.value["scores"].values()
