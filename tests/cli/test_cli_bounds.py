"""The options that bound a run and name its tenant; what agents and groups say of their guards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import InvalidRequest, Violation
from motet.model.agent import AgentInfo, AgentKind
from motet.model.plan import HedgePolicy, Idempotency, Limits, OnBreach, RetryPolicy
from motet.model.rate import Breaker, Rate
from motet_client import Limits as ClientLimits
from motet_server.cli import bounds, exits, policies
from motet_server.cli.bounds import LimitOptions
from motet_server.cli.exits import UsageError


def test_every_option_becomes_the_limit_of_its_name() -> None:
    options = LimitOptions(
        max_cost="0.0021", max_calls="10", max_tokens="2000", max_failure_rate="0.2", min_successes="0"
    )
    limits = options.made()
    assert limits == Limits(
        max_cost_nanos=2_100_000, max_calls=10, max_tokens=2000, max_failure_rate=0.2, min_successes=0
    )
    assert LimitOptions().made() is None
    assert LimitOptions(max_calls="0").made() == Limits(max_calls=0)


def test_the_client_has_every_limit_under_the_same_name() -> None:
    limits = LimitOptions(max_cost="1", min_successes="2").made()
    assert limits is not None
    assert ClientLimits(**bounds.said(limits)) == ClientLimits(max_cost_nanos=10**9, min_successes=2)


@pytest.mark.parametrize(
    ("field", "word"),
    [
        *(("max_cost", word) for word in ("", "x", "-1", "1e3", ".5", "5.", "1.2.3", "0.0000000001", "9" * 30)),
        *(("max_calls", word) for word in ("", "-1", "1.5", "\u0661", "9" * 30)),
        ("max_tokens", "x"),
        *(("max_failure_rate", word) for word in ("x", "-0.1", "1.1", "nan", "inf")),
        *(("min_successes", word) for word in ("x", "-1", "9" * 10)),
    ],
)
def test_a_wrong_bound_is_refused_with_the_name_of_its_option(field: str, word: str) -> None:
    with pytest.raises(UsageError, match=rf"^--{field.replace('_', '-')}: "):
        LimitOptions(**{field: word}).made()


@given(st.integers(0, 10**12), st.integers(0, 10**9 - 1))
def test_dollars_are_kept_to_the_billionth(whole: int, part: int) -> None:
    if whole * 10**9 + part <= 2**63 - 1:
        assert bounds.nanos("--max-cost", f"{whole}.{part:09d}") == whole * 10**9 + part


def test_a_tenant_has_a_name_or_is_left_out() -> None:
    assert (bounds.tenant(None), bounds.tenant("acme:eu@1")) == ("", "acme:eu@1")
    for word in ("", "*", "a/b", ".a", "a" * 129):
        with pytest.raises(UsageError, match=r"^--tenant: "):
            bounds.tenant(word)


def test_what_only_the_engine_can_judge_still_names_the_option() -> None:
    error = InvalidRequest([Violation("limits.min_successes", "is too many"), Violation("request.tenant", "is none")])
    assert exits.sentences(error) == ["--min-successes: is too many", "--tenant: is none"]


def _agent(**given: object) -> AgentInfo:
    return AgentInfo(name="a", kind=AgentKind.FUNCTION, **given)  # type: ignore[arg-type]


def test_the_guards_of_an_agent_are_said_in_a_few_words() -> None:
    rate = Rate(calls_per_second=0.5, tokens_per_minute=90_000, burst=3)
    assert policies.rate(_agent(rate=rate, weight=2)) == "0.5 calls/s, 90,000 tokens/min, burst 3, weight 2"
    assert policies.rate(_agent(rate=Rate(calls_per_minute=60, tokens_per_second=1))) == "60 calls/min, 1 tokens/s"
    assert policies.rate(_agent()) == ""
    assert policies.breaker(Breaker(failures=1)) == "1 failure, 30.00 s, 1 probe"
    assert policies.breaker(None) == ""
    assert [policies.replay_safe(value) for value in (None, True, False)] == ["", "yes", "no"]


def test_the_guards_of_a_group_are_said_in_a_few_words() -> None:
    limits = Limits(
        max_cost_nanos=500_000_000,
        max_tokens=1,
        max_calls=20,
        max_duration=5400,
        max_failure_rate=0.125,
        min_samples=10,
        min_successes=2,
        max_members=3,
        max_depth=0,
        on_breach=OnBreach.CANCEL,
        skip_infeasible=True,
    )
    assert policies.limits(limits) == (
        "0.50 USD, 1 token, 20 calls, 1 h 30 min of calls, failures up to 12.5%, from 10 samples on, "
        "at least 2 successes, 3 members, depth 0, on breach cancel, skips what cannot end in time"
    )
    assert policies.limits(Limits(skip_infeasible=False)) == policies.limits(None) == ""
    assert (
        policies.retry(RetryPolicy(max_attempts=3, reasons=("A", "B"))) == "3 attempts, 100 ms to 10.00 s, after A, B"
    )
    assert policies.hedge(HedgePolicy(delay=2)) == "2 at once after 2.00 s"
    assert policies.hedge(HedgePolicy(max_attempts=3)) == "3 at once after the p95"
    assert policies.idempotency(Idempotency()) == "by call, 1 h 00 min"
    assert policies.idempotency(Idempotency(key="k", ttl=0)) == "key k, 0 ms"
    assert policies.retry(None) == policies.hedge(None) == policies.idempotency(None) == ""
