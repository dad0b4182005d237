"""The store of `motet serve`: from the words of the command line to an open store. What is kept is the store's business."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

import trio
from cyclopts import Parameter

from motet.errors import StoreFailed
from motet_server.cli import values
from motet_server.cli.exits import UsageError
from motet_server.cli.text import count, one_line

if TYPE_CHECKING:
    from motet.ports import Store

FOR_EVER = "none"
"""The word for no bound on age."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Words as they stand on the command line; None where nothing was said."""

    store: Annotated[str | None, Parameter(name="--store")] = None
    """SQLite file that keeps runs, answers and quotas over a restart, made when it does not exist. Default: memory."""
    durability: Literal["full", "normal"] | None = None
    """What a power cut may take: nothing with full, the last moments with normal, which is quicker. Default: full."""
    retain_runs: str | None = None
    """Most runs to keep; ended ones go first. Default: 10000, in memory 1000."""
    retain_age: str | None = None
    """How long an ended run is kept, such as 12h, or none for no bound. Default: 7d, in memory none."""


def words(options: StoreOptions) -> list[str]:
    """The options as words of a command line again, for another process."""
    said = {f"--{field.name.replace('_', '-')}": getattr(options, field.name) for field in fields(options)}
    return [f"{name}={word}" for name, word in said.items() if word is not None]


async def open_store(options: StoreOptions) -> "Store":
    """The store that was asked for. Raises UsageError, which names the option."""
    runs = None if options.retain_runs is None else _runs(options.retain_runs)
    if options.store is None:
        if options.durability is not None:
            raise UsageError("--durability needs --store: what is in memory ends with the server")
        from motet.store import memory  # noqa: PLC0415 - a command loads what it needs

        await trio.lowlevel.checkpoint()
        return memory.MemoryStore(
            max_runs=memory.MAX_RUNS if runs is None else runs, max_age=_age(options.retain_age, None)
        )
    from motet.store import sqlite  # noqa: PLC0415

    try:
        return await sqlite.SqliteStore.open(
            options.store,
            durability=options.durability or "full",
            max_runs=sqlite.MAX_RUNS if runs is None else runs,
            max_age=_age(options.retain_age, sqlite.MAX_AGE),
        )
    except StoreFailed as error:
        raise UsageError(f"--store: {error.message}") from None
    except OSError as error:
        raise UsageError(f"--store: {options.store!r} cannot be used: {error.strerror or error}") from None
    except ValueError as error:  # a path that no file system takes
        raise UsageError(f"--store: {options.store!r} cannot be used: {error}") from None


def said(options: StoreOptions, continued: int) -> str:
    """The line at the start of the server: which file, and how many runs go on that an earlier server left."""
    runs = f"{count(continued, 'run')} continued" if continued else "no run to continue"
    return one_line(f"store {options.store}: {runs}")


def _runs(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 9 and int(word) >= 1):
        raise UsageError(f"--retain-runs: {word!r} is not a whole number from 1 to 999999999")
    return int(word)


def _age(word: str | None, default: float | None) -> float | None:
    if word is None:
        return default
    if word.lower() == FOR_EVER:
        return None
    try:
        age = values.duration("--retain-age", word)
    except UsageError as error:
        raise UsageError(f"{error}; or {FOR_EVER} for no bound") from None
    if not age:
        raise UsageError(f"--retain-age: {word} would keep nothing; give a time above 0, or {FOR_EVER} for no bound")
    return age
