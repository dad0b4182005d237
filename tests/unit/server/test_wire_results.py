"""A result goes to the wire with everything in it, and what is not there stays unset."""

import json
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict

from motet.agents.function import FunctionAgent
from motet.aggregate import BUILTIN
from motet.model.agent import AgentInfo, AgentKind
from motet.model.event import Event, GroupEnded, GroupStarted, MemberStarted
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group
from motet.model.result import GroupResult, RunResult, Saved, Stats
from motet.model.run import RunRecord
from motet.model.state import State
from motet.model.usage import Usage
from motet_server import wire_results

START = datetime(2026, 11, 20, 10, tzinfo=UTC)


def written(message: Any) -> dict[str, Any]:
    fields: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return fields


def test_a_result_goes_with_its_groups_outcomes_and_nested_groups() -> None:
    inner = GroupResult(name="inner", state=State.SUCCEEDED, aggregate=Payload.from_text("x"), parent="g/a")
    good = Outcome(
        member="a",
        agent="agent",
        state=State.SUCCEEDED,
        output=Payload.from_json({"n": 1}),
        attempts=2,
        queued=0.25,
        ran=1.5,
        usage=Usage(calls=3, input_tokens=4, output_tokens=5, cost_nanos=6, unpriced_calls=7),
        cached=True,
        metadata={"model": "m"},
        nested=(inner,),
    )
    bad = Outcome(
        member="b",
        agent="agent",
        state=State.TIMED_OUT,
        failure=Failure("DEADLINE_EXCEEDED", "too late", {"after": 2}),
        stop=StopReceipt(StopKind.DETACHED, 0.5, "a thread"),
    )
    group = GroupResult(name="g", state=State.SUCCEEDED, aggregate=Payload.from_bytes(b"\0"), outcomes=(good, bad))
    result = RunResult(
        run_id="r",
        state=State.SUCCEEDED,
        groups=(group,),
        started_at=START,
        elapsed=2.0,
        stats=Stats(members=2, ran=1.5),
    )
    fields = written(wire_results.run_result_to_pb(result))
    assert (fields["run_id"], fields["state"], fields["elapsed"]) == ("r", "STATE_SUCCEEDED", "2s")
    assert fields["started_at"] == "2026-11-20T10:00:00Z"
    assert fields["stats"] == {"members": "2", "ran": "1.500s", "queued": "0s"}
    assert not {"output", "failure", "usage"} & set(fields)
    first, second = fields["groups"][0]["outcomes"]
    assert first["output"] == {"json": '{"n":1}'}
    assert (first["attempts"], first["queued"], first["ran"], first["cached"]) == (2, "0.250s", "1.500s", True)
    assert first["usage"] == {
        "calls": "3",
        "input_tokens": "4",
        "output_tokens": "5",
        "cost_nanos": "6",
        "unpriced_calls": "7",
    }
    assert first["metadata"] == {"model": "m"}
    assert (first["nested"][0]["name"], first["nested"][0]["parent"]) == ("inner", "g/a")
    assert second["failure"] == {"reason": "DEADLINE_EXCEEDED", "message": "too late", "details": {"after": 2}}
    assert second["stop"] == {"kind": "KIND_DETACHED", "took": "0.500s", "detail": "a thread"}
    assert not {"output", "usage", "metadata", "cached"} & set(second)


def test_an_event_goes_with_its_place_and_its_detail() -> None:
    started = Event(2, 0.5, GroupStarted(2, (("a", "x"), ("b", "y"))), group="g", parent="p/m")
    assert written(wire_results.event_to_pb(started)) == {
        "sequence": "2",
        "elapsed": "0.500s",
        "group": "g",
        "parent": "p/m",
        "group_started": {"members": "2", "seats": [{"member": "a", "agent": "x"}, {"member": "b", "agent": "y"}]},
    }
    called = Event(3, 0.5, MemberStarted("x", 0.25, 2), group="g", member="a")
    assert written(wire_results.event_to_pb(called))["member_started"] == {
        "agent": "x",
        "queued": "0.250s",
        "attempt": 2,
    }
    ended = Event(4, 1, GroupEnded(GroupResult(name="g", state=State.FAILED, failure=Failure("R", "m"))), group="g")
    assert wire_results.event_to_pb(ended).group_ended.result.failure.reason == "R"


def test_a_run_that_goes_on_has_no_end_on_the_wire() -> None:
    record = RunRecord(run_id="r", state=State.RUNNING, target="g", started_at=START, labels={"k": "v"})
    message = wire_results.run_to_pb(record)
    assert (message.target, dict(message.labels)) == ("g", {"k": "v"})
    assert not message.HasField("ended_at")
    assert not message.HasField("result")


def test_an_agent_goes_without_what_it_does_not_say() -> None:
    info = AgentInfo(name="a", kind=AgentKind.COMMAND, max_parallel=10**12, timeout=0.0)
    assert written(wire_results.agent_to_pb(info)) == {
        "name": "a",
        "kind": "AGENT_KIND_COMMAND",
        "max_parallel": 2**31 - 1,
        "timeout": "0s",
    }


def test_what_an_early_decision_spared_and_what_was_asked_go_along() -> None:
    saved = Saved(members=4, calls=3, cost_nanos=2**70, unpriced_calls=1)
    asked = GroupResult(name="tiebreaker", state=State.FAILED, failure=Failure("R", "m"), parent="g/@")
    group = GroupResult(name="g", state=State.SUCCEEDED, decided_early=True, saved=saved, asked=(asked,))
    message = wire_results.group_result_to_pb(group)
    assert written(message.saved) == {
        "members": "4",
        "calls": "3",
        "cost_nanos": str(2**63 - 1),
        "unpriced_calls": "1",
    }
    assert [(part.name, part.parent, part.failure.reason) for part in message.asked] == [("tiebreaker", "g/@", "R")]
    assert not wire_results.group_result_to_pb(asked).HasField("saved")


def test_an_agent_that_is_free_is_told_from_one_whose_cost_is_not_known() -> None:
    free, unknown = (
        wire_results.agent_to_pb(AgentInfo(name="a", kind=AgentKind.HTTP, estimated_cost_nanos=nanos))
        for nanos in (0, None)
    )
    assert (free.HasField("estimated_cost_nanos"), unknown.HasField("estimated_cost_nanos")) == (True, False)


def test_agents_and_functions_in_options_go_as_their_names() -> None:
    options = {"agent": FunctionAgent(sorted, name="judge"), "steps": [{"function": len}], "n": 1}
    message = wire_results.group_info_to_pb(Group("g", ["a"], Aggregation("vote", options)), "")
    assert written(message.group.aggregation.options) == {"agent": "judge", "steps": [{"function": "len"}], "n": 1}


def test_every_built_in_rule_goes_with_its_description_and_the_schema_of_its_options() -> None:
    for name, rule in BUILTIN.items():
        message = wire_results.aggregation_to_pb(rule)
        assert (message.name, message.decides_early) == (name, rule.decides_early)
        assert message.description
        assert not message.options_schema or json.loads(message.options_schema)["type"] == "object"
