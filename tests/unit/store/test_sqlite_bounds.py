"""A SQLite store does not grow without bound, and forgets in small steps what it may forget."""

import sqlite3
from pathlib import Path

import pytest
import trio

from motet.errors import NotFound
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.quota_use import QuotaUse
from motet.model.run import RunQuery
from motet.model.session import SessionEntry
from motet.model.state import State
from motet.ports import Claimed, Replayed
from motet.store import _sqlite_retention as retention
from motet.store.sqlite import SqliteStore
from motet.testing.contracts_store import STARTED_AT, make_end, make_events, make_record


async def run_once(store: SqliteStore, run_id: str, events: int = 5, report: str = "x" * 400) -> None:
    record = make_record(run_id, labels={"n": run_id})
    await store.create(record)
    await store.append(run_id, make_events(1, events, report))
    await store.finish(run_id, make_end(record))


async def rows(store: SqliteStore, table: str) -> int:
    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608 - a test's own word

    return await store._read(count)


async def test_a_file_through_which_many_runs_went_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = await SqliteStore.open(path, max_runs=50, durability="normal")
    for first in range(0, 3000, 20):
        async with trio.open_nursery() as nursery:
            for number in range(first, first + 20):
                nursery.start_soon(run_once, store, f"r{number}")
        assert path.stat().st_size < 2_000_000
    assert [await rows(store, table) for table in ("runs", "results", "labels")] == [50, 50, 50]
    assert await rows(store, "events") <= 300
    await store.aclose()
    # 3,000 runs have 6 MB of events alone.
    assert path.stat().st_size < 1_000_000
    assert not path.with_name("runs.db-wal").exists()


async def test_a_store_that_is_opened_with_a_lower_bound_shrinks_its_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = await SqliteStore.open(path, durability="normal")
    for number in range(300):
        await run_once(store, f"r{number}", events=20)
    await store.aclose()
    before = path.stat().st_size
    store = await SqliteStore.open(path, max_runs=10, durability="normal")
    for number in range(60):
        await run_once(store, f"s{number}")
    assert await rows(store, "runs") == 10
    await store.aclose()
    assert path.stat().st_size < before / 4


async def test_a_run_with_many_events_is_forgotten_at_once_and_its_events_in_steps(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db", max_runs=1, durability="normal")
    await run_once(store, "long", events=5000, report="")
    await store.create(make_record("new"))
    assert await store.get("long") is None
    with pytest.raises(NotFound):
        await store.events("long", 0, 10)
    left = await rows(store, "events")
    assert 5000 - 10 * retention.STEP < left < 5000
    sequence = 0
    while await rows(store, "forgotten"):
        await store.append("new", make_events(sequence + 1, 1, ""))
        sequence += 1
        assert sequence < 100
    assert await rows(store, "events") == sequence
    await store.aclose()


async def test_runs_that_are_too_old_are_gone_for_every_reader_before_they_are_removed(tmp_path: Path) -> None:
    now = [1000.0]
    store = await SqliteStore.open(tmp_path / "runs.db", max_age=60, clock=lambda: now[0])
    record = make_record("old", request_id="key", labels={"x": "1"})
    await store.create(record)
    await store.finish("old", make_end(record))
    await store.create(make_record("running"))
    now[0] += 61
    assert await store.get("old") is None
    assert [run.run_id for run in (await store.list(RunQuery())).runs] == ["running"]
    assert (await store.list(RunQuery(labels={"x": "1"}))).runs == ()
    with pytest.raises(NotFound):
        await store.events("old", 0, 10)
    with pytest.raises(NotFound):
        await store.ask_stop("old")
    assert await store.create(make_record("new", request_id="key")) is None
    assert await rows(store, "runs") == 2
    await store.aclose()


async def test_answers_go_when_they_expire_and_the_oldest_beyond_the_bound(tmp_path: Path) -> None:
    now = [1000.0]
    store = await SqliteStore.open(tmp_path / "runs.db", max_answers=10, clock=lambda: now[0])
    outcome = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of("x"))
    pending = await store.claim("pending", "print")
    assert isinstance(pending, Claimed)
    for number in range(30):
        claim = await store.claim(f"k{number}", "print")
        assert isinstance(claim, Claimed)
        await store.settle(f"k{number}", claim.epoch, outcome, 60)
    assert await rows(store, "answers") <= 11
    assert isinstance(await store.claim("k29", "print"), Replayed)
    assert isinstance(await store.claim("k0", "print"), Claimed)
    now[0] += 61
    await store.settle("pending", pending.epoch, None)
    assert await rows(store, "answers") == 1, "the claim of k0 alone"
    await store.aclose()


async def test_sessions_written_longest_ago_go_first(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db", max_sessions=3)
    entry = SessionEntry(role="user", payload=Payload.of("x"), at=STARTED_AT)
    for session_id in ("a", "b", "c", "a", "d", "e"):
        await store.remember(session_id, [entry], 10)
    assert [len(await store.session(session_id)) for session_id in "abcde"] == [2, 0, 0, 1, 1]
    assert await rows(store, "session_entries") == 4
    await store.aclose()


async def test_quota_windows_of_tenants_that_do_not_come_back_are_forgotten(tmp_path: Path) -> None:
    now = [0.0]
    store = await SqliteStore.open(tmp_path / "runs.db", clock=lambda: now[0])
    uses = [QuotaUse(tenant="gone", window=window, start=0.0, calls=1) for window in ("hour", "day", "total")]
    await store.use(uses)
    now[0] = 2 * 86400.0 + 1
    await store.use([QuotaUse(tenant="here", window="hour", start=2 * 86400.0, calls=1)])
    read = await store.use([QuotaUse(tenant="gone", window=use.window, start=0.0) for use in uses])
    assert [use.calls for use in read] == [0, 0, 1]
    assert await rows(store, "quota") == 2
    await store.aclose()


async def test_a_total_stays_at_the_largest_number_that_can_be_kept(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db")
    use = QuotaUse(tenant="t", window="total", start=0.0, cost_nanos=2**62, seconds=2**62 / 1e9)
    await store.use([use])
    await store.use([use])
    (total,) = await store.use([use])
    assert total.cost_nanos == 2**63 - 1
    assert total.seconds == pytest.approx(2**63 / 1e9)
    await store.aclose()


async def test_a_log_that_readers_let_grow_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "WAL_BYTES", 1_000_000)
    path = tmp_path / "runs.db"
    store = await SqliteStore.open(path, durability="normal")
    log = path.with_name("runs.db-wal")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM runs").fetchall()
    await store.create(make_record("r"))
    for step in range(4):
        await store.append("r", make_events(step * 1000 + 1, 1000, "x" * 400))
    assert log.stat().st_size > 1_000_000
    reader.execute("COMMIT")
    reader.close()
    await store.append("r", make_events(4001, 1))
    assert log.stat().st_size == 0
    await store.aclose()


async def test_a_list_of_many_runs_reads_no_more_than_a_page(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "runs.db")

    def plans(connection: sqlite3.Connection) -> list[str]:
        seen: list[str] = []
        queries: list[str] = []
        connection.set_trace_callback(queries.append)
        for query in (RunQuery(), RunQuery(states=frozenset({State.FAILED})), RunQuery(labels={"x": "1", "y": "2"})):
            store._reading.list(connection, query)
        connection.set_trace_callback(None)
        for statement in queries:
            seen += [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        return seen

    plan = await store._read(plans)
    assert plan
    assert not [step for step in plan if "TEMP B-TREE" in step or step == "SCAN runs"]
    await store.aclose()
