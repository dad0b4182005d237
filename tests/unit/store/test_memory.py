"""The memory store: the contract of stores, and bounds of its own."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from motet.errors import Exhausted, InvalidRequest, NotFound
from motet.model.event import Detail, Event, GroupEnded, GroupStarted, MemberEnded, RunStarted
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.quota_use import QuotaUse
from motet.model.result import GroupResult
from motet.model.run import RunQuery
from motet.model.state import State
from motet.ports import Busy, Claimed, Replayed, Store
from motet.store import MemoryStore
from motet.store._memory_keys import OVERHEAD
from motet.testing.contracts_store import STARTED_AT, StoreContract, make_end, make_events, make_record
from motet.testing.contracts_store_keys import make_entry


class TestMemoryStoreKeepsTheContract(StoreContract):
    async def make_store(self, **bounds: Any) -> Store:
        return MemoryStore(**bounds, clock=self.clock)


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


async def test_a_stop_asked_for_an_unknown_run_is_not_found_and_none_is_adopted() -> None:
    store = MemoryStore()
    await store.create(make_record("a"))
    with pytest.raises(NotFound):
        await store.ask_stop("b")
    assert not store.shared
    assert not await store.adopt()


async def claimed(store: MemoryStore, key: str) -> int:
    claim = await store.claim(key, "print")
    assert isinstance(claim, Claimed)
    return claim.epoch


async def answer(store: MemoryStore, key: str, size: int = 1, ttl: float = 60.0) -> None:
    outcome = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of("x" * size))
    await store.settle(key, await claimed(store, key), outcome, ttl)


async def test_answers_beyond_their_number_are_forgotten_the_oldest_first_and_claims_never() -> None:
    store = MemoryStore(max_answers=2)
    claims = [await claimed(store, f"claim{number}") for number in range(5)]
    for key in "abc":
        await answer(store, key)
    assert isinstance(await store.claim("c", "print"), Replayed)
    assert isinstance(await store.claim("b", "print"), Replayed)
    assert isinstance(await store.claim("a", "print"), Claimed)
    assert [await store.claim(f"claim{number}", "print") for number in range(5)] == [Busy()] * 5
    assert len(set(claims)) == 5


async def test_answers_beyond_the_bytes_are_forgotten_but_for_the_newest() -> None:
    store = MemoryStore(max_bytes=1000)
    await answer(store, "a", 500)
    await answer(store, "b", 5000)
    assert isinstance(await store.claim("b", "print"), Replayed)
    await answer(store, "c", 500)
    assert isinstance(await store.claim("c", "print"), Replayed)
    assert [isinstance(await store.claim(key, "print"), Claimed) for key in "ab"] == [True, True]


async def test_an_answer_that_has_run_out_gives_its_room_back() -> None:
    now = 0.0
    store = MemoryStore(max_bytes=1000, clock=lambda: now)
    for _ in range(5):
        await answer(store, "a", 700, ttl=1.0)
        now += 2
    await answer(store, "b", 500, ttl=10.0)
    await answer(store, "c", 10, ttl=10.0)
    assert isinstance(await store.claim("b", "print"), Replayed)


async def test_maps_that_have_no_copy_of_their_own_are_copied_too() -> None:
    store = MemoryStore()
    inner = Outcome(member="m", agent="a", state=State.FAILED, failure=Failure("R", "m", {"list": [1]}))
    group = GroupResult(name="g", state=State.FAILED, outcomes=(inner,), metadata=MappingProxyType({"a": 1}))
    outcome = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of("x"), nested=(group,))
    await store.settle("k", await claimed(store, "k"), outcome, 60.0)
    for _ in range(2):
        claim = await store.claim("k", "print")
        assert isinstance(claim, Replayed)
        assert claim.outcome == outcome
        failure = claim.outcome.nested[0]["m"].failure
        assert failure is not None
        failure.details["list"].append(2)


async def test_sessions_beyond_their_number_are_forgotten_the_longest_unused_first() -> None:
    store = MemoryStore(max_sessions=2)
    await store.remember("a", [make_entry("a")], 5)
    await store.remember("b", [make_entry("b")], 5)
    await store.session("a")
    await store.remember("c", [make_entry("c")], 5)
    assert [len(await store.session(session)) for session in "abc"] == [1, 0, 1]


async def test_sessions_beyond_the_bytes_are_forgotten_but_for_the_newest() -> None:
    store = MemoryStore(max_bytes=3000)
    for session in "abc":
        await store.remember(session, [make_entry("x" * 1000)], 5)
    assert [len(await store.session(session)) for session in "abc"] == [0, 1, 1]
    await store.remember("big", [make_entry("x" * 9000)], 5)
    assert [len(await store.session(session)) for session in ("b", "c", "big")] == [0, 0, 1]


async def test_a_session_that_keeps_nothing_is_none() -> None:
    store = MemoryStore(max_sessions=1)
    await store.remember("a", [make_entry("a")], 5)
    await store.remember("b", [make_entry("b")], 0)
    assert not await store.session("b")
    assert await store.session("a")
    await store.remember("a", [], 0)
    assert not await store.session("a")


async def test_windows_of_tenants_who_never_come_back_are_forgotten_too() -> None:
    store = MemoryStore()
    for start in (0.0, 3600.0, 7200.0):
        await store.use([QuotaUse(tenant=f"t{start}", window="hour", start=start, calls=1)])
    kept = await store.use([QuotaUse(tenant=f"t{start}", window="hour", start=start) for start in (0.0, 3600.0)])
    assert [use.calls for use in kept] == [0, 1]


async def test_asking_for_what_a_tenant_used_keeps_nothing() -> None:
    store = MemoryStore()
    await store.use([QuotaUse(tenant="t", window="hour", start=0.0, calls=1)])
    for start in (3600.0, 7200.0, 10800.0):
        await store.use([QuotaUse(tenant="t", window="hour", start=start)])
    (kept,) = await store.use([QuotaUse(tenant="t", window="hour", start=0.0)])
    assert kept.calls == 1


async def test_a_clock_that_goes_back_forgets_no_run() -> None:
    now = 1000.0
    store = MemoryStore(max_age=10.0, clock=lambda: now)
    await store.create(make_record("a"))
    await store.finish("a", make_end(make_record("a")))
    now = 0.0
    await store.create(make_record("b"))
    assert await store.get("a") is not None


@pytest.mark.parametrize("bound", ["max_runs", "max_events", "max_bytes", "max_answers", "max_sessions"])
def test_a_bound_below_one_is_refused(bound: str) -> None:
    options: dict[str, Any] = {bound: 0}
    with pytest.raises(ValueError, match=bound):
        MemoryStore(**options)


@pytest.mark.parametrize("age", [-1.0, float("nan")])
def test_an_age_that_is_none_is_refused(age: float) -> None:
    with pytest.raises(ValueError, match="max_age"):
        MemoryStore(max_age=age)
