"""How many calls of an agent may be retries and hedges, so that an outage is not amplified. Whether an attempt is worth
making is the engine's to decide; here it is only paid for."""

import math
from collections.abc import Sequence
from typing import Final

from motet.model import reason
from motet.model.agent import AgentInfo
from motet.model.limit_use import LimitUse
from motet.model.outcome import AttemptKind, Failure
from motet.ports import ADMIT, Admission, Guard, Refuse, Start

MAX_IDLE: Final = 1000
"""Agents whose figures are remembered. Agents given in place may have any number of names."""
_WHOLE: Final = 10**9
"""Budgets are counted in billionths of an attempt: ten times a tenth is then a whole one, which it is not in floats."""


class AttemptBudget(Guard):
    """Refuses a retry or a hedge of an agent that has had too many of them, with reason RETRIES_EXHAUSTED.

    Each first start of an agent whose member may repeat it, and each that resumes one, earns it `retry_share` of a retry and `hedge_share` of a
    hedge, up to `reserve` of either, with which it begins. A share of 0.2 lets one call in six be a retry in the long
    run, however long an outage lasts; a share of 0 allows the reserve and no more. Agents of one name share a budget.
    When more than MAX_IDLE agents have spent something, the one that has rested longest is forgotten.

    Raises ValueError for a figure below 0 or not finite.
    """

    name = "attempts"

    def __init__(self, retry_share: float = 0.2, hedge_share: float = 0.1, reserve: float = 10.0) -> None:
        figures = (("retry_share", retry_share), ("hedge_share", hedge_share), ("reserve", reserve))
        for whose, figure in figures:
            if not (math.isfinite(figure) and figure >= 0):
                raise ValueError(f"{whose} is {figure}; give a finite number of at least 0")
        self._shares = {AttemptKind.RETRY: retry_share, AttemptKind.HEDGE: hedge_share}
        self._earned = {kind: round(share * _WHOLE) for kind, share in self._shares.items()}
        self._reserve = round(reserve * _WHOLE)
        self._spent: dict[str, dict[AttemptKind, int]] = {}
        """By agent, the one that rested longest first: what is missing from the reserve. Agents with a full one are not
        in it."""

    def concerns(self, agent: AgentInfo, tenant: str, *, repeats: bool) -> bool:  # noqa: ARG002 - shares are each agent's
        return repeats

    def may_start(self, start: Start, now: float) -> Admission:  # noqa: ARG002 - shares do not depend on time
        kind, agent = start.kind, start.ticket.agent.name
        if kind is AttemptKind.FIRST or kind is AttemptKind.RESUME:
            return ADMIT
        spent = self._spent.get(agent)
        if (spent[kind] if spent else 0) + _WHOLE <= self._reserve:
            return ADMIT
        what, share = kind.value.lower(), self._shares[kind]
        message = f"{agent} has had its share of {_PLURAL[kind]}, {share:.3g} for each first call; no {what} is made"
        return Refuse(Failure(reason.RETRIES_EXHAUSTED, message, {"agent": agent, "kind": kind.value, "share": share}))

    def started(self, start: Start, now: float) -> None:  # noqa: ARG002 - shares do not depend on time
        kind, agent = start.kind, start.ticket.agent.name
        spent = self._spent.pop(agent, None)
        if kind is AttemptKind.FIRST or kind is AttemptKind.RESUME:
            if spent is None:
                return
            for earner, earned in self._earned.items():
                spent[earner] = max(spent[earner] - earned, 0)
            if not any(spent.values()):
                return
        else:
            spent = spent or dict.fromkeys(self._shares, 0)
            spent[kind] += _WHOLE
        self._spent[agent] = spent
        if len(self._spent) > MAX_IDLE:
            del self._spent[next(iter(self._spent))]

    def uses(self) -> Sequence[LimitUse]:
        """Retries and hedges of each agent that has spent some: `used` of the reserve, which is the `limit`."""
        return [
            LimitUse(
                guard=self.name,
                scope="agent",
                name=agent,
                what=_PLURAL[kind],
                limit=self._reserve / _WHOLE,
                used=figure / _WHOLE,
            )
            for agent, spent in self._spent.items()
            for kind, figure in spent.items()
        ]


_PLURAL: Final = {AttemptKind.RETRY: "retries", AttemptKind.HEDGE: "hedges"}
