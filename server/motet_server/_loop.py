"""The asyncio half of a transport: a grpc.aio server on a loop in a thread of its own, which moves bytes and statuses.

Knows neither the handlers nor their messages, and touches no trio object: it posts callbacks, through a `Crossing`.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
import trio

from motet_server._call import STOPPING, Answer, Call, text_metadata
from motet_server._pipe import Crossing, Requests
from motet_server._port import why_not_bound
from motet_server.auth import Caller
from motet_server.rpc import Admit, Method, RpcStatus, Service, TransportOptions

_new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    import uvloop
except ImportError:  # made for Linux and macOS only; the standard loop does the same, slower
    _new_event_loop = asyncio.new_event_loop
else:
    _new_event_loop = uvloop.new_event_loop

logger = logging.getLogger("motet.server")

Servicing: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Extra: TypeAlias = Callable[[grpc.aio.Server], None]

_DETAILS_KEY = "grpc-status-details-bin"
_MAX_DETAILS_BYTES = 5120
_MAX_MESSAGE_CHARACTERS = 2048
"""Together below the 8 KiB of metadata that clients take, also as base64 and with some characters percent-encoded."""

_BROKEN = RpcStatus(grpc.StatusCode.INTERNAL, "a response could not be sent")

_BROKEN_CHECK = RpcStatus(grpc.StatusCode.INTERNAL, "the caller could not be checked")

_FLUSH = 1.0
"""Seconds that answers may take to leave for the network when the server stops: a slow reader must not hold it."""

_caller: ContextVar[Caller | None] = ContextVar("_caller", default=None)
"""From the interceptor to the handler of the same RPC: gRPC runs both in one context."""

_LONG = 86_400.0
"""Seconds of grace that gRPC itself gets when it stops accepting: the transport does the counting."""


class Loop:
    """The loop of one transport. `run` is the thread's main; the rest happens in that thread."""

    def __init__(
        self,
        services: Sequence[Service],
        address: str,
        options: TransportOptions,
        extra: Extra | None,
        token: trio.lowlevel.TrioToken,
        *,
        on_up: Callable[["Loop", Crossing], None],
        on_listening: Callable[[int], None],
        on_call: Callable[[Call], None],
        admit: Admit | None = None,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """The three callbacks run in trio's thread: the loop runs, the port is bound and served, an RPC has come."""
        self._services = services
        self._address = address
        self._options = options
        self._extra = extra
        self._token = token
        self._on_up = on_up
        self._on_listening = on_listening
        self._on_call = on_call
        self._admit = admit
        self._credentials = credentials
        self._crossing: Crossing
        self._serving: dict[asyncio.Task[Any], Call] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._refusing = asyncio.Event()
        self._stopping = asyncio.Event()

    def run(self) -> Exception | None:
        """Serve until told to stop. An error is returned, for the other thread to raise one of its own."""
        try:
            with asyncio.Runner(loop_factory=_new_event_loop) as runner:
                runner.run(self._main())
        except Exception as error:  # noqa: BLE001 - values cross between the threads, not exceptions
            return error
        return None

    def refuse(self) -> None:
        """Take no new RPC and tell the clients to connect elsewhere; those in progress go on."""
        self._refusing.set()

    def stop(self) -> None:
        """Send what is answered, cut the rest off and end `run`."""
        self._refusing.set()
        self._stopping.set()

    def ask(self, fn: Callable[[], Any], reply: Callable[[Any, Exception | None], None]) -> None:
        """Call `fn`, await what it returns if that can be awaited, and have `reply` called in trio's thread."""

        async def answer() -> None:
            try:
                value = fn()
                if inspect.isawaitable(value):
                    value = await value
            except Exception as error:  # noqa: BLE001 - values cross between the threads, not exceptions
                self._crossing.to_trio(reply, None, error)
            else:
                self._crossing.to_trio(reply, value, None)

        self._spawn(answer())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_on_loop_exception)
        self._crossing = Crossing(self._token, loop)
        self._crossing.to_trio(self._on_up, self, self._crossing)
        server = grpc.aio.server(
            options=_channel_options(self._options),
            maximum_concurrent_rpcs=self._options.max_concurrent_rpcs,
            interceptors=() if self._admit is None else (_Doorkeeper(self._admit),),
        )
        server.add_generic_rpc_handlers(tuple(self._generic_handler(service) for service in self._services))
        if self._extra is not None:
            self._extra(server)
        try:
            port = (
                server.add_insecure_port(self._address)
                if self._credentials is None
                else server.add_secure_port(self._address, self._credentials)
            )
        except RuntimeError:
            raise why_not_bound(self._address, secure=self._credentials is not None) from None
        await server.start()
        self._crossing.to_trio(self._on_listening, port)
        try:
            await self._refusing.wait()
            self._spawn(server.stop(_LONG))
            await self._stopping.wait()
            await self._settle(set(self._serving))
        finally:  # also when the loop fails: grpcio hangs in the end of a server that was not stopped
            for call in self._serving.values():
                call.abandon()
            await server.stop(None)  # noqa: ASYNC102 - bounded by the other half, which leaves the thread behind
        await self._settle(set(self._serving) | self._background)

    async def _settle(self, tasks: set[asyncio.Task[Any]]) -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=_FLUSH)

    def _spawn(self, job: Awaitable[None]) -> None:
        task = asyncio.ensure_future(job)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _generic_handler(self, service: Service) -> grpc.GenericRpcHandler:
        handlers = {method.name: self._method_handler(service, method) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.name, handlers)

    def _method_handler(self, service: Service, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
        name = f"/{service.name}/{method.name}"

        async def serve(request: Any, context: Servicing) -> Any:
            with suppress(grpc.aio.InternalError):
                return await self._serve(name, method, request, context)
            # A write failed because the client has gone, of which gRPC would tell by a cancellation a moment later; should
            # it be there, it gets a status. Let through, gRPC would log each such race as an error.
            with suppress(grpc.aio.InternalError, grpc.aio.UsageError):
                await _abort(context, _BROKEN)
            raise asyncio.CancelledError

        # No serializers: the bytes pass as they are, trio's half makes messages of them.
        make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = {
            "unary": grpc.unary_unary_rpc_method_handler,
            "stream": grpc.unary_stream_rpc_method_handler,
            "bidi": grpc.stream_stream_rpc_method_handler,
        }[method.kind]
        return make(serve)

    async def _serve(self, name: str, method: Method, request: Any, context: Servicing) -> bytes | None:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        caller = _caller.get()
        if self._admit is not None and caller is None:  # to a handler it would be a call that anybody may make
            logger.error("%s: the call came past the check of its caller", name)
            await _abort(context, _BROKEN_CHECK)
            return None
        call = Call(name, method, request, context, crossing=self._crossing, options=self._options, caller=caller)
        # The task is gRPC's own and ends once the status is sent: stopping waits for it.
        self._serving[task] = call
        task.add_done_callback(self._serving.pop)
        answer: Answer = STOPPING
        if self._crossing.to_trio(self._on_call, call):
            try:
                await self._move(call, context)
            finally:
                await call.wait_ended()  # noqa: ASYNC102 - the rule of the bridge: shielded, and bounded by abandon()
            answer = call.answer
        if isinstance(answer, RpcStatus):
            await _abort(context, answer)  # raises, to end gRPC's task
            return None
        return answer

    async def _move(self, call: Call, context: Servicing) -> None:
        """Write the responses as they come, until the handler has ended and all are written."""
        if call.requests is not None:
            self._spawn(_read(call.requests, context))
        while True:
            if (responses := call.responses) is not None:
                while responses.waiting:
                    data = responses.waiting.popleft()
                    await context.write(data)
                    responses.taken(data)
            if call.ended:
                return
            await call.changed()


class _Doorkeeper(grpc.aio.ServerInterceptor):
    """Refuses calls before their request is read: native services such as reflection as well as those of trio."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        details: Any = handler_call_details
        found = self._admit(details.method, text_metadata(details.invocation_metadata))
        if isinstance(found, RpcStatus):
            return _refuse(found)
        _caller.set(found)
        return await continuation(details)


def _refuse(status: RpcStatus) -> "grpc.RpcMethodHandler[Any, Any]":
    async def refuse(_requests: object, context: Servicing) -> None:
        await _abort(context, status)

    # Also for a unary call: of a stream gRPC reads nothing by itself, so that nobody unknown fills the memory.
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(cast("Any", refuse))
    return handler


async def _read(inbox: Requests[Any], context: Servicing) -> None:
    """Read the requests of one RPC as there is room. Never cancelled: the end of the RPC ends a pending read."""
    with suppress(Exception):  # the RPC is over: whoever serves it is told by its own end
        while await inbox.room():
            data = await context.read()
            if data is grpc.aio.EOF:
                break
            inbox.put(data)
    inbox.close()


async def _abort(context: Servicing, status: RpcStatus) -> None:
    message = status.message[:_MAX_MESSAGE_CHARACTERS].encode(errors="replace").decode()
    fits = 0 < len(status.details) <= _MAX_DETAILS_BYTES
    await context.abort(status.code, message, ((_DETAILS_KEY, status.details),) if fits else ())


def _channel_options(options: TransportOptions) -> Sequence[tuple[str, int]]:
    def milliseconds(seconds: float | None) -> int:
        return 2**31 - 1 if seconds is None else round(min(seconds * 1000, 2**31 - 1))

    return (
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.max_concurrent_streams", options.max_concurrent_streams),
        ("grpc.keepalive_time_ms", milliseconds(options.keepalive_time)),
        ("grpc.keepalive_timeout_ms", milliseconds(options.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", milliseconds(options.min_ping_interval)),
        ("grpc.max_connection_age_ms", milliseconds(options.max_connection_age)),
        ("grpc.max_connection_age_grace_ms", milliseconds(options.max_connection_age_grace)),
        ("grpc.so_reuseport", int(options.so_reuseport)),
    )


def _on_loop_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, BlockingIOError) and "PollerCompletionQueue" in str(context.get("message")):
        return  # grpcio wakes every loop of the process for each event; all but the one that takes it find nothing
    logger.error("in the gRPC loop: %s", context.get("message"), exc_info=error)
