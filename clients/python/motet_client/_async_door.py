"""What the asyncio and the trio door have in common: everything but how a call is awaited and a stream is read."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack

from motet_client import _health as health
from motet_client import _requests as requests
from motet_client._errors import Unavailable
from motet_client._follow import Pages
from motet_client._info import AgentInfo, AggregationInfo, GroupInfo, LimitsInUse, RunInfo, Started
from motet_client._plan import Plan
from motet_client._result import RunResult, State
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


class AsyncDoor(ABC):
    """The calls that have one answer, for every kind of event loop."""

    def __init__(self, settings: requests.Settings, channel: Any) -> None:
        self._settings = settings
        self._channel = channel
        self._runs: Any = RunServiceStub(channel)
        self._catalog: Any = CatalogServiceStub(channel)

    @abstractmethod
    async def _unary(self, method: Any, request: Any, deadline: float | None) -> Any:
        """The answer of one call. Raises MotetClientError; cancels the call when the task is cancelled."""

    @abstractmethod
    async def _sleep(self, seconds: float) -> None: ...

    @abstractmethod
    async def close(self) -> None:
        """Cancel what is open and let the connection go."""

    async def run(self, target: Plan | str, input: object = "", **options: Unpack[requests.RunOptions]) -> RunResult:
        """Run to the end. `target` is a plan or the name of a group; `input` a str, bytes, a Payload or any JSON value.

        Returns a result also when members failed. A cancelled task cancels the run on the server.
        """
        request, deadline = self._settings.run(target, input, options)
        answer = await self._repeat(self._runs.Run, request, deadline, safe=bool(request.request_id))
        return from_result(answer.result)

    async def start(self, target: Plan | str, input: object = "", **options: Unpack[requests.RunOptions]) -> Started:
        """Start a run in the background; `timeout` bounds the run, `deadline` this call."""
        request, deadline = requests.make_run(target, input, **options)
        asked, bound = pb.StartRunRequest(request=request), self._settings.deadline(deadline)
        started = await self._repeat(self._runs.StartRun, asked, bound, safe=bool(request.request_id))
        return Started(started.run_id, started.existing)

    async def get(self, run_id: str) -> RunInfo:
        """Where a background run stands, with its result once it has ended."""
        return from_run((await self._read(self._runs.GetRun, pb.GetRunRequest(run_id=run_id))).run)

    def list_runs(
        self, *, states: Iterable[State | str] = (), labels: Mapping[str, str] | None = None, page_size: int = 0
    ) -> AsyncIterator[RunInfo]:
        """Background runs, newest first, without results; pages of `page_size` (0: the server's choice) are fetched as
        they are needed."""
        return RunPages(
            Pages(requests.list_request(states, labels, page_size)), partial(self._read, self._runs.ListRuns)
        )

    async def cancel(self, run_id: str) -> RunInfo:
        """Stop a background run, and wait for its result with the stop receipts."""
        answer = await self._unary(self._runs.CancelRun, pb.CancelRunRequest(run_id=run_id), self._settings.deadline())
        return from_run(answer.run)

    async def agents(self) -> list[AgentInfo]:
        """All agents of the catalog, by name."""
        return [
            from_agent(each)
            for each in (await self._read(self._catalog.ListAgents, catalog.ListAgentsRequest())).agents
        ]

    async def agent(self, name: str) -> AgentInfo:
        return from_agent((await self._read(self._catalog.GetAgent, catalog.GetAgentRequest(name=name))).agent)

    async def groups(self) -> list[GroupInfo]:
        """All groups of the catalog, by name."""
        answer = await self._read(self._catalog.ListGroups, catalog.ListGroupsRequest())
        return [from_group_info(each) for each in answer.groups]

    async def group(self, name: str) -> GroupInfo:
        return from_group_info((await self._read(self._catalog.GetGroup, catalog.GetGroupRequest(name=name))).group)

    async def aggregations(self) -> list[AggregationInfo]:
        """All rules that a group may name."""
        answer = await self._read(self._catalog.ListAggregations, catalog.ListAggregationsRequest())
        return [from_aggregation(each) for each in answer.aggregations]

    async def limits(self, tenant: str = "") -> LimitsInUse:
        """What is in use of every limit now; with a tenant, only of its own and its runs'."""
        return from_limits(await self._read(self._runs.ListLimits, requests.limits_request(tenant)))

    async def health(self, service: str = "") -> str:
        """SERVING, NOT_SERVING or UNKNOWN; of one service by its full name, or of the whole server."""
        return str(await self._unary(health.method(self._channel), service, self._settings.deadline()))

    def _opener(self, method: Any, deadline: float | None) -> Callable[[Any], Any]:
        return lambda message: method(message, timeout=deadline, metadata=self._settings.metadata)

    async def _read(self, method: Any, request: Any) -> Any:
        return await self._repeat(method, request, self._settings.deadline())

    async def _repeat(self, method: Any, request: Any, deadline: float | None, *, safe: bool = True) -> Any:
        """A call that is made again when it met UNAVAILABLE, where that is safe; all tries share the deadline."""
        tries = requests.Tries(deadline, safe=safe)
        while True:
            try:
                return await self._unary(method, request, tries.deadline())
            except Unavailable as error:
                pause = tries.wait(error)
            await self._sleep(pause)


class RunPages:
    """The runs of a list; pages are fetched as they are needed."""

    def __init__(self, pages: Pages, fetch: Callable[[pb.ListRunsRequest], Awaitable[pb.ListRunsResponse]]) -> None:
        self._pages = pages
        self._fetch = fetch

    def __aiter__(self) -> AsyncIterator[RunInfo]:
        return self

    async def __anext__(self) -> RunInfo:
        while not self._pages.over:
            run = self._pages.next()
            if run is not None:
                return run
            self._pages.take(await self._fetch(self._pages.request))
        raise StopAsyncIteration


class Closing(ABC):
    """An `async with` block at whose end the stream is closed."""

    @abstractmethod
    def close(self) -> None:
        """Cancel the call."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
