"""Turns within one process."""

import trio
from trio.testing import wait_all_tasks_blocked

from motet.sessions.turns import Turns


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns = Turns()
    seen: list[int] = []

    async def one(number: int) -> None:
        await turns.take("k", str(number))
        seen.append(number)
        assert turns.holder("k") == str(number)
        await trio.lowlevel.checkpoint()
        turns.give("k")

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(one, number)
            await wait_all_tasks_blocked()
    assert seen == list(range(10))
    assert turns.holder("k") == ""


async def test_keys_do_not_wait_for_each_other() -> None:
    turns = Turns()
    await turns.take("a", "1")
    await turns.take("b", "2")
    assert (turns.holder("a"), turns.holder("b")) == ("1", "2")


async def test_one_that_is_cancelled_while_it_waits_leaves_its_place_to_the_next() -> None:
    turns = Turns()
    got: list[str] = []

    async def wait(who: str, scope: trio.CancelScope) -> None:
        with scope:
            await turns.take("k", who)
            got.append(who)

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        await turns.take("k", "holder")
        for number, scope in enumerate(scopes):
            nursery.start_soon(wait, str(number), scope)
            await wait_all_tasks_blocked()
        scopes[0].cancel()
        scopes[1].cancel()
        turns.give("k")
    assert got == ["2"]
    turns.give("k")
    assert not turns._holders
    assert not turns._waiting


async def test_a_turn_that_comes_in_the_moment_of_the_cancellation_is_given_on() -> None:
    turns = Turns()
    got: list[str] = []

    async def wait(who: str, scope: trio.CancelScope) -> None:
        with scope:
            await turns.take("k", who)
            got.append(who)

    first = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        await turns.take("k", "holder")
        nursery.start_soon(wait, "first", first)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait, "second", trio.CancelScope())
        await wait_all_tasks_blocked()
        first.cancel()
        turns.give("k")
    assert got == ["second"]
    assert turns.holder("k") == "second"
