"""What is wrong with limits, policies, rates and quotas: one list of (field, sentence) for each. Pure; must not know where
the values came from, nor what names mean."""

import re
import sys
from collections.abc import Iterator
from typing import Final, TypeAlias

from motet.model.agent import AgentInfo
from motet.model.bounds import EVERYONE, ProviderBounds, Quota, TenantBounds
from motet.model.plan import HedgePolicy, Idempotency, Limits, OnBreach, RetryPolicy
from motet.model.rate import Breaker, Rate

Problem: TypeAlias = tuple[str, str]
"""A field, by its path in the value, empty for the value as a whole; and what is wrong with it and how to put it right."""

MAX_COUNT: Final = 2**31 - 1  # the contract's counts are int32
MAX_AMOUNT: Final = 2**63 - 1  # the contract's amounts are int64
MAX_ATTEMPTS: Final = 100  # the contract's bound
MAX_HEDGES: Final = 10  # the contract's bound
_MINUTE: Final = 60
"""Seconds: a rate that vanishes when it is divided by them is none."""
MAX_KEY: Final = 256
"""Characters of an idempotency key, the contract's bound."""
TENANT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,127}")
BAD_TENANT: Final = (
    f"is not the name of a tenant; use letters, digits, _ . : @ and -, at most 128, not starting with . : @ or -, "
    f"or {EVERYONE} for all that have no bounds of their own"
)

_HEDGE_ADVICE: Final = "set replay_safe = true on agents whose calls may be made twice without harm, or take hedge out"


def limits_problems(limits: Limits | None, members: int | None = None) -> list[Problem]:
    """Of a group with so many members, replicas counted; of a run, or where they are not known, with None."""
    return list(_limits(limits, members))


def retry_problems(retry: RetryPolicy | None) -> list[Problem]:
    return list(_retry(retry))


def hedge_problems(hedge: HedgePolicy | None, *, replay_safe: bool = True) -> list[Problem]:
    """`replay_safe`: at least one of the group's agents is declared so."""
    return list(_hedge(hedge, replay_safe=replay_safe))


def idempotency_problems(idempotency: Idempotency | None) -> list[Problem]:
    return list(_idempotency(idempotency))


def rate_problems(rate: Rate | None) -> list[Problem]:
    return list(_rate(rate))


def breaker_problems(breaker: Breaker | None) -> list[Problem]:
    return list(_breaker(breaker))


def provider_problems(bounds: ProviderBounds) -> list[Problem]:
    return [
        *count_problems("max_parallel", bounds.max_parallel),
        *_within("rate", _rate(bounds.rate)),
        *_within("breaker", _breaker(bounds.breaker)),
    ]


def tenant_problems(bounds: TenantBounds) -> list[Problem]:
    return [
        *count_problems("max_parallel", bounds.max_parallel),
        *count_problems("max_runs", bounds.max_runs),
        *_within("per_hour", _quota(bounds.per_hour)),
        *_within("per_day", _quota(bounds.per_day)),
        *_within("total", _quota(bounds.total)),
        *_within("limits", _limits(bounds.limits, None)),
    ]


def is_tenant(name: object) -> bool:
    """Whether a catalog may give bounds under this name."""
    return isinstance(name, str) and (name == EVERYONE or TENANT.fullmatch(name) is not None)


def card_problems(info: AgentInfo) -> list[Problem]:
    """Of what an agent's card says to guards: estimates, rate, weight, breaker, replay_safe."""
    return list(_card(info))


def count_problems(field: str, value: object, *, least: int = 1, most: int = MAX_COUNT) -> Iterator[Problem]:
    """A whole number between two others, or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        yield field, "must be a whole number"
    elif value < least:
        yield field, f"must be {least} or more, not {value}" if value > -(10**20) else f"must be {least} or more"
    elif value > most:
        yield field, f"must be {most} or less"


def amount_problems(field: str, value: object) -> Iterator[Problem]:
    """Tokens, calls or billionths of a US dollar, or None."""
    return count_problems(field, value, least=0, most=MAX_AMOUNT)


def seconds_problems(field: str, value: object) -> Iterator[Problem]:
    """A length of time, or None for no bound."""
    if value is not None and not is_amount(value):
        yield field, "must be a finite number of seconds, 0 or more; leave it out to have no bound"


def is_amount(value: object) -> bool:
    """A finite number, 0 or more, that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


def share_problems(field: str, value: object, most: int = 1) -> Iterator[Problem]:
    if not (is_amount(value) and value <= most):  # type: ignore[operator]  # it is a number
        yield field, f"must be a number from 0 to {most}"


def _limits(limits: Limits | None, members: int | None) -> Iterator[Problem]:
    if limits is None:
        return
    if not isinstance(limits, Limits):
        yield "", _kind("Limits", limits)
        return
    yield from amount_problems("max_cost_nanos", limits.max_cost_nanos)
    yield from amount_problems("max_tokens", limits.max_tokens)
    yield from amount_problems("max_calls", limits.max_calls)
    yield from seconds_problems("max_duration", limits.max_duration)
    if limits.max_failure_rate is not None:
        yield from share_problems("max_failure_rate", limits.max_failure_rate)
    yield from count_problems("min_samples", limits.min_samples)
    wrong = list(count_problems("min_successes", limits.min_successes, least=0))
    yield from wrong
    if not wrong and members is not None and limits.min_successes is not None and limits.min_successes > members:
        reached = f"{members} members, replicas counted, can never reach it"
        yield "min_successes", f"must be {members} or less, not {limits.min_successes}: {reached}"
    yield from count_problems("max_members", limits.max_members)
    yield from count_problems("max_depth", limits.max_depth, least=0)
    if not isinstance(limits.on_breach, OnBreach | None):
        yield "on_breach", "must be OnBreach.DRAIN or OnBreach.CANCEL"
    if not isinstance(limits.skip_infeasible, bool | None):
        yield "skip_infeasible", "must be true or false"


def _retry(retry: RetryPolicy | None) -> Iterator[Problem]:
    if retry is None:
        return
    if not isinstance(retry, RetryPolicy):
        yield "", _kind("RetryPolicy", retry)
        return
    yield from _required("max_attempts", retry.max_attempts, most=MAX_ATTEMPTS)
    yield from _wait("initial_backoff", retry.initial_backoff)
    yield from _wait("max_backoff", retry.max_backoff)
    multiplier = retry.backoff_multiplier
    if not (is_amount(multiplier) and multiplier >= 1):
        yield "backoff_multiplier", "must be a finite number, 1 or more; 1 keeps every wait the same"
    yield from share_problems("jitter", retry.jitter)
    if isinstance(retry.reasons, str):
        yield "reasons", "is one text; give a list of reasons"
    elif not all(isinstance(name, str) and name for name in retry.reasons):
        yield "reasons", "must be reasons of failures, such as AGENT_FAILED"


def _hedge(hedge: HedgePolicy | None, *, replay_safe: bool) -> Iterator[Problem]:
    if hedge is None:
        return
    if not isinstance(hedge, HedgePolicy):
        yield "", _kind("HedgePolicy", hedge)
        return
    if hedge.delay is not None and not is_amount(hedge.delay):
        rule = "must be a finite number of seconds, 0 or more"
        yield "delay", f"{rule}; leave it out for the agent's live 95th percentile"
    yield from _required("max_attempts", hedge.max_attempts, least=2, most=MAX_HEDGES)
    if not replay_safe:
        yield (
            "",
            f"would never make a second attempt: none of the group's agents is declared replay_safe; {_HEDGE_ADVICE}",
        )


def _idempotency(idempotency: Idempotency | None) -> Iterator[Problem]:
    if idempotency is None:
        return
    if not isinstance(idempotency, Idempotency):
        yield "", _kind("Idempotency", idempotency)
        return
    key = idempotency.key
    if not isinstance(key, str) or not _is_plain(key):
        yield "key", "must be Unicode text without NUL; empty for the hash of the call"
    elif len(key) > MAX_KEY:
        yield "key", f"has {len(key)} characters; give at most {MAX_KEY}, such as a hash of what it stands for"
    if not is_amount(idempotency.ttl):
        yield "ttl", "must be a finite number of seconds, 0 or more; 0 only joins calls that run at the same time"


def _rate(rate: Rate | None) -> Iterator[Problem]:
    if rate is None:
        return
    if not isinstance(rate, Rate):
        yield "", _kind("Rate", rate)
        return
    calls = (("calls_per_second", rate.calls_per_second), ("calls_per_minute", rate.calls_per_minute))
    tokens = (("tokens_per_second", rate.tokens_per_second), ("tokens_per_minute", rate.tokens_per_minute))
    for field, value in (*calls, *tokens):
        if value is not None and not (is_amount(value) and value / _MINUTE > 0):
            yield field, "must be a finite number above 0; leave it out to have no bound"
    if rate.burst is None:
        return
    if not (is_amount(rate.burst) and rate.burst >= 1):
        yield "burst", "must be a finite number, 1 or more; leave it out for one second's worth of calls"
    elif rate.calls_per_second is None and rate.calls_per_minute is None:
        yield "burst", "is for calls, and the rate does not bound them; give calls_per_second or calls_per_minute too"


def _breaker(breaker: Breaker | None) -> Iterator[Problem]:
    if breaker is None:
        return
    if not isinstance(breaker, Breaker):
        yield "", _kind("Breaker", breaker)
        return
    yield from _required("failures", breaker.failures)
    yield from _wait("cooldown", breaker.cooldown)
    yield from _required("probes", breaker.probes)


def _quota(quota: Quota) -> Iterator[Problem]:
    if not isinstance(quota, Quota):
        yield "", _kind("Quota", quota)
        return
    yield from amount_problems("calls", quota.calls)
    yield from amount_problems("tokens", quota.tokens)
    yield from amount_problems("cost_nanos", quota.cost_nanos)
    yield from seconds_problems("duration", quota.duration)


def _card(info: AgentInfo) -> Iterator[Problem]:
    if not isinstance(info.replay_safe, bool | None):
        yield "replay_safe", "must be true or false; leave it out when it is not known"
    yield from amount_problems("estimated_cost_nanos", info.estimated_cost_nanos)
    yield from amount_problems("estimated_tokens", info.estimated_tokens)
    yield from _within("rate", _rate(info.rate))
    if not (is_amount(info.weight) and info.weight > 0):
        yield "weight", "must be a finite number above 0; 1 is a usual call"
    yield from _within("breaker", _breaker(info.breaker))


def _required(field: str, value: object, *, least: int = 1, most: int = MAX_COUNT) -> Iterator[Problem]:
    if value is None:
        yield field, "must be a whole number"
    yield from count_problems(field, value, least=least, most=most)


def _wait(field: str, value: object) -> Iterator[Problem]:
    if not is_amount(value):
        yield field, "must be a finite number of seconds, 0 or more"


def _within(place: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    for field, message in problems:
        yield f"{place}.{field}" if field else place, message


def _kind(wanted: str, given: object) -> str:
    return f"must be {wanted}, not {type(given).__name__}"


def _is_plain(text: str) -> bool:
    """What every store, header and environment can take."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
