"""The options of `motet run` that bound a run in money, calls, tokens and failures, and the tenant who pays for it."""

from dataclasses import asdict, dataclass, fields
from decimal import Decimal, localcontext
from typing import Any

from cyclopts import Parameter

from motet import Limits
from motet.model.checks import MAX_AMOUNT, TENANT, limits_problems
from motet_server.cli.exits import FLAGS, UsageError

_NANOS = 9
"""Decimals of a dollar that are kept."""
_LONGEST = 40
"""Characters of a number; nobody writes longer ones, and the bound keeps the arithmetic small."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """Words as they stand on the command line; None where nothing was said. They tighten what the catalog sets."""

    max_cost: str | None = None
    """Most money that the run may cost, in US dollars, such as 0.50."""
    max_calls: str | None = None
    """Most calls of agents, nested groups, retries and hedges included."""
    max_tokens: str | None = None
    """Most tokens, input and output together."""
    max_failure_rate: str | None = None
    """Share of failed members above which a group stops, 0 to 1."""
    min_successes: str | None = None
    """Fewest successes for a group to succeed."""

    def made(self) -> Limits | None:
        """As limits; None when there are none. Raises UsageError, which names the option."""
        limits = Limits(
            max_cost_nanos=nanos("--max-cost", self.max_cost),
            max_calls=_whole("--max-calls", self.max_calls),
            max_tokens=_whole("--max-tokens", self.max_tokens),
            max_failure_rate=_number("--max-failure-rate", self.max_failure_rate),
            min_successes=_whole("--min-successes", self.min_successes),
        )
        for field, message in limits_problems(limits):
            raise UsageError(f"{FLAGS[f'limits.{field}']}: {message}")
        return limits if any(getattr(self, field.name) is not None for field in fields(self)) else None


def said(limits: Limits) -> dict[str, Any]:
    """The bounds that are set, by name: the client's noun has the same fields."""
    return {name: value for name, value in asdict(limits).items() if value is not None}


def tenant(word: str | None) -> str:
    """The name of a tenant; empty for nobody. Raises UsageError."""
    if word is None:
        return ""
    if TENANT.fullmatch(word) is None:
        allowed = "use letters, digits and _ . : @ -, at most 128, not starting with . : @ or -"
        raise UsageError(f"--tenant: {word!r} is not the name of a tenant; {allowed}")
    return word


def nanos(option: str, word: str | None) -> int | None:
    """US dollars in billionths, exactly. Raises UsageError."""
    if word is None:
        return None
    if not (_plain(word.replace(".", "", 1)) and word[0] != "." and word[-1] != "."):
        raise UsageError(f"{option}: {word!r} is not an amount of US dollars, 0 or more; write it as 0.50")
    with localcontext(prec=2 * _LONGEST):
        amount = Decimal(word).scaleb(_NANOS)
    if amount != amount.to_integral_value():
        raise UsageError(f"{option}: {word} has more than {_NANOS} decimals")
    if amount > MAX_AMOUNT:
        raise UsageError(f"{option}: {word} is more than can be counted; leave it out to have no bound")
    return int(amount)


def _whole(option: str, word: str | None) -> int | None:
    if word is None:
        return None
    if not _plain(word):
        raise UsageError(f"{option}: {word!r} is not a whole number, 0 or more")
    return int(word)


def _number(option: str, word: str | None) -> float | None:
    if word is None:
        return None
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"{option}: {word!r} is not a number; write a share such as 0.2") from None


def _plain(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _LONGEST
