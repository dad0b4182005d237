"""One RPC: its half in the loop's thread, which moves bytes, and its half in trio's, which runs the handler.

Knows how a handler's end becomes a status. Nothing but bytes, statuses and posted callbacks crosses between the halves.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

import grpc
import trio
from google.protobuf.message import DecodeError, Message

from motet_server._pipe import Crossing, Requests, Responses
from motet_server.auth import AUTHORIZATION, Caller
from motet_server.rpc import (
    BidiHandler,
    Method,
    RpcContext,
    RpcError,
    RpcStatus,
    StreamHandler,
    TransportOptions,
    UnaryHandler,
    current_rpc,
)

logger = logging.getLogger("motet.server")

STOPPING = RpcStatus(grpc.StatusCode.UNAVAILABLE, "the server is stopping; send the request to another one, or later")
_CANCELLED = RpcStatus(grpc.StatusCode.CANCELLED, "the client cancelled the call")
_DEADLINE = RpcStatus(grpc.StatusCode.DEADLINE_EXCEEDED, "the call's deadline passed before it ended")
_INTERNAL = RpcStatus(grpc.StatusCode.INTERNAL, "internal error")

Answer = bytes | RpcStatus | None
"""How a handler ended: the response of a unary one, the status of a failed one, None for a stream that is complete."""


class Call:
    """One RPC. Attributes are named after the thread that they belong to."""

    def __init__(
        self,
        name: str,
        method: Method,
        request: bytes,
        context: "grpc.aio.ServicerContext[Any, Any]",
        *,
        crossing: Crossing,
        options: TransportOptions,
        caller: Caller | None = None,
    ) -> None:
        """In the loop's thread, on arrival."""
        remaining = context.time_remaining()
        self._expires = None if remaining is None else time.monotonic() + remaining
        self.name = name
        self._method = method
        self._request = request
        self.metadata = text_metadata(context.invocation_metadata())
        self.caller = caller
        self._peer = context.peer()
        self._crossing = crossing
        self._options = options
        # the loop's
        self.ended = False
        self.answer: Answer = None
        self._changed = asyncio.Event()
        self._abandoned = False
        # both: bounded queues
        self.responses: Responses | None = None
        self.requests: Requests[Any] | None = None
        if method.kind != "unary":
            self.responses = Responses(crossing, options.queue_size, self._changed.set)
        if method.kind == "bidi":
            self.requests = Requests(crossing, options.queue_size, self._decode)
        # trio's
        self.scope: trio.CancelScope
        self._cut: RpcStatus | None = None

    # --- the loop's thread ---

    async def changed(self) -> None:
        """Wait until a response waits or the handler has ended."""
        await self._changed.wait()
        self._changed.clear()

    async def wait_ended(self) -> None:
        """Cancel the handler, if it has not ended, and wait until it has: no cancellation gets out before that."""
        if not self.ended:
            self._crossing.to_trio(self.cancel)
        while not (self.ended or self._abandoned):
            try:
                await self.changed()
            except asyncio.CancelledError:  # noqa: ASYNC103 - goes on in whoever called this, in a finally
                continue  # noqa: ASYNC104 - as above

    def abandon(self) -> None:
        """The transport has given up waiting for the handler."""
        self._abandoned = True
        self._changed.set()

    def _end(self, answer: Answer) -> None:
        self.answer = answer
        self.ended = True
        self._changed.set()
        if self.requests is not None:
            self.requests.release()

    # --- trio's thread ---

    def cancel(self, status: RpcStatus = _CANCELLED) -> None:
        """Cancel the handler, with the status to end with; nothing happens when it has ended."""
        self._cut = self._cut or status
        self.scope.cancel()

    def arrive(self) -> None:
        """Make the cancel scope, with what is left of the client's deadline."""
        left = float("inf") if self._expires is None else self._expires - time.monotonic()
        self.scope = trio.CancelScope(deadline=trio.current_time() + left)

    def end(self, answer: Answer) -> None:
        """Hand the answer to the loop's half."""
        self._crossing.to_loop(self._end, answer)

    async def serve(self, translate: Callable[[Exception], RpcStatus]) -> None:
        """Run the handler to its end, whichever it is, and hand its answer over.

        Raises only KeyboardInterrupt and SystemExit, out of whatever groups they are in, and the Cancelled of a scope
        around it: any other exception ends here, as it must not end the RPCs beside it.
        """
        started = trio.current_time()
        metadata = {key: value for key, value in self.metadata.items() if key != AUTHORIZATION}
        context = RpcContext(self.name, metadata, self.scope.deadline, self._peer, started, self.caller)
        current_rpc.set(context)
        answer: Answer = STOPPING
        try:
            with self.scope:
                answer = await self._invoke(context)
            if self.scope.cancelled_caught:
                answer = self._cut or _DEADLINE  # nothing else cancels this scope
        except BaseException as error:  # noqa: ASYNC103, BLE001 - a client hangs on what passes without a status
            answer, escape = self._judge(error, translate)
            if escape is not None:
                raise escape from None  # noqa: ASYNC104 - as above
        finally:
            self.end(answer)

    async def _invoke(self, context: RpcContext) -> Answer:
        handler = self._method.handler
        if self.responses is None:
            return self._encode(await cast("UnaryHandler", handler)(self._decode(self._request), context))
        send = partial(self._send, self.responses)
        if self.requests is None:
            await cast("StreamHandler", handler)(self._decode(self._request), context, send)
        else:
            await cast("BidiHandler", handler)(self.requests, context, send)
        return None

    async def _send(self, responses: Responses, message: Message | bytes) -> None:
        # Encoded here and not in the loop: the handler may change the message afterwards, and it sees a bad one's error.
        await responses.send(self._encode(message))

    def _encode(self, message: Message | bytes) -> bytes:
        data = message if isinstance(message, bytes) else message.SerializeToString()
        if len(data) > self._options.max_message_bytes:
            text = f"the response has {len(data)} bytes, the limit is {self._options.max_message_bytes}; ask for less at once"
            raise RpcError(RpcStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, text))
        return data

    def _decode(self, data: bytes) -> Message:
        try:
            return self._method.request.FromString(data)
        except DecodeError:
            text = f"the request is not a {self._method.request.DESCRIPTOR.full_name}; check the client's proto files"
            raise RpcError(RpcStatus(grpc.StatusCode.INVALID_ARGUMENT, text)) from None

    def _judge(
        self, error: BaseException, translate: Callable[[Exception], RpcStatus]
    ) -> tuple[RpcStatus, BaseException | None]:
        """The status for an exception that left the handler, and what has to go on to the caller of the transport."""
        cancelled: BaseException | None
        rest: BaseException | None
        if isinstance(error, BaseExceptionGroup):
            cancelled, rest = error.split(trio.Cancelled)
        elif isinstance(error, trio.Cancelled):
            cancelled, rest = error, None
        else:
            cancelled, rest = None, error
        if rest is not None and (interrupt := _interrupt_in(rest)) is not None:
            return STOPPING, interrupt
        # A Cancelled that no scope around us sent was kept and raised again by the handler: it would end the nursery.
        stopping = trio.current_effective_deadline() == -float("inf")
        if cancelled is not None and stopping:
            return STOPPING, cancelled
        while isinstance(rest, ExceptionGroup) and len(rest.exceptions) == 1:
            rest = rest.exceptions[0]
        if isinstance(rest, RpcError) and rest.status.code is not grpc.StatusCode.OK:
            return rest.status, None
        if isinstance(rest, Exception):
            return self._translate(rest, translate), None
        logger.error("%s: the handler leaked %s", self.name, type(error).__name__, exc_info=error)
        return _INTERNAL, None

    def _translate(self, error: Exception, translate: Callable[[Exception], RpcStatus]) -> RpcStatus:
        try:
            status = translate(error)
        except Exception:
            logger.exception("%s: an error could not be translated into a status", self.name)
            return _INTERNAL
        return _INTERNAL if status.code is grpc.StatusCode.OK else status


def _interrupt_in(error: BaseException) -> BaseException | None:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for part in error.exceptions if (found := _interrupt_in(part)) is not None), None)
    return None


def text_metadata(pairs: Iterable[tuple[str, str | bytes]] | None) -> Mapping[str, str]:
    """As handlers see it, `authorization` included."""
    metadata: dict[str, str] = {}
    for key, value in pairs or ():
        if isinstance(value, str):
            metadata[key] = f"{metadata[key]}, {value}" if key in metadata else value
    return metadata
