"""The arithmetic of a token bucket: when may so much be taken. Pure: it has no clock and knows nothing of agents."""

import math


class Bucket:
    """Holds `capacity` units when full, and refills by `rate` units a second. What is taken beyond its level is a debt.
    Both figures are above 0 and finite.

    It keeps the level at one moment, and moves both only when something is taken. So whole numbers stay whole within a
    moment, and an amount may be taken from the very moment that `ready_at` names, whatever is rounded on the way: both
    are one computation on one state.
    """

    __slots__ = ("_level", "_stamp", "capacity", "rate")

    def __init__(self, rate: float, capacity: float) -> None:
        self.rate = rate
        self.capacity = capacity
        self._level = capacity
        """At `_stamp`; below 0 when in debt."""
        self._stamp = -math.inf

    def ready_at(self, amount: float) -> float:
        """The moment from which `amount` may be taken, if nothing is taken before. More than the capacity may be taken
        once it is full, nothing at any time."""
        missing = min(amount, self.capacity) - self._level
        if missing <= 0 or amount <= 0:
            return -math.inf
        return self._stamp + missing / self.rate

    def take(self, amount: float, now: float) -> None:
        """Whether it is there or not. A negative amount is given back; what does not fit in is lost."""
        self._level = min(self._level_at(now) - amount, self.capacity)
        self._stamp = now

    def used(self, now: float) -> float:
        """What is missing from a full bucket: above the capacity when it is in debt."""
        return self.capacity - self._level_at(now)

    def full(self, now: float) -> bool:
        """As good as new."""
        return now >= self.ready_at(self.capacity)

    def _level_at(self, now: float) -> float:
        if self.full(now):
            return self.capacity
        return min(self._level + (now - self._stamp) * self.rate, self.capacity)
