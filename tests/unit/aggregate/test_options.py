"""Rules with options: what is refused, in which words, and what a catalog can show."""

from collections.abc import Sequence
from typing import Any

import pytest

from motet.aggregate._fields import AgentOption, FunctionOption, Options, Seconds
from motet.aggregate._options import Made, OptionRule
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.ports import Roster, RuleBook, Tally
from motet.testing.contracts_aggregator import BOOK
from motet.testing.fakes import ScriptedAgent


class Inner(Options):
    weight: float = 1.0


class Model(Options):
    limit: int | None = None
    share: float = 0.5
    wait: Seconds | None = None
    inner: list[Inner] = []  # noqa: RUF012 - pydantic copies defaults
    judge: AgentOption | None = None
    score: FunctionOption | None = None


class Say:
    def __init__(self, text: str) -> None:
        self.text = text

    def add(self, _index: int, _outcome: Outcome, /) -> bool:
        return False

    def answer(self, _outcomes: Sequence[Outcome]) -> Payload:
        return Payload.of(self.text)


def build(options: Model, _book: RuleBook) -> Made:
    def tally(_roster: Roster) -> Tally:
        return Say(f"limit {options.limit}")

    return Made(tally, (options.judge,) if isinstance(options.judge, str) else ())


RULE = OptionRule(name="rule", description="A rule.", decides_early=False, model=lambda: Model, build=build)


def mistakes(options: dict[Any, Any]) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what the tests look at
        RULE.make(options, BOOK)
    return str(caught.value)


def test_the_rule_is_built_from_checked_options() -> None:
    made = RULE.make({"limit": 3, "judge": "critic"}, BOOK)
    assert made.begin(Roster([], [])).answer([]) == Payload.of("limit 3")
    assert list(made.agents) == ["critic"]


def test_every_mistake_is_told_and_names_its_option() -> None:
    told = mistakes({"limit": "x", "share": "0.5", "wait": 0})
    assert told == "limit: must be a whole number; share: must be a number; wait: must be more than 0"


def test_an_unknown_option_is_told_with_those_there_are() -> None:
    assert mistakes({"limt": 3}) == "limt: is not an option; there are: inner, judge, limit, score, share, wait"


def test_a_mistake_inside_a_list_names_its_place() -> None:
    assert mistakes({"inner": [{}, {"weight": "x", "wait": 1}]}) == (
        "inner[1].weight: must be a number; inner[1].wait: is not an option"
    )


def test_a_value_is_never_quoted() -> None:
    assert "hunter2" not in mistakes({"limit": "hunter2", "judge": ["hunter2"], "share": {"a": "hunter2"}})


@pytest.mark.parametrize("value", [True, "3", 2.5, float("nan"), [], {}])
def test_what_is_not_a_whole_number_is_not_taken_for_one(value: object) -> None:
    assert mistakes({"limit": value}).startswith("limit: ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1"])
def test_what_is_not_a_finite_number_is_not_taken_for_one(value: object) -> None:
    assert mistakes({"share": value}).startswith("share: ")


def test_a_name_of_an_option_that_is_not_text_is_refused() -> None:
    assert "must have a name that is text" in mistakes({1: 2})


def test_an_agent_may_be_its_name_or_the_agent() -> None:
    agent = ScriptedAgent("critic")
    assert list(RULE.make({"judge": agent}, BOOK).agents) == []
    assert mistakes({"judge": 3}) == "judge: must be the name of an agent in the catalog"
    assert mistakes({"judge": ""}) == "judge: must be the name of an agent in the catalog"


def test_a_function_may_be_its_name_or_the_function() -> None:
    RULE.make({"score": len}, BOOK)
    RULE.make({"score": "length"}, BOOK)
    assert mistakes({"score": 3}) == "score: must be the name of a function in the catalog"


def test_the_schema_shows_names_where_python_may_give_things() -> None:
    properties = RULE.options_schema["properties"]
    assert {"type": "string", "minLength": 1, "description": "Name of an agent in the catalog."} in properties["judge"][
        "anyOf"
    ]
    assert RULE.options_schema["additionalProperties"] is False
