"""The front door for trio programs: `async with motet_client.trio.Client(...) as client`. Needs the extra `trio`."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
import trio

from motet_client import _requests as requests
from motet_client._async_door import AsyncDoor
from motet_client._follow import Follow, Resume
from motet_client._plan import Plan
from motet_client._security import Tls
from motet_client._trio_calls import unary
from motet_client._trio_streams import MapStream, RunStream
from motet_proto.v1 import run_service_pb2 as pb

__all__ = ["Client", "MapStream", "RunStream"]


class Client(AsyncDoor):
    """A connection to a Motet server, made when it is first used. Use it in an `async with` block, or call `close`.

    `timeout` is in seconds, for runs and calls that have no bound of their own. `metadata` goes with each call;
    `options` are gRPC channel arguments by name. `tls` is a `Tls`, or True for TLS with the authorities that gRPC knows, or
    else gRPC's own `credentials`; `token` is sent with each call as `authorization: Bearer`. Every method raises `MotetClientError`. Nothing is repeated by itself
    but what met UNAVAILABLE and may be asked twice, up to three tries: reads (`get`, `list_runs`, `limits`, the catalog) and
    `run` and `start` with a request_id; and a watch, which resumes.
    A cancelled scope cancels its calls, and waits until they have ended. A stream that is waited for holds a thread.
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
            grpc.insecure_channel(given.target, given.options)
            if given.credentials is None
            else grpc.secure_channel(given.target, given.credentials, given.options)
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

    @asynccontextmanager
    async def map(
        self,
        target: Plan | str,
        inputs: AsyncIterable[object] | Iterable[object],
        *,
        max_in_flight: int = 16,
        **options: Unpack[requests.MapOptions],
    ) -> AsyncIterator[MapStream]:
        """One run for each input: `async with client.map(...) as answers: async for answer in answers: ...`. Answers
        come as runs end. `options` hold for each run, but `deadline` for the whole.

        Inputs are taken in a task of the block's own, at most 2 * `max_in_flight` ahead of the answers that were read.
        Leaving the block early cancels the runs in flight.
        """
        opening, deadline = self._settings.map(target, max_in_flight, options)
        answers = MapStream(opening, 2 * max_in_flight, self._opener(self._runs.MapRun, deadline))
        raised: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answers.feed, inputs)
                try:
                    yield answers
                except BaseException as error:
                    raised = error
                    raise
                finally:
                    answers.close()
                    nursery.cancel_scope.cancel()
        except BaseExceptionGroup:
            # The feeding task raises nothing of its own, so that the caller gets back what the block raised.
            if raised is None:
                raise
            raise raised from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    async def close(self) -> None:
        """Cancel what is open and let the connection go."""
        self._channel.close()
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _unary(self, method: Any, request: Any, deadline: float | None) -> Any:
        return await unary(method, request, deadline, self._settings.metadata)

    async def _sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
