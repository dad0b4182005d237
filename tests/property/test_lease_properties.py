"""Whatever callers and workers do, in whatever order: no worker holds too much, no call waits while one has room, and no call is
lost, answered twice, or given again where it must not be."""

from typing import Any

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from motet.agents._remote_book import MAX_DELIVERIES
from motet.agents._remote_lease import Lost, Ticket
from motet.agents.remote import (
    Connection,
    Hello,
    Lease,
    OfferedAgent,
    RemoteAgent,
    Replied,
    Stopped,
    Workers,
    workers_for,
)
from motet.model.outcome import StopKind, StopReceipt
from motet.model.payload import Payload
from motet.testing.fakes import make_call

NAMES = ("a", "b")
STOPPED = Stopped(StopReceipt(StopKind.STOPPED, 0.0))
workers = st.integers(0, 2)
call = st.tuples(st.just("call"), st.sampled_from(NAMES))
connect = st.tuples(st.just("connect"), workers, st.integers(0, 2), st.integers(1, 2), st.booleans())
send = st.tuples(st.just("send"), workers)
disconnect = st.tuples(st.just("disconnect"), workers)
cancel = st.tuples(st.just("cancel"), st.integers(0, 30))
step = st.one_of(
    call,
    connect,
    send,
    disconnect,
    cancel,
    st.tuples(st.just("answer"), st.integers(0, 30)),
    st.tuples(st.just("drain"), workers),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 31.0])),
)


def in_turn(chosen: tuple[Any, ...]) -> list[Any]:
    return list(chosen)


# Chains that single steps seldom make: a call that is sent and then loses its worker, perhaps after it was cancelled.
chain = st.one_of(
    step.map(lambda one: [one]),
    st.tuples(connect, call, call, call).map(in_turn),
    st.tuples(connect, call, send, disconnect).map(in_turn),
    st.tuples(connect, call, send, cancel, disconnect).map(in_turn),
)
steps = st.lists(chain, min_size=5, max_size=20).map(lambda chains: [one for chain in chains for one in chain])


class World:
    """Two agents, up to four workers, and every call so far."""

    def __init__(self) -> None:
        self.agents = {name: RemoteAgent(name) for name in NAMES}
        self.workers: Workers = workers_for(self.agents)
        self.tickets: list[Ticket] = []
        self.sent: dict[Ticket, list[Lease]] = {}
        self.answered: set[Ticket] = set()

    async def do(self, step: tuple[Any, ...]) -> None:
        await getattr(self, step[0])(*step[1:])

    def at(self, worker: int) -> Connection | None:
        return self.workers.connected.get(f"w{worker}")

    async def call(self, name: str) -> None:
        self.tickets.append(self.agents[name].desk.enter(make_call("x")))

    async def connect(self, worker: int, capacity: int, each: int, replay_safe: bool) -> None:
        agents = tuple(OfferedAgent(name=name, capacity=each, replay_safe=replay_safe) for name in NAMES)
        self.workers.connect(Hello(worker_id=f"w{worker}", agents=agents, capacity=capacity))

    async def disconnect(self, worker: int) -> None:
        if (connection := self.at(worker)) is not None:
            self.workers.disconnect(connection, "it broke")

    async def drain(self, worker: int) -> None:
        if (connection := self.at(worker)) is not None:
            connection.drain(told=True)

    async def send(self, worker: int) -> None:
        """Let one order leave, as a stream does."""
        connection = self.at(worker)
        if connection is None:
            return
        with trio.move_on_after(0):
            order = await connection.order()
            if isinstance(order, Lease):
                assert not order.ticket.stopping, "a call that was given up was sent"
                assert order.ticket.end is None, "a call that is over was sent"
                self.sent.setdefault(order.ticket, []).append(order)

    async def answer(self, number: int) -> None:
        """One of the leases that left is answered, in time or not."""
        leases = [lease for leases in self.sent.values() for lease in leases]
        if not leases:
            return
        lease = leases[number % len(leases)]
        connection = lease.connection
        if connection.gone:
            return
        if connection.find(lease.id, connection.epoch) is not None:
            self.answered.add(lease.ticket)
        connection.answer(lease, STOPPED if lease.ticket.stopping else Replied(Payload.of("y")))

    async def cancel(self, number: int) -> None:
        waiting = [ticket for ticket in self.tickets if ticket.end is None and not ticket.stopping]
        if not waiting:
            return
        ticket = waiting[number % len(waiting)]
        if ticket.lease is None:
            ticket.stopping = True
            ticket.desk.leave(ticket)
        else:
            ticket.lease.connection.stop(ticket.lease, "CANCELLED")

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def check(self) -> None:
        here = list(self.workers.connected.values())
        for connection in here:
            assert len(connection.leases) <= connection.capacity
            for name, offer in connection.offers.items():
                held = [lease for lease in connection.leases.values() if lease.ticket.desk.name == name]
                assert offer.running == len(held) <= offer.capacity
        for agent in self.agents.values():
            desk = agent.desk
            assert {offer.connection for offer in desk.offers} == set(here)
            assert desk.first() is None or not any(offer.has_room for offer in desk.offers)
            numbers = [ticket.number for ticket in desk.waiting]
            assert numbers == sorted(set(numbers))
        for ticket in self.tickets:
            self.check_ticket(ticket)

    def check_ticket(self, ticket: Ticket) -> None:
        leases = self.sent.get(ticket, [])
        assert len(leases) <= MAX_DELIVERIES
        assert all(lease.connection.offers[ticket.desk.name].replay_safe for lease in leases[:-1])
        assert ticket.ended.is_set() is (ticket.end is not None)
        waits = ticket in ticket.desk.waiting
        if ticket.end is not None:
            assert not waits
            assert ticket in self.answered or isinstance(ticket.end, Lost)
        elif not ticket.stopping and not ticket.patience.cancel_called:
            held = ticket.lease is not None and ticket.lease.connection.leases.get(ticket.lease.id) is ticket.lease
            assert waits is not held, "a call is nowhere, or in two places"


@given(script=steps)
def test_calls_and_workers_keep_their_promises_in_every_order(script: list[tuple[Any, ...]]) -> None:
    async def play() -> None:
        world = World()
        for step in script:
            await world.do(step)
            world.check()

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


@given(script=steps)
def test_once_workers_stay_and_answer_every_call_ends(script: list[tuple[Any, ...]]) -> None:
    async def play() -> None:
        world = World()
        for step in script:
            await world.do(step)
        await world.connect(9, 0, 2, replay_safe=True)
        for _ in range(4 * len(world.tickets) + 4):
            for worker in (0, 1, 2, 3, 9):
                await world.send(worker)
            for leases in world.sent.values():
                if not leases[-1].connection.gone:
                    leases[-1].connection.answer(leases[-1], Replied(Payload.of("y")))
        for ticket in world.tickets:
            over = ticket.end is not None or ticket.stopping or ticket.patience.cancel_called
            assert over, "a call is left"

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
