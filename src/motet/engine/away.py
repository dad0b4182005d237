"""A caller that waits for runs. When it is a member of this engine, its width is given back meanwhile, so that what it
waits for cannot wait for what it holds; whoever else it is, nothing happens."""

from typing import TYPE_CHECKING, Self

import trio

from motet.engine.admission import Admission
from motet.ports import Start

if TYPE_CHECKING:
    from motet.engine.attempt import RunningAttempt


class Width:
    """An attempt's agent, provider and engine width, from its first wait on. Several of its tasks may wait at once: it is
    given back with the first and taken again, once, after the last."""

    def __init__(self, admission: Admission, start: Start) -> None:
        self._admission = admission
        self._start = start
        self._waits = 0
        self._returning: trio.Event | None = None
        self.given = False
        """It is not held now."""
        self.away = 0.0
        """Seconds for which it was not held, waits for it included."""
        self._since = 0.0

    def give(self) -> None:
        self._waits += 1
        if not self.given:
            self.given = True
            self._since = trio.current_time()
            self._admission.pause(self._start)

    async def take(self) -> None:
        """One wait is over. When it was the last, wait for the width; when cancelled here, it stays given."""
        self._waits -= 1
        while self.given and not self._is_waiting():
            if self._returning is not None:
                await self._returning.wait()
                continue
            self._returning = trio.Event()
            try:
                await self._admission.resume(self._start)
            finally:
                self._returning.set()
                self._returning = None
            if self._is_waiting():
                # Another task of the member began to wait in the meantime.
                self._admission.pause(self._start)
            else:
                self.given = False
                self.away += trio.current_time() - self._since

    def away_until(self, now: float) -> float:
        """Seconds for which it was not held, up to now."""
        return self.away + (now - self._since if self.given else 0.0)

    def _is_waiting(self) -> bool:
        return self._waits > 0


class Away:
    """One wait."""

    def __init__(self, member: "RunningAttempt | None") -> None:
        self._member = member
        self._gone = False

    def go(self) -> None:
        """The wait begins."""
        if self._member is not None and not self._gone:
            self._gone = True
            self._member.own_width.give()

    async def back(self) -> None:
        """The wait is over: take the width again before going on. Of no effect when it had not begun."""
        if self._member is not None and self._gone:
            self._gone = False
            await self._member.own_width.take()

    def bounded(self) -> Self:
        """As a context manager: inside, the member waits for something that stops by itself within a grace of its own, and
        its own grace counts from the end of that."""
        return self

    def __enter__(self) -> None:
        if self._member is not None:
            self._member.nested_active += 1

    def __exit__(self, *_: object) -> None:
        if self._member is not None:
            self._member.nested_active -= 1
            self._member.nested_ended = trio.current_time()
