"""Opening a database file, and what SQLite's errors mean to whoever runs the store. Knows nothing of what is kept."""

import sqlite3
from pathlib import Path
from typing import Final, Literal, TypeAlias

from motet.errors import StoreFailed
from motet.model.reason import STORE_FULL, STORE_UNAVAILABLE
from motet.store._sqlite_migrations import migrate

Durability: TypeAlias = Literal["full", "normal"]

BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another process that writes. Each of its transactions takes milliseconds."""
WAL_BYTES: Final = 64 * 2**20
"""Bytes that the write-ahead log may keep on disk; it is usually at 4 MB, since SQLite checkpoints every 1,000 pages."""
_HEADER: Final = b"SQLite format 3\0"
_NEEDED: Final = (3, 37, 0)
"""For STRICT tables."""

_MEANINGS: Final = {
    sqlite3.SQLITE_FULL: "has no room; free some disk space, or raise the store's max_bytes",
    sqlite3.SQLITE_BUSY: "is being written by another process for too long; try again later",
    sqlite3.SQLITE_LOCKED: "is being written by another process for too long; try again later",
    sqlite3.SQLITE_READONLY: "cannot be written; give this process the right to write the file and its folder",
    sqlite3.SQLITE_PERM: "may not be used; give this process the right to read and write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; give this process the right to read and write the file and its folder",
    sqlite3.SQLITE_NOTADB: "is not a database; give another file, this one was left as it is",
    sqlite3.SQLITE_CORRUPT: "is damaged; it was left as it is, restore it from a copy or give another file",
    sqlite3.SQLITE_IOERR: "cannot be read or written, by its disk's fault; look at the system's log",
}


def failed(error: sqlite3.Error, path: str) -> StoreFailed:
    """What an error of SQLite is to the caller: where, what, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; the rest is detail
    meaning = _MEANINGS.get(code, "did not do what was asked")
    reason = STORE_FULL if code == sqlite3.SQLITE_FULL else STORE_UNAVAILABLE
    return StoreFailed(f"the store {path} {meaning} ({error})", reason=reason)


def check(path: Path) -> None:
    """Raise StoreFailed for what is plainly no place for a store, before anything is written."""
    if sqlite3.sqlite_version_info < _NEEDED:
        raise StoreFailed(f"SQLite {sqlite3.sqlite_version} is too old for the store; it takes 3.37 or newer")
    if not path.parent.is_dir():
        raise StoreFailed(f"there is no folder {path.parent} for the store {path.name}; make it first")
    if path.is_dir():
        raise StoreFailed(f"{path} is a folder; give the name of a file for the store")
    if path.exists():
        with path.open("rb") as file:
            start = file.read(len(_HEADER))
        if start and start != _HEADER:
            raise StoreFailed(f"{path} is not a database; give another file, this one was left as it is")


def open_writer(path: Path, durability: Durability, max_bytes: int | None) -> sqlite3.Connection:
    """The connection that writes, with the schema up to date."""
    connection = _connect(path)
    try:
        _prepare(connection, path, durability, max_bytes)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, durability: Durability, max_bytes: int | None) -> None:
    # Before the first table, or it has no effect.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    migrate(connection, str(path))
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreFailed(f"{path} is on a file system without write-ahead logs; keep the store on a local one")
    connection.execute(f"PRAGMA synchronous = {durability.upper()}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    connection.execute("PRAGMA foreign_keys = ON")
    if max_bytes is not None:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page)}")


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Not of SQLite's read-only mode, which cannot open a log that needs recovery."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # Used by one thread at a time, not by the one that opened it. isolation_level=None: transactions are ours to begin.
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
