"""Judges in an engine: asked after the members, within their timeout and width, part of the result."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import motet
from motet.model.state import State
from motet.ports import Call
from motet.testing.fakes import ScriptedAgent

CheckedRun = Callable[..., Awaitable[motet.RunResult]]


def group(judge: ScriptedAgent, *answers: object, rule: str = "best", **score: Any) -> motet.Group:
    members = [ScriptedAgent(f"m{place}", reply=answer) for place, answer in enumerate(answers)]
    options = {"score": {"agent": judge, **score}}
    return motet.Group("g", members, motet.Aggregation(rule, options))


def length(call: Call) -> object:
    return {"score": len(call.value["output"])}


async def test_a_judge_scores_every_success_and_sees_the_question(
    checked_run: CheckedRun, autojump_clock: object
) -> None:
    judge = ScriptedAgent("critic", reply=length)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group(judge, "four", "sixteen"), "how many?")
    assert result.groups[0].aggregate.value["member"] == "m1"
    asked = result.groups[0].asked[0]
    assert [outcome.member for outcome in asked.outcomes] == ["m0", "m1"]
    assert (asked.name, asked.parent) == ("judge", "g/@")


async def test_a_judge_that_takes_too_long_leaves_its_members_unscored(
    checked_run: CheckedRun, autojump_clock: object
) -> None:
    judge = ScriptedAgent("critic", reply=1, delay=10)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group(judge, "a", "b", timeout=1), "")
    assert result.groups[0].failure.reason == "NO_SCORES"
    assert [entry["problem"][:38] for entry in result.groups[0].failure.details["unscored"]] == [
        "the judge did not answer: TIMED_OUT DE"
    ] * 2
    assert [outcome.state for outcome in result.groups[0].outcomes] == [State.SUCCEEDED] * 2


async def test_a_judge_is_asked_no_more_questions_in_all_than_its_budget_allows(
    checked_run: CheckedRun, autojump_clock: object
) -> None:
    judge = ScriptedAgent("critic", reply=length)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group(judge, "a", "bb", "cccc", rule="rank", max_calls=2), "")
    answer = result.groups[0].aggregate.value
    assert len(judge.calls) == 2
    assert [entry["member"] for entry in answer["ranking"]] == ["m1", "m0"]
    assert [entry["member"] for entry in answer["unscored"]] == ["m2"]
    assert "max_calls" in answer["unscored"][0]["problem"]


async def test_a_judge_is_asked_no_more_questions_at_once_than_the_option_says(
    checked_run: CheckedRun, autojump_clock: object
) -> None:
    judge = ScriptedAgent("critic", reply=1, delay=1)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group(judge, *"abcdef", rule="rank", max_parallel=2), "")
    assert result.groups[0].asked[0].stats.peak_running == 2
    assert result.groups[0].aggregate.value["result_count"] == 6


async def test_a_judge_that_no_catalog_knows_is_refused_before_anything_starts() -> None:
    member = ScriptedAgent("m")
    plan = motet.Group("g", [member], motet.Aggregation("best", {"score": {"agent": "nobody"}}))
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest, match="nobody"):
            await engine.run(plan, "")
    assert member.calls == []
