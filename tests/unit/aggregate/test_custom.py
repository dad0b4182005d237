"""custom, and rules of a catalog's own: functions, expressions, agents, presets."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio

import motet
from motet import Aggregation, Catalog, Group, State
from motet.aggregate import BUILTIN
from motet.aggregate.custom import CUSTOM, FunctionRule, PresetRule
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import AggregatorType, Ask
from motet.testing import ScriptedAgent
from motet.testing.contracts_aggregator import (
    BOOK,
    AggregatorContract,
    Book,
    answer_with,
    decide,
    failed,
    succeeded,
)

MIXED = [succeeded("a", "one"), failed("b"), succeeded("c", {"n": 2})]


def count(outcomes: list[Outcome]) -> dict[str, int]:
    """How many said something."""
    return {"said": sum(outcome.succeeded for outcome in outcomes), "of": len(outcomes)}


def longest(outcomes: list[Outcome]) -> str | None:
    return max((o.output.text for o in outcomes if o.output is not None), key=len, default=None)


def two_said(outcomes: Sequence[Outcome | None]) -> bool:
    return sum(outcome is not None and outcome.succeeded for outcome in outcomes) >= 2


def enough(outcomes: list[Outcome]) -> str:
    return "enough" if two_said(outcomes) else "too few"


class TestAFunctionRuleKeepsTheContract(AggregatorContract):
    answers_without_success = True

    def make_type(self) -> AggregatorType:
        return FunctionRule("count", count, description="Counts.")


class TestAFunctionRuleThatDecidesKeepsTheContract(AggregatorContract):
    answers_without_success = True

    def make_type(self) -> AggregatorType:
        return FunctionRule("enough", enough, description="Two are enough.", decided=two_said)


class TestAnExpressionKeepsTheContract(AggregatorContract):
    options = {"expression": "succeeded >= 2", "decided": "succeeded >= 2"}  # noqa: RUF012 - a ClassVar of the contract
    answers_without_success = True

    def make_type(self) -> AggregatorType:
        return CUSTOM


class TestAnAgentAsReducerKeepsTheContract(AggregatorContract):
    options = {"agent": "reducer"}  # noqa: RUF012 - as above
    answers_without_success = True

    def make_type(self) -> AggregatorType:
        return CUSTOM


class TestAPresetKeepsTheContract(AggregatorContract):
    def make_type(self) -> AggregatorType:
        return PresetRule("joined", BUILTIN["merge"], {"separator": " "}, "Merged with spaces.")


def answer(outcomes: list[Outcome], book: Book = BOOK, **options: Any) -> Any:
    said, _ = decide(CUSTOM.make(options, book), outcomes, range(len(outcomes)), early_stop=True)
    return said.value if isinstance(said, Payload) else said


# ---------------------------------------------------------------------------------------------------------- functions


def test_a_function_sees_every_outcome_in_declared_order_and_its_value_is_the_answer() -> None:
    assert answer(MIXED, Book(functions={"count": count}), function="count") == {"said": 2, "of": 3}
    assert answer(MIXED, function=longest) == '{"n":2}'


def test_a_function_is_called_also_when_nobody_succeeded() -> None:
    assert answer([failed("a")], function=count) == {"said": 0, "of": 1}


def test_a_function_that_returns_none_has_no_answer() -> None:
    said = answer([failed("a")], function=longest)
    assert isinstance(said, Failure)
    assert said.reason == "NO_ANSWER"


def test_a_function_may_return_a_failure_of_its_own() -> None:
    own = Failure("TOO_FEW", "two are needed", {"needed": 2})
    assert answer(MIXED, function=lambda _outcomes: own) is own


def test_the_list_that_a_function_gets_is_its_own() -> None:
    def vandal(outcomes: list[Outcome]) -> int:
        outcomes.clear()
        return 0

    outcomes = list(MIXED)
    assert answer(outcomes, function=vandal) == 0
    assert outcomes == MIXED


def test_what_a_function_raises_goes_to_the_engine_and_with_a_fallback_the_fallback_answers() -> None:
    def broken(_outcomes: list[Outcome]) -> None:
        raise KeyError("total")

    with pytest.raises(KeyError):
        answer(MIXED, function=broken)
    assert answer(MIXED, function=broken, fallback="first") == "one"


def test_a_fallback_without_an_answer_leaves_what_the_function_raised() -> None:
    def broken(_outcomes: list[Outcome]) -> None:
        raise KeyError("total")

    said = answer([failed("a")], function=broken, fallback="first")
    assert said.reason == "AGGREGATION_FAILED"
    assert said.details["fallback"]["reason"] == "NO_SUCCESSFUL_RESULTS"


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800"])
def test_a_value_that_cannot_be_sent_on_is_an_error_of_the_function(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        answer(MIXED, function=lambda _outcomes: value)


def test_a_function_s_own_decided_is_used() -> None:
    def pick(outcomes: list[Outcome]) -> str:
        return enough(outcomes)

    vars(pick)["decided"] = two_said
    assert FunctionRule("pick", pick).decides_early
    rule = CUSTOM.make({"function": pick}, BOOK)
    outcomes = [succeeded(name, "x") for name in "abcd"]
    assert decide(rule, outcomes, [3, 1, 0, 2], early_stop=True) == (Payload.of("enough"), 2)


def test_a_function_rule_takes_no_options_and_does_not_decide_unless_it_says_so() -> None:
    rule = FunctionRule("count", count)
    assert not rule.decides_early
    assert rule.options_schema == {}
    with pytest.raises(ValueError, match="remove depth"):
        rule.make({"depth": 1}, BOOK)


# ----------------------------------------------------------------------------------------------------- async functions


async def slow_count(outcomes: list[Outcome]) -> dict[str, int]:
    await trio.sleep(2)
    return count(outcomes)


async def no_answer(_outcomes: list[Outcome]) -> None:
    await trio.lowlevel.checkpoint()


async def broken_later(_outcomes: list[Outcome]) -> None:
    await trio.lowlevel.checkpoint()
    raise KeyError("total")


class CountLater:
    """An async callable object."""

    async def __call__(self, outcomes: list[Outcome]) -> dict[str, int]:
        return await slow_count(outcomes)


async def run(options: dict[str, Any], **group: Any) -> motet.GroupResult:
    members = [ScriptedAgent("a", reply="one"), ScriptedAgent("b", error=ValueError("no"))]
    async with motet.open_engine() as engine:
        result = await engine.run(Group("g", members, Aggregation("custom", options), **group))
    return result["g"]


@pytest.mark.parametrize("function", [slow_count, CountLater(), functools.partial(slow_count)])
async def test_an_async_function_takes_its_time_and_is_no_call_of_an_agent(
    autojump_clock: trio.testing.MockClock, function: Callable[..., Any]
) -> None:
    result = await run({"function": function})
    assert result.aggregate is not None
    assert result.aggregate.value == {"said": 1, "of": 2}
    assert result.elapsed == pytest.approx(2)
    assert result.usage.calls == 2
    assert [group.name for group in result.asked] == ["reducer"]


async def test_an_async_function_that_returns_none_has_no_answer() -> None:
    result = await run({"function": no_answer})
    assert result.failure is not None
    assert result.failure.reason == "NO_ANSWER"


async def test_an_async_function_that_raises_fails_like_a_plain_one() -> None:
    result = await run({"function": broken_later})
    assert result.failure is not None
    assert result.failure.reason == "AGGREGATION_FAILED"
    assert "KeyError" in result.failure.message
    assert len(result.outcomes) == 2


async def test_an_async_function_beyond_its_timeout_fails_and_the_fallback_may_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    result = await run({"function": slow_count, "timeout": 1})
    assert result.failure is not None
    assert result.failure.reason == "REDUCER_FAILED"
    assert result.failure.details["state"] == "TIMED_OUT"
    result = await run({"function": slow_count, "timeout": 1, "fallback": "first"})
    assert result.aggregate == Payload.of("one")


async def test_a_plain_function_that_returns_a_coroutine_is_told_to_say_async() -> None:
    def late(outcomes: list[Outcome]) -> object:
        return slow_count(outcomes)

    result = await run({"function": late})
    assert result.failure is not None
    assert result.failure.reason == "AGGREGATION_FAILED"
    assert "async def" in result.failure.message


async def test_a_function_rule_of_a_catalog_runs_under_its_own_name() -> None:
    catalog = Catalog()
    catalog.add_aggregation(FunctionRule("count", count))
    async with motet.open_engine(catalog) as engine:
        result = await engine.run(Group("g", [ScriptedAgent("a")], "count"))
    assert result.unwrap() == {"said": 1, "of": 1}
    assert result.state is State.SUCCEEDED


# --------------------------------------------------------------------------------------------------------- expressions


def test_an_expression_sees_the_outcomes_the_outputs_and_the_counts() -> None:
    outcomes = [succeeded("a", '{"n": 3}'), failed("b"), succeeded("c", {"n": 2})]
    assert answer(outcomes, expression="outputs.map(o, o.n)") == [3, 2]
    assert answer(outcomes, expression="[total, succeeded, failed]") == [3, 2, 1]
    assert answer(outcomes, expression="outcomes.filter(o, !o.succeeded).map(o, [o.member, o.state, o.reason])") == [
        ["b", "FAILED", "AGENT_FAILED"]
    ]
    assert answer(outcomes, expression="outcomes[1].weight") == 1.0


def test_an_expression_whose_value_is_null_has_no_answer() -> None:
    said = answer(MIXED, expression="null")
    assert isinstance(said, Failure)
    assert said.reason == "NO_ANSWER"


def test_an_expression_without_a_value_fails_and_the_fallback_may_answer() -> None:
    said = answer([failed("a")], expression="outputs[0]")
    assert isinstance(said, Failure)
    assert said.reason == "EXPRESSION_FAILED"
    assert said.details["expression"] == "outputs[0]"
    assert answer(MIXED, expression="outputs[7]", fallback="first") == "one"


def test_an_expression_decides_as_soon_as_it_says_so_and_an_error_says_not_yet() -> None:
    rule = CUSTOM.make({"expression": "true", "decided": "outputs[1] == 'x' || failed > 2"}, BOOK)
    outcomes = [succeeded(name, "x") for name in "abcd"]
    assert decide(rule, outcomes, [3, 1, 0, 2], early_stop=True) == (Payload.from_json(True), 2)


def test_a_decided_that_is_neither_true_nor_false_is_an_error() -> None:
    tally = CUSTOM.make({"expression": "true", "decided": "outputs"}, BOOK).begin(motet.ports.Roster(["a"], [1.0]))
    with pytest.raises(TypeError, match="decided"):
        tally.add(0, succeeded("a", "x"))


# --------------------------------------------------------------------------------------------------------------- agents


def test_an_agent_gets_the_question_and_every_outcome() -> None:
    rule = CUSTOM.make({"agent": "judge", "timeout": 3}, BOOK)
    said, _ = decide(rule, MIXED, range(3), early_stop=True, weights=[1.0, 2.0, 0.5], question=Payload.of("How many?"))
    assert isinstance(said, Ask)
    assert said.purpose == "reducer"
    (member,) = said.members
    assert (member.agent, member.timeout) == ("judge", 3)
    assert member.input is not None
    given = member.input.value
    assert given["question"] == "How many?"
    assert [(o["member"], o["output"], o["weight"]) for o in given["outcomes"]] == [
        ("a", "one", 1.0),
        ("b", None, 2.0),
        ("c", {"n": 2}, 0.5),
    ]
    assert given["outcomes"][1]["reason"] == "AGENT_FAILED"
    assert answer_with(said, lambda _: succeeded("judge", "three")) == Payload.of("three")


def test_an_agent_that_fails_gives_its_failure_or_lets_the_fallback_answer() -> None:
    said, _ = decide(CUSTOM.make({"agent": "judge"}, BOOK), MIXED, range(3), early_stop=True)
    failure = answer_with(said, lambda _: failed("judge"))
    assert isinstance(failure, Failure)
    assert failure.reason == "REDUCER_FAILED"
    said, _ = decide(CUSTOM.make({"agent": "judge", "fallback": "first"}, BOOK), MIXED, range(3), early_stop=True)
    assert answer_with(said, lambda _: failed("judge")) == Payload.of("one")


# -------------------------------------------------------------------------------------------------- options and presets


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "exactly one of function, expression, agent"),
        ({"expression": "1", "agent": "a"}, "not expression and agent"),
        ({"function": "nobody"}, "function: there is no function 'nobody'"),
        ({"function": 3}, "function"),
        ({"expression": "outputs["}, "expression: line 1"),
        ({"expression": "nobody + 1"}, "expression: line 1"),
        ({"expression": "true", "decided": "succeeded > 'x'"}, "decided: line 1"),
        ({"expression": "true", "decided": 1}, "decided"),
        ({"expression": "true", "timeout": 1}, "timeout"),
        ({"function": count, "timeout": 1}, "timeout"),
        ({"agent": "a", "timeout": -1}, "timeout"),
        ({"expression": "true", "fallback": {"name": "no"}}, "fallback"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CUSTOM.make(options, BOOK)


def test_a_preset_is_its_rule_with_the_options_fixed() -> None:
    preset = PresetRule("joined", BUILTIN["merge"], {"separator": "|", "attribution": False}, "Joined.")
    said, _ = decide(preset.make({}, BOOK), [succeeded("a", "1"), succeeded("b", "2")], [0, 1], early_stop=True)
    assert isinstance(said, Payload)
    assert said.value["merged_text"] == "1|2"
    with pytest.raises(ValueError, match="joined takes no options; remove separator"):
        preset.make({"separator": " "}, BOOK)


def test_a_preset_made_of_itself_is_a_mistake_that_shows_the_way_round() -> None:
    book = Book(aggregations={**BUILTIN, "a": PresetRule("a", BUILTIN["chain"], {"steps": ["first", "b"]})})
    loop = PresetRule("b", BUILTIN["summarize"], {"agent": "w", "fallback": "a"})
    book = Book(aggregations={**book.aggregations, "b": loop})
    with pytest.raises(ValueError, match="'b' is made of itself: b -> a -> b"):
        loop.make({}, book)
