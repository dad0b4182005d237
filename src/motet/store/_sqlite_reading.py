"""Reading runs from a SQLite file: records, pages of them, events. Writes nothing; also serves operations that write."""

import base64
import binascii
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from motet.errors import InvalidRequest, NotFound, StoreFailed, Violation
from motet.model.event import Event
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.model.state import State
from motet.store import codec
from motet.store._sqlite_migrations import SEQUENCE_BITS, place

T = TypeVar("T")
_KEPT: Final = "(ended_at IS NULL OR ended_at >= :oldest)"
"""A run past its age is not there, also where it has not been removed yet."""
_log = logging.getLogger("motet.store")


def text_of(value: str) -> str:
    """A name as the file can hold it: SQLite takes no lone surrogates. Names are only looked up by it; the texts of nouns
    have them as they are."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return "\0" + value.encode(errors="surrogatepass").hex()
    return value


def read(decode: Callable[[str], T], text: str) -> T:
    """What a text in the file says. Raises StoreFailed where it says nothing."""
    try:
        return decode(text)
    except ValueError as error:
        message = (
            f"the store holds something that cannot be read ({error}); was it written by a newer version of Motet?"
        )
        raise StoreFailed(message) from error


def read_request(text: str | None) -> RunRequest | None:
    """None also for what cannot be read: the run is then taken over without it, rather than by nobody for ever."""
    try:
        return None if text is None else codec.decode_request(text)
    except ValueError as error:
        _log.warning("a run's request cannot be read, so it cannot be continued: %s", error)
        return None


class Reading:
    """Reads one file; ended runs older than `max_age` seconds count as forgotten."""

    def __init__(self, max_age: float | None, clock: Callable[[], float]) -> None:
        self._max_age = max_age
        self._clock = clock

    def oldest_end(self) -> float:
        """The wall clock's time of the earliest end that is still kept."""
        return float("-inf") if self._max_age is None else self._clock() - self._max_age

    def record(self, text: str, last_sequence: int, result: str | None = None) -> RunRecord:
        """A record from its columns."""
        record = read(codec.decode_record, text)
        return replace(
            record,
            last_sequence=last_sequence,
            result=None if result is None else read(codec.decode_result, result),
        )

    def get(self, connection: sqlite3.Connection, run_id: str) -> RunRecord | None:
        row = connection.execute(
            f"SELECT record, last_sequence, result FROM runs LEFT JOIN results ON run = number"  # noqa: S608 - constant
            f" WHERE run_id = :run_id AND {_KEPT}",
            {"run_id": text_of(run_id), "oldest": self.oldest_end()},
        ).fetchone()
        return None if row is None else self.record(*row)

    def find(self, connection: sqlite3.Connection, request_id: str, tenant: str) -> RunRecord | None:
        row = connection.execute(
            f"SELECT record, last_sequence, result FROM runs LEFT JOIN results ON run = number"  # noqa: S608 - constant
            f" WHERE tenant = :tenant AND request_id = :request_id AND {_KEPT}",
            {"tenant": text_of(tenant), "request_id": text_of(request_id), "oldest": self.oldest_end()},
        ).fetchone()
        return None if row is None else self.record(*row)

    def events(self, connection: sqlite3.Connection, run_id: str, after: int, limit: int) -> Sequence[Event]:
        run = connection.execute(
            f"SELECT number FROM runs WHERE run_id = :run_id AND {_KEPT}",  # noqa: S608 - constant
            {"run_id": text_of(run_id), "oldest": self.oldest_end()},
        ).fetchone()
        if run is None:
            raise NotFound(f"no run has the id {run_id}; it never was, or has been forgotten")
        start = min(max(after, 0), 2**SEQUENCE_BITS - 1)
        rows = connection.execute(
            "SELECT event FROM events WHERE place > ? AND place < ? ORDER BY place LIMIT ?",
            (place(run[0], start), place(run[0], 2**SEQUENCE_BITS), min(max(limit, 0), 2**31)),
        )
        return [read(codec.decode_event, text) for (text,) in rows]

    def list(self, connection: sqlite3.Connection, query: RunQuery) -> RunPage:
        if query.limit < 1:
            raise InvalidRequest([Violation("limit", f"is {query.limit}; ask for at least 1 run")])
        parameters = {"oldest": self.oldest_end(), "limit": min(query.limit, 2**31) + 1}
        parameters["below"] = _read_token(query.page_token) if query.page_token else 2**63 - 1
        if query.labels:
            rows = _labelled(connection, query, parameters)
        else:
            # A query for each state reads only what it gives, in order; one for several would read and sort all of them.
            states: Sequence[State | None] = sorted(query.states) or [None]
            rows = [row for state in states for row in _of_state(connection, state, parameters)]
            rows.sort(reverse=True)
        page = tuple(self.record(record, last) for _, record, last in rows[: query.limit])
        return RunPage(page, _write_token(rows[query.limit - 1][0]) if len(rows) > query.limit else "")

    def asked_stops(self, connection: sqlite3.Connection, holder: str) -> Sequence[str]:
        rows = connection.execute(
            "SELECT run_id FROM runs WHERE holder = ? AND stop_asked = 1 AND ended IS NULL ORDER BY number", (holder,)
        )
        return [run_id for (run_id,) in rows]


def _of_state(
    connection: sqlite3.Connection, state: State | None, parameters: Mapping[str, Any]
) -> list[tuple[int, str, int]]:
    return connection.execute(
        f"""SELECT number, record, last_sequence FROM runs
            WHERE {"state = :state AND" if state else ""} number < :below AND {_KEPT}
            ORDER BY number DESC LIMIT :limit""",  # noqa: S608 - constant
        {**parameters, "state": state},
    ).fetchall()


def _labelled(
    connection: sqlite3.Connection, query: RunQuery, parameters: Mapping[str, Any]
) -> list[tuple[int, str, int]]:
    # The first label's index gives the runs in order; CROSS JOIN keeps SQLite from starting elsewhere.
    pairs = list(query.labels.items())
    conditions = ["first.name = :name0 AND first.value = :value0 AND first.run < :below", _KEPT]
    conditions += [
        f"EXISTS (SELECT 1 FROM labels WHERE name = :name{n} AND value = :value{n} AND run = number)"  # noqa: S608 - n is a number
        for n in range(1, len(pairs))
    ]
    states = sorted(query.states)
    if states:
        conditions.append(f"state IN ({', '.join(f':state{n}' for n in range(len(states)))})")
    values = dict(parameters)
    for n, (name, value) in enumerate(pairs):
        values[f"name{n}"], values[f"value{n}"] = text_of(name), text_of(value)
    values.update({f"state{n}": state.value for n, state in enumerate(states)})
    return connection.execute(
        f"""SELECT number, record, last_sequence FROM labels AS first CROSS JOIN runs ON number = first.run
            WHERE {" AND ".join(conditions)} ORDER BY first.run DESC LIMIT :limit""",  # noqa: S608 - names are numbered
        values,
    ).fetchall()


# A page token names the last run of the page before. New runs have higher numbers, so they never shift a later page.


def _write_token(number: int) -> str:
    return base64.urlsafe_b64encode(f"run:{number}".encode()).decode()


def _read_token(token: str) -> int:
    try:
        kind, _, number = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        kind, number = "", ""
    if kind != "run" or not number.isdecimal() or len(number) > 18:  # more digits than SQLite's integers surely have
        raise InvalidRequest([Violation("page_token", "is not one that was given out; leave it empty to start over")])
    return int(number)
