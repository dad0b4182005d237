"""The tiebreaker of a vote: asked on a tie and at no other time, and what its reply decides."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio

import motet
from motet import Aggregation, Group
from motet.aggregate.vote import VOTE
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.ports import Ask
from motet.testing import ScriptedAgent
from motet.testing.contracts_aggregator import BOOK, answer_with, decide, failed, succeeded

TIES = {"ties": "tiebreaker", "tiebreaker": "judge"}


def asked(outputs: Sequence[object], question: str = "", **options: Any) -> Ask:
    outcomes = [succeeded(f"m{n}", out) for n, out in enumerate(outputs)]
    answer, _ = decide(
        VOTE.make(TIES | options, BOOK),
        outcomes,
        range(len(outcomes)),
        early_stop=True,
        question=Payload.from_text(question),
    )
    assert isinstance(answer, Ask), answer
    return answer


def told(outputs: Sequence[object], reply: Outcome, **options: Any) -> Any:
    answer = answer_with(asked(outputs, **options), lambda _: reply)
    assert isinstance(answer, Payload), answer
    return answer.value


def test_it_sees_the_question_and_the_tied_answers_in_declared_order_and_no_others() -> None:
    ask = asked(["b", "a", "b", "a", "c"], "which?", tiebreaker_timeout=3)
    (member,) = ask.members
    assert (ask.purpose, member.agent, member.timeout) == ("tiebreaker", "judge", 3)
    assert member.input is not None
    assert member.input.value == {
        "question": "which?",
        "tied": [
            {"answer": "b", "votes": 2, "members": ["m0", "m2"]},
            {"answer": "a", "votes": 2, "members": ["m1", "m3"]},
        ],
    }


def test_without_a_question_it_is_left_out() -> None:
    (member,) = asked(["b", "a"]).members
    assert member.input is not None
    assert set(member.input.value) == {"tied"}


@pytest.mark.parametrize("reply", ["a", 2, "2", Payload.from_json("a"), Payload.from_text('"a"')])
def test_it_names_the_winner_by_the_answer_or_by_its_number(reply: object) -> None:
    said = told(["b", "a"], succeeded("tiebreaker", reply))
    assert said["answer"] == "a"
    assert said["tie"] is True
    assert said["tiebreaker"]["asked"] == "judge"
    assert said["tiebreaker"]["used"] is True


def test_an_answer_that_is_a_number_goes_before_its_place() -> None:
    assert told([2, 1], succeeded("tiebreaker", 1))["answer"] == 1


def test_its_reply_is_normalised_and_read_like_the_members_outputs() -> None:
    outputs = [{"label": "B"}, {"label": "a"}]
    reply = succeeded("tiebreaker", {"label": "A"})
    assert told(outputs, reply, field="/label", normalise={"case": True})["answer"] == "a"


@pytest.mark.parametrize("reply", ["c", 0, 3, -1, True, [1], {}, b"\xff", Payload("json", "1e999"), "\ud800"])
def test_a_reply_that_names_none_of_them_leaves_it_to_the_first(reply: object) -> None:
    said = told(["b", "a"], succeeded("tiebreaker", reply))
    assert said["answer"] == "b"
    assert said["tiebreaker"]["used"] is False
    assert "none of the tied" in said["tiebreaker"]["problem"]


def test_a_tiebreaker_that_fails_leaves_it_to_the_first_and_says_why() -> None:
    said = told(["b", "a"], failed("tiebreaker"))
    assert said["answer"] == "b"
    assert said["tiebreaker"] == {
        "asked": "judge",
        "said": None,
        "problem": "AGENT_FAILED: tiebreaker failed",
        "used": False,
    }


def test_nobody_is_asked_when_the_tied_answers_have_too_small_a_share() -> None:
    outcomes = [succeeded(f"m{n}", out) for n, out in enumerate("abc")]
    answer, _ = decide(VOTE.make(TIES | {"minimum_share": 0.5}, BOOK), outcomes, range(3), early_stop=False)
    assert not isinstance(answer, Ask)


async def test_the_engine_asks_the_tiebreaker_on_a_tie_and_only_then(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    judge = ScriptedAgent("judge", reply="no", delay=1)
    rule = Aggregation("vote", {"ties": "tiebreaker", "tiebreaker": judge})
    async with motet.open_engine() as engine:
        tied = [ScriptedAgent("a", reply="yes"), ScriptedAgent("b", reply="no")]
        result = await checked_run(engine, Group("g", tied, rule), "well?")
        assert result.unwrap()["answer"] == "no"
        assert [call.value["question"] for call in judge.calls] == ["well?"]
        clear = [*tied, ScriptedAgent("c", reply="no")]
        result = await checked_run(engine, Group("g", clear, rule), "well?")
        assert result.unwrap()["answer"] == "no"
        assert len(judge.calls) == 1


async def test_the_engine_stops_the_rest_of_a_vote_that_is_decided(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [ScriptedAgent(name, reply="yes", delay=delay) for name, delay in (("a", 1), ("b", 2), ("c", 99))]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, "vote"))
    assert result.unwrap()["answer"] == "yes"
    assert result.elapsed == pytest.approx(2)
    assert result["g"]["c"].failure.reason == "DECIDED"
