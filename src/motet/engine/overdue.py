"""Members that were asked to stop and do not: after a grace they are given up, so that nobody waits for them for ever."""

import math
from typing import TYPE_CHECKING

import trio

from motet.engine import causes, outcomes
from motet.engine.attempt import RunningAttempt
from motet.engine.causes import StopCause

if TYPE_CHECKING:
    from motet.engine.group import GroupExecution
    from motet.engine.member import RunningMember


class Overdue:
    """The alarm of one group."""

    def __init__(self, group: "GroupExecution") -> None:
        self._group = group
        self._alarms = group.run.engine.patience
        self.arm(group.deadline + self._grace)

    async def wait(self, concluded: trio.Event) -> None:
        """Wait for the end of the group. Members that hold it up are given up meanwhile."""
        await concluded.wait()
        self._alarms.drop(self)

    def arm(self, at: float) -> None:
        """Look for members that do not stop, at this time or before."""
        if at != math.inf:
            self._alarms.set(self, at)

    def look(self) -> None:
        """The moment has come."""
        now = trio.current_time()
        group = self._group
        stopped = group.stop_cause(now) if group.cause is not None or now >= group.deadline else None
        for member in list(group.running.values()):
            if member.ended:
                continue
            late: list[RunningAttempt] = []
            for attempt in member.attempts:
                if attempt.finding is None:
                    due = self.due(attempt, math.inf if stopped is None else stopped.at, now)
                    if due <= now:
                        late.append(attempt)
                    else:
                        self.arm(due)
            if late or (stopped is not None and not member.attempts and stopped.at + self._grace <= now):
                self._give_up(member, late, stopped, now)

    @property
    def _grace(self) -> float:
        return self._group.run.engine.stop_grace

    def due(self, attempt: RunningAttempt, asked: float, now: float) -> float:
        """When an attempt is given up: a grace after it was asked to stop, or after what it waited for is over."""
        if attempt.timed:
            asked = min(asked, attempt.deadline)
        due = max(asked, attempt.nested_ended) + self._grace
        # What it waits for is bounded in the same way and will be over soon.
        return now + self._grace if attempt.nested_active and due <= now else due

    def _give_up(
        self, member: "RunningMember", late: list[RunningAttempt], stopped: StopCause | None, now: float
    ) -> None:
        """Give up the attempts that are late, and the member with them when nothing else of it goes on."""
        group = self._group
        for attempt in late:
            own = attempt.timed and (stopped is None or attempt.deadline <= stopped.at)
            cause = causes.deadline_exceeded(attempt.deadline, "member") if own else stopped
            attempt.give_up(cause or group.stop_cause(now), now)
        if member.ended or any(attempt.finding is None for attempt in member.attempts):
            return
        found = late[-1].finding if late else None
        if member.winner is not None or found is None:
            group.give_up(member, outcomes.stopped_between(member, group.stop_cause(now)))
        elif late[-1].race is None or stopped is not None:
            group.give_up(member, outcomes.outcome(member, found, now))
