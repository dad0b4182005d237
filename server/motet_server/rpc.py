"""What services speak in: methods, handlers, contexts and statuses of RPCs, and the limits of a transport.

Knows neither asyncio nor grpc.aio, nor how a transport moves the bytes: a handler is a plain trio coroutine function.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import grpc
from google.protobuf.message import Message

from motet_server.auth import Caller


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """How an RPC ended, as the client sees it."""

    code: grpc.StatusCode
    """The gRPC code; OK is not an error and is never put here by a handler."""
    message: str
    """One sentence for a person. A transport sends at most 2,048 characters of it."""
    details: bytes = b""
    """A serialized `google.rpc.Status`, sent as `grpc-status-details-bin`; empty for none.

    Trailing metadata has a limit of 8 KiB at most clients, so a transport leaves out details above 5,120 bytes.
    """


class RpcError(Exception):
    """Raised by a handler to end its RPC with exactly this status; nothing translates it."""

    def __init__(self, status: RpcStatus) -> None:
        super().__init__(status.message)
        self.status = status


@dataclass(slots=True)
class RpcContext:
    """What a handler knows about its RPC beyond the request."""

    method: str
    """Full name: `/motet.v1.RunService/Run`."""
    metadata: Mapping[str, str]
    """The client's metadata under lower-case keys; values of a repeated key are joined by `, `; binary (`-bin`) keys are left out, and so
    is `authorization`: a token is nothing for a handler to see or to log."""
    deadline: float
    """On trio's clock, in seconds; infinite when the client set none. The handler's cancel scope has it already."""
    peer: str
    """The client's address as gRPC writes it: `ipv4:127.0.0.1:40312`."""
    started: float
    """When the RPC reached trio, on trio's clock, in seconds."""
    caller: Caller | None = None
    """Who calls; None on a server that asks nobody."""


current_rpc: ContextVar[RpcContext | None] = ContextVar("current_rpc", default=None)
"""The RPC that the present task serves; None outside of one. Tasks that a handler starts inherit it."""

Admit: TypeAlias = Callable[[str, Mapping[str, str]], Caller | RpcStatus | None]
"""From the full name of a method and the metadata, `authorization` included, to the caller or to the status that refuses the
call; None for a call that needs no caller. Called in the transport's thread, before the request is read."""

Send: TypeAlias = Callable[[Message | bytes], Awaitable[None]]
"""Sends one response, a message or an encoded one; waits while the peer is slow. A checkpoint. Used by one task at a time."""

UnaryHandler: TypeAlias = Callable[[Any, RpcContext], Awaitable[Message]]
"""One request, one response."""

StreamHandler: TypeAlias = Callable[[Any, RpcContext, Send], Awaitable[None]]
"""One request, any number of responses; the RPC ends when the handler returns."""

BidiHandler: TypeAlias = Callable[[AsyncIterator[Any], RpcContext, Send], Awaitable[None]]
"""Requests as they come, any number of responses. The RPC ends when the handler returns, read to the end or not."""


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC of a service."""

    name: str
    """Without the service: `Run`."""
    kind: Literal["unary", "stream", "bidi"]
    """Which of the three handlers it has: one to one, one to many, many to many."""
    request: type[Message]
    """The message class of a request."""
    response: type[Message]
    """The message class of a response."""
    handler: UnaryHandler | StreamHandler | BidiHandler
    """A trio coroutine function of the shape that `kind` says. It runs in a task of its own and is cancelled when the
    client cancels, disconnects or its deadline passes."""


@dataclass(frozen=True, slots=True)
class Service:
    """A named set of methods."""

    name: str
    """With its package: `motet.v1.RunService`."""
    methods: Sequence[Method]
    """In the order of the proto file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """The limits of a transport. The defaults suit one server process behind nothing or behind a level-4 balancer."""

    max_message_bytes: int = 16 * 1024 * 1024
    """Largest message in either direction, in bytes: 16 MiB. gRPC's own default is 4 MiB in and no bound out; a result
    with the outputs of many members passes 4 MiB easily. A larger request ends with RESOURCE_EXHAUSTED."""
    max_concurrent_rpcs: int = 8192
    """RPCs in progress over all connections, watchers and health checks included; one more ends with
    RESOURCE_EXHAUSTED. gRPC has no bound of its own. A waiting RPC costs two tasks, so this bounds memory."""
    max_concurrent_streams: int = 2048
    """RPCs in progress on one connection; the client keeps the rest waiting. gRPC has no bound of its own, HTTP/2 asks
    for at least 100. A quarter of `max_concurrent_rpcs`, so that one connection cannot take them all."""
    keepalive_time: float = 60.0
    """Seconds without a byte from the client before it is pinged; gRPC's default, two hours, leaves the members of a
    client that vanished without a FIN running for as long. Below a minute it costs more than it finds."""
    keepalive_timeout: float = 20.0
    """Seconds that a ping may go unanswered before the connection counts as lost. gRPC's default."""
    min_ping_interval: float = 10.0
    """Clients that ping more often than this, in seconds, are disconnected; gRPC's default of five minutes refuses
    clients that sit behind a balancer with a short idle timeout. They may ping without an RPC in progress."""
    max_connection_age: float | None = 1800.0
    """Seconds after which a connection is asked to close, spread by a tenth; its RPCs run to their end, new ones move to a
    new connection. Half an hour lets a balancer spread long-lived clients anew. None for never, gRPC's default."""
    max_connection_age_grace: float | None = None
    """Seconds that RPCs still have once `max_connection_age` has passed. None, gRPC's default: as long as they take,
    since a long run or a watch must not be cut."""
    queue_size: int = 64
    """Messages that wait between the network and a handler, in each direction of each RPC."""
    so_reuseport: bool = False
    """Whether other processes may listen on the same port. Off, unlike in gRPC, so that a second server on a port in
    use fails at its start; on for worker processes that share one."""
    stop_bound: float = 10.0
    """Seconds that the end of a transport may take once its handlers are cancelled."""
