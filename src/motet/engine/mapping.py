"""One plan over a stream of inputs, with bounded memory both ways: an input is read only when there is room to run it,
and there is room again only when an answer has been taken."""

from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import trio

from motet.errors import InvalidRequest, MotetError, Unavailable, Violation
from motet.model.outcome import Failure
from motet.model.payload import Payload
from motet.model.result import RunResult
from motet.model.run import RunRequest
from motet.model.state import State

if TYPE_CHECKING:
    from motet.engine.engine import Engine

CLOSE_PATIENCE: Final = 5.0
"""Seconds for the caller's iterator to clean up."""


@dataclass(frozen=True, slots=True)
class MapInput:
    """One input of a map."""

    payload: Payload
    id: str = ""
    """The caller's name for it, given back with the answer."""
    variables: Mapping[str, Payload] = field(default_factory=dict)
    """Added to the request's; on the same name these win."""


@dataclass(frozen=True, slots=True)
class MapResult:
    """The answer to one input."""

    index: int
    """The input's place in the stream, from 0."""
    id: str
    result: RunResult


class MapStream:
    """The answers, each when its run ends. Leaving the context stops what runs, waits for the receipts and closes the
    iterator of the inputs."""

    def __init__(
        self, engine: "Engine", request: RunRequest, inputs: AsyncIterable[MapInput], max_in_flight: int
    ) -> None:
        self._engine = engine
        self._request = request
        self._iterator = aiter(inputs)
        self._room = trio.Semaphore(max_in_flight)
        self._send, self._receive = trio.open_memory_channel[MapResult](0)
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._away = engine.away()
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint_if_cancelled()
        # The runs are in a task of the engine's: the caller's deadline has to be carried over for members to see it.
        self._scope.deadline = trio.current_effective_deadline()
        self._away.go()
        self._engine.nursery.start_soon(self._feed, name="motet map")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.cancel()
        # Bounded: each run that is cancelled here detaches members that do not stop within the grace.
        with self._away.bounded(), trio.CancelScope(shield=True):
            await self._done.wait()
        self._receive.close()
        await self._away.back()  # noqa: ASYNC102 - waiting for width is cancellable, as everywhere

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MapResult:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None

    async def _feed(self) -> None:
        try:
            with self._scope, self._send:
                async with trio.open_nursery() as nursery:
                    try:
                        index = 0
                        await self._room.acquire()
                        async for item in self._iterator:
                            _check(item)
                            if self._engine.draining:
                                message = "the engine drains and takes no new inputs; those before are being answered"
                                raise Unavailable(message)  # noqa: TRY301 - one way out for all that ends the inputs
                            nursery.start_soon(self._answer, index, item)
                            index += 1
                            await self._room.acquire()
                    except Exception as error:  # noqa: BLE001 - the caller's own iterator; raised to the caller below
                        self._error = error
        finally:
            await self._close_inputs()  # noqa: ASYNC102 - shielded and bounded inside
            self._done.set()

    async def _close_inputs(self) -> None:
        """An iterator that is left half way would be cleaned up at some later time by the garbage collector."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            with trio.move_on_after(CLOSE_PATIENCE, shield=True):
                await close()

    async def _answer(self, index: int, item: MapInput) -> None:
        request = replace(
            self._request, input=item.payload, variables={**self._request.variables, **item.variables}, request_id=""
        )
        try:
            result = await self._engine.run_again(request)
        except MotetError as error:
            result = _refused(error)
        await self._send.send(MapResult(index, item.id, result))
        self._room.release()


def _check(item: object) -> None:
    if not isinstance(item, MapInput):
        message = f"gave a {type(item).__name__}; each input is a MapInput"
        raise InvalidRequest([Violation("inputs", message)])


def _refused(error: MotetError) -> RunResult:
    """An input that cannot be run is an answer of its own; the inputs after it still run."""
    failure = Failure(error.reason, error.message, error.details)
    return RunResult(run_id="", state=State.FAILED, failure=failure, started_at=datetime.now(UTC))
