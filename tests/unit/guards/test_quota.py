"""TenantQuota: what a tenant may run at once and use in an hour, a day and ever, and what the store is told of it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio

from motet.guards import quota
from motet.guards.quota import TenantQuota
from motet.model import reason
from motet.model.bounds import Quota, TenantBounds
from motet.model.outcome import Failure
from motet.model.quota_use import QuotaUse
from motet.model.usage import Usage
from motet.ports import Account, Admit, End, Guard, Refuse, Start, Ticket, Wait
from motet.testing.contracts_guard import GuardContract, StubProfile, make_run, make_start, make_ticket

DAY = 86400.0
ORIGIN = 20_000 * DAY
"""Midnight, UTC."""


class Clock:
    """Trio's clock, as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def tenants(clock: Callable[[], float] | None = None, **bounds: TenantBounds) -> TenantQuota:
    named = {"*" if name == "everyone" else name: bound for name, bound in bounds.items()}
    return TenantQuota(named, wall_origin=ORIGIN, clock=clock or Clock())


def call(cost: int | None = 0, tokens: int | None = 0, *, tenant: str = "t", seen: bool = True) -> Start:
    return make_start(make_ticket(tenant=tenant, profile=StubProfile(cost_nanos=cost, tokens=tokens, seen=seen)))


def begin(guard: Guard, start: Start, now: float = 100.0) -> Start:
    assert isinstance(guard.may_start(start, now), Admit)
    guard.started(start, now)
    return start


def end(guard: Guard, start: Start, now: float = 100.0, **used: int) -> list[Any]:
    return [*guard.ended(start, now), *guard.settled(start, End(Usage(calls=1, **used), 1.0), now)]


def make_calls(guard: Guard, times: int, now: float = 100.0, tenant: str = "t", **used: int) -> None:
    for _ in range(times):
        end(guard, begin(guard, call(tenant=tenant), now), now, **used)


def refusal(admission: object) -> Failure:
    assert isinstance(admission, Refuse)
    assert admission.failure.reason == reason.QUOTA_EXCEEDED
    return admission.failure


class TestTenantQuotaKeepsTheContract(GuardContract):
    rest = 2 * DAY

    def make_guard(self) -> Guard:
        hour = Quota(calls=100, tokens=10**6)
        return tenants(t=TenantBounds(max_parallel=3, max_runs=2, per_hour=hour, per_day=Quota(cost_nanos=10**9)))

    def make_tickets(self) -> Sequence[Ticket]:
        return [make_ticket(tenant="t", profile=StubProfile(cost_nanos=1, tokens=5)), make_ticket()]


class TestAQuotaKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return tenants(t=TenantBounds(per_hour=Quota(cost_nanos=100)))

    def make_tickets(self) -> Sequence[Ticket]:
        return [make_ticket(tenant="t", profile=StubProfile(cost_nanos=30))]


def test_runs_beyond_the_most_at_once_are_refused_and_nested_ones_are_not_counted() -> None:
    guard = tenants(t=TenantBounds(max_runs=1))
    guard.run_started(make_run("inner", tenant="t", nested=True), 0.0)
    guard.run_started(make_run("outer", tenant="t"), 0.0)
    failure = refusal(guard.may_run(make_run("other", tenant="t"), 0.0))
    assert failure.details == {"tenant": "t", "what": "runs", "limit": 1, "used": 1}
    assert isinstance(guard.may_run(make_run("inner", tenant="t", nested=True), 0.0), Admit)
    guard.run_ended(make_run("inner", tenant="t", nested=True), 0.0)
    refusal(guard.may_run(make_run("other", tenant="t"), 0.0))
    guard.run_ended(make_run("outer", tenant="t"), 0.0)
    assert isinstance(guard.may_run(make_run("other", tenant="t"), 0.0), Admit)


def test_calls_beyond_the_most_at_once_wait_and_a_paused_call_leaves_room() -> None:
    guard = tenants(t=TenantBounds(max_parallel=1))
    first, second = begin(guard, call()), call()
    admission = guard.may_start(second, 100.0)
    assert admission == Wait(("quota", "t"))
    assert guard.paused(first, 100.0) == (("quota", "t"),)
    begin(guard, second)
    assert guard.may_resume(first, 100.0) == admission
    assert ("quota", "t") in end(guard, second)
    assert isinstance(guard.may_resume(first, 100.0), Admit)
    guard.resumed(first, 100.0)
    assert isinstance(guard.may_start(call(), 100.0), Wait)
    end(guard, first)


def test_a_used_up_hour_refuses_runs_and_calls_until_it_turns() -> None:
    guard = tenants(t=TenantBounds(per_hour=Quota(calls=2)))
    make_calls(guard, 2, 600.0)
    failure = refusal(guard.may_run(make_run(tenant="t"), 600.0))
    assert failure.details == {
        "tenant": "t",
        "window": "hour",
        "what": "calls",
        "limit": 2,
        "used": 2,
        "retry_after_seconds": 3000.0,
    }
    assert refusal(guard.may_start(call(), 600.0)).details == failure.details
    assert isinstance(guard.may_run(make_run(tenant="t"), 3600.0), Admit)
    make_calls(guard, 2, 3600.0)
    refusal(guard.may_start(call(), 3600.0))


def test_time_that_calls_ran_is_reserved_and_settled_and_groups_use_none() -> None:
    guard = tenants(t=TenantBounds(per_hour=Quota(duration=10), total=Quota(duration=math.inf)))
    group = begin(guard, make_start(make_ticket(composite=True, tenant="t")))
    known, unknown = StubProfile(times=[4.0]), StubProfile()
    first = begin(guard, make_start(make_ticket(tenant="t", profile=known)))
    last = make_start(make_ticket(tenant="t", profile=unknown))
    begin(guard, last)
    rows = [(use.what, use.limit, use.used, use.reserved, use.window) for use in guard.uses()]
    assert rows == [("seconds", 10, 0, 10, 3600.0)]
    assert guard.may_start(make_start(make_ticket(tenant="t", profile=known)), 100.0) == Wait(("quota", "t"), math.inf)
    guard.settled(group, End(Usage(), 100.0), 100.0)
    guard.settled(first, End(Usage(), 0.1), 100.0)
    guard.settled(last, End(Usage(), 9.9), 100.0)
    failure = refusal(guard.may_run(make_run(tenant="t"), 100.0))
    assert failure.details == {
        "tenant": "t",
        "window": "hour",
        "what": "seconds",
        "limit": 10,
        "used": 10,
        "retry_after_seconds": 3500.0,
    }
    assert "has used 10 s in this hour; its quota is 10 s" in failure.message
    assert [use.seconds for use in guard.taken()] == [10.0, 10.0]
    guard.known([QuotaUse(tenant="t", window="hour", start=ORIGIN, seconds=2.5)])
    assert [use.used for use in guard.uses()] == [2.5]


def test_who_has_used_up_an_hour_and_a_day_is_told_of_the_day() -> None:
    guard = tenants(t=TenantBounds(per_hour=Quota(calls=1), per_day=Quota(calls=1)))
    make_calls(guard, 1, 0.0)
    assert refusal(guard.may_start(call(), 3000.0)).details["retry_after_seconds"] == DAY - 3000.0
    assert refusal(guard.may_run(make_run(tenant="t"), 3600.0)).details["window"] == "day"
    assert isinstance(guard.may_start(call(), DAY), Admit)


def test_a_total_does_not_come_back() -> None:
    guard = tenants(t=TenantBounds(total=Quota(tokens=10)))
    make_calls(guard, 1, input_tokens=4, output_tokens=6)
    failure = refusal(guard.may_run(make_run(tenant="t"), 1000 * DAY))
    assert failure.details == {"tenant": "t", "window": "total", "what": "tokens", "limit": 10, "used": 10}


def test_a_call_that_does_not_fit_is_refused_and_one_that_may_fit_later_waits() -> None:
    guard = tenants(t=TenantBounds(per_hour=Quota(cost_nanos=100)))
    end(guard, begin(guard, call(10)), cost_nanos=10)
    assert "is expected to use 0.000000091 US dollars more" in refusal(guard.may_start(call(91), 100.0)).message
    first = begin(guard, call(50))
    assert guard.may_start(call(45), 100.0) == Wait(("quota", "t"), 3600.0)
    assert guard.may_start(call(90), 100.0) == Wait(("quota", "t"))
    assert ("quota", "t") in end(guard, first, cost_nanos=1)
    begin(guard, call(45))


def test_an_agent_that_nothing_is_known_of_holds_all_that_is_left() -> None:
    guard = tenants(t=TenantBounds(total=Quota(cost_nanos=100)))
    begin(guard, call(None, seen=False))
    assert guard.may_start(call(1), 100.0) == Wait(("quota", "t"), math.inf)


def test_a_call_counts_in_the_hour_in_which_it_ends() -> None:
    guard = tenants(t=TenantBounds(per_hour=Quota(calls=2)))
    late = begin(guard, call(), 3599.0)
    make_calls(guard, 1, 3599.0)
    make_calls(guard, 1, 3600.0)
    assert isinstance(guard.may_start(call(), 3600.0), Wait)
    end(guard, late, 3600.0)
    refusal(guard.may_start(call(), 3600.0))
    assert [(use.start - ORIGIN, use.calls) for use in guard.taken()] == [(0.0, 1), (3600.0, 2)]


def test_tenants_that_are_not_named_have_the_bounds_of_everyone_each_for_itself() -> None:
    guard = tenants(everyone=TenantBounds(total=Quota(calls=1)), big=TenantBounds(total=Quota(calls=3)))
    make_calls(guard, 1, tenant="a")
    refusal(guard.may_start(call(tenant="a"), 100.0))
    make_calls(guard, 1, tenant="b")
    make_calls(guard, 3, tenant="big")
    refusal(guard.may_start(call(tenant="big"), 100.0))
    assert [(use.name, use.used) for use in guard.uses()] == [("a", 1), ("b", 1), ("big", 3)]


@pytest.mark.parametrize("tenant", ["", "t"])
def test_nobody_is_not_bounded_nor_is_a_tenant_without_bounds(tenant: str) -> None:
    none = TenantBounds(max_parallel=1, max_runs=0)
    guard = tenants(other=none) if tenant else tenants(everyone=none)
    for _ in range(3):
        begin(guard, call(tenant=tenant))
    assert isinstance(guard.may_run(make_run(tenant=tenant), 0.0), Admit)
    guard.run_started(make_run(tenant=tenant), 0.0)
    guard.run_ended(make_run(tenant=tenant), 0.0)
    end(guard, begin(guard, call(tenant=tenant)))
    assert (guard.wanted(tenant), guard.taken()) == ((), ())
    assert {use.name for use in guard.uses()} <= {"other"}


def test_uses_show_what_is_bounded_with_its_window() -> None:
    bounds = TenantBounds(
        max_parallel=5, max_runs=2, per_hour=Quota(cost_nanos=100), per_day=Quota(calls=7), total=Quota(tokens=50)
    )
    guard = tenants(t=bounds, everyone=bounds)
    guard.run_started(make_run(tenant="t"), 100.0)
    end(guard, begin(guard, call(30, 5)), cost_nanos=20, input_tokens=6)
    begin(guard, call(30, 5))
    rows = [(use.what, use.limit, use.used, use.reserved, use.window) for use in guard.uses()]
    assert rows == [
        ("runs", 2, 1, 0, None),
        ("running", 5, 1, 0, None),
        ("tokens", 50, 6, 5, None),
        ("calls", 7, 1, 1, DAY),
        ("cost_nanos", 100, 20, 30, 3600.0),
    ]
    assert {(use.guard, use.scope, use.name) for use in guard.uses()} == {("quota", "tenant", "t")}


def test_what_was_used_in_an_hour_is_no_longer_shown_when_it_has_turned() -> None:
    clock = Clock()
    guard = tenants(clock, everyone=TenantBounds(per_hour=Quota(calls=5)))
    make_calls(guard, 1)
    assert [use.used for use in guard.uses()] == [1]
    clock.now = 3600.0
    assert guard.uses() == []


def test_an_account_tells_of_news_once_until_they_are_taken() -> None:
    guard: TenantQuota = tenants(t=TenantBounds(per_hour=Quota(calls=9), total=Quota(cost_nanos=900)))
    account: Account = guard
    news: list[str] = []
    account.changed = lambda: news.append("news")
    make_calls(guard, 2, cost_nanos=30, output_tokens=4)
    assert news == ["news"]
    assert account.taken() == (
        QuotaUse(tenant="t", window="total", start=0, calls=2, tokens=8, cost_nanos=60, seconds=2.0),
        QuotaUse(tenant="t", window="hour", start=ORIGIN, calls=2, tokens=8, cost_nanos=60, seconds=2.0),
    )
    make_calls(guard, 1)
    assert news == ["news", "news"]


def test_a_call_that_used_nothing_is_no_news() -> None:
    guard = tenants(t=TenantBounds(total=Quota(calls=1)))
    guard.changed = lambda: pytest.fail("nothing has changed")
    start = begin(guard, call())
    guard.ended(start, 100.0)
    guard.settled(start, End(Usage(), 0.0), 100.0)
    assert guard.taken() == ()


def test_what_the_store_knows_is_added_to_what_it_was_not_told_yet() -> None:
    guard = tenants(t=TenantBounds(total=Quota(calls=10)))
    (empty,) = guard.wanted("t")
    assert empty == QuotaUse(tenant="t", window="total", start=0)
    guard.known([QuotaUse(tenant="t", window="total", start=0, calls=5)])
    assert guard.wanted("t") == ()
    make_calls(guard, 2)
    assert [use.calls for use in guard.taken()] == [2]
    make_calls(guard, 1)
    assert [use.used for use in guard.uses()] == [8]
    guard.known([QuotaUse(tenant="t", window="total", start=0, calls=8)])
    assert [use.used for use in guard.uses()] == [9]
    assert [use.calls for use in guard.taken()] == [1]
    guard.known([QuotaUse(tenant="t", window="total", start=0, calls=9)])
    assert [use.used for use in guard.uses()] == [9]
    assert guard.taken() == ()


def test_what_a_failed_write_took_is_given_again_with_what_came_since() -> None:
    guard = tenants(t=TenantBounds(total=Quota(calls=10)))
    make_calls(guard, 2)
    assert [use.calls for use in guard.taken()] == [2]
    make_calls(guard, 1)
    assert [use.calls for use in guard.taken()] == [3]
    assert [use.calls for use in guard.taken()] == [3]
    guard.known([QuotaUse(tenant="t", window="total", start=0, calls=3)])
    assert guard.taken() == ()
    assert [use.used for use in guard.uses()] == [3]


def test_a_window_that_has_turned_is_wanted_anew_and_late_totals_of_the_old_one_change_nothing() -> None:
    clock = Clock()
    guard = tenants(clock, t=TenantBounds(per_hour=Quota(calls=10)))
    guard.known([QuotaUse(tenant="t", window="hour", start=ORIGIN, calls=4)])
    clock.now = 3600.0
    assert guard.wanted("t") == (QuotaUse(tenant="t", window="hour", start=ORIGIN + 3600.0),)
    guard.known([QuotaUse(tenant="t", window="hour", start=ORIGIN, calls=9)])
    assert [use.used for use in guard.uses()] == [0]
    assert len(guard.wanted("t")) == 1


def test_totals_of_strangers_are_ignored() -> None:
    guard = tenants(t=TenantBounds(max_runs=1))
    guard.known([QuotaUse(tenant="other", window="week", start=3), QuotaUse(tenant="t", window="hour", start=3)])
    assert guard.wanted("t") == ()


async def test_without_a_clock_of_its_own_it_goes_by_trios(autojump_clock: object) -> None:
    guard = TenantQuota({"t": TenantBounds(per_hour=Quota(calls=1))}, wall_origin=ORIGIN)
    assert [use.start for use in guard.wanted("t")] == [ORIGIN]
    await trio.sleep(3600)
    assert [use.start for use in guard.wanted("t")] == [ORIGIN + 3600]


def test_tenants_at_rest_are_forgotten_when_there_are_many_but_not_before_the_store_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota, "MAX_IDLE", 3)
    guard = tenants(everyone=TenantBounds(total=Quota(calls=10), max_parallel=5))
    running = begin(guard, call(tenant="busy"))
    make_calls(guard, 1, tenant="unwritten")
    for number in range(20):
        make_calls(guard, 1, tenant=f"t{number}")
        guard.known([use for use in guard.taken() if use.tenant != "unwritten"])
    assert len(guard._accounts) <= 5
    assert {"busy", "unwritten"} <= set(guard._accounts)
    assert len(guard.wanted("t0")) == 1
    end(guard, running)


@pytest.mark.parametrize(
    ("bounds", "field"),
    [
        (TenantBounds(max_parallel=0), "tenants.t.max_parallel"),
        (TenantBounds(max_runs=-1), "tenants.t.max_runs"),
        (TenantBounds(per_hour=Quota(calls=-1)), "tenants.t.per_hour.calls"),
        (TenantBounds(per_day=Quota(tokens=-1)), "tenants.t.per_day.tokens"),
        (TenantBounds(total=Quota(cost_nanos=-1)), "tenants.t.total.cost_nanos"),
        (TenantBounds(per_hour=Quota(duration=math.nan)), "tenants.t.per_hour.duration"),
    ],
)
def test_bounds_that_are_none_are_refused_by_name(bounds: TenantBounds, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        tenants(t=bounds)


def test_what_never_started_cannot_end() -> None:
    guard = tenants(t=TenantBounds(max_parallel=1, max_runs=1))
    with pytest.raises(RuntimeError, match="had not started"):
        guard.ended(call(), 100.0)
    with pytest.raises(RuntimeError, match="had not started"):
        guard.run_ended(make_run(tenant="t"), 100.0)
    with pytest.raises(ValueError, match="empty name"):
        TenantQuota({"": TenantBounds()}, wall_origin=ORIGIN)
