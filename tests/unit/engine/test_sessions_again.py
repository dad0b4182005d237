"""Runs that go on after a crash whose session they do not get at once. Needs tests/unit/engine/conftest.py (`disk`)."""

from dataclasses import replace
from typing import Any

import pytest
import trio

import motet
from motet.model.event import MemberEnded
from motet.model.session import SessionSettings, WhenBusy
from motet.sessions.book import session_key
from motet.store import codec
from motet.testing import ScriptedAgent, check_run

KEY = session_key("", "s")
TALK = motet.Group("g", ["a", "b"], preserve_session=True)


def make(busy: WhenBusy) -> motet.Catalog:
    catalog = motet.Catalog(sessions=SessionSettings(when_busy=busy))
    for name, delay in (("a", 1), ("b", 3), ("long", 20)):
        catalog.add(ScriptedAgent(name, delay=delay, reply=lambda call: len(call.history)))
    return catalog


async def cut_run(disk: Any) -> tuple[motet.RunRecord, motet.RunRequest, list[motet.Event]]:
    """A run of the session of which one member had ended and one ran."""
    async with motet.open_engine(make(WhenBusy.WAIT), store=disk.open()) as engine:
        await engine.run(motet.Group("p", ["a"], preserve_session=True), "before", session_id="s")
        run_id = (await engine.start(TALK, "hello", session_id="s")).run_id
        async with engine.watch(run_id) as stream:
            events = [event async for event in stream]
        record = await engine.get(run_id)
    running = replace(record, state=motet.State.RUNNING, ended_at=None, last_sequence=0, result=None)
    cut = next(place for place, event in enumerate(events, 1) if isinstance(event.detail, MemberEnded))
    return running, codec.decode_request(disk.requests[run_id]), events[:cut]


@pytest.mark.parametrize("busy", list(WhenBusy))
async def test_a_run_that_goes_on_waits_for_its_session_whatever_others_do_there(
    busy: WhenBusy, disk: Any, autojump_clock: trio.abc.Clock
) -> None:
    record, request, before = await cut_run(disk)
    later = type(disk)()
    await later.data.remember(KEY, (await disk.data.session(KEY))[:2], 100)
    async with motet.open_engine(make(busy), store=later.open()) as engine, trio.open_nursery() as nursery:
        other = motet.Group("x", ["long"], preserve_session=True)
        nursery.start_soon(lambda: engine.run(other, "other", session_id="s"))
        await trio.sleep(1)
        await later.leave(record, request, before)
        await trio.sleep(60)
        async with engine.watch(record.run_id) as stream:
            seen = [event async for event in stream]
    check_run(seen, stream.result, plan=TALK)
    assert [outcome.output.json() for outcome in stream.result["g"].outcomes] == [2, 4]
    kept = [entry.payload.text for entry in await later.data.session(KEY)]
    assert kept == ["before", "0", "other", "2", "hello", "2", "4"]


async def test_a_run_that_goes_on_and_whose_session_cannot_be_read_fails_with_what_it_had(
    disk: Any, autojump_clock: trio.abc.Clock
) -> None:
    record, request, before = await cut_run(disk)
    later = type(disk)()
    await later.leave(record, request, before)
    store = later.open()

    async def broken(session_id: str) -> Any:
        raise motet.StoreFailed("the disk is gone")

    store.session = broken
    catalog = make(WhenBusy.WAIT)
    async with motet.open_engine(catalog, store=store) as engine, engine.watch(record.run_id) as stream:
        seen = [event async for event in stream]
    check_run(seen, stream.result, plan=TALK)
    assert (stream.result.state, stream.result.failure.reason) == (motet.State.FAILED, "SESSION_NOT_KEPT")
    assert stream.result["g"]["a"].state is motet.State.SUCCEEDED
    agent = catalog.agents["b"]
    assert isinstance(agent, ScriptedAgent)
    assert agent.calls == []
