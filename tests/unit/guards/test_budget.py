"""Budget: estimates are reserved, true use is settled, and what does not fit is refused or waits."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from motet.guards.budget import Budget
from motet.model import reason
from motet.model.outcome import Failure
from motet.model.plan import Limits, OnBreach
from motet.model.usage import Usage
from motet.ports import Admit, End, Guard, Refuse, Scope, Start, Ticket, Wait
from motet.testing.contracts_guard import GuardContract, StubProfile, make_start, make_ticket

GROUP = Scope("group", "reviewers", "run-1", 10)
NOW = 0.0


class Told:
    """What a budget has told of its breach."""

    def __init__(self) -> None:
        self.calls: list[tuple[Failure, bool]] = []

    def __call__(self, failure: Failure, cancel: bool) -> None:
        self.calls.append((failure, cancel))


def ignore(failure: Failure, cancel: bool) -> None:
    raise AssertionError(f"breached: {failure}")


def budget(told: Callable[[Failure, bool], None] = ignore, **limits: Any) -> Budget:
    return Budget(GROUP, Limits(**limits), told)


def call(
    cost: int | None = None,
    tokens: int | None = None,
    *,
    seen: bool = True,
    times: Sequence[float] = (),
    composite: bool = False,
) -> Start:
    profile = StubProfile(cost_nanos=cost, tokens=tokens, seen=seen, times=times)
    return make_start(make_ticket(profile=profile, composite=composite))


def begin(guard: Guard, start: Start) -> Start:
    assert isinstance(guard.may_start(start, NOW), Admit)
    guard.started(start, NOW)
    return start


def end(guard: Guard, start: Start, ran: float = 0.0, **used: int) -> list[Any]:
    return [*guard.ended(start, NOW), *guard.settled(start, End(Usage(calls=1, **used), ran), NOW)]


def refusal(guard: Guard, start: Start) -> Failure:
    admission = guard.may_start(start, NOW)
    assert isinstance(admission, Refuse)
    assert admission.failure.reason == reason.BUDGET_EXCEEDED
    return admission.failure


class TestBudgetKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return budget(max_cost_nanos=1000, max_tokens=10**6, max_calls=10**6)

    def make_tickets(self) -> Sequence[Ticket]:
        return [make_ticket(profile=StubProfile(cost_nanos=300, tokens=5))]


def test_a_start_reserves_its_estimate_and_settles_to_what_it_really_used() -> None:
    guard = budget(max_cost_nanos=100, max_tokens=50, max_calls=3, max_duration=10.0)
    start = begin(guard, call(40, 20, times=[2.5]))
    reserved = {use.what: (use.used, use.reserved) for use in guard.uses()}
    assert reserved == {"cost_nanos": (0, 40), "tokens": (0, 20), "calls": (0, 1), "seconds": (0, 2.5)}
    assert end(guard, start, 4.0, cost_nanos=55, input_tokens=7, output_tokens=6)
    spent = {use.what: (use.used, use.reserved) for use in guard.uses()}
    assert spent == {"cost_nanos": (55, 0), "tokens": (13, 0), "calls": (1, 0), "seconds": (4.0, 0)}


def test_uses_name_the_scope_and_the_limit() -> None:
    (use,) = budget(max_calls=3).uses()
    assert (use.guard, use.scope, use.name, use.limit, use.state) == ("budget", "group", "run-1/reviewers", 3, "")
    run = Budget(Scope("run", "run-1", "run-1"), Limits(max_calls=3), ignore)
    assert [(use.scope, use.name) for use in run.uses()] == [("run", "run-1")]


def test_a_start_waits_while_others_hold_what_it_needs_and_goes_when_they_settle_for_less() -> None:
    guard = budget(max_cost_nanos=100)
    first = begin(guard, call(60))
    second = call(60)
    admission = guard.may_start(second, NOW)
    assert isinstance(admission, Wait)
    assert admission.key in end(guard, first, cost_nanos=40)
    begin(guard, second)


def test_two_budgets_of_one_name_have_keys_of_their_own() -> None:
    keys = set()
    for _ in range(2):
        guard = budget(max_calls=1)
        begin(guard, call())
        admission = guard.may_start(call(), NOW)
        assert isinstance(admission, Wait)
        keys.add(admission.key)
    assert len(keys) == 2


def test_a_start_that_can_never_fit_is_refused_and_a_cheaper_one_still_goes() -> None:
    guard = budget(max_cost_nanos=100)
    end(guard, begin(guard, call(60)), cost_nanos=60)
    failure = refusal(guard, call(50))
    assert failure.details == {"what": "cost_nanos", "limit": 100, "spent": 60, "estimate": 50}
    assert "max_cost_nanos" in failure.message
    assert "'reviewers'" in failure.message
    begin(guard, call(40))


def test_what_can_never_fit_one_figure_is_refused_though_it_could_wait_for_another() -> None:
    guard = budget(max_cost_nanos=100, max_tokens=10)
    begin(guard, call(100, 1))
    assert refusal(guard, call(1, 11)).details["what"] == "tokens"


def test_an_agent_that_nothing_is_known_of_runs_alone_until_it_has_told_its_price() -> None:
    guard = budget(max_cost_nanos=100)
    first = begin(guard, call(None, seen=False))
    assert [use.reserved for use in guard.uses()] == [100]
    assert isinstance(guard.may_start(call(None, seen=False), NOW), Wait)
    assert isinstance(guard.may_start(call(1), NOW), Wait)
    end(guard, first, cost_nanos=10)
    begin(guard, call(10))
    begin(guard, call(10))


def test_an_unknown_agent_is_refused_when_nothing_is_left() -> None:
    guard = budget(max_cost_nanos=100)
    end(guard, begin(guard, call(None, seen=False)), cost_nanos=100)
    assert refusal(guard, call(None, seen=False)).details["estimate"] is None


def test_an_agent_that_names_no_price_goes_while_any_money_is_left() -> None:
    guard = budget(max_cost_nanos=100)
    unpriced = [begin(guard, call(None)) for _ in range(20)]
    assert [use.reserved for use in guard.uses()] == [0]
    end(guard, begin(guard, call(100)), cost_nanos=100)
    assert refusal(guard, call(None)).details["spent"] == 100
    for start in unpriced:
        end(guard, start)


def test_a_budget_of_nothing_admits_only_what_is_declared_free() -> None:
    guard = budget(max_cost_nanos=0)
    refusal(guard, call(None))
    refusal(guard, call(None, seen=False))
    refusal(guard, call(1))
    begin(guard, call(0))


def test_run_time_is_unknown_before_the_first_answer_whatever_the_card_says() -> None:
    guard = budget(max_duration=10.0)
    begin(guard, call(5, 5))
    assert isinstance(guard.may_start(call(5, 5), NOW), Wait)


def test_a_group_is_a_call_that_costs_nothing_itself_and_is_refused_once_the_budget_is_closed() -> None:
    told = Told()
    guard = budget(told, max_calls=2, max_duration=1.0)
    group = begin(guard, call(None, seen=False, composite=True))
    guard.paused(group, NOW)
    assert [use.reserved for use in guard.uses()] == [1, 0]
    end(guard, begin(guard, call(times=[1.0])), 1.5)
    guard.settled(group, End(Usage(calls=1), 60.0), NOW)
    assert [use.used for use in guard.uses()] == [2, 1.5]
    assert [use.reserved for use in guard.uses()] == [0, 0]
    refusal(guard, call(composite=True))


def test_a_paused_call_gives_its_money_to_the_calls_it_waits_for_and_takes_none_when_it_goes_on() -> None:
    guard = budget(max_cost_nanos=100)
    outer = begin(guard, call(100))
    waiting = guard.may_start(call(50), NOW)
    assert isinstance(waiting, Wait)
    assert waiting.key in guard.paused(outer, NOW)
    inner = begin(guard, call(50))
    assert isinstance(guard.may_resume(outer, NOW), Admit)
    guard.resumed(outer, NOW)
    assert [use.reserved for use in guard.uses()] == [50]
    end(guard, inner, cost_nanos=50)
    end(guard, outer, cost_nanos=20)
    assert [(use.used, use.reserved) for use in guard.uses()] == [(70, 0)]


def test_a_paused_call_stays_counted_as_a_call_so_its_own_calls_are_refused_rather_than_left_waiting() -> None:
    guard = budget(max_calls=2)
    outer = begin(guard, call())
    assert guard.paused(outer, NOW)
    begin(guard, call())
    guard.paused(outer, NOW)
    assert isinstance(guard.may_start(call(), NOW), Wait)
    alone = budget(max_calls=1)
    outer = begin(alone, call())
    alone.paused(outer, NOW)
    assert refusal(alone, call()).details == {"what": "calls", "limit": 1, "spent": 1, "estimate": 1}
    end(alone, outer)
    assert [(use.used, use.reserved) for use in alone.uses()] == [(1, 0)]


def test_a_cancelled_call_is_charged_what_it_told_and_the_rest_comes_back() -> None:
    guard = budget(max_cost_nanos=100)
    start = begin(guard, call(90))
    guard.ended(start, NOW)
    assert guard.settled(start, End(Usage(cost_nanos=5), 1.0), NOW)
    assert [(use.used, use.reserved) for use in guard.uses()] == [(5, 0)]


def test_overspending_closes_the_budget_and_is_told_once() -> None:
    told = Told()
    guard = budget(told, max_cost_nanos=100)
    first, second = begin(guard, call(10)), begin(guard, call(10))
    end(guard, first, cost_nanos=101)
    end(guard, second, cost_nanos=10)
    ((failure, cancel),) = told.calls
    assert not cancel
    assert failure.details == {"what": "cost_nanos", "limit": 100, "spent": 101, "estimate": None}
    assert refusal(guard, call(0)) is failure
    assert [(use.used, use.state) for use in guard.uses()] == [(111, "breached")]


def test_overspending_names_the_key_so_that_who_waits_is_refused() -> None:
    guard = budget(Told(), max_cost_nanos=100)
    first = begin(guard, call(100))
    waiting = guard.may_start(call(1), NOW)
    assert isinstance(waiting, Wait)
    assert waiting.key in end(guard, first, cost_nanos=150)


def test_a_budget_that_is_used_up_exactly_is_not_breached() -> None:
    guard = budget(max_calls=1)
    end(guard, begin(guard, call()))
    refusal(guard, call())


def test_with_cancel_a_budget_that_is_used_up_while_others_spend_is_breached() -> None:
    told = Told()
    guard = budget(told, max_cost_nanos=100, on_breach=OnBreach.CANCEL)
    begin(guard, call(None))
    end(guard, begin(guard, call(50)), cost_nanos=50)
    assert told.calls == []
    end(guard, begin(guard, call(50)), cost_nanos=50)
    assert [cancel for _, cancel in told.calls] == [True]


@pytest.mark.parametrize("bystander", [call(0), call(None, composite=True)])
def test_with_cancel_those_who_can_spend_nothing_are_left_to_run(bystander: Start) -> None:
    guard = budget(max_cost_nanos=100, on_breach=OnBreach.CANCEL)
    begin(guard, bystander)
    end(guard, begin(guard, call(100)), cost_nanos=100)
    end(guard, bystander)


def test_settling_what_never_started_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="had not started"):
        budget(max_calls=1).settled(call(), End(Usage(), 0.0), NOW)


def test_an_agent_without_a_profile_goes_while_anything_is_left() -> None:
    guard = budget(max_cost_nanos=100, max_tokens=100, max_duration=1.0)
    first = begin(guard, make_start())
    begin(guard, make_start())
    assert [use.reserved for use in guard.uses()] == [0, 0, 0]
    end(guard, first, 1.0)
    assert refusal(guard, make_start()).details["what"] == "seconds"
