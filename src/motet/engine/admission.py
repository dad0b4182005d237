"""Asks all guards at once, and is the one place where starts wait for them.

A start is granted whole or not at all, and nothing is held while it waits. Whoever gives something back hands it to
those who wait, first come first served, before anyone new can ask; so nobody polls and nobody is passed over.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

import trio

from motet.ports import Admit, Guard, Refuse, Ticket, Wait


class Waiter(Protocol):
    """Somebody who waits for a key."""

    def wake(self, key: Hashable) -> bool:
        """`key` may have room: try now. True when something was started. A waiter that still wants `key` asks again."""
        ...


class Admission:
    """The guards of an engine, composed."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._guards = tuple(guards)
        self._waiting: dict[Hashable, OrderedDict[Waiter, None]] = {}

    def try_start(self, ticket: Ticket) -> Wait | Refuse | None:
        """None when granted: then `ended` must follow exactly once."""
        for guard in self._guards:
            verdict = guard.may_start(ticket)
            if not isinstance(verdict, Admit):
                return verdict
        for guard in self._guards:
            guard.started(ticket)
        return None

    def ended(self, ticket: Ticket) -> None:
        for guard in self._guards:
            self._freed(guard.ended(ticket))

    def pause(self, ticket: Ticket) -> None:
        """The holder waits for a nested run. It must `resume`, or, when it ends first, not be `ended` any more."""
        for guard in self._guards:
            self._freed(guard.paused(ticket))

    def try_resume(self, ticket: Ticket) -> Wait | Refuse | None:
        for guard in self._guards:
            verdict = guard.may_resume(ticket)
            if not isinstance(verdict, Admit):
                return verdict
        for guard in self._guards:
            guard.resumed(ticket)
        return None

    async def resume(self, ticket: Ticket) -> None:
        """Wait until the holder may go on. When it is cancelled here, it stays paused."""
        if self.try_resume(ticket) is None:
            return
        returning = _Returning(self, ticket)
        returning.wake(None)
        try:
            await returning.admitted.wait()
        except trio.Cancelled:
            if returning.admitted.is_set():
                # Admitted in the same moment as cancelled: give it back, the caller takes itself for paused.
                self.pause(ticket)
            self.forget(returning)
            raise

    def wait(self, key: Hashable, waiter: Waiter) -> None:
        self._waiting.setdefault(key, OrderedDict())[waiter] = None

    def forget(self, waiter: Waiter, keys: Iterable[Hashable] | None = None) -> None:
        """`waiter` no longer waits for `keys`, or for anything."""
        for key in list(self._waiting if keys is None else keys):
            queue = self._waiting.get(key)
            if queue is not None:
                queue.pop(waiter, None)
                if not queue:
                    del self._waiting[key]

    @property
    def waiters(self) -> int:
        """Groups and returning calls that wait, counted once for each key."""
        return sum(map(len, self._waiting.values()))

    def statistics(self) -> dict[str, object]:
        return {guard.name: guard.statistics() for guard in self._guards}

    def _freed(self, keys: Sequence[Hashable]) -> None:
        for key in keys:
            while queue := self._waiting.get(key):
                waiter, _ = queue.popitem(last=False)
                if not queue:
                    del self._waiting[key]
                progress = waiter.wake(key)
                again = self._waiting.get(key)
                if not progress and again is not None and waiter in again:
                    # No room after all: it keeps its place at the front, and nobody behind it can do better.
                    again.move_to_end(waiter, last=False)
                    break


class _Returning:
    """A call that wants its width back after a nested run."""

    def __init__(self, admission: Admission, ticket: Ticket) -> None:
        self._admission = admission
        self._ticket = ticket
        self.admitted = trio.Event()

    def wake(self, key: Hashable) -> bool:  # noqa: ARG002 - it has one wish, whichever key it waits for
        verdict = self._admission.try_resume(self._ticket)
        if isinstance(verdict, Wait):
            self._admission.wait(verdict.key, self)
            return False
        self.admitted.set()
        return True
