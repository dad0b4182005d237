"""The front door for programs without an event loop. Thread-safe: one client serves any number of threads."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from motet_client import _health as health
from motet_client import _requests as requests
from motet_client._errors import Unavailable
from motet_client._follow import Follow, Pages, Resume
from motet_client._info import AgentInfo, AggregationInfo, GroupInfo, LimitsInUse, RunInfo, Started
from motet_client._plan import Plan
from motet_client._result import RunResult, State
from motet_client._security import Tls
from motet_client._status import error_from
from motet_client._sync_streams import MapStream, RunStream
from motet_client._wire_results import (
    from_agent,
    from_aggregation,
    from_group_info,
    from_limits,
    from_result,
    from_run,
)
from motet_proto.v1 import catalog_service_pb2 as catalog
from motet_proto.v1 import run_service_pb2 as pb
from motet_proto.v1.catalog_service_pb2_grpc import CatalogServiceStub
from motet_proto.v1.run_service_pb2_grpc import RunServiceStub


class Client:
    """A connection to a Motet server, made when it is first used. Use it in a `with` block, or call `close`.

    `timeout` is in seconds, for runs and calls that have no bound of their own. `metadata` goes with each call;
    `options` are gRPC channel arguments by name. `tls` is a `Tls`, or True for TLS with the authorities that gRPC knows, or
    else gRPC's own `credentials`; `token` is sent with each call as `authorization: Bearer`. Every method raises `MotetClientError`. Nothing is repeated by itself
    but what met UNAVAILABLE and may be asked twice, up to three tries: reads (`get`, `list_runs`, `limits`, the catalog) and
    `run` and `start` with a request_id; and a watch, which resumes.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = None,
        metadata: requests.GivenMetadata | None = None,
        options: Mapping[str, Any] | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        tls: Tls | bool | None = None,
        token: str | None = None,
    ) -> None:
        self._settings = given = requests.Settings.make(
            target, timeout, metadata, options, credentials, tls=tls, token=token
        )
        self._channel = (
            grpc.insecure_channel(given.target, given.options)
            if given.credentials is None
            else grpc.secure_channel(given.target, given.credentials, given.options)
        )
        self._runs = RunServiceStub(self._channel)
        self._catalog = CatalogServiceStub(self._channel)

    def run(self, target: Plan | str, input: object = "", **options: Unpack[requests.RunOptions]) -> RunResult:
        """Run to the end. `target` is a plan or the name of a group; `input` a str, bytes, a Payload or any JSON value.

        Returns a result also when members failed. An interrupt (Ctrl-C) cancels the run on the server.
        """
        request, deadline = self._settings.run(target, input, options)
        return from_result(self._repeat(self._runs.Run, request, deadline, safe=bool(request.request_id)).result)

    def stream(self, target: Plan | str, input: object = "", **options: Unpack[requests.RunOptions]) -> RunStream:
        """Run and see the events as they happen: `with client.stream(...) as run: for event in run: ...`, then
        `run.result`. Leaving the block early cancels the run."""
        request, deadline = self._settings.run(target, input, options)
        follow = Follow(lambda _: pb.StreamRunRequest(request=request))
        return RunStream(follow, self._opener(self._runs.StreamRun, deadline), eager=True)

    def start(self, target: Plan | str, input: object = "", **options: Unpack[requests.RunOptions]) -> Started:
        """Start a run in the background; `timeout` bounds the run, `deadline` this call."""
        request, deadline = requests.make_run(target, input, **options)
        asked, bound = pb.StartRunRequest(request=request), self._settings.deadline(deadline)
        started = self._repeat(self._runs.StartRun, asked, bound, safe=bool(request.request_id))
        return Started(started.run_id, started.existing)

    def get(self, run_id: str) -> RunInfo:
        """Where a background run stands, with its result once it has ended."""
        return from_run(self._read(self._runs.GetRun, pb.GetRunRequest(run_id=run_id)).run)

    def list_runs(
        self, *, states: Iterable[State | str] = (), labels: Mapping[str, str] | None = None, page_size: int = 0
    ) -> Iterator[RunInfo]:
        """Background runs, newest first, without results; pages of `page_size` (0: the server's choice) are fetched as
        they are needed."""
        return self._pages(Pages(requests.list_request(states, labels, page_size)))

    def cancel(self, run_id: str) -> RunInfo:
        """Stop a background run, and wait for its result with the stop receipts."""
        answer = self._unary(self._runs.CancelRun, pb.CancelRunRequest(run_id=run_id), self._settings.deadline())
        return from_run(answer.run)

    def watch(
        self, run_id: str, after_sequence: int = 0, resume: bool | Resume = True, *, deadline: float | None = None
    ) -> RunStream:
        """A background run's events after a cursor, then live to its end. A broken connection is made again from the
        last event seen, so that none comes twice and none is missing. Leaving early does not stop the run."""
        follow = Follow.watch(run_id, after_sequence, resume)
        return RunStream(follow, self._opener(self._runs.WatchRun, deadline))

    def map(
        self,
        target: Plan | str,
        inputs: Iterable[object],
        *,
        max_in_flight: int = 16,
        **options: Unpack[requests.MapOptions],
    ) -> MapStream:
        """One run for each input; answers come as runs end. `options` hold for each run, but `deadline` for the whole.

        Inputs are taken in another thread, at most 2 * `max_in_flight` ahead of the answers that were read.
        """
        opening, deadline = self._settings.map(target, max_in_flight, options)
        open_call = self._opener(self._runs.MapRun, deadline)
        return MapStream(opening, inputs, 2 * max_in_flight, open_call)

    def agents(self) -> list[AgentInfo]:
        """All agents of the catalog, by name."""
        return [from_agent(each) for each in self._read(self._catalog.ListAgents, catalog.ListAgentsRequest()).agents]

    def agent(self, name: str) -> AgentInfo:
        return from_agent(self._read(self._catalog.GetAgent, catalog.GetAgentRequest(name=name)).agent)

    def groups(self) -> list[GroupInfo]:
        """All groups of the catalog, by name."""
        answer = self._read(self._catalog.ListGroups, catalog.ListGroupsRequest())
        return [from_group_info(each) for each in answer.groups]

    def group(self, name: str) -> GroupInfo:
        return from_group_info(self._read(self._catalog.GetGroup, catalog.GetGroupRequest(name=name)).group)

    def aggregations(self) -> list[AggregationInfo]:
        """All rules that a group may name."""
        answer = self._read(self._catalog.ListAggregations, catalog.ListAggregationsRequest())
        return [from_aggregation(each) for each in answer.aggregations]

    def limits(self, tenant: str = "") -> LimitsInUse:
        """What is in use of every limit now; with a tenant, only of its own and its runs'."""
        return from_limits(self._read(self._runs.ListLimits, requests.limits_request(tenant)))

    def health(self, service: str = "") -> str:
        """SERVING, NOT_SERVING or UNKNOWN; of one service by its full name, or of the whole server."""
        return str(self._unary(health.method(self._channel), service, self._settings.deadline()))

    def close(self) -> None:
        """Cancel what is open and let the connection go."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opener(self, method: Any, deadline: float | None) -> Callable[[Any], Any]:
        return lambda message: method(message, timeout=deadline, metadata=self._settings.metadata)

    def _unary(self, method: Any, request: Any, deadline: float | None) -> Any:
        call = method.future(request, timeout=deadline, metadata=self._settings.metadata)
        try:
            return call.result()
        except grpc.RpcError as error:
            raise error_from(error) from error
        finally:
            # Without effect once the call has ended; an interrupt must not leave it running.
            call.cancel()

    def _read(self, method: Any, request: Any) -> Any:
        return self._repeat(method, request, self._settings.deadline())

    def _repeat(self, method: Any, request: Any, deadline: float | None, *, safe: bool = True) -> Any:
        """A call that is made again when it met UNAVAILABLE, where that is safe; all tries share the deadline."""
        tries = requests.Tries(deadline, safe=safe)
        while True:
            try:
                return self._unary(method, request, tries.deadline())
            except Unavailable as error:
                time.sleep(tries.wait(error))

    def _pages(self, pages: Pages) -> Iterator[RunInfo]:
        while not pages.over:
            run = pages.next()
            if run is None:
                pages.take(self._read(self._runs.ListRuns, pages.request))
            else:
                yield run
