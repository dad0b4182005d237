"""Idempotent calls in a SQLite file: who may make one, and what it answered. Each function is one operation."""

import sqlite3
from collections.abc import Callable

from motet.model.outcome import Outcome
from motet.ports import Busy, Claim, Claimed, Conflict, Replayed
from motet.store import codec
from motet.store._sqlite_reading import read, text_of


class Answers:
    """The answers of one file, claimed for one holder. `is_gone` tells whether another holder is."""

    def __init__(self, holder: str, is_gone: Callable[[str], bool], clock: Callable[[], float]) -> None:
        self._holder = holder
        self._is_gone = is_gone
        self._clock = clock

    def claim(self, connection: sqlite3.Connection, key: str, fingerprint: str) -> Claim:
        key, fingerprint = text_of(key), text_of(fingerprint)
        found = connection.execute(
            "SELECT fingerprint, holder, expires_at, outcome FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if found is not None and self._counts(*found[1:3]):
            if found[0] != fingerprint:
                return Conflict()
            return Busy() if found[3] is None else Replayed(read(codec.decode_outcome, found[3]))
        connection.execute("DELETE FROM answers WHERE key = ?", (key,))
        inserted = connection.execute(
            "INSERT INTO answers (key, fingerprint, holder) VALUES (?, ?, ?)", (key, fingerprint, self._holder)
        )
        return Claimed(int(inserted.lastrowid or 0))

    def settle(self, connection: sqlite3.Connection, key: str, epoch: int, outcome: Outcome | None, ttl: float) -> None:
        mine = (text_of(key), epoch, self._holder)
        if outcome is None or not ttl > 0:
            connection.execute("DELETE FROM answers WHERE key = ? AND epoch = ? AND holder = ?", mine)
        else:
            connection.execute(
                "UPDATE answers SET outcome = ?, expires_at = ?, holder = NULL"
                " WHERE key = ? AND epoch = ? AND holder = ?",
                (codec.encode_outcome(outcome), self._clock() + ttl, *mine),
            )

    def _counts(self, holder: str | None, expires_at: float | None) -> bool:
        if holder is not None:
            return holder == self._holder or not self._is_gone(holder)
        return expires_at is not None and expires_at > self._clock()


def drop_claims(connection: sqlite3.Connection, holder: str) -> None:
    """Forget the claims of a holder that is gone."""
    connection.execute("DELETE FROM answers WHERE holder = ?", (holder,))
