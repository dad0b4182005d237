"""Width: how many calls run at once in the engine, for each provider and for each agent. Counting only, no waiting.

The group's own width is the engine's, which must not even make tasks for members beyond it.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

from motet.model.limit_use import LimitUse
from motet.ports import ADMIT, Admission, Guard, Start, Wait

MAX_IDLE: Final = 1000
"""Agents and providers at rest whose figures are remembered. Agents given in place may have any number of names."""


class Capacity(Guard):
    """Delays a start while the engine, the agent's provider or the agent is at its bound.

    `engine` and the values of `providers` are the most calls at once, at least 1; None, and a provider that is not
    named, means no bound. An agent's bound is its card's `max_parallel`; agents of one name share one count, each
    start is measured by the bound on its own card. Raises ValueError for a bound below 1.

    A call that runs a nested group gives its slots back in `paused` and takes them again in `resumed`. A call that ends
    while it is paused holds nothing and is not ended again: `ended` is for calls that hold their slots.
    """

    name = "capacity"

    def __init__(self, *, engine: int | None = None, providers: Mapping[str, int | None] | None = None) -> None:
        bounds = dict(providers or {})
        for whose, bound in (("engine", engine), *((f"provider {name}", bound) for name, bound in bounds.items())):
            if bound is not None and bound < 1:
                raise ValueError(f"the bound of {whose} is {bound}; give at least 1, or None for no bound")
        self._engine = _Count(engine)
        self._bounds = bounds
        self._providers = _Counts()
        self._agents = _Counts()
        for name, bound in bounds.items():
            self._providers.pin(name, bound)

    def may_start(self, start: Start, now: float) -> Admission:  # noqa: ARG002 - width does not depend on time
        # The narrowest first: a start that waits for its agent is not woken for every call that ends in the engine.
        agent = start.ticket.agent
        provider = agent.provider
        if agent.max_parallel is not None and self._agents.full(agent.name, agent.max_parallel):
            return Wait(("agent", agent.name))
        if provider and self._providers.full(provider, self._bounds.get(provider)):
            return Wait(("provider", provider))
        engine = self._engine
        if engine.limit is not None and engine.in_use >= engine.limit:
            return Wait(("engine",))
        return ADMIT

    def started(self, start: Start, now: float) -> None:  # noqa: ARG002 - width does not depend on time
        agent = start.ticket.agent
        self._engine.in_use += 1
        if agent.provider:
            self._providers.take(agent.provider, self._bounds.get(agent.provider))
        self._agents.take(agent.name, agent.max_parallel)

    def ended(self, start: Start, now: float) -> Sequence[Hashable]:  # noqa: ARG002 - width does not depend on time
        agent = start.ticket.agent
        self._engine.give()
        self._agents.give(agent.name)
        # All keys, also where this card has no bound: another of the same name may have one. The widest first: a start
        # that waits for the engine would else be passed over for as long as this agent has others waiting.
        if not agent.provider:
            return (("engine",), ("agent", agent.name))
        self._providers.give(agent.provider)
        return (("engine",), ("provider", agent.provider), ("agent", agent.name))

    def paused(self, start: Start, now: float) -> Sequence[Hashable]:
        return self.ended(start, now)

    def may_resume(self, start: Start, now: float) -> Admission:
        return self.may_start(start, now)

    def resumed(self, start: Start, now: float) -> None:
        self.started(start, now)

    def uses(self) -> Sequence[LimitUse]:
        """Calls that run: in the engine, and for each provider and agent that is in use or bounded."""
        return (
            self._engine.use("engine", ""),
            *self._providers.uses("provider"),
            *self._agents.uses("agent"),
        )


class _Count:
    __slots__ = ("in_use", "limit")

    def __init__(self, limit: int | None) -> None:
        self.in_use = 0
        self.limit = limit

    def full(self, limit: int | None) -> bool:
        return limit is not None and self.in_use >= limit

    def give(self) -> None:
        if not self.in_use:
            raise RuntimeError("capacity was given back that nobody held")
        self.in_use -= 1

    def use(self, scope: str, name: str) -> LimitUse:
        return LimitUse(
            guard=Capacity.name, scope=scope, name=name, what="running", limit=self.limit, used=float(self.in_use)
        )


class _Counts:
    """Counts by name. Those at rest without a bound are dropped at once, bounded ones when there are many."""

    __slots__ = ("_counts", "_idle", "_pinned")

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._idle: dict[str, None] = {}
        """Names at rest, the longest first."""
        self._pinned: set[str] = set()

    def pin(self, name: str, limit: int | None) -> None:
        """Keep the figures of this name whatever else comes and goes."""
        if limit is not None:
            self._counts[name] = _Count(limit)
            self._pinned.add(name)

    def full(self, name: str, limit: int | None) -> bool:
        count = self._counts.get(name)
        return count is not None and count.full(limit)

    def take(self, name: str, limit: int | None) -> None:
        count = self._counts.get(name)
        if count is None:
            count = self._counts[name] = _Count(limit)
        elif not count.in_use:
            self._idle.pop(name, None)
        count.limit = limit
        count.in_use += 1

    def give(self, name: str) -> None:
        count = self._counts.get(name)
        if count is None:
            raise RuntimeError(f"capacity of {name} was given back that nobody held")
        count.give()
        if count.in_use or name in self._pinned:
            return
        if count.limit is None:
            del self._counts[name]
            return
        self._idle[name] = None
        if len(self._idle) > MAX_IDLE:
            oldest = next(iter(self._idle))
            del self._idle[oldest], self._counts[oldest]

    def uses(self, scope: str) -> list[LimitUse]:
        return [count.use(scope, name) for name, count in self._counts.items()]
