"""Words for what guards and the attempts of a member did: retries, hedges, answers that were kept, limits that stopped
members. Pure."""

from collections import Counter
from typing import Any, Final

from motet.model import reason as reasons
from motet_server.cli.text import count, one_line, reason, receipt, seconds

LIMITS: Final = frozenset(
    {
        reasons.BUDGET_EXCEEDED,
        reasons.FAILURE_RATE_EXCEEDED,
        reasons.TOO_FEW_SUCCESSES,
        reasons.QUOTA_EXCEEDED,
        reasons.CIRCUIT_OPEN,
        reasons.DEADLINE_INFEASIBLE,
    }
)
"""Reasons of members that a limit kept from starting, or stopped."""
_KINDS: Final = {"RETRY": ("retry", "retries"), "HEDGE": ("hedge", "hedges"), "RESUME": ("resumed", "resumed")}


def started(detail: Any) -> str:
    """One line for a further attempt that starts."""
    match str(detail.kind):
        case "HEDGE":
            return f"attempt {detail.number} starts beside the one that is slow"
        case "RESUME":
            return f"attempt {detail.number} starts; the one before ended with its process"
        case _:
            return f"attempt {detail.number} starts"


def ended(detail: Any) -> str:
    """One line for an attempt that has ended, with what follows it."""
    attempt = detail.attempt
    why = f": {reason(attempt.failure)}" if attempt.failure is not None else ""
    stop = f"; {receipt(attempt.stop)}" if attempt.stop is not None else ""
    again = f"; the next in {seconds(detail.retry_in)}" if detail.retry_in is not None else ""
    return one_line(f"attempt {attempt.number} {attempt.state!s} after {seconds(attempt.ran)}{why}{stop}{again}")


def made(outcome: Any) -> str:
    """How many attempts a member made, and why more than one: `3 (2 retries)`; empty for the usual one."""
    if outcome.attempts <= 1:
        return ""
    kinds = Counter(str(attempt.kind) for attempt in outcome.attempt_log)
    why = [_kind(kind, kinds[kind]) for kind in _KINDS if kinds[kind]]
    return f"{outcome.attempts} ({', '.join(why)})" if why else str(outcome.attempts)


def _kind(kind: str, number: int) -> str:
    one, many = _KINDS[kind]
    return one if number == 1 else f"{number} {many}"


def limit_of(outcome: Any) -> str:
    """The limit that kept a member from starting, or stopped it; empty when none did."""
    failure = outcome.failure
    stopped = failure is not None and str(outcome.state) in {"SKIPPED", "CANCELLED"} and failure.reason in LIMITS
    return str(failure.reason) if stopped else ""


def stopped_by(limits: Counter[str]) -> str:
    """Members that limits stopped, by limit: `BUDGET_EXCEEDED stopped 3 members`; empty when there are none."""
    return ", ".join(f"{name} stopped {count(number, 'member')}" for name, number in limits.items() if number)
