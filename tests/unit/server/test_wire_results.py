"""A result goes to the wire with everything in it, and what is not there stays unset."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from motet.agents.function import FunctionAgent
from motet.aggregate import BUILTIN
from motet.model.agent import AgentInfo, AgentKind
from motet.model.event import AttemptEnded, AttemptStarted, Event, GroupEnded, GroupStarted, MemberEnded, MemberStarted
from motet.model.limit_use import LimitUse
from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group
from motet.model.rate import Breaker, Rate
from motet.model.result import GroupResult, RunResult, Saved, Stats
from motet.model.run import RunRecord
from motet.model.state import State
from motet.model.usage import Usage
from motet_proto.v1 import run_pb2
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


FAILED = Attempt(
    number=1,
    kind=AttemptKind.FIRST,
    state=State.FAILED,
    failure=Failure("HTTP_STATUS", "busy", {"http_status": 503}),
    ran=0.25,
    usage=Usage(calls=1, cost_nanos=5),
)
STOPPED = Attempt(
    number=3,
    kind=AttemptKind.HEDGE,
    state=State.CANCELLED,
    failure=Failure("DECIDED", "the other attempt answered"),
    started=1.5,
    ran=0.5,
    stop=StopReceipt(StopKind.STOPPED, 0.125),
)


def test_attempts_go_with_their_kind_and_how_they_ended() -> None:
    second = Attempt(number=2, kind=AttemptKind.RETRY, state=State.SUCCEEDED, started=0.5, ran=1.5)
    outcome = Outcome(
        member="a",
        agent="x",
        state=State.SUCCEEDED,
        output=Payload.from_text("y"),
        attempts=3,
        attempt_log=(FAILED, second, STOPPED),
    )
    first, middle, last = written(run_pb2.Outcome(**wire_results.outcome_fields(outcome)))["attempt_log"]
    assert first == {
        "number": 1,
        "kind": "KIND_FIRST",
        "state": "STATE_FAILED",
        "failure": {"reason": "HTTP_STATUS", "message": "busy", "details": {"http_status": 503}},
        "started": "0s",
        "ran": "0.250s",
        "usage": {"calls": "1", "cost_nanos": "5"},
    }
    assert middle == {
        "number": 2,
        "kind": "KIND_RETRY",
        "state": "STATE_SUCCEEDED",
        "started": "0.500s",
        "ran": "1.500s",
    }
    assert (last["kind"], last["stop"]) == ("KIND_HEDGE", {"kind": "KIND_STOPPED", "took": "0.125s"})


def test_attempts_that_start_and_end_are_events() -> None:
    started = Event(5, 1.0, AttemptStarted(2, AttemptKind.RETRY), group="g", member="a")
    assert written(wire_results.event_to_pb(started))["attempt_started"] == {"number": 2, "kind": "KIND_RETRY"}
    again = wire_results.event_to_pb(Event(4, 1.0, AttemptEnded(FAILED, retry_in=0.0), group="g", member="a"))
    assert (again.attempt_ended.attempt.number, again.attempt_ended.HasField("retry_in")) == (1, True)
    last = wire_results.event_to_pb(Event(6, 2.0, AttemptEnded(STOPPED), group="g", member="a"))
    assert not last.attempt_ended.HasField("retry_in")


def test_a_cached_outcome_goes_without_attempts() -> None:
    outcome = Outcome(
        member="a", agent="x", state=State.SUCCEEDED, output=Payload.from_text("y"), attempts=0, cached=True
    )
    message = wire_results.event_to_pb(Event(3, 0.0, MemberEnded(outcome), group="g", member="a"))
    assert (message.member_ended.outcome.cached, message.member_ended.outcome.attempts) == (True, 0)
    assert not message.member_ended.outcome.attempt_log


def test_a_nested_group_goes_with_the_fingerprint_of_its_request() -> None:
    event = Event(2, 0.5, GroupStarted(1, (("a", "x"),), "f00d"), group="g", parent="p/m")
    assert wire_results.event_to_pb(event).group_started.fingerprint == "f00d"


def test_a_run_that_goes_on_has_no_end_on_the_wire() -> None:
    record = RunRecord(run_id="r", state=State.RUNNING, target="g", started_at=START, labels={"k": "v"}, tenant="acme")
    message = wire_results.run_to_pb(record)
    assert (message.target, dict(message.labels), message.tenant) == ("g", {"k": "v"}, "acme")
    assert not message.HasField("ended_at")
    assert not message.HasField("result")


def test_an_agent_goes_without_what_it_does_not_say() -> None:
    info = AgentInfo(name="a", kind=AgentKind.COMMAND, max_parallel=10**12, timeout=0.0)
    assert written(wire_results.agent_to_pb(info)) == {
        "name": "a",
        "kind": "AGENT_KIND_COMMAND",
        "max_parallel": 2**31 - 1,
        "timeout": "0s",
        "weight": 1.0,
    }


def test_an_agent_goes_with_its_bounds_and_what_it_expects_to_use() -> None:
    info = AgentInfo(
        name="a",
        kind=AgentKind.HTTP,
        replay_safe=False,
        estimated_tokens=2**70,
        rate=Rate(calls_per_second=2.5, tokens_per_minute=0.0),
        weight=4.0,
        breaker=Breaker(failures=3, cooldown=1.5, probes=2),
    )
    assert written(wire_results.agent_to_pb(info)) == {
        "name": "a",
        "kind": "AGENT_KIND_HTTP",
        "replay_safe": False,
        "estimated_tokens": str(2**63 - 1),
        "rate": {"calls_per_second": 2.5, "tokens_per_minute": 0.0},
        "weight": 4.0,
        "breaker": {"failures": 3, "cooldown": "1.500s", "probes": 2},
    }


@pytest.mark.parametrize("said", [None, True, False])
def test_whether_a_call_may_be_made_twice_is_told_only_when_it_was_said(said: bool | None) -> None:
    message = wire_results.agent_to_pb(AgentInfo(name="a", kind=AgentKind.HTTP, replay_safe=said))
    assert (message.replay_safe if message.HasField("replay_safe") else None) is said


def test_a_limit_goes_with_its_use_and_without_a_bound_where_it_has_none() -> None:
    use = LimitUse(guard="quota", scope="tenant", name="acme", what="calls", limit=0.0, used=2.0, window=3600.0)
    assert written(wire_results.limit_use_to_pb(use)) == {
        "guard": "quota",
        "scope": "tenant",
        "name": "acme",
        "what": "calls",
        "limit": 0.0,
        "used": 2.0,
        "window": "3600s",
    }
    counted = LimitUse(guard="budget", scope="run", name="r", what="cost_nanos", reserved=5.0, state="breached")
    message = wire_results.limit_use_to_pb(counted)
    assert (message.HasField("limit"), message.HasField("window")) == (False, False)
    assert (message.reserved, message.state) == (5.0, "breached")


def test_what_an_early_decision_spared_and_what_was_asked_go_along() -> None:
    saved = Saved(members=4, calls=3, cost_nanos=2**70, unpriced_calls=1)
    asked = GroupResult(name="tiebreaker", state=State.FAILED, failure=Failure("R", "m"), parent="g/@")
    group = GroupResult(name="g", state=State.SUCCEEDED, decided_early=True, saved=saved, asked=(asked,))
    message = run_pb2.GroupResult(**wire_results.group_result_fields(group))
    assert written(message.saved) == {
        "members": "4",
        "calls": "3",
        "cost_nanos": str(2**63 - 1),
        "unpriced_calls": "1",
    }
    assert [(part.name, part.parent, part.failure.reason) for part in message.asked] == [("tiebreaker", "g/@", "R")]
    assert "saved" not in wire_results.group_result_fields(asked)


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
