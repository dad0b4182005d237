"""guards_of: the guards of a scope are those that its limits ask for."""

from typing import Any

import pytest

from motet.guards.scoped import guards_of
from motet.model.plan import Limits, OnBreach
from motet.ports import GuardsOf, Scope

GROUP = Scope("group", "g", "r", 3)
RUN = Scope("run", "r", "r")
BUDGETS = [{"max_cost_nanos": 0}, {"max_tokens": 1}, {"max_calls": 1}, {"max_duration": 1.0}]
EVERYTHING = Limits(
    max_calls=1, max_failure_rate=0.5, min_successes=1, skip_infeasible=True, max_members=5, max_depth=2
)


def names(scope: Scope, limits: Limits) -> list[str]:
    make: GuardsOf = guards_of
    return [guard.name for guard in make(scope, limits, lambda failure, cancel: None)]


@pytest.mark.parametrize("scope", [GROUP, RUN], ids=["group", "run"])
@pytest.mark.parametrize("limits", BUDGETS, ids=str)
def test_each_figure_of_a_budget_makes_a_budget(scope: Scope, limits: dict[str, Any]) -> None:
    assert names(scope, Limits(**limits)) == ["budget"]


def test_a_group_has_the_guards_that_its_limits_ask_for_and_its_budget_is_asked_last() -> None:
    assert names(GROUP, EVERYTHING) == ["failure_rate", "min_successes", "feasible_deadline", "budget"]
    assert names(GROUP, Limits(max_failure_rate=0.0)) == ["failure_rate"]
    assert names(GROUP, Limits(min_successes=1)) == ["min_successes"]
    assert names(GROUP, Limits(skip_infeasible=True)) == ["feasible_deadline"]


def test_a_run_has_its_budget_alone() -> None:
    assert names(RUN, EVERYTHING) == ["budget"]


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(max_members=1, max_depth=1, min_samples=2, on_breach=OnBreach.CANCEL),
        Limits(min_successes=0, skip_infeasible=False),
    ],
)
def test_limits_that_bound_nothing_of_a_scope_make_no_guard(limits: Limits) -> None:
    assert names(GROUP, limits) == []
