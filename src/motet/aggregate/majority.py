"""majority: a quorum of successes, and then the first success in declared order. Pure."""

from collections.abc import Sequence
from typing import Final

from motet.aggregate._common import MAX_LISTED, Rule, json_value, no_success, outputs
from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Roster


class _Majority:
    """Constant amortised time for each outcome: `_front` only moves forward."""

    __slots__ = ("_earliest", "_ended", "_front", "_out", "_quorum", "_succeeded")

    def __init__(self, roster: Roster) -> None:
        members = len(roster.names)
        self._quorum = members // 2 + 1
        self._succeeded = 0
        self._out = members
        """Members that have not ended."""
        self._ended = bytearray(members)
        self._front = 0
        """First place in declared order whose member has not ended."""
        self._earliest = members
        """First place in declared order whose member succeeded."""

    def add(self, index: int, outcome: Outcome, /) -> bool:
        self._out -= 1
        self._ended[index] = 1
        while self._front < len(self._ended) and self._ended[self._front]:
            self._front += 1
        if outcome.succeeded:
            self._succeeded += 1
            self._earliest = min(self._earliest, index)
        if self._succeeded >= self._quorum:
            # The quorum alone does not settle which answer: a member declared before the earliest success may yet
            # succeed and be the answer. Stopping here would let the order of completion choose.
            return self._earliest < self._front
        return self._succeeded + self._out < self._quorum

    def answer(self, outcomes: Sequence[Outcome]) -> Payload | Failure:
        successes = outputs(outcomes)
        if not successes:
            return no_success(outcomes)
        if len(successes) >= self._quorum:
            return successes[0]
        return Failure(
            reason.NO_MAJORITY,
            f"{len(successes)} of {len(outcomes)} members succeeded, {self._quorum} are needed",
            {
                "results": [json_value(payload) for payload in successes[:MAX_LISTED]],
                "needed": self._quorum,
                "succeeded": len(successes),
            },
        )


MAJORITY: Final = Rule(
    name="majority",
    description="When more than half of the members succeed, the first success in declared order.",
    decides_early=True,
    tally=_Majority,
)
