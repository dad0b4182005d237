"""What one tenant runs and has used: counts, its windows of the wall clock, and use on its way to the store."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from motet.guards._ledger import Figure, Ledger
from motet.model.bounds import Quota, TenantBounds
from motet.model.quota_use import NANOS, QuotaUse

LENGTHS: Final[dict[str, float]] = {"total": math.inf, "day": 86400.0, "hour": 3600.0}
"""Seconds of each window, the longest first: who has used up two is told of the one that takes longer to turn."""

FIELDS: Final = {"calls": "calls", "tokens": "tokens", "cost_nanos": "cost_nanos", "seconds": "duration"}
"""From what is counted to the field of a quota that bounds it."""

Key: TypeAlias = tuple[str, str, float]
"""Tenant, window and the window's start."""


def quotas_of(bounds: TenantBounds) -> dict[str, Quota]:
    """The windows that are bounded, the longest first."""
    quotas = {"total": bounds.total, "day": bounds.per_day, "hour": bounds.per_hour}
    return {window: quota for window, quota in quotas.items() if quota}


def start_of(window: str, wall: float) -> float:
    """When the window that this moment lies in started, seconds since 1970; 0 for total."""
    length = LENGTHS[window]
    return 0.0 if math.isinf(length) else math.floor(wall / length) * length


class TenantAccount:
    """The live counts of one tenant."""

    __slots__ = ("bounds", "ledger", "running", "runs", "starts", "tenant", "told", "turn_at")

    def __init__(self, tenant: str, bounds: TenantBounds, wall: float) -> None:
        quotas = quotas_of(bounds)
        self.tenant = tenant
        self.bounds = bounds
        self.runs = 0
        self.running = 0
        self.starts: dict[str, float] = dict.fromkeys(quotas, -1.0)
        """Of the current windows, seconds since 1970."""
        self.told: set[str] = set()
        """Windows whose total the store has told."""
        self.turn_at = -math.inf
        """By the wall clock: when the next window turns."""
        self.ledger = Ledger(
            [
                Figure(what, round(limit * NANOS) if what == "seconds" else limit, window)
                for window, quota in quotas.items()
                for what, field in FIELDS.items()
                if (limit := getattr(quota, field)) is not None and not math.isinf(limit)
            ]
        )
        self.turn(wall)

    def turn(self, wall: float) -> None:
        """Count windows that have turned anew. What runs settles into the window in which it ends."""
        if wall < self.turn_at:
            return
        self.turn_at = math.inf
        for window, old in self.starts.items():
            start = start_of(window, wall)
            if start != old:
                self.starts[window] = start
                self.told.discard(window)
                self.ledger.renew(window)
            self.turn_at = min(self.turn_at, start + LENGTHS[window])

    def end_of(self, window: str) -> float:
        """When the current window turns, by the wall clock; infinite for total."""
        return self.starts[window] + LENGTHS[window]

    def tell(self, use: QuotaUse) -> None:
        """Set what has been used in the window that this is about."""
        for figure in self.ledger.figures:
            if figure.window == use.window:
                figure.spent = use.nanos if figure.what == "seconds" else getattr(use, figure.what)
        self.told.add(use.window)

    @property
    def has_used(self) -> bool:
        """Something was used in a current window."""
        return any(figure.spent for figure in self.ledger.figures)

    @property
    def at_rest(self) -> bool:
        """Nothing of it runs."""
        return not (self.runs or self.running or self.ledger.busy)


class Handover:
    """Use on its way to the store: what is queued, and what was taken but is not confirmed. Nothing is lost when a
    write fails, nothing is given twice when it works."""

    def __init__(self) -> None:
        self._queued: dict[Key, QuotaUse] = {}
        self._taken: dict[Key, QuotaUse] = {}

    def add(self, account: TenantAccount, used: QuotaUse) -> bool:
        """Queue what was used, in each of the account's current windows; whether the queue was empty and no longer is."""
        if used.is_nothing:
            return False
        was_empty = not self._queued
        for window, start in account.starts.items():
            _put(self._queued, replace(used, window=window, start=start))
        return was_empty and bool(self._queued)

    def take(self) -> Sequence[QuotaUse]:
        """All that is not confirmed; the queue is empty after."""
        for use in self._queued.values():
            _put(self._taken, use)
        self._queued.clear()
        return tuple(self._taken.values())

    def confirm(self, total: QuotaUse) -> QuotaUse:
        """The store's total has what was taken in it: what has been used, with what is queued since."""
        key = (total.tenant, total.window, total.start)
        self._taken.pop(key, None)
        queued = self._queued.get(key)
        return total if queued is None else total.plus(queued)

    def holds(self, account: TenantAccount) -> bool:
        """The store does not know all that was used in the account's current windows."""
        keys = [(account.tenant, window, start) for window, start in account.starts.items()]
        return any(key in self._queued or key in self._taken for key in keys)


def _put(uses: dict[Key, QuotaUse], use: QuotaUse) -> None:
    key = (use.tenant, use.window, use.start)
    before = uses.get(key)
    uses[key] = use if before is None else before.plus(use)
