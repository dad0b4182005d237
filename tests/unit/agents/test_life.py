"""What agents hold is let go: when they are closed, when their engine closes, and when nobody has used it for long."""

from typing import Any

import trio
import trio.testing
from trio.testing import MockClock

import motet
from motet.agents._life import IDLE, Life
from motet.agents.http import HttpAgent
from motet.ports import Call
from motet.testing import make_call


async def test_closing_ends_the_connections_and_a_later_call_begins_anew(peer: Any) -> None:
    agent = HttpAgent("x", peer.url)
    for _ in range(2):
        await agent.call(make_call())
        assert peer.connections == 1
        await agent.aclose()
        await agent.aclose()
        while peer.connections:
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_an_agent_that_no_catalog_knows_lets_go_of_its_connections_when_its_engine_closes(peer: Any) -> None:
    agent = HttpAgent("x", peer.url)
    for _ in range(2):
        async with motet.open_engine() as engine:
            assert (await engine.run(motet.Group("g", [agent]), "hello")).succeeded
            assert peer.connections == 1
        while peer.connections:
            await trio.testing.wait_all_tasks_blocked(0.01)


class Holder:
    """Counts how often it is closed."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1
        await trio.lowlevel.checkpoint()


async def test_what_nobody_has_used_for_long_is_let_go_and_a_later_use_begins_anew(autojump_clock: MockClock) -> None:
    holder = Holder()
    life = Life(holder)

    async def use(call: Call) -> None:
        life.use(call)

    group = motet.Group("g", [motet.FunctionAgent(use)])
    async with motet.open_engine() as engine:
        for _ in range(3):
            await engine.run(group)
            await trio.sleep(IDLE * 0.9)
        assert holder.closed == 0
        await trio.sleep(IDLE)
        assert holder.closed == 1
        await engine.run(group)
        await trio.sleep(1)
        assert holder.closed == 1
    assert holder.closed == 2


async def test_a_use_while_it_lets_go_is_let_go_too_when_the_engine_closes(autojump_clock: MockClock) -> None:
    class Slow(Holder):
        async def aclose(self) -> None:
            self.closed += 1
            await trio.sleep(2)

    holder = Slow()
    life = Life(holder)

    async def use(call: Call) -> None:
        life.use(call)

    group = motet.Group("g", [motet.FunctionAgent(use)])
    async with motet.open_engine() as engine:
        await engine.run(group)
        await trio.sleep(IDLE + 1)
        assert holder.closed == 1
        await engine.run(group)
        await trio.sleep(5)
    assert holder.closed == 2
