"""Limits, retries and idempotency over a real socket: what a request may ask for, what it gets, and what is told of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import trio
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # its package ships no types

import motet
import motet_server
from motet.catalog import Catalog
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.bounds import Quota, TenantBounds
from motet.model.payload import Payload
from motet.model.plan import Limits
from motet.model.usage import Usage
from motet.ports import Call
from motet_proto.v1 import plan_pb2, run_pb2
from motet_proto.v1.payload_pb2 import Payload as PayloadMessage
from motet_proto.v1.run_service_pb2 import (
    GetRunRequest,
    LimitUse,
    ListLimitsRequest,
    RunRequest,
    StartRunRequest,
    StreamRunRequest,
)
from motet_proto.v1.run_service_pb2_grpc import RunServiceStub

SUCCEEDED, FAILED, SKIPPED = run_pb2.STATE_SUCCEEDED, run_pb2.STATE_FAILED, run_pb2.STATE_SKIPPED
PRICE = 1_000_000
PATIENCE = 30.0


class Priced:
    """Costs what its card says. Its first calls may fail, or wait until they are released."""

    def __init__(self, name: str, *, failures: int = 0, held: int = 0, replay_safe: bool | None = None) -> None:
        self.info = AgentInfo(name=name, kind=AgentKind.FUNCTION, estimated_cost_nanos=PRICE, replay_safe=replay_safe)
        self.calls = 0
        self.release = trio.Event()
        self._failures = failures
        self._held = held

    async def call(self, call: Call, /) -> Reply:
        self.calls += 1
        number = self.calls
        if number <= self._held:
            await self.release.wait()
        if number <= self._failures:
            raise AgentError(f"busy {number}", reason="BUSY", retryable=True)
        usage = Usage(calls=1, cost_nanos=PRICE, input_tokens=10)
        return Reply(Payload.from_text(f"{call.text} {number}"), usage)


@dataclass
class Peer:
    """A served catalog, and calls of it from threads."""

    runs: RunServiceStub
    agents: dict[str, Priced]
    limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(50))

    async def ask(self, method: Callable[..., Any], request: Any) -> Any:
        return await trio.to_thread.run_sync(method, request, abandon_on_cancel=True, limiter=self.limiter)

    async def run(self, request: RunRequest) -> run_pb2.RunResult:
        result: run_pb2.RunResult = (await self.ask(self.runs.Run, request)).result
        return result

    async def uses(self, tenant: str = "") -> dict[tuple[str, str, str], LimitUse]:
        answer = await self.ask(self.runs.ListLimits, ListLimitsRequest(tenant=tenant))
        return {(use.guard, use.scope, use.what): use for use in answer.uses}


@asynccontextmanager
async def opened(*, limits: Limits | None = None, **engine: Any) -> AsyncIterator[Peer]:
    agents = [
        Priced("priced"),
        Priced("flaky", failures=2),
        Priced("held", held=9),
        Priced("twin", held=1, replay_safe=True),
    ]
    catalog = Catalog(limits=limits)
    catalog.add(*agents)
    catalog.add_tenant("small", TenantBounds(per_day=Quota(calls=1)))
    catalog.add_tenant("single", TenantBounds(max_runs=1))
    async with (
        motet.open_engine(catalog, **engine) as opened_engine,
        motet_server.serve(opened_engine, "127.0.0.1:0") as server,
    ):
        with grpc.insecure_channel(server.address) as channel:
            yield Peer(RunServiceStub(channel), {agent.info.name: agent for agent in agents})


def group(agent: str, members: int = 1, **fields: Any) -> plan_pb2.Plan:
    seats = [plan_pb2.Member(agent=agent, name=f"m{number}") for number in range(members)]
    return plan_pb2.Plan(group=plan_pb2.Group(name="g", members=seats, **fields))


def asks(plan: plan_pb2.Plan, **fields: Any) -> RunRequest:
    return RunRequest(plan=plan, input=PayloadMessage(text="hi"), **fields)


def details(error: Any) -> dict[str, Any]:
    """The details of an error status by the name of their kind."""
    packed = dict(error.trailing_metadata())["grpc-status-details-bin"]
    found = {}
    for detail in status_pb2.Status.FromString(packed).details:
        kind = detail.type_url.rpartition(".")[2]
        found[kind] = getattr(error_details_pb2, kind)()
        detail.Unpack(found[kind])
    return found


async def test_a_budget_of_a_request_skips_what_does_not_fit_and_keeps_what_was_made() -> None:
    limits = plan_pb2.Limits(max_cost_nanos=2 * PRICE + 1)
    async with opened() as peer:
        result = await peer.run(asks(group("priced", 5, max_parallel=1), limits=limits))
    outcomes = result.groups[0].outcomes
    assert [outcome.state for outcome in outcomes] == [SUCCEEDED] * 2 + [SKIPPED] * 3
    assert {outcome.failure.reason for outcome in outcomes[2:]} == {"BUDGET_EXCEEDED"}
    assert outcomes[2].failure.details["what"] == "cost_nanos"
    assert (result.usage.calls, result.usage.cost_nanos, peer.agents["priced"].calls) == (2, 2 * PRICE, 2)


async def test_a_zero_bound_is_a_bound_and_an_unset_one_is_none() -> None:
    async with opened() as peer:
        none = await peer.run(asks(group("priced"), limits=plan_pb2.Limits()))
        zero = await peer.run(asks(group("priced"), limits=plan_pb2.Limits(max_calls=0)))
    assert (none.state, zero.groups[0].outcomes[0].state) == (run_pb2.STATE_SUCCEEDED, SKIPPED)


async def test_successes_that_a_group_needs_are_asked_of_it() -> None:
    async with opened() as peer:
        limits = plan_pb2.Limits(min_successes=1)
        result = await peer.run(asks(group("flaky", limits=limits)))
    failed = result.groups[0]
    assert (failed.state, failed.failure.reason) == (FAILED, "TOO_FEW_SUCCESSES")
    assert failed.outcomes[0].failure.reason == "BUSY"


async def test_retries_are_seen_in_the_events_and_in_the_outcome() -> None:
    retry = plan_pb2.RetryPolicy(max_attempts=3, initial_backoff=Duration(nanos=1_000_000))
    async with opened() as peer:
        request = StreamRunRequest(request=asks(group("flaky", retry=retry)))
        messages = await peer.ask(lambda asked: list(peer.runs.StreamRun(asked)), request)
    events = [event for message in messages for event in message.events]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    own = [event for event in events if event.member == "m0"]
    assert [event.WhichOneof("detail") for event in own] == [
        "member_started",
        "attempt_ended",
        "attempt_started",
        "attempt_ended",
        "attempt_started",
        "attempt_ended",
        "member_ended",
    ]
    assert [(own[n].attempt_started.number, own[n].attempt_started.kind) for n in (2, 4)] == [
        (2, run_pb2.Attempt.KIND_RETRY),
        (3, run_pb2.Attempt.KIND_RETRY),
    ]
    assert [own[n].attempt_ended.HasField("retry_in") for n in (1, 3, 5)] == [True, True, False]
    [outcome] = messages[-1].result.groups[0].outcomes
    assert own[-1].member_ended.outcome == outcome
    assert (outcome.state, outcome.attempts, outcome.output.text) == (SUCCEEDED, 3, "hi 3")
    assert [(attempt.number, attempt.state, attempt.failure.message) for attempt in outcome.attempt_log] == [
        (1, FAILED, "busy 1"),
        (2, FAILED, "busy 2"),
        (3, SUCCEEDED, ""),
    ]
    assert [own[n].attempt_ended.attempt for n in (1, 3, 5)] == list(outcome.attempt_log)


async def test_the_loser_of_a_hedge_is_in_the_outcome_with_its_receipt() -> None:
    hedge = plan_pb2.HedgePolicy(delay=Duration(nanos=1_000_000))
    async with opened() as peer:
        [outcome] = (await peer.run(asks(group("twin", hedge=hedge)))).groups[0].outcomes
    first, second = outcome.attempt_log
    assert (outcome.state, outcome.attempts, outcome.output.text) == (SUCCEEDED, 2, "hi 2")
    assert (first.kind, first.state) == (run_pb2.Attempt.KIND_FIRST, run_pb2.STATE_CANCELLED)
    assert (first.failure.reason, first.stop.kind) == ("DECIDED", run_pb2.StopReceipt.KIND_STOPPED)
    assert (second.kind, second.state) == (run_pb2.Attempt.KIND_HEDGE, SUCCEEDED)
    assert not outcome.HasField("stop")


async def test_a_tenant_s_quota_refuses_a_run_with_whose_it_is_and_when_to_come_back() -> None:
    async with opened() as peer:
        first = await peer.run(asks(group("priced"), tenant="small"))
        with pytest.raises(grpc.RpcError) as refused:
            await peer.run(asks(group("priced"), tenant="small"))
        other = await peer.run(asks(group("priced"), tenant="other"))
    assert (first.state, other.state) == (run_pb2.STATE_SUCCEEDED, run_pb2.STATE_SUCCEEDED)
    error: Any = refused.value
    found = details(error)
    assert (error.code(), found["ErrorInfo"].reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    [violation] = found["QuotaFailure"].violations
    assert (violation.subject, violation.description) == ("small", error.details())
    assert 0 < found["RetryInfo"].retry_delay.ToSeconds() <= 24 * 3600
    assert peer.agents["priced"].calls == 2


async def test_a_run_more_than_a_tenant_may_have_at_once_is_refused_without_a_time_to_come_back() -> None:
    async with opened() as peer:
        started = await peer.ask(
            peer.runs.StartRun, StartRunRequest(request=asks(group("held"), tenant="single", request_id="k"))
        )
        with pytest.raises(grpc.RpcError) as refused:
            await peer.run(asks(group("priced"), tenant="single"))
        peer.agents["held"].release.set()
        run = (await peer.ask(peer.runs.GetRun, GetRunRequest(run_id=started.run_id))).run
    found = details(refused.value)
    assert found["ErrorInfo"].reason == "QUOTA_EXCEEDED"
    assert "RetryInfo" not in found
    assert run.tenant == "single"


async def test_limits_are_listed_with_their_use_while_a_run_goes() -> None:
    limits = plan_pb2.Limits(max_cost_nanos=10 * PRICE, max_calls=5)
    async with opened(max_parallel=1) as peer:
        held = peer.agents["held"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run, asks(group("held", 2), limits=limits, tenant="acme"))
            with trio.fail_after(PATIENCE):
                while not held.calls:  # noqa: ASYNC110  # the server's side of the socket sets no event
                    await trio.sleep(0.005)
            answer = await peer.ask(peer.runs.ListLimits, ListLimitsRequest())
            all_uses, own, others = await peer.uses(), await peer.uses("acme"), await peer.uses("nobody")
            held.release.set()
        after = await peer.uses()
    places = [(use.scope, use.name) for use in answer.uses]
    assert places == sorted(places)
    assert answer.waiting == 1
    running = all_uses["capacity", "engine", "running"]
    assert (running.limit, running.used) == (1, 1)
    cost, calls = all_uses["budget", "run", "cost_nanos"], all_uses["budget", "run", "calls"]
    assert (cost.limit, cost.used, cost.reserved) == (10 * PRICE, 0, PRICE)
    assert (calls.limit, calls.used + calls.reserved) == (5, 1)
    assert own["budget", "run", "calls"] == calls
    assert not any(scope == "run" for _, scope, _ in others)
    assert not any(guard == "budget" for guard, _, _ in after)


async def test_a_call_with_a_key_is_made_once_and_its_answer_given_again() -> None:
    async with opened() as peer:
        plan = group("priced", idempotency=plan_pb2.IdempotencyPolicy(key="k"))
        first = (await peer.run(asks(plan))).groups[0].outcomes[0]
        request = StreamRunRequest(request=asks(plan))
        messages = await peer.ask(lambda asked: list(peer.runs.StreamRun(asked)), request)
        other = (await peer.run(RunRequest(plan=plan, input=PayloadMessage(text="else")))).groups[0].outcomes[0]
        fresh = (await peer.run(asks(plan, tenant="acme"))).groups[0].outcomes[0]
    [second] = messages[-1].result.groups[0].outcomes
    assert (first.output.text, first.cached, first.attempts) == ("hi 1", False, 1)
    assert (second.output.text, second.cached, second.attempts) == ("hi 1", True, 0)
    kinds = [event.WhichOneof("detail") for message in messages for event in message.events if event.member]
    assert kinds == ["member_ended"]
    assert (other.state, other.failure.reason) == (SKIPPED, "IDEMPOTENCY_KEY_REUSED")
    assert (fresh.cached, peer.agents["priced"].calls) == (False, 2)


@pytest.mark.parametrize(("asked", "made"), [(1, 1), (3, 2), (None, 2)])
async def test_a_caller_s_limits_only_tighten_the_catalog_s(asked: int | None, made: int) -> None:
    async with opened(limits=Limits(max_calls=2)) as peer:
        result = await peer.run(asks(group("priced", 4, max_parallel=1), limits=plan_pb2.Limits(max_calls=asked)))
    assert [outcome.state for outcome in result.groups[0].outcomes] == [SUCCEEDED] * made + [SKIPPED] * (4 - made)
    assert peer.agents["priced"].calls == made


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (group("priced", limits=plan_pb2.Limits(min_successes=2)), "plan.group.limits.min_successes"),
        (group("priced", retry=plan_pb2.RetryPolicy(backoff_multiplier=0.5)), "plan.group.retry.backoff_multiplier"),
        (group("priced", hedge=plan_pb2.HedgePolicy(max_attempts=1)), "plan.group.hedge.max_attempts"),
    ],
)
async def test_policies_that_cannot_hold_are_refused_by_their_field(plan: plan_pb2.Plan, field: str) -> None:
    async with opened() as peer:
        with pytest.raises(grpc.RpcError) as refused:
            await peer.run(asks(plan))
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in {violation.field for violation in details(error)["BadRequest"].field_violations}
    assert not peer.agents["priced"].calls
