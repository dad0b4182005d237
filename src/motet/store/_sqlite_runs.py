"""Writing runs to a SQLite file: each function is one operation of the store, in a transaction that is not its own."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from motet.errors import Exhausted, LeaseLost, NotFound, StoreFailed
from motet.model.event import Event
from motet.model.run import RunRecord, RunRequest
from motet.ports import Adopted
from motet.store import codec
from motet.store._sqlite_migrations import place
from motet.store._sqlite_reading import Reading, read_request, text_of
from motet.store._sqlite_retention import forget

RETRY_AFTER: Final = 1.0
"""Seconds after which a caller who found the store full may try again: runs end all the time, and asking is cheap."""
FORGET_STEP: Final = 20
"""Runs forgotten to make room for one: more than one, so that a lower bound is reached in time; few, so that it is quick."""

_log = logging.getLogger("motet.store")


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    holder: str
    epoch: int
    ended: bool
    last_sequence: int
    record: str


class Runs:
    """The runs of one file, written by one holder."""

    def __init__(self, holder: str, reading: Reading, max_runs: int, clock: Callable[[], float]) -> None:
        self._holder = holder
        self._reading = reading
        self._max_runs = max_runs
        self._clock = clock

    def create(self, connection: sqlite3.Connection, record: RunRecord, request: RunRequest | None) -> RunRecord | None:
        if record.request_id and (known := self._repeated(connection, record)) is not None:
            return known
        if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (text_of(record.run_id),)).fetchone():
            raise ValueError(f"run {record.run_id} is kept already")
        self._make_room(connection)
        inserted = connection.execute(
            "INSERT INTO runs (run_id, tenant, request_id, state, holder, epoch, record) VALUES (?, ?, ?, ?, ?, 1, ?)",
            (
                text_of(record.run_id),
                text_of(record.tenant),
                text_of(record.request_id) or None,
                record.state.value,
                self._holder,
                codec.encode_record(replace(record, result=None)),
            ),
        )
        number = inserted.lastrowid
        connection.executemany(
            "INSERT INTO labels VALUES (?, ?, ?)",
            [(text_of(name), text_of(value), number) for name, value in record.labels.items()],
        )
        text = None if request is None else codec.encode_request(request)
        if text is not None:
            connection.execute("INSERT INTO requests VALUES (?, ?)", (number, text))
        return None

    def append(self, connection: sqlite3.Connection, run_id: str, events: Sequence[Event], epoch: int) -> None:
        row = self._held(connection, run_id, epoch)
        if row.ended:
            raise ValueError(f"run {run_id} has ended; it takes no more events")
        for expected, event in enumerate(events, row.last_sequence + 1):
            if event.sequence != expected:
                raise ValueError(f"event {event.sequence} of run {run_id} leaves a gap; {expected} is next")
        if events:
            connection.executemany(
                "INSERT INTO events (place, event) VALUES (?, ?)",
                ((place(row.number, event.sequence), codec.encode_event(event)) for event in events),
            )
            connection.execute("UPDATE runs SET last_sequence = ? WHERE number = ?", (events[-1].sequence, row.number))

    def finish(self, connection: sqlite3.Connection, run_id: str, record: RunRecord, epoch: int) -> None:
        row = self._held(connection, run_id, epoch)
        if row.ended:
            raise ValueError(f"run {run_id} has ended already")
        if record.run_id != run_id or not record.state.ended:
            raise ValueError(f"the record is not that of the end of run {run_id}")
        # What the run is found by stays as it was.
        known = self._reading.record(row.record, row.last_sequence)
        kept = replace(record, request_id=known.request_id, tenant=known.tenant, result=None)
        connection.execute(
            """UPDATE runs SET state = ?, record = ?, ended_at = ?,
                ended = (SELECT COALESCE(MAX(ended), 0) + 1 FROM runs WHERE ended IS NOT NULL) WHERE number = ?""",
            (record.state.value, codec.encode_record(kept), self._clock(), row.number),
        )
        if record.result is not None:
            connection.execute("INSERT INTO results VALUES (?, ?)", (row.number, codec.encode_result(record.result)))
        connection.execute("DELETE FROM requests WHERE run = ?", (row.number,))

    def adopt(self, connection: sqlite3.Connection, alive: Sequence[str], limit: int) -> Sequence[Adopted]:
        """Take what no holder of `alive`, which this one is among, holds."""
        marks = ", ".join("?" * len(alive))
        rows = connection.execute(
            f"""SELECT number, epoch + 1, record, last_sequence, request FROM runs LEFT JOIN requests ON run = number
                WHERE ended IS NULL AND holder NOT IN ({marks}) ORDER BY number LIMIT ?""",  # noqa: S608 - marks only
            (*alive, max(limit, 0)),
        ).fetchall()
        adopted = []
        for number, epoch, record, last_sequence, request in rows:
            try:
                known = self._reading.record(record, last_sequence)
            except StoreFailed:
                # Left where it is: one that cannot be read must not keep the others from being continued.
                _log.exception("run number %d of the store cannot be taken over", number)
                continue
            connection.execute("UPDATE runs SET holder = ?, epoch = ? WHERE number = ?", (self._holder, epoch, number))
            adopted.append(Adopted(known, read_request(request), epoch))
        return adopted

    def detach(self, connection: sqlite3.Connection, run_id: str) -> None:
        row = self._find(connection, run_id)
        record = replace(self._reading.record(row.record, row.last_sequence), attached=False)
        connection.execute("UPDATE runs SET record = ? WHERE number = ?", (codec.encode_record(record), row.number))

    def ask_stop(self, connection: sqlite3.Connection, run_id: str) -> None:
        row = self._find(connection, run_id)
        if not row.ended:
            connection.execute("UPDATE runs SET stop_asked = 1 WHERE number = ?", (row.number,))

    def _find(self, connection: sqlite3.Connection, run_id: str) -> _Row:
        found = connection.execute(
            """SELECT number, holder, epoch, ended IS NOT NULL, last_sequence, record
                FROM runs WHERE run_id = ? AND (ended_at IS NULL OR ended_at >= ?)""",
            (text_of(run_id), self._reading.oldest_end()),
        ).fetchone()
        if found is None:
            raise NotFound(f"no run has the id {run_id}; it never was, or has been forgotten")
        return _Row(*found)

    def _held(self, connection: sqlite3.Connection, run_id: str, epoch: int) -> _Row:
        row = self._find(connection, run_id)
        if row.holder != self._holder or row.epoch != epoch:
            raise LeaseLost(f"another process has taken over run {run_id}; it is no longer written here")
        return row

    def _repeated(self, connection: sqlite3.Connection, record: RunRecord) -> RunRecord | None:
        found = connection.execute(
            "SELECT number, run_id FROM runs WHERE tenant = ? AND request_id = ?",
            (text_of(record.tenant), text_of(record.request_id)),
        ).fetchone()
        if found is None:
            return None
        known = self._reading.get(connection, found[1])
        if known is None:  # too old, and not yet removed
            forget(connection, [found[0]])
        return known

    def _make_room(self, connection: sqlite3.Connection) -> None:
        (kept,) = connection.execute("SELECT rows FROM counts WHERE name = 'runs'").fetchone()
        if kept < self._max_runs:
            return
        ended = connection.execute(
            "SELECT number FROM runs WHERE ended IS NOT NULL ORDER BY ended LIMIT ?",
            (min(kept - self._max_runs + 1, FORGET_STEP),),
        ).fetchall()
        if not ended:
            raise Exhausted(
                "the store is full of runs that have not ended; try again when one has",
                reason="TOO_MANY_RUNS",
                retry_after=RETRY_AFTER,
            )
        forget(connection, [number for (number,) in ended])
