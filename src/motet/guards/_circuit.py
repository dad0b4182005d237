"""One circuit of a breaker: what faults and answers in a row make of it. Pure: it has no clock and knows no agents."""

import math
from enum import StrEnum

from motet.model.rate import Breaker


class CircuitState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """Opens, half opens and closes as `Breaker` says.

    An era is the time from one opening to the next. A call counts in the era in which it started: what began before the
    circuit opened says nothing about whether it works again.
    """

    __slots__ = ("_answers", "_era", "_open", "_probing", "breaker", "failures", "open_until", "running")

    def __init__(self, breaker: Breaker) -> None:
        for what, figure in (("failures", breaker.failures), ("probes", breaker.probes)):
            if figure < 1:
                raise ValueError(f"{what} is {figure}; give at least 1")
        if not (math.isfinite(breaker.cooldown) and breaker.cooldown >= 0):
            raise ValueError(f"cooldown is {breaker.cooldown}; give a finite number of seconds, at least 0")
        self.breaker = breaker
        self.failures = 0
        """Faults in a row, calls of earlier eras left out."""
        self.open_until = -math.inf
        """The moment at which it becomes half open, or did."""
        self.running = 0
        """Calls that are not settled, of any era."""
        self._open = False
        """Or half open."""
        self._era = 0
        self._probing = 0
        """Calls of this era that run."""
        self._answers = 0
        """Probes that answered, in a row."""

    def state(self, now: float) -> CircuitState:
        if not self._open:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self.open_until else CircuitState.HALF_OPEN

    @property
    def may_probe(self) -> bool:
        """While it is half open: one more call may try whether it works."""
        return self._probing < self.breaker.probes

    def started(self, now: float) -> int:  # noqa: ARG002 - the moments of a guard have one shape
        """The era in which it started, to be told to `settled`."""
        self.running += 1
        self._probing += 1
        return self._era

    def settled(self, era: int, fault: bool | None, now: float) -> None:
        self.running -= 1
        if era != self._era:
            return
        self._probing -= 1
        if fault is None:
            return
        if fault:
            self.failures += 1
            if self._open or self.failures >= self.breaker.failures:
                self._begin_era(now)
            return
        self.failures = 0
        if self._open:
            self._answers += 1
            self._open = self._answers < self.breaker.probes

    def _begin_era(self, now: float) -> None:
        self._open = True
        self.open_until = now + self.breaker.cooldown
        self._era += 1
        self._probing = 0
        self._answers = 0
