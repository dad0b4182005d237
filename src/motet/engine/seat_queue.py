"""Which seat starts next. Pure: no clock, no waiting.

Seats stand in one lane for each agent. A lane that some guard holds back is set aside without holding up the others,
so waiting for one agent's width never blocks another agent's members. Costs O(log agents) a seat.
"""

import heapq
from collections import deque
from collections.abc import Collection, Hashable

from motet.engine.seats import Seats
from motet.ports import Ticket


class Lane:
    """The waiting seats of one agent, in declared order."""

    __slots__ = ("ranges", "ticket")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.ranges: deque[list[int]] = deque()

    @property
    def head(self) -> int:
        return self.ranges[0][0]

    def remove(self, places: Collection[int]) -> None:
        """Leave out these seats."""
        kept: deque[list[int]] = deque()
        for first, end in self.ranges:
            begin = first
            for place in range(first, end):
                if place in places:
                    if begin < place:
                        kept.append([begin, place])
                    begin = place + 1
            if begin < end:
                kept.append([begin, end])
        self.ranges = kept


class SeatQueue:
    """The seats of a group that have not started."""

    def __init__(self, seats: Seats, tickets: list[Ticket]) -> None:
        """`tickets` has one for each of the group's specs, the same object for specs of the same agent."""
        lanes: dict[int, Lane] = {}
        for spec, ticket in zip(seats.specs, tickets, strict=True):
            lane = lanes.setdefault(id(ticket), Lane(ticket))
            if lane.ranges and lane.ranges[-1][1] == spec.first:
                lane.ranges[-1][1] += spec.count
            else:
                lane.ranges.append([spec.first, spec.first + spec.count])
        self._ready = [(lane.head, lane) for lane in lanes.values()]
        heapq.heapify(self._ready)
        self._held: dict[Hashable, list[Lane]] = {}
        self.waiting = seats.total

    @property
    def ready(self) -> Ticket | None:
        """The ticket of the seat that is next; None when none is, because all have started or are held back."""
        return self._ready[0][1].ticket if self._ready else None

    @property
    def first(self) -> tuple[int, Lane] | None:
        """The place of the next seat, and its lane; None when none is ready."""
        return self._ready[0] if self._ready else None

    def take(self) -> int:
        """The place of the next seat, which leaves the queue."""
        index, lane = self._ready[0]
        span = lane.ranges[0]
        span[0] = following = index + 1
        if following == span[1]:
            lane.ranges.popleft()
        if lane.ranges:
            heapq.heapreplace(self._ready, (lane.ranges[0][0], lane))
        else:
            heapq.heappop(self._ready)
        self.waiting -= 1
        return index

    def hold(self, key: Hashable) -> None:
        """Set the next seat's lane aside until `release(key)`."""
        _, lane = heapq.heappop(self._ready)
        self._held.setdefault(key, []).append(lane)

    def release(self, key: Hashable) -> bool:
        """Let the lanes that wait for `key` stand in line again; False when there are none."""
        lanes = self._held.pop(key, [])
        for lane in lanes:
            heapq.heappush(self._ready, (lane.head, lane))
        return bool(lanes)

    def without(self, places: Collection[int]) -> None:
        """Take these seats out of the line. Only before any has left it."""
        for lane in [lane for _, lane in self._ready]:
            lane.remove(places)
        self._ready = [(lane.head, lane) for _, lane in self._ready if lane.ranges]
        heapq.heapify(self._ready)
        self.waiting -= len(places)

    @property
    def held(self) -> list[Hashable]:
        """The keys that lanes wait for."""
        return list(self._held)

    def drain(self) -> list[int]:
        """All seats that are left, in declared order; the queue is empty after."""
        lanes = [lane for _, lane in self._ready] + [lane for held in self._held.values() for lane in held]
        left = sorted(index for lane in lanes for span in lane.ranges for index in range(*span))
        self._ready.clear()
        self._held.clear()
        self.waiting = 0
        return left
