"""Guardrails: all judge at once, the first that stops cancels the rest, and what was not judged has not passed."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import trio

import motet
from motet.agents.model.guardrails import AgentGuardrail, Guardrail, guardrail, judge
from motet.agents.model.instructions import ModelState
from motet.agents.model.reasons import GUARDRAIL_FAILED, GUARDRAIL_TRIPPED
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.payload import Payload
from motet.model.plan import Group, Limits, RetryPolicy
from motet.model.state import State
from motet.model.usage import Usage
from motet.ports import Call
from motet.testing import AttemptScript, ScriptedAgent, make_call

STATE = ModelState(agent="writer", variables={"limit": 5})


async def stopped(guardrails: Sequence[Guardrail], text: str = "some text") -> AgentError:
    with pytest.raises(AgentError) as caught:
        await judge(guardrails, "input", make_call(text), STATE, text)
    return caught.value


def after(seconds: float, verdict: Any, name: str, ended: list[str] | None = None) -> Guardrail:
    async def wait(text: str, state: ModelState) -> Any:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            if ended is not None:
                ended.append(f"{name} cancelled")
            raise
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    return Guardrail(wait, name=name)


async def test_none_and_true_let_pass_whether_plain_or_async(autojump_clock: trio.testing.MockClock) -> None:
    rails = [
        Guardrail(lambda text, state: None),
        Guardrail(lambda text, state: True),
        after(1, None, "a"),
        after(2, True, "b"),
    ]
    await judge(rails, "input", make_call(), STATE, "fine")
    await judge([], "output", make_call(), STATE, "fine")
    assert trio.current_time() == 2  # at once, not one after the other


@pytest.mark.parametrize(
    ("verdict", "why"),
    [("it has a secret", "it has a secret"), (False, "it gave no reason"), ("", "it gave no reason")],
)
async def test_false_and_a_text_stop_it_and_the_error_says_who_where_and_why(verdict: Any, why: str) -> None:
    error = await stopped([Guardrail(lambda text, state: verdict, name="secrets")])
    assert error.reason == GUARDRAIL_TRIPPED
    assert error.details == {"guardrail": "secrets", "stage": "input", "why": why}
    assert error.message == f"guardrail 'secrets' stopped the input: {why}"
    assert not error.retryable


async def test_a_guardrail_sees_the_text_and_the_state() -> None:
    rail = Guardrail(lambda text, state: len(text) <= state.variables["limit"] or f"{len(text)} letters")
    await judge([rail], "output", make_call(), STATE, "short")
    assert (await stopped([rail], "too long")).details["why"] == "8 letters"


async def test_the_first_that_stops_cancels_the_others(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[str] = []
    error = await stopped([after(9, "late", "slow", ended), after(1, "soon", "quick", ended)])
    assert (error.details["guardrail"], ended, trio.current_time()) == ("quick", ["slow cancelled"], 1)


@pytest.mark.parametrize("attempt", range(8))
async def test_of_several_at_the_same_moment_the_one_declared_first_is_told(
    attempt: int, autojump_clock: trio.testing.MockClock
) -> None:
    error = await stopped(
        [after(2, "x", "never"), after(1, "x", "a"), after(1, ValueError(), "b"), after(1, False, "c")]
    )
    assert error.details["guardrail"] == "a"


async def test_one_that_raises_has_stopped_it(autojump_clock: trio.testing.MockClock) -> None:
    error = await stopped([after(9, None, "slow"), after(1, LookupError("no list"), "lists")])
    assert error.reason == GUARDRAIL_FAILED
    assert error.details == {"guardrail": "lists", "stage": "input", "why": "LookupError: no list"}
    assert isinstance(error.__cause__, LookupError)
    assert trio.current_time() == 1


@pytest.mark.parametrize("verdict", [3, [], {"tripped": False}, 0])
async def test_any_other_verdict_has_stopped_it(verdict: Any) -> None:
    error = await stopped([Guardrail(lambda text, state: verdict)])
    assert error.reason == GUARDRAIL_FAILED
    assert "return None, a bool or a text" in error.message


async def test_one_that_takes_too_long_has_stopped_it(autojump_clock: trio.testing.MockClock) -> None:
    rail = Guardrail(after(9, None, "slow").fn, name="slow", timeout=2)
    error = await stopped([rail])
    assert (error.reason, error.details["why"]) == (GUARDRAIL_FAILED, "it took longer than 2 seconds")
    assert trio.current_time() == 2


async def test_a_cancellation_from_outside_goes_through(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[str] = []
    with trio.move_on_after(1) as scope:
        await judge([after(9, None, "slow", ended)], "input", make_call(), STATE, "x")
    assert scope.cancelled_caught
    assert ended == ["slow cancelled"]


def test_the_decorator_makes_a_guardrail_that_can_still_be_called() -> None:
    @guardrail
    def short(text: str, state: ModelState) -> bool:
        return len(text) < 9

    @guardrail(name="polite", timeout=3)
    async def polite(text: str, state: ModelState) -> None: ...

    assert (short.name, short.timeout, short("text", STATE)) == ("short", None, True)
    assert (polite.name, polite.timeout) == ("polite", 3)
    assert Guardrail(lambda text, state: None).name == "guardrail"


def test_options_that_do_not_fit_are_refused() -> None:
    async def rail(text: str, state: ModelState) -> None: ...

    with pytest.raises(ValueError, match="async, so leave thread out"):
        Guardrail(rail, thread=True)
    with pytest.raises(ValueError, match="timeout must be 0 or more"):
        Guardrail(rail, timeout=-1)
    with pytest.raises(TypeError, match="made of a function, not of str"):
        Guardrail("rail")  # type: ignore[arg-type]


async def test_a_blocking_one_judges_in_a_thread() -> None:
    here = threading.get_ident()
    rail = Guardrail(lambda text, state: threading.get_ident() != here and "in a thread", name="t", thread=True)
    assert (await stopped([rail])).details["why"] == "in a thread"


async def test_a_thread_that_cannot_be_stopped_is_named_on_the_call() -> None:
    release, started = threading.Event(), trio.Event()

    def deaf(text: str, state: ModelState) -> None:
        trio.from_thread.run_sync(started.set)
        release.wait(60)

    call = make_call()
    try:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(judge, [Guardrail(deaf, thread=True)], "input", call, STATE, "x")
                with trio.fail_after(30):
                    await started.wait()
                scope.cancel()
        assert scope.cancelled_caught
        assert call.detached == "the thread of guardrail 'deaf'"
    finally:
        release.set()


async def test_a_thread_that_notices_the_cancellation_leaves_nothing_behind() -> None:
    started, never = trio.Event(), threading.Event()

    def listens(text: str, state: ModelState) -> None:
        trio.from_thread.run_sync(started.set)
        while True:
            trio.from_thread.check_cancelled()
            never.wait(0.001)

    call = make_call()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(judge, [Guardrail(listens, thread=True)], "input", call, STATE, "x")
            with trio.fail_after(30):
                await started.wait()
            scope.cancel()
    assert scope.cancelled_caught
    assert call.detached == ""


class Judged:
    """An agent that has its input judged and then says that it passed."""

    def __init__(self, *guardrails: Guardrail) -> None:
        self.guardrails = guardrails
        self.info = AgentInfo(name="judged", kind=AgentKind.MODEL, composite=True)

    async def call(self, call: Call, /) -> Reply:
        await judge(self.guardrails, "input", call, ModelState.of(call), call.text)
        return Reply(Payload.of("passed"), usage=Usage(calls=1))


async def outcome_of(checked_run: Any, *agents: Any, limits: Limits | None = None, **options: Any) -> motet.Outcome:
    async with motet.open_engine() as engine:
        rails = [AgentGuardrail(agent, **options) for agent in agents]
        result: motet.RunResult = await checked_run(engine, Group("g", [Judged(*rails)], limits=limits), "the text")
        return result["g"]["judged"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"tripped": False}, None),
        ({"tripped": False, "reason": "fine"}, None),
        (True, None),
        ("true", None),
        ({"tripped": True, "reason": "rude"}, "rude"),
        ('{"tripped": true, "reason": "rude"}', "rude"),
        ({"tripped": True}, "it gave no reason"),
        (False, "it gave no reason"),
    ],
)
async def test_an_agent_judges_through_the_engine(
    answer: object, why: str | None, checked_run: Any, autojump_clock: trio.testing.MockClock
) -> None:
    judging = ScriptedAgent("judge", reply=lambda call: answer if call.text == "the text" else "?")
    outcome = await outcome_of(checked_run, judging)
    if why is None:
        assert outcome.output is not None
        assert outcome.output.text == "passed"
    else:
        assert outcome.failure is not None
        assert outcome.failure.reason == GUARDRAIL_TRIPPED
        assert outcome.failure.details == {"guardrail": "judge", "stage": "input", "why": why}


@pytest.mark.parametrize("answer", ["seems fine to me", {"tripped": "no"}, {}, 1, None])
async def test_an_agent_that_answers_anything_else_has_stopped_it(
    answer: object, checked_run: Any, autojump_clock: trio.testing.MockClock
) -> None:
    outcome = await outcome_of(checked_run, ScriptedAgent("judge", reply=answer))
    assert outcome.failure is not None
    assert outcome.failure.reason == GUARDRAIL_FAILED


async def test_an_agent_that_fails_has_stopped_it_and_says_why(
    checked_run: Any, autojump_clock: trio.testing.MockClock
) -> None:
    outcome = await outcome_of(checked_run, ScriptedAgent("judge", error=ConnectionError("no route")))
    assert outcome.failure is not None
    assert outcome.failure.reason == GUARDRAIL_FAILED
    assert "no route" in outcome.failure.message


async def test_an_agent_may_be_asked_again_and_has_the_guardrails_time(
    checked_run: Any, autojump_clock: trio.testing.MockClock
) -> None:
    flaky = ScriptedAgent("judge", attempts=[ConnectionError(), AttemptScript(reply=True)])
    policy = RetryPolicy(max_attempts=2, reasons=("AGENT_FAILED",))
    assert (await outcome_of(checked_run, flaky, retry=policy)).state is State.SUCCEEDED
    outcome = await outcome_of(checked_run, ScriptedAgent("judge", reply=True, delay=9), timeout=2)
    assert outcome.failure is not None
    assert outcome.failure.details["why"] == "it took longer than 2 seconds"


async def test_several_agents_judge_at_once_and_the_first_trip_cancels_the_rest(
    checked_run: Any, autojump_clock: trio.testing.MockClock
) -> None:
    slow, quick = ScriptedAgent("slow", reply=True, delay=60), ScriptedAgent("quick", reply=False, delay=1)
    outcome = await outcome_of(checked_run, slow, quick)
    assert outcome.failure is not None
    assert outcome.failure.details["guardrail"] == "quick"
    assert outcome.ran < 2


@pytest.mark.parametrize("attempt", range(4))
async def test_of_several_agents_at_the_same_moment_the_one_declared_first_is_told(
    attempt: int, checked_run: Any, autojump_clock: trio.testing.MockClock
) -> None:
    outcome = await outcome_of(checked_run, *(ScriptedAgent(name, reply=False, delay=1) for name in "abc"))
    assert outcome.failure is not None
    assert outcome.failure.details["guardrail"] == "a"


async def test_an_agent_that_judges_has_the_calls_variables(
    checked_run: Any, autojump_clock: trio.testing.MockClock
) -> None:
    judging = ScriptedAgent("judge", reply=lambda call: {"tripped": True, "reason": call.variables["tone"]})
    async with motet.open_engine() as engine:
        group = Group("g", [Judged(AgentGuardrail(judging))])
        result: motet.RunResult = await checked_run(engine, group, "x", variables={"tone": "calm"})
    failure = result["g"]["judged"].failure
    assert failure is not None
    assert failure.details["why"] == "calm"


async def test_an_agents_judgement_is_paid_from_the_runs_budget(
    checked_run: Any, autojump_clock: trio.testing.MockClock
) -> None:
    judging = ScriptedAgent("judge", reply=True)
    outcome = await outcome_of(checked_run, judging, limits=Limits(max_calls=1))
    assert outcome.failure is not None
    assert outcome.failure.reason == GUARDRAIL_FAILED
    assert not judging.calls


def test_an_agent_as_a_guardrail_cannot_be_called_as_a_function() -> None:
    with pytest.raises(TypeError, match="is an agent"):
        AgentGuardrail(ScriptedAgent("judge"))("text", STATE)
