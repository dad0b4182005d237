"""How much of a limit is in use at one moment: what `motet limits` shows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """One bound and what is in use of it."""

    guard: str
    """Which guard enforces it: capacity, rate, budget, quota, failure_rate, breaker, ..."""
    scope: str
    """engine, provider, agent, tenant, run or group."""
    name: str = ""
    """Of the provider, agent or tenant; of a run its id, of a group the run's id, a slash and its name."""
    what: str
    """running, runs, calls, tokens, cost_nanos, seconds, failures, successes, retries or hedges."""
    limit: float | None = None
    """None means that there is no bound and the use is only counted."""
    used: float = 0.0
    """Spent, counted or running."""
    reserved: float = 0.0
    """Set aside for calls that run."""
    window: float | None = None
    """Seconds after which it counts anew, or to which a rate refers; None means neither."""
    state: str = ""
    """Of a breaker: closed, open or half_open; of a budget: breached when it is used up; else empty."""
