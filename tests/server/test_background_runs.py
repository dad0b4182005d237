"""StartRun, GetRun, ListRuns, CancelRun and WatchRun over a real socket."""

from typing import Any

import grpc
import pytest
import trio

from motet_proto.v1 import run_pb2
from motet_proto.v1.payload_pb2 import Payload
from motet_proto.v1.run_service_pb2 import (
    CancelRunRequest,
    GetRunRequest,
    ListRunsRequest,
    RunRequest,
    StartRunRequest,
    WatchRunRequest,
)

Code = grpc.StatusCode


def starts(group: str, **fields: Any) -> StartRunRequest:
    return StartRunRequest(request=RunRequest(group_name=group, input=Payload(text="hi"), **fields))


async def started(rig: Any, group: str, **fields: Any) -> str:
    run_id: str = (await rig.thread(rig.runs.StartRun, starts(group, **fields))).run_id
    return run_id


async def test_a_background_run_outlives_the_client_that_started_it(rig: Any) -> None:
    with grpc.insecure_channel(rig.server.address) as channel:
        response = await rig.thread(type(rig.runs)(channel).StartRun, starts("slow-pair", labels={"k": "v"}))
    messages = await rig.collect(rig.runs.WatchRun(WatchRunRequest(run_id=response.run_id)))
    assert messages[-1].result.state == run_pb2.STATE_SUCCEEDED
    run = (await rig.thread(rig.runs.GetRun, GetRunRequest(run_id=response.run_id))).run
    assert (run.state, run.target, dict(run.labels)) == (run_pb2.STATE_SUCCEEDED, "slow-pair", {"k": "v"})
    assert run.result == messages[-1].result
    assert run.last_sequence == sum(len(message.events) for message in messages)
    assert run.ended_at.ToNanoseconds() >= run.started_at.ToNanoseconds()


async def test_a_run_that_goes_on_has_no_end_and_no_result(rig: Any) -> None:
    run = (await rig.thread(rig.runs.GetRun, GetRunRequest(run_id=await started(rig, "waits")))).run
    assert run.state == run_pb2.STATE_RUNNING
    assert not run.HasField("result")
    assert not run.HasField("ended_at")


async def test_starting_again_under_one_request_id_finds_the_run(rig: Any) -> None:
    first = await rig.thread(rig.runs.StartRun, starts("waits", request_id="r"))
    second = await rig.thread(rig.runs.StartRun, starts("waits", request_id="r"))
    assert (first.existing, second.existing) == (False, True)
    assert first.run_id == second.run_id
    refusal = await rig.refused(rig.runs.StartRun, starts("pair", request_id="r"))
    assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "REQUEST_ID_REUSED")


async def test_cancelling_a_run_returns_the_receipts(rig: Any) -> None:
    run_id = await started(rig, "waits")
    await rig.until(lambda: rig.agents["endless"].running)
    run = (await rig.thread(rig.runs.CancelRun, CancelRunRequest(run_id=run_id))).run
    outcome = run.result.groups[0].outcomes[0]
    assert (run.state, outcome.state) == (run_pb2.STATE_CANCELLED, run_pb2.STATE_CANCELLED)
    assert outcome.stop.kind == run_pb2.StopReceipt.KIND_STOPPED
    again = (await rig.thread(rig.runs.CancelRun, CancelRunRequest(run_id=run_id))).run
    assert again == run


async def test_runs_are_listed_newest_first_by_state_and_label_and_page(rig: Any) -> None:
    ids = [await started(rig, "waits", labels={"odd": str(n % 2)}) for n in range(5)]
    await rig.thread(rig.runs.CancelRun, CancelRunRequest(run_id=ids[0]))

    async def listed(**fields: Any) -> Any:
        return await rig.thread(rig.runs.ListRuns, ListRunsRequest(**fields))

    assert [run.run_id for run in (await listed()).runs] == ids[::-1]
    assert [run.run_id for run in (await listed(states=[run_pb2.STATE_CANCELLED])).runs] == ids[:1]
    assert [run.run_id for run in (await listed(labels={"odd": "1"})).runs] == [ids[3], ids[1]]
    first = await listed(page_size=3)
    second = await listed(page_size=3, page_token=first.next_page_token)
    assert [run.run_id for page in (first, second) for run in page.runs] == ids[::-1]
    assert not second.next_page_token
    assert not any(run.HasField("result") for run in first.runs)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ListRunsRequest(page_size=-1), "page_size"),
        (ListRunsRequest(page_token="no token"), "page_token"),  # of pages, not of persons
        (ListRunsRequest(states=[run_pb2.STATE_UNSPECIFIED]), "states[0]"),
    ],
)
async def test_a_wrong_list_request_is_refused(rig: Any, request_: ListRunsRequest, field: str) -> None:
    refusal = await rig.refused(rig.runs.ListRuns, request_)
    assert (refusal.code, list(refusal.fields)) == (Code.INVALID_ARGUMENT, [field])


async def test_a_run_that_is_not_known_is_not_found(rig: Any) -> None:
    for method, request in [
        (rig.runs.GetRun, GetRunRequest(run_id="no")),
        (rig.runs.CancelRun, CancelRunRequest(run_id="no")),
        (rig.runs.WatchRun, WatchRunRequest(run_id="no")),
    ]:
        refusal = await rig.refused(method, request)
        assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, "RUN_NOT_FOUND")


async def test_a_run_without_an_id_is_refused(rig: Any) -> None:
    refusal = await rig.refused(rig.runs.GetRun, GetRunRequest())
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, {"run_id": "must not be empty"})


async def test_a_watcher_replays_from_its_cursor_and_then_follows_live(rig: Any) -> None:
    run_id = await started(rig, "waits")
    await rig.until(lambda: rig.agents["endless"].running)
    call = rig.runs.WatchRun(WatchRunRequest(run_id=run_id, after_sequence=1))
    first = await rig.thread(next, call)
    assert first.events[0].sequence == 2
    await rig.thread(rig.runs.CancelRun, CancelRunRequest(run_id=run_id))
    rest = await rig.collect(call)
    events = [event for message in (first, *rest) for event in message.events]
    assert [event.sequence for event in events] == list(range(2, len(events) + 2))
    assert events[-1].WhichOneof("detail") == "run_ended"
    assert rest[-1].result.state == run_pb2.STATE_CANCELLED
    assert {message.run_id for message in rest} == {run_id}


async def test_two_watchers_see_the_same(rig: Any) -> None:
    run_id = await started(rig, "chatty")
    seen: list[Any] = []

    async def watch() -> None:
        messages = await rig.collect(rig.runs.WatchRun(WatchRunRequest(run_id=run_id)))
        seen.append(([event for message in messages for event in message.events], messages[-1].result))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        nursery.start_soon(watch)
    assert seen[0] == seen[1]
    assert seen[0][0][-1].WhichOneof("detail") == "run_ended"


async def test_a_watcher_that_leaves_changes_nothing_for_the_run(rig: Any) -> None:
    run_id = await started(rig, "slow-pair")
    call = rig.runs.WatchRun(WatchRunRequest(run_id=run_id))
    await rig.thread(next, call)
    call.cancel()
    messages = await rig.collect(rig.runs.WatchRun(WatchRunRequest(run_id=run_id)))
    assert messages[-1].result.state == run_pb2.STATE_SUCCEEDED


async def test_a_cursor_at_the_end_gives_the_result_alone(rig: Any) -> None:
    run_id = await started(rig, "pair")
    last = (await rig.collect(rig.runs.WatchRun(WatchRunRequest(run_id=run_id))))[-1].events[-1].sequence
    messages = await rig.collect(rig.runs.WatchRun(WatchRunRequest(run_id=run_id, after_sequence=last)))
    assert len(messages) == 1
    assert not messages[0].events
    assert messages[0].HasField("result")
