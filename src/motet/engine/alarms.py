"""Moments at which something that waits should look again. One task, that exists only while there is such a moment."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import trio

K = TypeVar("K", bound=Hashable)


class Alarms(Generic[K]):
    """At most one moment for each key: the earliest that was asked for."""

    def __init__(self, nursery: trio.Nursery, ring: Callable[[K], None]) -> None:
        """`ring` is called with the key when its moment has come; synchronous."""
        self._nursery = nursery
        self._ring = ring
        self._moments: dict[K, float] = {}
        self._scope: trio.CancelScope | None = None
        self._closed = False

    def set(self, key: K, at: float) -> None:
        """Ring for `key` at this time on trio's clock, or before when that was asked for already."""
        if self._closed or at >= self._moments.get(key, float("inf")):
            return
        self._moments[key] = at
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=at)
            self._nursery.start_soon(self._run, name="motet alarms")
        elif at < self._scope.deadline:
            self._scope.deadline = at

    def drop(self, key: K) -> None:
        """Nobody waits for `key` any more."""
        self._moments.pop(key, None)

    def close(self) -> None:
        """Ring no more."""
        self._closed = True
        self._moments.clear()
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self) -> None:
        while self._moments:
            with trio.CancelScope(deadline=min(self._moments.values())) as self._scope:
                await trio.sleep_forever()
            now = trio.current_time()
            for key in [key for key, at in self._moments.items() if at <= now]:
                # A ring may drop other keys, or set this one anew for later.
                if self._moments.get(key, float("inf")) <= now:
                    del self._moments[key]
                    self._ring(key)
        self._scope = None
