"""gRPC for trio: grpc.aio on an asyncio loop in a thread of its own, the handlers in trio tasks of the caller's thread.

Knows nothing of what the services do. `rpc.py` is all that they see of it; `_loop.py` is the half in the other thread,
`_call.py` one RPC, `_pipe.py` its queues. The reasons are in the decision record about the bridge.
"""

import contextvars
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import grpc
import trio

from motet.errors import Unavailable
from motet_server._call import STOPPING, Call
from motet_server._loop import Extra, Loop
from motet_server._pipe import Crossing
from motet_server._port import bound_address
from motet_server.auth import Caller
from motet_server.rpc import Admit, RpcStatus, Service, TransportOptions

logger = logging.getLogger("motet.server")

T = TypeVar("T")
Still: TypeAlias = Callable[[str, Mapping[str, str], Caller], RpcStatus | None]
"""From method, metadata and caller of an RPC in progress to the status to end it with; None when it may go on."""


class Transport:
    """A server that listens. Made by `open_transport` only; used in the trio thread that opened it."""

    def __init__(
        self,
        address: str,
        options: TransportOptions,
        translate: Callable[[Exception], RpcStatus],
        nursery: trio.Nursery,
        *,
        admit: Admit | None = None,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._asked = address
        self._admit = admit
        self._credentials = credentials
        self._options = options
        self._translate = translate
        self._nursery = nursery
        self._context = contextvars.copy_context()
        self._calls: set[Call] = set()
        self._idle = trio.lowlevel.ParkingLot()
        self._accepting = True
        self._stop_wanted = False
        self._loop: Loop | None = None
        self._crossing: Crossing | None = None
        self._port = 0
        self._listening = trio.Event()
        self._thread = trio.CancelScope(shield=True)
        self._ended = trio.Event()
        self._failure: Exception | None = None
        self._asking: set[trio.Event] = set()
        self._still: Still | None = None

    @property
    def address(self) -> str:
        """The address as bound, for clients to dial: `127.0.0.1:50061`."""
        return bound_address(self._asked, self._port)

    @property
    def port(self) -> int:
        """The port as bound; also for port 0. 1 for a Unix socket."""
        return self._port

    @property
    def active(self) -> int:
        """RPCs whose handlers run now, watchers included."""
        return len(self._calls)

    def recheck(self, still: Still) -> int:
        """Ask of each RPC with a caller whether it may go on, and cancel it with the status otherwise. Returns how many."""
        self._still = still
        ended = 0
        for call in self._calls:
            if call.caller is not None and (status := still(call.name, call.metadata, call.caller)) is not None:
                call.cancel(status)
                ended += 1
        return ended

    async def stop(self, grace: float = 0.0) -> None:
        """Take no new RPC, give those in progress `grace` seconds, cancel the rest, wait for it, then close the port.

        Clients are told to connect elsewhere at once; RPCs that come regardless, and those that are cancelled, end with
        UNAVAILABLE. Answers that are ready still have a second to leave. When cancelled during the grace, the rest
        happens at the end of `open_transport`. A second call with less grace shortens the first one's.
        """
        self._accepting = False
        self._tell(Loop.refuse)
        with trio.move_on_after(max(grace, 0.0)):
            await self._wait_idle()
        for call in self._calls:
            call.cancel(STOPPING)
        with trio.move_on_after(self._options.stop_bound):
            await self._wait_idle()
        if self._calls:
            names = ", ".join(sorted({call.name for call in self._calls}))
            logger.error("handlers run on %g s after they were cancelled: %s", self._options.stop_bound, names)
        self._stop_wanted = True
        self._tell(Loop.stop)
        with trio.move_on_after(self._options.stop_bound) as bound:
            await self._ended.wait()
        if bound.cancelled_caught:
            logger.error("the gRPC thread did not end within %g s and is left behind", self._options.stop_bound)
            self._thread.cancel()

    async def call_in_loop(self, fn: Callable[[], Awaitable[T] | T]) -> T:
        """Call a short function in the thread of gRPC's loop and return what it returned; what can be awaited is awaited there.

        For what belongs to that loop, such as a health servicer. Raises RuntimeError when it fails, Unavailable when the
        transport has stopped. When cancelled, the function may still run.
        """
        done = trio.Event()
        replies: list[tuple[T, Exception | None]] = []

        def reply(value: T, error: Exception | None) -> None:
            replies.append((value, error))
            done.set()

        if self._loop is None or self._crossing is None or self._ended.is_set():
            raise Unavailable("the transport has stopped; open another one", reason="STOPPED")
        self._crossing.to_loop(self._loop.ask, fn, reply)
        self._asking.add(done)
        try:
            await done.wait()
        finally:
            self._asking.discard(done)
        if not replies:
            raise Unavailable("the transport has stopped; open another one", reason="STOPPED")
        value, error = replies[0]
        if error is not None:
            raise RuntimeError(f"a function failed in the gRPC loop: {error!r}")
        return value

    def _tell(self, what: Callable[[Loop], None]) -> None:
        if self._loop is not None and self._crossing is not None:
            self._crossing.to_loop(what, self._loop)

    async def _wait_idle(self) -> None:
        while self._calls:
            await self._idle.park()

    async def _run_loop(self, services: Sequence[Service], extra: Extra | None) -> None:
        """The task that stands for the loop's thread, and joins it."""
        token = trio.lowlevel.current_trio_token()
        loop = Loop(
            services,
            self._asked,
            self._options,
            extra,
            token,
            on_up=self._on_up,
            on_listening=self._on_listening,
            on_call=self._on_call,
            admit=self._admit,
            credentials=self._credentials,
        )
        try:
            with self._thread:  # shielded: RPCs need the loop until they have ended
                self._failure = await trio.to_thread.run_sync(
                    loop.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1), thread_name="motet-grpc"
                )
        finally:
            self._ended.set()
            for done in self._asking:
                done.set()
        if self._failure is not None and self._listening.is_set():
            raise RuntimeError(f"the gRPC loop failed: {self._failure!r}")
        self._listening.set()

    async def _started(self) -> None:
        await self._listening.wait()
        if self._failure is not None:
            raise self._failure  # the loop and its thread have ended: the exception belongs to nobody else any more

    def _on_up(self, loop: Loop, crossing: Crossing) -> None:
        self._loop, self._crossing = loop, crossing
        if self._stop_wanted:
            self._tell(Loop.stop)

    def _on_listening(self, port: int) -> None:
        self._port = port
        self._listening.set()

    def _on_call(self, call: Call) -> None:
        call.arrive()
        if not self._accepting or self._nursery.cancel_scope.cancel_called:
            call.end(STOPPING)
            return
        if self._still is not None and call.caller is not None:
            # It was let in when its headers came, perhaps long before its request, and before the last recheck.
            status = self._still(call.name, call.metadata, call.caller)
            if status is not None:
                call.end(status)
                return
        self._calls.add(call)
        # Posted callbacks have trio's own context: handlers get the one of whoever opened the transport.
        self._context.copy().run(self._nursery.start_soon, self._run_call, call)

    async def _run_call(self, call: Call) -> None:
        try:
            await call.serve(self._translate)
        finally:
            self._calls.discard(call)
            if not self._calls:
                self._idle.unpark_all()


@asynccontextmanager
async def open_transport(
    services: Sequence[Service],
    address: str,
    *,
    options: TransportOptions | None = None,
    translate: Callable[[Exception], RpcStatus],
    extra: Extra | None = None,
    admit: Admit | None = None,
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Transport]:
    """Serve `services` at `address` (`host:port`, port 0 for a free one) while the block runs, in any trio program.

    Each RPC is a trio task of its own under the block, in the context of whoever opened it. `translate` makes a status
    of what a handler raised; it is called in trio's thread. `extra` registers native servicers (health, reflection) in the
    loop's thread before the start: they answer also while trio is busy. `admit` decides who may call, native servicers
    included; `credentials` make it TLS. Raises Unavailable when the address cannot be
    bound: reason ADDRESS_IN_USE, ADDRESS_NOT_BOUND, ADDRESS_INVALID or CERTIFICATE_INVALID.

    However the block ends, all RPCs are cancelled and waited for and the thread is joined before this returns. KeyboardInterrupt
    and SystemExit that a handler raises end the block and are raised here.
    """
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            transport = Transport(
                address, options or TransportOptions(), translate, nursery, admit=admit, credentials=credentials
            )
            nursery.start_soon(transport._run_loop, services, extra)  # noqa: SLF001 - the other half of this class
            try:
                await transport._started()  # noqa: SLF001 - as above
                yield transport
            finally:
                with trio.CancelScope(shield=True):  # each step of it is bounded
                    await transport.stop()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        error = group.exceptions[0]  # the nursery is ours, not the caller's: it gets what was raised
    if error is not None:
        raise error
