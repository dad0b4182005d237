"""Bounds of a dispatch under ToolWeaver's names and with its defaults, and what they are on the engine. Values and pure
functions."""

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

from motet.errors import Exhausted
from motet.model import reason
from motet.model.plan import Limits
from motet.model.rate import Rate
from motet.patterns._toolweaver_results import DispatchResults

NANOS: Final = 1_000_000_000
MIN_SAMPLES: Final = 5
"""Ended agents before the failure rate is looked at."""
BURST_SECONDS: Final = 2
"""Worth of requests that may start at once after a rest."""


class DispatchQuotaExceeded(Exhausted):
    """A bound of the dispatch is reached. `reason` says which; `results` has every task's result, those that had ended
    with their outputs and costs. Empty when nothing was started."""

    default_reason: ClassVar[str] = reason.BUDGET_EXCEEDED

    def __init__(self, message: str, *, reason: str, results: DispatchResults | None = None) -> None:
        super().__init__(message, reason=reason)
        self.results = results if results is not None else DispatchResults()


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchResourceLimits:
    """Bounds of one dispatch; None is no bound. Raises ValueError, naming the field, for what is none."""

    max_total_cost_usd: float | None = 5.0
    """An agent starts only when its estimate fits what is left, so that spending stops at the bound, and not after it."""
    cost_per_agent_estimate: float | None = 0.01
    """US dollars that an agent is expected to cost, and is counted with when it tells no cost. None: not known, so that
    agents start one at a time as long as there is a budget and no cost was ever told."""
    max_concurrent: int | None = 10
    """Agents that run at once; with `max_parallel` the smaller holds."""
    max_total_agents: int | None = 100
    """More are refused before anything starts."""
    max_agent_duration_s: float | None = 300.0
    """Seconds for one agent; with `timeout_per_agent` the smaller holds."""
    max_total_duration_s: float | None = 600.0
    """Seconds for all, waiting included."""
    requests_per_second: float | None = 10.0
    """Starts; after a rest two seconds' worth may start at once."""
    max_failure_rate: float | None = 0.3
    """Share of failed agents, those out of time included, above which nothing more starts; looked at from the fifth on."""
    min_success_count: int = 0
    """Fewest successes."""
    max_dispatch_depth: int | None = 3
    """Dispatches inside dispatches; 0 means none. They are counted by the engine."""
    current_depth: int = 0
    """Depth that the caller says it comes from, where no engine knows; the deeper of the two holds."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            least = _LEAST.get(each.name, 0)
            if value is None and each.name not in _NEEDED:
                continue
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise ValueError(f"{each.name}: {value!r} is not a number")
            if value < least or (least == 0 and each.name in _POSITIVE and value == 0):
                more = "more than 0" if each.name in _POSITIVE and least == 0 else f"{least} or more"
                raise ValueError(f"{each.name}: {value!r} is too little; give {more}" + _or_none(each.name))

    def limits(self) -> Limits:
        """As bounds of a group."""
        cost = self.max_total_cost_usd
        return Limits(
            max_cost_nanos=None if cost is None else round(cost * NANOS),
            max_failure_rate=self.max_failure_rate,
            min_samples=None if self.max_failure_rate is None else MIN_SAMPLES,
            min_successes=self.min_success_count or None,
        )

    def card(self) -> dict[str, Any]:
        """What they are on an agent's card."""
        rate, cost = self.requests_per_second, self.cost_per_agent_estimate
        return {
            "rate": None if rate is None else Rate(calls_per_second=rate, burst=max(1.0, BURST_SECONDS * rate)),
            "estimated_cost_nanos": None if cost is None else round(cost * NANOS),
        }


_LEAST: Final = {"max_concurrent": 1}
_POSITIVE: Final = frozenset({"requests_per_second"})
_NEEDED: Final = frozenset({"min_success_count", "current_depth"})


def _or_none(field: str) -> str:
    return "" if field in _NEEDED else ", or None for no bound"


def least(*bounds: float | None) -> float | None:
    """The smallest of those that there are."""
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None
