"""Token buckets and the rate guard: no window holds more than its rate allows, and a wait is over when it says."""

import math
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from motet.guards._bucket import Bucket
from motet.guards.rate import RateLimit
from motet.model.rate import Rate
from motet.model.usage import Usage
from motet.ports import ADMIT, End, Start, Ticket, Wait
from motet.testing.contracts_guard import StubProfile, make_start, make_ticket

# Trio's clock begins anywhere up to a million seconds.
ORIGINS = st.floats(0.0, 1e6)
GAPS = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=30)
RATES = st.floats(0.01, 1e4)
WEIGHTS = st.floats(0.01, 50.0)


def slack(rate: float, starts: int) -> float:
    """Units that rounding may add: what flows in during the smallest steps of the clock, and then some."""
    return 1e-6 + rate * starts * math.ulp(1e7)


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Moments at which somebody asks, in order, each with what the call weighs."""
    moments = accumulate(draw(GAPS), initial=draw(ORIGINS))
    return [(moment, draw(WEIGHTS)) for moment in moments]


@given(steps(), RATES, st.floats(1.0, 20.0))
def test_no_window_holds_more_than_a_burst_and_its_rate_and_one_overweight_start(
    asked: list[tuple[float, float]], rate: float, burst: float
) -> None:
    guard = RateLimit(clock=lambda: 0.0)
    taken: list[tuple[float, float]] = []
    for moment, weight in asked:
        start = make_start(make_ticket(rate=Rate(calls_per_second=rate, burst=burst), weight=weight))
        for _ in range(5):
            if guard.may_start(start, moment) != ADMIT:
                break
            guard.started(start, moment)
            taken.append((moment, weight))
    for first, (begin, _) in enumerate(taken):
        total = 0.0
        for end, weight in taken[first:]:
            total += weight
            # Only the last start of a window can have left a debt in it: after one nothing starts until it is paid.
            overweight = max(weight - burst, 0.0)
            assert total - overweight <= burst + rate * (end - begin) + slack(rate, len(taken))


@given(steps(), st.lists(st.one_of(st.none(), st.integers(0, 500)), min_size=1), st.tuples(RATES, RATES, RATES, RATES))
def test_a_waiter_that_asks_again_at_the_moment_it_was_told_is_admitted_and_never_earlier(
    asked: list[tuple[float, float]], sizes: list[int | None], rates: tuple[float, float, float, float]
) -> None:
    per_second, per_minute, tokens, provider = rates
    guard = RateLimit({"p": Rate(calls_per_minute=provider, tokens_per_minute=tokens)}, clock=lambda: 0.0)
    rate = Rate(calls_per_second=per_second, calls_per_minute=per_minute, tokens_per_second=tokens)
    late = 0.0
    for number, (moment, weight) in enumerate(asked):
        profile = StubProfile(tokens=sizes[number % len(sizes)])
        start = make_start(make_ticket(provider="p", rate=rate, weight=weight, profile=profile))
        now = max(moment, late)
        verdict = guard.may_start(start, now)
        if isinstance(verdict, Wait):
            assert now < verdict.until < math.inf
            assert guard.may_start(start, math.nextafter(verdict.until, 0.0)) == verdict
            now = verdict.until
        assert guard.may_start(start, now) == ADMIT
        guard.started(start, now)
        late = now


@given(ORIGINS, RATES, WEIGHTS, st.one_of(st.none(), st.integers(0, 10**9)))
def test_nobody_waits_while_the_buckets_are_full(now: float, rate: float, weight: float, tokens: int | None) -> None:
    bounds = Rate(calls_per_second=rate, calls_per_minute=rate, tokens_per_second=rate, tokens_per_minute=rate)
    ticket = make_ticket(provider="p", rate=bounds, weight=weight, profile=StubProfile(tokens=tokens))
    guard = RateLimit({"p": bounds}, clock=lambda: now)
    start = make_start(ticket)
    assert guard.may_start(start, now) == ADMIT
    guard.started(start, now)
    guard.settled(start, End(Usage(calls=1), 0.0, False), now)
    later = now
    for bucket in (Bucket(rate, max(rate, 1.0)), Bucket(rate / 60, max(rate / 60, 1.0))):
        bucket.take(weight, now)
        later = max(later, bucket.ready_at(math.inf))
    assert guard.may_start(make_start(ticket), later) == ADMIT


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=40), st.integers(1, 1000))
def test_once_all_is_settled_as_many_tokens_are_missing_as_were_really_used(
    calls: list[tuple[int, int]], limit: int
) -> None:
    guard = RateLimit(clock=lambda: 5.0)
    rate = Rate(tokens_per_minute=float(limit))
    begun: list[tuple[Start, int]] = []
    for expected, real in calls:
        ticket: Ticket = make_ticket(rate=rate, profile=StubProfile(tokens=expected))
        start = make_start(ticket)
        if guard.may_start(start, 5.0) == ADMIT:
            guard.started(start, 5.0)
            begun.append((start, real))
    # Those that need more first, so that nothing is given back to a full bucket.
    for start, real in sorted(begun, key=lambda pair: pair[0].ticket.profile.tokens - pair[1]):
        guard.settled(start, End(Usage(input_tokens=real), 1.0, False), 5.0)
    (use,) = guard.uses() if begun else (None,)
    assert use is None or math.isclose(use.used, sum(real for _, real in begun), abs_tol=1e-6)
