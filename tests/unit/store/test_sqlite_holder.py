"""The locks by which a SQLite store knows who is open, and what is cleaned up after those who are gone."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from motet.errors import StoreFailed
from motet.store import _sqlite_holder
from motet.store._sqlite_holder import Holders
from motet.store.sqlite import SqliteStore
from motet.testing.contracts_store import make_record


@pytest.fixture
def holders(tmp_path: Path) -> Holders:
    holders = Holders(tmp_path / "runs.db")
    with holders.opening():
        pass
    return holders


def test_a_holder_is_gone_when_it_is_released_and_not_before(holders: Holders) -> None:
    one, other = holders.enter(), holders.enter()
    assert not holders.is_gone(one.id), "nor does its own process take it for gone"
    assert not holders.is_gone(one.id), "and testing does not take the lock away"
    one.release()
    one.release()
    assert holders.is_gone(one.id)
    assert not holders.is_gone(other.id)
    assert holders.files() == {other.id}
    other.release()
    assert holders.is_gone("never was")


def test_a_file_that_nobody_locks_is_of_a_holder_that_is_gone(holders: Holders) -> None:
    holder = holders.enter()
    holder.abandon()
    assert holders.files() == {holder.id}
    assert holders.is_gone(holder.id)
    holders.remove(holder.id)
    assert holders.files() == set()


def test_a_lock_is_not_inherited_by_programs(holders: Holders) -> None:
    holder = holders.enter()
    assert not os.get_inheritable(holder._file)
    holder.release()


def test_waiting_for_another_that_opens_has_an_end(holders: Holders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite_holder, "OPENING_PATIENCE", 0.0)
    with holders.opening(), pytest.raises(StoreFailed, match="another process has been opening"), holders.opening():
        pass


async def test_one_file_under_two_names_has_one_set_of_holders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "folder" / "runs.db")
    store = await SqliteStore.open(tmp_path / "folder" / "runs.db")
    await store.create(make_record("r"))
    other = await SqliteStore.open(tmp_path / "link.db")
    assert list(await other.adopt()) == []
    await store.aclose()
    assert len(await other.adopt()) == 1
    await other.aclose()


async def test_what_a_holder_left_is_removed_by_the_next_that_adopts(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = await SqliteStore.open(path)
    await store.claim("key", "print")
    left = store._holder.id
    store._holder.abandon()
    other = await SqliteStore.open(path)
    await other.adopt()
    assert other._holders.files() == {other._holder.id}

    def rows(connection: sqlite3.Connection) -> Sequence[object]:
        return connection.execute("SELECT id FROM holders UNION ALL SELECT key FROM answers").fetchall()

    assert left != other._holder.id
    assert await other._read(rows) == [(other._holder.id,)]
    await other.aclose()
    await store.aclose()


async def test_a_store_that_was_closed_leaves_no_lock(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db")
    assert len(store._holders.files()) == 1
    await store.aclose()
    await store.aclose()
    assert store._holders.files() == set()
