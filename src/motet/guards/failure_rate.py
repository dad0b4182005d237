"""FailureRate: stops a group of which too large a share has failed. Counting only."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

from motet.model import reason
from motet.model.limit_use import LimitUse
from motet.model.outcome import Failure, Outcome
from motet.model.plan import Limits, OnBreach
from motet.model.state import State
from motet.ports import ADMIT, Admission, Guard, Refuse, Scope, Start

MIN_SAMPLES: Final = 5
FINEST: Final = 1_000_000
"""A rate is taken for the nearest fraction with at most this denominator: 0.29 is 29 of 100, which as a float it is not
quite, and exact for groups of up to so many members."""


class FailureRate(Guard):
    """Refuses starts once more than `limits.max_failure_rate` of the group's ended members have failed, and at least
    `min_samples` (5 by default) have ended.

    Failures are members that FAILED or TIMED_OUT; those that were cancelled or never started say nothing, an answer that
    was kept from an earlier call is a success. Strictly: 3 of 10 are not above 0.3. Calls `breached` once, to cancel
    what runs when `on_breach` is CANCEL. Raises ValueError for limits without `max_failure_rate`.
    """

    name = "failure_rate"

    def __init__(self, scope: Scope, limits: Limits, breached: Callable[[Failure, bool], None]) -> None:
        if limits.max_failure_rate is None:
            raise ValueError("limits.max_failure_rate is None; give a share from 0 to 1, or leave this guard out")
        self._scope = scope
        self._rate = limits.max_failure_rate
        self._share = Fraction(limits.max_failure_rate).limit_denominator(FINEST)
        self._samples = MIN_SAMPLES if limits.min_samples is None else limits.min_samples
        self._cancel = limits.on_breach is OnBreach.CANCEL
        self._breached = breached
        self._ended = 0
        self._failed = 0
        self._failure: Failure | None = None

    def may_start(self, start: Start, now: float) -> Admission:  # noqa: ARG002 - it looks at what has ended alone
        return ADMIT if self._failure is None else Refuse(self._failure)

    def member_ended(self, outcome: Outcome) -> None:
        if outcome.state in (State.FAILED, State.TIMED_OUT):
            self._failed += 1
        elif outcome.state is not State.SUCCEEDED:
            return
        self._ended += 1
        if self._failure is None and self._ended >= self._samples and self._above():
            self._failure = Failure(
                reason.FAILURE_RATE_EXCEEDED,
                f"{self._failed} of {self._ended} members failed; the limit is {self._rate * 100:g} %",
                {"failed": self._failed, "ended": self._ended, "max_failure_rate": self._rate},
            )
            self._breached(self._failure, self._cancel)

    def uses(self) -> Sequence[LimitUse]:
        """One, of shares: the limit, and as `used` the share of ended members that failed."""
        return (
            LimitUse(
                guard=self.name,
                scope=self._scope.kind,
                name=f"{self._scope.run_id}/{self._scope.name}",
                what="failures",
                limit=self._rate,
                used=self._failed / self._ended if self._ended else 0.0,
            ),
        )

    def _above(self) -> bool:
        return self._failed * self._share.denominator > self._share.numerator * self._ended
