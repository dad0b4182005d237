"""Cancelled callers of a SQLite store: an operation is done as a whole or not at all, and its caller knows which."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from motet.errors import StoreFailed
from motet.model.run import RunQuery, RunRecord
from motet.ports import Claim, Claimed
from motet.store import sqlite
from motet.store.sqlite import SqliteStore
from motet.testing.contracts_store import make_events, make_record


class Held:
    """An operation that stays under way until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        assert self.go.wait(20)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "runs.db")
    yield store
    await store.aclose()


async def test_a_caller_cancelled_in_the_queue_takes_its_operation_out(store: SqliteStore) -> None:
    held = Held()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._write, held)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await store.create(make_record("withdrawn"))
        assert scope.cancelled_caught
        nursery.start_soon(store.create, make_record("kept"))
        await wait_all_tasks_blocked()
        held.go.set()
    assert await store.get("withdrawn") is None
    assert await store.get("kept") is not None


async def test_a_caller_cancelled_while_its_operation_is_carried_out_has_the_result(store: SqliteStore) -> None:
    held = Held()
    claims = []
    scopes = [trio.CancelScope() for _ in range(3)]

    async def claim(key: str, scope: trio.CancelScope) -> None:
        with scope:
            claims.append(await store.claim(key, "print"))
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught

    def claim_slowly(connection: sqlite3.Connection) -> Claim:
        held(connection)
        return store._answers.claim(connection, "slow", "print")

    async def lead() -> None:
        with scopes[0]:
            claims.append(await store._write(claim_slowly))
            await trio.lowlevel.checkpoint()
        assert scopes[0].cancelled_caught

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lead)
        nursery.start_soon(claim, "a", scopes[1])
        nursery.start_soon(claim, "b", scopes[2])
        await wait_all_tasks_blocked()
        for scope in scopes:
            scope.cancel()
        await wait_all_tasks_blocked()
        assert not claims, "they wait for the commit, however cancelled"
        held.go.set()
    assert len(claims) == 3
    assert all(isinstance(claim, Claimed) for claim in claims), "who was granted something knows it, and can give it up"


async def test_those_who_wait_are_served_when_the_one_that_would_lead_them_is_cancelled(store: SqliteStore) -> None:
    held = Held()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._write, held)
        await wait_all_tasks_blocked()
        first = trio.CancelScope()

        async def create_first() -> None:
            with first:
                await store.create(make_record("first"))

        nursery.start_soon(create_first)
        await wait_all_tasks_blocked()
        nursery.start_soon(store.create, make_record("second"))
        nursery.start_soon(store.create, make_record("third"))
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        held.go.set()
    assert [run.run_id for run in await _all(store)] in (["second", "third"], ["third", "second"])


async def test_cancelled_at_any_moment_an_operation_is_whole_or_not_at_all(store: SqliteStore) -> None:
    done: set[str] = set()
    halves = []

    async def write(run_id: str, scope: trio.CancelScope) -> None:
        with scope:
            await store.create(make_record(run_id))
            await store.append(run_id, make_events(1, 20))
            done.add(run_id)

    for ticks in range(12):
        scopes = [trio.CancelScope() for _ in range(8)]
        async with trio.open_nursery() as nursery:
            for number, scope in enumerate(scopes):
                nursery.start_soon(write, f"r{ticks}-{number}", scope)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            for scope in scopes[::2]:
                scope.cancel()
    for run in await _all(store):
        halves += [run.run_id] * (run.last_sequence not in {0, 20})
    assert not halves
    assert {run.run_id for run in await _all(store) if run.last_sequence == 20} == done
    assert len(done) >= 12 * 4


async def test_a_cancelled_reader_leaves_at_once_and_its_thread_keeps_its_place(store: SqliteStore) -> None:
    held = Held()
    with trio.move_on_after(0.01) as scope:
        await store._read(held)
    assert scope.cancelled_caught
    assert store._reads.borrowed_tokens == 1
    held.go.set()
    assert await store.get("r") is None


async def test_a_store_that_is_closed_under_way_keeps_what_was_queued_and_takes_no_more(tmp_path: Path) -> None:
    path = tmp_path / "closed.db"
    store = await SqliteStore.open(path)
    held = Held()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._write, held)
        await wait_all_tasks_blocked()
        nursery.start_soon(store.create, make_record("queued"))
        await wait_all_tasks_blocked()
        nursery.start_soon(store.aclose)
        await wait_all_tasks_blocked()
        for late in (store.create(make_record("late")), store.get("late")):
            with pytest.raises(StoreFailed, match="closed"):
                await late
        held.go.set()
    await store.aclose()
    again = await SqliteStore.open(path)
    assert [run.run_id for run in await _all(again)] == ["queued"]
    await again.aclose()


async def test_closing_in_a_cancelled_scope_closes(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "closed.db")
    await store.create(make_record("r"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.aclose()
    again = await SqliteStore.open(tmp_path / "closed.db")
    assert [adopted.record.run_id for adopted in await again.adopt()] == ["r"]
    await again.aclose()


async def test_closing_does_not_wait_for_ever_and_gives_the_runs_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CLOSING_PATIENCE", 0.01)
    store = await SqliteStore.open(tmp_path / "closed.db")
    await store.create(make_record("r"))
    held = Held()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._write, held)
        await wait_all_tasks_blocked()
        await store.aclose()
        held.go.set()
    again = await SqliteStore.open(tmp_path / "closed.db")
    assert [adopted.record.run_id for adopted in await again.adopt()] == ["r"]
    await again.aclose()


async def _all(store: SqliteStore) -> list[RunRecord]:
    return list((await store.list(RunQuery(limit=1000))).runs)
