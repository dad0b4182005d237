"""MapRun over a real socket: every input answered, memory bounded both ways, wrong messages refused."""

import queue
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest
import trio
from google.protobuf.duration_pb2 import Duration

from motet_proto.v1 import run_pb2
from motet_proto.v1.payload_pb2 import Payload
from motet_proto.v1.run_service_pb2 import MapInput, MapOpen, MapRunRequest, RunRequest

Code = grpc.StatusCode


def opens(group: str = "one", max_in_flight: int = 0, **fields: Any) -> MapRunRequest:
    request = RunRequest(group_name=group, **fields)
    return MapRunRequest(open=MapOpen(request=request, max_in_flight=max_in_flight))


def feeds(text: str, id: str = "", **variables: str) -> MapRunRequest:
    given = {name: Payload(text=value) for name, value in variables.items()}
    return MapRunRequest(input=MapInput(id=id, input=Payload(text=text), variables=given))


async def test_every_input_is_answered_once_under_its_id(rig: Any) -> None:
    answers = await rig.collect(rig.runs.MapRun(iter([opens(), feeds("a", "x"), feeds("b", "y"), feeds("c")])))
    found = {answer.index: (answer.id, answer.result.output.text) for answer in answers}
    assert found == {0: ("x", "a"), 1: ("y", "b"), 2: ("", "c")}


async def test_variables_of_an_input_win_over_those_of_the_request(rig: Any) -> None:
    opening = MapRunRequest(open=MapOpen(request=RunRequest(variables={"name": Payload(text="all")})))
    opening.open.request.plan.group.name = "g"
    opening.open.request.plan.group.members.add(agent="hello")
    opening.open.request.plan.group.aggregation.name = "first"
    answers = await rig.collect(rig.runs.MapRun(iter([opening, feeds("a"), feeds("b", name="own")])))
    assert {answer.index: answer.result.output.json for answer in answers} == {
        0: '{"hello":"all"}',
        1: '{"hello":"own"}',
    }


async def test_five_hundred_inputs_reach_a_slow_reader_whole(rig: Any) -> None:
    requests = iter([opens(max_in_flight=20), *(feeds(str(n), str(n)) for n in range(500))])
    seen: list[Any] = []
    call = rig.runs.MapRun(requests)
    while len(seen) < 500:
        seen.append(await rig.thread(next, call))
        await trio.sleep(0.001)
    assert sorted(answer.index for answer in seen) == list(range(500))
    assert all(answer.id == answer.result.output.text == str(answer.index) for answer in seen)
    assert rig.agents["echo"].peak <= 20


async def test_inputs_are_not_run_faster_than_answers_are_read(rig: Any) -> None:
    opening = MapRunRequest(open=MapOpen(request=RunRequest(), max_in_flight=4))
    opening.open.request.plan.group.name = "g"
    opening.open.request.plan.group.members.add(agent="large")
    sent = 0

    def requests() -> Iterator[MapRunRequest]:
        nonlocal sent
        yield opening
        for _ in range(20_000):
            sent += 1
            yield feeds("x" * 10_000)

    call = rig.runs.MapRun(requests())
    await rig.until(lambda: len(rig.agents["large"].calls) > 10)
    before = -1
    while before != len(rig.agents["large"].calls):  # until it stands still
        before = len(rig.agents["large"].calls)
        await trio.sleep(0.2)
    assert len(rig.agents["large"].calls) < 500
    assert sent < 5000
    call.cancel()
    await rig.until(lambda: rig.engine.statistics().runs_active == 0)


async def test_a_map_without_inputs_has_no_answers(rig: Any) -> None:
    assert await rig.collect(rig.runs.MapRun(iter([opens()]))) == []


async def test_a_timeout_bounds_each_run_and_not_the_stream(rig: Any) -> None:
    opening = opens("waits", timeout=Duration(nanos=10_000_000))
    answers = await rig.collect(rig.runs.MapRun(iter([opening, feeds("a"), feeds("b")])))
    assert [answer.result.state for answer in answers] == [run_pb2.STATE_TIMED_OUT] * 2


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], "open"),
        ([feeds("a")], "open"),
        ([opens(), opens()], "open"),
        ([MapRunRequest(open=MapOpen())], "open.request"),
        ([opens(max_in_flight=1001)], "open.max_in_flight"),
        ([opens(input=Payload(text="x"))], "open.request.input"),
        ([opens(request_id="x")], "open.request.request_id"),
        ([opens(timeout=Duration(seconds=-1))], "open.request.timeout"),
        ([opens(), MapRunRequest(input=MapInput())], "input.input"),
        ([opens(), MapRunRequest(input=MapInput(input=Payload(json="{")))], "input.input.json"),
        ([opens(), MapRunRequest()], "message"),
    ],
)
async def test_a_wrong_message_refuses_the_stream_and_is_named(
    rig: Any, requests: Iterable[MapRunRequest], field: str
) -> None:
    refusal = await rig.refused(rig.runs.MapRun, iter(requests))
    assert (refusal.code, list(refusal.fields)) == (Code.INVALID_ARGUMENT, [field])


async def test_a_map_over_an_unknown_group_is_not_found(rig: Any) -> None:
    refusal = await rig.refused(rig.runs.MapRun, iter([opens("nobody"), feeds("a")]))
    assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, "GROUP_NOT_FOUND")


async def test_a_map_over_an_unknown_agent_names_the_field(rig: Any) -> None:
    opening = MapRunRequest(open=MapOpen(request=RunRequest()))
    opening.open.request.plan.group.name = "g"
    opening.open.request.plan.group.members.add(agent="nobody")
    refusal = await rig.refused(rig.runs.MapRun, iter([opening]))
    assert list(refusal.fields) == ["open.request.plan.group.members[0].agent"]


async def test_what_runs_already_is_answered_before_a_wrong_input_ends_the_stream(rig: Any) -> None:
    outbox: queue.SimpleQueue[MapRunRequest] = queue.SimpleQueue()
    for request in (opens("holds"), feeds("a"), MapRunRequest(input=MapInput())):
        outbox.put(request)
    call = rig.runs.MapRun(iter(outbox.get, None))
    await rig.until(lambda: rig.engine.statistics().members_running)
    rig.held.release.set()
    assert (await rig.thread(next, call)).result.output.text == "a"
    with pytest.raises(grpc.RpcError) as caught:
        await rig.thread(next, call)
    assert caught.value.code() is Code.INVALID_ARGUMENT
    outbox.put(MapRunRequest())  # lets the client's own reader go


async def test_a_client_that_disconnects_stops_all_its_runs(rig: Any) -> None:
    outbox: queue.SimpleQueue[MapRunRequest | None] = queue.SimpleQueue()
    for request in (opens("waits"), *(feeds(str(n)) for n in range(5))):
        outbox.put(request)
    with grpc.insecure_channel(rig.server.address) as channel:
        call = type(rig.runs)(channel).MapRun(iter(outbox.get, None))
        await rig.until(lambda: rig.agents["endless"].running == 5)
    assert not call.is_active()
    await rig.until(lambda: rig.agents["endless"].cancelled == 5)
    await rig.until(lambda: rig.engine.statistics().runs_active == 0)
    outbox.put(None)
