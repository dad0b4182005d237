"""Lets go of what agents and stores hold when an engine closes."""

import logging
from typing import Final, Protocol

import trio

CLOSE_PATIENCE: Final = 5.0
"""Seconds for an agent or a store to let go of what it holds when the engine closes."""
_log = logging.getLogger("motet.engine")


class Closeable(Protocol):
    """Holds resources until it is closed."""

    async def aclose(self) -> None: ...


async def close_patiently(thing: Closeable) -> None:
    with trio.move_on_after(CLOSE_PATIENCE, shield=True) as scope:  # noqa: ASYNC912 - what has nothing to close need not wait
        try:
            await thing.aclose()
        except Exception:  # noqa: BLE001 - one that cannot be closed must not keep the others open
            _log.exception("closing %r failed", thing)
    if scope.cancelled_caught:
        _log.warning("closing %r took longer than %g s and was given up", thing, CLOSE_PATIENCE)
