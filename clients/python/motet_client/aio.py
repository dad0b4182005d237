"""The front door for asyncio programs: `async with motet_client.aio.Client(...) as client`."""

import asyncio
from collections.abc import AsyncIterable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from motet_client import _requests as requests
from motet_client._aio_streams import MapStream, RunStream
from motet_client._async_door import AsyncDoor
from motet_client._follow import Follow, Resume
from motet_client._plan import Plan
from motet_client._security import Tls
from motet_client._status import error_from
from motet_proto.v1 import run_service_pb2 as pb

__all__ = ["Client", "MapStream", "RunStream"]


class Client(AsyncDoor):
    """A connection to a Motet server, made when it is first used. Make it inside a running loop, and use it in an
    `async with` block or call `close`.

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
        given = requests.Settings.make(target, timeout, metadata, options, credentials, tls=tls, token=token)
        channel = (
            grpc.aio.insecure_channel(given.target, given.options)
            if given.credentials is None
            else grpc.aio.secure_channel(given.target, given.credentials, given.options)
        )
        super().__init__(given, channel)

    def stream(self, target: Plan | str, input: object = "", **options: Unpack[requests.RunOptions]) -> RunStream:
        """Run and see the events as they happen: `async with client.stream(...) as run: async for event in run: ...`,
        then `run.result`. Leaving the block early cancels the run."""
        request, deadline = self._settings.run(target, input, options)
        follow = Follow(lambda _: pb.StreamRunRequest(request=request))
        return RunStream(follow, self._opener(self._runs.StreamRun, deadline), eager=True)

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
        inputs: AsyncIterable[object] | Iterable[object],
        *,
        max_in_flight: int = 16,
        **options: Unpack[requests.MapOptions],
    ) -> MapStream:
        """One run for each input; answers come as runs end. `options` hold for each run, but `deadline` for the whole.

        Inputs are taken in another task, at most 2 * `max_in_flight` ahead of the answers that were read.
        """
        opening, deadline = self._settings.map(target, max_in_flight, options)
        return MapStream(opening, inputs, 2 * max_in_flight, self._opener(self._runs.MapRun, deadline))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel what is open and let the connection go."""
        await self._channel.close()

    async def _unary(self, method: Any, request: Any, deadline: float | None) -> Any:
        try:
            return await method(request, timeout=deadline, metadata=self._settings.metadata)
        except grpc.RpcError as error:
            raise error_from(error) from error

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
