"""Results are read by name, and unwrapped to the answer or an error that keeps everything."""

from datetime import UTC, datetime

import pytest

from motet.errors import RunFailed
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.result import GroupResult, RunResult
from motet.model.state import State

NOW = datetime(2024, 1, 1, tzinfo=UTC)
GOOD = Outcome(member="a", agent="x", state=State.SUCCEEDED, output=Payload.of("yes"))
BAD = Outcome(member="b", agent="x", state=State.FAILED, failure=Failure("AGENT_FAILED", "it broke"))
GROUP = GroupResult(name="g", state=State.SUCCEEDED, aggregate=Payload.of({"n": 1}), outcomes=(GOOD, BAD))


def ended(state: State, output: object = None, failure: Failure | None = None) -> RunResult:
    payload = None if output is None else Payload.of(output)
    return RunResult(run_id="r", state=state, output=payload, groups=(GROUP,), failure=failure, started_at=NOW)


def test_groups_and_members_are_found_by_name() -> None:
    assert ended(State.SUCCEEDED, 1)["g"]["b"] is BAD


@pytest.mark.parametrize("name", ["", "A", "x"])
def test_a_name_that_is_not_there_is_a_key_error(name: str) -> None:
    with pytest.raises(KeyError):
        GROUP[name]
    with pytest.raises(KeyError):
        ended(State.SUCCEEDED, 1)[name]


def test_unwrap_gives_the_output_as_a_value_of_its_own() -> None:
    result = ended(State.SUCCEEDED, {"n": []})
    result.unwrap()["n"].append(1)
    assert result.unwrap() == {"n": []}


def test_unwrap_of_a_failed_run_raises_its_reason_and_keeps_the_result() -> None:
    result = ended(State.FAILED, "partial", Failure("GROUP_FAILED", "group g has no answer"))
    with pytest.raises(RunFailed, match="group g has no answer") as caught:
        result.unwrap()
    assert caught.value.reason == "GROUP_FAILED"
    assert caught.value.result is result


def test_a_failed_outcome_is_never_a_success_whatever_it_says() -> None:
    assert GOOD.succeeded
    assert not BAD.succeeded
    assert not Outcome(member="c", agent="x", state=State.FAILED, output=Payload.of("ok")).succeeded


def test_a_failure_reads_as_reason_and_sentence() -> None:
    assert str(Failure("AGENT_FAILED", "it broke")) == "AGENT_FAILED: it broke"
