"""Asks all guards at once, and is the one place where starts wait for them.

A start is granted whole or not at all, and nothing is held while it waits. Whoever gives something back hands it to
those who wait, first come first served, before anyone new can ask; so nobody polls and nobody is passed over. Guards
that free themselves with time name the moment, at which those who wait for them are woken.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, Protocol

import trio

from motet.engine.alarms import Alarms
from motet.model.agent import AgentInfo
from motet.model.usage import NONE
from motet.ports import ADMIT, Admit, Course, End, Guard, Refuse, RunTicket, Start, Wait

NOTHING_USED: Final = End(NONE, 0.0)


class Waiter(Protocol):
    """Somebody who waits for a key."""

    def wake(self, key: Hashable) -> bool:
        """`key` may have room: try now. True when something was started. A waiter that still wants `key` asks again."""
        ...


class Admission:
    """The guards of an engine, composed with those of the scopes that a start belongs to."""

    def __init__(self, guards: Sequence[Guard], nursery: trio.Nursery) -> None:
        self.guards = tuple(guards)
        self._choosy = [guard for guard in guards if type(guard).concerns is not Guard.concerns]
        """Those that some starts do not concern."""
        self._courses: dict[tuple[int, ...], Course] = {}
        """Of these guards and no others, by those that are left out."""
        self._waiting: dict[Hashable, OrderedDict[Waiter, None]] = {}
        self._alarms: Alarms[Hashable] = Alarms(nursery, lambda key: self._freed((key,)))

    # ------------------------------------------------------------------------------------------------------------ runs

    def may_run(self, run: RunTicket, now: float) -> Refuse | None:
        for guard in self.guards:
            verdict = guard.may_run(run, now)
            if isinstance(verdict, Refuse):
                return verdict
        return None

    def run_started(self, run: RunTicket, now: float) -> None:
        for guard in self.guards:
            guard.run_started(run, now)

    def run_ended(self, run: RunTicket, now: float) -> None:
        for guard in self.guards:
            guard.run_ended(run, now)

    # -------------------------------------------------------------------------------------------------------- attempts

    def course(self, agent: AgentInfo, tenant: str, scopes: Sequence[Guard], *, repeats: bool) -> Course:
        """What starts of this agent on this tenant's account pass: `scopes`, and those of the engine's guards that they
        concern. `repeats` says that the member may call its agent again."""
        idle = tuple(id(guard) for guard in self._choosy if not guard.concerns(agent, tenant, repeats=repeats))
        course = self._courses.get(idle) if not scopes else None
        if course is None:
            course = Course([*scopes, *(guard for guard in self.guards if id(guard) not in idle)])
            if not scopes:
                self._courses[idle] = course
        return course

    def _course(self, start: Start) -> Course:
        return start.ticket.course or Course([*start.ticket.scopes, *self.guards])

    def try_start(self, start: Start, now: float) -> Wait | Refuse | None:
        """None when granted: then `ended` must follow exactly once."""
        course = start.ticket.course or self._course(start)
        for ask in course.may_start:
            verdict = ask(start, now)
            if verdict is not ADMIT and not isinstance(verdict, Admit):
                return verdict
        for tell in course.started:
            tell(start, now)
        return None

    def ended(self, start: Start, end: End, now: float, *, paused: bool = False) -> None:
        """It has ended; `paused` says that it was paused and holds nothing but what it used."""
        course = start.ticket.course or self._course(start)
        keys: list[Hashable] = []
        if not paused:
            for tell in course.ended:
                keys += tell(start, now)
        for settle in course.settled:
            keys += settle(start, end, now)
        if self._waiting:
            self._freed(keys)

    def asking(self, start: Start) -> "Asking":
        """A wish for `acquire`. Its `wake` lets it look again before anything is freed."""
        return Asking(self, lambda: self.try_start(start, trio.current_time()))

    async def acquire(self, start: Start, asking: "Asking | None" = None) -> Refuse | None:
        """Wait until the start is granted or refused. When it is cancelled here, nothing was granted."""
        asking = asking or self.asking(start)
        try:
            await asking.answered()
        except trio.Cancelled:
            if asking.done.is_set() and asking.refusal is None:
                # Granted in the same moment as cancelled: it ends before it began.
                self.withdraw(start)
            raise
        return asking.refusal

    def withdraw(self, start: Start) -> None:
        """A start that was granted and is not made after all: nothing was used."""
        self.ended(start, NOTHING_USED, trio.current_time())

    def pause(self, start: Start) -> None:
        """The holder waits for a nested run. It must `resume`, or, when it ends first, is ended as paused."""
        now = trio.current_time()
        for guard in self._course(start).guards:
            self._freed(guard.paused(start, now))

    def try_resume(self, start: Start) -> Wait | None:
        now = trio.current_time()
        guards = self._course(start).guards
        for guard in guards:
            verdict = guard.may_resume(start, now)
            # A call that runs cannot be refused any more: what would refuse it lets it finish.
            if isinstance(verdict, Wait):
                return verdict
        for guard in guards:
            guard.resumed(start, now)
        return None

    async def resume(self, start: Start) -> None:
        """Wait until the holder may go on. When it is cancelled here, it stays paused."""
        asking = Asking(self, lambda: self.try_resume(start))
        try:
            await asking.answered()
        except trio.Cancelled:
            if asking.done.is_set():
                # Admitted in the same moment as cancelled: give it back, the caller takes itself for paused.
                self.pause(start)
            raise

    # --------------------------------------------------------------------------------------------------------- waiting

    def wait(self, wish: Wait, waiter: Waiter) -> None:
        """Wake `waiter` when the guard that said `wish` may have room."""
        self._waiting.setdefault(wish.key, OrderedDict())[waiter] = None
        if wish.until != float("inf"):
            self._alarms.set(wish.key, wish.until)

    def forget(self, waiter: Waiter, keys: Iterable[Hashable] | None = None) -> None:
        """`waiter` no longer waits for `keys`, or for anything."""
        for key in list(self._waiting if keys is None else keys):
            queue = self._waiting.get(key)
            if queue is not None:
                queue.pop(waiter, None)
                if not queue:
                    del self._waiting[key]
                    self._alarms.drop(key)

    def close(self) -> None:
        """Wake nobody any more at a moment of its own."""
        self._alarms.close()

    @property
    def waiters(self) -> int:
        """Groups and calls that wait, counted once for each key."""
        return sum(map(len, self._waiting.values()))

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


class Asking:
    """One call that waits by itself: for its next attempt, or for its width after a nested run."""

    def __init__(self, admission: Admission, ask: Callable[[], Wait | Refuse | None]) -> None:
        self._admission = admission
        self._ask = ask
        self.done = trio.Event()
        self.refusal: Refuse | None = None
        self._key: Hashable | None = None

    async def answered(self) -> None:
        """Wait for the answer. When it is cancelled here, it no longer waits for anything."""
        if self.wake(None):
            return
        try:
            await self.done.wait()
        except trio.Cancelled:
            self._admission.forget(self)
            raise

    def wake(self, key: Hashable) -> bool:  # noqa: ARG002 - it has one wish, whichever key it waits for
        if self.done.is_set():
            return False
        verdict = self._ask()
        if self._key is not None:
            # It may have been woken by another than the one that it waits for.
            self._admission.forget(self, (self._key,))
            self._key = None
        if isinstance(verdict, Wait):
            self._key = verdict.key
            self._admission.wait(verdict, self)
            return False
        self.refusal = verdict
        self.done.set()
        return True
