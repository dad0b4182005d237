"""What workers say becomes nouns and what the engine says messages, with nothing lost and nothing that can do harm."""

import math

import pytest
import trio
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from motet.agents._remote_book import Connection, Desk
from motet.agents.remote import CancelOrder, DrainOrder, Failed, Hello, Lease, OfferedAgent, Replied, Stopped
from motet.model import reason
from motet.model.outcome import Failure, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.usage import Usage
from motet.testing.fakes import make_call
from motet_proto.v1 import payload_pb2, run_pb2
from motet_proto.v1 import worker_service_pb2 as pb
from motet_server import wire_worker

counts = st.integers(0, 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


async def make_lease(**options: object) -> Lease:
    await trio.lowlevel.checkpoint()  # a desk looks at trio's clock
    agent = OfferedAgent(name="shout")
    connection = Connection(Hello(worker_id="w", agents=(agent,)), 7, "p")
    ticket = Desk("shout", 1.0, replay_safe=None).enter(make_call("hi", **options))  # type: ignore[arg-type]
    return Lease("p-7-1", connection, ticket, "3")


def test_a_hello_keeps_everything_it_says() -> None:
    message = pb.WorkerHello(worker_id="w", capacity=9, library="lib/1")
    message.agents.add(
        name="a", version="1", description="d", input_schema="{}", capacity=2, replay_safe=True, labels={"k": "v"}
    )
    message.agents.add(name="b")
    first = OfferedAgent(
        name="a", version="1", description="d", input_schema="{}", capacity=2, replay_safe=True, labels={"k": "v"}
    )
    found = wire_worker.hello_from_pb(message)
    assert found == Hello(worker_id="w", agents=(first, OfferedAgent(name="b")), capacity=9, library="lib/1")


async def test_a_lease_says_what_the_call_knows() -> None:
    variables = {"n": Payload.from_json(1), "bad": Payload.from_text("\ud800")}
    lease = await make_lease(
        variables=variables,
        deadline=50.0,
        idempotency_key="k",
        attempt=2,
        run_id="r",
        member="m",
        session_id="s",
        depth=3,
    )
    message = wire_worker.lease_to_pb(lease, now=48.5)
    assert (message.lease_id, message.epoch, message.agent, message.input.text) == ("p-7-1", 7, "shout", "hi")
    assert (message.variables["n"].json, message.variables["bad"].text) == ("1", "?")
    assert message.time_left.ToNanoseconds() == 1_500_000_000
    assert (message.idempotency_key, message.attempt, message.depth) == ("k", 2, 3)
    assert (message.run_id, message.member, message.session_id) == ("r", "m", "s")


@pytest.mark.parametrize(("deadline", "left"), [(math.inf, None), (10.0, 0), (12.0, 0)])
async def test_no_deadline_is_unset_and_one_that_has_passed_is_zero(deadline: float, left: int | None) -> None:
    message = wire_worker.lease_to_pb(await make_lease(deadline=deadline), now=12.0)
    assert message.HasField("time_left") is (left is not None)
    assert message.time_left.ToNanoseconds() == 0


async def test_orders_are_the_messages_of_their_kind() -> None:
    lease = await make_lease()
    cancel = wire_worker.order_to_pb(CancelOrder(lease, "DECIDED")).cancel
    assert (cancel.lease_id, cancel.epoch, cancel.reason) == ("p-7-1", 7, "DECIDED")
    assert wire_worker.order_to_pb(DrainOrder()).WhichOneof("message") == "drain"
    assert wire_worker.order_to_pb(lease).lease.lease_id == "p-7-1"
    assert wire_worker.heartbeat_to_pb(3).heartbeat.running == 3
    welcome = wire_worker.welcome_to_pb(2.5, 9).welcome
    assert (welcome.heartbeat_interval.ToNanoseconds(), welcome.epoch) == (2_500_000_000, 9)


def test_a_reply_without_usage_or_metadata_has_none() -> None:
    message = pb.LeaseReply(output=payload_pb2.Payload(json="1"))
    assert wire_worker.answer_from_pb(message) == Replied(Payload.from_json(1), None, {})
    metadata = Struct()
    metadata.update({"n": 1})
    message = pb.LeaseReply(output=payload_pb2.Payload(data=b"x"), usage=run_pb2.Usage(), metadata=metadata)
    assert wire_worker.answer_from_pb(message) == Replied(Payload.from_bytes(b"x"), Usage(), {"n": 1})


@given(reason=texts, message=texts, number=st.integers(-(2**53), 2**53), retryable=st.booleans())
def test_a_failure_comes_back_as_it_was(reason: str, message: str, number: int, *, retryable: bool) -> None:
    failure = Failure(reason or "R", message, {"n": number, "deep": {"list": [1, "a", None]}})
    sent = pb.LeaseFailure(failure=wire_worker.failure_to_pb(failure), retryable=retryable)
    assert wire_worker.answer_from_pb(sent) == Failed(failure, None, retryable)


@given(kind=st.sampled_from(StopKind), nanos=st.integers(0, 10**13), detail=texts)
def test_a_receipt_comes_back_as_it_was(kind: StopKind, nanos: int, detail: str) -> None:
    receipt = StopReceipt(kind, nanos / 1e9, detail)
    sent = pb.LeaseStopped(receipt=wire_worker.receipt_to_pb(receipt))
    assert wire_worker.answer_from_pb(sent) == Stopped(receipt)


@given(calls=counts, read=counts, written=counts, cost=counts, unpriced=counts)
def test_usage_comes_back_as_it_was(calls: int, read: int, written: int, cost: int, unpriced: int) -> None:
    usage = Usage(calls=calls, input_tokens=read, output_tokens=written, cost_nanos=cost, unpriced_calls=unpriced)
    assert wire_worker.usage_from_pb(wire_worker.usage_to_pb(usage)) == usage


def test_a_worker_cannot_give_back_what_others_have_used() -> None:
    message = run_pb2.Usage(calls=-1, input_tokens=-1, output_tokens=-1, cost_nanos=-(2**62), unpriced_calls=-1)
    assert wire_worker.usage_from_pb(message) == Usage()


def test_what_a_worker_leaves_out_is_read_with_caution() -> None:
    nothing = wire_worker.answer_from_pb(pb.LeaseFailure())
    assert nothing == Failed(Failure(reason.AGENT_FAILED, "", {}), None, False)
    message = pb.LeaseStopped(receipt=run_pb2.StopReceipt())
    message.receipt.took.seconds = -5
    assert wire_worker.answer_from_pb(message) == Stopped(StopReceipt(StopKind.DETACHED, 0.0, ""))


def test_answers_of_the_server_itself_name_the_fault() -> None:
    for answer, word in [
        (wire_worker.invalid_answer("reply.output.json: broken"), reason.OUTPUT_INVALID),
        (wire_worker.input_too_large(20, 10), reason.INPUT_INVALID),
    ]:
        assert isinstance(answer, Failed)
        assert answer.failure.reason == word
