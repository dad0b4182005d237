"""What a tenant has used in one window of time."""

from dataclasses import dataclass, replace
from typing import Final

NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUse:
    """What a tenant has used in one window."""

    tenant: str
    window: str
    """hour, day or total."""
    start: float
    """Of the window, seconds since 1970 by the wall clock; 0 for total."""
    calls: int = 0
    tokens: int = 0
    cost_nanos: int = 0
    seconds: float = 0.0
    """That calls ran, added up: a whole number of nanoseconds."""

    @property
    def nanos(self) -> int:
        """`seconds` in nanoseconds, which add up without error."""
        return round(self.seconds * NANOS)

    @property
    def is_nothing(self) -> bool:
        """Nothing was used."""
        return not (self.calls or self.tokens or self.cost_nanos or self.nanos)

    def plus(self, other: "QuotaUse") -> "QuotaUse":
        """With what was used besides in the same window."""
        return replace(
            self,
            calls=self.calls + other.calls,
            tokens=self.tokens + other.tokens,
            cost_nanos=self.cost_nanos + other.cost_nanos,
            seconds=(self.nanos + other.nanos) / NANOS,
        )
