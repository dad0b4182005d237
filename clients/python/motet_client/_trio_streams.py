"""Streams for trio programs: the events of a run, and the answers of a map."""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from queue import SimpleQueue
from typing import Any, Self

import grpc
import trio

from motet_client._async_door import Closing
from motet_client._errors import MotetClientError
from motet_client._event import Event
from motet_client._follow import Answers, Follow
from motet_client._info import MapResult
from motet_client._requests import map_input
from motet_client._result import RunResult
from motet_client._status import error_from
from motet_client._trio_calls import read
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
        self._stopped = trio.Event()

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
                with trio.move_on_after(delay):
                    await self._stopped.wait()
        except BaseException:
            # Also for a cancelled scope: whoever leaves here must not leave the call behind.
            self.cancel()
            raise

    async def _step(self) -> float | None:
        """Read one message. Returns seconds to wait before the next step, None to go on at once."""
        if self._call is None:
            self._call = self._open(self._follow.request())
        try:
            response = await read(self._call)
            if response is not None:
                self._waiting.extend(self._follow.take(response))
                return None
            delay = self._follow.ended()
        except grpc.RpcError as error:
            if self._stopped.is_set():
                return None
            delay = self._follow.broken(error_from(error))
        except MotetClientError as error:
            delay = self._follow.broken(error)
        self._call.cancel()
        self._call = None
        if delay is None:
            self._stopped.set()
        return delay


class MapStream:
    """The answers of a map, as runs end. Iterate it once, inside its block."""

    def __init__(self, opening: pb.MapRunRequest, window: int, open_call: Callable[[Any], Any]) -> None:
        self._window = trio.Semaphore(window)
        self._messages: SimpleQueue[pb.MapRunRequest | None] = SimpleQueue()
        self._messages.put(opening)
        self._answers = Answers()
        self._failure: Exception | None = None
        self._closed = False
        # grpc takes the messages in a thread of its own, which waits in the queue; None lets it go.
        self._call = open_call(iter(self._messages.get, None))

    def close(self) -> None:
        """Cancel the runs in flight and take no more inputs."""
        self._closed = True
        self._messages.put(None)
        self._call.cancel()

    async def feed(self, inputs: AsyncIterable[object] | Iterable[object]) -> None:
        """Send the inputs as answers make room. What goes wrong with one is kept for the reader."""
        try:
            if isinstance(inputs, AsyncIterable):
                await self._window.acquire()
                async for given in inputs:
                    self._send(given)
                    await self._window.acquire()
            else:
                for given in inputs:
                    await self._window.acquire()
                    self._send(given)
        except Exception as error:  # noqa: BLE001 - whatever the caller's iterable raises is the caller's to see
            self._failure = error
            self._call.cancel()
        else:
            self._answers.closed = True
        finally:
            self._messages.put(None)

    def _send(self, given: object) -> None:
        self._messages.put(map_input(given, self._answers.sent))
        self._answers.sent += 1

    def __aiter__(self) -> AsyncIterator[MapResult]:
        return self

    async def __anext__(self) -> MapResult:
        if self._closed:
            raise StopAsyncIteration
        try:
            response = await read(self._call)
        except grpc.RpcError as error:
            stopped = self._closed
            self.close()
            if stopped:
                raise StopAsyncIteration from None
            if self._failure is not None:
                raise self._failure from None
            raise error_from(error) from error
        if response is None:
            self.close()
            self._answers.ended()
            raise StopAsyncIteration
        self._answers.received += 1
        self._window.release()
        return from_map(response)
