"""Load and what it measures: calls made in closed loops or at a rate, their latencies, errors by reason.

Knows what a call is, not what it calls.
"""

import math
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

LAST = 5.0
"""Seconds that calls which are under way at the end may still take; what takes longer is cancelled and counted apart."""
PAUSE = 0.1
"""Seconds that a client of a closed loop waits after a call that was refused, so that it does not spin on a dead server."""
MAX_WAITING = 10_000
"""Calls under way at once at a given rate: beyond what a server is asked to bear, and what bounds this program's memory."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended."""

    reason: str = ""
    """Why it gave no answer, in upper case; empty for one that did."""
    refused: bool = False
    """The call itself failed, not the work that it asked for."""


Call = Callable[[], Awaitable[Ended]]
"""One call over a connection of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a load has measured. Latencies are seconds, of the calls that gave an answer; None where none did."""

    elapsed: float
    """Seconds of load; what ended after it is in the counts, not in the throughput."""
    calls: int
    """Ended, with an answer or an error."""
    succeeded: int
    throughput: float
    """Calls with an answer in a second."""
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None
    errors: dict[str, int]
    """By reason, the most frequent first."""
    unfinished: int
    """Cancelled at the end, without an answer by then."""
    unsent: int
    """Not made at their time, because too many were under way."""


class Load:
    """Calls without retries, until the time is over or `stop` is called.

    A closed loop has each client make its next call when the last one has ended. With a `rate` (calls in a second) calls
    begin at their time whatever the others do, dealt out over the clients, and latency counts from that time: a server
    that falls behind cannot hide it by being asked less.
    """

    def __init__(self, clients: Sequence[Call], rate: float | None = None) -> None:
        self._clients = clients
        self._rate = rate
        self._scope = trio.CancelScope()
        self._begin = self._end = math.nan
        self._latencies = array("d")
        self._in_time = 0
        self._errors: Counter[str] = Counter()
        self._waiting = 0
        self._unfinished = 0
        self._unsent = 0

    async def run(self, seconds: float) -> Measured:
        """Put the load on for so long, and measure."""
        self._begin = trio.current_time()
        self._end = self._begin + seconds
        self._scope.deadline = self._end + LAST
        with self._scope:
            async with trio.open_nursery() as nursery:
                if self._rate is not None:
                    nursery.start_soon(self._at_rate, self._rate, nursery)
                else:
                    for client in self._clients:
                        nursery.start_soon(self._in_loop, client)
        return self._measured()

    def stop(self) -> None:
        """End early, with what was measured so far."""
        self._end = min(self._end, trio.current_time())
        self._scope.cancel()

    async def _in_loop(self, client: Call) -> None:
        while (now := trio.current_time()) < self._end:
            ended = await self._call(client, now)
            if ended.refused:
                await trio.sleep(PAUSE)

    async def _at_rate(self, rate: float, nursery: trio.Nursery) -> None:
        number = 0
        while (at := self._begin + number / rate) < self._end:
            await trio.sleep_until(at)
            if self._waiting < MAX_WAITING:
                nursery.start_soon(self._call, self._clients[number % len(self._clients)], at)
            else:
                self._unsent += 1
            number += 1

    async def _call(self, client: Call, since: float) -> Ended:
        self._waiting += 1
        try:
            ended = await client()
        except trio.Cancelled:
            self._unfinished += 1
            raise
        finally:
            self._waiting -= 1
        now = trio.current_time()
        if ended.reason:
            self._errors[ended.reason] += 1
        else:
            self._latencies.append(now - since)
            self._in_time += now <= self._end
        return ended

    def _measured(self) -> Measured:
        ordered = sorted(self._latencies)
        elapsed = self._end - self._begin

        def quantile(share: float) -> float | None:
            return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None

        return Measured(
            elapsed=elapsed,
            calls=len(ordered) + self._errors.total(),
            succeeded=len(ordered),
            throughput=self._in_time / elapsed if elapsed else 0.0,
            p50=quantile(0.5),
            p90=quantile(0.9),
            p99=quantile(0.99),
            max=quantile(1.0),
            errors=dict(self._errors.most_common()),
            unfinished=self._unfinished,
            unsent=self._unsent,
        )
