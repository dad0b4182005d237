"""What sessions remember and what tenants have used, in a SQLite file. Each function is one operation."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from motet.model.quota_use import NANOS, QuotaUse
from motet.model.session import SessionEntry
from motet.store import codec
from motet.store._sqlite_reading import read, text_of
from motet.store._sqlite_retention import QUOTA_LENGTHS

_MOST: Final = 2**63 - 1
"""SQLite's largest integer; a total stays there rather than failing."""
_TOTAL: Final = "SELECT calls, tokens, cost_nanos, nanos FROM quota WHERE tenant = ? AND window = ? AND start = ?"


def use(connection: sqlite3.Connection, uses: Sequence[QuotaUse], clock: Callable[[], float]) -> Sequence[QuotaUse]:
    return [_use(connection, one, clock()) for one in uses]


def _use(connection: sqlite3.Connection, one: QuotaUse, now: float) -> QuotaUse:
    place = (text_of(one.tenant), text_of(one.window), one.start)
    calls, tokens, cost_nanos, nanos = connection.execute(_TOTAL, place).fetchone() or (0, 0, 0, 0)
    nanos = min(nanos + one.nanos, _MOST)
    total = replace(
        one,
        calls=min(calls + one.calls, _MOST),
        tokens=min(tokens + one.tokens, _MOST),
        cost_nanos=min(cost_nanos + one.cost_nanos, _MOST),
        seconds=nanos / NANOS,
    )
    if not one.is_nothing:
        connection.execute(
            """INSERT INTO quota VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, window, start) DO UPDATE
                SET calls = excluded.calls, tokens = excluded.tokens, cost_nanos = excluded.cost_nanos,
                    nanos = excluded.nanos, used_at = excluded.used_at""",
            (*place, total.calls, total.tokens, total.cost_nanos, nanos, now),
        )
        if one.window in QUOTA_LENGTHS:
            connection.execute(
                "DELETE FROM quota WHERE tenant = ? AND window = ? AND start < ?",
                (*place[:2], one.start - QUOTA_LENGTHS[one.window]),
            )
    return total


def remember(connection: sqlite3.Connection, session_id: str, entries: Sequence[SessionEntry], keep: int) -> None:
    session = connection.execute(
        """INSERT INTO sessions (session_id, used) VALUES (?, (SELECT COALESCE(MAX(used), 0) + 1 FROM sessions))
            ON CONFLICT (session_id) DO UPDATE SET used = excluded.used RETURNING number""",
        (text_of(session_id),),
    ).fetchone()[0]
    (last,) = connection.execute(
        "SELECT COALESCE(MAX(number), 0) FROM session_entries WHERE session = ?", (session,)
    ).fetchone()
    connection.executemany(
        "INSERT INTO session_entries VALUES (?, ?, ?)",
        [(session, number, codec.encode_entry(entry)) for number, entry in enumerate(entries, last + 1)],
    )
    connection.execute(
        "DELETE FROM session_entries WHERE session = ? AND number <= ?", (session, last + len(entries) - max(keep, 0))
    )


def session(connection: sqlite3.Connection, session_id: str) -> Sequence[SessionEntry]:
    rows = connection.execute(
        """SELECT entry FROM sessions AS kept JOIN session_entries ON session = kept.number
            WHERE session_id = ? ORDER BY session_entries.number""",
        (text_of(session_id),),
    )
    return [read(codec.decode_entry, text) for (text,) in rows]


def forget_session(connection: sqlite3.Connection, session_id: str) -> None:
    connection.execute("DELETE FROM sessions WHERE session_id = ?", (text_of(session_id),))
