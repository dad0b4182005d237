"""What is sent, made from what the caller gave; and what is refused before anything is sent."""

import math
import subprocess
import sys
from typing import Any

import pytest

import motet_client
from motet_client import Group, Idempotency, InvalidArgument, Limits, MapInput, Member
from motet_client._requests import Settings, make_metadata, make_run, map_input, map_open


def settings(timeout: float | None = None) -> Settings:
    return Settings.make("127.0.0.1:1", timeout, None, None, None)


@pytest.mark.parametrize(
    ("given", "default", "travels", "call"),
    [
        ({}, None, None, None),
        ({"timeout": 10.0}, None, 10, 15.0),
        ({"timeout": 0.0}, 7.0, 0, 5.0),
        ({"timeout": -1.0}, None, -1, 5.0),
        ({}, 10.0, 10, 15.0),
        ({"timeout": 10.0, "deadline": 3.0}, None, 10, 3.0),
        ({"timeout": math.inf}, 10.0, None, None),
    ],
)
def test_the_call_outlives_the_run_s_timeout_unless_a_deadline_is_given(
    given: Any, default: float | None, travels: int | None, call: float | None
) -> None:
    request, deadline = settings(default).run("g", "", given)
    assert (request.timeout.seconds if request.HasField("timeout") else None) == travels
    assert deadline == call


def test_the_default_timeout_bounds_calls_that_are_not_runs() -> None:
    assert settings(4.0).deadline() == 4.0
    assert settings(4.0).deadline(9.0) == 9.0
    assert settings().deadline() is None


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("input", {"input": object()}),
        ("input", {"input": "\ud800"}),
        ("input", {"input": math.nan}),
        ("variables", {"variables": {"a": object()}}),
        ("timeout", {"timeout": math.nan}),
        ("timeout", {"timeout": "10"}),
        ("deadline", {"deadline": math.nan}),
        ("labels", {"labels": {"a": 1}}),
        ("limits", {"limits": Limits(max_calls=2**70)}),
        ("session_id", {"session_id": 5}),
        ("tenant", {"tenant": 5}),
        ("limits", {"limits": Limits(max_duration=math.nan)}),
        ("plan", {"target": Group("g", ["a"], idempotency=Idempotency(ttl=math.nan))}),
        ("plan", {"target": {"name": "g"}}),
        ("plan", {"target": Group("g", [Member("a", timeout=math.nan)])}),
    ],
)
def test_what_cannot_be_sent_is_refused_by_the_name_of_its_field(field: str, given: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make_run(**({"target": "g", "input": ""} | given))
    assert [violation.field for violation in caught.value.violations] == [field]
    assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


def test_a_plan_that_is_nested_too_deep_is_refused() -> None:
    plan: Any = Group("g", ["a"])
    for _ in range(5000):
        plan = motet_client.Parallel([plan])
    with pytest.raises(InvalidArgument, match="plan: it is nested too deep"):
        make_run(plan, "")


def test_an_option_that_does_not_exist_is_refused() -> None:
    wrong: Any = {"time_out": 3}
    with motet_client.Client("127.0.0.1:1") as client, pytest.raises(TypeError, match="time_out"):
        client.run("g", **wrong)


def test_a_map_opens_without_an_input_and_names_each_of_its_own() -> None:
    opening, deadline = map_open("g", 4, {"timeout": 3.0, "deadline": 60.0})
    assert (opening.open.max_in_flight, opening.open.request.HasField("input"), deadline) == (4, False, 60.0)
    message = map_input(MapInput({"a": 1}, id="x", variables={"n": 2}), 0).input
    assert (message.id, message.input.json, message.variables["n"].json) == ("x", '{"a":1}', "2")
    with pytest.raises(InvalidArgument, match="max_in_flight"):
        map_open("g", 0, {})


@pytest.mark.parametrize(
    ("given", "environment", "sent"),
    [
        (None, {}, ()),
        ({"X-Tenant": "t"}, {}, (("x-tenant", "t"),)),
        (None, {"MOTET_DEPTH": "2"}, (("motet-depth", "2"),)),
        ([("motet-depth", "1"), ("a", "b")], {"MOTET_DEPTH": "2"}, (("a", "b"), ("motet-depth", "2"))),
        ({"Motet-Depth": "3"}, {"MOTET_DEPTH": "2"}, (("motet-depth", "3"),)),
    ],
)
def test_the_deeper_of_the_known_depths_is_sent(given: Any, environment: dict[str, str], sent: Any) -> None:
    assert make_metadata(given, environment) == sent


def test_a_depth_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="motet-depth"):
        make_metadata(None, {"MOTET_DEPTH": "deep"})


def test_the_client_needs_grpc_and_protobuf_only() -> None:
    program = (
        "import sys, motet_client, motet_client.aio;"
        "unwanted = {'trio', 'motet', 'motet_server', 'grpc_status', 'google.rpc'} & set(sys.modules);"
        "sys.exit(f'imported {unwanted}' if unwanted else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
