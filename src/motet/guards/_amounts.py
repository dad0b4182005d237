"""What one call is expected to use of each figure, and what it has used; how amounts are told to a person."""

from collections.abc import Sequence
from typing import Final

from motet.guards._ledger import Estimate, Figure, Need
from motet.model.quota_use import NANOS, QuotaUse
from motet.model.usage import Usage
from motet.ports import End, Profile, Start

MEDIAN: Final = 0.5


def needs_of(figures: Sequence[Figure], start: Start) -> list[Estimate]:
    """What a start is expected to use, one estimate for each figure. A group or a model agent is a call,
    but does no work itself: what it runs pays for that."""
    if start.ticket.agent.composite:
        return [1 if figure.what == "calls" else 0 for figure in figures]
    profile = start.ticket.profile
    return [_need(figure.what, profile) for figure in figures]


def _need(what: str, profile: Profile | None) -> Estimate:
    if what == "calls":
        return 1
    if profile is None:
        return Need.OPEN
    if what == "seconds":
        # Every call takes time: before its first answer an agent's is not known, whatever else its card says.
        median = profile.quantile(MEDIAN)
        return Need.REST if median is None else max(0, round(median * NANOS))
    known = profile.tokens if what == "tokens" else profile.cost_nanos
    if known is not None:
        return max(0, known)
    return Need.OPEN if profile.seen else Need.REST


def truth_of(figures: Sequence[Figure], start: Start, end: End) -> list[int]:
    """What an attempt has used, one amount for each figure."""
    return [_used(figure.what, start, end) for figure in figures]


def _used(what: str, start: Start, end: End) -> int:
    if what == "seconds":
        return 0 if start.ticket.agent.composite else max(0, round(end.ran * NANOS))
    return amount_of(what, end.usage)


def use_of(start: Start, end: End) -> QuotaUse:
    """What an attempt has used, of no window yet; each amount as a ledger counts it."""
    calls, tokens, cost_nanos, nanos = (
        _used(what, start, end) for what in ("calls", "tokens", "cost_nanos", "seconds")
    )
    return QuotaUse(
        tenant=start.ticket.tenant,
        window="",
        start=0.0,
        calls=calls,
        tokens=tokens,
        cost_nanos=cost_nanos,
        seconds=nanos / NANOS,
    )


def amount_of(what: str, usage: Usage) -> int:
    """Calls, tokens or cost_nanos of a usage."""
    if what == "calls":
        return usage.calls
    return usage.input_tokens + usage.output_tokens if what == "tokens" else usage.cost_nanos


def told(what: str, amount: int) -> float:
    """An amount as programs are told it: time in seconds."""
    return amount / NANOS if what == "seconds" else amount


def said(what: str, amount: int) -> str:
    """An amount with its unit, for a person."""
    if what == "seconds":
        return f"{amount / NANOS:g} s"
    if what == "cost_nanos":
        return f"{f'{amount / NANOS:.9f}'.rstrip('0').rstrip('.')} US dollars"
    return f"{amount} {what[:-1] if amount == 1 else what}"
