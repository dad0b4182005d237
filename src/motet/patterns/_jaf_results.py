"""From the results of groups to the JSON that JAF's pages document. Pure."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.result import GroupResult
from motet.model.state import State
from motet.patterns._host import OWN_DEADLINE
from motet.patterns._jaf_groups import ParallelAgentGroup, ParallelExecutionConfig

EXECUTION_FAILED: Final = "parallel_execution_failed"


def envelope(
    config: ParallelExecutionConfig, results: Sequence[GroupResult], fell_back: Sequence[GroupResult] = ()
) -> dict[str, Any]:
    """All groups: `{"parallel_execution_results": {group: ...}, "execution_mode", "total_groups"}`."""
    groups = config.named()
    again = {result.name: result for result in fell_back}
    told = {}
    for result in results:
        entry = group_entry(groups[result.name], again.get(result.name, result))
        if result.name in again:
            entry["fallback"] = {"tried": "one agent after another", "because": _failed(result.failure)}
        told[result.name] = entry
    return {
        "parallel_execution_results": told,
        "execution_mode": config.inter_group_execution,
        "total_groups": len(groups),
    }


def failed(config: ParallelExecutionConfig, message: str, results: Sequence[GroupResult] = ()) -> dict[str, Any]:
    """What is said when nothing has an answer, with what there is all the same."""
    said: dict[str, Any] = {"error": EXECUTION_FAILED, "message": message, "groups_attempted": list(config.named())}
    known = [result for result in results if result.name in config.named()]
    if known:
        latest = {result.name: result for result in known}
        said.update(envelope(config, list(latest.values())))
    return said


def group_entry(group: ParallelAgentGroup, result: GroupResult) -> dict[str, Any]:
    """One group.

    A group whose time was over says `error: "timeout"` with who had finished and who had not; what had finished is in
    `individual_results`, and in `aggregated_result` where that gives an answer.
    """
    said: dict[str, Any] = {
        "group_name": result.name,
        "agent_count": len(group.agents),
        "individual_results": {outcome.member: individual(outcome) for outcome in result.outcomes},
        "aggregated_result": aggregated(result),
        "execution_time_ms": round(result.elapsed * 1000, 3),
    }
    late = [outcome.member for outcome in result.outcomes if _late(outcome)]
    if late or (result.failure is not None and result.failure.reason == reason.DEADLINE_EXCEEDED):
        done = [outcome.member for outcome in result.outcomes if outcome.succeeded]
        said["error"] = "timeout"
        said["message"] = (
            f"The time of group {result.name} was over: {len(done)} of {len(group.agents)} agents had finished"
        )
        said["completed_agents"] = done
        said["timed_out_agents"] = late
    if group.metadata is not None:
        said["metadata"] = dict(group.metadata)
    return said


def individual(outcome: Outcome) -> dict[str, Any]:
    """One agent: `{"success": true, "result"}`, `{"error": true, "message", "type"}`, or, of one that was not needed any more,
    `{"cancelled": true, "message", "type"}`."""
    if outcome.output is not None:
        return {"success": True, "result": plain(outcome.output)}
    failure = _failure(outcome.failure)
    kind = "cancelled" if _spared(outcome) else "error"
    return {kind: True, "message": failure.message, "type": failure.reason}


def aggregated(result: GroupResult) -> Any:
    """The group's answer, or an object with `error` that says why there is none; None when only its time was over."""
    if result.aggregate is not None:
        return plain(result.aggregate)
    failure = _failure(result.failure)
    why = _why(failure)
    if why == reason.NO_SUCCESSFUL_RESULTS and any(_spared(outcome) for outcome in result.outcomes):
        # Not all have failed: the rest were stopped once they could make no majority any more.
        why = reason.NO_MAJORITY
    match why:
        case reason.NO_SUCCESSFUL_RESULTS:
            return {
                "error": "no_successful_results",
                "message": "All agents failed",
                "attempted_agents": [outcome.member for outcome in result.outcomes],
                "failure_details": {
                    outcome.member: {"type": outcome.failure.reason, "message": outcome.failure.message}
                    for outcome in result.outcomes
                    if outcome.failure is not None
                },
            }
        case reason.NO_MAJORITY:
            successes = [plain(outcome.output) for outcome in result.outcomes if outcome.output is not None]
            return {"error": "no_majority", "results": successes, "message": "Insufficient consensus reached"}
        case reason.AGGREGATION_FAILED:
            return {"error": "custom_aggregation_failed", "message": failure.message}
        case reason.DEADLINE_EXCEEDED:
            return None
        case _:
            return {"error": "execution_failed", "message": failure.message, "type": why}


def plain(payload: Payload) -> Any:
    """As a JSON value; a document that Python cannot hold as one stays text, bytes are base64."""
    if payload.kind == "data":
        return b64encode(payload.data).decode()
    if payload.kind == "text":
        return payload.text
    try:
        value = payload.value
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return payload.text
    return value


def may_fall_back(result: GroupResult) -> bool:
    """Whether its agents, one after another, may give the answer that they did not give together."""
    if result.state is not State.FAILED:
        return False
    return _why(_failure(result.failure)) in {reason.NO_SUCCESSFUL_RESULTS, reason.NO_MAJORITY}


def _why(failure: Failure) -> str:
    """The reason that the rule gave, where a deadline had come before."""
    given: Mapping[str, Any] = failure.details
    return str(given.get("aggregation_reason", failure.reason))


def _spared(outcome: Outcome) -> bool:
    return outcome.failure is not None and outcome.failure.reason == reason.DECIDED


def _late(outcome: Outcome) -> bool:
    failure = outcome.failure
    return failure is not None and failure.reason == reason.DEADLINE_EXCEEDED and failure.message != OWN_DEADLINE


def _failed(failure: Failure | None) -> dict[str, str]:
    known = _failure(failure)
    return {"type": known.reason, "message": known.message}


def _failure(failure: Failure | None) -> Failure:
    return failure or Failure("RUN_FAILED", "it has no answer")
