"""What every store promises of who holds a run: adoption, epochs, stops that were asked for, and that what was
acknowledged is there when the store is opened again. Needs pytest and pytest-trio."""
# ruff: noqa: S101 - asserting is what a contract suite does

from dataclasses import replace

import pytest
import trio

from motet.errors import LeaseLost
from motet.model.payload import Payload
from motet.model.plan import Group, Limits, Member, RetryPolicy
from motet.model.run import RunQuery, RunRequest
from motet.ports import Adopted, Store
from motet.testing.contracts_store_base import StoreTests, make_end, make_events, make_record

REQUEST = RunRequest(
    target=Group("group", (Member("a", retry=RetryPolicy(max_attempts=3)), "b"), limits=Limits(max_calls=5)),
    input=Payload.of(b"\x00\xff"),
    variables={"n": Payload.of(1)},
    timeout=2.5,
    labels={"team": "a"},
)


class HolderTests(StoreTests):
    """Runs that change hands."""

    async def test_nothing_is_adopted_while_its_holder_is_open(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r")
        assert list(await store.adopt()) == []
        await store.aclose()

    @pytest.mark.usefixtures("shares")
    async def test_nothing_is_adopted_from_another_that_is_open(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r")
        other = await self.second(store)
        assert store.shared
        assert other.shared
        assert list(await other.adopt()) == []
        await other.aclose()
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_what_was_acknowledged_is_there_when_the_store_is_opened_again(self) -> None:
        store = await self.make_store()
        running = await self.keep(store, "running", labels={"x": "1"})
        ended = await self.keep(store, "ended", request_id="key")
        events = make_events(1, 3, b"\x00")
        await store.append("running", events)
        await store.append("ended", events)
        await store.finish("ended", make_end(ended, {"n": 1e100}))
        store = await self.reopen(store)
        assert await store.get("running") == replace(running, last_sequence=3)
        assert await store.get("ended") == replace(make_end(ended, {"n": 1e100}), last_sequence=3)
        assert list(await store.events("ended", 1, 100)) == events[1:]
        assert list(await store.events("running", 0, 100)) == events
        assert [record.run_id for record in (await store.list(RunQuery())).runs] == ["ended", "running"]
        repeat = await store.create(make_record("again", request_id="key"))
        assert repeat is not None
        assert repeat.run_id == "ended"
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_running_runs_of_a_holder_that_is_gone_are_adopted_with_all_they_had(self) -> None:
        store = await self.make_store()
        record = make_record("r", tenant="t", attached=True, session_id="s", labels={"x": "1"})
        assert await store.create(record, REQUEST) is None
        await store.append("r", make_events(1, 2))
        await self.keep(store, "ended", end=True)
        store = await self.reopen(store)
        (adopted,) = await store.adopt()
        assert adopted == Adopted(replace(record, last_sequence=2), REQUEST, adopted.epoch)
        assert adopted.epoch > 1
        assert list(await store.events("r", 0, 100)) == make_events(1, 2)
        assert list(await store.adopt()) == [], "it is held now"
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_a_request_that_has_no_form_is_adopted_as_none(self) -> None:
        store = await self.make_store()
        unkeepable = Group("group", ("a",), metadata={"made": object()})
        assert await store.create(make_record("with"), RunRequest(target=unkeepable)) is None
        await self.keep(store, "without")
        store = await self.reopen(store)
        assert [(run.record.run_id, run.request) for run in await store.adopt()] == [("with", None), ("without", None)]
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_adoption_goes_from_the_oldest_in_steps_of_a_limit(self) -> None:
        store = await self.make_store()
        for number in range(5):
            await self.keep(store, f"r{number}")
        store = await self.reopen(store)
        steps = [[run.record.run_id for run in await store.adopt(2)] for _ in range(4)]
        assert steps == [["r0", "r1"], ["r2", "r3"], ["r4"], []]
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_who_held_a_run_before_writes_it_no_more(self) -> None:
        store = await self.make_store()
        record = await self.keep(store, "r")
        await store.append("r", make_events(1, 1))
        store = await self.reopen(store)
        (adopted,) = await store.adopt()
        with pytest.raises(LeaseLost):
            await store.append("r", make_events(2, 1), epoch=1)
        with pytest.raises(LeaseLost):
            await store.finish("r", make_end(record), epoch=1)
        await store.append("r", make_events(2, 1), epoch=adopted.epoch)
        assert len(await store.events("r", 0, 100)) == 2
        await store.finish("r", make_end(record), epoch=adopted.epoch)
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_each_adoption_has_a_higher_epoch(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r")
        epochs = [1]
        for _ in range(3):
            store = await self.reopen(store)
            (adopted,) = await store.adopt()
            epochs.append(adopted.epoch)
        assert epochs == sorted(set(epochs))
        await store.aclose()

    @pytest.mark.usefixtures("shares")
    async def test_a_run_that_another_holds_is_not_written(self) -> None:
        store = await self.make_store()
        record = await self.keep(store, "r")
        other = await self.second(store)
        with pytest.raises(LeaseLost):
            await other.append("r", make_events(1, 1))
        with pytest.raises(LeaseLost):
            await other.finish("r", make_end(record))
        assert await other.get("r") == record
        await store.append("r", make_events(1, 1))
        assert list(await other.events("r", 0, 100)) == make_events(1, 1)
        await store.finish("r", make_end(record))
        assert await other.get("r") == replace(make_end(record), last_sequence=1)
        await other.aclose()
        await store.aclose()

    @pytest.mark.usefixtures("reopens", "shares")
    async def test_of_two_who_adopt_one_gets_each_run(self) -> None:
        store = await self.make_store()
        run_ids = [f"r{number}" for number in range(20)]
        for run_id in run_ids:
            await self.keep(store, run_id)
        store = await self.reopen(store)
        other = await self.second(store)
        got: list[str] = []

        async def adopt(adopter: Store) -> None:
            while runs := await adopter.adopt(3):
                got.extend(run.record.run_id for run in runs)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(adopt, store)
            nursery.start_soon(adopt, other)
        assert sorted(got) == sorted(run_ids)
        await other.aclose()
        await store.aclose()

    @pytest.mark.usefixtures("shares")
    async def test_the_runs_of_one_that_closes_go_to_another(self) -> None:
        store = await self.make_store()
        other = await self.second(store)
        await self.keep(other, "r")
        assert list(await store.adopt()) == []
        await other.aclose()
        (adopted,) = await store.adopt()
        assert adopted.record.run_id == "r"
        await store.aclose()

    @pytest.mark.usefixtures("shares")
    async def test_a_request_id_is_known_to_all_who_share_the_store(self) -> None:
        store = await self.make_store()
        other = await self.second(store)
        answers = [
            await store.create(make_record("r", request_id="key")),
            await other.create(make_record("s", request_id="key")),
        ]
        assert answers == [None, make_record("r", request_id="key")]
        await other.aclose()
        await store.aclose()

    async def test_runs_that_somebody_asked_to_stop_are_told_until_they_end(self) -> None:
        store = await self.make_store()
        record = await self.keep(store, "r")
        await self.keep(store, "s")
        assert list(await store.asked_stops()) == []
        await store.ask_stop("r")
        await store.ask_stop("r")
        assert list(await store.asked_stops()) == ["r"]
        await store.finish("r", make_end(record))
        assert list(await store.asked_stops()) == []
        await store.ask_stop("r")
        assert list(await store.asked_stops()) == []
        await store.aclose()

    @pytest.mark.usefixtures("shares")
    async def test_a_stop_is_told_to_who_holds_the_run_alone(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r")
        other = await self.second(store)
        await other.ask_stop("r")
        assert list(await other.asked_stops()) == []
        assert list(await store.asked_stops()) == ["r"]
        await other.aclose()
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_a_stop_that_was_asked_before_reaches_who_adopts(self) -> None:
        store = await self.make_store()
        await self.keep(store, "r")
        await store.ask_stop("r")
        store = await self.reopen(store)
        assert list(await store.asked_stops()) == [], "nobody holds it yet"
        await store.adopt()
        assert list(await store.asked_stops()) == ["r"]
        await store.aclose()
