"""The memory store: the contract of stores, and bounds of its own."""

from dataclasses import replace
from typing import Any

import pytest

from motet.errors import Exhausted, InvalidRequest
from motet.model.event import Detail, Event, GroupEnded, GroupStarted, MemberEnded, RunStarted
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.result import GroupResult
from motet.model.run import RunQuery
from motet.model.state import State
from motet.ports import Store
from motet.store import MemoryStore
from motet.store.memory import OVERHEAD
from motet.testing.contracts_store import STARTED_AT, StoreContract, make_end, make_events, make_record


class TestMemoryStoreKeepsTheContract(StoreContract):
    async def make_store(self, **bounds: Any) -> Store:
        return MemoryStore(**bounds)


async def test_events_beyond_the_bound_make_the_store_forget_ended_runs() -> None:
    store = MemoryStore(max_events=10)
    for run_id in ("a", "b"):
        await store.create(make_record(run_id))
        await store.append(run_id, make_events(1, 5))
        await store.finish(run_id, make_end(make_record(run_id)))
    assert await store.get("a") is not None
    await store.create(make_record("c"))
    await store.append("c", make_events(1, 1))
    assert await store.get("a") is None
    assert await store.get("b") is not None


async def test_a_running_run_keeps_all_its_events_and_no_new_run_is_taken_meanwhile() -> None:
    store = MemoryStore(max_events=10)
    await store.create(make_record("a"))
    await store.append("a", make_events(1, 25))
    assert len(await store.events("a", 0, 100)) == 25
    with pytest.raises(Exhausted):
        await store.create(make_record("b"))
    await store.finish("a", make_end(make_record("a")))
    assert await store.get("a") is not None, "a run outlives its own end"
    assert await store.create(make_record("b")) is None
    assert await store.get("a") is None


async def test_reports_beyond_the_bytes_make_the_store_forget_ended_runs() -> None:
    store = MemoryStore(max_bytes=10_000)
    for run_id in ("a", "b"):
        await store.create(make_record(run_id))
        await store.append(run_id, make_events(1, 1, "x" * 4000))
        await store.finish(run_id, make_end(make_record(run_id)))
    await store.create(make_record("c"))
    await store.append("c", make_events(1, 1, "x" * 4000))
    assert [record.run_id for record in (await store.list(RunQuery())).runs] == ["c", "b"]


async def test_an_output_that_event_and_result_share_is_counted_once() -> None:
    store = MemoryStore(max_bytes=10_000 + 10 * OVERHEAD)
    output = Payload.of("x" * 9000)
    outcome = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=output)
    await store.create(make_record("a"))
    await store.append("a", [Event(1, 0.0, MemberEnded(outcome), "g", "m")])
    await store.finish("a", make_end(make_record("a"), output))
    await store.create(make_record("b"))
    await store.append("b", make_events(1, 1, "small"))
    assert await store.get("a") is not None


async def test_payloads_of_groups_and_of_nested_groups_count() -> None:
    store = MemoryStore(max_bytes=20_000)
    inner = GroupResult(name="i", state=State.SUCCEEDED, aggregate=Payload.of("x" * 7000), parent="g/m")
    outcome = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of("x"), nested=(inner,))
    group = GroupResult(name="g", state=State.SUCCEEDED, aggregate=Payload.of("x" * 7000), outcomes=(outcome,))
    details: list[Detail] = [
        RunStarted("by-events", STARTED_AT, 1),
        GroupStarted(1, (("m", "a"),)),
        GroupEnded(inner),
        MemberEnded(outcome),
        GroupEnded(replace(group, outcomes=())),
    ]
    by_events, by_result = make_record("by-events"), make_end(make_record("by-result"))
    assert by_result.result is not None
    await store.create(by_events)
    await store.append("by-events", [Event(number, 0.0, detail) for number, detail in enumerate(details, 1)])
    await store.finish("by-events", make_end(by_events))
    await store.create(make_record("by-result"))
    await store.finish("by-result", replace(by_result, result=replace(by_result.result, groups=(group,))))
    assert [record.run_id for record in (await store.list(RunQuery())).runs] == ["by-result"]


async def test_forgetting_every_run_leaves_no_count_behind() -> None:
    store = MemoryStore(max_runs=1, max_events=7, max_bytes=3000)
    for number in range(50):
        await store.create(make_record(f"r{number}", request_id=f"key{number}"))
        await store.append(f"r{number}", make_events(1, 1 + number % 7, "x" * (number % 5)))
        await store.finish(f"r{number}", make_end(make_record(f"r{number}"), "y" * number))
    assert [record.run_id for record in (await store.list(RunQuery())).runs] == ["r49"]


async def test_an_ended_run_takes_no_more_events_and_no_second_end() -> None:
    store = MemoryStore()
    await store.create(make_record("a"))
    await store.finish("a", make_end(make_record("a")))
    with pytest.raises(ValueError, match="ended"):
        await store.append("a", make_events(1, 1))
    with pytest.raises(ValueError, match="ended"):
        await store.finish("a", make_end(make_record("a")))


async def test_a_record_that_is_not_of_the_end_of_the_run_is_refused() -> None:
    store = MemoryStore()
    await store.create(make_record("a"))
    with pytest.raises(ValueError, match="end of run a"):
        await store.finish("a", make_record("a"))
    with pytest.raises(ValueError, match="end of run a"):
        await store.finish("a", make_end(make_record("b")))


async def test_a_run_id_is_kept_once() -> None:
    store = MemoryStore()
    await store.create(make_record("a"))
    with pytest.raises(ValueError, match="kept already"):
        await store.create(make_record("a"))


async def test_a_page_of_no_runs_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        await MemoryStore().list(RunQuery(limit=0))


@pytest.mark.parametrize("bound", ["max_runs", "max_events", "max_bytes"])
def test_a_bound_below_one_is_refused(bound: str) -> None:
    with pytest.raises(ValueError, match=bound):
        MemoryStore(**{bound: 0})
