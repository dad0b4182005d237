"""Where trio meets grpc: one call awaited, one message of a stream awaited. Knows nothing of what they carry.

grpc answers in threads of its own. A cancelled scope cancels the call and waits until grpc has let go of it, so that no
thread is left behind; that wait is shielded and bounded.
"""

import math
from contextlib import suppress
from typing import Any, Final

import grpc
import trio

from motet_client._requests import Metadata
from motet_client._status import error_from

STOP_GRACE: Final = 5.0
"""Seconds for a cancelled call to end. It takes about a millisecond; the bound is there so that nothing can hang."""
READERS: Final = trio.CapacityLimiter(math.inf)
"""Apart from trio's own 40 threads, which streams that wait for hours would use up."""


class _Bell:
    """An event of one trio run that any thread may set, also when that run has ended meanwhile."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    def ring(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


async def unary(method: Any, request: Any, deadline: float | None, metadata: Metadata) -> Any:
    """The answer of one call. Raises MotetClientError."""
    await trio.lowlevel.checkpoint_if_cancelled()
    ended = _Bell()
    call = method.future(request, timeout=deadline, metadata=metadata)
    call.add_done_callback(lambda _: ended.ring())
    try:
        await ended.wait()
    except trio.Cancelled:
        call.cancel()
        with trio.move_on_after(STOP_GRACE, shield=True):
            await ended.wait()
        raise
    try:
        return call.result()
    except grpc.RpcError as error:
        raise error_from(error) from error


async def read(call: Any) -> Any:
    """The next message of a stream, or None at its end. Raises grpc.RpcError. Cancelled, it cancels the call."""
    await trio.lowlevel.checkpoint_if_cancelled()
    ended = _Bell()

    def wait_in_thread() -> Any:
        try:
            return next(call, None)
        finally:
            ended.ring()

    try:
        return await trio.to_thread.run_sync(wait_in_thread, abandon_on_cancel=True, limiter=READERS)
    except trio.Cancelled:
        call.cancel()
        with trio.move_on_after(STOP_GRACE, shield=True):
            await ended.wait()
        raise
