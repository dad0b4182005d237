"""What a catalog bounds for everyone: rates, circuit breakers, providers, tenants. Values only; `motet.guards` enforces
them."""

from dataclasses import dataclass, field

from motet.model.plan import Limits
from motet.model.rate import Breaker, Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderBounds:
    """What all agents of one provider share. None is no bound."""

    max_parallel: int | None = None
    """Most calls at once."""
    rate: Rate | None = None
    breaker: Breaker | None = None
    """One for the whole provider, beside those of its agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Most that may be used in one window. None is no bound."""

    calls: int | None = None
    """Calls of agents."""
    tokens: int | None = None
    """Input and output together."""
    cost_nanos: int | None = None
    """Billionths of a US dollar."""
    duration: float | None = None
    """Seconds that calls may run, added up. Those of groups are not counted: their members' are."""

    def __bool__(self) -> bool:
        """It bounds something."""
        return any(most is not None for most in (self.calls, self.tokens, self.cost_nanos, self.duration))


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantBounds:
    """What one tenant may use. None is no bound."""

    max_parallel: int | None = None
    """Most calls at once; more wait."""
    max_runs: int | None = None
    """Most runs at once, nested ones not counted; one more is refused."""
    per_hour: Quota = field(default_factory=Quota)
    """In each hour of the wall clock, UTC."""
    per_day: Quota = field(default_factory=Quota)
    """In each day of the wall clock, UTC."""
    total: Quota = field(default_factory=Quota)
    """Ever: a budget that does not come back."""
    limits: Limits | None = None
    """Of each of its runs; a request can only tighten them."""


EVERYONE = "*"
"""The name under which a catalog bounds tenants that it does not name; each of them has its own count."""
