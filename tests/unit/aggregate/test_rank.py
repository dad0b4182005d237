"""rank: the order, who has no place in it and why, and what a judge is asked."""

from collections.abc import Sequence
from typing import Any

import pytest

from motet.aggregate import BUILTIN
from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import AggregatorType, Answer, Ask, Roster
from motet.testing.contracts_aggregator import BOOK, AggregatorContract, decide, failed, roster_of, succeeded
from motet.testing.fakes import ScriptedAgent

RANK = BUILTIN["rank"]
FIELD = {"score": {"field": "/s"}}


class TestRankKeepsTheContract(AggregatorContract):
    options = FIELD

    def make_type(self) -> AggregatorType:
        return RANK

    def make_output(self, number: int) -> object:
        return {"s": number % 2}


def members(**scores: object) -> list[Outcome]:
    return [succeeded(name, {"s": score}) for name, score in scores.items()]


def ranked(outcomes: Sequence[Outcome], options: dict[str, Any] | None = None) -> Any:
    answer, _ = decide(RANK.make(options or FIELD, BOOK), outcomes, range(len(outcomes)), early_stop=True)
    assert isinstance(answer, Payload)
    return answer.value


def order(answer: Any) -> list[str]:
    return [entry["member"] for entry in answer["ranking"]]


def test_the_answer_holds_the_ranking_the_unscored_and_the_failed() -> None:
    outcomes = [*members(a=1, b=2.5), failed("c"), succeeded("d", "no score")]
    assert ranked(outcomes) == {
        "ranking": [
            {"member": "b", "score": 2.5, "output": {"s": 2.5}},
            {"member": "a", "score": 1, "output": {"s": 1}},
        ],
        "unscored": [{"member": "d", "problem": "has nothing at /s", "output": "no score"}],
        "failed": ["c"],
        "result_count": 3,
    }


def test_ascending_puts_the_lowest_first_and_still_no_unscored_member() -> None:
    answer = ranked(members(a=3, b=None, c=1, d="2"), {**FIELD, "order": "ascending"})
    assert order(answer) == ["c", "a"]
    assert [entry["member"] for entry in answer["unscored"]] == ["b", "d"]


@pytest.mark.parametrize("direction", ["ascending", "descending"])
def test_equal_scores_keep_declared_order_in_either_direction(direction: str) -> None:
    assert order(ranked(members(a=1, b=1.0, c=1), {**FIELD, "order": direction})) == ["a", "b", "c"]


def test_integers_that_a_float_cannot_tell_apart_are_compared_exactly() -> None:
    answer = ranked(members(a=2**60, b=2**60 + 1, c=float(2**60), d=10**3000))
    assert order(answer) == ["d", "b", "a", "c"]
    assert answer["ranking"][1]["score"] == 2**60 + 1


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("true", "is true, not a number"),
        ("null", "is null, not a number"),
        ('"7"', "is text, not a number"),
        ("[1]", "is a list, not a number"),
        ('{"s": 1}', "is an object, not a number"),
        ("1e999", "is not a finite number"),
        ("1" * 4_290, "is too large"),
    ],
)
def test_what_is_not_a_number_is_no_score(document: str, problem: str) -> None:
    answer = ranked([succeeded("a", Payload("json", f'{{"s":{document}}}'))])
    assert answer["ranking"] == []
    assert answer["unscored"][0]["problem"] == problem


@pytest.mark.parametrize(("text", "score"), [("7", 7), (" -1.5e1 ", -15.0), ("+.5", 0.5), ("9" * 30, int("9" * 30))])
def test_numeric_text_is_a_score_when_it_is_asked_for(text: str, score: float) -> None:
    answer = ranked(members(a=text), {**FIELD, "numbers_in_text": True})
    assert answer["ranking"][0]["score"] == score


@pytest.mark.parametrize("text", ["", "seven", "1,000", "0x10", "1_0", "nan", "inf", "\u0661", "1e999", "9" * 5000])
def test_other_text_is_never_a_score(text: str) -> None:
    assert ranked(members(a=text), {**FIELD, "numbers_in_text": True})["ranking"] == []


def test_the_limit_shortens_the_ranking_and_nothing_else() -> None:
    answer = ranked([*members(a=1, b=2, c=3, d=None)], {**FIELD, "limit": 2})
    assert order(answer) == ["c", "b"]
    assert len(answer["unscored"]) == 1
    assert answer["result_count"] == 4


def test_a_function_or_an_expression_may_score() -> None:
    outcomes = [succeeded("a", "long answer"), succeeded("b", "short")]
    assert order(ranked(outcomes, {"score": {"function": len}})) == ["a", "b"]
    assert order(ranked(outcomes, {"score": {"expression": "-size(output)"}})) == ["b", "a"]


def test_outputs_keep_numbers_that_a_float_cannot_hold() -> None:
    document = '{"s": 1, "n": 0.1000000000000000000001}'
    answer, _ = decide(RANK.make(FIELD, BOOK), [succeeded("a", Payload("json", document))], [0], early_stop=True)
    assert isinstance(answer, Payload)
    assert document in answer.text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "score: is missing"),
        ({"score": {}}, "score: give exactly one of field, expression, function and agent, not none"),
        ({"score": {"field": "/s", "agent": "j"}}, "score: give exactly one of .* not field and agent"),
        ({"score": {"field": "s"}}, r"score\.field: must be a JSON pointer"),
        ({"score": {"expression": "1 +"}}, r"score\.expression: line 1, column"),
        ({"score": {"field": "/s", "timeout": 1}}, "score: timeout is for questions to an agent"),
        ({"score": {"agent": "j", "max_parallel": 0}}, r"score\.max_parallel: must be 1 or more"),
        ({**FIELD, "order": "up"}, "order: must be 'descending' or 'ascending'"),
        ({**FIELD, "limit": 0}, "limit: must be 1 or more"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RANK.make(options, BOOK)


# ------------------------------------------------------------------------------------------------------------ judges


def asked(outcomes: Sequence[Outcome], question: object = "", **judge: Any) -> Ask:
    aggregator = RANK.make({"score": {"agent": "critic", **judge}}, BOOK)
    assert list(aggregator.agents) == ["critic"]
    roster = roster_of(outcomes)
    tally = aggregator.begin(Roster(roster.names, roster.weights, Payload.of(question)))
    answer = tally.answer(outcomes)
    assert isinstance(answer, Ask)
    return answer


def judged(*replies: object) -> Any:
    """The ranking of members a, b, ... to which the judge said this; an outcome stands for itself."""
    outcomes = members(**dict.fromkeys("abcdef"[: len(replies)], 0))
    ask = asked(outcomes)
    answer: Answer = ask.then([reply if isinstance(reply, Outcome) else succeeded("q", reply) for reply in replies])
    assert isinstance(answer, Payload)
    return answer.value


def test_a_judge_is_asked_about_every_success_and_not_told_whose_it_is() -> None:
    outcomes = [succeeded("a", "x"), failed("b"), succeeded("c", {"n": 1})]
    ask = asked(outcomes, question="which?", timeout=2, max_parallel=3)
    assert (ask.purpose, ask.max_parallel) == ("judge", 3)
    assert [(m.agent, m.name, m.timeout, m.input.value) for m in ask.members] == [
        ("critic", "a", 2, {"question": "which?", "output": "x"}),
        ("critic", "c", 2, {"question": "which?", "output": {"n": 1}}),
    ]


def test_a_judge_hears_of_no_question_when_there_was_none() -> None:
    assert asked([succeeded("a", "x")]).members[0].input.value == {"output": "x"}


def test_a_judge_may_be_the_agent_itself() -> None:
    agent = ScriptedAgent("critic")
    aggregator = RANK.make({"score": {"agent": agent}}, BOOK)
    outcomes = [succeeded("a", "x")]
    ask = aggregator.begin(roster_of(outcomes)).answer(outcomes)
    assert list(aggregator.agents) == []
    assert isinstance(ask, Ask)
    assert ask.members[0].agent is agent


def test_a_judge_says_a_number_or_an_object_with_a_score_as_json_or_as_text() -> None:
    answer = judged(1, {"score": 4}, "3", '{"score": 2.5}')
    assert [(entry["member"], entry["score"]) for entry in answer["ranking"]] == [
        ("b", 4),
        ("c", 3),
        ("d", 2.5),
        ("a", 1),
    ]


def test_a_member_whose_judge_fails_or_gives_no_score_is_unscored_with_the_reason() -> None:
    answer = judged(failed("q"), "well...", {"reason": "none"}, True, 1)
    assert order(answer) == ["e"]
    assert [entry["problem"] for entry in answer["unscored"]] == [
        "the judge did not answer: FAILED AGENT_FAILED: q failed",
        "is text that is not a number",
        "the judge gave no score",
        "is true, not a number",
    ]


def test_nobody_is_asked_when_no_member_succeeded() -> None:
    aggregator = RANK.make({"score": {"agent": "critic"}}, BOOK)
    answer, _ = decide(aggregator, [failed("a")], [0], early_stop=True)
    assert isinstance(answer, Failure)
    assert answer.reason == reason.NO_SUCCESSFUL_RESULTS


def test_the_winners_are_the_ranked_members_best_first() -> None:
    outcomes = members(a=1, b=3, c=None, d=2)
    tally: Any = RANK.make({**FIELD, "limit": 2}, BOOK).begin(roster_of(outcomes))
    assert tally.winners(outcomes) is None
    tally.answer(outcomes)
    assert list(tally.winners(outcomes)) == [1, 3]
