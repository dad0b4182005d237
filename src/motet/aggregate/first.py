"""first: what the first member to succeed said. Pure; the order of the outcomes is the engine's."""

from collections.abc import Sequence
from typing import Final

from motet.aggregate._common import Rule, no_success, outputs
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Roster


class _First:
    __slots__ = ("_winner",)

    def __init__(self, _roster: Roster) -> None:
        self._winner: Payload | None = None

    def add(self, _index: int, outcome: Outcome, /) -> bool:
        if self._winner is None and outcome.succeeded:
            self._winner = outcome.output
        return self._winner is not None

    def answer(self, outcomes: Sequence[Outcome]) -> Payload | Failure:
        if self._winner is not None:
            return self._winner
        # Outcomes that were never fed have no order of success; declared order stands in for it.
        return next(iter(outputs(outcomes)), None) or no_success(outcomes)


FIRST: Final = Rule(
    name="first",
    description="The output of the first member to succeed; the others are stopped.",
    decides_early=True,
    tally=_First,
)
