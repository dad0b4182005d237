"""Runs, answers, quota use and sessions in a SQLite file, which several processes of one machine may share.

Here is what the store promises and in which order things open and close; the statements are in the modules beside it.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final, Self

import trio

from motet.errors import StoreFailed
from motet.model.event import Event
from motet.model.outcome import Outcome
from motet.model.quota_use import QuotaUse
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.model.session import SessionEntry
from motet.ports import Adopted, Claim
from motet.store import _sqlite_sessions as sessions
from motet.store._sqlite_answers import Answers, drop_claims
from motet.store._sqlite_commit import GroupCommit, T, Work
from motet.store._sqlite_file import Durability, check, failed, open_reader, open_writer
from motet.store._sqlite_holder import Holder, Holders
from motet.store._sqlite_reading import Reading
from motet.store._sqlite_retention import Retention
from motet.store._sqlite_runs import Runs

MAX_RUNS: Final = 10_000
MAX_AGE: Final = 7 * 86400.0
"""Seconds; a week is what CI systems and job queues keep by habit."""
MAX_ANSWERS: Final = 100_000
MAX_SESSIONS: Final = 100_000
CLOSING_PATIENCE: Final = 10.0
"""Seconds that closing waits for what is being written."""


class SqliteStore:
    """Keeps everything in one file, in SQLite's write-ahead mode. Made by `open`; needs a local file system.

    Durable: with "full" what a method has kept survives a power cut; with "normal" it survives the end of the process,
    also by force, and a power cut may take the last moments, always whole operations and the latest first. Operations
    that are asked for while a commit is under way share the next one.

    Leases: a run belongs to the open store that created or adopted it until that one is closed or its process is gone,
    which the kernel says by a lock, not a clock.

    Bounded: ended runs beyond `max_runs` or older than `max_age` go, the one that ended first before others; expired
    answers and those beyond `max_answers`, the oldest first; sessions beyond `max_sessions`, the one written longest ago
    first. Space is used again and given back to the disk in small steps beside the writes.
    """

    def __init__(
        self,
        path: Path,
        writer: sqlite3.Connection,
        reader: sqlite3.Connection,
        holders: Holders,
        holder: Holder,
        *,
        max_runs: int,
        max_age: float | None,
        max_answers: int,
        max_sessions: int,
        clock: Callable[[], float],
    ) -> None:
        """Use `open`."""
        self.path = path
        self._reader = reader
        self._reads = trio.CapacityLimiter(1)
        self._holders = holders
        self._holder = holder
        self._clock = clock
        self._closed = False
        self._reading = Reading(max_age, clock)
        self._runs = Runs(holder.id, self._reading, max_runs, clock)
        self._answers = Answers(holder.id, holders.is_gone, clock)
        retention = Retention(
            path,
            oldest_end=self._reading.oldest_end,
            clock=clock,
            max_answers=max_answers,
            max_sessions=max_sessions,
        )
        self._writes = GroupCommit(writer, str(path), retention)

    @classmethod
    async def open(
        cls,
        path: str | PathLike[str],
        *,
        durability: Durability = "full",
        max_runs: int = MAX_RUNS,
        max_age: float | None = MAX_AGE,
        max_answers: int = MAX_ANSWERS,
        max_sessions: int = MAX_SESSIONS,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open the file, or make it; its folder must exist. Lock files are kept in a folder beside it.

        `max_age` is in seconds since a run's end, None for no bound. `max_bytes` bounds the file, not its log, which may
        have 64 MB beside it; None leaves it to the disk. `clock` is the wall clock: what must outlive a process is
        measured by it. Raises ValueError for a wrong bound, and StoreFailed when the file cannot be used: it is no
        database or another program's, of a newer version, not to be written, or has no folder.
        """
        if durability not in {"full", "normal"}:
            raise ValueError(f"durability is {durability!r}; give 'full' or 'normal'")
        bounds = {
            "max_runs": max_runs,
            "max_answers": max_answers,
            "max_sessions": max_sessions,
            "max_bytes": max_bytes,
        }
        for name, bound in bounds.items():
            if bound is not None and bound < 1:
                raise ValueError(f"{name} is {bound}; give at least 1")
        if max_age is not None and not max_age > 0:
            raise ValueError(f"max_age is {max_age}; give seconds above 0, or None for no bound")

        # Not given up half way, or nobody would close what it opens. It is bounded by SQLite's patience and its own.
        opened = await trio.to_thread.run_sync(_open, path, durability, max_bytes, clock)
        return cls(
            *opened,
            max_runs=max_runs,
            max_age=max_age,
            max_answers=max_answers,
            max_sessions=max_sessions,
            clock=clock,
        )

    @property
    def shared(self) -> bool:
        return True

    @property
    def commits(self) -> int:
        """Transactions so far."""
        return self._writes.commits

    @property
    def operations(self) -> int:
        """Operations in them; the more on one commit, the less each costs."""
        return self._writes.operations

    async def create(self, record: RunRecord, request: RunRequest | None = None) -> RunRecord | None:
        """Raises ValueError when the run_id is kept already."""
        return await self._write(lambda connection: self._runs.create(connection, record, request))

    async def find(self, request_id: str, tenant: str = "") -> RunRecord | None:
        return await self._read(lambda connection: self._reading.find(connection, request_id, tenant))

    async def detach(self, run_id: str) -> None:
        await self._write(lambda connection: self._runs.detach(connection, run_id))

    async def append(self, run_id: str, events: Sequence[Event], epoch: int = 1) -> None:
        """Raises ValueError when the events do not follow those kept, or the run has ended; then none is added."""
        events = tuple(events)
        await self._write(lambda connection: self._runs.append(connection, run_id, events, epoch))

    async def finish(self, run_id: str, record: RunRecord, epoch: int = 1) -> None:
        """Raises ValueError when the record is not of this run's end, or the run has ended already."""
        await self._write(lambda connection: self._runs.finish(connection, run_id, record, epoch))

    async def get(self, run_id: str) -> RunRecord | None:
        return await self._read(lambda connection: self._reading.get(connection, run_id))

    async def list(self, query: RunQuery) -> RunPage:
        return await self._read(lambda connection: self._reading.list(connection, query))

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        return await self._read(lambda connection: self._reading.events(connection, run_id, after, limit))

    async def adopt(self, limit: int = 100) -> Sequence[Adopted]:
        def adopt(connection: sqlite3.Connection) -> Sequence[Adopted]:
            return self._runs.adopt(connection, self._alive(connection), limit)

        return await self._write(adopt)

    async def ask_stop(self, run_id: str) -> None:
        await self._write(lambda connection: self._runs.ask_stop(connection, run_id))

    async def asked_stops(self) -> Sequence[str]:
        return await self._read(lambda connection: self._reading.asked_stops(connection, self._holder.id))

    async def claim(self, key: str, fingerprint: str) -> Claim:
        return await self._write(lambda connection: self._answers.claim(connection, key, fingerprint))

    async def settle(self, key: str, epoch: int, outcome: Outcome | None, ttl: float = 0.0) -> None:
        await self._write(lambda connection: self._answers.settle(connection, key, epoch, outcome, ttl))

    async def use(self, uses: Sequence[QuotaUse]) -> Sequence[QuotaUse]:
        """Negative numbers give back. Totals stay within 64 bits."""
        uses = tuple(uses)
        work = partial(sessions.use, uses=uses, clock=self._clock)
        if not all(one.is_nothing for one in uses):
            return await self._write(work)
        return await self._read(work)

    async def remember(self, session_id: str, entries: Sequence[SessionEntry], keep: int) -> None:
        entries = tuple(entries)
        await self._write(lambda connection: sessions.remember(connection, session_id, entries, keep))

    async def session(self, session_id: str) -> Sequence[SessionEntry]:
        return await self._read(lambda connection: sessions.session(connection, session_id))

    async def forget_session(self, session_id: str) -> None:
        await self._write(lambda connection: sessions.forget_session(connection, session_id))

    async def aclose(self) -> None:
        """Wait for what is being written, at most CLOSING_PATIENCE seconds, and release what is held. May be called again.

        What takes longer is kept whole or not at all, and harms nobody: each operation checks its run's epoch.
        """
        if self._closed:
            return
        self._closed = True
        with trio.move_on_after(CLOSING_PATIENCE, shield=True):
            try:
                await self._writes.finish_queued()
                await trio.to_thread.run_sync(self._reader.close, limiter=self._reads, abandon_on_cancel=True)
                await self._writes.close(partial(_leave, holder=self._holder.id))
            finally:
                self._holder.release()

    def _alive(self, connection: sqlite3.Connection) -> Sequence[str]:
        """Every holder that is not gone; what the others left is removed."""
        known = {holder for (holder,) in connection.execute("SELECT id FROM holders")} | self._holders.files()
        alive = [self._holder.id]
        for holder in known - {self._holder.id}:
            if self._holders.is_gone(holder):
                self._holders.remove(holder)
                _leave(connection, holder)
            else:
                alive.append(holder)
        return alive

    async def _write(self, work: Work[T]) -> T:
        return await self._writes.do(work)

    async def _read(self, work: Work[T]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise StoreFailed(f"the store {self.path} is closed; open it again")
        try:
            # A caller that goes leaves its thread, which keeps its place until it ends: one at a time uses the connection.
            return await trio.to_thread.run_sync(
                partial(_in_one_state, self._reader, work), limiter=self._reads, abandon_on_cancel=True
            )
        except sqlite3.Error as error:
            raise failed(error, str(self.path)) from error


def _open(
    path: str | PathLike[str], durability: Durability, max_bytes: int | None, clock: Callable[[], float]
) -> tuple[Path, sqlite3.Connection, sqlite3.Connection, Holders, Holder]:
    # The same file under two names must have one folder of locks.
    place = Path(path).resolve()
    try:
        check(place)
        holders = Holders(place)
        with holders.opening():
            writer = open_writer(place, durability, max_bytes)
            try:
                holder = _enter(writer, holders, clock())
                try:
                    return place, writer, open_reader(place), holders, holder
                except BaseException:
                    holder.release()
                    raise
            except BaseException:
                writer.close()
                raise
    except sqlite3.Error as error:
        raise failed(error, str(place)) from error
    except OSError as error:
        message = (
            f"the store {place} cannot be opened: {error.strerror or error}; give a file that this process may write"
        )
        raise StoreFailed(message) from error


def _enter(connection: sqlite3.Connection, holders: Holders, now: float) -> Holder:
    # In a transaction, which keeps those out who look for holders that are gone.
    connection.execute("BEGIN IMMEDIATE")
    holder = holders.enter()
    try:
        connection.execute("INSERT INTO holders VALUES (?, ?)", (holder.id, now))
        connection.execute("COMMIT")
    except BaseException:
        holder.release()
        raise
    return holder


def _leave(connection: sqlite3.Connection, holder: str) -> None:
    drop_claims(connection, holder)
    connection.execute("DELETE FROM holders WHERE id = ?", (holder,))


def _in_one_state(connection: sqlite3.Connection, work: Work[T]) -> T:
    """Run a reading of several statements in one state of the file."""
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        if connection.in_transaction:  # an error of the disk has ended it
            connection.execute("ROLLBACK")
