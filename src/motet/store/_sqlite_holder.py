"""Who holds runs: a file for each open store, locked by the kernel for as long as the store's process lives.

Knows nothing of runs. Why a lock and no heartbeat: docs/decisions/0011.
"""

import fcntl
import os
import secrets
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from motet.errors import StoreFailed

OPENING_PATIENCE: Final = 10.0
"""Seconds to wait for another process that opens the same file."""
_OPENING_PAUSE: Final = 0.01
_open: "weakref.WeakSet[Holder]" = weakref.WeakSet()


class Holders:
    """The folder of lock files beside a database."""

    def __init__(self, database: Path) -> None:
        self._folder = database.with_name(database.name + "-holders")

    @contextmanager
    def opening(self) -> Iterator[None]:
        """One process at a time prepares the file: SQLite does not wait where two change the journal's mode at once."""
        self._folder.mkdir(exist_ok=True)
        # flock and not an exclusive creation: nobody needs to clean up after a process that died here.
        file = os.open(self._folder / "opening", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end = time.monotonic() + OPENING_PATIENCE
            while not _lock(file):
                if time.monotonic() > end:
                    raise StoreFailed(f"another process has been opening {self._folder} for too long; try again later")
                time.sleep(_OPENING_PAUSE)
            yield
        finally:
            os.close(file)

    def enter(self) -> "Holder":
        """A new holder, whose lock is taken. To be called in a write transaction, as `is_gone`, which would take the file
        for abandoned before it is locked."""
        holder_id = secrets.token_hex(16)
        path = self._path(holder_id)
        # Python opens files close-on-exec: a program that is started here does not inherit the lock.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if not _lock(file):
            os.close(file)
            raise StoreFailed(f"{path} cannot be locked; keep the store on a local file system")
        return Holder(holder_id, path, file)

    def is_gone(self, holder_id: str) -> bool:
        """Whether its process has ended or it was closed. To be called in a write transaction: two who tested at once
        would take each other's test for the holder."""
        try:
            file = os.open(self._path(holder_id), os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            return _lock(file)
        finally:
            os.close(file)

    def remove(self, holder_id: str) -> None:
        """Remove the file of a holder that is gone."""
        self._path(holder_id).unlink(missing_ok=True)

    def files(self) -> set[str]:
        """Ids of all holders that have a file."""
        return {path.stem for path in self._folder.glob("*.lock")}

    def _path(self, holder_id: str) -> Path:
        return self._folder / f"{holder_id}.lock"


class Holder:
    """A lock that is held until `release`, or until this process is gone."""

    def __init__(self, holder_id: str, path: Path, file: int) -> None:
        self.id = holder_id
        self._path = path
        self._file: int | None = file
        _open.add(self)

    def release(self) -> None:
        """Give the lock back. Without effect when it is released already."""
        if self._file is not None:
            # The file goes first: nobody finds one that is neither locked nor abandoned. Without it the holder is gone,
            # so what fails here loses nothing.
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self.abandon()

    def abandon(self) -> None:
        """Close the file and nothing else. The lock stays with whichever process has it open too."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_in_child() -> None:
    # A forked child shares the open file, and would keep its parent's lock when the parent is gone.
    for holder in list(_open):
        holder.abandon()


os.register_at_fork(after_in_child=_forget_in_child)
