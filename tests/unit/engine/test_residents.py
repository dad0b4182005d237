"""What lives longer than the call that needed it first, and ends with the engine."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock

import motet
from motet.engine.attempt import CURRENT
from motet.ports import Call


class Server:
    """Something that lives longer than a call."""

    def __init__(self, live: Callable[[], Awaitable[None]] = trio.sleep_forever) -> None:
        self.started = 0
        self.living = 0
        self.inside: object = "never started"
        self._live = live

    async def live(self) -> None:
        self.started += 1
        self.living += 1
        self.inside = CURRENT.get()
        try:
            await self._live()
        finally:
            self.living -= 1


def keeper(server: Server) -> motet.Agent:
    async def keep(call: Call) -> int:
        call.keep(server)
        await trio.testing.wait_all_tasks_blocked()
        return server.living

    return motet.FunctionAgent(keep)


async def test_a_resident_lives_beyond_the_call_once_for_all_calls_and_ends_with_the_engine(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    async with motet.open_engine() as engine:
        for _ in range(2):
            result = await engine.run(motet.Group("g", [motet.Member(keeper(server), replicas=3)]))
            assert result.output.json()["combined_results"] == [1, 1, 1]
        assert (server.started, server.living) == (1, 1)
        assert server.inside is None, "it belongs to no call"
    assert server.living == 0


async def test_a_resident_that_ended_lives_again_with_the_next_call(autojump_clock: MockClock) -> None:
    async def a_second() -> None:
        await trio.sleep(1)

    server = Server(a_second)
    async with motet.open_engine() as engine:
        for count in (1, 2):
            await engine.run(motet.Group("g", [keeper(server)]))
            await trio.sleep(2)
            assert (server.started, server.living) == (count, 0)


async def test_a_resident_that_raises_is_logged_and_harms_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("two", [OSError("gone"), ValueError("bad")])

    server = Server(fail)
    async with motet.open_engine() as engine:
        assert (await engine.run(motet.Group("g", [keeper(server)]))).succeeded
        assert (await engine.run(motet.Group("g", [keeper(server)]))).succeeded
    assert server.started == 2
    assert "failed" in caplog.text


async def test_a_cancelled_engine_takes_its_residents_along(autojump_clock: MockClock) -> None:
    server = Server()
    with trio.move_on_after(1) as scope:
        async with motet.open_engine() as engine:
            await engine.run(motet.Group("g", [keeper(server)]))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert server.living == 0


async def test_an_engine_that_closes_keeps_nothing_more_alive(autojump_clock: MockClock) -> None:
    server = Server()
    told: list[str] = []

    async def late() -> str:
        try:
            await trio.sleep_forever()
        finally:
            with pytest.raises(motet.Unavailable) as error:
                engine.residents.keep(server)
            told.append(error.value.reason)

    async with motet.open_engine() as engine:
        await engine.residents.close()
        await engine.start(motet.Group("g", [motet.FunctionAgent(late)]))
        await trio.testing.wait_all_tasks_blocked()
    assert told == ["ENGINE_CLOSED"]
    assert server.started == 0


async def test_an_engine_that_closes_waits_for_residents_also_when_there_were_none_before(
    autojump_clock: MockClock,
) -> None:
    async def a_second() -> None:
        await trio.sleep(1)

    async def slowly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    brief, slow = Server(a_second), Server(slowly)
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("g", [keeper(brief)]))
        await trio.sleep(5)
        await engine.run(motet.Group("g", [keeper(slow)]))
        await engine.residents.close()
        assert slow.living == 0
