"""Budgets and quotas over any interleaving: money is neither lost nor made, overspending is bounded by what settled calls
used beyond what they held, and nothing waits for nobody."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from motet.guards._ledger import Figure, Ledger, Need
from motet.guards.budget import Budget
from motet.guards.quota import TenantQuota
from motet.model.bounds import Quota, TenantBounds
from motet.model.plan import Limits, OnBreach
from motet.model.quota_use import QuotaUse
from motet.model.usage import Usage
from motet.ports import ADMIT, End, Refuse, Scope, Start, Wait
from motet.testing.contracts_guard import StubProfile, make_start, make_ticket

FIGURES = ("calls", "tokens", "cost_nanos")
NEEDS = st.one_of(st.integers(0, 40), st.sampled_from(list(Need)))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "pause", "settle", "settle"]),
        st.integers(0, 9),
        st.tuples(st.just(1), NEEDS, NEEDS),
        st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 60)),
    ),
    max_size=60,
)
LIMITS = st.tuples(st.integers(0, 12), st.integers(0, 100), st.integers(0, 100))


@dataclass
class Money:
    """What must have been spent, and by how much calls used more than they still held."""

    truths: list[int] = field(default_factory=lambda: [0, 0, 0])
    beyond: list[int] = field(default_factory=lambda: [0, 0, 0])


def settle(ledger: Ledger, holder: int, truth: Sequence[int], money: Money) -> None:
    before = [figure.reserved for figure in ledger.figures]
    ledger.settle(holder, truth)
    for index, figure in enumerate(ledger.figures):
        money.truths[index] += truth[index]
        money.beyond[index] += max(0, truth[index] - (before[index] - figure.reserved))


def check(ledger: Ledger, money: Money) -> None:
    for index, figure in enumerate(ledger.figures):
        assert 0 <= figure.certain <= figure.reserved
        assert figure.users >= 0
        assert figure.spent == money.truths[index]
        assert figure.spent + figure.reserved <= figure.limit + money.beyond[index]


@given(LIMITS, STEPS)
def test_a_ledger_neither_loses_nor_makes_money_and_nothing_waits_for_nobody(
    limits: tuple[int, int, int],
    steps: list[tuple[str, int, tuple[int, int | Need, int | Need], tuple[int, int, int]]],
) -> None:
    ledger = Ledger([Figure(what, limit) for what, limit in zip(FIGURES, limits, strict=True)])
    money = Money()
    held: list[int] = []
    for number, (step, which, needs, truth) in enumerate(steps):
        if step == "ask":
            before = [(figure.spent, figure.reserved) for figure in ledger.figures]
            short = ledger.short(needs)
            assert before == [(figure.spent, figure.reserved) for figure in ledger.figures]
            if short is None:
                ledger.reserve(number, needs)
                held.append(number)
            elif short.ever:
                assert any(figure.reserved > figure.certain for figure in ledger.figures)
        elif held and step == "pause":
            ledger.pause(held[which % len(held)])
        elif held:
            settle(ledger, held.pop(which % len(held)), truth, money)
        check(ledger, money)
    for holder in held:
        settle(ledger, holder, (1, 0, 0), money)
    check(ledger, money)
    assert not ledger.busy
    for figure in ledger.figures:
        assert (figure.reserved, figure.certain, figure.users) == (0, 0, 0)
    final = ledger.short((1, 1, Need.REST))
    assert final is None or not final.ever


@dataclass
class Working:
    """A call of a budget, and what it will have used."""

    start: Start
    truth: Usage
    paused: bool = False


PROFILES = st.builds(
    StubProfile,
    cost_nanos=st.none() | st.integers(0, 40),
    tokens=st.none() | st.integers(0, 40),
    seen=st.booleans(),
)
USAGES = st.builds(Usage, calls=st.integers(0, 2), input_tokens=st.integers(0, 50), cost_nanos=st.integers(0, 60))


@given(
    LIMITS,
    st.sampled_from([None, OnBreach.DRAIN, OnBreach.CANCEL]),
    st.lists(st.tuples(PROFILES, USAGES), max_size=15),
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60),
)
def test_every_call_of_a_budget_is_admitted_or_refused_in_the_end_and_all_truth_is_told(
    limits: tuple[int, int, int],
    on_breach: OnBreach | None,
    calls: list[tuple[StubProfile, Usage]],
    choices: list[tuple[bool, int]],
) -> None:
    breaches: list[bool] = []
    bounds = Limits(max_calls=limits[0], max_tokens=limits[1], max_cost_nanos=limits[2], on_breach=on_breach)
    guard = Budget(Scope("run", "r", "r"), bounds, lambda _, cancel: breaches.append(cancel))
    queue = [Working(make_start(make_ticket(profile=profile)), truth) for profile, truth in calls]
    running: list[Working] = []
    spent = Usage()
    picks = iter(choices)
    while queue or running:
        waiting: list[Working] = []
        for work in queue:
            admission = guard.may_start(work.start, 0.0)
            if admission is ADMIT:
                assert not breaches
                guard.started(work.start, 0.0)
                running.append(work)
            elif isinstance(admission, Wait):
                waiting.append(work)
            else:
                assert isinstance(admission, Refuse)
        queue = waiting
        assert running or not queue
        if not running:
            break
        pause, which = next(picks, (False, 0))
        work = running[which % len(running)]
        if pause and not work.paused:
            guard.paused(work.start, 0.0)
            work.paused = True
            continue
        running.remove(work)
        if not work.paused:
            guard.ended(work.start, 0.0)
        guard.settled(work.start, End(work.truth, 1.0), 0.0)
        spent += work.truth
    uses = {use.what: use for use in guard.uses()}
    assert [uses[what].reserved for what in FIGURES] == [0, 0, 0]
    assert [uses[what].used for what in FIGURES] == [spent.calls, spent.input_tokens, spent.cost_nanos]
    assert len(breaches) <= 1
    over = any(use.limit is not None and use.used > use.limit for use in uses.values())
    assert bool(breaches) >= over
    assert all(cancel is (on_breach is OnBreach.CANCEL) for cancel in breaches)
    assert all((use.state == "breached") is bool(breaches) for use in uses.values())


@given(st.lists(st.tuples(st.sampled_from(["call", "write", "fail", "other"]), st.integers(1, 5)), max_size=50))
def test_whatever_writes_fail_the_store_and_the_guard_agree_in_the_end(steps: list[tuple[str, int]]) -> None:
    guard = TenantQuota({"t": TenantBounds(total=Quota(calls=10**6))}, wall_origin=0.0, clock=lambda: 0.0)
    stored = used = others = 0

    def write() -> int:
        taken = sum(use.calls for use in guard.taken())
        guard.known([QuotaUse(tenant="t", window="total", start=0.0, calls=stored + taken)])
        return stored + taken

    for step, number in [*steps, ("write", 0)]:
        if step == "call":
            start = make_start(make_ticket(tenant="t"))
            guard.started(start, 0.0)
            guard.ended(start, 0.0)
            guard.settled(start, End(Usage(calls=number), 0.0), 0.0)
            used += number
        elif step == "fail":
            guard.taken()
        elif step == "other":
            stored += number
            others += number
        else:
            stored = write()
            assert [use.used for use in guard.uses()] == [stored]
        assert guard.uses()[0].used >= used
    assert stored == used + others
    assert guard.taken() == ()


def test_ten_thousand_starts_at_once_come_out_even() -> None:
    guard = Budget(Scope("run", "r", "r"), Limits(max_calls=10_000, max_cost_nanos=10**6), lambda *told: None)
    ticket = make_ticket(profile=StubProfile(cost_nanos=100))
    starts = [make_start(ticket) for _ in range(10_000)]
    for start in starts:
        assert guard.may_start(start, 0.0) is ADMIT
        guard.started(start, 0.0)
    for start in starts:
        guard.settled(start, End(Usage(calls=1, cost_nanos=99), 0.0), 0.0)
    assert {use.what: (use.used, use.reserved) for use in guard.uses()} == {
        "calls": (10_000, 0),
        "cost_nanos": (990_000, 0),
    }
