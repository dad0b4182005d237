"""One group's aggregation in progress: fed every outcome, asked in the end. The rule is foreign code; what it raises is a
failure of the group, never of the engine, and no outcome is lost."""

from collections.abc import Sequence

from motet.engine.resolve import GroupNode
from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Answer, Roster, Tally


class Deciding:
    """A tally, and what is known of its answer."""

    def __init__(self, node: GroupNode, question: Payload) -> None:
        self._early_stop = node.early_stop
        self._tally: Tally | None = None
        self._failure: Failure | None = None
        self.decided = False
        """The answer can no longer change, and the rest may be stopped for it."""
        try:
            self._tally = node.aggregator.begin(Roster(node.seats.names, node.seats.weights, question))
        except Exception as error:  # noqa: BLE001 - foreign code, see above
            self._failure = aggregation_failed(error)

    def feed(self, index: int, outcome: Outcome) -> bool:
        """Take one outcome; True when it is the one that decides."""
        if self._tally is None or self._failure is not None:
            return False
        try:
            settled = self._tally.add(index, outcome)
        except Exception as error:  # noqa: BLE001 - foreign code, see above
            self._failure = aggregation_failed(error)
            return False
        first = settled and self._early_stop and not self.decided
        self.decided = self.decided or first
        return first

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        """What the rule says over all outcomes."""
        if self._tally is None or self._failure is not None:
            return self._failure or Failure(reason.AGGREGATION_FAILED, "the aggregation did not begin")
        try:
            return self._tally.answer(outcomes)
        except Exception as error:  # noqa: BLE001 - foreign code, see above
            return aggregation_failed(error)


def aggregation_failed(error: Exception) -> Failure:
    """What an exception of an aggregation says, in the words of a failure."""
    name = type(error).__name__
    return Failure(
        reason.AGGREGATION_FAILED, f"the aggregation raised {name}: {error}; every outcome is kept", {"type": name}
    )
