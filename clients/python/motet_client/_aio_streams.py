"""Streams for asyncio programs: the events of a run, the answers of a map."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self

import grpc

from motet_client._async_door import Closing
from motet_client._errors import MotetClientError
from motet_client._event import Event
from motet_client._follow import Answers, Follow
from motet_client._info import MapResult
from motet_client._requests import map_input
from motet_client._result import RunResult
from motet_client._status import error_from
from motet_client._wire_results import from_map
from motet_proto.v1 import run_service_pb2 as pb


class RunStream(Closing):
    """The events of one run. Iterate it once, in one task; use it in an `async with` block, or call `close`."""

    def __init__(self, follow: Follow, open_call: Callable[[Any], Any], *, eager: bool = False) -> None:
        self._follow = follow
        self._open = open_call
        self._eager = eager
        self._call: Any = None
        self._waiting: deque[Event] = deque()
        self._stopped = asyncio.Event()

    @property
    def run_id(self) -> str:
        """Known inside the `async with` block of a stream, and always of a watch."""
        return self._follow.run_id

    @property
    def result(self) -> RunResult | None:
        """Set once the last event has been seen; None after `cancel` or `close`."""
        return self._follow.result

    def cancel(self) -> None:
        """End the iteration. The run of a `stream` is cancelled; that of a `watch` goes on."""
        self._stopped.set()
        if self._call is not None:
            self._call.cancel()

    def close(self) -> None:
        """The same as `cancel`."""
        self.cancel()

    async def __aenter__(self) -> Self:
        if self._eager:
            # The first message brings the run's id, or the reason why there is no run.
            await self._fill()
        return self

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._stopped.is_set():
                raise StopAsyncIteration
            await self._fill()
        return self._waiting.popleft()

    async def _fill(self) -> None:
        try:
            delay = await self._step()
            if delay is not None:
                await _wait(self._stopped, delay)
        except BaseException:
            # Also for a cancelled task: whoever leaves here must not leave the call behind.
            self.cancel()
            raise

    async def _step(self) -> float | None:
        """Read one message. Returns seconds to wait before the next step, None to go on at once."""
        if self._call is None:
            self._call = self._open(self._follow.request())
        try:
            response = await _read(self._call)
            if response is _CANCELLED:
                self._stopped.set()
                return None
            if response is not None:
                self._waiting.extend(self._follow.take(response))
                return None
            delay = self._follow.ended()
        except grpc.RpcError as error:
            delay = self._follow.broken(error_from(error))
        except MotetClientError as error:
            delay = self._follow.broken(error)
        self._call.cancel()
        self._call = None
        if delay is None:
            self._stopped.set()
        return delay


class MapStream(Closing):
    """The answers of a map, as runs end. Iterate it once; use it in an `async with` block, or call `close`."""

    def __init__(
        self,
        opening: pb.MapRunRequest,
        inputs: AsyncIterable[object] | Iterable[object],
        window: int,
        open_call: Callable[[Any], Any],
    ) -> None:
        self._opening = opening
        self._inputs = aiter(inputs) if isinstance(inputs, AsyncIterable) else _Steps(inputs)
        self._window = asyncio.Semaphore(window)
        self._open = open_call
        self._answers = Answers()
        self._failure: Exception | None = None
        self._call: Any = None
        self._closed = False

    def close(self) -> None:
        """Cancel the runs in flight and take no more inputs."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()

    def __aiter__(self) -> AsyncIterator[MapResult]:
        return self

    async def __anext__(self) -> MapResult:
        if self._closed:
            raise StopAsyncIteration
        if self._call is None:
            self._call = self._open(_Requests(self._opening, self._next_request))
        try:
            response = await _read(self._call)
        except grpc.RpcError as error:
            self.close()
            raise self._failure or error_from(error) from error
        if response is None or response is _CANCELLED:
            self.close()
            if self._failure is not None:
                raise self._failure
            if response is None:
                self._answers.ended()
            raise StopAsyncIteration
        self._answers.received += 1
        self._window.release()
        return from_map(response)

    async def _next_request(self) -> pb.MapRunRequest:
        """Runs in a task of grpc, which can only log an exception: it is kept for the reader instead."""
        await self._window.acquire()
        try:
            message = map_input(await anext(self._inputs), self._answers.sent)
        except StopAsyncIteration:
            self._answers.closed = True
            raise
        except Exception as error:
            self._failure = error
            self._call.cancel()
            raise StopAsyncIteration from error
        self._answers.sent += 1
        return message


class _Requests:
    """The messages of a map: the opening, then what `following` gives."""

    def __init__(self, opening: pb.MapRunRequest, following: Callable[[], Awaitable[pb.MapRunRequest]]) -> None:
        self._opening: pb.MapRunRequest | None = opening
        self._following = following

    def __aiter__(self) -> AsyncIterator[pb.MapRunRequest]:
        return self

    async def __anext__(self) -> pb.MapRunRequest:
        opening, self._opening = self._opening, None
        return opening if opening is not None else await self._following()


class _Steps:
    """A plain iterable as an asynchronous one."""

    def __init__(self, values: Iterable[object]) -> None:
        self._values = iter(values)

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        for value in self._values:
            return value
        raise StopAsyncIteration


_CANCELLED: Final = object()
"""In place of a message: the call was cancelled here."""


async def _read(call: Any) -> Any:
    """The next message, None at the end of the stream, or _CANCELLED. Raises grpc.RpcError."""
    with _TaskGoesOn():
        response = await call.read()
        return None if response is grpc.aio.EOF else response
    return _CANCELLED


class _TaskGoesOn:
    """Tells the two meanings of CancelledError apart: grpc.aio raises it for a cancelled call as for a cancelled task,
    and only the second may leave the stream."""

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task = asyncio.current_task()
        return kind is asyncio.CancelledError and task is not None and not task.cancelling()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
