"""Leaves agents and providers alone for a while when they fail. Counting only; what counts as a fault is the engine's.

The states are closed (calls go through), open (none do) and half_open (a few try whether it works again).
"""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final

import trio

from motet.guards._circuit import Circuit, CircuitState
from motet.model import reason
from motet.model.agent import AgentInfo
from motet.model.limit_use import LimitUse
from motet.model.outcome import AttemptKind, Failure
from motet.model.rate import Breaker
from motet.ports import ADMIT, Admission, End, Guard, Refuse, Start

MAX_IDLE: Final = 1000
"""Agents at rest whose failures are remembered. Agents given in place may have any number of names."""


class CircuitBreaker(Guard):
    """Refuses starts of an agent, or of a provider's agents, that has failed too often in a row, with reason CIRCUIT_OPEN.

    `providers` has the breakers of providers by name; an agent's own is its card's. Agents of one name and one breaker
    share a circuit. It opens after `failures` faults in a row, is half open once `cooldown` has passed, lets `probes`
    starts at once try, and closes when as many have answered; a fault opens it anew. Calls that were stopped by others
    count for nothing, and calls that started before it opened no longer count. Hedges are refused unless it is closed.

    `clock` is asked by `uses` alone. Raises ValueError for figures below 1 and for a cooldown that is negative or not
    finite, naming them.
    """

    name = "breaker"

    def __init__(
        self, providers: Mapping[str, Breaker] | None = None, *, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._clock = clock
        self._providers: dict[str, Circuit] = {}
        for name, breaker in (providers or {}).items():
            try:
                self._providers[name] = Circuit(breaker)
            except ValueError as error:
                raise ValueError(f"the breaker of provider {name}: {error}") from None
        self._agents: dict[tuple[str, Breaker], Circuit] = {}
        self._idle: dict[tuple[str, Breaker], None] = {}
        """Agents of which nothing runs, the one that rested longest first."""
        self._eras: dict[Start, list[tuple[Circuit, int]]] = {}
        """Of the calls that run: in which era of each circuit they started."""

    def concerns(self, agent: AgentInfo, tenant: str, *, repeats: bool) -> bool:  # noqa: ARG002 - every call counts alike
        return agent.breaker is not None or agent.provider in self._providers

    def may_start(self, start: Start, now: float) -> Admission:
        agent = start.ticket.agent
        if agent.breaker is not None and (circuit := self._agents.get((agent.name, agent.breaker))):
            failure = _refusal(circuit, start, f"agent {agent.name}", now)
            if failure is not None:
                return Refuse(failure)
        if agent.provider and (circuit := self._providers.get(agent.provider)):
            failure = _refusal(circuit, start, f"provider {agent.provider}", now)
            if failure is not None:
                return Refuse(failure)
        return ADMIT

    def started(self, start: Start, now: float) -> None:
        eras = [(circuit, circuit.started(now)) for circuit in self._circuits_of(start)]
        if eras:
            self._eras[start] = eras

    def settled(self, start: Start, end: End, now: float) -> Sequence[Hashable]:
        for circuit, era in self._eras.pop(start, ()):
            circuit.settled(era, end.fault, now)
        agent = start.ticket.agent
        if agent.breaker is not None:
            self._rest((agent.name, agent.breaker))
        return ()

    def uses(self) -> Sequence[LimitUse]:
        """Failures in a row of each provider with a breaker, and of each agent with one that was called lately."""
        now = self._clock()
        circuits = (
            *(("provider", name, circuit) for name, circuit in self._providers.items()),
            *(("agent", name, circuit) for (name, _), circuit in self._agents.items()),
        )
        return [
            LimitUse(
                guard=self.name,
                scope=scope,
                name=name,
                what="failures",
                limit=float(circuit.breaker.failures),
                used=float(circuit.failures),
                state=circuit.state(now).value,
            )
            for scope, name, circuit in circuits
        ]

    def _circuits_of(self, start: Start) -> Iterator[Circuit]:
        agent = start.ticket.agent
        if agent.breaker is not None:
            whose = (agent.name, agent.breaker)
            self._idle.pop(whose, None)
            circuit = self._agents.get(whose)
            if circuit is None:
                circuit = self._agents[whose] = Circuit(agent.breaker)
            yield circuit
        if agent.provider and (circuit := self._providers.get(agent.provider)):
            yield circuit

    def _rest(self, whose: tuple[str, Breaker]) -> None:
        circuit = self._agents.get(whose)
        if circuit is None or circuit.running:
            return
        self._idle[whose] = None
        if len(self._idle) > MAX_IDLE:
            oldest = next(iter(self._idle))
            del self._idle[oldest], self._agents[oldest]


def _refusal(circuit: Circuit, start: Start, whose: str, now: float) -> Failure | None:
    state = circuit.state(now)
    if state is CircuitState.CLOSED:
        return None
    if state is CircuitState.OPEN:
        seconds = math.ceil((circuit.open_until - now) * 1000) / 1000
        message = f"{whose} fails, {circuit.failures} in a row, and is left alone; try again in {seconds:g} s"
        return Failure(reason.CIRCUIT_OPEN, message, {"retry_after_seconds": seconds})
    if start.kind is not AttemptKind.HEDGE and circuit.may_probe:
        return None
    message = f"{whose} has failed, and a few calls probe whether it works again; try again when they have answered"
    return Failure(reason.CIRCUIT_OPEN, message)
