"""AttemptBudget: retries and hedges are a share of first calls, after a reserve, for each agent by itself."""

import math
from typing import Any

import pytest

from motet.guards.attempts import MAX_IDLE, AttemptBudget
from motet.model import reason
from motet.model.outcome import AttemptKind
from motet.ports import ADMIT, Guard, Refuse
from motet.testing.contracts_guard import GuardContract, make_start, make_ticket

FIRST, RETRY, HEDGE, RESUME = AttemptKind.FIRST, AttemptKind.RETRY, AttemptKind.HEDGE, AttemptKind.RESUME


class TestAttemptBudgetKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return AttemptBudget()


def make(budget: AttemptBudget, kind: AttemptKind, times: int = 1, agent: str = "agent") -> int:
    """Make attempts as long as they are admitted: how many were."""
    for made in range(times):
        start = make_start(make_ticket(agent), kind=kind)
        if budget.may_start(start, 0.0) != ADMIT:
            return made
        budget.started(start, 0.0)
    return times


@pytest.mark.parametrize("kind", [RETRY, HEDGE])
def test_it_begins_with_the_reserve(kind: AttemptKind) -> None:
    assert make(AttemptBudget(), kind, 100) == 10
    assert make(AttemptBudget(0.0, 0.0, reserve=3.5), kind, 100) == 3
    assert make(AttemptBudget(reserve=0.0), kind, 100) == 0


@pytest.mark.parametrize("earner", [FIRST, RESUME])
def test_first_calls_and_resumed_ones_earn_their_share_exactly(earner: AttemptKind) -> None:
    budget = AttemptBudget(0.2, 0.1)
    make(budget, RETRY, 100)
    make(budget, HEDGE, 100)
    assert make(budget, earner, 4) == 4
    assert make(budget, RETRY) == 0
    make(budget, earner)
    assert make(budget, RETRY, 100) == 1
    make(budget, earner, 5)
    assert make(budget, HEDGE, 100) == 1
    assert make(budget, RETRY, 100) == 1


def test_no_more_is_saved_than_the_reserve() -> None:
    budget = AttemptBudget(1.0, reserve=2.0)
    make(budget, RETRY, 2)
    make(budget, FIRST, 50)
    assert make(budget, RETRY, 100) == 2


def test_without_a_share_the_reserve_is_all_there_is() -> None:
    budget = AttemptBudget(0.0, reserve=2.0)
    make(budget, RETRY, 2)
    make(budget, FIRST, 500)
    assert make(budget, RETRY) == 0


def test_agents_have_budgets_of_their_own() -> None:
    budget = AttemptBudget(reserve=1.0)
    assert make(budget, RETRY, agent="a") == 1
    assert make(budget, RETRY, agent="a") == 0
    assert make(budget, RETRY, agent="b") == 1


@pytest.mark.parametrize(("kind", "what", "share"), [(RETRY, "retries", 0.2), (HEDGE, "hedges", 0.1)])
def test_a_refusal_names_the_agent_the_kind_and_the_share(kind: AttemptKind, what: str, share: float) -> None:
    verdict = AttemptBudget(reserve=0.0).may_start(make_start(kind=kind), 0.0)
    assert isinstance(verdict, Refuse)
    assert verdict.failure.reason == reason.RETRIES_EXHAUSTED
    assert f"agent has had its share of {what}, {share} for each first call" in verdict.failure.message
    assert verdict.failure.details == {"agent": "agent", "kind": kind.value, "share": share}


def test_uses_show_what_is_missing_from_the_reserve() -> None:
    budget = AttemptBudget(0.25)
    assert budget.uses() == []
    make(budget, RETRY, 2)
    make(budget, FIRST)
    assert [(use.name, use.what, use.limit, use.used) for use in budget.uses()] == [
        ("agent", "retries", 10.0, 1.75),
        ("agent", "hedges", 10.0, 0.0),
    ]
    make(budget, FIRST, 7)
    assert budget.uses() == []


def test_agents_that_are_remembered_are_bounded() -> None:
    budget = AttemptBudget()
    for number in range(MAX_IDLE + 10):
        make(budget, RETRY, agent=f"agent {number}")
    names = {use.name for use in budget.uses()}
    assert len(names) == MAX_IDLE
    assert "agent 0" not in names


@pytest.mark.parametrize("field", ["retry_share", "hedge_share", "reserve"])
@pytest.mark.parametrize("figure", [-0.1, math.inf, math.nan])
def test_a_figure_that_is_negative_or_not_finite_is_refused(field: str, figure: float) -> None:
    wrong: dict[str, Any] = {field: figure}
    with pytest.raises(ValueError, match=f"{field} is .*; give a finite number"):
        AttemptBudget(**wrong)
