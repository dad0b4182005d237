"""chain: what one rule hands to the next, whose failure it is, and when a chain may stop early."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from motet.aggregate import BUILTIN
from motet.aggregate.chain import CHAIN
from motet.aggregate.custom import FunctionRule, PresetRule
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Member
from motet.ports import AggregatorType, Answer, Ask, Roster, RuleBook, Tally
from motet.testing.contracts_aggregator import (
    BOOK,
    AggregatorContract,
    Book,
    answer_with,
    decide,
    failed,
    succeeded,
)

SHOW = {"name": "custom", "expression": "outcomes.map(o, [o.member, string(o.output), string(o.weight)])"}


@dataclass(frozen=True)
class Long:
    """Those who said more than three characters win; it may ask before it says so."""

    name: str = "long"
    description: str = "The long ones."
    decides_early: bool = True
    asks: bool = False
    agents: Sequence[str] = ("judge",)

    @property
    def options_schema(self) -> dict[str, Any]:
        return {}

    def make(self, _options: Any, _book: RuleBook, /) -> "Long":
        return self

    def begin(self, _roster: Roster) -> Tally:
        return LongTally(asks=self.asks)


class LongTally:
    def __init__(self, *, asks: bool) -> None:
        self.asks = asks

    def add(self, _index: int, _outcome: Outcome) -> bool:
        return True

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        if self.asks:
            return Ask(
                purpose="judge",
                members=[Member("judge", name="q")],
                then=lambda replies: replies[0].output or Payload.of(""),
            )
        return Payload.of({"winners": len(self.winners(outcomes))})

    def winners(self, outcomes: Sequence[Outcome]) -> list[int]:
        return [place for place, o in enumerate(outcomes) if o.output is not None and len(o.output.text) > 3]


WITH_LONG = Book(
    aggregations={
        **BUILTIN,
        "long": Long(),
        "asking": Long(name="asking", asks=True),
        "short": PresetRule("short", BUILTIN["majority"]),
        "own": FunctionRule("own", len, decided=lambda _outcomes: True),
    }
)
OUTCOMES = [succeeded("a", "long one"), succeeded("b", "no"), failed("c"), succeeded("d", "longer")]


class TestAChainKeepsTheContract(AggregatorContract):
    options = {"steps": ["first", "merge"]}  # noqa: RUF012 - a ClassVar of the contract

    def make_type(self) -> AggregatorType:
        return CHAIN


class TestAChainThatAsksKeepsTheContract(AggregatorContract):
    options = {"steps": ["majority", {"name": "summarize", "agent": "writer"}]}  # noqa: RUF012 - as above

    def make_type(self) -> AggregatorType:
        return CHAIN


def answer(outcomes: list[Outcome], *steps: object, **options: Any) -> Any:
    rule = CHAIN.make({"steps": list(steps), **options}, WITH_LONG)
    said, _ = decide(
        rule, outcomes, range(len(outcomes)), early_stop=True, weights=[float(n) for n in range(len(outcomes))]
    )
    return said.value if isinstance(said, Payload) else said


def test_the_next_rule_works_on_the_winners_and_their_weights() -> None:
    assert answer(OUTCOMES, "long", SHOW) == [["a", "long one", "0"], ["d", "longer", "3"]]


def test_without_winners_the_next_rule_works_on_the_answer_in_the_rule_s_name() -> None:
    assert answer(OUTCOMES, "first", SHOW) == [["first", "long one", "1"]]


def test_a_rule_with_winners_hands_on_its_answer_when_told_to_or_when_nobody_won() -> None:
    merged = {"name": "merge"}
    assert answer(OUTCOMES, "long", merged, feed="answer")["merged_text"] == '[long] {"winners":2}'
    assert answer([failed("a"), succeeded("b", "no")], "long", merged)["merged_text"] == '[long] {"winners":0}'


def test_three_rules_follow_one_another() -> None:
    said = answer(
        OUTCOMES,
        "long",
        {"name": "merge", "separator": " "},
        {"name": "custom", "expression": "outputs[0].total_length"},
    )
    assert said == len("[a] long one [d] longer")


def test_a_rule_without_an_answer_ends_the_chain_and_is_named() -> None:
    said = answer([succeeded("a", "x"), failed("b"), failed("c")], "majority", "merge")
    assert isinstance(said, Failure)
    assert said.reason == "NO_MAJORITY"
    assert said.message.startswith("step 1 (majority): ")
    assert said.details["step"] == 1
    said = answer(OUTCOMES, "long", {"name": "merge", "field": "/nothing"})
    assert said.message.startswith("step 2 (merge): ")


def test_the_questions_of_one_rule_are_asked_before_the_next_begins() -> None:
    asked = answer(OUTCOMES, "asking", {"name": "summarize", "agent": "writer"})
    assert isinstance(asked, Ask)
    assert asked.purpose == "judge"
    second = asked.then([succeeded("q", "decided")])
    assert isinstance(second, Ask)
    assert second.purpose == "summary"
    given = second.members[0].input
    assert given is not None
    assert [one["member"] for one in given.value["answers"]] == ["a", "d"]
    assert second.then([succeeded("writer", "both")]) == Payload.of("both")


def test_a_question_that_fails_ends_the_chain_in_its_step() -> None:
    asked = answer(OUTCOMES, {"name": "summarize", "agent": "writer"}, "merge")
    said = answer_with(asked, lambda _: failed("writer"))
    assert isinstance(said, Failure)
    assert said.reason == "REDUCER_FAILED"
    assert said.details["step"] == 1


def test_it_names_the_agents_of_all_its_steps_once() -> None:
    writer = {"name": "summarize", "agent": "writer"}
    rule = CHAIN.make({"steps": ["long", writer, {"name": "custom", "agent": "judge"}, writer]}, WITH_LONG)
    assert rule.agents == ("judge", "writer")


@pytest.mark.parametrize(
    ("first", "early"), [("first", True), ("own", True), ("long", False), ("combine", False), ("merge", False)]
)
def test_a_chain_stops_early_only_for_a_whole_answer_that_is_settled(first: str, early: bool) -> None:
    tally = CHAIN.make({"steps": [first, "merge"]}, WITH_LONG).begin(Roster(["a", "b"], [1.0, 1.0]))
    assert tally.add(0, succeeded("a", "long one")) is early


def test_a_preset_of_a_rule_that_settles_stops_early_too() -> None:
    tally = CHAIN.make({"steps": ["short", "merge"]}, WITH_LONG).begin(Roster(["a"], [1.0]))
    assert tally.add(0, succeeded("a", "x"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "steps"),
        ({"steps": ["first"]}, "steps: must have 2 or more"),
        ({"steps": ["first", "nothing"]}, r"steps\[1\]: there is no aggregation 'nothing'"),
        ({"steps": ["first", {"name": "merge", "max_length": 0}]}, r"steps\[1\]: max_length"),
        ({"steps": [{"field": ""}, "no"]}, r"steps\[0\]: .*; steps\[1\]: there is no"),
        ({"steps": [3, "first"]}, r"steps\[0\]"),
        ({"steps": ["first", "merge"], "feed": "all"}, "feed"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CHAIN.make(options, BOOK)


def test_what_leads_a_ranking_may_be_merged() -> None:
    outcomes = [
        succeeded(name, {"score": score, "text": name * 3}) for name, score in zip("abc", (1, 3, 2), strict=True)
    ]
    rank = {"name": "rank", "score": {"field": "/score"}, "limit": 2}
    said = answer(outcomes, rank, {"name": "merge", "field": "/text", "separator": " "})
    assert said["merged_text"] == "[b] bbb [c] ccc"


def test_the_winning_side_of_a_vote_is_handed_on() -> None:
    rule = BUILTIN["chain"].make(
        {"steps": [{"name": "vote", "field": "/answer"}, {"name": "merge", "field": "/why"}]}, BOOK
    )
    outcomes = [
        succeeded("a", {"answer": "yes", "why": "it is late"}),
        succeeded("b", {"answer": "no", "why": "it is early"}),
        succeeded("c", {"answer": "yes", "why": "it is dark"}),
    ]
    answer, _ = decide(rule, outcomes, [2, 1, 0], early_stop=True)
    assert isinstance(answer, Payload)
    assert answer.value["merged_text"] == "[a] it is late\n\n[c] it is dark"
