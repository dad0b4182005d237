"""What every store promises, as tests: subclass `StoreContract` as `Test...` beside the store. Needs pytest, pytest-trio."""
# ruff: noqa: S101 - asserting is what a contract suite does

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from motet.errors import Exhausted, InvalidRequest, NotFound
from motet.model.event import Event, MemberProgress
from motet.model.payload import Payload
from motet.model.result import RunResult
from motet.model.run import RunQuery, RunRecord
from motet.model.state import State
from motet.ports import Store

STARTED_AT = datetime(2024, 1, 2, 3, 4, 5, 678901, UTC)


def make_record(run_id: str, *, request_id: str = "", labels: Mapping[str, str] | None = None) -> RunRecord:
    """The record of a run that has just started."""
    return RunRecord(
        run_id=run_id,
        state=State.RUNNING,
        target="group",
        started_at=STARTED_AT,
        labels=labels or {},
        request_id=request_id,
        fingerprint="print" if request_id else "",
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


class StoreContract:
    """Tests of one kind of store. The subclass says how to make it."""

    async def make_store(self, **bounds: Any) -> Store:
        """An empty store; `bounds` has at most `max_runs` and `max_events`."""
        raise NotImplementedError

    async def keep(self, store: Store, run_id: str, *, end: bool = False, **own: Any) -> RunRecord:
        """Keep a run with these fields, ended where `end` says so."""
        record = make_record(run_id, **own)
        assert await store.create(record) is None
        if end:
            await store.finish(run_id, make_end(record))
        return record

    async def test_a_run_is_given_back_as_it_was_kept(self) -> None:
        store = await self.make_store()
        record = await self.keep(store, "r", labels={"team": "a"}, request_id="key")
        assert await store.get("r") == record
        await store.aclose()

    async def test_a_run_that_is_not_kept_is_none(self) -> None:
        store = await self.make_store()
        assert await store.get("r") is None
        await store.aclose()

    async def test_what_is_asked_of_a_run_that_is_not_kept_is_not_found(self) -> None:
        store = await self.make_store()
        with pytest.raises(NotFound):
            await store.append("r", make_events(1, 1))
        with pytest.raises(NotFound):
            await store.finish("r", make_end(make_record("r")))
        with pytest.raises(NotFound):
            await store.events("r", 0, 10)
        await store.aclose()

    async def test_events_are_given_back_from_any_cursor_in_pieces(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r")
        events = make_events(1, 5)
        await store.append("r", events[:2])
        await store.append("r", [])
        await store.append("r", events[2:])
        assert list(await store.events("r", 0, 100)) == events
        assert list(await store.events("r", 1, 2)) == events[1:3]
        assert list(await store.events("r", 5, 100)) == []
        assert list(await store.events("r", 99, 100)) == []
        await store.aclose()

    async def test_the_record_tells_the_last_sequence_that_can_be_replayed(self) -> None:
        store = await self.make_store()
        record = await self.keep(store, "r")
        await store.append("r", make_events(1, 3))
        kept = await store.get("r")
        assert kept is not None
        assert kept.last_sequence == 3
        await store.finish("r", make_end(record))
        kept = await store.get("r")
        assert kept is not None
        assert kept.last_sequence == 3
        assert len(await store.events("r", 0, 100)) == 3
        await store.aclose()

    async def test_events_that_leave_a_gap_are_refused_whole(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r")
        await store.append("r", make_events(1, 2))
        for wrong in (make_events(4, 1), make_events(2, 2), make_events(3, 1) + make_events(5, 1)):
            with pytest.raises(ValueError, match="gap"):
                await store.append("r", wrong)
        assert len(await store.events("r", 0, 100)) == 2
        await store.aclose()

    async def test_a_finished_run_has_its_result(self) -> None:
        store = await self.make_store()
        end = make_end(await self.keep(store, "r", request_id="key"))
        await store.finish("r", end)
        assert await store.get("r") == end
        await store.aclose()

    async def test_a_repeat_of_a_request_id_keeps_nothing_and_gives_the_first_run(self) -> None:
        store = await self.make_store()
        record = await self.keep(store, "r", request_id="key")
        assert await store.create(make_record("s", request_id="key")) == record
        assert await store.get("s") is None
        await store.finish("r", make_end(record))
        assert await store.create(make_record("s", request_id="key")) == make_end(record)
        await store.aclose()

    async def test_runs_without_a_request_id_are_never_repeats(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r")
        await self.keep(store, "s")
        assert len((await store.list(RunQuery())).runs) == 2
        await store.aclose()

    async def test_of_many_who_create_under_one_request_id_one_succeeds(self) -> None:
        store = await self.make_store()
        answers: list[RunRecord | None] = []

        async def create(number: int) -> None:
            answers.append(await store.create(make_record(f"r{number}", request_id="key")))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(create, number)
        assert answers.count(None) == 1
        (first,) = (await store.list(RunQuery())).runs
        assert {answer.run_id for answer in answers if answer} == {first.run_id}
        await store.aclose()

    async def test_a_list_is_newest_first_and_without_results(self) -> None:
        store = await self.make_store()
        for run_id in "abc":
            await self.keep(store, run_id, end=True)
        page = await store.list(RunQuery())
        assert [record.run_id for record in page.runs] == ["c", "b", "a"]
        assert all(record.result is None and record.state is State.SUCCEEDED for record in page.runs)
        assert page.next_page_token == ""
        await store.aclose()

    async def test_pages_follow_one_another_without_repeats_while_new_runs_come(self) -> None:
        store = await self.make_store()
        for number in range(5):
            await self.keep(store, f"r{number}")
        seen: list[str] = []
        token = ""
        for turn in range(10):
            page = await store.list(RunQuery(limit=2, page_token=token))
            seen += [record.run_id for record in page.runs]
            token = page.next_page_token
            if not token:
                break
            await self.keep(store, f"new{turn}")
        assert seen == ["r4", "r3", "r2", "r1", "r0"]
        await store.aclose()

    async def test_a_list_is_filtered_by_state_and_by_all_labels(self) -> None:
        store = await self.make_store()
        await self.keep(store, "a", labels={"x": "1", "y": "1"})
        await self.keep(store, "b", labels={"x": "1"}, end=True)
        await self.keep(store, "c", labels={"x": "2", "y": "1"}, end=True)

        async def listed(**query: Any) -> str:
            return "".join(record.run_id for record in (await store.list(RunQuery(**query))).runs)

        assert await listed(labels={"x": "1"}) == "ba"
        assert await listed(labels={"x": "1", "y": "1"}) == "a"
        assert await listed(states=frozenset({State.SUCCEEDED})) == "cb"
        assert await listed(states=frozenset({State.RUNNING, State.FAILED})) == "a"
        assert await listed(states=frozenset({State.SUCCEEDED}), labels={"y": "1"}) == "c"
        await store.aclose()

    async def test_a_page_that_ends_with_the_last_match_has_no_token(self) -> None:
        store = await self.make_store()
        await self.keep(store, "old")
        for run_id in "ab":
            await self.keep(store, run_id, labels={"x": "1"})
        page = await store.list(RunQuery(limit=2, labels={"x": "1"}))
        assert len(page.runs) == 2
        assert page.next_page_token == ""
        await store.aclose()

    @pytest.mark.parametrize("token", ["x", "!", "cnVuOng=", "\ud800", "ä"])
    async def test_a_page_token_that_was_never_given_out_is_refused(self, token: str) -> None:
        store = await self.make_store()
        with pytest.raises(InvalidRequest, match="page_token"):
            await store.list(RunQuery(page_token=token))
        await store.aclose()

    async def test_ended_runs_make_room_the_one_that_ended_first_before_others(self) -> None:
        store = await self.make_store(max_runs=3)
        early = await self.keep(store, "early", request_id="key")
        late = await self.keep(store, "late")
        await self.keep(store, "running")
        await store.finish("late", make_end(late))
        await store.finish("early", make_end(early))
        await self.keep(store, "new")
        assert await store.get("late") is None
        await self.keep(store, "newer")
        assert await store.get("early") is None
        assert await store.get("running") is not None
        await store.aclose()

    async def test_a_forgotten_run_gives_its_request_id_free(self) -> None:
        store = await self.make_store(max_runs=1)
        await self.keep(store, "r", request_id="key", end=True)
        await self.keep(store, "s", end=True)
        await self.keep(store, "t", request_id="key")
        await store.aclose()

    async def test_a_store_full_of_running_runs_says_when_to_try_again(self) -> None:
        store = await self.make_store(max_runs=2)
        await self.keep(store, "a", request_id="key")
        b = await self.keep(store, "b")
        with pytest.raises(Exhausted) as caught:
            await store.create(make_record("c"))
        assert caught.value.reason == "TOO_MANY_RUNS"
        assert caught.value.retry_after is not None
        assert await store.create(make_record("d", request_id="key")) is not None
        await store.finish("b", make_end(b))
        await self.keep(store, "c")
        await store.aclose()

    async def test_a_cancelled_call_changes_nothing(self) -> None:
        store = await self.make_store()
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.create(make_record("r", request_id="key"))
        assert scope.cancelled_caught
        assert await store.get("r") is None
        await self.keep(store, "s", request_id="key")
        await store.aclose()
