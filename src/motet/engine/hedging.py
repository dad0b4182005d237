"""A slow call gets company: attempts of one member that run beside each other, until one answers."""

from typing import TYPE_CHECKING

import trio

from motet.engine import causes, outcomes
from motet.engine.attempt import RunningAttempt, first_leaf
from motet.model.outcome import AttemptKind
from motet.model.state import State

if TYPE_CHECKING:
    from motet.engine.member import RunningMember


class Race:
    """Attempts beside each other. The first that succeeds wins, and the others are stopped."""

    def __init__(self, member: "RunningMember", first: RunningAttempt, delay: float, most: int) -> None:
        """`delay` is in seconds, before each further attempt; at most `most` run at once."""
        self._member = member
        self._first = first
        self._delay = delay
        self._most = most
        self._alive: list[RunningAttempt] = []
        """Those whose task is not over: also those that were given up."""
        self._found: list[RunningAttempt] = []
        """Those whose end is known, in the order in which it was."""
        self._changed = trio.Event()

    async def decide(self) -> RunningAttempt:
        """The winner, or the last that failed. Every attempt has ended, or the member was given up meanwhile."""
        try:
            return await self._decide()
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if cancelled is None or rest is not None:
                raise
            # Several attempts saw the one cancellation from outside; whoever waits for the member sees it once.
            raise first_leaf(cancelled) from None

    async def _decide(self) -> RunningAttempt:
        member = self._member
        async with trio.open_nursery() as nursery:
            self._launch(nursery, self._first)
            more = True
            while self._open and member.winner is None:
                more = more and len(self._open) < self._most
                with trio.CancelScope() as scope:
                    if more:
                        scope.deadline = trio.current_time() + self._delay
                    await self._changed.wait()
                if scope.cancelled_caught and self._open and member.winner is None:
                    more = self._hedge(nursery)
            await self._stop_losers()
        return member.winner or self._found[-1]

    @property
    def _open(self) -> list[RunningAttempt]:
        """Those whose end is not known."""
        return [attempt for attempt in self._alive if attempt.finding is None]

    def _launch(self, nursery: trio.Nursery, attempt: RunningAttempt) -> None:
        attempt.scope = trio.CancelScope()
        attempt.race = self
        self._alive.append(attempt)
        nursery.start_soon(self._live, attempt)

    def _hedge(self, nursery: trio.Nursery) -> bool:
        """One more attempt, if there is room for it at this moment: a hedge never waits. Whether it was made."""
        member = self._member
        now = trio.current_time()
        if member.ended or now >= member.deadline_from(now):
            return False
        attempt = RunningAttempt(member, AttemptKind.HEDGE, member.deadline_from(now))
        if member.group.run.engine.admission.try_start(attempt, now) is not None:
            return False
        member.begin(attempt, now)
        self._launch(nursery, attempt)
        return True

    def found(self, attempt: RunningAttempt) -> None:
        """How an attempt ended is known: it is over, or was given up."""
        if attempt in self._found:
            return
        member = self._member
        self._found.append(attempt)
        self._changed.set()
        self._changed = trio.Event()
        if member.ended or attempt.finding is None:
            return
        member.keep(attempt)
        if attempt.finding.state is State.SUCCEEDED:
            member.winner = member.winner or attempt
        elif member.made > 1 and (self._open or member.winner is not None):
            # The end of the one that decides is told with what it leads to, so that a crash cannot come between the two.
            member.tell_end(attempt.as_attempt())

    async def _live(self, attempt: RunningAttempt) -> None:
        try:
            await attempt.live()
        finally:
            self._alive.remove(attempt)
            self.found(attempt)
            self._member.over(attempt)

    async def _stop_losers(self) -> None:
        """Stop the others and wait for their receipts; those that do not stop in time are given up, and the member ends
        without them."""
        member = self._member
        now = trio.current_time()
        for loser in self._open:
            loser.lose(now)
        overdue = member.group.overdue
        while losers := self._open:
            moment = trio.current_time()
            due = [overdue.due(loser, now, moment) for loser in losers]
            for loser, late in zip(losers, due, strict=True):
                if late <= moment:
                    loser.give_up(causes.outrun(now), moment)
            if min(due) > moment:
                with trio.CancelScope(deadline=min(due)):
                    await self._changed.wait()
        decides = member.winner or self._found[-1]
        if self._alive and decides.finding is not None and not member.ended:
            member.group.give_up(member, outcomes.outcome(member, decides.finding, decides.ended_at))
