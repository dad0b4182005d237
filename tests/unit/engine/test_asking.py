"""What an aggregation asks agents: run in the group's name, within its deadline and widths, and never lost."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio

import motet
from motet import Aggregation, Catalog, Group, Member, Outcome, State, StopKind, Usage
from motet.engine.asking import MAX_ROUNDS
from motet.model.event import GroupEnded, GroupStarted, MemberEnded
from motet.testing import AskingRule, ScriptedAgent


def catalog(*things: AskingRule | ScriptedAgent) -> Catalog:
    made = Catalog()
    for thing in things:
        if isinstance(thing, AskingRule):
            made.add_aggregation(thing)
        else:
            made.add(thing)
    return made


def members(*delays: float) -> list[ScriptedAgent]:
    return [ScriptedAgent(f"m{number}", reply=f"said {number}", delay=delay) for number, delay in enumerate(delays, 1)]


SUMMARY = Aggregation("summarize", {"agent": "writer"})


async def test_a_question_is_asked_when_all_have_ended_and_its_answer_is_the_groups(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    writer = ScriptedAgent("writer", reply=lambda call: call.value["question"] + " Two say so.", delay=5)
    async with motet.open_engine(catalog(writer)) as engine:
        result = await checked_run(engine, Group("g", members(1, 2), SUMMARY), "Is it so?")
    assert result.unwrap() == "Is it so? Two say so."
    assert result.elapsed == pytest.approx(7)
    (asked,) = result["g"].asked
    assert (asked.name, asked.parent, asked.state) == ("summary", "g/@", State.SUCCEEDED)
    assert [one["text"] for one in json.loads(writer.calls[0].text)["answers"]] == ["said 1", "said 2"]


async def test_a_question_beyond_the_groups_deadline_times_the_group_out_and_keeps_the_outcomes(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    writer = ScriptedAgent("writer", delay=30)
    async with motet.open_engine(catalog(writer)) as engine:
        result = await checked_run(engine, Group("g", members(1), SUMMARY, timeout=4))
    group = result["g"]
    assert group.state is State.TIMED_OUT
    assert group.failure.reason == "DEADLINE_EXCEEDED"
    assert group.failure.details["aggregation_reason"] == "REDUCER_FAILED"
    assert [outcome.state for outcome in group.outcomes] == [State.SUCCEEDED]
    assert group.asked[0]["writer"].stop.kind is StopKind.STOPPED
    assert result.elapsed == pytest.approx(4)


async def test_a_question_has_a_timeout_of_its_own_and_a_fallback_may_answer_for_it(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    rule = Aggregation("summarize", {"agent": "writer", "timeout": 2, "fallback": "first"})
    async with motet.open_engine(catalog(ScriptedAgent("writer", delay=30))) as engine:
        result = await checked_run(engine, Group("g", members(1), rule, timeout=20))
    assert result.unwrap() == "said 1"
    assert result["g"].asked[0]["writer"].state is State.TIMED_OUT
    assert result.elapsed == pytest.approx(3)


async def test_a_run_that_is_cancelled_while_it_asks_stops_the_question_with_a_receipt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    writer = ScriptedAgent("writer", delay=30)
    async with motet.open_engine(catalog(writer)) as engine:
        record = await engine.start(Group("g", members(1), SUMMARY))
        await trio.sleep(5)
        assert writer.running == 1
        await engine.cancel(record.run_id)
        async with engine.watch(record.run_id) as watched:
            async for _ in watched:
                pass
        result = (await engine.get(record.run_id)).result
    assert result is not None
    group = result["g"]
    assert group.state is State.CANCELLED
    assert [outcome.state for outcome in group.outcomes] == [State.SUCCEEDED]
    question = group.asked[0]["writer"]
    assert question.state is State.CANCELLED
    assert question.stop is not None
    assert question.stop.kind is StopKind.STOPPED
    assert writer.cancelled == 1


async def test_a_caller_who_goes_away_while_it_asks_leaves_nothing_running(
    autojump_clock: trio.testing.MockClock,
) -> None:
    writer = ScriptedAgent("writer", delay=30)
    async with motet.open_engine(catalog(writer)) as engine:
        with trio.move_on_after(5):
            await engine.run(Group("g", members(1), SUMMARY))
        assert (writer.running, writer.cancelled) == (0, 1)
        assert engine.statistics().members_running == 0


async def test_an_agent_that_nobody_knows_is_refused_before_anything_starts() -> None:
    (member,) = members(0)
    rule = Aggregation("chain", {"steps": ["combine", {"name": "summarize", "agent": "nobody"}]})
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest) as raised:
            await engine.run(Group("g", [member], rule))
    (violation,) = raised.value.violations
    assert violation.field == "plan.group.aggregation.options"
    assert "'nobody'" in violation.message
    assert member.calls == []


async def test_an_agent_may_be_given_in_place_of_its_name(checked_run: Any) -> None:
    rule = Aggregation("summarize", {"agent": ScriptedAgent("writer", reply="written")})
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members(0), rule))
    assert result.unwrap() == "written"


async def test_the_usage_of_questions_is_in_the_groups_and_the_runs(checked_run: Any) -> None:
    price = Usage(calls=1, input_tokens=10, cost_nanos=7)
    writer = ScriptedAgent("writer", usage=price)
    async with motet.open_engine(catalog(writer)) as engine:
        result = await checked_run(engine, Group("g", [ScriptedAgent("m", usage=price)], SUMMARY))
    assert result["g"].asked[0].usage == price
    assert result["g"].usage == result.usage == Usage(calls=2, input_tokens=20, cost_nanos=14)
    assert result.stats.members == 1


async def test_the_events_of_questions_lie_in_the_groups_window_and_name_it_as_their_parent() -> None:
    rule = AskingRule("writer", rounds=2, purpose="judge")
    async with motet.open_engine(catalog(rule, ScriptedAgent("writer"))) as engine:  # noqa: SIM117 - two scopes of different things
        async with engine.stream(Group("g", members(0), "asking")) as stream:
            events = [event async for event in stream]
    told = [
        (type(event.detail).__name__, event.parent, event.group)
        for event in events
        if isinstance(event.detail, GroupStarted | MemberEnded | GroupEnded)
    ]
    assert told == [
        ("GroupStarted", "", "g"),
        ("MemberEnded", "", "g"),
        ("GroupStarted", "g/@", "judge"),
        ("MemberEnded", "g/@", "judge"),
        ("GroupEnded", "g/@", "judge"),
        ("GroupStarted", "g/@#2", "judge"),
        ("MemberEnded", "g/@#2", "judge"),
        ("GroupEnded", "g/@#2", "judge"),
        ("GroupEnded", "", "g"),
    ]


async def test_a_rule_that_asks_for_ever_is_ended_and_every_question_is_kept(checked_run: Any) -> None:
    rule = AskingRule("writer", rounds=float("inf"))
    async with motet.open_engine(catalog(rule, ScriptedAgent("writer"))) as engine:
        result = await checked_run(engine, Group("g", members(0), "asking"))
    assert result["g"].state is State.FAILED
    assert result["g"].failure.reason == "AGGREGATION_FAILED"
    assert len(result["g"].asked) == MAX_ROUNDS


async def test_a_rule_that_raises_over_its_answers_fails_the_group_and_keeps_everything(checked_run: Any) -> None:
    def broken(_outcomes: Sequence[Outcome]) -> None:
        raise ZeroDivisionError("no shares")

    rule = AskingRule("writer", then=broken)
    async with motet.open_engine(catalog(rule, ScriptedAgent("writer"))) as engine:
        result = await checked_run(engine, Group("g", members(0), "asking"))
    group = result["g"]
    assert group.failure.reason == "AGGREGATION_FAILED"
    assert "ZeroDivisionError" in group.failure.message
    assert (len(group.outcomes), len(group.asked)) == (1, 1)


async def test_a_question_to_an_agent_that_nobody_knows_fails_the_group(checked_run: Any) -> None:
    class Forgetful(AskingRule):
        @property
        def agents(self) -> Sequence[str]:
            return ()

    async with motet.open_engine(catalog(Forgetful("nobody"))) as engine:
        result = await checked_run(engine, Group("g", members(0), "asking"))
    assert result["g"].failure.reason == "AGGREGATION_FAILED"
    assert "'nobody'" in result["g"].failure.message
    assert result["g"].asked == ()


async def test_twenty_questions_to_an_agent_of_width_one_are_put_one_after_another(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    judge = ScriptedAgent("judge", delay=1, max_parallel=1)
    rule = AskingRule("judge", questions=20)
    async with motet.open_engine(catalog(rule, judge)) as engine:
        result = await checked_run(engine, Group("g", members(0), "asking"))
    assert judge.peak == 1
    assert len(judge.calls) == 20
    assert result.elapsed == pytest.approx(20)


async def test_no_more_questions_are_open_than_the_rule_allows(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    judge = ScriptedAgent("judge", delay=1)
    rule = AskingRule("judge", questions=7, max_parallel=3)
    async with motet.open_engine(catalog(rule, judge)) as engine:
        result = await checked_run(engine, Group("g", members(0), "asking"))
    assert judge.peak == 3
    assert result.elapsed == pytest.approx(3)


@pytest.mark.parametrize("depth", [1, 2])
async def test_questions_of_nested_groups_do_not_deadlock_in_an_engine_of_width_one(
    autojump_clock: trio.testing.MockClock, checked_run: Any, depth: int
) -> None:
    writer = ScriptedAgent("writer", reply=lambda call: f"wrote {len(call.value['answers'])}", delay=1)
    group = Group("inner", [Member(members(1)[0], replicas=2)], SUMMARY)
    for level in range(depth):
        group = Group(f"outer{level}", [ScriptedAgent("nest", nested=group)], SUMMARY)
    async with motet.open_engine(catalog(writer), max_parallel=1) as engine:
        result = await checked_run(engine, group)
    assert result.unwrap() == "wrote 1"
    assert result.elapsed == pytest.approx(2 + 1 + depth)
    assert writer.peak == 1


async def test_a_question_may_itself_run_a_group(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    writer = ScriptedAgent("writer", nested=Group("panel", members(1, 2)))
    async with motet.open_engine(catalog(writer), max_parallel=1) as engine:
        result = await checked_run(engine, Group("g", members(1), SUMMARY))
    assert result.unwrap()["result_count"] == 2
    (panel,) = result["g"].asked[0]["writer"].nested
    assert panel.parent == "g/@/summary/writer"


async def test_after_an_early_decision_the_questions_are_asked_and_what_was_spared_is_told(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    rule = AskingRule("writer", enough=1)
    group = Group("g", members(1, 30, 30), "asking", max_parallel=2)
    async with motet.open_engine(catalog(rule, ScriptedAgent("writer", reply="done", delay=2))) as engine:
        result = await checked_run(engine, group)
    assert result.unwrap() == ["done"]
    assert result.elapsed == pytest.approx(3)
    assert result["g"].decided_early
    assert (result["g"].saved.members, result["g"].saved.calls) == (2, 1)
    assert [outcome.state for outcome in result["g"].asked[0].outcomes] == [State.SUCCEEDED]


async def test_a_chain_stops_early_and_then_asks(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    rule = Aggregation("chain", {"steps": ["first", {"name": "summarize", "agent": "writer"}]})
    writer = ScriptedAgent("writer", reply=lambda call: call.value["answers"][0]["text"] + ", in short")
    async with motet.open_engine(catalog(writer)) as engine:
        result = await checked_run(engine, Group("g", members(30, 1), rule))
    assert result.unwrap() == "said 2, in short"
    assert result.elapsed == pytest.approx(1)
    assert result["g"].saved.members == 1


async def test_a_writer_who_resists_is_told_as_detached_and_the_caller_is_not_held(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    writer = ScriptedAgent("writer", delay=30, resist=50)
    async with motet.open_engine(catalog(writer), stop_grace=1) as engine:
        result = await checked_run(engine, Group("g", members(1), SUMMARY, timeout=3))
    assert result["g"].state is State.TIMED_OUT
    assert result["g"].asked[0]["writer"].stop.kind is StopKind.DETACHED
    assert result.elapsed == pytest.approx(4)
