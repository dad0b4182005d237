"""Lets new work in, or no longer, and knows when the last of it has ended. Knows neither engine nor RPCs."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from motet.errors import Unavailable


class Gate:
    """Open until the server drains. Used from the trio thread alone."""

    def __init__(self) -> None:
        self._open = True
        self._working = 0
        self._idle = trio.Event()
        self._idle.set()
        self._readers: set[trio.CancelScope] = set()

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def working(self) -> int:
        """Pieces of work inside."""
        return self._working

    def check(self) -> None:
        """Raises Unavailable, reason DRAINING, once the gate is closed."""
        if not self._open:
            raise draining()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count a piece of work from here to its end. Raises Unavailable once the gate is closed."""
        self.check()
        if not self._working:
            self._idle = trio.Event()
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._idle.set()

    @contextmanager
    def reading(self) -> Iterator[trio.CancelScope]:
        """A scope for waiting for more work from a caller; closing the gate cancels it."""
        with trio.CancelScope() as scope:
            self._readers.add(scope)
            try:
                if not self._open:
                    scope.cancel()
                yield scope
            finally:
                self._readers.discard(scope)

    def close(self) -> None:
        """Let nothing new in. Closing a closed gate changes nothing."""
        self._open = False
        for scope in self._readers:
            scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until nothing is inside."""
        await self._idle.wait()


def draining() -> Unavailable:
    return Unavailable("the server is draining and takes no new work; try another one, or later")
