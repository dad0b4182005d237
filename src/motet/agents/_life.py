"""Lets what an agent holds go when nobody has used it for long, or when the engine that it was used in closes: also for
agents that no catalog knows."""

import math
from typing import Final, Protocol

import trio

from motet.ports import Call

IDLE: Final = 60.0
"""Seconds without a use after which it lets go. Longer than connections are kept anyway, short enough that programs which
make an agent for each run do not gather them."""
PATIENCE: Final = 5.0
"""Seconds that letting go may take."""


class Closeable(Protocol):
    """Holds resources until it is closed; it may be used again afterwards."""

    async def aclose(self) -> None: ...


class Life:
    """Of one such thing. A resident, see `motet.ports.Resident`."""

    def __init__(self, thing: Closeable) -> None:
        self._thing = thing
        self._used = 0.0

    def __repr__(self) -> str:
        return f"what {self._thing!r} holds"

    def use(self, call: Call) -> None:
        """To be told by each call that uses the thing, before it does."""
        self._used = trio.current_time()
        call.keep(self)

    async def live(self) -> None:
        seen = -math.inf
        try:
            # A use while it was letting go begins anew, and needs it as before.
            while self._used > seen:
                while (left := self._used + IDLE - trio.current_time()) > 0:  # noqa: ASYNC110 - it waits for a time, which uses put off
                    await trio.sleep(left)
                seen = self._used
                await self._let_go()
        except trio.Cancelled:
            await self._let_go()  # noqa: ASYNC102 - shielded and bounded inside
            raise

    async def _let_go(self) -> None:
        with trio.move_on_after(PATIENCE, shield=True):
            await self._thing.aclose()
