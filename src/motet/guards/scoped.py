"""The guards of one scope, made from its limits. Knows which limits a guard enforces, and nothing of how."""

from collections.abc import Callable

from motet.guards.budget import Budget, figures_of
from motet.guards.failure_rate import FailureRate
from motet.guards.feasible import FeasibleDeadline
from motet.guards.min_successes import MinSuccesses
from motet.model.outcome import Failure
from motet.model.plan import Limits
from motet.ports import Guard, Scope


def guards_of(scope: Scope, limits: Limits, breached: Callable[[Failure, bool], None], /) -> tuple[Guard, ...]:
    """The guards that enforce `limits` on `scope`; none for limits that bound nothing.

    A run has a budget. A group has all; what a run's limits say of its groups is for its groups' scopes. Depth and
    members of a run are not of a scope: they are asked before it starts.
    """
    guards: list[Guard] = []
    if scope.kind == "group":
        # Before the budget: a group that has failed is not left waiting for money.
        if limits.max_failure_rate is not None:
            guards.append(FailureRate(scope, limits, breached))
        if limits.min_successes:
            guards.append(MinSuccesses(scope, limits, breached))
        if limits.skip_infeasible:
            guards.append(FeasibleDeadline())
    if figures_of(limits):
        guards.append(Budget(scope, limits, breached))
    return tuple(guards)
