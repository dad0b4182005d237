"""MapRun: one run for each input of a stream, with bounded memory both ways. An input that is refused ends the intake:
what runs already is answered, then the stream ends with the error."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Self

from motet.engine.mapping import MapInput
from motet.errors import InvalidRequest, MotetError, Violation
from motet_proto.v1 import run_service_pb2 as pb
from motet_server import wire
from motet_server.rpc import RpcContext, Send
from motet_server.services.gate import Gate, draining
from motet_server.services.intake import Intake, within, write_result

if TYPE_CHECKING:
    from motet.engine.engine import Engine

DEFAULT_IN_FLIGHT = 16
"""Runs at once when the request does not say."""


class MapService:
    """The handler of MapRun."""

    def __init__(self, engine: "Engine", gate: Gate, intake: Intake) -> None:
        self._engine = engine
        self._gate = gate
        self._intake = intake

    async def map_run(self, requests: AsyncIterator[pb.MapRunRequest], context: RpcContext, send: Send) -> None:
        with self._gate.work():
            opening = await self._opening(requests)
            request = await self._intake.read(opening, opening.open.request, context)
            _refuse_own_input(opening.open.request)
            inputs = _Inputs(requests, self._gate, self._intake)
            width = opening.open.max_in_flight or DEFAULT_IN_FLIGHT
            with within("open.request"):
                self._engine.check(request)
            async with self._engine.map(request, inputs, max_in_flight=width) as answers:
                async for answer in answers:
                    name = wire.text_to_pb(answer.id)
                    await send(await write_result(answer.result, pb.MapRunResponse, index=answer.index, id=name))
            if inputs.error is not None:
                raise inputs.error

    async def _opening(self, requests: AsyncIterator[pb.MapRunRequest]) -> pb.MapRunRequest:
        with self._gate.reading():
            opening = await anext(requests, None)
            if opening is None or opening.WhichOneof("message") != "open":
                raise InvalidRequest([Violation("open", "must be the first message: it says what runs for each input")])
            return opening
        raise draining()


def _refuse_own_input(request: pb.RunRequest) -> None:
    violations = []
    if request.HasField("input"):
        violations.append(Violation("open.request.input", "must be left out: each input message brings its own"))
    if request.request_id:
        violations.append(Violation("open.request.request_id", "must be left out: each input is a run of its own"))
    if violations:
        raise InvalidRequest(violations)


class _Inputs:
    """The inputs of the stream as the engine takes them, one by one; ends at the first that is refused."""

    def __init__(self, requests: AsyncIterator[pb.MapRunRequest], gate: Gate, intake: Intake) -> None:
        self._requests = requests
        self._gate = gate
        self._intake = intake
        self._ended = False
        self.error: MotetError | None = None
        """Why the intake ended before the stream did."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MapInput:
        if not self._ended:
            with self._gate.reading():
                try:
                    return self._read(await anext(self._requests))
                except StopAsyncIteration:
                    self._ended = True
                except InvalidRequest as error:
                    self._end(error)
            if not self._ended:
                self._end(draining())
        raise StopAsyncIteration

    def _end(self, error: MotetError) -> None:
        self._ended = True
        self.error = error

    def _read(self, message: pb.MapRunRequest) -> MapInput:
        if message.WhichOneof("message") == "open":
            raise InvalidRequest([Violation("open", "must be the first message only; every other is input")])
        self._intake.check(message)
        return MapInput(
            payload=wire.payload_from_pb(message.input.input),
            id=message.input.id,
            variables=wire.payloads_from_pb(message.input.variables),
        )
