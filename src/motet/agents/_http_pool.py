"""The connections of one http agent, each a transport of its own, so that a request costs the same however many there are.

Knows neither calls nor responses. The transports are made when they are needed, inside trio.
"""

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    import httpx2

KEEPALIVE_SECONDS: Final = 5.0
"""A connection that nobody used for so long is closed, as httpx2 and most clients do: servers close theirs soon after."""
CLOSE_PATIENCE: Final = 5.0
"""Seconds for one connection to close."""
_CLOSED_AT_ONCE: Final = 2
"""Idle connections that one call closes at most: the pool shrinks faster than it is used, and no call pays for a burst."""


class Pool:
    """At most `connections` connections at once; who finds none free waits in order. `verify=None` means no TLS at all.

    A pool of httpx2 looks at each of its connections, and asks the system about each idle one, several times a request.
    So each transport has one connection, and the one used last, which is the likeliest to be still open, is taken first.
    """

    def __init__(self, connections: int, *, verify: "bool | ssl.SSLContext | None") -> None:
        self._verify = verify
        self._context: ssl.SSLContext | None = None
        self._free = trio.Semaphore(connections)
        self._open: set[httpx2.AsyncHTTPTransport] = set()
        self._idle: deque[tuple[float, httpx2.AsyncHTTPTransport]] = deque()
        """With the time since when; the one used last is last."""
        self._closings = 0

    @property
    def size(self) -> int:
        """Transports, in use or idle."""
        return len(self._open)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @asynccontextmanager
    async def transport(self) -> "AsyncIterator[httpx2.AsyncHTTPTransport]":
        """A transport for one request at a time."""
        async with self._free:
            transport = self._idle.pop()[1] if self._idle else self._make()
            closings = self._closings
            try:
                await self._close_unused()
                yield transport
            finally:
                if closings == self._closings:
                    self._idle.append((trio.current_time(), transport))
                else:
                    self._open.discard(transport)
                    with trio.move_on_after(CLOSE_PATIENCE, shield=True):
                        await transport.aclose()

    async def aclose(self) -> None:
        """Close what is idle now, and what is in use once it no longer is. What is asked for afterwards is new."""
        self._closings += 1
        transports = [transport for _, transport in self._idle]
        self._idle.clear()
        self._open.difference_update(transports)
        for transport in transports:
            await transport.aclose()

    async def _close_unused(self) -> None:
        long_ago = trio.current_time() - KEEPALIVE_SECONDS
        for _ in range(_CLOSED_AT_ONCE):
            if not self._idle or self._idle[0][0] > long_ago:
                return
            _, transport = self._idle.popleft()
            self._open.discard(transport)
            await transport.aclose()

    def _make(self) -> "httpx2.AsyncHTTPTransport":
        import httpx2  # noqa: PLC0415 - `import motet` stays quick

        if self._context is None:  # one for all transports, for each loads every certificate authority
            self._context = httpx2.create_ssl_context(verify=self._verify or False, trust_env=False)
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS)
        transport = httpx2.AsyncHTTPTransport(verify=self._context, trust_env=False, limits=limits)
        self._open.add(transport)
        return transport
