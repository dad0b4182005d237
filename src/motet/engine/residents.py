"""What calls need beyond their own end: tasks of the engine's own, stopped when it closes and not before."""

import contextvars
import logging
from typing import Final

import trio

from motet.errors import Unavailable
from motet.model import reason
from motet.ports import Resident

PATIENCE: Final = 10.0
"""Seconds that residents may take to end when the engine closes, before that is logged. They are waited for all the same:
a task must not outlive its nursery."""
_log = logging.getLogger("motet.engine")


class Residents:
    """The residents of one engine."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        # By identity: two that compare equal are two. The value keeps the object, and with it its identity, alive.
        self._living: dict[int, tuple[Resident, trio.CancelScope]] = {}
        self._closed = False
        self._empty = trio.Event()

    def keep(self, resident: Resident) -> None:
        """Let it live, unless it does. Raises Unavailable once the engine closes."""
        if self._closed:
            raise Unavailable("the engine closes and keeps nothing more alive", reason=reason.ENGINE_CLOSED)
        if id(resident) not in self._living:
            scope = trio.CancelScope()
            self._living[id(resident)] = (resident, scope)
            # It belongs to no call, not even to the one that asked first.
            contextvars.Context().run(self._nursery.start_soon, self._live, resident, scope)

    async def _live(self, resident: Resident, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await resident.live()
        except Exception:  # noqa: BLE001 - foreign code; it must not take the engine down
            _log.exception("%r failed", resident)
        finally:
            del self._living[id(resident)]
            if not self._living:
                self._empty.set()

    async def close(self) -> None:
        """Stop them all, and wait until they have ended."""
        self._closed = True
        for _, scope in self._living.values():
            scope.cancel()
        if not self._living:
            return
        # They may have been none before, and been told so.
        self._empty = trio.Event()
        with trio.move_on_after(PATIENCE) as patience:
            await self._empty.wait()
        if patience.cancelled_caught:
            left = ", ".join(repr(resident) for resident, _ in self._living.values())
            _log.warning("%s did not end within %g s", left, PATIENCE)
