"""The schema of the SQLite store, as numbered steps. A step that has shipped is never changed: a new one follows it.

Knows nothing of nouns; what is written in the TEXT columns `record`, `event` and their like is the codec's affair.
"""

import sqlite3
from typing import Final

from motet.errors import StoreFailed

APPLICATION_ID: Final = 0x4D4F5454
"""Marks a file as Motet's: "MOTT"."""
SEQUENCE_BITS: Final = 28
"""Of an event's 63-bit place, below the number of its run: 268 million events in a run, and runs for ten years at a hundred
a second."""

_FIRST: Final = (
    # How many rows the bounded tables have. COUNT(*) reads a whole index, and is asked for with each new run.
    "CREATE TABLE counts (name TEXT PRIMARY KEY, rows INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO counts VALUES ('runs', 0), ('answers', 0), ('sessions', 0)",
    "CREATE TABLE holders (id TEXT PRIMARY KEY, opened_at REAL NOT NULL) STRICT, WITHOUT ROWID",
    # `number` counts runs as they are created. AUTOINCREMENT: never used again, since page tokens name it.
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        request_id TEXT,
        state TEXT NOT NULL,
        holder TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        stop_asked INTEGER NOT NULL DEFAULT 0,
        last_sequence INTEGER NOT NULL DEFAULT 0,
        ended INTEGER,
        ended_at REAL,
        record TEXT NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX runs_request ON runs (tenant, request_id) WHERE request_id IS NOT NULL",
    "CREATE INDEX runs_state ON runs (state, number)",
    # `ended` counts ends, so that the run that ended first is found at once; the running have none.
    "CREATE INDEX runs_ended ON runs (ended) WHERE ended IS NOT NULL",
    "CREATE INDEX runs_running ON runs (number) WHERE ended IS NULL",
    "CREATE INDEX runs_stop_asked ON runs (holder) WHERE stop_asked = 1 AND ended IS NULL",
    "CREATE TRIGGER run_kept AFTER INSERT ON runs BEGIN UPDATE counts SET rows = rows + 1 WHERE name = 'runs'; END",
    "CREATE TRIGGER run_gone AFTER DELETE ON runs BEGIN UPDATE counts SET rows = rows - 1 WHERE name = 'runs'; END",
    """CREATE TABLE requests (
        run INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE, request TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE results (
        run INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE, result TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE labels (
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        PRIMARY KEY (name, value, run)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX labels_run ON labels (run)",
    # One number for run and sequence keeps the events of a run side by side, in order. A table WITHOUT ROWID does too,
    # but gives each row above 1,000 bytes a page of its own. No reference to runs: the events of a run that is forgotten
    # go in steps, those of `forgotten` runs. The two last columns are for people who look, and take no space.
    f"""CREATE TABLE events (
        place INTEGER PRIMARY KEY,
        event TEXT NOT NULL,
        run INTEGER AS (place >> {SEQUENCE_BITS}),
        sequence INTEGER AS (place & {2**SEQUENCE_BITS - 1})
    ) STRICT""",
    "CREATE TABLE forgotten (run INTEGER PRIMARY KEY) STRICT",
    # `epoch` is never used again, so a claim that was lost is never mistaken for a later one of the same key.
    """CREATE TABLE answers (
        epoch INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        holder TEXT,
        expires_at REAL,
        outcome TEXT
    ) STRICT""",
    "CREATE INDEX answers_expiry ON answers (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE INDEX answers_holder ON answers (holder) WHERE holder IS NOT NULL",
    """CREATE TRIGGER answer_kept AFTER INSERT ON answers
        BEGIN UPDATE counts SET rows = rows + 1 WHERE name = 'answers'; END""",
    """CREATE TRIGGER answer_gone AFTER DELETE ON answers
        BEGIN UPDATE counts SET rows = rows - 1 WHERE name = 'answers'; END""",
    """CREATE TABLE quota (
        tenant TEXT NOT NULL,
        window TEXT NOT NULL,
        start REAL NOT NULL,
        calls INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        cost_nanos INTEGER NOT NULL,
        nanos INTEGER NOT NULL,
        used_at REAL NOT NULL,
        PRIMARY KEY (tenant, window, start)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX quota_used ON quota (window, used_at)",
    # `used` counts uses, so that the session used longest ago is found at once.
    """CREATE TABLE sessions (
        number INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, used INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX sessions_used ON sessions (used)",
    """CREATE TABLE session_entries (
        session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
        number INTEGER NOT NULL,
        entry TEXT NOT NULL,
        PRIMARY KEY (session, number)
    ) STRICT""",
    """CREATE TRIGGER session_kept AFTER INSERT ON sessions
        BEGIN UPDATE counts SET rows = rows + 1 WHERE name = 'sessions'; END""",
    """CREATE TRIGGER session_gone AFTER DELETE ON sessions
        BEGIN UPDATE counts SET rows = rows - 1 WHERE name = 'sessions'; END""",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
"""The statements that lead from each version to the next; the first from an empty file to version 1."""


def place(run: int, sequence: int) -> int:
    """Where an event is kept."""
    return (run << SEQUENCE_BITS) + sequence


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the file to this version's schema. Raises StoreFailed for a file of a newer one, or of another program."""
    _refuse_foreign(connection, path)
    while (version := _version(connection)) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    if version > len(MIGRATIONS):
        raise StoreFailed(
            f"{path} has schema {version}, and this version of Motet knows none above {len(MIGRATIONS)}: a newer version"
            " wrote it; use that one, or give another file"
        )


def _refuse_foreign(connection: sqlite3.Connection, path: str) -> None:
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID and (tables or application or _version(connection)):
        raise StoreFailed(f"{path} is a database of another program; give a file of Motet's own")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
