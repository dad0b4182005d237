"""summarize: what the writing agent is given, and who answers when it does not."""

from typing import Any

import pytest

from motet.aggregate.summarize import PROMPT, SUMMARIZE
from motet.model.outcome import Failure, Outcome
from motet.model.payload import EMPTY, Payload
from motet.model.plan import Member
from motet.ports import AggregatorType, Ask
from motet.testing import ScriptedAgent
from motet.testing.contracts_aggregator import (
    BOOK,
    AggregatorContract,
    answer_with,
    decide,
    failed,
    succeeded,
)


class TestSummarizeKeepsTheContract(AggregatorContract):
    options = {"agent": "writer"}  # noqa: RUF012 - a ClassVar of the contract

    def make_type(self) -> AggregatorType:
        return SUMMARIZE

    def make_reply(self, question: Member) -> Outcome:
        assert question.input is not None
        return succeeded("writer", f"summary of {question.input.text}")


class TestSummarizeThatFallsBackKeepsTheContract(AggregatorContract):
    options = {"agent": "writer", "fallback": {"name": "merge", "separator": "; "}}  # noqa: RUF012 - as above

    def make_type(self) -> AggregatorType:
        return SUMMARIZE

    def make_reply(self, question: Member) -> Outcome:
        return failed(str(question.agent))


def ask(outcomes: list[Outcome], question: Payload = EMPTY, **options: Any) -> Ask:
    rule = SUMMARIZE.make({"agent": "writer", **options}, BOOK)
    said, _ = decide(rule, outcomes, range(len(outcomes)), early_stop=True, question=question)
    assert isinstance(said, Ask)
    return said


def document(asked: Ask) -> Any:
    (member,) = asked.members
    assert member.input is not None
    return member.input.value


def test_the_agent_gets_the_question_the_successes_numbered_and_the_failed_named() -> None:
    outcomes = [succeeded("a", "one"), failed("b"), succeeded("c", {"n": 2})]
    asked = ask(outcomes, Payload.of("How many?"), timeout=3)
    assert asked.purpose == "summary"
    assert asked.members[0].agent == "writer"
    assert asked.members[0].timeout == 3
    assert document(asked) == {
        "instruction": PROMPT,
        "question": "How many?",
        "answers": [
            {"number": 1, "member": "a", "text": "one", "cut": False},
            {"number": 2, "member": "c", "text": '{"n":2}', "cut": False},
        ],
        "failed": [{"member": "b", "state": "FAILED", "reason": "AGENT_FAILED", "message": "b failed"}],
    }


def test_without_a_question_there_is_none_and_the_prompt_may_be_another() -> None:
    given = document(ask([succeeded("a", "one")], prompt="In one word."))
    assert given["instruction"] == "In one word."
    assert "question" not in given


def test_the_answers_are_cut_fairly_to_the_bound_and_said_to_be_cut() -> None:
    outcomes = [succeeded("a", "x" * 50), succeeded("b", "tiny"), succeeded("c", "y" * 50)]
    given = document(ask(outcomes, Payload.of("q" * 50), max_input_length=24))
    assert [(one["text"], one["cut"]) for one in given["answers"]] == [
        ("xxxx [...]", True),
        ("tiny", False),
        ("yyyy [...]", True),
    ]
    assert given["question"] == "q" * 18 + " [...]"
    assert given["question_cut"] is True


def test_a_success_without_the_selected_field_is_named_among_those_without_an_answer() -> None:
    given = document(ask([succeeded("a", {"text": "one"}), succeeded("b", {})], field="/text"))
    assert [one["text"] for one in given["answers"]] == ["one"]
    assert given["failed"] == [
        {"member": "b", "state": "SUCCEEDED", "reason": "NOT_SELECTED", "message": "has nothing at /text"}
    ]


def test_of_many_failed_members_a_hundred_are_named_and_all_are_counted() -> None:
    given = document(ask([succeeded("a", "one"), *(failed(f"b{n}") for n in range(150))]))
    assert len(given["failed"]) == 100
    assert given["failed_total"] == 150


def test_the_output_of_the_agent_is_the_answer_as_it_is() -> None:
    reply = succeeded("writer", Payload("json", '{"n": 1.0}'))
    assert answer_with(ask([succeeded("a", "one")]), lambda _: reply) == reply.output


def test_an_agent_that_fails_gives_a_failure_with_its_own_in_the_details() -> None:
    said = answer_with(ask([succeeded("a", "one")]), lambda _: failed("writer"))
    assert isinstance(said, Failure)
    assert said.reason == "REDUCER_FAILED"
    assert said.details["reason"] == "AGENT_FAILED"
    assert said.details["message"] == "writer failed"


def test_when_the_agent_fails_the_fallback_answers() -> None:
    asked = ask([succeeded("a", "one"), succeeded("b", "two")], fallback={"name": "merge", "separator": " "})
    said = answer_with(asked, lambda _: failed("writer"))
    assert isinstance(said, Payload)
    assert said.value["merged_text"] == "[a] one [b] two"


def test_the_fallback_hears_the_order_in_which_members_ended() -> None:
    rule = SUMMARIZE.make({"agent": "writer", "fallback": "first"}, BOOK)
    outcomes = [succeeded("a", "one"), succeeded("b", "two")]
    said, _ = decide(rule, outcomes, [1, 0], early_stop=True)
    assert answer_with(said, lambda _: failed("writer")) == Payload.of("two")


def test_when_the_fallback_has_no_answer_either_both_failures_are_told() -> None:
    asked = ask([succeeded("a", "one"), failed("b")], fallback="majority")
    said = answer_with(asked, lambda _: failed("writer"))
    assert isinstance(said, Failure)
    assert said.reason == "REDUCER_FAILED"
    assert said.details["fallback"]["reason"] == "NO_MAJORITY"


def test_an_agent_may_be_named_or_given_and_only_the_named_is_looked_up() -> None:
    assert SUMMARIZE.make({"agent": "writer"}, BOOK).agents == ("writer",)
    assert SUMMARIZE.make({"agent": ScriptedAgent("writer")}, BOOK).agents == ()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "agent"),
        ({"agent": 3}, "agent"),
        ({"agent": "w", "prompt": ""}, "prompt"),
        ({"agent": "w", "max_input_length": 0}, "max_input_length"),
        ({"agent": "w", "timeout": 0}, "timeout"),
        ({"agent": "w", "fallback": "nothing"}, "fallback: there is no aggregation 'nothing'"),
        ({"agent": "w", "fallback": {"name": "merge", "max_length": 0}}, "fallback: max_length"),
        ({"agent": "w", "fallback": {"name": "summarize", "agent": "v"}}, "fallback: summarize would ask"),
        ({"agent": "w", "fallback": {"name": "custom", "agent": ScriptedAgent("v")}}, "fallback: custom would ask"),
        ({"agent": "w", "fallback": 7}, "fallback"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SUMMARIZE.make(options, BOOK)
