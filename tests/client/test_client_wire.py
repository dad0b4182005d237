"""Values to messages and back, and that the client's nouns are those of the engine."""

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

import motet.model.agent
import motet.model.event
import motet.model.limit_use
import motet.model.outcome
import motet.model.payload
import motet.model.plan
import motet.model.rate
import motet.model.result
import motet.model.usage
import motet_client as client
from motet_client._wire_plan import ON_BREACH, ON_FAILURE, from_group, to_group, to_plan
from motet_client._wire_results import (
    AGENT_KINDS,
    ATTEMPT_KINDS,
    STATES,
    STOP_KINDS,
    from_agent,
    from_event,
    from_result,
    from_run,
)
from motet_client._wire_values import from_duration, from_payload, from_struct, to_duration, to_payload, to_struct
from motet_proto.v1 import catalog_service_pb2, plan_pb2, run_pb2

MODEL = {
    name: getattr(module, name)
    for module in (
        motet.model.agent,
        motet.model.event,
        motet.model.limit_use,
        motet.model.outcome,
        motet.model.payload,
        motet.model.plan,
        motet.model.rate,
        motet.model.result,
        motet.model.usage,
    )
    for name in dir(module)
    if name in client.__all__ and dataclasses.is_dataclass(getattr(module, name))
}


def default_of(field: Any) -> Any:
    made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if dataclasses.is_dataclass(made) and not isinstance(made, type):
        return dataclasses.asdict(made)
    return dict(made) if isinstance(made, Mapping) else made


@pytest.mark.parametrize("name", sorted(MODEL))
def test_a_noun_has_the_fields_and_defaults_of_the_engine_s_own(name: str) -> None:
    mine, theirs = (
        {field.name: default_of(field) for field in dataclasses.fields(noun)}
        for noun in (getattr(client, name), MODEL[name])
    )
    assert mine == theirs


def test_every_noun_of_a_result_is_compared() -> None:
    assert {"Group", "Member", "Limits", "RetryPolicy", "HedgePolicy", "Idempotency"} <= set(MODEL)
    assert {"RunResult", "GroupResult", "Outcome", "Attempt", "Usage", "Saved", "LimitUse"} <= set(MODEL)
    assert {"Event", "RunEnded", "AttemptStarted", "AttemptEnded", "AgentInfo", "Rate", "Breaker"} <= set(MODEL)


@pytest.mark.parametrize(
    ("enum", "table"),
    [
        (run_pb2.State, STATES),
        (run_pb2.StopReceipt.Kind, STOP_KINDS),
        (run_pb2.Attempt.Kind, ATTEMPT_KINDS),
        (plan_pb2.OnFailure, ON_FAILURE),
        (plan_pb2.OnBreach, ON_BREACH),
        (catalog_service_pb2.AgentKind, AGENT_KINDS),
    ],
)
def test_every_value_of_an_enum_but_unspecified_has_a_name(enum: Any, table: dict[int, Any]) -> None:
    assert set(enum.values()) - {0} == set(table)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.1, 1.5, 86400.25, -1.5])
def test_seconds_keep_their_nanoseconds(seconds: float) -> None:
    duration = to_duration(seconds)
    assert duration is not None
    assert from_duration(duration) == seconds


def test_no_bound_is_unset_and_what_is_no_number_is_refused() -> None:
    assert to_duration(None) is None
    assert to_duration(math.inf) is None
    with pytest.raises(ValueError, match="nan"):
        to_duration(math.nan)
    with pytest.raises(ValueError, match="up to"):
        to_duration(1e300)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, min_size=1, max_size=3))
def test_json_values_come_back_equal(values: dict[str, Any]) -> None:
    struct = to_struct(values)
    assert struct is not None
    assert from_struct(struct) == values


def test_whole_numbers_come_back_as_ints() -> None:
    struct = to_struct({"n": 3, "x": 2.5})
    assert struct is not None
    assert {name: repr(value) for name, value in from_struct(struct).items()} == {"n": "3", "x": "2.5"}


@given(st.text() | st.binary() | json_values)
def test_any_value_comes_back_equal_as_a_payload(value: Any) -> None:
    assert from_payload(to_payload(value)).value == value


def test_a_json_document_keeps_its_letters() -> None:
    payload = client.Payload.from_json_text('{"n": 1.10000000000000000001}')
    assert from_payload(to_payload(payload)) == payload


def test_a_payload_refuses_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        client.Payload.from_json(math.nan)
    with pytest.raises(ValueError, match="NaN is not JSON"):
        client.Payload.from_json_text("NaN")
    with pytest.raises(TypeError, match="object has no JSON form"):
        client.Payload.of(object())


FULL = client.Group(
    "review",
    (
        client.Member("ruff"),
        client.Member(
            "mypy",
            name="types",
            input=client.Payload.from_json({"a": 1}),
            variables={"k": client.Payload.from_text("v")},
            weight=0.0,
            timeout=0.0,
            replicas=3,
            overrides=(client.ReplicaOverride(replica=2, weight=0.5, timeout=0.25),),
            retry=client.RetryPolicy(max_attempts=3, initial_backoff=0.0, jitter=0.0, reasons=("X",)),
            idempotency=client.Idempotency(key="k", ttl=0.0),
        ),
    ),
    client.Aggregation("vote", {"field": "x", "ties": ["a", None]}, early_stop=False),
    timeout=0.0,
    max_parallel=2,
    limits=client.Limits(
        max_calls=0,
        max_duration=0.0,
        max_failure_rate=0.0,
        max_depth=0,
        on_breach=client.OnBreach.CANCEL,
        skip_infeasible=False,
    ),
    retry=client.RetryPolicy(),
    hedge=client.HedgePolicy(delay=0.0, max_attempts=3),
    idempotency=client.Idempotency(),
    metadata={"team": "x", "n": [1, 2.5]},
    preserve_session=True,
)


@pytest.mark.parametrize("group", [FULL, client.Group("g", (client.Member("a"),))])
def test_a_group_comes_back_equal_with_every_zero_kept(group: client.Group) -> None:
    assert from_group(to_group(group)) == group


def test_unset_and_zero_fields_of_policies_get_the_documented_defaults() -> None:
    message = plan_pb2.Group(name="g", members=[plan_pb2.Member(agent="a")])
    for policy in (message.retry, message.hedge, message.idempotency, message.limits):
        policy.SetInParent()
    group = from_group(message)
    assert (group.retry, group.hedge) == (client.RetryPolicy(), client.HedgePolicy())
    assert (group.idempotency, group.limits) == (client.Idempotency(key="", ttl=3600.0), client.Limits())


def test_an_endless_wait_is_sent_as_the_longest_where_unset_means_a_shorter_one() -> None:
    group = client.Group(
        "g", ["a"], hedge=client.HedgePolicy(delay=math.inf), idempotency=client.Idempotency(ttl=math.inf)
    )
    message = to_group(group)
    assert message.hedge.delay.seconds == message.idempotency.ttl.seconds == 315_576_000_000
    assert not to_group(client.Group("g", ["a"], limits=client.Limits(max_duration=math.inf))).limits.HasField(
        "max_duration"
    )


def test_names_stand_for_members_and_rules() -> None:
    assert to_group(client.Group("g", ["a", "b"], "first")) == to_group(
        client.Group("g", [client.Member("a"), client.Member("b")], client.Aggregation("first"))
    )


def test_plans_nest_and_keep_their_bounds() -> None:
    step = client.Group("g", ["a"])
    plan = client.Sequence(
        [client.Parallel([step], timeout=0.0), step], feed_forward=True, on_failure=client.OnFailure.CONTINUE, timeout=2
    )
    message = to_plan(plan)
    assert message.timeout.seconds == 2
    assert (message.sequence.feed_forward, message.sequence.on_failure) == (True, plan_pb2.ON_FAILURE_CONTINUE)
    assert message.sequence.steps[0].HasField("timeout")
    assert message.sequence.steps[0].parallel.branches[0].group.name == "g"
    assert not message.sequence.steps[1].HasField("timeout")


def test_what_is_no_plan_is_refused() -> None:
    wrong: Any = {"name": "g"}
    with pytest.raises(TypeError, match="dict is not a plan"):
        to_plan(wrong)


def stopped() -> run_pb2.Outcome:
    outcome = run_pb2.Outcome(member="m", agent="a", state=run_pb2.STATE_TIMED_OUT, attempts=2, nested=[group_result()])
    outcome.failure.reason, outcome.failure.message = "DEADLINE_EXCEEDED", "too slow"
    outcome.failure.details.update({"after": 3})
    outcome.stop.kind, outcome.stop.detail = run_pb2.StopReceipt.KIND_DETACHED, "thread m"
    outcome.stop.took.FromMilliseconds(250)
    outcome.usage.calls = 4
    first = outcome.attempt_log.add(number=1, kind=run_pb2.Attempt.KIND_FIRST, state=run_pb2.STATE_FAILED)
    first.failure.reason, first.failure.message = "HTTP_STATUS", "busy"
    first.ran.FromMilliseconds(500)
    second = outcome.attempt_log.add(number=2, kind=run_pb2.Attempt.KIND_RETRY, state=run_pb2.STATE_TIMED_OUT)
    second.failure.CopyFrom(outcome.failure)
    second.stop.CopyFrom(outcome.stop)
    second.started.FromMilliseconds(600)
    second.usage.calls = 1
    return outcome


def group_result() -> run_pb2.GroupResult:
    group = run_pb2.GroupResult(name="g", state=run_pb2.STATE_SUCCEEDED, decided_early=True, parent="top/m")
    group.aggregate.json = "[1]"
    group.saved.CopyFrom(run_pb2.Saved(members=3, calls=2, cost_nanos=2_100_000, unpriced_calls=1))
    group.asked.add(name="tiebreaker", state=run_pb2.STATE_SUCCEEDED, parent="g/@").aggregate.text = "x"
    group.stats.ran.FromSeconds(2)
    group.stats.detached = 1
    return group


def test_a_result_comes_whole() -> None:
    group = group_result()
    group.outcomes.append(stopped())
    message = run_pb2.RunResult(
        run_id="r", state=run_pb2.STATE_FAILED, groups=[group], started_at=Timestamp(seconds=60)
    )
    message.failure.reason, message.failure.message = "GROUP_FAILED", "no answer"
    result = from_result(message)
    outcome = result["g"]["m"]
    assert (result.started_at, result.output) == (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), None)
    assert result["g"].aggregate == client.Payload("json", "[1]")
    assert result["g"].stats == client.Stats(ran=2.0, detached=1)
    assert result["g"].saved == client.Saved(members=3, calls=2, cost_nanos=2_100_000, unpriced_calls=1)
    [asked] = result["g"].asked
    assert (asked.name, asked.parent, asked.asked, asked.saved) == ("tiebreaker", "g/@", (), None)
    assert outcome.stop == client.StopReceipt(client.StopKind.DETACHED, 0.25, "thread m")
    assert outcome.failure == client.Failure("DEADLINE_EXCEEDED", "too slow", {"after": 3})
    assert outcome.attempt_log == (
        client.Attempt(
            number=1,
            kind=client.AttemptKind.FIRST,
            state=client.State.FAILED,
            failure=client.Failure("HTTP_STATUS", "busy"),
            ran=0.5,
        ),
        client.Attempt(
            number=2,
            kind=client.AttemptKind.RETRY,
            state=client.State.TIMED_OUT,
            failure=outcome.failure,
            started=0.6,
            usage=client.Usage(calls=1),
            stop=outcome.stop,
        ),
    )
    assert (outcome.usage.calls, outcome.nested[0].parent, outcome.succeeded) == (4, "top/m", False)
    with pytest.raises(client.RunFailed) as caught:
        result.unwrap()
    assert (caught.value.reason, caught.value.result) == ("GROUP_FAILED", result)
    with pytest.raises(KeyError):
        _ = result["nobody"]


@pytest.mark.parametrize("nanos", [None, 0, 2_100_000])
def test_an_agent_that_is_free_is_told_from_one_whose_cost_is_not_known(nanos: int | None) -> None:
    agent = catalog_service_pb2.Agent(name="a", kind=catalog_service_pb2.AGENT_KIND_HTTP, estimated_cost_nanos=nanos)
    assert from_agent(agent).estimated_cost_nanos == nanos


@pytest.mark.parametrize("said", [None, True, False])
def test_whether_a_call_may_be_made_twice_is_known_only_when_it_was_said(said: bool | None) -> None:
    agent = catalog_service_pb2.Agent(name="a", kind=catalog_service_pb2.AGENT_KIND_HTTP, replay_safe=said)
    assert from_agent(agent).replay_safe is said


def test_an_agent_comes_with_its_bounds_and_what_it_expects_to_use() -> None:
    agent = catalog_service_pb2.Agent(name="a", estimated_tokens=0, weight=4.0)
    agent.rate.calls_per_second, agent.rate.tokens_per_minute = 2.5, 0.0
    agent.breaker.failures, agent.breaker.probes = 3, 2
    agent.breaker.cooldown.FromMilliseconds(1500)
    card = from_agent(agent)
    assert (card.estimated_tokens, card.weight) == (0, 4.0)
    assert card.rate == client.Rate(calls_per_second=2.5, tokens_per_minute=0.0)
    assert card.breaker == client.Breaker(failures=3, cooldown=1.5, probes=2)
    plain = from_agent(catalog_service_pb2.Agent(name="a"))
    assert (plain.estimated_tokens, plain.weight, plain.rate, plain.breaker) == (None, 1.0, None, None)


def test_a_run_tells_on_whose_account_it_is() -> None:
    assert from_run(run_pb2.Run(run_id="r", state=run_pb2.STATE_RUNNING, tenant="acme")).tenant == "acme"


def test_a_state_that_this_client_does_not_know_is_an_error_that_says_so() -> None:
    with pytest.raises(client.Internal, match="update motet-client"):
        from_result(run_pb2.RunResult(state=99))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [field.name for field in run_pb2.Event.DESCRIPTOR.oneofs_by_name["detail"].fields])
def test_every_kind_of_event_has_a_detail(kind: str) -> None:
    message = run_pb2.Event(sequence=1, elapsed=Duration(seconds=1), group="g", member="m", parent="p")
    detail = getattr(message, kind)
    detail.SetInParent()
    if kind == "run_ended":
        detail.state = run_pb2.STATE_SUCCEEDED
    if kind == "group_ended":
        detail.result.CopyFrom(group_result())
    if kind == "attempt_started":
        detail.kind = run_pb2.Attempt.KIND_HEDGE
    if kind == "attempt_ended":
        detail.attempt.CopyFrom(stopped().attempt_log[0])
    if kind == "member_ended":
        detail.outcome.CopyFrom(stopped())
    event = from_event(message)
    assert event is not None
    assert type(event.detail).__name__ == kind.title().replace("_", "")
    assert (event.sequence, event.elapsed, event.group, event.member, event.parent) == (1, 1.0, "g", "m", "p")


def test_the_events_of_attempts_say_what_comes_next() -> None:
    message = run_pb2.Event(sequence=1)
    message.attempt_ended.attempt.CopyFrom(stopped().attempt_log[0])
    last = from_event(message)
    message.attempt_ended.retry_in.SetInParent()
    again = from_event(message)
    message.attempt_started.CopyFrom(run_pb2.AttemptStarted(number=2, kind=run_pb2.Attempt.KIND_RESUME))
    resumed = from_event(message)
    assert last is not None
    assert again is not None
    assert resumed is not None
    assert isinstance(last.detail, client.AttemptEnded)
    assert isinstance(again.detail, client.AttemptEnded)
    assert (last.detail.retry_in, again.detail.retry_in) == (None, 0.0)
    assert resumed.detail == client.AttemptStarted(2, client.AttemptKind.RESUME)
