"""A group: outcomes, answers, order, names, isolation."""

import json
import math
from contextvars import ContextVar
from typing import Any, ClassVar

import pytest
import trio

import motet
from motet import Group, Member, Payload, ReplicaOverride, State
from motet.testing import ScriptedAgent

secret: ContextVar[str] = ContextVar("secret", default="unset")


async def test_every_member_answers_and_the_answers_are_combined_in_declared_order(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [ScriptedAgent("slow", reply="one", delay=2), ScriptedAgent("quick", reply="two", delay=1)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members), "hi")
    assert result.unwrap() == {"combined_results": ["one", "two"], "result_count": 2}
    assert [o.member for o in result["g"].outcomes] == ["slow", "quick"]
    assert result.elapsed == pytest.approx(2)
    assert result.stats.ran == pytest.approx(3)


async def test_a_failed_member_is_a_failed_outcome_and_never_an_answer(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    bad = ScriptedAgent("bad", error=ValueError("no such table"))
    own = ScriptedAgent("own", error=motet.AgentError("come back", reason="BUSY", retry_after=3, details={"queue": 9}))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [bad, own, ScriptedAgent("good")]))
    assert result.state is State.SUCCEEDED
    assert result.unwrap()["result_count"] == 1
    assert result["g"]["bad"].failure == motet.Failure(
        "AGENT_FAILED", "ValueError: no such table", {"type": "ValueError"}
    )
    failure = result["g"]["own"].failure
    assert failure.reason == "BUSY"
    assert failure.details == {"queue": 9, "retry_after_seconds": 3}


async def test_a_group_without_any_success_fails_and_keeps_every_failure(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [ScriptedAgent(name, error=OSError(name)) for name in ("a", "b")]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members))
    assert result.state is State.FAILED
    assert result.failure.reason == "NO_SUCCESSFUL_RESULTS"
    assert set(result["g"].failure.details["members"]) == {"a", "b"}
    with pytest.raises(motet.RunFailed) as raised:
        result.unwrap()
    assert raised.value.result is result


async def test_an_agent_that_returns_no_reply_has_failed_with_output_invalid(checked_run: Any) -> None:
    class Wrong:
        info = motet.AgentInfo(name="wrong", kind=motet.AgentKind.FUNCTION)

        async def call(self, call: motet.Call, /) -> Any:
            return "text"

    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [Wrong()]))
    assert result["g"]["wrong"].failure.reason == "OUTPUT_INVALID"


async def test_duplicate_agents_are_numbered_and_give_way_to_explicit_names(checked_run: Any) -> None:
    agent = ScriptedAgent("echo", reply=lambda call: call.member)
    group = Group("g", [agent, Member(agent, name="echo_2"), agent, agent])
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result.unwrap()["combined_results"] == ["echo", "echo_2", "echo_3", "echo_4"]


async def test_replicas_are_numbered_and_know_their_number_and_their_overrides(checked_run: Any) -> None:
    agent = ScriptedAgent("poet", reply=lambda call: {"input": call.text, **call.variables})
    member = Member(
        agent,
        replicas=3,
        input=Payload.of("all"),
        variables={"tone": Payload.of("calm")},
        overrides=(ReplicaOverride(replica=2, input=Payload.of("own"), variables={"tone": Payload.of("wild")}),),
    )
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [member]), variables={"topic": "sea"})
    assert [o.member for o in result["g"].outcomes] == ["poet_1", "poet_2", "poet_3"]
    first, second, _ = result.unwrap()["combined_results"]
    assert first == {"input": "all", "tone": "calm", "topic": "sea", "member_id": 1, "total_members": 3}
    assert second == {"input": "own", "tone": "wild", "topic": "sea", "member_id": 2, "total_members": 3}


async def test_members_cannot_see_each_others_arguments(checked_run: Any) -> None:
    seen: list[object] = []

    def vandal(call: motet.Call) -> object:
        value, variables = call.value, call.variables
        seen.append(json.loads(json.dumps([value, variables])))
        value["list"].append("mine")
        variables["shared"]["x"] = "mine"
        return "done"

    members = [ScriptedAgent(name, reply=vandal) for name in ("a", "b", "c")]
    async with motet.open_engine() as engine:
        await checked_run(engine, Group("g", members), {"list": []}, variables={"shared": {}})
    assert seen == [[{"list": []}, {"shared": {}}]] * 3


async def test_what_a_member_sets_in_its_context_is_not_seen_by_the_next(checked_run: Any) -> None:
    def leave_a_mark(call: motet.Call) -> str:
        before = secret.get()
        secret.set(call.member)
        return before

    token = secret.set("caller")
    group = Group("g", [ScriptedAgent(f"m{i}", reply=leave_a_mark) for i in range(5)], max_parallel=1)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    secret.reset(token)
    assert result.unwrap()["combined_results"] == ["caller"] * 5


async def test_numbers_keep_the_precision_they_were_written_with(checked_run: Any) -> None:
    exact = '{"big":123456789012345678901234567890,"fine":0.10000000000000000000001}'
    agent = ScriptedAgent("exact", reply=Payload.from_json_text(exact))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [agent]))
    assert exact in result.output.text


async def test_first_answers_with_the_first_to_succeed_and_cancels_the_others(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [
        ScriptedAgent("slow", delay=60),
        ScriptedAgent("fails", delay=0.5, error=RuntimeError("x")),
        ScriptedAgent("quick", reply="me", delay=1),
    ]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, aggregation="first"))
    assert result.unwrap() == "me"
    assert result.elapsed == pytest.approx(1)
    group = result["g"]
    assert group.decided_early
    assert group["slow"].state is State.CANCELLED
    assert group["slow"].failure.reason == "DECIDED"
    assert group["slow"].stop.kind is motet.StopKind.STOPPED


async def test_members_that_never_started_are_skipped_when_the_answer_is_decided(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [ScriptedAgent(f"m{i}", delay=1) for i in range(4)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, aggregation="first", max_parallel=1))
    assert [o.state for o in result["g"].outcomes] == [State.SUCCEEDED] + [State.SKIPPED] * 3
    assert all(not agent.calls for agent in members[1:])


async def test_without_early_stop_every_member_runs_and_the_answer_is_the_same(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    members = [ScriptedAgent("quick", reply="q", delay=1), ScriptedAgent("slow", reply="s", delay=5)]
    group = Group("g", members, aggregation=motet.Aggregation("first", early_stop=False))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result.unwrap() == "q"
    assert not result["g"].decided_early
    assert result["g"]["slow"].state is State.SUCCEEDED


async def test_majority_out_of_reach_stops_the_rest(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    members = [ScriptedAgent(f"bad{i}", delay=1, error=OSError()) for i in range(2)]
    members += [ScriptedAgent("late", delay=60)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, aggregation="majority"))
    assert result.state is State.FAILED
    assert result.elapsed == pytest.approx(1)
    assert result["g"]["late"].failure.reason == "DECIDED"


async def test_an_aggregation_that_raises_fails_the_group_and_keeps_every_outcome(checked_run: Any) -> None:
    class Broken:
        name = "broken"
        description = ""
        options_schema: ClassVar[Any] = {}
        decides_early = False
        agents = ()

        def make(self, options: Any, book: Any, /) -> Any:
            return self

        def begin(self, roster: Any) -> Any:
            return self

        def add(self, index: int, outcome: Any) -> bool:
            return False

        def answer(self, outcomes: Any) -> Any:
            raise ZeroDivisionError("x")

    catalog = motet.Catalog()
    catalog.add_aggregation(Broken())
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, Group("g", [ScriptedAgent("a")], aggregation="broken"))
    assert result.failure.reason == "AGGREGATION_FAILED"
    assert result["g"]["a"].state is State.SUCCEEDED


async def test_usage_is_added_up_and_an_unknown_price_is_unpriced_not_zero(checked_run: Any) -> None:
    paid = ScriptedAgent("paid", usage=motet.Usage(calls=1, input_tokens=10, output_tokens=5, cost_nanos=700))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [paid, ScriptedAgent("free")]))
    assert result.usage == motet.Usage(calls=2, input_tokens=10, output_tokens=5, cost_nanos=700, unpriced_calls=1)


async def test_progress_reports_are_events_between_a_members_start_and_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", progress=["1 of 2", {"done": 2}], delay=3)
    async with motet.open_engine() as engine, engine.stream(Group("g", [agent])) as run:
        kinds = [(type(e.detail).__name__, e.member) async for e in run]
    assert kinds == [
        ("RunStarted", ""),
        ("GroupStarted", ""),
        ("MemberStarted", "a"),
        ("MemberProgress", "a"),
        ("MemberProgress", "a"),
        ("MemberEnded", "a"),
        ("GroupEnded", ""),
        ("RunEnded", ""),
    ]


async def test_a_member_that_reports_too_often_has_reports_dropped_and_counted(checked_run: Any) -> None:
    async def chatty(call: motet.Call) -> str:
        for number in range(12_000):
            call.report(number)
        return "done"

    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [motet.FunctionAgent(chatty)]))
    assert result.stats.progress_dropped == 2_000
    assert result["g"].stats.progress_dropped == 2_000


async def test_a_report_that_is_too_large_fails_the_member_that_sends_it(checked_run: Any) -> None:
    async def shout(call: motet.Call) -> str:
        call.report("x" * 70_000)
        return "done"

    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [motet.FunctionAgent(shout)]))
    assert "at most 65536 bytes" in result["g"]["shout"].failure.message


async def test_an_exception_group_of_an_agents_nursery_is_one_failure(checked_run: Any) -> None:
    async def nested(call: motet.Call) -> str:
        async def fail() -> None:
            raise KeyError("deep")

        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - the group that it raises is the point
            nursery.start_soon(fail)
        return "never"

    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [motet.FunctionAgent(nested)]))
    assert result["g"]["nested"].failure.details == {"type": "KeyError"}


async def test_observers_hear_every_event_and_one_that_raises_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[tuple[str, int]] = []

    def broken(run_id: str, event: motet.Event) -> None:
        raise RuntimeError("observer")

    observers = [broken, lambda run_id, event: heard.append((run_id, event.sequence))]
    async with motet.open_engine(observers=observers) as engine:
        result = await engine.run(Group("g", [ScriptedAgent("a")]))
    assert result.state is State.SUCCEEDED
    assert heard == [(result.run_id, n) for n in range(1, 7)]
    assert caplog.text.count("is not called again") == 1


@pytest.mark.parametrize("weight", [math.inf, -1.0, math.nan])
async def test_a_weight_that_is_none_is_refused_before_anything_starts(weight: float) -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest, match=r"plan\.group\.members\[0\]\.weight"):
            await engine.run(Group("g", [Member(agent, weight=weight)]))
        assert engine.statistics().runs_started == 0
    assert not agent.calls
