"""Who has the turn in each session, within one process: first come, first served. Knows no store."""

from collections import OrderedDict
from collections.abc import Hashable

import trio


class Turns:
    """One holder at a time for each key; the others wait in the order in which they came."""

    def __init__(self) -> None:
        self._holders: dict[Hashable, str] = {}
        self._waiting: dict[Hashable, OrderedDict[object, tuple[trio.Event, str]]] = {}

    def holder(self, key: Hashable) -> str:
        """Who has the turn; empty when nobody has."""
        return self._holders.get(key, "")

    async def take(self, key: Hashable, who: str) -> None:
        """Wait for the turn. To be followed by `give`, unless it is cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if key not in self._holders:
            self._holders[key] = who
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        ticket, mine = object(), trio.Event()
        queue = self._waiting.setdefault(key, OrderedDict())
        queue[ticket] = (mine, who)
        try:
            await mine.wait()
        except trio.Cancelled:
            if mine.is_set():
                # The turn came in the same moment: somebody else's, then.
                self.give(key)
            else:
                del queue[ticket]
                if not queue:
                    del self._waiting[key]
            raise

    def give(self, key: Hashable) -> None:
        """The turn goes to the one who has waited longest."""
        queue = self._waiting.get(key)
        if queue is None:
            del self._holders[key]
            return
        _, (event, who) = queue.popitem(last=False)
        if not queue:
            del self._waiting[key]
        self._holders[key] = who
        event.set()
