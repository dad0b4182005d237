"""Streams for programs without an event loop: the events of a run, and the answers of a map."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from motet_client._errors import MotetClientError
from motet_client._event import Event
from motet_client._follow import Answers, Follow
from motet_client._info import MapResult
from motet_client._requests import map_input
from motet_client._result import RunResult
from motet_client._status import error_from
from motet_client._wire_results import from_map
from motet_proto.v1 import run_service_pb2 as pb


class RunStream:
    """The events of one run. Iterate it once, in one thread; use it in a `with` block, or call `close`."""

    def __init__(self, follow: Follow, open_call: Callable[[Any], Any], *, eager: bool = False) -> None:
        self._follow = follow
        self._open = open_call
        self._eager = eager
        self._call: Any = None
        self._waiting: deque[Event] = deque()
        self._stopped = threading.Event()

    @property
    def run_id(self) -> str:
        """Known inside the `with` block of a stream, and always of a watch."""
        return self._follow.run_id

    @property
    def result(self) -> RunResult | None:
        """Set once the last event has been seen; None after `cancel` or `close`."""
        return self._follow.result

    def cancel(self) -> None:
        """End the iteration, from any thread. The run of a `stream` is cancelled; that of a `watch` goes on."""
        self._stopped.set()
        if self._call is not None:
            self._call.cancel()

    close = cancel

    def __enter__(self) -> Self:
        if self._eager:
            # The first message brings the run's id, or the reason why there is no run.
            self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while not self._waiting:
            if self._stopped.is_set():
                raise StopIteration
            self._fill()
        return self._waiting.popleft()

    def _fill(self) -> None:
        try:
            delay = self._step()
        except BaseException:
            # Also for an interrupt: whoever leaves here must not leave the call behind.
            self.cancel()
            raise
        if delay is not None:
            self._stopped.wait(delay)

    def _step(self) -> float | None:
        """Read one message. Returns seconds to wait before the next step, None to go on at once."""
        if self._call is None:
            self._call = self._open(self._follow.request())
            if self._stopped.is_set():
                self._call.cancel()
        try:
            response = next(self._call, None)
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
    """The answers of a map, as runs end. Iterate it once; use it in a `with` block, or call `close`."""

    def __init__(
        self, opening: pb.MapRunRequest, inputs: Iterable[object], window: int, open_call: Callable[[Any], Any]
    ) -> None:
        self._opening = opening
        self._inputs = inputs
        self._window = threading.Semaphore(window)
        self._open = open_call
        self._answers = Answers()
        self._failure: BaseException | None = None
        self._call: Any = None
        self._closed = False

    def close(self) -> None:
        """Cancel the runs in flight and take no more inputs."""
        self._closed = True
        self._window.release()
        if self._call is not None:
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[MapResult]:
        return self

    def __next__(self) -> MapResult:
        if self._closed:
            raise StopIteration
        if self._call is None:
            self._call = self._open(self._requests())
        try:
            response = next(self._call)
        except StopIteration:
            self.close()
            self._answers.ended()
            raise
        except grpc.RpcError as error:
            self.close()
            if self._failure is not None:
                raise self._failure from None
            raise error_from(error) from error
        except BaseException:
            self.close()
            raise
        self._answers.received += 1
        self._window.release()
        return from_map(response)

    def _requests(self) -> Iterator[pb.MapRunRequest]:
        """Runs in a thread of grpc, which can only log an exception: it is kept for the reader instead."""
        yield self._opening
        try:
            for index, given in enumerate(self._inputs):
                self._window.acquire()
                if self._closed:
                    return
                message = map_input(given, index)
                self._answers.sent += 1
                yield message
        except Exception as error:  # noqa: BLE001 - whatever the caller's iterable raises is the caller's to see
            self._failure = error
            self._call.cancel()
        else:
            self._answers.closed = True
