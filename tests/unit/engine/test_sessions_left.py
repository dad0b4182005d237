"""An engine that closes leaves runs with a session to others at once. Needs tests/unit/engine/conftest.py (`disk`)."""

from typing import Any

import trio

import motet
from motet.sessions.book import session_key
from motet.testing import ScriptedAgent


def make() -> motet.Catalog:
    catalog = motet.Catalog()
    catalog.add(ScriptedAgent("a", delay=1), ScriptedAgent("b", delay=30))
    return catalog


async def test_an_engine_that_closes_does_not_wait_for_events_that_are_left_to_others(
    disk: Any, autojump_clock: trio.abc.Clock
) -> None:
    plan = motet.Group("g", ["a", "b"], preserve_session=True)
    async with motet.open_engine(make(), store=disk.open()) as engine:
        run_id = (await engine.start(plan, "hello", session_id="s")).run_id
        await trio.sleep(5)
        before = trio.current_time()
    assert trio.current_time() - before < 1
    async with motet.open_engine(make(), store=disk.open()) as engine, engine.watch(run_id) as stream:
        async for _ in stream:
            pass
    assert stream.result.succeeded
    kept = [(entry.role, entry.member) for entry in await disk.data.session(session_key("", "s"))]
    assert kept == [("user", ""), ("member", "a"), ("member", "b")]
