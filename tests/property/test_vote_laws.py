"""What holds for every vote, whatever members say, weigh and in whatever order they end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import fsum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.aggregate import BUILTIN
from motet.aggregate.ranked import RANKED_VOTE
from motet.aggregate.vote import VOTE
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Ask
from motet.testing.contracts_aggregator import BOOK, Book, answer_with, decide, failed, roster_of, succeeded

RULES: Mapping[str, Mapping[str, Any]] = {
    "plurality": {},
    "majority": {"method": "majority"},
    "ties as errors": {"ties": "error"},
    "tiebreaker": {"ties": "tiebreaker", "tiebreaker": "judge"},
    "minimum share": {"minimum_share": 0.5},
    "majority with share": {"method": "majority", "minimum_share": 0.7},
    "normalised": {"normalise": {"case": True, "whitespace": True, "numbers": True}},
    "abstaining": {"abstain": ["b"], "method": "majority"},
    "unweighted": {"weighted": False, "ties": "error"},
}
VOTES = {name: VOTE.make(options, BOOK) for name, options in RULES.items()}
RANKED = {method: RANKED_VOTE.make({"method": method}, BOOK) for method in ("borda", "instant_runoff")}

answers = st.sampled_from(["a", "b", "c", "A", " a", "1", "1.0"]) | st.builds(
    Payload.from_json, st.sampled_from([None, 1, 1.0, {"x": 1, "y": 2}, {"y": 2, "x": 1}, True])
)
ballots = st.lists(st.sampled_from("abcd"), max_size=4)
some_weights = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0])


@dataclass
class Case:
    outcomes: list[Outcome]
    weights: list[float]
    order: list[int]


@st.composite
def cases(draw: st.DrawFn, outputs: st.SearchStrategy[Any] = answers, most: int = 8) -> Case:
    said = draw(st.lists(st.just("fails") | st.builds(lambda out: (out,), outputs), min_size=1, max_size=most))
    outcomes = [succeeded(f"m{n}", out[0]) if out != "fails" else failed(f"m{n}") for n, out in enumerate(said)]
    weights = draw(st.lists(some_weights, min_size=len(said), max_size=len(said)))
    return Case(outcomes, weights, list(draw(st.permutations(range(len(said))))))


def play(
    rule: Any, case: Case, *, early_stop: bool = False, weights: Sequence[float] | None = None
) -> Payload | Failure:
    answer, _ = decide(
        rule, case.outcomes, case.order, early_stop=early_stop, weights=case.weights if weights is None else weights
    )
    return answer_with(answer, lambda question: succeeded(question.name, 2))


def gist(answer: Payload | Failure) -> Any:
    """What an early decision may not change: the answer, to the letter, or that there is none."""
    if isinstance(answer, Failure):
        return "no answer"
    return repr(answer.value["answer"])


@pytest.mark.parametrize("rule", RULES)
@given(case=cases(), data=st.data())
def test_the_order_of_completion_never_changes_the_answer_or_a_figure(
    rule: str, case: Case, data: st.DataObject
) -> None:
    other = Case(case.outcomes, case.weights, list(data.draw(st.permutations(case.order))))
    assert play(VOTES[rule], case) == play(VOTES[rule], other)


@pytest.mark.parametrize("rule", RULES)
@given(case=cases())
def test_stopping_early_never_changes_the_answer(rule: str, case: Case) -> None:
    assert gist(play(VOTES[rule], case, early_stop=True)) == gist(play(VOTES[rule], case))


@pytest.mark.parametrize("rule", [name for name in RULES if name not in ("normalised", "abstaining")])
@given(case=cases(st.sampled_from("abc"), most=6), left=st.integers(0, 3))
def test_it_goes_on_only_while_the_others_can_still_change_something(rule: str, case: Case, left: int) -> None:
    heard = max(1, len(case.order) - left)
    out = case.order[heard:]
    tally = VOTES[rule].begin(roster_of(case.outcomes, case.weights))
    decided = [tally.add(index, case.outcomes[index]) for index in case.order[:heard]]
    assert decided == sorted(decided)
    endings = set()
    for said in product(("a", "b", "c", "d", None), repeat=len(out)):
        outcomes = list(case.outcomes)
        for index, word in zip(out, said, strict=True):
            outcomes[index] = failed(f"m{index}") if word is None else succeeded(f"m{index}", word)
        full, _ = decide(VOTES[rule], outcomes, range(len(outcomes)), early_stop=False, weights=case.weights)
        endings.add(str(full.members) if isinstance(full, Ask) else gist(full))
    assert decided[-1] is (len(endings) == 1)


@pytest.mark.parametrize("rule", RULES)
@given(case=cases())
def test_shares_sum_to_one_and_the_confidence_is_the_winners(rule: str, case: Case) -> None:
    answer = play(VOTES[rule], case)
    report = answer.details if isinstance(answer, Failure) else answer.value
    scores = report.get("weighted_scores")
    if scores:
        total = fsum(scores.values())
        assert fsum(score / total for score in scores.values()) == pytest.approx(1)
        if isinstance(answer, Payload) and not report.get("tie"):
            assert report["confidence"] == pytest.approx(max(scores.values()) / total)


@pytest.mark.parametrize("rule", RULES)
@given(case=cases(), factor=st.sampled_from([2, 3, 7, 1000]))
def test_weights_scaled_by_a_constant_change_nothing(rule: str, case: Case, factor: int) -> None:
    scaled = [round(weight * 10) * factor / 10 for weight in case.weights]
    one, other = play(VOTES[rule], case), play(VOTES[rule], case, weights=scaled)
    assert gist(one) == gist(other)
    if isinstance(one, Payload) and isinstance(other, Payload):
        assert one.value | {"weighted_scores": 0} == other.value | {"weighted_scores": 0}


@pytest.mark.parametrize("rule", [name for name in RULES if name != "unweighted"])
@given(case=cases(), copies=st.lists(st.integers(1, 3), min_size=8, max_size=8))
def test_duplicated_votes_behave_as_weights(rule: str, case: Case, copies: list[int]) -> None:
    outcomes, size = case.outcomes, len(case.outcomes)
    weighted = Case(outcomes, [float(count) for count in copies[:size]], list(range(size)))
    many = [outcome for outcome, count in zip(outcomes, copies, strict=False) for _ in range(count)]
    copied = Case(many, [1.0] * len(many), list(range(len(many))))
    one, other = play(VOTES[rule], weighted), play(VOTES[rule], copied)
    assert gist(one) == gist(other)
    if isinstance(one, Payload) and isinstance(other, Payload):
        for figure in ("confidence", "weighted_scores", "conflict_severity"):
            assert one.value[figure] == other.value[figure]


@pytest.mark.parametrize("rule", RULES)
@given(case=cases(), where=st.integers(0, 8), weight=some_weights)
def test_another_member_that_fails_never_turns_a_failure_into_a_success(
    rule: str, case: Case, where: int, weight: float
) -> None:
    more = Case(
        [*case.outcomes[:where], failed("loser"), *case.outcomes[where:]],
        [*case.weights[:where], weight, *case.weights[where:]],
        list(range(len(case.outcomes) + 1)),
    )
    for early_stop in (True, False):
        after = play(VOTES[rule], more, early_stop=early_stop)
        assert isinstance(play(VOTES[rule], case), Payload) or isinstance(after, Failure)


@pytest.mark.parametrize("method", RANKED)
@given(case=cases(ballots), factor=st.sampled_from([2, 3, 7]))
def test_a_ranked_vote_keeps_these_laws_too(method: str, case: Case, factor: int) -> None:
    rule = RANKED[method]
    first = play(rule, case)
    assert play(rule, Case(case.outcomes, case.weights, case.order[::-1]), early_stop=True) == first
    assert gist(play(rule, case, weights=[round(weight * 10) * factor / 10 for weight in case.weights])) == gist(first)
    more = Case([*case.outcomes, failed("loser")], [*case.weights, 1.0], [*case.order, len(case.order)])
    assert gist(play(rule, more)) == gist(first)


# --------------------------------------------------------------------------------------------------- hostile values

hostile_values = st.sampled_from(
    [
        float("nan"),
        float("inf"),
        10**5000,
        {1, 2},
        {1: 2},
        object(),
        b"\xff",
        ("a", 1),
        "\ud800",
        "\udfff\ud800",
        None,
        -0.0,
    ]
)
hostile_documents = st.sampled_from(
    [
        "",
        " ",
        "[" * 5000 + "]" * 5000,
        "[" * 90 + "]" * 90,
        "9" * 5000,
        "1e999",
        "-0.0",
        '"\ud800"',
        "{}",
        '{"a":"\udc00"}',
    ]
)
hostile = (
    st.builds(Payload.from_text, st.text(max_size=4) | st.sampled_from(["\ud800", "\x00", "null", "1e999", "1,000"]))
    | st.builds(Payload.from_bytes, st.binary(max_size=4))
    | st.builds(lambda document: Payload("json", document), hostile_documents)
    | st.builds(Payload.from_json, ballots)
)


@pytest.mark.parametrize("name", ["vote", "ranked_vote"])
@given(
    case=cases(hostile),
    value=hostile_values,
    options=st.sampled_from([{}, {"field": "/a"}, {"function": "odd"}, {"normalise": {"case": True, "numbers": True}}]),
)
def test_hostile_values_are_reported_and_nothing_escapes_or_changes(
    name: str, case: Case, value: object, options: dict[str, Any]
) -> None:
    rule = BUILTIN[name].make(options, Book({"odd": lambda _: [value, value]}))
    before = repr(case.outcomes)
    answer = play(rule, case, early_stop=True)
    assert gist(answer) == gist(play(rule, case))
    assert repr(case.outcomes) == before
    if isinstance(answer, Payload):
        assert answer.data.decode() == answer.text
        Payload.from_json_text(answer.text)
