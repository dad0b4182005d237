"""Which files a SQLite store opens, which it refuses with a sentence, and what a full disk does."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from motet.errors import StoreFailed
from motet.model.run import RunQuery, RunRequest
from motet.model.state import State
from motet.store import _sqlite_migrations as migrations
from motet.store._sqlite_file import failed
from motet.store.sqlite import SqliteStore
from motet.testing.contracts_store import make_end, make_events, make_record


async def run_once(store: SqliteStore, run_id: str) -> None:
    record = make_record(run_id)
    await store.create(record)
    await store.append(run_id, make_events(1, 5, "x" * 1000))
    await store.finish(run_id, make_end(record))


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and no database\n" * 100)
    with pytest.raises(StoreFailed, match=r"notes\.txt is not a database") as caught:
        await SqliteStore.open(path)
    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert path.read_text() == "these are notes, and no database\n" * 100
    assert names(tmp_path) == ["notes.txt"]


async def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    damaged = b"SQLite format 3\0" + b"\xff" * 5000
    path.write_bytes(damaged)
    with pytest.raises(StoreFailed, match=r"runs\.db (is not a database|is damaged)"):
        await SqliteStore.open(path)
    assert path.read_bytes() == damaged


async def test_a_page_that_is_damaged_is_an_error_and_not_an_empty_store(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = await SqliteStore.open(path)
    await store.create(make_record("r"))
    await store.append("r", make_events(1, 200))
    await store.aclose()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreFailed, match="is damaged"):
        store = await SqliteStore.open(path)
    assert path.read_bytes() == content


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await (await SqliteStore.open(path)).aclose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()
    with pytest.raises(StoreFailed, match=r"has schema 1000.*a newer version wrote it"):
        await SqliteStore.open(path)


async def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match="another program"):
        await SqliteStore.open(path)
    assert path.read_bytes() == before


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=r"there is no folder .*nowhere"):
        await SqliteStore.open(tmp_path / "nowhere" / "runs.db")
    with pytest.raises(StoreFailed, match="is a folder"):
        await SqliteStore.open(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)  # noqa: ASYNC240 - one call on a folder of the test's own
    with pytest.raises(StoreFailed, match="may write"):
        await SqliteStore.open(tmp_path / "runs.db")


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("PRAGMA query_only = ON", "cannot be written; give this process the right"),
        ("PRAGMA max_page_count = 1", "has no room; free some disk space"),
    ],
)
def test_errors_of_sqlite_say_what_to_do(statement: str, sentence: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(statement)
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    assert sentence in failed(caught.value, "x.db").message


@pytest.mark.parametrize(
    "wrong",
    [{"max_runs": 0}, {"max_age": 0.0}, {"max_age": float("nan")}, {"max_bytes": 0}, {"durability": "fully"}],
)
async def test_a_wrong_bound_is_refused_by_name_before_anything_is_made(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        await SqliteStore.open(tmp_path / "runs.db", **wrong)
    assert names(tmp_path) == []


async def test_each_migration_is_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    store = await SqliteStore.open(path)
    await store.create(make_record("r"))
    await store.aclose()
    broken = ("ALTER TABLE runs ADD COLUMN extra TEXT", "CREATE TABLE runs (x)")
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
    with pytest.raises(StoreFailed):
        await SqliteStore.open(path)
    monkeypatch.setattr(migrations, "MIGRATIONS", (migrations.MIGRATIONS[0], broken[:1]))
    for _ in range(2):
        store = await SqliteStore.open(path)
        assert await store.get("r") == make_record("r")
        await store.aclose()


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
async def test_a_durability_is_that_of_sqlite(tmp_path: Path, durability: Any, synchronous: int) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db", durability=durability)

    def settings(connection: sqlite3.Connection) -> list[object]:
        names = ("synchronous", "journal_mode", "auto_vacuum", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await store._write(settings) == [synchronous, "wal", 2, 1]
    await store.aclose()


async def test_a_full_disk_is_a_clear_error_that_loses_nothing_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = await SqliteStore.open(path, max_bytes=400_000)
    await store.create(make_record("r", request_id="key"))
    acknowledged = 0
    with pytest.raises(StoreFailed, match="has no room") as caught:
        for _ in range(1000):
            await store.append("r", make_events(acknowledged + 1, 5, "x" * 1000))
            acknowledged += 5
    assert caught.value.reason == "STORE_FULL"
    assert acknowledged >= 100
    assert len(await store.events("r", 0, 10_000)) == acknowledged
    assert (await store.get("r")).last_sequence == acknowledged
    with pytest.raises(StoreFailed):
        await store.finish("r", make_end(make_record("r"), "x" * 100_000))
    await store.aclose()
    assert path.stat().st_size <= 400_000

    store = await SqliteStore.open(path, max_bytes=4_000_000)
    (adopted,) = await store.adopt()
    assert adopted.record.last_sequence == acknowledged
    await store.append("r", make_events(acknowledged + 1, 5), adopted.epoch)
    await store.finish("r", make_end(make_record("r"), "x" * 100_000), adopted.epoch)
    assert len(await store.events("r", 0, 10_000)) == acknowledged + 5
    await store.aclose()


async def test_a_full_disk_makes_room_again_when_old_runs_go(tmp_path: Path) -> None:
    now = [0.0]
    store = await SqliteStore.open(
        tmp_path / "runs.db", max_bytes=400_000, max_age=60, clock=lambda: now[0], durability="normal"
    )
    kept = 0
    with pytest.raises(StoreFailed):
        for kept in range(1000):
            await run_once(store, f"r{kept}")
    assert kept > 10
    now[0] = 100.0
    for attempt in range(50):
        try:
            await run_once(store, f"s{attempt}")
        except StoreFailed:
            continue
        break
    for number in range(2 * kept):
        now[0] += 10
        await run_once(store, f"t{number}")
    assert len((await store.list(RunQuery(states=frozenset({State.SUCCEEDED}), limit=1000))).runs) <= 7
    await store.aclose()


async def test_a_name_with_half_a_character_is_kept_as_any_other(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db")
    record = make_record("r", request_id="\ud800", tenant="\udfff", labels={"\ud800": "\udfff"})
    await store.create(record)
    assert await store.create(record) == record
    assert await store.get("\ud800") is None
    assert (await store.list(RunQuery(labels=record.labels))).runs == (record,)
    await store.finish("r", make_end(record))
    assert (await store.get("r")).request_id == "\ud800"
    await store.aclose()


async def test_what_cannot_be_read_is_an_error_and_keeps_nothing_else_from_being_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    store = await SqliteStore.open(path)
    for run_id in ("bad event", "bad record", "bad request"):
        await store.create(make_record(run_id), RunRequest(target="group"))
        await store.append(run_id, make_events(1, 1))
    await store.aclose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET event = '{}' WHERE run = 1")
        connection.execute("UPDATE runs SET record = 'x' WHERE number = 2")
        connection.execute("UPDATE requests SET request = '[]' WHERE run = 3")
    connection.close()
    store = await SqliteStore.open(path)
    with pytest.raises(StoreFailed, match="cannot be read"):
        await store.events("bad event", 0, 10)
    with pytest.raises(StoreFailed, match="cannot be read"):
        await store.get("bad record")
    adopted = await store.adopt()
    assert [run.record.run_id for run in adopted] == ["bad event", "bad request"]
    assert [run.request for run in adopted] == [RunRequest(target="group"), None]
    assert "run number 2" in caplog.text
    await store.aclose()


async def test_lock_files_that_cannot_be_used_are_an_error_of_the_store(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db")
    await store.create(make_record("r"))
    (tmp_path / "runs.db-holders" / "folder.lock").mkdir()
    with pytest.raises(StoreFailed, match="lock files"):
        await store.adopt()
    assert await store.get("r") is not None
    await store.aclose()
