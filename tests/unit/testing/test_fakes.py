"""The scripted agent follows its script, and the recording host records."""

import math

import pytest
import trio

from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Group, Member
from motet.model.rate import Breaker, Rate
from motet.model.result import RunResult
from motet.model.state import State
from motet.model.usage import Usage
from motet.ports import Agent, AggregatorType, Ask
from motet.testing import AskingRule, AttemptScript, RecordingHost, ScriptedAgent, make_call
from motet.testing.contracts_agent import AgentContract
from motet.testing.contracts_aggregator import AggregatorContract, answer_with, decide, failed, succeeded
from motet.testing.contracts_store import STARTED_AT


class TestScriptedAgentKeepsTheContract(AgentContract):
    def make_agent(self) -> Agent:
        return ScriptedAgent("a")

    def make_slow_agent(self) -> Agent:
        return ScriptedAgent("a", delay=math.inf)

    def make_failing_agent(self) -> Agent:
        return ScriptedAgent("a", error=AgentError("no"))


async def test_it_takes_its_time_and_counts_its_calls(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=2)
    start = autojump_clock.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(agent.call, make_call("x"))
    assert trio.current_time() - start == pytest.approx(2)
    assert (len(agent.calls), agent.running, agent.peak) == (3, 0, 3)


async def test_it_reports_evenly_over_its_delay(autojump_clock: trio.testing.MockClock) -> None:
    host = RecordingHost()
    start = autojump_clock.current_time()
    await ScriptedAgent("a", delay=3, progress=["one", {"two": 2}]).call(make_call(host=host))
    assert host.reports == [Payload.of("one"), Payload.of({"two": 2})]
    assert trio.current_time() - start == pytest.approx(3)


async def test_a_reply_may_be_made_from_the_call() -> None:
    usage = Usage(calls=1, input_tokens=3)
    agent = ScriptedAgent("a", reply=lambda call: call.variables["n"], usage=usage)
    assert await agent.call(make_call(variables={"n": 7})) == Reply(Payload.of(7), usage)


async def test_an_error_may_be_made_from_the_call() -> None:
    agent = ScriptedAgent("a", error=lambda call: AgentError(call.text, reason="OWN"))
    with pytest.raises(AgentError, match="why") as caught:
        await agent.call(make_call("why"))
    assert caught.value.reason == "OWN"


async def test_it_has_a_script_for_single_attempts_and_the_last_holds_for_those_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = ScriptedAgent("a", reply="late", delay=2, attempts=[OSError("one"), AttemptScript(reply="two", delay=0)])
    start = trio.current_time()
    with pytest.raises(OSError, match="one"):
        await agent.call(make_call(attempt=1))
    assert trio.current_time() - start == pytest.approx(2)
    for attempt in (2, 3):
        assert (await agent.call(make_call(attempt=attempt))).output == Payload.of("two")
    assert trio.current_time() - start == pytest.approx(2)


async def test_it_fails_as_often_as_it_says_and_then_does_as_the_agent() -> None:
    usage = Usage(calls=1, cost_nanos=7)
    agent = ScriptedAgent("a", attempts=[OSError("one"), OSError("two"), AttemptScript(usage=usage)])
    for attempt, message in ((1, "one"), (2, "two")):
        with pytest.raises(OSError, match=message):
            await agent.call(make_call(attempt=attempt))
    assert await agent.call(make_call(attempt=3)) == Reply(Payload.of("ok"), usage)


async def test_it_tells_what_it_spends_as_soon_as_it_is_called(autojump_clock: trio.testing.MockClock) -> None:
    usage = Usage(calls=1, cost_nanos=7)
    call = make_call()
    with trio.move_on_after(1):
        await ScriptedAgent("a", delay=math.inf, spends=usage).call(call)
    assert call.spent == usage


async def test_a_function_for_the_error_may_say_that_there_is_none() -> None:
    agent = ScriptedAgent("a", error=lambda call: OSError("first") if call.attempt == 1 else None)
    with pytest.raises(OSError, match="first"):
        await agent.call(make_call())
    assert (await agent.call(make_call(attempt=2))).output == Payload.of("ok")


def test_its_card_is_as_the_test_says() -> None:
    rate, breaker = Rate(calls_per_second=1), Breaker(failures=2)
    agent = ScriptedAgent(
        "a", version="2", replay_safe=True, estimated_cost_nanos=3, estimated_tokens=4, rate=rate, breaker=breaker
    )
    card = agent.info
    assert (card.version, card.replay_safe, card.rate, card.breaker) == ("2", True, rate, breaker)
    assert (card.estimated_cost_nanos, card.estimated_tokens, card.weight) == (3, 4, 1.0)
    assert "replay_safe=True" in repr(agent)
    assert "provider" not in repr(agent)


async def test_it_resists_a_cancellation_for_as_long_as_it_says(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=math.inf, resist=4)
    start = autojump_clock.current_time()
    with trio.move_on_after(1) as scope:
        await agent.call(make_call())
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(5)
    assert agent.cancelled == 1


async def test_it_swallows_a_cancellation_and_replies(autojump_clock: trio.testing.MockClock) -> None:
    start = autojump_clock.current_time()
    agent = ScriptedAgent("a", delay=math.inf, swallow=True)
    with trio.move_on_after(1) as scope:
        reply = await agent.call(make_call())
    assert not scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(1)
    assert reply.output == Payload.of("ok")


async def test_it_runs_a_nested_group_and_replies_with_its_output() -> None:
    host = RecordingHost()
    group = Group("g", ["x"])
    reply = await ScriptedAgent("a", nested=group).call(make_call("in", host=host))
    assert host.runs == [group]
    assert reply.output == Payload.of("in")


async def test_a_nested_run_without_an_answer_fails_the_call() -> None:
    failed = RunResult(run_id="r", state=State.FAILED, started_at=STARTED_AT)
    for host in (RecordingHost(failed), RecordingHost(lambda _: failed)):
        with pytest.raises(AgentError) as caught:
            await ScriptedAgent("a", nested="g").call(make_call(host=host))
        assert caught.value.reason == "GROUP_FAILED"


class TestAskingRuleKeepsTheContract(AggregatorContract):
    def make_type(self) -> AggregatorType:
        return AskingRule("judge", rounds=2, questions=3)


def test_a_rule_asks_as_often_as_it_says_and_answers_with_what_was_said_last() -> None:
    rule = AskingRule("judge", rounds=2, questions=2, purpose="judge", timeout=3, max_parallel=1)
    assert rule.agents == ("judge",)
    inputs = []
    answer, _ = decide(rule, [succeeded("a", "x"), failed("b")], [0, 1], early_stop=True)
    assert isinstance(answer, Ask)
    assert (answer.purpose, answer.max_parallel, [m.timeout for m in answer.members]) == ("judge", 1, [3, 3])

    def reply(member: Member) -> Outcome:
        assert member.input is not None
        inputs.append((member.name, member.input.value))
        return failed(member.name) if member.name == "q2" else succeeded(member.name, "y")

    assert answer_with(answer, reply) == Payload.of(["y"])
    assert inputs == [("q1", ["x"]), ("q2", ["x"]), ("q1", ["y"]), ("q2", ["y"])]
    assert [[outcome.member for outcome in asked] for asked in rule.asked] == [["q1", "q2"], ["q1", "q2"]]


def test_a_rule_whose_questions_all_fail_has_no_answer() -> None:
    answer, _ = decide(AskingRule(ScriptedAgent("judge")), [succeeded("a", "x")], [0], early_stop=True)
    said = answer_with(answer, lambda member: failed(member.name))
    assert isinstance(said, Failure)
    assert (said.reason, said.details) == ("NOBODY_ANSWERED", {"reason": "AGENT_FAILED"})


def test_a_rule_that_never_answers_is_given_up() -> None:
    answer, _ = decide(AskingRule("judge", rounds=math.inf), [succeeded("a", "x")], [0], early_stop=True)
    with pytest.raises(AssertionError, match="asked 100 times and did not answer"):
        answer_with(answer, lambda member: succeeded(member.name, "y"))


def test_a_rule_may_be_decided_before_it_asks() -> None:
    answer, ended = decide(AskingRule("judge", enough=1), [succeeded(n, n) for n in "abc"], [1, 0, 2], early_stop=True)
    assert isinstance(answer, Ask)
    assert ended == 1
    assert AskingRule("judge", enough=1).decides_early
