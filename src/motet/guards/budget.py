"""Budget: cost, tokens, calls and run time of one group or one run. Estimates are reserved, true use is settled."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from motet.guards._amounts import needs_of, said, told, truth_of
from motet.guards._ledger import Estimate, Figure, Ledger, Short
from motet.model import reason
from motet.model.limit_use import LimitUse
from motet.model.outcome import Failure
from motet.model.plan import Limits, OnBreach
from motet.model.quota_use import NANOS
from motet.ports import ADMIT, Admission, End, Guard, Refuse, Scope, Start, Wait

FIELDS: Final = {
    "cost_nanos": "max_cost_nanos",
    "tokens": "max_tokens",
    "calls": "max_calls",
    "seconds": "max_duration",
}


class Budget(Guard):
    """Admits a start whose estimate fits what is left of `limits`, and delays it while others hold what it needs.

    A start that would not fit if all that runs gave back what it holds is refused; cheaper ones may still fit. A start
    of an agent that nothing is known of takes all that is left, so such starts go one at a time and overspending is
    bounded. An agent known to name no price is admitted while any money is left, so `max_cost_nanos=0` admits
    only calls whose declared or usual price is 0. Groups cost nothing themselves: their members pay.

    A paused call gives back all but the call itself, which has been made, and takes nothing again. `settled` adds the truth,
    of a cancelled call what it told. The budget closes, and calls `breached` once, when a settled call makes it overspent; with
    `on_breach=CANCEL` also when it is used up exactly while others run that could only exceed it.
    """

    name = "budget"

    def __init__(self, scope: Scope, limits: Limits, breached: Callable[[Failure, bool], None]) -> None:
        self._scope = scope
        self._ledger = Ledger(figures_of(limits))
        self._breached = breached
        self._cancel = limits.on_breach is OnBreach.CANCEL
        self._failure: Failure | None = None
        self._key: Hashable = ("budget", object())
        """Its own: a run and a group in it may have one name."""

    def may_start(self, start: Start, now: float) -> Admission:  # noqa: ARG002 - a budget does not look at the time
        if self._failure is not None:
            return Refuse(self._failure)
        short = self._ledger.short(needs_of(self._ledger.figures, start))
        if short is None:
            return ADMIT
        return Wait(self._key) if short.ever else Refuse(self._too_much(short))

    def started(self, start: Start, now: float) -> None:  # noqa: ARG002 - a budget does not look at the time
        self._ledger.reserve(start, needs_of(self._ledger.figures, start))

    def paused(self, start: Start, now: float) -> Sequence[Hashable]:  # noqa: ARG002 - a budget does not look at the time
        return (self._key,) if self._ledger.pause(start) else ()

    def settled(self, start: Start, end: End, now: float) -> Sequence[Hashable]:  # noqa: ARG002 - as above
        changed = self._ledger.settle(start, truth_of(self._ledger.figures, start, end))
        self._close_if_breached()
        # Also when less is left than before: who waits for what no longer fits must be told so.
        return (self._key,) if changed else ()

    def uses(self) -> Sequence[LimitUse]:
        scope = self._scope
        name = scope.run_id if scope.kind == "run" else f"{scope.run_id}/{scope.name}"
        state = "" if self._failure is None else "breached"
        return tuple(
            LimitUse(
                guard=self.name,
                scope=scope.kind,
                name=name,
                what=figure.what,
                limit=told(figure.what, figure.limit),
                used=told(figure.what, figure.spent),
                reserved=told(figure.what, figure.reserved),
                state=state,
            )
            for figure in self._ledger.figures
        )

    def _close_if_breached(self) -> None:
        if self._failure is not None:
            return
        figure = self._ledger.overspent()
        if figure is None and self._cancel:
            figure = self._ledger.used_up()
        if figure is None:
            return
        self._failure = Failure(
            reason.BUDGET_EXCEEDED,
            f"{self._whose()} has used {said(figure.what, figure.spent)}; "
            f"its {FIELDS[figure.what]} is {said(figure.what, figure.limit)}",
            _details(figure, None),
        )
        self._breached(self._failure, self._cancel)

    def _too_much(self, short: Short) -> Failure:
        figure = short.figure
        spent = said(figure.what, figure.spent + figure.certain)
        asks = f"{said(figure.what, short.need)} more" if isinstance(short.need, int) else "an unknown amount more"
        return Failure(
            reason.BUDGET_EXCEEDED,
            f"{self._whose()} has used {spent} and the call is expected to use {asks}; "
            f"its {FIELDS[figure.what]} is {said(figure.what, figure.limit)}",
            _details(figure, short.need),
        )

    def _whose(self) -> str:
        return "the run" if self._scope.kind == "run" else f"{self._scope.kind} {self._scope.name!r}"


def figures_of(limits: Limits) -> list[Figure]:
    """The figures that limits bound."""
    duration = limits.max_duration
    bounds = {
        "cost_nanos": limits.max_cost_nanos,
        "tokens": limits.max_tokens,
        "calls": limits.max_calls,
        "seconds": None if duration is None or math.isinf(duration) else round(duration * NANOS),
    }
    return [Figure(what, limit) for what, limit in bounds.items() if limit is not None]


def _details(figure: Figure, need: Estimate | None) -> dict[str, Any]:
    return {
        "what": figure.what,
        "limit": told(figure.what, figure.limit),
        "spent": told(figure.what, figure.spent + figure.certain),
        "estimate": told(figure.what, need) if isinstance(need, int) else None,
    }
