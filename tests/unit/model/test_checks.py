"""The checks that catalogs and requests share: what is right passes, and each wrong field gets one sentence."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.model.agent import AgentInfo, AgentKind
from motet.model.bounds import ProviderBounds, Quota, TenantBounds
from motet.model.checks import (
    breaker_problems,
    card_problems,
    hedge_problems,
    idempotency_problems,
    is_tenant,
    limits_problems,
    provider_problems,
    rate_problems,
    retry_problems,
    tenant_problems,
)
from motet.model.plan import HedgePolicy, Idempotency, Limits, OnBreach, RetryPolicy
from motet.model.rate import Breaker, Rate

NUMBERS = st.none() | st.integers() | st.floats() | st.booleans() | st.text(max_size=2)


def test_what_bounds_nothing_is_right() -> None:
    assert limits_problems(None) == limits_problems(Limits(), 0) == []
    assert retry_problems(None) == retry_problems(RetryPolicy()) == []
    assert hedge_problems(None, replay_safe=False) == hedge_problems(HedgePolicy()) == []
    assert idempotency_problems(None) == idempotency_problems(Idempotency()) == []
    assert rate_problems(None) == rate_problems(Rate()) == breaker_problems(None) == breaker_problems(Breaker()) == []
    assert provider_problems(ProviderBounds()) == tenant_problems(TenantBounds()) == []
    assert card_problems(AgentInfo(name="a", kind=AgentKind.HTTP)) == []


def test_the_outermost_values_that_are_allowed_pass() -> None:
    most = Limits(
        max_cost_nanos=2**63 - 1,
        max_tokens=0,
        max_calls=0,
        max_duration=0,
        max_failure_rate=1,
        min_samples=1,
        min_successes=3,
        max_members=1,
        max_depth=0,
        on_breach=OnBreach.CANCEL,
        skip_infeasible=False,
    )
    assert limits_problems(most, 3) == []
    retry = RetryPolicy(max_attempts=100, initial_backoff=0, max_backoff=0, backoff_multiplier=1, jitter=1)
    assert retry_problems(retry) == []
    assert hedge_problems(HedgePolicy(delay=0, max_attempts=10)) == []
    assert idempotency_problems(Idempotency(key="\u00e9" * 256, ttl=0)) == []
    assert rate_problems(Rate(calls_per_minute=0.001, burst=1)) == []
    assert breaker_problems(Breaker(failures=1, cooldown=0, probes=1)) == []


@pytest.mark.parametrize(
    ("found", "field", "message"),
    [
        (limits_problems({"max_calls": 1}), "", "must be Limits, not dict"),  # type: ignore[arg-type]
        (limits_problems(Limits(max_tokens=2**63)), "max_tokens", "must be 9223372036854775807 or less"),
        (limits_problems(Limits(max_calls=True)), "max_calls", "must be a whole number"),
        (limits_problems(Limits(max_duration=math.nan)), "max_duration", "must be a finite number of seconds"),
        (limits_problems(Limits(max_failure_rate=1.01)), "max_failure_rate", "must be a number from 0 to 1"),
        (limits_problems(Limits(min_samples=0)), "min_samples", "must be 1 or more, not 0"),
        (limits_problems(Limits(min_successes=4), 3), "min_successes", "must be 3 or less, not 4: 3 members"),
        (limits_problems(Limits(min_successes=-1), 3), "min_successes", "must be 0 or more, not -1"),
        (limits_problems(Limits(max_members=0)), "max_members", "must be 1 or more"),
        (limits_problems(Limits(max_depth=-1)), "max_depth", "must be 0 or more"),
        (limits_problems(Limits(on_breach="DRAIN")), "on_breach", "must be OnBreach.DRAIN or"),  # type: ignore[arg-type]
        (limits_problems(Limits(skip_infeasible=1)), "skip_infeasible", "must be true or false"),  # type: ignore[arg-type]
        (retry_problems(3), "", "must be RetryPolicy, not int"),  # type: ignore[arg-type]
        (retry_problems(RetryPolicy(max_attempts=0)), "max_attempts", "must be 1 or more, not 0"),
        (retry_problems(RetryPolicy(max_attempts=101)), "max_attempts", "must be 100 or less"),
        (retry_problems(RetryPolicy(max_attempts=None)), "max_attempts", "must be a whole"),
        (retry_problems(RetryPolicy(max_backoff=math.inf)), "max_backoff", "must be a finite number of seconds"),
        (retry_problems(RetryPolicy(backoff_multiplier=0.9)), "backoff_multiplier", "must be a finite number, 1 or"),
        (retry_problems(RetryPolicy(jitter=-0.1)), "jitter", "must be a number from 0 to 1"),
        (retry_problems(RetryPolicy(reasons="BUSY")), "reasons", "is one text; give a list"),  # type: ignore[arg-type]
        (retry_problems(RetryPolicy(reasons=("",))), "reasons", "must be reasons of failures"),
        (hedge_problems(HedgePolicy(delay=-1)), "delay", "must be a finite number of seconds"),
        (hedge_problems(HedgePolicy(max_attempts=1)), "max_attempts", "must be 2 or more, not 1"),
        (hedge_problems(HedgePolicy(max_attempts=11)), "max_attempts", "must be 10 or less"),
        (hedge_problems(HedgePolicy(), replay_safe=False), "", "would never make a second attempt"),
        (idempotency_problems(True), "", "must be Idempotency, not bool"),  # type: ignore[arg-type]
        (idempotency_problems(Idempotency(key="\ud800")), "key", "must be Unicode text"),
        (idempotency_problems(Idempotency(key="k" * 257)), "key", "has 257 characters; give at most 256"),
        (idempotency_problems(Idempotency(ttl=None)), "ttl", "must be a finite number"),
        (rate_problems(Rate(tokens_per_minute=0)), "tokens_per_minute", "must be a finite number above 0"),
        (rate_problems(Rate(calls_per_minute=5e-324)), "calls_per_minute", "must be a finite number above 0"),
        (rate_problems(Rate(calls_per_second=10**400)), "calls_per_second", "must be a finite number above 0"),
        (rate_problems(Rate(calls_per_second=1, burst=math.inf)), "burst", "must be a finite number, 1 or more"),
        (rate_problems(Rate(tokens_per_second=1, burst=2)), "burst", "is for calls"),
        (breaker_problems(Breaker(failures=1.5)), "failures", "must be a whole number"),  # type: ignore[arg-type]
        (breaker_problems(Breaker(cooldown=-1)), "cooldown", "must be a finite number of seconds"),
        (provider_problems(ProviderBounds(max_parallel=0)), "max_parallel", "must be 1 or more"),
        (provider_problems(ProviderBounds(rate=3)), "rate", "must be Rate, not int"),  # type: ignore[arg-type]
        (tenant_problems(TenantBounds(per_hour=3)), "per_hour", "must be Quota, not int"),  # type: ignore[arg-type]
        (tenant_problems(TenantBounds(total=Quota(cost_nanos=-1))), "total.cost_nanos", "must be 0 or more, not -1"),
        (tenant_problems(TenantBounds(per_day=Quota(duration=-1))), "per_day.duration", "must be"),
        (tenant_problems(TenantBounds(limits=Limits(max_depth=-1))), "limits.max_depth", "must be 0 or more"),
    ],
)  # fmt: skip
def test_a_wrong_field_gets_one_sentence(found: list[tuple[str, str]], field: str, message: str) -> None:
    [(named, said)] = found
    assert named == field
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("name", "right"),
    [("a", True), ("*", True), ("team@a.b:c-d", True), ("", False), ("a*", False), ("@a", False), (3, False)],
)
def test_a_tenant_has_a_name_that_a_request_can_have(name: object, *, right: bool) -> None:
    assert is_tenant(name) is right


@given(st.dictionaries(st.sampled_from(list(Limits.__slots__)), NUMBERS), st.none() | st.integers(0, 5))
def test_whatever_limits_hold_they_are_judged_and_never_raise(values: dict[str, Any], members: int | None) -> None:
    fields = [field for field, _ in limits_problems(Limits(**values), members)]
    assert set(fields) <= values.keys()
    assert len(fields) == len(set(fields))


@given(st.lists(NUMBERS, min_size=5, max_size=5))
def test_whatever_a_rate_holds_it_is_judged_and_what_passes_is_a_rate(values: list[Any]) -> None:
    rate = Rate(**dict(zip(Rate.__slots__, values, strict=True)))
    if not rate_problems(rate):
        assert all(value is None or value / 60 > 0 for value in values[:4])
