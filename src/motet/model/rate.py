"""How often an agent or provider may be called, and when it is left alone because it fails."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Calls and tokens in a time. None is no bound; several bounds hold together."""

    calls_per_second: float | None = None
    calls_per_minute: float | None = None
    tokens_per_second: float | None = None
    """Input and output together."""
    tokens_per_minute: float | None = None
    burst: float | None = None
    """Calls that may start at once after a rest, at least 1; None means one second's worth of the slower bound, at least
    1. Tokens may be used at once up to one window's worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When calls are refused because those before have failed. Calls that were cancelled say nothing."""

    failures: int = 5
    """Failures in a row, own timeouts included, that open it."""
    cooldown: float = 30.0
    """Seconds for which it stays open; then it lets probes through."""
    probes: int = 1
    """Probes at once while it is half open, and successes in a row that close it."""
