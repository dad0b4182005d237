"""A malformed request is refused with every wrong field by its path and one sentence each."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from motet.errors import InvalidRequest
from motet_proto.v1 import plan_pb2, run_service_pb2
from motet_proto.v1.payload_pb2 import Payload
from motet_proto.v1.plan_pb2 import Group, Member, Parallel, Plan
from motet_proto.v1.plan_pb2 import Sequence as Steps
from motet_proto.v1.run_service_pb2 import MapInput, MapRunRequest, RunRequest, StreamRunRequest
from motet_server.validation import refuse_expressions, validate


def group(**fields: Any) -> Plan:
    return Plan(group=Group(name="g", members=[Member(agent="a", **fields)]))


def violations(message: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        validate(message)
    return {violation.field: violation.message for violation in caught.value.violations}


def test_a_right_request_passes() -> None:
    validate(RunRequest(plan=group(timeout=Duration()), input=Payload(json="[1]"), timeout=Duration(seconds=1)))


@pytest.mark.parametrize(
    ("message", "field", "sentence"),
    [
        (RunRequest(), "target", "must be set: give one of group_name, plan"),
        (RunRequest(plan=Plan()), "plan", "must be set: give one of group, sequence, parallel"),
        (RunRequest(group_name=""), "group_name", "must not be empty"),
        (RunRequest(plan=Plan(group=Group(name="g"))), "plan.group.members", "must not be empty: give at least one"),
        (RunRequest(plan=Plan(sequence=Steps())), "plan.sequence.steps", "must not be empty: give at least one"),
        (RunRequest(group_name="g", input=Payload()), "input", "must be set: give one of text, json, data"),
        (RunRequest(group_name="g", input=Payload(json="")), "input.json", "must not be empty"),
        (RunRequest(group_name="g", labels={"": "x"}), 'labels[""]', "has a key that must not be empty"),
        (
            RunRequest(group_name="g", timeout=Duration(seconds=-1)),
            "timeout",
            "must not be negative: give zero or more, or leave it out for no bound",
        ),
        (
            RunRequest(group_name="g", timeout=Duration(seconds=1, nanos=-2_000_000_000)),
            "timeout",
            "must be a duration: seconds and nanos of one sign, within 10,000 years",
        ),
        (
            StreamRunRequest(request=RunRequest(plan=group(weight=-1))),
            "request.plan.group.members[0].weight",
            "must be greater than or equal to 0",
        ),
        (
            RunRequest(group_name="g", tenant="-acme"),
            "tenant",
            "must be up to 128 letters, digits or _ . : @ -, and start with a letter, a digit or _",
        ),
        (
            RunRequest(group_name="g", limits=plan_pb2.Limits(max_duration=Duration(seconds=-1))),
            "limits.max_duration",
            "must not be negative: give zero or more, or leave it out for no bound",
        ),
        (
            RunRequest(plan=group(idempotency=plan_pb2.IdempotencyPolicy(ttl=Duration(nanos=-1)))),
            "plan.group.members[0].idempotency.ttl",
            "must not be negative: give zero or more, or leave it out for no bound",
        ),
        (
            RunRequest(plan=group(retry=plan_pb2.RetryPolicy(max_attempts=101))),
            "plan.group.members[0].retry.max_attempts",
            "must be greater than or equal to 0 and less than or equal to 100",
        ),
        (StreamRunRequest(), "request", "must be set"),
        (MapRunRequest(input=MapInput()), "input.input", "must be set"),
        (
            RunRequest(plan=group(variables={'a "b"': Payload()})),
            'plan.group.members[0].variables["a \\"b\\""]',
            "must be set: give one of text, json, data",
        ),
        (
            run_service_pb2.ListRunsRequest(states=[99]),  # type: ignore[list-item]  # what a newer client could send
            "states[0]",
            "must be a value that this server knows",
        ),
    ],
)
def test_a_wrong_field_is_named_with_one_sentence(message: Any, field: str, sentence: str) -> None:
    assert violations(message) == {field: sentence}


def test_every_wrong_field_is_named_at_once() -> None:
    request = RunRequest(plan=Plan(group=Group(name="", members=[Member(agent="")])))
    request.plan.timeout.seconds = -1
    request.limits.max_failure_rate = 2
    request.limits.on_breach = plan_pb2.OnBreach.ValueType(9)
    assert set(violations(request)) == {
        "plan.group.name",
        "plan.group.members[0].agent",
        "plan.timeout",
        "limits.max_failure_rate",
        "limits.on_breach",
    }


@pytest.mark.parametrize("document", ["{", "NaN", "[1,]", "'a'", "[" * 100_000])
def test_json_that_is_not_json_is_refused_wherever_it_stands(document: str) -> None:
    wrong = Payload(json=document)
    steps = Steps(steps=[group(input=wrong), group(overrides=[plan_pb2.ReplicaOverride(replica=1, input=wrong)])])
    request = RunRequest(plan=Plan(parallel=Parallel(branches=[Plan(sequence=steps)])), variables={"v": wrong})
    found = violations(request)
    assert set(found) == {
        'variables["v"].json',
        "plan.parallel.branches[0].sequence.steps[0].group.members[0].input.json",
        "plan.parallel.branches[0].sequence.steps[1].group.members[0].overrides[0].input.json",
    }
    assert all(message.startswith("must be one JSON document: ") for message in found.values())


def nested(levels: int) -> RunRequest:
    plan = group()
    for _ in range(levels - 1):
        plan = Plan(sequence=Steps(steps=[plan]))
    return RunRequest(plan=plan)


def test_plans_may_nest_to_the_bound_and_no_deeper() -> None:
    validate(nested(32))
    found = violations(nested(33))
    assert list(found.values()) == ["must not nest plans deeper than 32 levels"]
    assert next(iter(found)).startswith("plan.sequence.steps[0].sequence")


def test_the_bound_on_nesting_can_be_chosen() -> None:
    with pytest.raises(InvalidRequest, match="deeper than 2 levels"):
        validate(StreamRunRequest(request=nested(3)), max_plan_depth=2)


def test_expressions_of_callers_are_found_wherever_options_hold_them() -> None:
    rule = plan_pb2.Aggregation(name="chain")
    rule.options.update({"steps": ["vote", {"name": "best", "score": {"expression": "output"}}], "decided": "true"})
    plan = Plan(parallel=Parallel(branches=[group(), Plan(group=Group(name="h", aggregation=rule))]))
    with pytest.raises(InvalidRequest) as caught:
        refuse_expressions(plan)
    options = "plan.parallel.branches[1].group.aggregation.options"
    assert {violation.field for violation in caught.value.violations} == {
        f"{options}.decided",
        f"{options}.steps[1].score.expression",
    }
    refuse_expressions(group())
