"""One suite for the three doors, against a scripted server: what is asked, what comes back, what is raised."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration

import motet_client
from motet_client import Group, MemberStarted, Resume, State
from motet_proto.v1 import catalog_service_pb2 as catalog
from motet_proto.v1 import plan_pb2, run_pb2
from motet_proto.v1 import run_service_pb2 as pb

google = import_module("google.rpc.error_details_pb2")
QUICK = Resume(first_delay=0.001, max_delay=0.001)


def abort(context: grpc.ServicerContext, code: grpc.StatusCode, *details: Any) -> Any:
    status = import_module("google.rpc.status_pb2").Status(code=code.value[0], message="refused")
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, "refused")


def test_a_run_sends_what_was_given_and_returns_a_typed_result(door: Any, script: Any, make: Any) -> None:
    script.on["Run"] = lambda _request, _context: pb.RunResponse(result=make.result("hello"))

    async def scenario(client: Any) -> None:
        result = await client.run(
            Group("review", ["ruff", "mypy"]),
            {"path": "src"},
            variables={"n": 3},
            session_id="s",
            tenant="acme",
            limits=motet_client.Limits(max_calls=0, max_duration=1.5),
            labels={"a": "b"},
        )
        assert result.state is State.SUCCEEDED
        assert result.unwrap() == "hello"

    door.play(scenario, metadata={"X-Tenant": "t"})
    (request,) = script.seen["Run"]
    assert [member.agent for member in request.plan.group.members] == ["ruff", "mypy"]
    assert request.input.json == '{"path":"src"}'
    assert request.variables["n"].json == "3"
    assert (request.session_id, dict(request.labels), request.HasField("timeout")) == ("s", {"a": "b"}, False)
    assert (request.tenant, request.limits.HasField("max_calls"), request.limits.max_duration.nanos) == (
        "acme",
        True,
        500_000_000,
    )
    assert script.metadata["x-tenant"] == "t"
    assert script.time_left is None or script.time_left > 10**6


def test_a_timeout_travels_in_the_request_and_leaves_the_call_time_for_the_partial_result(
    door: Any, script: Any, make: Any
) -> None:
    script.on["Run"] = lambda _request, _context: pb.RunResponse(result=make.result())
    left: list[float] = []

    async def scenario(client: Any) -> None:
        await client.run("g", timeout=100.0)
        left.append(script.time_left)
        await client.run("g", timeout=0, deadline=300.0)
        left.append(script.time_left)
        await client.run("g")
        left.append(script.time_left)

    door.play(scenario, timeout=200.0)
    assert [request.timeout.seconds for request in script.seen["Run"]] == [100, 0, 200]
    assert script.seen["Run"][1].HasField("timeout")
    assert [round(seconds, -1) for seconds in left] == pytest.approx([105, 300, 205], abs=10)


def test_a_call_that_outlives_its_deadline_raises_deadline_exceeded(door: Any, script: Any) -> None:
    script.on["Run"] = script.hang

    async def scenario(client: Any) -> None:
        with pytest.raises(motet_client.DeadlineExceeded):
            await client.run("g", deadline=0.05)

    door.play(scenario)


def test_a_refusal_carries_reason_violations_and_facts(door: Any, script: Any) -> None:
    script.on["Run"] = lambda _request, context: abort(
        context,
        grpc.StatusCode.INVALID_ARGUMENT,
        google.ErrorInfo(reason="INVALID_REQUEST", domain="motet.dev", metadata={"id": "7"}),
        google.BadRequest(
            field_violations=[google.BadRequest.FieldViolation(field="timeout", description="it is negative")]
        ),
        google.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
    )

    async def scenario(client: Any) -> None:
        with pytest.raises(motet_client.InvalidArgument, match="refused") as caught:
            await client.run("g")
        error = caught.value
        assert (error.code, error.reason, error.metadata) == ("INVALID_ARGUMENT", "INVALID_REQUEST", {"id": "7"})
        assert error.violations == (motet_client.Violation("timeout", "it is negative"),)
        assert error.retry_after == 1.5

    door.play(scenario)


def test_a_stream_gives_events_one_by_one_and_then_the_result(door: Any, script: Any, make: Any) -> None:
    script.on["StreamRun"] = lambda _request, _context: iter([make.streamed(1, 2), make.streamed(3, end=True)])

    async def scenario(client: Any) -> None:
        async with client.stream("g", "hi") as run:
            assert run.run_id == "r1"
            events = [event async for event in run]
            assert [event.sequence for event in events] == [1, 2, 3]
            assert events[0].detail == MemberStarted("a", 0.0, 0)
            assert run.result.unwrap() == "done"

    door.play(scenario)
    assert script.seen["StreamRun"][0].request.group_name == "g"


def test_a_refused_stream_raises_where_its_block_begins(door: Any, script: Any) -> None:
    script.on["StreamRun"] = lambda _request, context: abort(context, grpc.StatusCode.NOT_FOUND)

    async def scenario(client: Any) -> None:
        with pytest.raises(motet_client.NotFound):
            async with client.stream("nobody"):
                pytest.fail("the block must not begin")

    door.play(scenario)


def test_a_stream_that_breaks_is_not_begun_again(door: Any, script: Any, make: Any) -> None:
    def handler(_request: Any, context: Any) -> Iterator[Any]:
        yield make.streamed(1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    script.on["StreamRun"] = handler

    async def scenario(client: Any) -> None:
        async with client.stream("g") as run:
            assert [(await anext(run)).sequence] == [1]
            with pytest.raises(motet_client.Unavailable, match="gone"):
                await anext(run)
            assert run.result is None

    door.play(scenario)
    assert len(script.seen["StreamRun"]) == 1


def test_a_watch_resumes_after_the_last_event_seen_without_repeats_or_gaps(door: Any, script: Any, make: Any) -> None:
    def handler(request: Any, context: Any) -> Iterator[Any]:
        after = request.after_sequence
        if after == 0:
            yield make.watched(1, 2)
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        elif after == 2 and len(script.seen["WatchRun"]) == 2:
            return  # Ended in good order, but without a result.
        elif after == 2:
            yield make.watched(1, 2, 3)
            yield make.watched(5)
        else:
            yield make.watched(4, 5, end=True)

    script.on["WatchRun"] = handler

    async def scenario(client: Any) -> None:
        watch = client.watch("r1", resume=QUICK)
        assert [event.sequence async for event in watch] == [1, 2, 3, 4, 5]
        assert watch.result.unwrap() == "done"

    door.play(scenario)
    assert [request.after_sequence for request in script.seen["WatchRun"]] == [0, 2, 2, 3]


def test_a_watch_that_may_not_resume_raises_what_broke_it(door: Any, script: Any, make: Any) -> None:
    def handler(_request: Any, context: Any) -> Iterator[Any]:
        yield make.watched(8)
        context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    script.on["WatchRun"] = handler

    async def scenario(client: Any) -> None:
        async with client.watch("r1", 7, resume=False) as watch:
            assert (await anext(watch)).sequence == 8
            with pytest.raises(motet_client.Unavailable):
                await anext(watch)

    door.play(scenario)
    assert [request.after_sequence for request in script.seen["WatchRun"]] == [7]


def test_a_watch_of_an_unknown_run_is_not_tried_again(door: Any, script: Any) -> None:
    script.on["WatchRun"] = lambda _request, context: abort(context, grpc.StatusCode.NOT_FOUND)

    async def scenario(client: Any) -> None:
        with pytest.raises(motet_client.NotFound):
            await anext(client.watch("r9"))

    door.play(scenario)
    assert len(script.seen["WatchRun"]) == 1


def test_reads_are_tried_three_times_while_the_server_is_unavailable(door: Any, script: Any) -> None:
    def handler(_request: Any, context: Any) -> Any:
        if len(script.seen["GetRun"]) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return pb.GetRunResponse(run=run_pb2.Run(run_id="r1", state=run_pb2.STATE_RUNNING))

    script.on["GetRun"] = handler
    script.on["StartRun"] = lambda _request, context: context.abort(grpc.StatusCode.UNAVAILABLE, "starting")

    async def scenario(client: Any) -> None:
        assert (await client.get("r1")).state is State.RUNNING
        with pytest.raises(motet_client.Unavailable):
            await client.start("g")

    door.play(scenario)
    assert (len(script.seen["GetRun"]), len(script.seen["StartRun"])) == (3, 1)


def test_background_runs_are_started_listed_page_by_page_and_cancelled(door: Any, script: Any, make: Any) -> None:
    def page(request: Any, _context: Any) -> Any:
        first = int(request.page_token or 0)
        runs = [run_pb2.Run(run_id=f"r{first + n}", state=run_pb2.STATE_FAILED) for n in range(2 if first < 4 else 1)]
        return pb.ListRunsResponse(runs=runs, next_page_token=str(first + 2) if first < 4 else "")

    script.on["ListRuns"] = page
    script.on["StartRun"] = lambda _request, _context: pb.StartRunResponse(run_id="r1", existing=True)
    ended = run_pb2.Run(run_id="r1", state=run_pb2.STATE_CANCELLED, result=make.result())
    script.on["CancelRun"] = lambda _request, _context: pb.CancelRunResponse(run=ended)

    async def scenario(client: Any) -> None:
        assert await client.start("g", request_id="k", timeout=60) == motet_client.Started("r1", existing=True)
        runs = client.list_runs(states=["FAILED"], labels={"a": "b"}, page_size=2)
        assert [run.run_id async for run in runs] == ["r0", "r1", "r2", "r3", "r4"]
        assert (await client.cancel("r1")).result.run_id == "r1"

    door.play(scenario)
    assert (script.seen["StartRun"][0].request.request_id, script.seen["StartRun"][0].request.timeout.seconds) == (
        "k",
        60,
    )
    assert [request.page_token for request in script.seen["ListRuns"]] == ["", "2", "4"]
    assert all(list(request.states) == [run_pb2.STATE_FAILED] for request in script.seen["ListRuns"])


def test_the_catalog_comes_as_typed_cards(door: Any, script: Any) -> None:
    agent = catalog.Agent(name="ruff", kind=catalog.AGENT_KIND_COMMAND, timeout=Duration(seconds=2))
    group = catalog.GroupInfo(group=plan_pb2.Group(name="review", members=[plan_pb2.Member(agent="ruff")]))
    rule = catalog.AggregationInfo(name="first", decides_early=True)
    script.on["ListAgents"] = lambda _request, _context: catalog.ListAgentsResponse(agents=[agent])
    script.on["GetAgent"] = lambda _request, _context: catalog.GetAgentResponse(agent=agent)
    script.on["ListGroups"] = lambda _request, _context: catalog.ListGroupsResponse(groups=[group])
    script.on["GetGroup"] = lambda _request, _context: catalog.GetGroupResponse(group=group)
    script.on["ListAggregations"] = lambda _request, _context: catalog.ListAggregationsResponse(aggregations=[rule])

    async def scenario(client: Any) -> None:
        card = motet_client.AgentInfo(name="ruff", kind=motet_client.AgentKind.COMMAND, timeout=2.0)
        assert await client.agents() == [card]
        assert await client.agent("ruff") == card
        assert [info.name for info in await client.groups()] == ["review"]
        assert (await client.group("review")).group.members == (motet_client.Member("ruff"),)
        assert await client.aggregations() == [motet_client.AggregationInfo(name="first", decides_early=True)]

    door.play(scenario)


def test_limits_in_use_come_as_rows_with_how_many_wait(door: Any, script: Any) -> None:
    rows = [
        pb.LimitUse(guard="capacity", scope="engine", what="running", limit=4, used=3),
        pb.LimitUse(guard="quota", scope="tenant", name="acme", what="calls", used=7, window=Duration(seconds=3600)),
    ]

    def handler(_request: Any, context: Any) -> Any:
        if len(script.seen["ListLimits"]) < 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return pb.ListLimitsResponse(uses=rows, waiting=5)

    script.on["ListLimits"] = handler

    async def scenario(client: Any) -> None:
        found = await client.limits("acme")
        assert found.waiting == 5
        assert found.uses == (
            motet_client.LimitUse(guard="capacity", scope="engine", what="running", limit=4.0, used=3.0),
            motet_client.LimitUse(guard="quota", scope="tenant", name="acme", what="calls", used=7.0, window=3600.0),
        )
        await client.limits()

    door.play(scenario)
    assert [request.tenant for request in script.seen["ListLimits"]] == ["acme", "acme", ""]


def test_a_quota_that_is_used_up_says_whose_and_when_to_come_back(door: Any, script: Any) -> None:
    script.on["Run"] = lambda _request, context: abort(
        context,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        google.ErrorInfo(reason="QUOTA_EXCEEDED", domain="motet.dev", metadata={"tenant": "acme"}),
        google.QuotaFailure(violations=[google.QuotaFailure.Violation(subject="acme", description="used up")]),
        google.RetryInfo(retry_delay=Duration(seconds=90)),
    )

    async def scenario(client: Any) -> None:
        with pytest.raises(motet_client.ResourceExhausted) as caught:
            await client.run("g", tenant="acme")
        assert (caught.value.reason, caught.value.retry_after) == ("QUOTA_EXCEEDED", 90.0)
        assert caught.value.violations == (motet_client.Violation("acme", "used up"),)

    door.play(scenario)


def test_health_is_one_word(door: Any) -> None:
    async def scenario(client: Any) -> None:
        assert await client.health() == "SERVING"
        assert await client.health("motet.v1.RunService") == "NOT_SERVING"
        with pytest.raises(motet_client.NotFound):
            await client.health("motet.v1.Nothing")

    door.play(scenario)
