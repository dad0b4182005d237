"""What is left of a model agent's limits, and that it holds over all its turns and tools."""

from typing import Any

import pytest
import trio

import motet
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.limits import Allowance, left, seconds_of, unfit
from motet.agents.model.providers.scripted import Say, ScriptedProvider
from motet.model.outcome import Attempt, AttemptKind, Outcome
from motet.model.plan import Limits
from motet.model.result import GroupResult
from motet.model.state import State
from motet.model.usage import Usage

TOKENS = Usage(calls=1, input_tokens=60, output_tokens=40)


async def look() -> str:
    await trio.lowlevel.checkpoint()
    return "nothing"


def group(*outcomes: Outcome, elapsed: float = 0.0, usage: Usage = TOKENS) -> GroupResult:
    return GroupResult(name="g", state=State.SUCCEEDED, outcomes=outcomes, elapsed=elapsed, usage=usage)


def outcome(**own: Any) -> Outcome:
    return Outcome(**{"member": "m", "agent": "a", "state": State.SUCCEEDED, **own})


def test_what_was_used_is_taken_off_and_never_below_nothing() -> None:
    limits = Limits(max_tokens=150, max_calls=1, max_cost_nanos=5, max_duration=1.5, max_depth=2)
    rest = left(limits, Usage(calls=2, input_tokens=60, output_tokens=40, cost_nanos=2), 1.0)
    assert rest == Limits(max_tokens=50, max_calls=0, max_cost_nanos=3, max_duration=0.5, max_depth=2)


def test_no_bound_stays_no_bound() -> None:
    assert left(Limits(), TOKENS, 9.0) == Limits()
    assert Allowance().after(group()).left() is None


def test_time_is_that_of_calls_without_what_they_waited_for_groups_of_their_own() -> None:
    inner = group(outcome(ran=3.0), elapsed=3.0)
    assert seconds_of([group(outcome(ran=4.0, nested=(inner,)))]) == 1.0 + 3.0


def test_time_between_attempts_is_not_counted() -> None:
    log = tuple(
        Attempt(number=n, kind=AttemptKind.FIRST, state=State.SUCCEEDED, ran=1.0, started=10.0 * n) for n in (1, 2)
    )
    assert seconds_of([group(outcome(ran=30.0, attempt_log=log))]) == 2.0


def test_limits_of_an_agent_that_is_handed_to_hold_beside_those_of_the_first() -> None:
    first = Allowance(Limits(max_tokens=300, max_calls=9)).after(group())
    second = first.under(Limits(max_tokens=250))
    assert second.left() == Limits(max_tokens=200, max_calls=8)
    third = first.under(Limits(max_tokens=120)).after(group())
    assert third.left() == Limits(max_tokens=20, max_calls=7)
    assert third.total == Usage(calls=2, input_tokens=120, output_tokens=80)


def test_bounds_of_groups_are_refused_where_the_agent_is_made() -> None:
    assert unfit(Limits(min_successes=1)) == "min_successes"
    assert unfit(None) == unfit(Limits(max_calls=1)) == ""
    with pytest.raises(ValueError, match=r"limits\.max_failure_rate"):
        ModelAgent("m", limits=Limits(max_failure_rate=0.5))


async def test_an_agent_out_of_tokens_fails_and_tells_what_it_has_used(autojump_clock: trio.abc.Clock) -> None:
    provider = ScriptedProvider(
        default=Say(tool_calls=[("look", {})], usage=Usage(calls=1, input_tokens=90, output_tokens=10))
    )

    agent = ModelAgent("m", provider=provider, model="x", tools=[look], limits=Limits(max_tokens=250), max_turns=50)
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [agent]), "go")
    (found,) = result["g"].outcomes
    assert found.failure.reason == motet.model.reason.BUDGET_EXCEEDED
    assert 2 <= len(provider.requests) <= 3
    assert found.failure.details["used"]["input_tokens"] == 90 * len(provider.requests)
    assert found.usage.input_tokens == 90 * len(provider.requests)


async def test_limits_are_those_of_each_call(autojump_clock: trio.abc.Clock) -> None:
    provider = ScriptedProvider(default="done")
    agent = ModelAgent("m", provider=provider, model="x", limits=Limits(max_calls=1))
    async with motet.open_engine() as engine:
        for _ in range(3):
            result = await engine.run(motet.Group("g", [agent], "first"), "go")
            assert result.unwrap() == "done"


async def test_calls_of_tools_count_against_the_limits_too(autojump_clock: trio.abc.Clock) -> None:
    provider = ScriptedProvider(default=[("look", {})])
    agent = ModelAgent("m", provider=provider, model="x", tools=[look], limits=Limits(max_calls=3))
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [agent]), "go")
    (found,) = result["g"].outcomes
    # turn, tool, turn: the second tool call does not fit
    assert found.failure.reason == motet.model.reason.BUDGET_EXCEEDED
    assert found.failure.details["used"]["calls"] == 3
    assert found.failure.reason != reasons.MAX_TURNS
