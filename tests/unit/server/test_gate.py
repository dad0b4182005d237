"""The gate lets work in until it is closed, and knows when the last of it has ended."""

import pytest
import trio
import trio.testing

from motet.errors import Unavailable
from motet_server.services.gate import Gate


def test_work_that_is_inside_goes_on_when_the_gate_closes() -> None:
    gate = Gate()
    with gate.work():
        gate.close()
        assert gate.working == 1
    assert gate.working == 0


def test_a_closed_gate_refuses_new_work_with_a_stable_reason() -> None:
    gate = Gate()
    gate.close()
    with pytest.raises(Unavailable) as caught, gate.work():
        pytest.fail("was let in")
    assert caught.value.reason == "DRAINING"


async def test_waiting_ends_with_the_last_piece_of_work(autojump_clock: trio.testing.MockClock) -> None:
    gate = Gate()

    async def work(seconds: float) -> None:
        with gate.work():
            await trio.sleep(seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, 1)
        nursery.start_soon(work, 3)
        await trio.testing.wait_all_tasks_blocked()
        await gate.wait_idle()
        assert trio.current_time() - autojump_clock.current_time() == 0
        assert gate.working == 0
    await gate.wait_idle()


async def test_closing_wakes_who_waits_for_more_from_a_caller() -> None:
    gate = Gate()
    ended: list[bool] = []

    async def read() -> None:
        with gate.reading() as scope:
            await trio.sleep_forever()
        ended.append(scope.cancelled_caught)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        gate.close()
    with gate.reading():
        await trio.sleep_forever()
    assert ended == [True]
