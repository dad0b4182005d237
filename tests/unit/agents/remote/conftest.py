"""Remote agents, their workers and calls under way, without a network."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from motet.agents.remote import Connection, Hello, Lease, OfferedAgent, RemoteAgent, Replied, workers_for
from motet.errors import AgentError
from motet.model.payload import Payload
from motet.testing.fakes import make_call


def _hello(worker_id: str = "w1", *agents: str, capacity: int = 0, **options: Any) -> Hello:
    offered = tuple(OfferedAgent(name=name, capacity=capacity, **options) for name in agents or ("shout",))
    return Hello(worker_id=worker_id, agents=offered)


class Stage:
    """Agents, their workers, and calls that are under way."""

    def __init__(self, nursery: trio.Nursery, *agents: RemoteAgent) -> None:
        self.nursery = nursery
        self.agents = {agent.info.name: agent for agent in agents}
        self.workers = workers_for(self.agents)
        self.ends: dict[str, Any] = {}

    async def call(self, text: str, agent: str = "shout", **options: Any) -> None:
        """Begin a call; its end is put under its text."""

        async def run() -> None:
            try:
                self.ends[text] = await self.agents[agent].call(make_call(text, **options))
            except AgentError as error:
                self.ends[text] = error

        self.nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()

    async def lease(self, connection: Connection) -> Lease:
        order = await connection.order()
        assert isinstance(order, Lease)
        return order

    async def answer(self, connection: Connection, lease: Lease, text: str = "done") -> None:
        connection.answer(lease, Replied(Payload.from_text(text)))
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def stage(nursery: trio.Nursery) -> Callable[..., Stage]:
    return lambda *agents: Stage(nursery, *(agents or (RemoteAgent("shout"),)))


@pytest.fixture
def hello() -> Callable[..., Hello]:
    """Of a worker that offers these agents, each with these options."""
    return _hello
