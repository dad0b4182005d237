"""How often agents and providers are called, and how many tokens they use in a time. Arithmetic only, no waiting.

Several limits of one rate hold together; the moments that `until` names are on trio's clock, like every `now`.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final

import trio

from motet.guards._bucket import Bucket
from motet.model.agent import AgentInfo
from motet.model.limit_use import LimitUse
from motet.model.rate import Rate
from motet.ports import ADMIT, Admission, End, Guard, Start, Wait

MAX_IDLE: Final = 1000
"""Agents whose buckets are kept before those with full ones are looked for and dropped."""
_SECOND: Final = 1.0
_MINUTE: Final = 60.0


class RateLimit(Guard):
    """Delays a start while its agent or its provider has been called, or has used tokens, as often as its rate allows.

    `providers` has the rates of providers by name; an agent's own is its card's. Agents of one name and one rate share
    buckets. Every attempt counts, as its card's `weight` in calls. Calls may come in bursts as `Rate.burst` says; one
    that weighs more than a burst starts once the bucket is full and leaves a debt. Tokens may be used at once up to one
    window's worth: a start takes what its agent is expected to use, and `settled` puts that right, into debt if need be.
    A start whose tokens are not known takes none, and waits until there is at least one.

    A wait is over at its `until`, unless something else was admitted first, or when tokens were given back, under the
    keys ("rate", "agent", name) and ("rate", "provider", name). A call holds what it took while it is paused.

    `clock` is asked by `uses` alone. Raises ValueError for a rate that is not above 0 or a burst below 1, naming it.
    """

    name = "rate"

    def __init__(
        self, providers: Mapping[str, Rate] | None = None, *, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._clock = clock
        self._providers: dict[str, _Buckets] = {}
        for name, rate in (providers or {}).items():
            try:
                self._providers[name] = _Buckets(rate)
            except ValueError as error:
                raise ValueError(f"the rate of provider {name}: {error}") from None
        self._agents: dict[tuple[str, Rate], _Buckets] = {}
        """Without those that are sure to be full."""
        self._sweep_above = MAX_IDLE
        self._expected: dict[Start, int] = {}
        """Tokens taken by calls that are not settled yet, where they are bounded."""

    def concerns(self, agent: AgentInfo, tenant: str, *, repeats: bool) -> bool:  # noqa: ARG002 - every call counts alike
        return agent.rate is not None or agent.provider in self._providers

    def may_start(self, start: Start, now: float) -> Admission:
        agent = start.ticket.agent
        until, key = now, None
        if agent.rate is not None and (buckets := self._agents.get((agent.name, agent.rate))):
            ready = buckets.ready_at(start)
            if ready > until:
                until, key = ready, ("rate", "agent", agent.name)
        if agent.provider and (buckets := self._providers.get(agent.provider)):
            ready = buckets.ready_at(start)
            if ready > until:
                until, key = ready, ("rate", "provider", agent.provider)
        return ADMIT if key is None else Wait(key, until)

    def started(self, start: Start, now: float) -> None:
        weight, tokens = start.ticket.agent.weight, _expected_tokens(start) or 0
        for _, buckets in self._buckets_of(start, now):
            buckets.take_calls(weight, now)
            if buckets.tokens:
                buckets.take_tokens(tokens, now)
                self._expected[start] = tokens

    def settled(self, start: Start, end: End, now: float) -> Sequence[Hashable]:
        expected = self._expected.pop(start, None)
        if expected is None:
            return ()
        more = end.usage.input_tokens + end.usage.output_tokens - expected
        if not more:
            return ()
        keys: list[Hashable] = []
        for key, buckets in self._buckets_of(start, now):
            if buckets.tokens:
                buckets.take_tokens(more, now)
                keys.append(key)
        return keys if more < 0 else ()

    def uses(self) -> Sequence[LimitUse]:
        """Calls and tokens of each bounded provider, and of each bounded agent that was called lately. `limit` is the
        rate, `window` the seconds that it is for; `used` is what was taken and has not flowed back. Calls wait when that
        is a burst, tokens when it is the limit, or when what they take would pass it."""
        now = self._clock()
        return [
            *(use for name, buckets in self._providers.items() for use in buckets.uses("provider", name, now)),
            *(use for (name, _), buckets in self._agents.items() for use in buckets.uses("agent", name, now)),
        ]

    def _buckets_of(self, start: Start, now: float) -> Iterator[tuple[Hashable, "_Buckets"]]:
        agent = start.ticket.agent
        if agent.rate is not None:
            whose = (agent.name, agent.rate)
            buckets = self._agents.get(whose)
            if buckets is None:
                self._sweep(now)
                buckets = self._agents[whose] = _Buckets(agent.rate)
            yield ("rate", "agent", agent.name), buckets
        if agent.provider and (buckets := self._providers.get(agent.provider)):
            yield ("rate", "provider", agent.provider), buckets

    def _sweep(self, now: float) -> None:
        """Full buckets are as good as none. The next look is at twice as many, so that it costs each start but little."""
        if len(self._agents) < self._sweep_above:
            return
        self._agents = {whose: buckets for whose, buckets in self._agents.items() if not buckets.full(now)}
        self._sweep_above = max(MAX_IDLE, 2 * len(self._agents))


def _expected_tokens(start: Start) -> int | None:
    profile = start.ticket.profile
    return None if profile is None else profile.tokens


class _Buckets:
    """Those of one rate: for calls and for tokens, each with its limit and its window."""

    __slots__ = ("calls", "tokens")

    def __init__(self, rate: Rate) -> None:
        if rate.burst is not None and not (math.isfinite(rate.burst) and rate.burst >= 1):
            raise ValueError(
                f"burst is {rate.burst}; give a finite number of at least 1, or None for one second's worth"
            )
        self.calls = [
            (limit, window, Bucket(limit / window, rate.burst or max(limit / window, 1.0)))
            for limit, window in (
                (_checked("calls_per_second", rate.calls_per_second), _SECOND),
                (_checked("calls_per_minute", rate.calls_per_minute), _MINUTE),
            )
            if limit is not None
        ]
        self.tokens = [
            (limit, window, Bucket(limit / window, limit))
            for limit, window in (
                (_checked("tokens_per_second", rate.tokens_per_second), _SECOND),
                (_checked("tokens_per_minute", rate.tokens_per_minute), _MINUTE),
            )
            if limit is not None
        ]

    def ready_at(self, start: Start) -> float:
        """The moment from which all of them admit it."""
        tokens = _expected_tokens(start)
        needed = 1 if tokens is None else tokens
        weight = start.ticket.agent.weight
        ready = -math.inf
        for _, _, bucket in self.calls:
            ready = max(ready, bucket.ready_at(weight))
        for _, _, bucket in self.tokens:
            ready = max(ready, bucket.ready_at(needed))
        return ready

    def take_calls(self, weight: float, now: float) -> None:
        for _, _, bucket in self.calls:
            bucket.take(weight, now)

    def take_tokens(self, tokens: int, now: float) -> None:
        for _, _, bucket in self.tokens:
            bucket.take(tokens, now)

    def full(self, now: float) -> bool:
        return all(bucket.full(now) for _, _, bucket in (*self.calls, *self.tokens))

    def uses(self, scope: str, name: str, now: float) -> Iterator[LimitUse]:
        for what, buckets in (("calls", self.calls), ("tokens", self.tokens)):
            for limit, window, bucket in buckets:
                yield LimitUse(
                    guard=RateLimit.name,
                    scope=scope,
                    name=name,
                    what=what,
                    limit=limit,
                    used=bucket.used(now),
                    window=window,
                )


def _checked(what: str, limit: float | None) -> float | None:
    if limit is None or (math.isfinite(limit) and limit / _MINUTE > 0):
        return limit
    raise ValueError(f"{what} is {limit}; give a finite number above 0, or None for no bound")
