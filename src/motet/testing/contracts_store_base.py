"""What the tests of stores share: how a store is made, opened again and shared, its clock, and records to keep. Knows no
store. Needs pytest."""
# ruff: noqa: S101 - asserting is what a contract suite does

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from motet.model.event import Event, MemberProgress
from motet.model.payload import Payload
from motet.model.result import RunResult
from motet.model.run import RunRecord
from motet.model.state import State
from motet.ports import Store

STARTED_AT = datetime(2024, 1, 2, 3, 4, 5, 678901, UTC)


def make_record(
    run_id: str,
    *,
    request_id: str = "",
    labels: Mapping[str, str] | None = None,
    tenant: str = "",
    session_id: str = "",
    attached: bool = False,
) -> RunRecord:
    """The record of a run that has just started."""
    return RunRecord(
        run_id=run_id,
        state=State.RUNNING,
        target="group",
        started_at=STARTED_AT,
        labels=labels or {},
        request_id=request_id,
        fingerprint="print" if request_id else "",
        session_id=session_id,
        tenant=tenant,
        attached=attached,
    )


def make_end(record: RunRecord, output: object = "answer") -> RunRecord:
    """The record of the same run when it has succeeded."""
    result = RunResult(
        run_id=record.run_id, state=State.SUCCEEDED, output=Payload.of(output), started_at=record.started_at
    )
    return replace(record, state=State.SUCCEEDED, ended_at=STARTED_AT, result=result)


def make_events(first: int, count: int, report: object = "report") -> list[Event]:
    """So many events, numbered from `first`."""
    detail = MemberProgress(Payload.of(report))
    return [Event(number, number / 8, detail, "group", "member") for number in range(first, first + count)]


class StoreTests:
    """What the subclass says of its store. It gives `clock` to each store that it makes."""

    now: float = STARTED_AT.timestamp()
    """The wall clock of the stores of one test."""

    def clock(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let the wall clock of the stores go on."""
        self.now += seconds

    async def make_store(self, **bounds: Any) -> Store:
        """An empty store; `bounds` has at most `max_runs` and `max_age`."""
        raise NotImplementedError

    async def reopen(self, store: Store) -> Store:
        """Close the store and open its data again. Overridden where a store keeps anything once it is closed."""
        raise NotImplementedError

    async def second(self, store: Store) -> Store:
        """One more store object on the data of this one, both open. Overridden where several can have the same data."""
        raise NotImplementedError

    @pytest.fixture
    def reopens(self) -> None:
        """For tests that close a store and open it again. Asked before they start: a test in trio skips with no reason."""
        if type(self).reopen is StoreTests.reopen:
            pytest.skip("this store keeps nothing once it is closed")

    @pytest.fixture
    def shares(self) -> None:
        """For tests of several store objects on the same data."""
        if type(self).second is StoreTests.second:
            pytest.skip("only one store object can have this store's data")

    async def keep(self, store: Store, run_id: str, *, end: bool = False, **own: Any) -> RunRecord:
        """Keep a run with these fields, ended where `end` says so."""
        record = make_record(run_id, **own)
        assert await store.create(record) is None
        if end:
            await store.finish(run_id, make_end(record))
        return record
