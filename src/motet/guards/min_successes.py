"""MinSuccesses: stops a group that can no longer have the successes it must have. Counting only."""

from collections.abc import Callable, Sequence

from motet.model import reason
from motet.model.limit_use import LimitUse
from motet.model.outcome import Failure, Outcome
from motet.model.plan import Limits
from motet.ports import ADMIT, Admission, Guard, Refuse, Scope, Start


class MinSuccesses(Guard):
    """Refuses starts once fewer than `limits.min_successes` members of the scope have succeeded or still can.

    Members that were cancelled or never started are ended without success; an answer kept from an earlier call is one.
    Calls `breached` once, at the member whose end puts the number out of reach, to cancel what runs: nothing can
    come of it. Raises ValueError for limits without `min_successes`.
    """

    name = "min_successes"

    def __init__(self, scope: Scope, limits: Limits, breached: Callable[[Failure, bool], None]) -> None:
        if limits.min_successes is None:
            raise ValueError("limits.min_successes is None; give a number of members, or leave this guard out")
        self._scope = scope
        self._least = limits.min_successes
        self._breached = breached
        self._ended = 0
        self._succeeded = 0
        self._failure: Failure | None = None

    @property
    def met(self) -> bool:
        """Enough members have succeeded."""
        return self._succeeded >= self._least

    def unmet(self) -> Failure | None:
        """For a group whose members have all ended: why it has failed, None when enough have succeeded."""
        if self.met:
            return None
        return Failure(
            reason.TOO_FEW_SUCCESSES,
            f"{self._succeeded} of {self._scope.members} members succeeded; the limit asks for {self._least}",
            self._details(),
        )

    def may_start(self, start: Start, now: float) -> Admission:  # noqa: ARG002 - it looks at what has ended alone
        if self._possible() >= self._least:
            return ADMIT
        # Without a failure it asked for more than there are members, from the first.
        return Refuse(self._failure or self._out_of_reach())

    def member_ended(self, outcome: Outcome) -> None:
        self._ended += 1
        self._succeeded += outcome.succeeded
        if self._failure is None and self._possible() < self._least:
            self._failure = self._out_of_reach()
            self._breached(self._failure, True)

    def uses(self) -> Sequence[LimitUse]:
        return (
            LimitUse(
                guard=self.name,
                scope=self._scope.kind,
                name=f"{self._scope.run_id}/{self._scope.name}",
                what="successes",
                limit=self._least,
                used=self._succeeded,
            ),
        )

    def _possible(self) -> int:
        return self._succeeded + self._scope.members - self._ended

    def _out_of_reach(self) -> Failure:
        return Failure(
            reason.TOO_FEW_SUCCESSES,
            f"at most {self._possible()} of {self._scope.members} members can still succeed; "
            f"the limit asks for {self._least}",
            self._details(),
        )

    def _details(self) -> dict[str, int]:
        return {
            "succeeded": self._succeeded,
            "ended": self._ended,
            "members": self._scope.members,
            "min_successes": self._least,
        }
