"""WorkerService over a real socket: calls answered by workers, workers that leave, and workers that are lost."""

from typing import Any

import grpc
import trio

from motet.engine.journal import MAX_PROGRESS_PER_MEMBER
from motet.model.outcome import StopKind
from motet.model.plan import Aggregation, Group, Limits, Member
from motet_proto.v1 import payload_pb2, run_pb2
from motet_proto.v1 import worker_service_pb2 as pb

Code = grpc.StatusCode
PATIENCE = 20.0


def text(value: str) -> payload_pb2.Payload:
    return payload_pb2.Payload(text=value)


def says(**fields: Any) -> pb.WorkerMessage:
    return pb.WorkerMessage(**fields)


def of(lease: pb.Lease) -> dict[str, Any]:
    return {"lease_id": lease.lease_id, "epoch": lease.epoch}


async def test_a_lease_says_all_that_the_call_knows_and_its_reply_is_the_outcome(rig: Any) -> None:
    worker = await rig.worker(version="7")
    limits = Limits(max_cost_nanos=900, max_tokens=50)
    request = {"variables": {"mood": "loud"}, "timeout": 60, "session_id": "s1", "limits": limits}
    plan = Group("one", ["shout"], preserve_session=True)
    async with rig.running(plan, **request) as results:
        lease = await worker.hear("lease")
        assert (lease.agent, lease.input.text, lease.variables["mood"].text) == ("shout", "hi", "loud")
        assert 0 < lease.time_left.ToTimedelta().total_seconds() <= 60
        assert (lease.cost_left_nanos, lease.tokens_left) == (900, 50)
        assert (lease.attempt, lease.member, lease.session_id, lease.depth) == (1, "shout", "s1", 0)
        assert lease.run_id
        assert lease.idempotency_key
        usage = run_pb2.Usage(calls=1, input_tokens=10, cost_nanos=7)
        answer = pb.LeaseReply(**of(lease), output=text("HI"), usage=usage)
        answer.metadata["mood"] = "loud"
        worker.say(says(reply=answer))
    outcome = results[0].groups[0].outcomes[0]
    assert outcome.output.text == "HI"
    assert outcome.usage.input_tokens == 10
    assert outcome.metadata == {"mood": "loud", "worker": "w1", "worker_version": "7"}


async def test_progress_becomes_events_and_too_large_reports_are_dropped(rig: Any) -> None:
    worker = await rig.worker()
    seen = []
    async with rig.engine.stream("one", "hi") as run:
        lease = await worker.hear("lease")
        for report in ("a" * 70_000, "half", "b"):
            worker.say(says(progress=pb.LeaseProgress(**of(lease), report=text(report))))
        worker.reply(lease, "HI")
        seen = [event.detail.report.text async for event in run if type(event.detail).__name__ == "MemberProgress"]
    assert seen == ["half", "b"]
    assert rig.server.workers.statistics().reports_dropped == 1


async def test_a_flood_of_progress_is_bounded_and_the_call_still_ends(rig: Any) -> None:
    worker = await rig.worker()
    async with rig.running() as results:
        lease = await worker.hear("lease")
        for number in range(MAX_PROGRESS_PER_MEMBER + 100):
            worker.say(says(progress=pb.LeaseProgress(**of(lease), report=text(str(number)))))
        worker.reply(lease, "HI")
    assert results[0].unwrap() == "HI"
    assert results[0].stats.progress_dropped == 100


async def test_a_failure_of_a_worker_is_the_members(rig: Any) -> None:
    worker = await rig.worker()
    async with rig.running() as results:
        lease = await worker.hear("lease")
        failure = run_pb2.Failure(reason="NO_VOICE", message="hoarse")
        failure.details["since"] = 3
        worker.say(says(failure=pb.LeaseFailure(**of(lease), failure=failure, retryable=True)))
    failure = results[0].groups[0].outcomes[0].failure
    assert (failure.reason, failure.message) == ("NO_VOICE", "hoarse")
    assert failure.details["since"] == 3
    assert failure.details["retryable"] is True


async def test_json_that_is_none_fails_the_call_and_not_the_worker(rig: Any) -> None:
    worker = await rig.worker()
    async with rig.running() as results:
        lease = await worker.hear("lease")
        worker.say(says(reply=pb.LeaseReply(**of(lease), output=payload_pb2.Payload(json="{"))))
    assert results[0].groups[0].outcomes[0].failure.reason == "OUTPUT_INVALID"
    async with rig.running() as results:
        worker.reply(await worker.hear("lease"), "again")
    assert results[0].unwrap() == "again"


async def test_a_cancelled_run_waits_for_the_workers_receipt(rig: Any) -> None:
    worker = await rig.worker()
    started = await rig.engine.start("one", "hi")
    lease = await worker.hear("lease")
    records: list[Any] = []

    async def cancel() -> None:
        records.append(await rig.engine.cancel(started.run_id))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        order = await worker.hear("cancel")
        assert (order.lease_id, order.epoch, order.reason) == (lease.lease_id, lease.epoch, "CANCELLED")
        assert not records
        receipt = run_pb2.StopReceipt(kind=run_pb2.StopReceipt.KIND_STOPPED, detail="left the loop")
        worker.say(says(stopped=pb.LeaseStopped(**of(lease), receipt=receipt)))
    stop = records[0].result.groups[0].outcomes[0].stop
    assert (stop.kind, stop.detail) == (StopKind.STOPPED, "left the loop")


async def test_a_worker_that_does_not_stop_leaves_a_detached_receipt(rigs: Any) -> None:
    async with rigs(engine={"stop_grace": 0.05}) as rig:
        worker = await rig.worker()
        async with rig.running(timeout=0.2) as results:
            lease = await worker.hear("lease")
            order = await worker.hear("cancel")
            assert order.reason == "DEADLINE_EXCEEDED"
            await rig.until(lambda: results)
            stop = results[0].groups[0].outcomes[0].stop
            assert stop.kind is StopKind.DETACHED
            assert "w1" in stop.detail
            worker.reply(lease, "late")
        await rig.until(lambda: not rig.server.workers.statistics().leased)


async def test_a_broken_stream_loses_its_leases_and_replay_safe_ones_go_elsewhere(rig: Any) -> None:
    first = await rig.worker("w1", replay_safe=True)
    async with rig.running() as results:
        old = await first.hear("lease")
        second = await rig.worker("w2", replay_safe=True)
        first.call.cancel()
        new = await second.hear("lease")
        assert new.idempotency_key == old.idempotency_key
        assert new.lease_id != old.lease_id
        second.reply(new, "second")
    assert results[0].unwrap() == "second"


async def test_a_broken_stream_fails_calls_that_may_not_be_made_twice(rig: Any) -> None:
    worker = await rig.worker()
    async with rig.running() as results:
        await worker.hear("lease")
        worker.close()
    failure = results[0].groups[0].outcomes[0].failure
    assert failure.reason == "WORKER_LOST"
    assert "ended its stream" in failure.message


async def test_the_same_worker_dialling_in_again_replaces_its_older_connection(rig: Any) -> None:
    first = await rig.worker(replay_safe=True)
    async with rig.running() as results:
        old = await first.hear("lease")
        second = await rig.worker(replay_safe=True)
        end: Any = await first.end()
        assert end.code() is Code.ABORTED
        new = await second.hear("lease")
        assert new.epoch > old.epoch
        second.reply(old, "from before")
        second.reply(new, "now")
    assert results[0].unwrap() == "now"
    assert rig.server.workers.statistics().refused == 1


async def test_a_draining_worker_finishes_what_it_has_and_its_stream_ends_well(rig: Any) -> None:
    worker = await rig.worker()
    async with rig.running() as results:
        lease = await worker.hear("lease")
        worker.say(says(drain=pb.WorkerDrain()))
        await rig.until(lambda: rig.server.workers.connected["w1"].leaving)
        worker.reply(lease, "last")
        assert await worker.end() is None
    assert results[0].unwrap() == "last"


async def test_a_draining_server_lets_runs_use_workers_to_the_end_then_tells_them(rig: Any) -> None:
    worker = await rig.worker()
    plan = Group("g", [Member("shout", replicas=2)], Aggregation("combine"), max_parallel=1)
    async with rig.running(plan) as results, trio.open_nursery() as nursery:
        first = await worker.hear("lease")
        nursery.start_soon(rig.server.drain, 30.0)
        await rig.until(lambda: rig.engine.draining)
        worker.reply(first, "1")
        worker.reply(await worker.hear("lease"), "2")
        await worker.hear("drain")
        assert await worker.end() is None
    assert results[0].unwrap()["result_count"] == 2


async def test_without_a_worker_the_member_fails_and_names_the_agent(rig: Any) -> None:
    result = await rig.engine.run(Group("g", ["brief"]), "x")
    failure = result.groups[0].outcomes[0].failure
    assert failure is not None
    assert failure.reason == "WORKER_UNAVAILABLE"
    assert "brief" in failure.message
