"""What keeps a SQLite store within its bounds: old things are forgotten, and pages given back, in small steps beside the
writes. Each step is bounded, so no write waits long for it; together they outpace what the writes add."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from motet.store._sqlite_file import WAL_BYTES
from motet.store._sqlite_migrations import SEQUENCE_BITS, place

STEP: Final = 100
"""Rows of a kind that any commit may remove; and twice as many as it has changed."""
VACUUM_PAGES: Final = 256
"""Pages given back to the disk in a commit: 1 MB."""
FREE_PAGES: Final = 64
FREE_SHARE: Final = 0.25
"""Free pages, and share of them, from which on they are given back; fewer are soon used again."""
QUOTA_LENGTHS: Final = {"hour": 3600.0, "day": 86400.0}
"""Seconds of the windows that pass."""
_CHECKPOINT_PATIENCE: Final = 0.1
"""Seconds that a checkpoint may wait for readers; the next commit tries again."""
_log = logging.getLogger("motet.store")


def forget(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Forget runs at once, and their events, which may be many, by and by."""
    rows = [(number,) for number in numbers]
    connection.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", rows)
    connection.executemany("DELETE FROM runs WHERE number = ?", rows)


class Retention:
    """The bounds of one file. `oldest_end` is the wall clock's time before which an ended run is too old."""

    def __init__(
        self,
        path: Path,
        *,
        oldest_end: Callable[[], float],
        clock: Callable[[], float],
        max_answers: int,
        max_sessions: int,
    ) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._oldest_end = oldest_end
        self._clock = clock
        self._max_answers = max_answers
        self._max_sessions = max_sessions

    def within(self, connection: sqlite3.Connection, changes: int) -> None:
        step = STEP + 2 * changes
        self._old_runs(connection, step)
        self._events(connection, step)
        self._answers(connection, step)
        self._sessions(connection, step)
        self._quota(connection, step)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free > FREE_PAGES and free > FREE_SHARE * pages:
            # One at a time: asked for more, it frees one with each step, and sqlite3 takes one step, as there are no rows.
            for _ in range(min(VACUUM_PAGES, free)):
                connection.execute("PRAGMA incremental_vacuum(1)")

    def after(self, connection: sqlite3.Connection) -> None:
        """SQLite empties its log beside the commits, as far as readers let it; where they did not for long, wait for them."""
        with suppress(OSError):
            if self._wal.stat().st_size <= WAL_BYTES:
                return
            try:
                (timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()
                connection.execute(f"PRAGMA busy_timeout = {int(_CHECKPOINT_PATIENCE * 1000)}")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                connection.execute(f"PRAGMA busy_timeout = {timeout}")
            except sqlite3.Error as error:
                _log.warning("the log %s could not be emptied: %s", self._wal, error)

    def _old_runs(self, connection: sqlite3.Connection, step: int) -> None:
        oldest = self._oldest_end()
        old: list[int] = []
        # By the order of ends, which an index gives, and not by time: the same but where the wall clock was set back.
        ends = connection.execute(
            "SELECT number, ended_at FROM runs WHERE ended IS NOT NULL ORDER BY ended LIMIT ?", (step,)
        )
        with closing(ends):
            for number, ended_at in ends:
                if ended_at >= oldest:
                    break
                old.append(number)
        forget(connection, old)

    def _events(self, connection: sqlite3.Connection, step: int) -> None:
        left = step
        while left > 0:
            run = connection.execute("SELECT run FROM forgotten LIMIT 1").fetchone()
            if run is None:
                return
            removed = connection.execute(
                "DELETE FROM events WHERE place IN"
                " (SELECT place FROM events WHERE place >= ? AND place < ? ORDER BY place LIMIT ?)",
                (place(run[0], 0), place(run[0], 2**SEQUENCE_BITS), left),
            ).rowcount
            if removed < left:
                connection.execute("DELETE FROM forgotten WHERE run = ?", run)
            left -= removed + 1  # so that runs without events count too

    def _answers(self, connection: sqlite3.Connection, step: int) -> None:
        connection.execute(
            "DELETE FROM answers WHERE epoch IN"
            " (SELECT epoch FROM answers WHERE expires_at < ? ORDER BY expires_at LIMIT ?)",
            (self._clock(), step),
        )
        excess = _rows(connection, "answers") - self._max_answers
        if excess > 0:  # never a claim: its call is under way
            connection.execute(
                "DELETE FROM answers WHERE epoch IN"
                " (SELECT epoch FROM answers WHERE outcome IS NOT NULL ORDER BY epoch LIMIT ?)",
                (min(excess, step),),
            )

    def _sessions(self, connection: sqlite3.Connection, step: int) -> None:
        excess = _rows(connection, "sessions") - self._max_sessions
        if excess > 0:
            connection.execute(
                "DELETE FROM sessions WHERE number IN (SELECT number FROM sessions ORDER BY used LIMIT ?)",
                (min(excess, step),),
            )

    def _quota(self, connection: sqlite3.Connection, step: int) -> None:
        # By when it was used: what nobody has used for two lengths lies further back than the window before this one.
        for window, length in QUOTA_LENGTHS.items():
            connection.execute(
                "DELETE FROM quota WHERE (tenant, window, start) IN"
                " (SELECT tenant, window, start FROM quota WHERE window = ? AND used_at < ? LIMIT ?)",
                (window, self._clock() - 2 * length, step),
            )


def _rows(connection: sqlite3.Connection, table: str) -> int:
    (rows,) = connection.execute("SELECT rows FROM counts WHERE name = ?", (table,)).fetchone()
    return int(rows)
