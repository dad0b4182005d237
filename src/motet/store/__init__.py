"""Where background runs, answers, quotas and sessions are kept: one file for each store. SQLite is loaded when it is
first asked for."""

from typing import TYPE_CHECKING, Any

from motet.store.memory import MemoryStore

if TYPE_CHECKING:
    from motet.store.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore"]


def __getattr__(name: str) -> Any:
    if name != "SqliteStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from motet.store.sqlite import SqliteStore  # noqa: PLC0415 - programs without it do not pay for its import

    return SqliteStore
