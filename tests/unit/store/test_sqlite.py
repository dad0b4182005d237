"""The SQLite store keeps every store's promises."""

from pathlib import Path
from typing import Any

import pytest

from motet.store.sqlite import SqliteStore
from motet.testing.contracts_store import StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "runs.db"

    async def make_store(self, **bounds: Any) -> SqliteStore:
        return await SqliteStore.open(self.path, clock=self.clock, durability="normal", **bounds)

    async def reopen(self, store: Any) -> SqliteStore:
        await store.aclose()
        return await self.make_store()

    async def second(self, store: Any) -> SqliteStore:
        return await self.make_store()
