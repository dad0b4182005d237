"""The one writer of a SQLite store: what is asked for while a commit is under way is done in the next one, together.

Knows nothing of what is written. There is no task of its own, for which a nursery would be needed: whoever finds no commit
under way makes one, for all who wait, and then hands on to the first of those who came meanwhile.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import trio

from motet.errors import StoreFailed
from motet.store._sqlite_file import failed

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]

MAX_BATCH: Final = 500
"""Operations in a commit: one that lasts much longer than an fsync keeps other processes waiting for little gain."""
PATIENCE: Final = 30.0
"""Seconds that a commit may take before it is given up. Longer than SQLite waits for another process."""
_log = logging.getLogger("motet.store")


class Upkeep(Protocol):
    """What keeps the file small, in steps beside the writes."""

    def within(self, connection: sqlite3.Connection, changes: int) -> None:
        """In the transaction, after its operations, which changed so many rows."""
        ...

    def after(self, connection: sqlite3.Connection) -> None:
        """After the commit. Raises nothing: what was asked for is kept."""
        ...


@dataclass(frozen=True, slots=True)
class _Done:
    result: Any = None
    error: Exception | None = None


class _Operation:
    __slots__ = ("done", "leads", "outcome", "task", "work")

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.task: trio.lowlevel.Task | None = None
        """Waits in the queue; None before and after."""
        self.leads = False
        self.done = trio.Event()
        self.outcome = _Done()


class GroupCommit:
    """Runs operations in transactions, many in one, in the order in which they were asked for."""

    def __init__(self, connection: sqlite3.Connection, path: str, upkeep: Upkeep) -> None:
        self._connection = connection
        self._path = path
        self._upkeep = upkeep
        self._queue: dict[_Operation, None] = {}
        self._led = False
        self._closed = False
        self._idle = trio.Event()
        self._limiter = trio.CapacityLimiter(1)
        self.commits = 0
        """Transactions that were committed. Written by the thread, one at a time."""
        self.operations = 0
        """Operations in them, those included that were undone for an error of their own."""

    async def do(self, work: Work[T]) -> T:
        """Carry out an operation in a thread, durable when this returns. An error of its own undoes it alone.

        A caller that is cancelled in the queue takes its operation out; from then on it is carried out, and its caller
        has the result. Raises StoreFailed, with nothing of the operation kept, save when a commit takes longer than
        PATIENCE: then nobody can tell.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise StoreFailed(f"the store {self._path} is closed; open it again")
        operation = _Operation(work)
        self._queue[operation] = None
        if self._led:
            await self._wait_turn(operation)
        else:
            self._led = operation.leads = True
            # Others that are about to ask, in this same moment, come along.
            await trio.lowlevel.cancel_shielded_checkpoint()
        if operation.leads:
            await self._lead()
        with trio.CancelScope(shield=True):  # bounded: whoever leads gives up after PATIENCE, and tells all
            await operation.done.wait()
        if operation.outcome.error is not None:
            raise operation.outcome.error
        result: T = operation.outcome.result
        return result

    async def finish_queued(self) -> None:
        """Take nothing more, and wait for what is queued."""
        self._closed = True
        if self._led:
            await self._idle.wait()

    async def close(self, last: Work[object]) -> None:
        """Do a last thing, as well as it can be done, and close the connection."""
        await trio.to_thread.run_sync(self._close, last, limiter=self._limiter, abandon_on_cancel=True)

    async def _wait_turn(self, operation: _Operation) -> None:
        """Wait until the operation is taken into a batch, or its caller is to lead one."""

        def withdraw(_: object) -> trio.lowlevel.Abort:
            del self._queue[operation]
            return trio.lowlevel.Abort.SUCCEEDED

        # Not an Event: between its being set and the waiter's waking, a cancelled waiter's operation could be taken.
        operation.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(withdraw)

    async def _lead(self) -> None:
        batch = list(islice(self._queue, MAX_BATCH))
        for operation in batch:
            del self._queue[operation]
            _wake(operation)
        # Stays when there is no answer at all.
        outcomes: Sequence[_Done] = [_Done(error=self._too_slow()) for _ in batch]
        try:
            with trio.move_on_after(PATIENCE, shield=True):
                works = [operation.work for operation in batch]
                # Given up, the thread keeps its place in the limiter until it ends: never do two use the connection.
                outcomes = await trio.to_thread.run_sync(
                    self._commit, works, abandon_on_cancel=True, limiter=self._limiter
                )
        finally:
            for operation, outcome in zip(batch, outcomes, strict=True):
                operation.outcome = outcome
                operation.done.set()
            self._hand_on()

    def _hand_on(self) -> None:
        heir = next(iter(self._queue), None)
        if heir is None:
            self._led = False
            if self._closed:
                self._idle.set()
        else:
            heir.leads = True
            _wake(heir)

    def _too_slow(self) -> StoreFailed:
        return StoreFailed(
            f"the store {self._path} did not answer within {PATIENCE:g} s; whether it kept what it was given is not known"
        )

    # From here on in the thread.

    def _commit(self, works: Sequence[Work[Any]]) -> list[_Done]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            outcomes = [self._carry_out(work) for work in works]
            changes = connection.total_changes - before
            # Also where nothing was changed because there was no room: it may make some.
            if changes or any(isinstance(outcome.error, StoreFailed) for outcome in outcomes):
                kept = self._carry_out(lambda connection: self._upkeep.within(connection, changes))
                if kept.error is not None:
                    _log.warning("the store %s could not make room: %s", self._path, kept.error)
            connection.execute("COMMIT")
            self.commits += 1
            self.operations += len(works)
        except sqlite3.Error as error:
            # One error object for each caller: a traceback grows where it is raised.
            return [_Done(error=failed(error, self._path)) for _ in works]
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._upkeep.after(connection)
        return outcomes

    def _close(self, last: Work[object]) -> None:
        try:
            last(self._connection)
        except sqlite3.Error as error:
            _log.warning("the store %s could not be left tidily: %s", self._path, error)
        finally:
            self._connection.close()

    def _carry_out(self, work: Work[Any]) -> _Done:
        connection = self._connection
        connection.execute("SAVEPOINT operation")
        try:
            result = work(connection)
        except Exception as error:
            if not connection.in_transaction:  # so grave for SQLite that it has undone everything
                raise
            connection.execute("ROLLBACK TO operation")
            connection.execute("RELEASE operation")
            return _Done(error=self._meaning(error))
        connection.execute("RELEASE operation")
        return _Done(result)

    def _meaning(self, error: Exception) -> Exception:
        match error:
            case sqlite3.Error():
                return failed(error, self._path)
            case OSError():  # of the lock files beside it
                return StoreFailed(f"the store {self._path} cannot use its lock files: {error}")
            case _:
                return error


def _wake(operation: _Operation) -> None:
    if operation.task is not None:
        trio.lowlevel.reschedule(operation.task)
        operation.task = None
