"""Members that take a cancellation well, late, badly or not at all, and what their receipts say."""

from typing import Any

import pytest
import trio

import motet
from motet import Group, Member, Parallel, Sequence, State, StopKind
from motet.testing import AskingRule, ScriptedAgent, check_run


def in_use(engine: motet.Engine) -> float:
    (row,) = (row for row in engine.limits() if (row.guard, row.scope) == ("capacity", "engine"))
    return row.used


async def test_a_cancelled_run_stops_every_member_before_the_caller_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agents = [ScriptedAgent(f"a{i}", delay=60, resist=i) for i in range(4)]
    async with motet.open_engine() as engine:
        with trio.move_on_after(1):
            await engine.run(Parallel([Group(f"g{i}", [agent]) for i, agent in enumerate(agents)]))
        assert [agent.running for agent in agents] == [0, 0, 0, 0]
        assert trio.current_time() == pytest.approx(4)
        assert engine.statistics().runs_active == 0


async def test_a_member_that_delays_its_stop_is_stopped_and_its_receipt_says_how_long_it_took(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    group = Group("g", [ScriptedAgent("slow", delay=60, resist=3), ScriptedAgent("prompt", delay=60)], timeout=2)
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result["g"]["slow"].stop.kind is StopKind.STOPPED
    assert result["g"]["slow"].stop.took == pytest.approx(3)
    assert result["g"]["prompt"].stop.kind is StopKind.STOPPED
    assert result["g"]["prompt"].stop.took == pytest.approx(0)


async def test_a_member_that_resists_longer_than_the_grace_is_detached_and_named(
    autojump_clock: trio.testing.MockClock, checked_run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn = ScriptedAgent("stubborn", delay=60, resist=1000)
    async with motet.open_engine(stop_grace=5) as engine:
        result = await checked_run(engine, Group("g", [stubborn, ScriptedAgent("prompt", delay=60)], timeout=2))
        assert result.elapsed == pytest.approx(7)
        assert engine.statistics().members_detached == 1
        assert in_use(engine) == 1
    receipt = result["g"]["stubborn"].stop
    assert receipt.kind is StopKind.DETACHED
    assert receipt.took == pytest.approx(5)
    assert "stubborn" in receipt.detail
    assert result.stats.detached == 1
    assert "g/stubborn" in caplog.text
    # The engine itself does not end before its tasks do.
    assert trio.current_time() == pytest.approx(1002)


async def test_a_member_that_resists_its_own_timeout_does_not_hold_the_group(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    stubborn = ScriptedAgent("stubborn", delay=60, resist=500)
    quick = ScriptedAgent("quick", delay=1)
    group = Group("g", [Member(stubborn, timeout=2), Member(quick, replicas=20)], max_parallel=2)
    async with motet.open_engine(stop_grace=3) as engine:
        result = await checked_run(engine, group)
    assert result["g"]["stubborn"].stop.kind is StopKind.DETACHED
    assert result["g"]["stubborn"].state is State.TIMED_OUT
    assert result.stats.succeeded == 20
    assert result.elapsed == pytest.approx(12.5, abs=1)


async def test_a_late_answer_of_a_detached_member_is_not_counted(autojump_clock: trio.testing.MockClock) -> None:
    async def late(call: motet.Call) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
        call.report("too late to be an event")
        return "too late"

    events: list[motet.Event] = []
    observers = [lambda run_id, event: events.append(event)]
    async with motet.open_engine(stop_grace=1, observers=observers) as engine:
        result = await engine.run(Group("g", [motet.FunctionAgent(late)], timeout=1))
        assert engine.statistics().members_detached == 1
        await trio.sleep(60)
        assert engine.statistics().members_detached == 0
    check_run(events, result)
    assert result["g"]["late"].state is State.TIMED_OUT


async def test_a_member_that_was_given_up_can_start_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    refused: list[str] = []
    leaf = ScriptedAgent("leaf")

    async def zombie(call: motet.Call) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
            for attempt in (call.run, engine.run, engine.start):
                try:
                    await attempt(Group("again", [leaf]))
                except motet.Unavailable as error:
                    refused.append(error.reason)
        return "too late"

    async with motet.open_engine(stop_grace=1) as engine:
        await engine.run(Group("g", [motet.FunctionAgent(zombie)], timeout=1))
    assert refused == ["MEMBER_ENDED"] * 3
    assert not leaf.calls


async def test_an_answer_that_comes_after_the_deadline_is_timed_out_not_a_success(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    swallower = ScriptedAgent("swallower", reply="as if in time", delay=60, swallow=True)
    both = [Member(swallower, name="own", timeout=2), Member(swallower, name="of_group")]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", both, aggregation="first", timeout=3))
    assert [o.state for o in result["g"].outcomes] == [State.TIMED_OUT, State.TIMED_OUT]
    assert result.state is State.TIMED_OUT


async def test_a_member_that_swallows_a_cancel_and_answers_keeps_its_answer(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    swallower = ScriptedAgent("swallower", reply="paid for", delay=60, swallow=True)
    group = Group("g", [swallower, ScriptedAgent("quick", delay=1)], aggregation="first")
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert result["g"]["swallower"].output == motet.Payload.of("paid for")
    assert result.unwrap() == "ok"


async def test_an_error_raised_on_the_way_out_of_a_cancellation_is_told_in_the_failure(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def clumsy(call: motet.Call) -> str:
        try:
            await trio.sleep(60)
        except trio.Cancelled:
            raise ConnectionError("lost while stopping") from None  # noqa: ASYNC104 - what a clumsy agent does
        return "never"

    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [motet.FunctionAgent(clumsy)], timeout=1))
    outcome = result["g"]["clumsy"]
    assert outcome.state is State.TIMED_OUT
    assert "lost while stopping" in outcome.failure.details["error"]


async def test_a_nursery_of_an_agent_that_fails_while_cancelled_leaks_nothing(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    async def messy(call: motet.Call) -> str:
        async def child() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise RuntimeError("in the finally")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)
        return "never"

    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [motet.FunctionAgent(messy)], timeout=1))
        assert result["g"]["messy"].state is State.TIMED_OUT
        assert (await engine.run(Group("h", [ScriptedAgent("a")]))).state is State.SUCCEEDED


async def test_cancelling_twice_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=60, resist=5)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, Group("g", [agent]))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert agent.cancelled == 1
    assert trio.current_time() == pytest.approx(6)


async def test_cancel_while_waiting_for_width_skips_the_member(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=60, max_parallel=1)
    group = Group("g", [agent, agent])
    async with motet.open_engine() as engine, engine.stream(group) as run:
        await trio.sleep(1)
        run.cancel()
        events = [event async for event in run]
    check_run(events, run.result, plan=group)
    assert [o.state for o in run.result["g"].outcomes] == [State.CANCELLED, State.SKIPPED]
    assert engine.statistics().width_waiters == 0


async def test_cancel_reaches_nested_runs_and_every_level_has_receipts(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    leaf = ScriptedAgent("leaf", delay=60, resist=1)
    inner = ScriptedAgent("inner", nested=Group("innermost", [leaf, leaf]))
    outer = ScriptedAgent("outer", nested=Group("inner", [inner]))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [outer], timeout=3))
    assert result.elapsed == pytest.approx(4)
    member = result["g"]["outer"]
    while member.nested:
        assert member.stop.kind is StopKind.STOPPED
        member = member.nested[0].outcomes[0]
    assert member.stop.kind is StopKind.STOPPED
    assert member.stop.took == pytest.approx(1)


async def test_a_leaf_that_resists_is_detached_once_and_its_ancestors_are_stopped(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    leaf = ScriptedAgent("leaf", delay=60, resist=1000)
    outer = ScriptedAgent("outer", nested=Group("inner", [ScriptedAgent("mid", nested=Group("deep", [leaf]))]))
    async with motet.open_engine(stop_grace=4) as engine:
        result = await checked_run(engine, Group("g", [outer], timeout=3))
        assert result.elapsed == pytest.approx(7)
    outcome = result["g"]["outer"]
    assert outcome.stop.kind is StopKind.STOPPED
    mid = outcome.nested[0]["mid"]
    assert mid.stop.kind is StopKind.STOPPED
    assert mid.nested[0]["leaf"].stop.kind is StopKind.DETACHED


async def test_cancel_while_a_member_waits_to_get_its_width_back_leaves_the_count_right(
    autojump_clock: trio.testing.MockClock,
) -> None:
    inner = Group("inner", [ScriptedAgent("leaf", delay=1)])
    outer = ScriptedAgent("outer", nested=inner, max_parallel=1)
    hog = ScriptedAgent("hog", delay=60)
    async with motet.open_engine(max_parallel=1) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, Group("g", [outer]))
        await trio.sleep(0.5)
        nursery.start_soon(engine.run, Group("hogs", [hog]))
        await trio.sleep(2)
        assert hog.running == 1
        assert engine.statistics().width_waiters == 1
        nursery.cancel_scope.cancel()
    assert in_use(engine) == 0
    assert engine.statistics().width_waiters == 0


async def test_a_run_cancelled_before_it_starts_starts_nothing() -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine() as engine:
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.run(Group("g", [agent]))
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.start(Group("g", [agent]))
        assert engine.statistics().runs_started == 0
    assert not agent.calls


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_a_member_ends_the_program_and_not_in_an_exception_group(
    raised: type[BaseException], autojump_clock: trio.testing.MockClock
) -> None:
    other = ScriptedAgent("other", delay=60)
    with pytest.raises(raised):
        async with motet.open_engine() as engine:
            await engine.run(Group("g", [ScriptedAgent("a", delay=1, error=raised()), other]))
    assert other.cancelled == 1


async def test_an_exception_in_the_body_comes_out_of_open_engine_as_it_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", delay=60)
    with pytest.raises(LookupError, match="mine"):
        async with motet.open_engine() as engine:
            await engine.start(Group("g", [agent]))
            await trio.sleep(1)
            raise LookupError("mine")
    assert agent.cancelled == 1


async def test_a_closed_engine_refuses_work() -> None:
    async with motet.open_engine() as engine:
        pass
    with pytest.raises(motet.Unavailable, match="closed"):
        await engine.run(Group("g", [ScriptedAgent("a")]))


async def test_a_step_that_is_cancelled_leaves_later_steps_skipped(autojump_clock: trio.testing.MockClock) -> None:
    plan = Sequence([Group("one", [ScriptedAgent("a", delay=60)]), Group("two", [ScriptedAgent("b")])])
    async with motet.open_engine() as engine, engine.stream(plan) as run:
        await trio.sleep(1)
        run.cancel()
        events = [event async for event in run]
    check_run(events, run.result, plan=plan)
    assert [g.state for g in run.result.groups] == [State.CANCELLED, State.SKIPPED]
    assert run.result.state is State.CANCELLED


async def test_a_question_of_a_nested_group_that_decided_early_is_cancelled_with_the_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    judge = ScriptedAgent("judge", delay=60)
    catalog = motet.Catalog()
    catalog.add_aggregation(AskingRule(judge, enough=1))
    inner = Group("inner", [ScriptedAgent("a"), ScriptedAgent("b", delay=50)], "asking")
    outer = Group("outer", [ScriptedAgent("host", nested=inner)])
    async with motet.open_engine(catalog) as engine, engine.stream(outer) as run:
        await trio.sleep(5)
        run.cancel()
        events = [event async for event in run]
    check_run(events, run.result, plan=outer)
    nested = run.result["outer"]["host"].nested[0]
    assert nested["b"].failure.reason == "DECIDED"
    assert nested.state is State.CANCELLED
    assert nested.asked[0].outcomes[0].failure.reason == "CANCELLED"


async def test_a_stopped_member_tells_nothing_of_the_cancellation_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def many(call: motet.Call) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            if call.member == "talks":
                nursery.start_soon(last_words)

    async def last_words() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("last words")

    agent = motet.FunctionAgent(many)
    group = Group("g", [motet.Member(agent, "silent"), motet.Member(agent, "talks")])
    async with motet.open_engine() as engine:
        started = await engine.start(group)
        await trio.sleep(1)
        result = (await engine.cancel(started.run_id)).result
    assert dict(result["g"]["silent"].failure.details) == {}
    assert dict(result["g"]["talks"].failure.details) == {"error": "AGENT_FAILED: OSError: last words"}
