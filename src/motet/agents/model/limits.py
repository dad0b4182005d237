"""What is left of a model agent's own limits for its next group. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from motet.model import usage as _usage
from motet.model.outcome import Outcome
from motet.model.plan import Limits
from motet.model.result import GroupResult
from motet.model.usage import Usage

UNFIT: Final = ("max_failure_rate", "min_samples", "min_successes", "max_members")
"""Bounds of groups that say nothing about a model agent: it is told of tools that failed, and goes on."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """A model agent's limits, and what it has used of them."""

    limits: Limits | None = None
    """None is no bound."""
    used: Usage = _usage.NONE
    """Of these limits."""
    seconds: float = 0.0
    """That its calls ran, added up."""
    total: Usage = _usage.NONE
    """Of the whole call, also before these limits held."""

    def after(self, group: GroupResult) -> "Allowance":
        """When this group has ended."""
        return replace(
            self,
            used=self.used + group.usage,
            seconds=self.seconds + seconds_of([group]),
            total=self.total + group.usage,
        )

    def left(self) -> Limits | None:
        """For the next group."""
        return None if self.limits is None else left(self.limits, self.used, self.seconds)

    def under(self, limits: Limits | None) -> "Allowance":
        """From here on these limits hold too."""
        if limits is None:
            return self
        rest = self.left()
        return Allowance(limits if rest is None else rest.tightened(limits), total=self.total)

    def value(self) -> dict[str, Any]:
        """What was used in all, as JSON."""
        return {
            "calls": self.total.calls,
            "input_tokens": self.total.input_tokens,
            "output_tokens": self.total.output_tokens,
            "cost_nanos": self.total.cost_nanos,
            "unpriced_calls": self.total.unpriced_calls,
        }


def unfit(limits: Limits | None) -> str:
    """The first bound that a model agent cannot have; empty when there is none."""
    return next((name for name in UNFIT if getattr(limits, name, None) is not None), "")


def left(limits: Limits, used: Usage, seconds: float) -> Limits:
    """Of these limits, after so much was used; never below 0."""
    return replace(
        limits,
        max_cost_nanos=_rest(limits.max_cost_nanos, used.cost_nanos),
        max_tokens=_rest(limits.max_tokens, used.input_tokens + used.output_tokens),
        max_calls=_rest(limits.max_calls, used.calls),
        max_duration=None if limits.max_duration is None else max(0.0, limits.max_duration - seconds),
    )


def seconds_of(groups: Sequence[GroupResult]) -> float:
    """Seconds that the calls in these groups ran, added up; one that waited for groups of its own counts for the rest."""
    return sum(sum(map(_seconds, group.outcomes)) + seconds_of(group.asked) for group in groups)


def _seconds(outcome: Outcome) -> float:
    ran = sum(attempt.ran for attempt in outcome.attempt_log) if outcome.attempt_log else outcome.ran
    if not outcome.nested:
        return ran
    return max(0.0, ran - sum(group.elapsed for group in outcome.nested)) + seconds_of(outcome.nested)


def _rest(most: int | None, used: int) -> int | None:
    return None if most is None else max(0, most - used)
