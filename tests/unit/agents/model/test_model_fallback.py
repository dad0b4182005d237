"""Another model answers the turn that one cannot, and stays."""

from typing import Any

import pytest
import trio

import motet
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.choice import ModelChoice, falls_back
from motet.agents.model.providers.scripted import Say, ScriptedProvider
from motet.model import reason
from motet.model.chat import Sampling
from motet.model.outcome import Failure, Outcome
from motet.model.state import State


async def look() -> str:
    await trio.lowlevel.checkpoint()
    return "seen"


def error(why: str, **own: Any) -> motet.AgentError:
    return motet.AgentError("no", reason=why, **own)


async def run(agent: ModelAgent, **options: Any) -> motet.Outcome:
    async with motet.open_engine(options.pop("catalog", None)) as engine:
        result = await engine.run(motet.Group("g", [agent]), "go", **options)
    return result["g"].outcomes[0]


def make(first: Any, second: Any, **options: Any) -> ModelAgent:
    return ModelAgent(
        "m", provider=first, model="big", fallbacks=[ModelChoice(second, "small", Sampling(seed=2))], **options
    )


async def test_the_next_model_answers_the_same_turn_and_later_turns_stay_with_it() -> None:
    first = ScriptedProvider("first", default=error(reasons.PROVIDER_DENIED))
    second = ScriptedProvider("second", replies=[[("look", {})], "done"])
    outcome = await run(make(first, second, tools=[look]))
    assert outcome.output.text == "done"
    assert [g.name for g in outcome.nested] == ["turn_1", "turn_1_fallback_1", "tools_1", "turn_2"]
    assert len(first.requests) == 1
    assert {request.model for request in second.requests} == {"small"}
    assert second.requests[0].sampling == Sampling(seed=2)
    assert (outcome.metadata["provider"], outcome.metadata["model"], outcome.metadata["turns"]) == (
        "second",
        "small",
        2,
    )


async def test_it_may_happen_in_any_turn() -> None:
    first = ScriptedProvider("first", replies=[[("look", {})], error(reasons.PROVIDER_INVALID)])
    second = ScriptedProvider("second", replies=["done"])
    outcome = await run(make(first, second, tools=[look], retry=None))
    assert [g.name for g in outcome.nested] == ["turn_1", "tools_1", "turn_2", "turn_2_fallback_1"]
    assert second.requests[0].messages == first.requests[1].messages


async def test_it_comes_after_the_retries_and_after_the_timeout_of_a_turn(autojump_clock: trio.abc.Clock) -> None:
    first = ScriptedProvider("first", default=error(reasons.RATE_LIMITED, retryable=True))
    outcome = await run(make(first, ScriptedProvider("second", default="done")))
    assert outcome.output.text == "done"
    assert len(first.requests) == 3
    slow = ScriptedProvider("slow", default=Say("late", delay=100))
    outcome = await run(make(slow, ScriptedProvider("second", default="done"), turn_timeout=2))
    assert outcome.output.text == "done"
    assert outcome.ran == pytest.approx(2)


async def test_when_the_last_fails_too_its_failure_is_told_with_which_it_was() -> None:
    first = ScriptedProvider("first", default=error(reasons.PROVIDER_DENIED))
    second = ScriptedProvider("second", default=error(reasons.PROVIDER_REJECTED))
    outcome = await run(make(first, second))
    assert outcome.failure.reason == reasons.PROVIDER_REJECTED
    details = outcome.failure.details
    assert (details["turn"], details["provider"], details["model"]) == ("turn_1_fallback_1", "second", "small")


@pytest.mark.parametrize("why", [reasons.CONTENT_REFUSED, reasons.NETWORK_FORBIDDEN, "SOMETHING_ELSE"])
async def test_it_does_not_happen_for_refusals_of_content_and_failures_of_the_program(why: str) -> None:
    second = ScriptedProvider("second", default="done")
    outcome = await run(make(ScriptedProvider("first", default=error(why)), second))
    assert outcome.failure.reason == why
    assert second.requests == []


async def test_it_does_not_happen_for_budgets(autojump_clock: trio.abc.Clock) -> None:
    second = ScriptedProvider("second", default="done")
    agent = make(ScriptedProvider("first", default="done"), second, limits=motet.Limits(max_calls=0))
    outcome = await run(agent)
    assert outcome.failure.reason == reason.BUDGET_EXCEEDED
    assert second.requests == []


async def test_a_provider_that_is_left_alone_is_passed_over(autojump_clock: trio.abc.Clock) -> None:
    catalog = motet.Catalog()
    catalog.add_provider("first", breaker=motet.Breaker(failures=1, cooldown=60))
    first = ScriptedProvider("first", default=error(reasons.PROVIDER_UNAVAILABLE, retryable=True))
    agent = make(first, ScriptedProvider("second", default="done"), retry=None)
    async with motet.open_engine(catalog) as engine:
        for _ in range(3):
            result = await engine.run(motet.Group("g", [agent], "first"), "go")
            assert result.unwrap() == "done"
    assert len(first.requests) == 1


@pytest.mark.parametrize(
    ("state", "why", "details", "does"),
    [
        (State.FAILED, reasons.RATE_LIMITED, {}, True),
        (State.FAILED, reasons.PROVIDER_REJECTED, {}, True),
        (State.SKIPPED, reason.CIRCUIT_OPEN, {}, True),
        (State.TIMED_OUT, reason.DEADLINE_EXCEEDED, {}, True),
        (State.FAILED, reason.RETRIES_EXHAUSTED, {}, True),
        (State.FAILED, "OWN", {"retryable": True}, True),
        (State.FAILED, "OWN", {}, False),
        (State.SKIPPED, reason.BUDGET_EXCEEDED, {}, False),
        (State.SKIPPED, reason.QUOTA_EXCEEDED, {}, False),
        (State.CANCELLED, reason.CANCELLED, {"retryable": True}, False),
        (State.FAILED, reasons.CONTENT_REFUSED, {}, False),
    ],
)
def test_which_failures_another_model_may_not_have(state: State, why: str, details: Any, does: bool) -> None:
    assert falls_back(Outcome(member="m", agent="a", state=state, failure=Failure(why, "", details))) is does


async def test_a_failure_is_told_to_be_passing_only_while_no_tool_has_run(autojump_clock: trio.abc.Clock) -> None:
    passing = error(reasons.PROVIDER_UNAVAILABLE, retryable=True)
    early = await run(ModelAgent("m", provider=ScriptedProvider(default=passing), model="x", retry=None))
    assert early.failure.details["retryable"] is True
    provider = ScriptedProvider(replies=[[("look", {})], passing])
    late = await run(ModelAgent("m", provider=provider, model="x", retry=None, tools=[look]))
    assert late.failure.reason == reasons.PROVIDER_UNAVAILABLE
    assert "retryable" not in late.failure.details


def test_a_fallback_without_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fallbacks\[0\]"):
        ModelAgent("m", provider=ScriptedProvider(), model="x", fallbacks=[ModelChoice(ScriptedProvider(), "")])
