"""What every store promises of runs and their events, as tests. Needs pytest and pytest-trio."""
# ruff: noqa: S101 - asserting is what a contract suite does

from typing import Any

import pytest
import trio

from motet.errors import Exhausted, InvalidRequest, LeaseLost, NotFound
from motet.model.run import RunQuery, RunRecord
from motet.model.state import State
from motet.testing.contracts_store_base import StoreTests, make_end, make_events, make_record


class RunTests(StoreTests):
    """Runs, events, lists and bounds of one store object."""

    async def test_a_run_is_given_back_as_it_was_kept(self) -> None:
        store = await self.make_store()
        own: dict[str, Any] = {"labels": {"team": "a"}, "tenant": "t", "session_id": "s", "attached": True}
        record = await self.keep(store, "r", request_id="key", **own)
        assert await store.get("r") == record
        assert (await store.list(RunQuery())).runs == (record,)
        await store.finish("r", make_end(record))
        assert await store.get("r") == make_end(record)
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
        with pytest.raises(NotFound):
            await store.ask_stop("r")
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

    @pytest.mark.parametrize("epoch", [0, 2])
    async def test_a_write_with_another_epoch_changes_nothing(self, epoch: int) -> None:
        store = await self.make_store()
        record = await self.keep(store, "r")
        await store.append("r", make_events(1, 2), epoch=1)
        before = await store.get("r")
        with pytest.raises(LeaseLost):
            await store.append("r", make_events(3, 1), epoch=epoch)
        with pytest.raises(LeaseLost):
            await store.finish("r", make_end(record), epoch=epoch)
        assert await store.get("r") == before
        assert len(await store.events("r", 0, 100)) == 2
        await store.append("r", make_events(3, 1), epoch=1)
        await store.finish("r", make_end(record), epoch=1)
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

    async def test_each_tenant_has_request_ids_of_its_own(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r", request_id="key")
        first = await self.keep(store, "a", request_id="key", tenant="a")
        await self.keep(store, "b", request_id="key", tenant="b")
        assert await store.create(make_record("again", request_id="key", tenant="a")) == first
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

    async def test_ended_runs_are_forgotten_by_age_and_running_ones_are_not(self) -> None:
        store = await self.make_store(max_age=60.0)
        await self.keep(store, "running")
        await self.keep(store, "old", request_id="key", end=True)
        self.advance(59)
        await self.keep(store, "young")
        assert await store.get("old") is not None
        self.advance(2)
        await self.keep(store, "new", request_id="key")
        assert await store.get("old") is None
        assert [record.run_id for record in (await store.list(RunQuery())).runs] == ["new", "young", "running"]
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
