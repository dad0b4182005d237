"""Run and StreamRun over a real socket: results, events, errors, deadlines, disconnects."""

import json
from typing import Any

import grpc
import pytest
import trio
from google.protobuf.duration_pb2 import Duration

from motet_proto.v1 import plan_pb2, run_pb2
from motet_proto.v1.payload_pb2 import Payload
from motet_proto.v1.run_service_pb2 import RunRequest, StreamRunRequest

Code = grpc.StatusCode


def asks(group: str, text: str = "hi", **fields: Any) -> RunRequest:
    return RunRequest(group_name=group, input=Payload(text=text), **fields)


def plan(*agents: str, **fields: Any) -> plan_pb2.Plan:
    members = [plan_pb2.Member(agent=agent) for agent in agents]
    return plan_pb2.Plan(group=plan_pb2.Group(name="g", members=members, **fields))


async def test_a_run_answers_with_its_result(rig: Any) -> None:
    result = (await rig.thread(rig.runs.Run, asks("pair"))).result
    assert result.state == run_pb2.STATE_SUCCEEDED
    assert json.loads(result.output.json)["combined_results"] == ["hi", "HI"]
    assert [(o.member, o.state) for o in result.groups[0].outcomes] == [
        ("echo", run_pb2.STATE_SUCCEEDED),
        ("upper", run_pb2.STATE_SUCCEEDED),
    ]
    assert (result.stats.members, result.stats.succeeded) == (2, 2)
    assert result.run_id
    assert result.started_at.seconds


async def test_a_failed_member_is_a_result_and_no_error(rig: Any) -> None:
    result = (await rig.thread(rig.runs.Run, asks("mixed"))).result
    failure = result.groups[0].outcomes[1].failure
    assert result.state == run_pb2.STATE_SUCCEEDED
    assert (failure.reason, failure.message, failure.details["part"]) == ("BROKEN", "it broke", 7)


async def test_a_plan_and_variables_of_the_request_are_run(rig: Any) -> None:
    request = RunRequest(plan=plan("hello"), variables={"name": Payload(json='"Ada"')})
    result = (await rig.thread(rig.runs.Run, request)).result
    assert json.loads(result.groups[0].outcomes[0].output.json) == {"hello": "Ada"}


async def test_a_timeout_of_zero_is_over_before_anything_starts(rig: Any) -> None:
    result = (await rig.thread(rig.runs.Run, asks("pair", timeout=Duration()))).result
    assert result.state == run_pb2.STATE_TIMED_OUT
    assert [o.state for o in result.groups[0].outcomes] == [run_pb2.STATE_SKIPPED] * 2
    assert not rig.agents["echo"].calls


async def test_a_timeout_gives_the_partial_result_with_receipts(rig: Any) -> None:
    request = RunRequest(plan=plan("echo", "endless"), timeout=Duration(nanos=50_000_000))
    outcomes = (await rig.thread(rig.runs.Run, request)).result.groups[0].outcomes
    assert [o.state for o in outcomes] == [run_pb2.STATE_SUCCEEDED, run_pb2.STATE_TIMED_OUT]
    assert outcomes[1].stop.kind == run_pb2.StopReceipt.KIND_STOPPED


async def test_the_deadline_of_the_call_stops_the_run(rig: Any) -> None:
    refusal = await rig.refused(rig.runs.Run, asks("waits"), timeout=0.2)
    assert refusal.code is Code.DEADLINE_EXCEEDED
    await rig.until(lambda: rig.agents["endless"].cancelled == 1)
    await rig.until(lambda: rig.engine.statistics().runs_active == 0)


async def test_members_see_the_deadline_of_the_call(rig: Any) -> None:
    result = (await rig.thread(rig.runs.Run, RunRequest(plan=plan("left")), timeout=20)).result
    left = float(result.groups[0].outcomes[0].output.json)
    assert 0 < left < 25  # gRPC rounds deadlines up a little on their way


async def test_the_nearer_of_the_calls_deadline_and_the_timeout_wins(rig: Any) -> None:
    result = (await rig.thread(rig.runs.Run, asks("waits", timeout=Duration(nanos=10_000_000)), timeout=20)).result
    assert result.state == run_pb2.STATE_TIMED_OUT


async def test_a_client_that_cancels_stops_the_run(rig: Any) -> None:
    call = rig.runs.Run.future(asks("waits"))
    await rig.until(lambda: rig.agents["endless"].running)
    call.cancel()
    await rig.until(lambda: rig.agents["endless"].cancelled == 1)
    await rig.until(lambda: rig.engine.statistics().runs_active == 0)


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_disconnects_stops_the_run(rig: Any, streams: bool) -> None:
    with grpc.insecure_channel(rig.server.address) as channel:
        runs = type(rig.runs)(channel)
        call: Any = (
            runs.StreamRun(StreamRunRequest(request=asks("waits"))) if streams else runs.Run.future(asks("waits"))
        )
        await rig.until(lambda: rig.agents["endless"].running)
    assert call.cancelled() or call.code() is not Code.OK
    await rig.until(lambda: rig.agents["endless"].cancelled == 1)
    await rig.until(lambda: rig.engine.statistics().runs_active == 0)


async def test_a_stream_tells_every_event_in_order_and_ends_with_the_result(rig: Any) -> None:
    messages = await rig.collect(rig.runs.StreamRun(StreamRunRequest(request=asks("chatty", labels={"k": "v"}))))
    events = [event for message in messages for event in message.events]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (events[0].WhichOneof("detail"), events[-1].WhichOneof("detail")) == ("run_started", "run_ended")
    assert dict(events[0].run_started.labels) == {"k": "v"}
    assert sum(event.WhichOneof("detail") == "member_progress" for event in events) == 15
    assert [message.HasField("result") for message in messages] == [False] * (len(messages) - 1) + [True]
    assert messages[-1].result.state == run_pb2.STATE_SUCCEEDED
    assert {message.run_id for message in messages} == {messages[-1].result.run_id}
    assert all(message.events for message in messages[:-1])


async def test_a_run_is_one_deeper_than_the_run_that_its_metadata_names(rig: Any) -> None:
    request = RunRequest(plan=plan("deep"))
    result = (await rig.thread(rig.runs.Run, request, metadata=[("motet-depth", "3")])).result
    assert result.groups[0].outcomes[0].output.json == "4"


@pytest.mark.parametrize("depth", ["x", "-1", "1.5", "", "9" * 40])
async def test_a_depth_that_is_no_number_is_refused(rig: Any, depth: str) -> None:
    refusal = await rig.refused(rig.runs.Run, asks("pair"), metadata=[("motet-depth", depth)])
    assert (refusal.code, list(refusal.fields)) == (Code.INVALID_ARGUMENT, ["motet-depth"])


async def test_runs_nested_too_deep_are_refused(rig: Any) -> None:
    refusal = await rig.refused(rig.runs.Run, asks("pair"), metadata=[("motet-depth", "9")])
    assert (refusal.code, refusal.reason) == (Code.RESOURCE_EXHAUSTED, "DEPTH_EXCEEDED")
    assert refusal.details == ["ErrorInfo", "QuotaFailure"]


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (asks("nobody"), Code.NOT_FOUND, None),
        (RunRequest(), Code.INVALID_ARGUMENT, "target"),
        (asks("pair", timeout=Duration(seconds=-1)), Code.INVALID_ARGUMENT, "timeout"),
        (RunRequest(plan=plan()), Code.INVALID_ARGUMENT, "plan.group.members"),
        (RunRequest(plan=plan("nobody")), Code.INVALID_ARGUMENT, "plan.group.members[0].agent"),
        (RunRequest(group_name="pair", input=Payload(json="{")), Code.INVALID_ARGUMENT, "input.json"),
        (
            RunRequest(plan=plan("echo", aggregation=plan_pb2.Aggregation(name="guess"))),
            Code.INVALID_ARGUMENT,
            "plan.group.aggregation.name",
        ),
    ],
)
async def test_a_wrong_request_is_refused_before_anything_starts(
    rig: Any, request_: RunRequest, code: grpc.StatusCode, field: str | None
) -> None:
    plain = await rig.refused(rig.runs.Run, request_)
    streamed = await rig.refused(rig.runs.StreamRun, StreamRunRequest(request=request_))
    assert (plain.code, streamed.code) == (code, code)
    assert list(plain.fields) == ([field] if field else [])
    assert list(streamed.fields) == ([f"request.{field}".removesuffix(".target")] if field else [])
    assert "ErrorInfo" in plain.details
    assert rig.engine.statistics().runs_started == 0


async def test_callers_with_one_request_id_share_a_run(rig: Any) -> None:
    request = asks("slow-pair", request_id="once")
    results = []

    async def call() -> None:
        results.append((await rig.thread(rig.runs.Run, request)).result)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(call)
    assert results[0] == results[1]
    assert len(rig.agents["slow"].calls) == 2
    refusal = await rig.refused(rig.runs.Run, asks("pair", request_id="once"))
    assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "REQUEST_ID_REUSED")


async def test_an_error_of_the_server_tells_nothing_of_itself(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(rig.engine, "run", breaks)
    refusal = await rig.refused(rig.runs.Run, asks("pair"))
    assert (refusal.code, refusal.message, refusal.reason) == (Code.INTERNAL, "internal error", "INTERNAL")


async def test_a_request_above_the_message_size_is_refused(rig: Any) -> None:
    refusal = await rig.refused(rig.runs.Run, asks("pair", "x" * (17 * 1024 * 1024)))
    assert refusal.code is Code.RESOURCE_EXHAUSTED
