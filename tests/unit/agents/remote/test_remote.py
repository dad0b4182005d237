"""Calls of remote agents and the workers that take them, without any network: who gets what, and what becomes of it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import motet
from motet.agents.remote import (
    CancelOrder,
    Connection,
    Failed,
    Hello,
    Lease,
    OfferedAgent,
    RemoteAgent,
    Replied,
    Stopped,
    workers_for,
)
from motet.catalog import Catalog
from motet.model.agent import Reply
from motet.model.outcome import Failure, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.usage import Usage
from motet.testing.contracts_agent import AgentContract
from motet.testing.fakes import make_call


def hello(worker_id: str = "w1", *agents: str, capacity: int = 0, **options: Any) -> Hello:
    offered = tuple(OfferedAgent(name=name, capacity=capacity, **options) for name in agents or ("shout",))
    return Hello(worker_id=worker_id, agents=offered)


def stopped(kind: StopKind = StopKind.STOPPED, detail: str = "", usage: Usage | None = None) -> Stopped:
    return Stopped(StopReceipt(kind, 0.5, detail), usage)


class _Instant(Connection):
    """A worker that does in no time what it is told, unless it is slow."""

    slow = False

    def _tell(self, order: Any) -> None:
        if isinstance(order, Lease):
            order.sent = True
            if not self.slow:
                self.answer(order, Replied(order.ticket.call.input))
        elif isinstance(order, CancelOrder):
            self.answer(order.lease, stopped())


class TestRemoteAgent(AgentContract):
    def make_agent(self) -> RemoteAgent:
        return self._agent(slow=False)

    def make_slow_agent(self) -> RemoteAgent:
        return self._agent(slow=True)

    def make_failing_agent(self) -> RemoteAgent:
        return RemoteAgent("shout", queue_timeout=0)

    @staticmethod
    def _agent(*, slow: bool) -> RemoteAgent:
        agent = RemoteAgent("shout")
        connection = workers_for({"shout": agent}).connect(hello(capacity=10))
        connection.lose("replaced by one that answers")
        instant = _Instant(hello(), 1, "x")
        instant.slow = slow
        offer = connection.offers["shout"]
        offer.connection, offer.capacity, instant.capacity = instant, 100, 100
        instant.open([offer])
        return agent


async def test_a_call_is_leased_and_answered_and_the_outcome_says_by_whom(autojump_clock: object, stage: Any) -> None:
    here = stage()
    worker = here.workers.connect(hello(version="3"))
    await here.call("a")
    lease = await here.lease(worker)
    assert lease.ticket.call.text == "a"
    worker.answer(lease, Replied(Payload.from_text("A"), Usage(calls=1), {"mood": "loud", "worker": "another"}))
    await trio.testing.wait_all_tasks_blocked()
    said = {"mood": "loud", "worker": "w1", "worker_version": "3"}
    assert here.ends["a"] == Reply(Payload.from_text("A"), Usage(calls=1), said)


async def test_a_failure_keeps_its_reason_details_and_usage(autojump_clock: object, stage: Any) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    await here.call("a")
    failure = Failure("BUSY", "later, please", {"retry_after_seconds": 2})
    lease = await here.lease(worker)
    worker.answer(lease, Failed(failure, Usage(calls=3), retryable=True))
    await trio.testing.wait_all_tasks_blocked()
    error = here.ends["a"]
    assert (error.reason, error.message, error.retryable, error.retry_after) == ("BUSY", "later, please", True, 2.0)
    assert lease.ticket.call.spent == Usage(calls=3)


async def test_without_a_worker_a_call_waits_its_queue_timeout_and_fails_naming_the_agent(
    autojump_clock: object, stage: Any
) -> None:
    here = stage(RemoteAgent("shout", queue_timeout=20))
    await here.call("a")
    await trio.sleep(19.9)
    assert not here.ends
    await trio.sleep(0.2)
    error = here.ends["a"]
    assert error.reason == "WORKER_UNAVAILABLE"
    assert "shout" in str(error)
    assert error.retryable
    assert not here.agents["shout"].desk.waiting


async def test_a_worker_that_comes_in_time_takes_the_calls_that_wait_in_order(
    autojump_clock: object, stage: Any
) -> None:
    here = stage()
    for text in "abc":
        await here.call(text)
    await trio.sleep(29)
    worker = here.workers.connect(hello(capacity=2))
    await trio.sleep(100)  # a worker is there: patience is for its absence only
    assert not here.ends
    order = []
    for _ in "abc":
        lease = await here.lease(worker)
        order.append(lease.ticket.call.text)
        await here.answer(worker, lease)
    assert order == ["a", "b", "c"]
    assert set(here.ends) == {"a", "b", "c"}


async def test_when_the_last_worker_leaves_patience_begins_anew(autojump_clock: object, stage: Any) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    await here.call("a")
    await here.call("b")
    await here.lease(worker)
    await trio.sleep(1000)
    here.workers.disconnect(worker, "it broke")
    await trio.testing.wait_all_tasks_blocked()
    assert here.ends["a"].reason == "WORKER_LOST"
    await trio.sleep(29)
    assert "b" not in here.ends
    await trio.sleep(2)
    assert here.ends["b"].reason == "WORKER_UNAVAILABLE"


async def test_a_lost_lease_goes_to_another_worker_when_it_may_be_made_twice(
    autojump_clock: object, stage: Any
) -> None:
    here = stage()
    first = here.workers.connect(hello("w1", replay_safe=True))
    await here.call("a")
    old = await here.lease(first)
    second = here.workers.connect(hello("w2", replay_safe=True))
    here.workers.disconnect(first, "it was silent")
    new = await here.lease(second)
    assert new.ticket is old.ticket
    assert new.id != old.id
    await here.answer(second, new, "second")
    assert here.ends["a"].output.text == "second"
    assert here.workers.statistics().lost == 1


async def test_a_call_that_loses_three_workers_fails(autojump_clock: object, stage: Any) -> None:
    here = stage()
    await here.call("a")
    for number in range(3):
        assert not here.ends
        worker = here.workers.connect(hello(f"w{number}", replay_safe=True))
        await here.lease(worker)
        here.workers.disconnect(worker, "it crashed")
        await trio.testing.wait_all_tasks_blocked()
    assert here.ends["a"].reason == "WORKER_LOST"
    assert here.ends["a"].details["deliveries"] == 3


@pytest.mark.parametrize(
    ("declared", "offered", "again"),
    [(None, False, False), (None, True, True), (True, False, True), (False, True, False)],
)
async def test_what_the_catalog_declares_of_replays_wins_over_the_worker(
    autojump_clock: object, stage: Any, declared: bool | None, offered: bool, again: bool
) -> None:
    here = stage(RemoteAgent("shout", replay_safe=declared))
    worker = here.workers.connect(hello(replay_safe=offered))
    await here.call("a")
    await here.lease(worker)
    here.workers.disconnect(worker, "it broke")
    await trio.testing.wait_all_tasks_blocked()
    assert ("a" not in here.ends) is again


async def test_a_lease_that_never_left_is_given_again_in_any_case(autojump_clock: object, stage: Any) -> None:
    here = stage(RemoteAgent("shout", replay_safe=False))
    worker = here.workers.connect(hello())
    await here.call("a")
    assert worker.leases
    here.workers.disconnect(worker, "it broke")
    second = here.workers.connect(hello("w2"))
    await here.answer(second, await here.lease(second))
    assert here.ends["a"].output.text == "done"


async def cancelled(here: Any, connection: Connection, then: Callable[[CancelOrder], object]) -> tuple[Any, str]:
    """A call that is leased and then cancelled; `then` is what the worker does when it is told."""
    call = make_call("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.agents["shout"].call, call)
        await trio.testing.wait_all_tasks_blocked()
        await here.lease(connection)
        nursery.cancel_scope.cancel()
        order = await trio_shielded(connection)
        assert isinstance(order, CancelOrder)
        then(order)
    return call, order.reason


async def trio_shielded(connection: Connection) -> Any:
    with trio.CancelScope(shield=True):
        return await connection.order()


async def test_a_cancelled_call_waits_for_the_workers_receipt(autojump_clock: object, stage: Any) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    receipt = stopped(detail="thread ended", usage=Usage(calls=1, cost_nanos=5))
    call, reason = await cancelled(here, worker, lambda order: worker.answer(order.lease, receipt))
    assert (call.detached, call.stop_detail, reason) == ("", "thread ended", "CANCELLED")
    assert call.spent.cost_nanos == 5
    assert not worker.leases


async def test_a_worker_that_could_not_stop_says_so(autojump_clock: object, stage: Any) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    receipt = stopped(StopKind.DETACHED, "a thread still runs")
    call, _ = await cancelled(here, worker, lambda order: worker.answer(order.lease, receipt))
    assert call.detached == "a thread still runs"


async def test_a_worker_that_is_lost_while_it_stops_leaves_a_detached_call(autojump_clock: object, stage: Any) -> None:
    here = stage(RemoteAgent("shout", replay_safe=True))
    worker = here.workers.connect(hello())
    call, _ = await cancelled(here, worker, lambda _: here.workers.disconnect(worker, "it broke"))
    assert "w1" in call.detached
    assert "it broke" in call.detached
    assert not here.agents["shout"].desk.waiting


async def test_without_a_receipt_the_call_ends_detached_and_the_worker_keeps_its_place(
    autojump_clock: object, stage: Any
) -> None:
    here = stage(RemoteAgent("shout", stop_timeout=4))
    worker = here.workers.connect(hello())
    began = trio.current_time()
    call, _ = await cancelled(here, worker, lambda _: None)
    assert trio.current_time() - began == 4
    assert "has not said" in call.detached
    assert len(worker.leases) == 1
    await here.call("b")
    assert len(worker.leases) == 1, "a place that may still be in use was given away"
    await here.answer(worker, next(iter(worker.leases.values())))
    assert len(worker.leases) == 1
    assert not here.ends


async def test_a_call_cancelled_before_its_lease_left_tells_the_worker_nothing(
    autojump_clock: object, stage: Any
) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    call = make_call("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.agents["shout"].call, call)
        await trio.testing.wait_all_tasks_blocked()
        assert len(worker.leases) == 1
        nursery.cancel_scope.cancel()
    assert not worker.leases
    assert not call.detached
    with trio.move_on_after(1) as nothing:
        await worker.order()
    assert nothing.cancelled_caught


async def test_a_deadline_is_named_as_the_reason_of_the_stop(autojump_clock: object, stage: Any) -> None:
    here = stage()
    worker = here.workers.connect(hello())
    call = make_call("a", deadline=trio.current_time() + 2)
    with trio.move_on_at(call.deadline):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.agents["shout"].call, call)
            await here.lease(worker)
            order = await trio_shielded(worker)
            assert order.reason == "DEADLINE_EXCEEDED"
            worker.answer(order.lease, stopped())
    assert not call.detached


async def test_a_run_that_times_out_reports_what_the_worker_could_not_stop(autojump_clock: object) -> None:
    catalog = Catalog()
    agent = RemoteAgent("shout", stop_timeout=60)
    catalog.add(agent)
    async with motet.open_engine(catalog, stop_grace=3) as engine:
        worker = workers_for(catalog.agents).connect(hello())
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                while True:
                    await worker.order()

            nursery.start_soon(listen)
            result = await engine.run(motet.Group("g", ["shout"], timeout=1), "x")
            nursery.cancel_scope.cancel()
        outcome = result.groups[0].outcomes[0]
        assert outcome.state is motet.State.TIMED_OUT
        assert outcome.stop is not None
        assert outcome.stop.kind is StopKind.DETACHED
        assert "w1" in outcome.stop.detail


@pytest.mark.parametrize(
    ("option", "value"), [("queue_timeout", -1), ("stop_timeout", math.inf), ("max_parallel", 0), ("weight", 0)]
)
def test_a_wrong_option_is_refused_by_name(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        RemoteAgent("shout", **{option: value})  # type: ignore[arg-type]
