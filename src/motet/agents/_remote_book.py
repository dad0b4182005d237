"""Which worker takes which call: desks where calls of an agent wait, and connections with room for some of them.

Decides synchronously; knows neither messages nor how they travel. The one thing it touches of trio is the patience of
those that wait.
"""

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from motet.agents._remote_lease import (
    Answer,
    CancelOrder,
    DrainOrder,
    Hello,
    Lease,
    Lost,
    OfferedAgent,
    Order,
    Ticket,
)
from motet.ports import Call

MAX_DELIVERIES: Final = 3
"""Workers that may be lost over one call: a call that kills whoever takes it must not go round all of them."""
_numbers = itertools.count(1)


class Desk:
    """Where the calls of one agent wait for a worker that offers it."""

    def __init__(
        self,
        name: str,
        queue_timeout: float,
        *,
        replay_safe: bool | None,
        on_arrival: Callable[[OfferedAgent], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.queue_timeout = queue_timeout
        """Seconds that a call waits while no worker offers the agent."""
        self.replay_safe = replay_safe
        """What the catalog says; None leaves it to each worker."""
        self._on_arrival = on_arrival
        self.offers: list[Offer] = []
        self.waiting: deque[Ticket] = deque()
        """In order; while there are any, no offer has room."""

    @property
    def staffed(self) -> bool:
        """A worker is there that takes calls, if not at once."""
        return any(not offer.connection.leaving for offer in self.offers)

    def enter(self, call: Call) -> Ticket:
        """A call asks for a worker. Inside trio only."""
        ticket = Ticket(self, call, next(_numbers))
        self.waiting.append(ticket)
        if len(self.waiting) == 1:
            self._give()
        if ticket.lease is None and not self.staffed:
            self._hurry(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """A call that waits is given up."""
        with contextlib.suppress(ValueError):
            self.waiting.remove(ticket)

    def put_back(self, ticket: Ticket) -> None:
        """A call whose lease was lost before it was answered goes on waiting, at its old place."""
        ticket.lease = None
        place = next((n for n, other in enumerate(self.waiting) if other.number > ticket.number), len(self.waiting))
        self.waiting.insert(place, ticket)

    def arrived(self, offer: "Offer") -> None:
        """A worker offers the agent from now on."""
        self.offers.append(offer)
        self._on_arrival(offer.agent)
        for ticket in self.waiting:
            if not ticket.patience.cancel_called:
                ticket.patience.deadline = math.inf
        self._give()

    def settle(self) -> None:
        """Workers have gone: give what waits to others, and start its patience when there is none."""
        self._give()
        if self.waiting and not self.staffed:
            for ticket in self.waiting:
                self._hurry(ticket)

    def first(self) -> Ticket | None:
        """The call that waits longest."""
        while self.waiting and self.waiting[0].patience.cancel_called:
            self.waiting.popleft()
        return self.waiting[0] if self.waiting else None

    def _give(self) -> None:
        while (ticket := self.first()) is not None and (offer := self._free()) is not None:
            self.waiting.popleft()
            offer.connection.give(ticket, offer)

    def _free(self) -> "Offer | None":
        """The least loaded offer with room; among equals the one whose worker has waited longest for a call."""
        free = [offer for offer in self.offers if offer.has_room]
        return min(free, key=lambda offer: (offer.load, offer.connection.last_given), default=None)

    def _hurry(self, ticket: Ticket) -> None:
        if ticket.patience.deadline == math.inf:
            ticket.patience.deadline = trio.current_time() + self.queue_timeout


class Offer:
    """One agent at one connected worker."""

    __slots__ = ("agent", "capacity", "connection", "desk", "running")

    def __init__(self, agent: OfferedAgent, desk: Desk, connection: "Connection") -> None:
        self.agent = agent
        self.desk = desk
        self.connection = connection
        self.capacity = agent.capacity or 1
        self.running = 0

    @property
    def has_room(self) -> bool:
        connection = self.connection
        return not connection.leaving and self.running < self.capacity and len(connection.leases) < connection.capacity

    @property
    def load(self) -> float:
        """0 when idle, 1 when full, whichever of its bounds is nearer."""
        connection = self.connection
        return max(self.running / self.capacity, len(connection.leases) / connection.capacity)

    @property
    def replay_safe(self) -> bool:
        declared = self.desk.replay_safe
        return self.agent.replay_safe if declared is None else declared


class Connection:
    """One worker for as long as its stream lasts: its leases, and what is to be told to it."""

    def __init__(self, hello: Hello, epoch: int, prefix: str) -> None:
        self.worker_id = hello.worker_id
        self.library = hello.library
        self.epoch = epoch
        self.capacity = hello.capacity or sum(agent.capacity or 1 for agent in hello.agents)
        self.offers: dict[str, Offer] = {}
        self.leases: dict[str, Lease] = {}
        """Those that hold a place, by id: also one whose caller has given up, until the worker says that it is over."""
        self.leaving = False
        """It takes no more leases."""
        self.gone = False
        self.dismissed = ""
        """Why the engine wants it gone; empty while it does not."""
        self.last_given = 0
        self.issued = 0
        self.lost = 0
        self._prefix = f"{prefix}-{epoch}-"
        self._orders: deque[Order] = deque()
        self._news = trio.Event()

    def open(self, offers: list[Offer]) -> None:
        """Take calls from now on."""
        self.offers = {offer.agent.name: offer for offer in offers}
        for offer in offers:
            offer.desk.arrived(offer)

    def give(self, ticket: Ticket, offer: Offer) -> None:
        """Lease a call to it; the desk has seen that there is room."""
        self.issued += 1
        self.last_given = next(_numbers)
        lease = Lease(f"{self._prefix}{self.issued}", self, ticket, offer.agent.version)
        self.leases[lease.id] = lease
        offer.running += 1
        ticket.lease = lease
        ticket.patience.deadline = math.inf
        self._tell(lease)

    # ------------------------------------------------------------------------------------------------ what it is told

    async def order(self) -> Order | None:
        """The next thing to tell it; None once it has left, or is to go, and there is nothing more to tell. When cancelled,
        nothing was taken."""
        while not self._orders:
            if self.gone or (self.leaving and not self.leases):
                return None
            self._news = trio.Event()
            await self._news.wait()
        order = self._orders.popleft()
        if isinstance(order, Lease):
            order.sent = True
            order.ticket.deliveries += 1
        return order

    def stop(self, lease: Lease, reason: str) -> bool:
        """Ask for a lease to be stopped; False when the worker never saw it, and nothing is to be waited for."""
        lease.ticket.stopping = True
        if not lease.sent:
            self._orders.remove(lease)
            self._end(lease)
            return False
        self._tell(CancelOrder(lease, reason))
        return True

    def drain(self, *, told: bool) -> None:
        """Give it no more leases. `told` when it is the engine that wants so, and the worker has to hear of it."""
        if told and not self.leaving:
            self._tell(DrainOrder())
        self.leaving = True
        self._news.set()
        for offer in self.offers.values():
            offer.desk.settle()

    def _tell(self, order: Order) -> None:
        self._orders.append(order)
        self._news.set()

    # ------------------------------------------------------------------------------------------------- what it answers

    def find(self, lease_id: str, epoch: int) -> Lease | None:
        """The lease that an answer belongs to; None for one that is over, here or in an earlier connection.

        Raises KeyError for one that this worker never had.
        """
        if epoch == self.epoch:
            lease = self.leases.get(lease_id)
            if lease is None and not self._was_issued(lease_id):
                raise KeyError(lease_id)
            return lease if lease is None or lease.sent else None
        if epoch > self.epoch:
            raise KeyError(lease_id)
        return None

    def answer(self, lease: Lease, answer: Answer) -> None:
        """A lease is over. Nothing happens when it was over before."""
        if self.leases.get(lease.id) is lease:
            self._end(lease)
            lease.ticket.finish(answer)

    def lose(self, why: str) -> None:
        """The worker is gone: what may be given again waits once more, the rest is lost."""
        if self.gone:
            return
        self.gone = self.leaving = True
        desks = [offer.desk for offer in self.offers.values()]
        for offer in self.offers.values():
            offer.desk.offers.remove(offer)
        for lease in self.leases.values():
            ticket = lease.ticket
            self.lost += lease.sent
            safe = self.offers[ticket.desk.name].replay_safe and ticket.deliveries < MAX_DELIVERIES
            if not ticket.stopping and (safe or not lease.sent):
                ticket.desk.put_back(ticket)
            else:
                ticket.finish(Lost(self.worker_id, why))
        self.leases.clear()
        self._orders.clear()
        self._news.set()
        for desk in desks:
            desk.settle()

    def _was_issued(self, lease_id: str) -> bool:
        number = lease_id.removeprefix(self._prefix)
        known = number != lease_id and number.isascii() and number.isdigit() and len(number) <= len(str(self.issued))
        return known and 1 <= int(number) <= self.issued

    def _end(self, lease: Lease) -> None:
        """Its place is free: the call that waits longest at any of the worker's desks takes it."""
        del self.leases[lease.id]
        self.offers[lease.ticket.desk.name].running -= 1
        if self.leaving:
            self._news.set()
            return
        free = [offer for offer in self.offers.values() if offer.has_room]
        waiting = [(ticket.number, offer) for offer in free if (ticket := offer.desk.first()) is not None]
        if waiting:
            offer = min(waiting, key=lambda pair: pair[0])[1]
            self.give(offer.desk.waiting.popleft(), offer)
