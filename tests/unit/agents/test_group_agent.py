"""The group agent: runs its target and answers with the run's answer, or fails as the run did."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from motet.agents.group import GroupAgent
from motet.errors import AgentError
from motet.model.agent import AgentKind
from motet.model.outcome import Failure
from motet.model.payload import Payload
from motet.model.plan import Group, Plan
from motet.model.result import GroupResult, RunResult
from motet.model.state import State
from motet.model.usage import Usage
from motet.ports import Agent, Call


class RecordingHost:
    history: Any = ()

    def __init__(self, result: RunResult) -> None:
        self.result = result
        self.asked: list[tuple[Plan | str, Payload | None]] = []

    def left(self, what: Any) -> None:
        return None

    def keep(self, resident: Any) -> None:
        raise AssertionError(resident)

    def report(self, call: Call, report: Payload) -> None:
        raise AssertionError(call, report)

    async def run(
        self,
        call: Call,
        target: Plan | str,
        input: Payload | None,
        variables: Mapping[str, Payload],
        timeout: float | None,
        *,
        deeper: bool = True,
    ) -> RunResult:
        assert deeper
        assert not variables
        assert timeout is None
        self.asked.append((target, input))
        return self.result


def ended(state: State, **rest: object) -> RunResult:
    return RunResult(run_id="r", state=state, started_at=datetime.now(UTC), **rest)  # type: ignore[arg-type]


def test_its_card_says_that_it_is_a_group() -> None:
    made = GroupAgent("panel", "panel", description="d", timeout=3, labels={"a": "b"}, version="1", replay_safe=True)
    assert isinstance(made, Agent)
    info = made.info
    assert (info.name, info.kind, info.description, info.timeout) == ("panel", AgentKind.GROUP, "d", 3)
    assert (info.labels, info.version, info.replay_safe) == ({"a": "b"}, "1", True)


@pytest.mark.parametrize("target", ["panel", Group("g", ["a"])])
async def test_it_runs_its_target_with_the_calls_input_and_answers_with_the_runs_answer(target: Plan | str) -> None:
    host = RecordingHost(ended(State.SUCCEEDED, output=Payload.from_text("yes")))
    reply = await GroupAgent("panel", target).call(Call(Payload.from_text("in"), host=host))
    assert host.asked == [(target, Payload.from_text("in"))]
    assert reply.output == Payload.from_text("yes")
    assert reply.usage == Usage(calls=1)


async def test_a_run_without_an_answer_fails_with_the_runs_reason_and_every_groups() -> None:
    groups = (
        GroupResult(name="a", state=State.SUCCEEDED, aggregate=Payload.from_text("fine")),
        GroupResult(name="b", state=State.FAILED, failure=Failure("NO_MAJORITY", "no majority")),
    )
    failure = Failure("GROUP_FAILED", "group b has no answer")
    host = RecordingHost(ended(State.FAILED, groups=groups, failure=failure))
    with pytest.raises(AgentError, match="group b has no answer") as caught:
        await GroupAgent("panel", "panel").call(Call(host=host))
    assert caught.value.reason == "GROUP_FAILED"
    assert caught.value.details == {"group_failures": {"b": "NO_MAJORITY"}}


async def test_a_run_that_says_nothing_of_its_failure_still_has_a_reason() -> None:
    with pytest.raises(AgentError, match="'panel' has no answer") as caught:
        await GroupAgent("panel", "panel").call(Call(host=RecordingHost(ended(State.CANCELLED))))
    assert caught.value.reason == "GROUP_FAILED"
