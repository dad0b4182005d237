"""The Python worker against a real server: functions as agents, their ends, cancels, and how a worker leaves."""

import asyncio
import math
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

import motet_client
from motet_client import Group, Member, StopKind
from motet_client.worker import AgentFailed, CallCancelled, Reply, Worker, WorkerCall
from motet_proto.v1 import worker_service_pb2 as pb

PATIENCE = 20.0


def one(**options: Any) -> Group:
    return Group("g", [Member("shout", **options)], "first")


def test_a_function_is_an_agent_in_ten_lines(server: Any, serving: Any) -> None:
    worker = Worker(server.address, worker_id="py-1")

    @worker.agent(version="3")
    def shout(call: WorkerCall) -> str:
        """Says it loudly."""
        return call.text.upper() + "!" * int(call.variables["marks"])

    with serving(worker), motet_client.Client(server.address) as client:
        assert worker.wait_ready(PATIENCE)
        result = client.run(one(variables={"marks": 2}), "hi")
        assert result.unwrap() == "HI!!"
        assert result.groups[0].outcomes[0].metadata == {"worker": "py-1", "worker_version": "3"}
        assert client.agent("shout").description == "Says it loudly."


def test_a_coroutine_function_is_one_too_and_both_run_at_once_up_to_their_capacity(server: Any, serving: Any) -> None:
    worker = Worker(server.address)
    together = threading.Barrier(4, timeout=PATIENCE)

    @worker.agent(capacity=3)
    async def shout(call: WorkerCall) -> Any:
        await asyncio.to_thread(together.wait)
        return Reply({"loud": call.value}, metadata={"mood": "good"})

    @worker.agent
    def sing(call: WorkerCall) -> bytes:
        together.wait()
        return call.input.data

    members = [Member("shout", replicas=3), Member("sing", input=b"la")]
    with serving(worker), motet_client.Client(server.address) as client:
        outcomes = client.run(Group("g", members), {"a": 1}).groups[0].outcomes
    assert [outcome.output.value for outcome in outcomes if outcome.output] == [{"loud": {"a": 1}}] * 3 + [b"la"]
    assert outcomes[0].metadata["mood"] == "good"


def test_an_object_that_is_called_like_a_function_is_an_agent_too(server: Any, serving: Any) -> None:
    class Shouter:
        async def __call__(self, call: WorkerCall) -> str:
            return call.text.upper()

    worker = Worker(server.address)
    worker.agent(Shouter(), name="shout")
    with serving(worker), motet_client.Client(server.address) as client:
        assert client.run(one(), "hi").unwrap() == "HI"
    with pytest.raises(ValueError, match="name"):
        worker.agent(Shouter())


def test_a_call_says_what_it_is_part_of_and_what_bounds_it(server: Any, serving: Any) -> None:
    worker, calls = Worker(server.address), []

    @worker.agent
    def shout(call: WorkerCall) -> None:
        calls.append((call, call.time_left()))

    with serving(worker), motet_client.Client(server.address) as client:
        run_id = client.run(one(name="loud", timeout=30), "hi").run_id
        assert client.run(Group("g", ["shout"]), "hi").run_id != run_id
    call, left = calls[0]
    assert (call.run_id, call.member, call.attempt, call.depth) == (run_id, "loud", 1, 0)
    assert 0 < left <= 30
    assert call.idempotency_key
    assert call.client_metadata == {"motet-depth": "0"}
    assert (call.cost_left_nanos, call.tokens_left, call.session_id) == (None, None, "")
    assert calls[1][1] == math.inf


def test_progress_usage_and_failures_reach_the_outcome(server: Any, serving: Any) -> None:
    worker = Worker(server.address)

    @worker.agent
    def shout(call: WorkerCall) -> str:
        call.report("half")
        call.spend(motet_client.Usage(calls=1, input_tokens=5))
        raise AgentFailed("no voice", reason="HOARSE", details={"since": 3}, retryable=True, retry_after=2)

    with serving(worker), motet_client.Client(server.address) as client:
        with client.stream(one(), "hi") as run:
            reports = [event.detail for event in run if isinstance(event.detail, motet_client.MemberProgress)]
        assert [report.report.value for report in reports] == ["half"]
        assert run.result is not None
        outcome = run.result.groups[0].outcomes[0]
    assert outcome.failure is not None
    assert (outcome.failure.reason, outcome.failure.message) == ("HOARSE", "no voice")
    known = {"since": 3, "retry_after_seconds": 2, "retryable": True, "worker": worker.worker_id}
    assert outcome.failure.details == known
    assert outcome.usage.input_tokens == 5


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(object(), "OUTPUT_INVALID"), (b"x" * 2000, "OUTPUT_TOO_LARGE"), (KeyError("k"), "AGENT_FAILED")],
)
def test_what_cannot_be_an_answer_fails_the_call_and_not_the_worker(
    server: Any, answer: Any, reason: str, serving: Any
) -> None:
    worker = Worker(server.address, max_message_bytes=1000)

    @worker.agent
    def shout(call: WorkerCall) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer if call.text == "bad" else "good"

    with serving(worker), motet_client.Client(server.address) as client:
        failure = client.run(one(), "bad").groups[0].outcomes[0].failure
        assert failure is not None
        assert failure.reason == reason
        if not isinstance(answer, Exception):
            assert client.run(one(), "again").unwrap() == "good"


def cancel_a_run(server: Any, worker: Worker, begun: threading.Event, serving: Any) -> motet_client.StopReceipt:
    with serving(worker), motet_client.Client(server.address) as client:
        started = client.start(one(), "hi")
        assert begun.wait(PATIENCE)
        result = client.cancel(started.run_id).result
    assert result is not None
    stop = result.groups[0].outcomes[0].stop
    assert stop is not None
    return stop


def test_a_cancel_reaches_a_blocking_function_and_its_receipt_says_stopped(server: Any, serving: Any) -> None:
    worker, begun = Worker(server.address), threading.Event()

    @worker.agent
    def shout(call: WorkerCall) -> None:
        begun.set()
        while not call.wait_cancelled(PATIENCE):
            pass
        call.check()

    assert cancel_a_run(server, worker, begun, serving).kind is StopKind.STOPPED


def test_a_cancel_reaches_a_coroutine_as_asyncios_own(server: Any, serving: Any) -> None:
    worker, begun, cleaned = Worker(server.address), threading.Event(), threading.Event()

    @worker.agent
    async def shout(_call: WorkerCall) -> None:
        begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            cleaned.set()

    assert cancel_a_run(server, worker, begun, serving).kind is StopKind.STOPPED
    assert cleaned.is_set()


def test_a_function_that_does_not_stop_is_reported_as_detached(server: Any, serving: Any) -> None:
    worker, begun, release = Worker(server.address, worker_id="w", stop_grace=0.1), threading.Event(), threading.Event()

    @worker.agent
    def shout(_call: WorkerCall) -> None:
        begun.set()
        release.wait(PATIENCE)

    receipt = cancel_a_run(server, worker, begun, serving)
    release.set()
    assert receipt.kind is StopKind.DETACHED
    assert receipt.detail == "agent shout still runs at worker w"


def test_check_raises_only_in_a_call_that_is_cancelled() -> None:
    call = WorkerCall(pb.Lease(agent="shout"), lambda _: None)
    call.check()
    call.cancel()
    with pytest.raises(CallCancelled):
        call.check()


def test_a_drain_waits_for_what_runs_and_takes_nothing_more(server: Any, serving: Any, until: Any) -> None:
    worker, begun, release = Worker(server.address), threading.Event(), threading.Event()

    @worker.agent
    def shout(_call: WorkerCall) -> str:
        begun.set()
        release.wait(PATIENCE)
        return "done"

    with serving(worker), motet_client.Client(server.address) as client:
        started = client.start(one(), "hi")
        assert begun.wait(PATIENCE)
        worker.drain()
        until(lambda: all(each.leaving for each in server.server.workers.connected.values()))
        release.set()
        until(lambda: client.get(started.run_id).state.ended)
        result = client.get(started.run_id).result
    assert result is not None
    assert result.unwrap() == "done"


def test_a_refused_offer_ends_the_worker_with_the_field(server: Any) -> None:
    worker = Worker(server.address)
    worker.agent(lambda _call: "", name="nobody")
    with pytest.raises(motet_client.InvalidArgument) as caught:
        worker.run()
    assert [violation.field for violation in caught.value.violations] == ["hello.agents[0].name"]
    assert caught.value.reason == "WORKER_REFUSED"


def test_a_second_worker_of_the_same_id_ends_the_first(server: Any, serving: Any, until: Any) -> None:
    first, second = Worker(server.address, worker_id="w"), Worker(server.address, worker_id="w")
    for worker in (first, second):
        worker.agent(lambda _call: "", name="shout")
    with serving(first) as raised:
        assert first.wait_ready(PATIENCE)
        with serving(second):
            until(lambda: raised)
            assert isinstance(raised[0], motet_client.Aborted)
            assert raised[0].reason == "WORKER_REPLACED"


def test_a_worker_that_is_killed_has_its_call_taken_over(server: Any, serving: Any, until: Any) -> None:
    program = (
        "import sys\nfrom motet_client.worker import Worker\n"
        "worker = Worker(sys.argv[1], worker_id='program')\n"
        "@worker.agent(replay_safe=True)\ndef shout(call):\n    call.wait_cancelled(1000)\n"
        "worker.run()\n"
    )
    heir = Worker(server.address, worker_id="heir")
    heir.agent(lambda call: call.text.upper(), name="shout", replay_safe=True)
    with (
        subprocess.Popen([sys.executable, "-c", program, server.address]) as child,
        motet_client.Client(server.address) as client,
    ):
        started = client.start(one(), "hi")
        until(lambda: server.server.workers.statistics().leased)
        with serving(heir):
            assert heir.wait_ready(PATIENCE)
            child.kill()
            until(lambda: client.get(started.run_id).state.ended)
        result = client.get(started.run_id).result
    assert result is not None
    assert result.unwrap() == "HI"
    assert result.groups[0].outcomes[0].metadata == {"worker": "heir", "deliveries": 2}


def test_sigterm_drains_a_worker_program(server: Any) -> None:
    program = (
        "import sys\nfrom motet_client.worker import Worker\n"
        "worker = Worker(sys.argv[1], worker_id='program')\n"
        "@worker.agent\ndef shout(call):\n    return call.text.upper()\n"
        "worker.run()\nprint('left')\n"
    )
    with (
        subprocess.Popen([sys.executable, "-c", program, server.address], stdout=subprocess.PIPE, text=True) as child,
        motet_client.Client(server.address) as client,
    ):
        assert client.run(one(), "hi").unwrap() == "HI"
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=PATIENCE)
    assert (child.returncode, out) == (0, "left\n")


def test_wrong_options_are_refused_by_name() -> None:
    worker = Worker("127.0.0.1:1")
    with pytest.raises(ValueError, match="at least one agent"):
        worker.run()
    worker.agent(lambda _call: "", name="shout")
    with pytest.raises(ValueError, match="already an agent"):
        worker.agent(lambda _call: "", name="shout")
    with pytest.raises(ValueError, match="capacity"):
        worker.agent(lambda _call: "", name="other", capacity=0)


@pytest.mark.parametrize("details", [{"x": "y" * 100_000}, {"x": object()}])
def test_details_that_cannot_travel_are_left_out_of_a_failure(details: dict[str, Any]) -> None:
    call = WorkerCall(pb.Lease(agent="shout", lease_id="l", epoch=3), lambda _: None)
    message = call.failed(AgentFailed("no", reason="R", details=details)).failure
    assert (message.failure.reason, message.failure.message, message.lease_id) == ("R", "no", "l")
    assert not message.failure.details.fields


def test_a_worker_full_of_functions_that_do_not_stop_takes_no_more(server: Any, serving: Any) -> None:
    worker, release, begun = Worker(server.address, stop_grace=0.05), threading.Event(), threading.Semaphore(0)

    @worker.agent
    def shout(_call: WorkerCall) -> None:
        begun.release()
        release.wait(PATIENCE)

    with serving(worker), motet_client.Client(server.address) as client:
        for _ in range(2):
            started = client.start(one(), "hi")
            assert begun.acquire(timeout=PATIENCE)
            result = client.cancel(started.run_id).result
            assert result is not None
            assert result.stats.detached == 1
        failure = client.run(one(), "hi").groups[0].outcomes[0].failure
        release.set()
    assert failure is not None
    assert failure.reason == "WORKER_BUSY"
