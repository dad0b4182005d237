"""Which worker gets which call, and which workers are let in, without any network."""

from typing import Any

import pytest
import trio
import trio.testing

import motet
from motet.agents.remote import (
    DrainOrder,
    Hello,
    Lease,
    OfferedAgent,
    RemoteAgent,
    Replied,
    Workers,
    workers_for,
)
from motet.catalog import Catalog
from motet.errors import Exhausted, InvalidRequest, Unavailable
from motet.model.payload import Payload
from motet.testing.fakes import ScriptedAgent


async def test_no_worker_has_more_leases_than_its_capacity_for_an_agent_and_in_all(
    autojump_clock: object, stage: Any
) -> None:
    here = stage(RemoteAgent("shout"), RemoteAgent("sing"))
    agents = (OfferedAgent(name="shout", capacity=2), OfferedAgent(name="sing", capacity=2))
    worker = here.workers.connect(Hello(worker_id="w1", agents=agents, capacity=3))
    for text, agent in [("a", "shout"), ("b", "shout"), ("c", "shout"), ("d", "sing"), ("e", "sing")]:
        await here.call(text, agent)
    leases = {lease.ticket.call.text: lease for lease in worker.leases.values()}
    assert set(leases) == {"a", "b", "d"}
    for lease in leases.values():
        assert await worker.order() is lease
    await here.answer(worker, leases["d"])
    assert {lease.ticket.call.text for lease in worker.leases.values()} == {"a", "b", "e"}
    await here.answer(worker, leases["a"])
    assert {lease.ticket.call.text for lease in worker.leases.values()} == {"b", "c", "e"}


async def test_the_least_loaded_worker_gets_the_call_and_among_equals_the_one_idle_longest(
    autojump_clock: object, stage: Any, hello: Any
) -> None:
    here = stage()
    large = here.workers.connect(hello("large", capacity=4))
    here.workers.connect(hello("small", capacity=2))
    got = []
    for number in range(6):
        before = len(large.leases)
        await here.call(str(number))
        got.append("large" if len(large.leases) > before else "small")
    # 0/4 and 0/2: the first to come; 1/4 above 0/2; then 1/4 below 1/2; equal at 2/4 and 1/2; and what is left.
    assert got == ["large", "small", "large", "small", "large", "large"]


async def test_calls_given_back_keep_their_place_in_the_queue(autojump_clock: object, stage: Any, hello: Any) -> None:
    here = stage()
    first = here.workers.connect(hello("w1", replay_safe=True, capacity=2))
    for text in "abc":
        await here.call(text)
    await here.lease(first)
    here.workers.disconnect(first, "it broke")
    await here.call("d")
    assert [ticket.call.text for ticket in here.agents["shout"].desk.waiting] == ["a", "b", "c", "d"]


async def test_answers_of_an_old_connection_and_of_leases_that_are_over_find_nothing(
    autojump_clock: object, stage: Any, hello: Any
) -> None:
    here = stage()
    first = here.workers.connect(hello(replay_safe=True))
    await here.call("a")
    old = await here.lease(first)
    second = here.workers.connect(hello(replay_safe=True))
    assert second.epoch > first.epoch
    assert first.gone
    assert second.find(old.id, first.epoch) is None
    new = await here.lease(second)
    assert second.find(new.id, second.epoch) is new
    await here.answer(second, new)
    assert second.find(new.id, second.epoch) is None


@pytest.mark.parametrize("make", [lambda own: own + "1", lambda own: own[:-1] + "0", lambda _: "other", lambda _: ""])
async def test_an_answer_for_a_lease_that_was_never_given_is_an_error(
    autojump_clock: object, stage: Any, make: Any, hello: Any
) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    await here.call("a")
    lease = await here.lease(worker)
    with pytest.raises(KeyError):
        worker.find(make(lease.id), worker.epoch)
    with pytest.raises(KeyError):
        worker.find(lease.id, worker.epoch + 1)


async def test_only_the_first_answer_for_a_lease_counts(stage: Any, autojump_clock: object, hello: Any) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    await here.call("a")
    lease = await here.lease(worker)
    await here.answer(worker, lease, "first")
    await here.answer(worker, lease, "second")
    assert here.ends["a"].output.text == "first"
    assert worker.offers["shout"].running == 0


async def test_the_card_says_what_workers_tell_where_the_catalog_does_not(
    autojump_clock: object, stage: Any, hello: Any
) -> None:
    here = stage(RemoteAgent("shout", description="As declared."))
    agent = here.agents["shout"]
    here.workers.connect(hello(description="As told.", input_schema='{"type":"string"}', version="9"))
    assert (agent.info.description, agent.info.input_schema) == ("As declared.", '{"type":"string"}')
    assert agent.info.version == ""
    here.workers.connect(hello("w2"))
    assert agent.info.input_schema == ""
    await trio.testing.wait_all_tasks_blocked()


async def test_a_worker_that_drains_gets_no_more_and_is_done_when_its_leases_are(
    autojump_clock: object, stage: Any, hello: Any
) -> None:
    here = stage()
    worker = here.workers.connect(hello(capacity=2))
    await here.call("a")
    lease = await here.lease(worker)
    worker.drain(told=False)
    await here.call("b")
    assert list(worker.leases) == [lease.id]
    await here.answer(worker, lease)
    assert await worker.order() is None
    await trio.sleep(31)
    assert here.ends["b"].reason == "WORKER_UNAVAILABLE"


async def test_a_drain_of_the_engine_tells_every_worker_and_waits_for_them(
    autojump_clock: object, stage: Any, hello: Any
) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.workers.drain)
        order = await worker.order()
        assert isinstance(order, DrainOrder)
        assert await worker.order() is None
        with pytest.raises(Unavailable):
            here.workers.connect(hello("w2"))
        here.workers.disconnect(worker, "it left")
    assert not here.workers.connected


async def test_a_hello_with_mistakes_is_refused_with_every_field_and_changes_nothing(
    autojump_clock: object, stage: Any
) -> None:
    here = stage(RemoteAgent("shout"), RemoteAgent("gpu", worker_labels={"gpu": "yes"}))
    here.agents["local"] = ScriptedAgent("local")
    agents = [
        OfferedAgent(name="shout", capacity=2**31 - 1),
        OfferedAgent(name="shout"),
        OfferedAgent(name="local"),
        OfferedAgent(name="nobody"),
        OfferedAgent(name="gpu"),
    ]
    with pytest.raises(InvalidRequest) as caught:
        here.workers.connect(Hello(worker_id="w1", agents=tuple(agents), capacity=-1))
    fields = [violation.field for violation in caught.value.violations]
    assert fields == [
        "hello.capacity",
        "hello.agents[0].capacity",
        "hello.agents[1].name",
        "hello.agents[2].name",
        "hello.agents[3].name",
        "hello.agents[4].labels",
    ]
    assert caught.value.reason == "WORKER_REFUSED"
    assert not here.workers.connected
    assert not here.agents["shout"].desk.offers
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("hello.worker_id", {"worker_id": "w\nERROR forged"}),
        ("hello.worker_id", {"library": "\x1b[2J"}),
        ("hello.agents", {"agents": ()}),
        ("hello.agents", {"agents": tuple(OfferedAgent(name="shout") for _ in range(257))}),
        ("hello.agents[0].description", {"agents": (OfferedAgent(name="shout", description="x" * 10_001),)}),
        ("hello.agents[0].input_schema", {"agents": (OfferedAgent(name="shout", input_schema="{"),)}),
        ("hello.agents[0].input_schema", {"agents": (OfferedAgent(name="shout", input_schema="[1]"),)}),
    ],
)
async def test_what_could_do_harm_in_a_hello_is_refused(
    autojump_clock: object, stage: Any, field: str, options: dict[str, Any]
) -> None:
    here = stage()
    given = {"worker_id": "w1", "agents": (OfferedAgent(name="shout"),), **options}
    with pytest.raises(InvalidRequest) as caught:
        here.workers.connect(Hello(**given))
    assert field in [violation.field for violation in caught.value.violations]
    await trio.testing.wait_all_tasks_blocked()
    assert not here.workers.connected


async def test_more_workers_than_the_bound_are_refused_but_not_one_that_comes_back(
    autojump_clock: object, stage: Any, hello: Any
) -> None:
    here = stage()
    desk = here.agents["shout"].desk
    workers = Workers(lambda _: (desk, {}), max_workers=2)
    workers.connect(hello("w1"))
    workers.connect(hello("w2"))
    with pytest.raises(Exhausted):
        workers.connect(hello("w3"))
    workers.connect(hello("w2"))
    assert len(desk.offers) == 2
    await trio.testing.wait_all_tasks_blocked()


async def test_a_thousand_workers_share_the_calls_and_leave_nothing_behind(
    autojump_clock: object, stage: Any, hello: Any
) -> None:
    here = stage()
    connections = [here.workers.connect(hello(f"w{number}")) for number in range(1000)]
    for number in range(50):
        await here.call(str(number))
    assert max(len(connection.leases) for connection in connections) == 1
    for connection in connections:
        here.workers.disconnect(connection, "it left")
    assert not here.agents["shout"].desk.offers
    assert not here.workers.connected


async def test_workers_may_register_agents_where_that_is_allowed(autojump_clock: object, hello: Any) -> None:
    catalog = Catalog()
    async with motet.open_engine(catalog) as engine:
        workers = workers_for(catalog.agents, catalog.add)
        worker = workers.connect(hello("w1", "fresh", version="2", description="Says it."))
        info = catalog.agents["fresh"].info
        assert (info.kind, info.version, info.description) == ("remote", "", "Says it.")

        async def serve() -> None:
            lease = await worker.order()
            assert isinstance(lease, Lease)
            worker.answer(lease, Replied(Payload.from_text("fresh!")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            result = await engine.run(motet.Group("g", ["fresh"], aggregation="first"), "x")
        assert result.unwrap() == "fresh!"
