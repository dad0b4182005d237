"""How writes of a SQLite store are grouped, and that one's failure is not another's."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from motet.errors import NotFound, StoreFailed
from motet.store._sqlite_commit import MAX_BATCH, GroupCommit
from motet.store.sqlite import SqliteStore
from motet.testing.contracts_store import make_events, make_record


class NoUpkeep:
    def within(self, connection: sqlite3.Connection, changes: int) -> None:
        pass

    def after(self, connection: sqlite3.Connection) -> None:
        pass


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE kept (value INTEGER)")
    yield connection
    connection.close()


@pytest.fixture
def writes(connection: sqlite3.Connection) -> GroupCommit:
    return GroupCommit(connection, "x.db", NoUpkeep())


def values(connection: sqlite3.Connection) -> list[int]:
    return [value for (value,) in connection.execute("SELECT value FROM kept ORDER BY rowid")]


class Insert:
    def __init__(self, value: int, error: Exception | None = None) -> None:
        self.value = value
        self.error = error

    def __call__(self, connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO kept VALUES (?)", (self.value,))
        if self.error is not None:
            raise self.error
        return self.value


class Held:
    """An operation that stays under way until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        assert self.go.wait(20)


async def test_operations_that_come_at_once_share_one_commit(
    writes: GroupCommit, connection: sqlite3.Connection
) -> None:
    async with trio.open_nursery() as nursery:
        for value in range(100):
            nursery.start_soon(writes.do, Insert(value))
    assert writes.commits == 1
    assert writes.operations == 100
    assert sorted(values(connection)) == list(range(100))


async def test_operations_that_come_during_a_commit_share_the_next_in_order(
    writes: GroupCommit, connection: sqlite3.Connection
) -> None:
    held = Held()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writes.do, held)
        await wait_all_tasks_blocked()
        for value in range(50):
            nursery.start_soon(writes.do, Insert(value))
            await wait_all_tasks_blocked()
        held.go.set()
    assert writes.commits == 2
    assert values(connection) == list(range(50))


async def test_no_commit_has_more_operations_than_the_bound(writes: GroupCommit) -> None:
    async with trio.open_nursery() as nursery:
        for value in range(2 * MAX_BATCH + 1):
            nursery.start_soon(writes.do, Insert(value))
    assert writes.commits == 3


async def test_each_caller_has_its_own_result_and_its_own_error(
    writes: GroupCommit, connection: sqlite3.Connection
) -> None:
    results: dict[int, object] = {}

    async def insert(value: int) -> None:
        error = NotFound(f"{value}") if value % 3 == 0 else None
        try:
            results[value] = await writes.do(Insert(value, error))
        except NotFound as caught:
            results[value] = caught.message

    async with trio.open_nursery() as nursery:
        for value in range(9):
            nursery.start_soon(insert, value)
    assert writes.commits == 1
    assert results == {0: "0", 1: 1, 2: 2, 3: "3", 4: 4, 5: 5, 6: "6", 7: 7, 8: 8}
    assert sorted(values(connection)) == [1, 2, 4, 5, 7, 8], "an operation that raised has kept nothing"


async def test_a_commit_that_fails_fails_every_operation_in_it_and_keeps_none(
    connection: sqlite3.Connection,
) -> None:
    class Breaks(NoUpkeep):
        broken = True

        def within(self, connection: sqlite3.Connection, changes: int) -> None:
            if self.broken:  # SQLite undoes the whole transaction for errors of the disk
                connection.execute("ROLLBACK")
                raise sqlite3.OperationalError("disk I/O error")

    upkeep = Breaks()
    writes = GroupCommit(connection, "x.db", upkeep)
    failures: list[StoreFailed] = []

    async def insert(value: int) -> None:
        with pytest.raises(StoreFailed, match=r"x\.db") as caught:
            await writes.do(Insert(value))
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        for value in range(5):
            nursery.start_soon(insert, value)
    assert len({id(failure) for failure in failures}) == 5, "one object for all would mix their tracebacks"
    assert values(connection) == []
    upkeep.broken = False
    assert await writes.do(Insert(7)) == 7
    assert values(connection) == [7]


async def test_upkeep_that_fails_costs_no_operation(
    connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(NoUpkeep):
        def within(self, connection: sqlite3.Connection, changes: int) -> None:
            connection.execute("DELETE FROM kept")
            connection.execute("INSERT INTO nowhere VALUES (1)")

    writes = GroupCommit(connection, "x.db", Fails())
    await writes.do(Insert(1))
    assert values(connection) == [1]
    assert "could not make room" in caplog.text


async def test_a_commit_that_takes_too_long_is_given_up_and_the_next_waits_for_its_thread(
    writes: GroupCommit, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.store._sqlite_commit.PATIENCE", 0.01)
    held = Held()
    with pytest.raises(StoreFailed, match="did not answer"):
        await writes.do(held)
    with pytest.raises(StoreFailed, match="did not answer"):
        await writes.do(Insert(1))
    monkeypatch.undo()
    held.go.set()
    assert await writes.do(Insert(2)) == 2
    assert values(connection) == [2]


async def test_the_store_counts_how_many_operations_shared_a_commit(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db")
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(store.create, make_record(f"r{number}"))
    assert (store.commits, store.operations) == (1, 50)
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(store.append, f"r{number}", make_events(1, 3))
    assert (store.commits, store.operations) == (2, 100)
    await store.aclose()


async def test_a_long_read_does_not_hold_up_a_commit(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db")
    await store.create(make_record("r"))
    held = Held()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._read, held)
        await wait_all_tasks_blocked()
        with trio.fail_after(20):
            await store.append("r", make_events(1, 1))
        held.go.set()
    await store.aclose()
