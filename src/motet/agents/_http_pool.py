"""The connections of one http agent, spread over as many httpx2 clients as their number asks for.

Knows neither calls nor requests. The clients are made at the first use, inside trio.
"""

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    import httpx2

CLIENT_CONNECTIONS: Final = 100
"""Most connections of one client: its pool does work for each of them at every request."""


@dataclass(slots=True)
class Seat:
    """One client, and how much of it is taken."""

    client: "httpx2.AsyncClient"
    connections: int
    in_flight: int = 0


class Pool:
    """At most `connections` connections at once; who finds none free waits in order. `verify=None` means no TLS at all."""

    def __init__(self, connections: int, *, verify: "bool | ssl.SSLContext | None") -> None:
        self._connections = connections
        self._verify = verify
        # Waiting happens here, not in httpx2, whose work at each request grows with the requests that wait in its pool.
        self._free = trio.Semaphore(connections)
        self._seats: list[Seat] = []
        self._closed = False

    @property
    def seats(self) -> tuple[Seat, ...]:
        """The clients; empty before the first use and after closing."""
        return tuple(self._seats)

    @asynccontextmanager
    async def client(self) -> "AsyncIterator[httpx2.AsyncClient | None]":
        """The least loaded client, with a free connection for one request; None when the pool is closed."""
        async with self._free:
            if self._closed:
                yield None
                return
            if not self._seats:
                self._seats = self._open_seats()
            # The first of the least loaded has room, for `_free` counts all, and the wider ones come first.
            seat = min(self._seats, key=lambda seat: seat.in_flight)
            seat.in_flight += 1
            try:
                yield seat.client
            finally:
                seat.in_flight -= 1

    async def aclose(self) -> None:
        self._closed = True
        seats, self._seats = self._seats, []
        for seat in seats:
            await seat.client.aclose()

    def _open_seats(self) -> list[Seat]:
        from http.cookiejar import CookieJar, DefaultCookiePolicy  # noqa: PLC0415 - `import motet` stays quick

        import httpx2  # noqa: PLC0415 - `import motet` stays quick

        # One context for all clients, for each loads every certificate authority.
        verify = httpx2.create_ssl_context(trust_env=False) if self._verify is True else self._verify or False
        number = math.ceil(self._connections / CLIENT_CONNECTIONS)
        share, rest = divmod(self._connections, number)
        no_cookies = DefaultCookiePolicy(allowed_domains=[])
        seats = []
        for index in range(number):
            width = share + (index < rest)
            client = httpx2.AsyncClient(
                verify=verify,
                trust_env=False,
                follow_redirects=False,
                cookies=CookieJar(no_cookies),  # one call's session must not become another's
                limits=httpx2.Limits(max_connections=width, max_keepalive_connections=width),
                headers={"user-agent": "motet", "accept-encoding": "identity"},
            )
            seats.append(Seat(client, width))
        return seats
