"""Sessions that several processes share."""

from pathlib import Path

import trio

import motet
from motet.model.outcome import Failure
from motet.model.session import SessionSettings, WhenBusy
from motet.ports import Call
from motet.sessions.book import SessionBook
from motet.store.sqlite import SqliteStore


async def test_two_engines_on_one_file_take_turns_too(tmp_path: Path) -> None:
    path = tmp_path / "motet.db"
    seen: list[int] = []

    async def remember(call: Call) -> str:
        seen.append(len(call.history))
        await trio.sleep(0.01)
        return "ok"

    agent = motet.FunctionAgent(remember)

    async def runs(count: int) -> None:
        async with motet.open_engine(store=await SqliteStore.open(path)) as engine:
            for _ in range(count):
                assert (
                    await engine.run(
                        motet.Group("talk", [agent], preserve_session=True), "q", session_id="s", timeout=30
                    )
                ).succeeded

    async with trio.open_nursery() as nursery:
        nursery.start_soon(runs, 3)
        nursery.start_soon(runs, 3)
    assert seen == [0, 2, 4, 6, 8, 10]


async def test_a_session_that_another_process_uses_is_refused_when_runs_do_not_wait(tmp_path: Path) -> None:
    settings = SessionSettings(when_busy=WhenBusy.REFUSE)
    first = SessionBook(await SqliteStore.open(tmp_path / "motet.db"), settings)
    second = SessionBook(await SqliteStore.open(tmp_path / "motet.db"), settings)
    held = await first.begin("", "s", "run_1")
    assert not isinstance(held, Failure)
    refused = await second.begin("", "s", "run_2")
    assert isinstance(refused, Failure)
    assert refused.reason == "SESSION_BUSY"
    assert await held.leave([]) is None
    again = await second.begin("", "s", "run_2")
    assert not isinstance(again, Failure)
    await again.leave([])
    await first.store.aclose()
    await second.store.aclose()


async def test_a_session_whose_process_has_gone_is_free(tmp_path: Path) -> None:
    first = SessionBook(await SqliteStore.open(tmp_path / "motet.db"), SessionSettings())
    await first.begin("", "s", "run_1")
    await first.store.aclose()
    second = SessionBook(await SqliteStore.open(tmp_path / "motet.db"), SessionSettings())
    with trio.fail_after(10):
        held = await second.begin("", "s", "run_2")
    assert not isinstance(held, Failure)
    await held.leave([])
    await second.store.aclose()
