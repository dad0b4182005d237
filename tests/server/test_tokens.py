"""A server with tokens: who gets in, whose runs a caller sees, and what becomes of calls whose token is taken away."""

import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]  # ships no types

import motet_server
from motet_proto.v1 import catalog_service_pb2, plan_pb2, run_pb2, worker_service_pb2
from motet_proto.v1 import run_service_pb2 as pb
from motet_proto.v1.worker_service_pb2_grpc import WorkerServiceStub
from motet_server.auth import Caller, Right, Unauthenticated, bearer

WORDS = {
    "acme-secret": Caller(name="acme", tenant="acme", rights=frozenset({Right.RUN, Right.WATCH})),
    "runs-secret": Caller(name="runs", tenant="acme", rights=frozenset({Right.RUN})),
    "other-secret": Caller(name="other", tenant="other", rights=frozenset({Right.RUN, Right.WATCH})),
    "root-secret": Caller(name="root", rights=frozenset({Right.ADMIN})),
    "work-secret": Caller(name="work", rights=frozenset({Right.WORK})),
}
DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED


class Book:
    """Callers by their tokens; a test may change it."""

    def __init__(self) -> None:
        self.callers = dict(WORDS)

        self.asked = 0

    def __call__(self, _method: str, metadata: Mapping[str, str]) -> Caller:
        self.asked += 1
        token = bearer(metadata)
        if token not in self.callers:
            raise Unauthenticated("the server does not know this token")
        return self.callers[token]


def by(word: str) -> dict[str, Any]:
    """The options of a call with a token."""
    return {"metadata": [("authorization", f"Bearer {word}-secret")], "timeout": 30}


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
async def rig(rigs: Callable[..., Any], book: Book) -> AsyncIterator[Any]:
    async with rigs(motet_server.ServerOptions(authorise=book)) as opened:
        yield opened


def request(group: str = "one", **fields: Any) -> pb.RunRequest:
    return pb.RunRequest(group_name=group, **fields)


async def start(rig: Any, word: str, group: str = "one", **fields: Any) -> str:
    message = pb.StartRunRequest(request=request(group, **fields))
    started = await rig.thread(rig.runs.StartRun, message, **by(word))
    return str(started.run_id)


async def get(rig: Any, word: str, run_id: str) -> run_pb2.Run:
    answer = await rig.thread(rig.runs.GetRun, pb.GetRunRequest(run_id=run_id), **by(word))
    assert isinstance(answer.run, run_pb2.Run)
    return answer.run


# -------------------------------------------------------------------------------------------------------- who gets in


async def test_a_call_without_a_token_is_refused_with_a_reason(rig: Any) -> None:
    refusal = await rig.refused(rig.runs.Run, request(), timeout=30)
    assert (refusal.code, refusal.reason) == (UNKNOWN, "TOKEN_MISSING")
    assert rig.agents["echo"].calls == []


@pytest.mark.parametrize(
    "call",
    [
        lambda rig, options: rig.runs.Run(request(), **options),
        lambda rig, options: rig.runs.StreamRun(pb.StreamRunRequest(request=request()), **options),
        lambda rig, options: rig.runs.MapRun(iter([pb.MapRunRequest()]), **options),
        lambda rig, options: rig.catalog.ListAgents(catalog_service_pb2.ListAgentsRequest(), **options),
        lambda rig, options: WorkerServiceStub(rig.channel).Serve(
            iter([worker_service_pb2.WorkerMessage()]), **options
        ),
    ],
    ids=["unary", "stream", "bidi", "catalog", "worker"],
)
async def test_a_wrong_token_gets_into_no_kind_of_call(rig: Any, call: Callable[..., Any]) -> None:
    refusal = await rig.refused(call, rig, by("wrong"))
    assert (refusal.code, refusal.reason) == (UNKNOWN, "TOKEN_INVALID")
    assert "wrong" not in refusal.message


async def test_a_request_is_not_read_before_its_token(rig: Any) -> None:
    # Far more than the server would hold for a stream; what it refuses unread is not decoded either.
    raw = rig.channel.unary_unary("/motet.v1.RunService/Run")
    refusal = await rig.refused(raw, b"\xff" * 1_000_000, timeout=30)
    assert (refusal.code, refusal.reason) == (UNKNOWN, "TOKEN_MISSING")


async def test_health_stays_open_and_reflection_does_not(rig: Any) -> None:
    answer = await rig.thread(
        health_pb2_grpc.HealthStub(rig.channel).Check, health_pb2.HealthCheckRequest(), timeout=30
    )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflect = reflection_pb2_grpc.ServerReflectionStub(rig.channel).ServerReflectionInfo
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    assert (await rig.refused(reflect, iter([ask]), timeout=30)).code is UNKNOWN
    (listed,) = await rig.collect(reflect(iter([ask]), **by("work")))
    assert len(listed.list_services_response.service) >= 3


async def test_a_right_that_is_missing_is_named(rig: Any) -> None:
    refusal = await rig.refused(rig.runs.ListRuns, pb.ListRunsRequest(), **by("runs"))
    assert (refusal.code, refusal.reason) == (DENIED, "RIGHT_MISSING")
    assert "watch" in refusal.message
    serve = WorkerServiceStub(rig.channel).Serve
    refusal = await rig.refused(serve, iter([worker_service_pb2.WorkerMessage()]), **by("acme"))
    assert (refusal.code, refusal.reason) == (DENIED, "RIGHT_MISSING")


async def test_a_worker_needs_no_more_than_the_right_to_work(rig: Any) -> None:
    serve = WorkerServiceStub(rig.channel).Serve
    refusal = await rig.refused(serve, iter([worker_service_pb2.WorkerMessage()]), **by("work"))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT  # it got in, and should have said hello


async def test_what_fails_in_asking_lets_nobody_in(rigs: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    def broken(_method: str, _metadata: Mapping[str, str]) -> Caller:
        raise OSError("the directory is away")

    async with rigs(motet_server.ServerOptions(authorise=broken)) as rig:
        refusal = await rig.refused(rig.runs.Run, request(), **by("acme"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "directory" not in refusal.message
    assert "acme-secret" not in caplog.text


async def test_no_token_is_in_logs_results_or_events(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answers = await rig.collect(rig.runs.StreamRun(pb.StreamRunRequest(request=request("mixed")), **by("acme")))
        await rig.refused(rig.runs.GetRun, pb.GetRunRequest(run_id="x"), **by("runs"))
    assert answers
    assert "acme-secret" not in "".join(map(str, answers)) + caplog.text


# ------------------------------------------------------------------------------------------------------------ tenants


async def test_a_run_is_on_the_account_of_the_tokens_tenant(rig: Any) -> None:
    run_id = await start(rig, "acme")
    assert (await get(rig, "acme", run_id)).tenant == "acme"
    named = await start(rig, "acme", tenant="acme")
    assert (await get(rig, "acme", named)).tenant == "acme"


@pytest.mark.parametrize("kind", ["Run", "StreamRun", "StartRun", "MapRun"])
async def test_a_tenant_that_is_not_the_tokens_is_refused_by_name(rig: Any, kind: str) -> None:
    run = request(tenant="other")
    message: Any = {
        "Run": run,
        "StreamRun": pb.StreamRunRequest(request=run),
        "StartRun": pb.StartRunRequest(request=run),
        "MapRun": iter([pb.MapRunRequest(open=pb.MapOpen(request=run))]),
    }[kind]
    refusal = await rig.refused(getattr(rig.runs, kind), message, **by("acme"))
    assert (refusal.code, refusal.reason) == (DENIED, "TENANT_DENIED")
    assert "'other'" in refusal.message
    assert rig.agents["echo"].calls == []


async def test_each_tenant_has_request_ids_of_its_own(rig: Any) -> None:
    one = await start(rig, "acme", request_id="same")
    two = await start(rig, "other", request_id="same")
    assert one != two


async def test_another_tenants_run_is_as_if_it_were_not_there(rig: Any) -> None:
    run_id = await start(rig, "acme", "holds")
    for message in (pb.GetRunRequest, pb.WatchRunRequest, pb.CancelRunRequest):
        call = getattr(rig.runs, message.__name__.removesuffix("Request"))
        theirs = await rig.refused(call, message(run_id=run_id), **by("other"))
        nobodys = await rig.refused(call, message(run_id="run_0"), **by("other"))
        assert (theirs.code, theirs.reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
        assert theirs.message.replace(run_id, "run_0") == nobodys.message
    assert (await get(rig, "acme", run_id)).state == run_pb2.STATE_RUNNING
    stopped = await rig.thread(rig.runs.CancelRun, pb.CancelRunRequest(run_id=run_id), **by("acme"))
    assert stopped.run.state == run_pb2.STATE_CANCELLED


async def test_an_admin_sees_and_stops_the_runs_of_all(rig: Any) -> None:
    one, two = await start(rig, "acme", "holds"), await start(rig, "root", "holds", tenant="other")
    listed = await rig.thread(rig.runs.ListRuns, pb.ListRunsRequest(), **by("root"))
    assert {(run.run_id, run.tenant) for run in listed.runs} == {(one, "acme"), (two, "other")}
    assert (await get(rig, "other", two)).tenant == "other"
    for run_id in (one, two):
        await rig.thread(rig.runs.CancelRun, pb.CancelRunRequest(run_id=run_id), **by("root"))


@pytest.mark.parametrize("size", [1, 2, 3, 50])
async def test_a_list_has_the_tenants_runs_in_pages_of_the_size(rig: Any, size: int) -> None:
    mine: list[str] = []
    for word in ("acme", "other", "acme", "other", "other", "acme", "acme", "other"):
        run_id = await start(rig, word)
        if word == "acme":
            mine.insert(0, run_id)
    seen: list[str] = []
    token = ""
    while True:
        page = await rig.thread(rig.runs.ListRuns, pb.ListRunsRequest(page_size=size, page_token=token), **by("acme"))
        assert len(page.runs) <= size
        seen += [run.run_id for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert seen == mine


async def test_a_streamed_run_is_stopped_by_its_tenant_alone(rig: Any) -> None:
    stream = rig.runs.StreamRun(pb.StreamRunRequest(request=request("holds")), **by("acme"))
    run_id = (await rig.thread(next, stream)).run_id
    refusal = await rig.refused(rig.runs.CancelRun, pb.CancelRunRequest(run_id=run_id), **by("other"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    await rig.thread(rig.runs.CancelRun, pb.CancelRunRequest(run_id=run_id), **by("acme"))
    assert (await rig.collect(stream))[-1].result.state == run_pb2.STATE_CANCELLED


async def test_limits_are_those_of_the_tenant(rig: Any) -> None:
    limited = request("holds", limits=plan_pb2.Limits(max_calls=5))
    run_id = (await rig.thread(rig.runs.StartRun, pb.StartRunRequest(request=limited), **by("acme"))).run_id

    async def names(word: str, tenant: str = "") -> set[str]:
        answer = await rig.thread(rig.runs.ListLimits, pb.ListLimitsRequest(tenant=tenant), **by(word))
        return {use.name for use in answer.uses if use.scope == "run"}

    assert await names("acme") == await names("root", "acme") == await names("root") == {run_id}
    assert await names("other") == set()
    refusal = await rig.refused(rig.runs.ListLimits, pb.ListLimitsRequest(tenant="acme"), **by("other"))
    assert (refusal.code, refusal.reason) == (DENIED, "TENANT_DENIED")


# ------------------------------------------------------------------------------------------- tokens that are taken away


@asynccontextmanager
async def watched(rig: Any, run_id: str, word: str) -> AsyncIterator[Any]:
    call = rig.runs.WatchRun(pb.WatchRunRequest(run_id=run_id), **by(word))
    await rig.thread(next, call)
    yield call
    call.cancel()


async def test_calls_end_with_their_token_and_background_runs_go_on(rig: Any, book: Book) -> None:
    run_id = await start(rig, "acme", "holds")
    async with watched(rig, run_id, "acme") as lost, watched(rig, run_id, "root") as kept:
        del book.callers["acme-secret"]
        assert rig.server.recheck() == 1
        refusal = await rig.refused(lambda: lost)
        assert (refusal.code, refusal.reason) == (UNKNOWN, "TOKEN_INVALID")
        assert (await get(rig, "root", run_id)).state == run_pb2.STATE_RUNNING
        rig.held.release.set()
        assert (await rig.collect(kept))[-1].result.state == run_pb2.STATE_SUCCEEDED


async def test_a_token_that_is_given_to_another_tenant_ends_its_calls(rig: Any, book: Book) -> None:
    run_id = await start(rig, "acme", "holds")
    async with watched(rig, run_id, "acme") as lost:
        book.callers["acme-secret"] = WORDS["other-secret"]
        assert rig.server.recheck() == 1
        assert (await rig.refused(lambda: lost)).code is UNKNOWN


async def test_a_token_that_gains_rights_ends_nothing(rig: Any, book: Book) -> None:
    run_id = await start(rig, "acme", "holds")
    async with watched(rig, run_id, "acme") as kept:
        book.callers["acme-secret"] = Caller(name="acme", tenant="acme", rights=frozenset(Right))
        assert rig.server.recheck() == 0
        rig.held.release.set()
        assert (await rig.collect(kept))[-1].result.state == run_pb2.STATE_SUCCEEDED


async def test_a_call_that_held_its_request_back_is_asked_for_its_token_again(rig: Any, book: Book) -> None:
    go_on = threading.Event()

    def held_back() -> Iterator[bytes]:
        go_on.wait(30)
        yield request().SerializeToString()

    # For the wire a unary call is a stream of one message.
    call = rig.channel.stream_unary("/motet.v1.RunService/Run").future(held_back(), **by("acme"))
    await rig.until(lambda: book.asked)
    del book.callers["acme-secret"]
    assert rig.server.recheck() == 0
    go_on.set()
    refusal = await rig.refused(call.result)
    assert (refusal.code, refusal.reason) == (UNKNOWN, "TOKEN_INVALID")
    assert rig.agents["echo"].calls == []


async def test_without_tokens_tenants_are_trusted_as_given(rigs: Callable[..., Any]) -> None:
    async with rigs() as rig:
        message = pb.StartRunRequest(request=request(tenant="any"))
        run_id = (await rig.thread(rig.runs.StartRun, message, timeout=30)).run_id
        assert (await get(rig, "nobody", run_id)).tenant == "any"
        assert rig.server.recheck() == 0
