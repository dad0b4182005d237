"""Requests go to the wire and come back as they were; results and enums have a form for everything the model has."""

import math
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.model.agent import AgentKind
from motet.model.event import Detail
from motet.model.outcome import AttemptKind, StopKind
from motet.model.payload import Payload
from motet.model.plan import (
    Aggregation,
    Group,
    HedgePolicy,
    Idempotency,
    Limits,
    Member,
    OnBreach,
    OnFailure,
    Parallel,
    ReplicaOverride,
    RetryPolicy,
    Sequence,
)
from motet.model.run import RunRequest
from motet.model.state import State
from motet_proto.v1 import catalog_service_pb2, payload_pb2, plan_pb2, run_pb2, run_service_pb2
from motet_server import wire, wire_requests, wire_results

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,6}", fullmatch=True)
seconds = st.one_of(st.none(), st.just(0.0), st.integers(0, 10**13).map(lambda nanos: nanos / 1e9))
set_seconds = st.integers(0, 10**12).map(lambda nanos: nanos / 1e9)
shares = st.floats(0, 1).map(abs)
weights = st.floats(0, 1e6).map(abs)
counts = st.one_of(st.none(), st.integers(0, 2**62))
small_counts = st.one_of(st.none(), st.integers(1, 2**31 - 1))
json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6).filter(lambda x: x % 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
structs = st.dictionaries(texts, json_values, max_size=3)
payloads = st.one_of(
    st.builds(Payload.from_text, texts, texts),
    st.builds(Payload.from_bytes, st.binary(max_size=8), texts),
    st.builds(Payload.from_json, json_values, texts),
)
variables = st.dictionaries(texts, payloads, max_size=2)
retries = st.none() | st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    initial_backoff=set_seconds,
    max_backoff=set_seconds,
    backoff_multiplier=st.floats(0.1, 10),
    jitter=shares,
    reasons=st.lists(texts, max_size=2).map(tuple),
)
idempotencies = st.none() | st.builds(Idempotency, key=texts, ttl=set_seconds)
hedges = st.none() | st.builds(HedgePolicy, delay=seconds, max_attempts=st.integers(1, 10))
limits = st.none() | st.builds(
    Limits,
    max_cost_nanos=counts,
    max_tokens=counts,
    max_calls=counts,
    max_duration=seconds,
    max_failure_rate=st.none() | shares,
    min_samples=small_counts,
    min_successes=small_counts,
    max_members=small_counts,
    max_depth=small_counts,
    on_breach=st.none() | st.sampled_from(OnBreach),
    skip_infeasible=st.none() | st.booleans(),
)
overrides = st.builds(
    ReplicaOverride,
    replica=st.integers(1, 9),
    input=st.none() | payloads,
    variables=variables,
    weight=st.none() | weights,
    timeout=seconds,
)
members = st.builds(
    Member,
    agent=names,
    name=names | st.just(""),
    input=st.none() | payloads,
    variables=variables,
    weight=weights,
    timeout=seconds,
    replicas=st.none() | st.integers(1, 10**6),
    overrides=st.lists(overrides, max_size=2).map(tuple),
    retry=retries,
    idempotency=idempotencies,
)
groups = st.builds(
    Group,
    name=names,
    members=st.lists(members, min_size=1, max_size=3).map(tuple),
    aggregation=st.builds(Aggregation, name=names, options=structs, early_stop=st.booleans()),
    timeout=seconds,
    max_parallel=small_counts,
    limits=limits,
    retry=retries,
    hedge=hedges,
    idempotency=idempotencies,
    metadata=structs,
    preserve_session=st.booleans(),
)
plans: Any = st.recursive(
    groups,
    lambda inner: (
        st.builds(
            Sequence,
            steps=st.lists(inner, min_size=1, max_size=2).map(tuple),
            feed_forward=st.booleans(),
            on_failure=st.none() | st.sampled_from(OnFailure),
            timeout=seconds,
        )
        | st.builds(Parallel, branches=st.lists(inner, min_size=1, max_size=2).map(tuple), timeout=seconds)
    ),
    max_leaves=3,
)
requests = st.builds(
    RunRequest,
    target=names | plans,
    input=payloads,
    request_id=texts,
    session_id=texts,
    tenant=texts,
    variables=variables,
    limits=limits,
    timeout=seconds,
    labels=st.dictionaries(texts, texts, max_size=2),
)


@given(payloads)
def test_a_payload_comes_back_as_it_went(payload: Payload) -> None:
    sent = wire.payload_to_pb(payload).SerializeToString()
    assert wire.payload_from_pb(payload_pb2.Payload.FromString(sent)) == payload


@settings(max_examples=60, deadline=None)
@given(requests)
def test_a_request_comes_back_as_it_went(request: RunRequest) -> None:
    sent = wire_requests.run_request_to_pb(request).SerializeToString()
    assert wire_requests.run_request_from_pb(run_service_pb2.RunRequest.FromString(sent)) == request


@settings(max_examples=60, deadline=None)
@given(plans)
def test_a_plan_message_comes_back_as_it_came(plan: Any) -> None:
    message = wire_requests.plan_to_pb(plan)
    assert wire_requests.plan_to_pb(wire_requests.plan_from_pb(message)) == message


@given(st.integers(0, 10**6), st.integers(0, 999_999_999))
def test_a_duration_message_comes_back_as_it_came(whole: int, nanos: int) -> None:
    message = Duration(seconds=whole, nanos=nanos)
    assert wire.duration_to_pb(wire.duration_from_pb(message)) == message


@pytest.mark.parametrize(
    ("given_seconds", "whole", "nanos"),
    [
        (0.0, 0, 0),
        (-0.0, 0, 0),
        (1.9999999999, 2, 0),
        (-1.9999999999, -2, 0),
        (-0.25, 0, -250_000_000),
        (1e-10, 0, 0),
        (1e300, 315_576_000_000, 0),
        (math.inf, 315_576_000_000, 0),
    ],
)
def test_a_duration_is_rounded_to_the_nanosecond_with_both_parts_of_one_sign(
    given_seconds: float, whole: int, nanos: int
) -> None:
    assert wire.duration_to_pb(given_seconds) == Duration(seconds=whole, nanos=nanos)


def test_a_duration_of_nothing_is_never_a_negative_zero() -> None:
    assert math.copysign(1, wire.duration_from_pb(wire.duration_to_pb(-0.0))) == 1


def test_a_duration_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        wire.duration_to_pb(math.nan)


def test_a_timeout_of_zero_is_kept_and_none_and_infinity_are_left_out() -> None:
    assert wire.timeout_to_pb(0.0) == Duration()
    assert wire.timeout_to_pb(None) is None
    assert wire.timeout_to_pb(math.inf) is None


def test_unset_fields_of_a_plan_get_the_documented_defaults() -> None:
    message = plan_pb2.Plan(group=plan_pb2.Group(name="g", members=[plan_pb2.Member(agent="a")]))
    message.group.retry.SetInParent()
    message.group.hedge.SetInParent()
    message.group.idempotency.SetInParent()
    message.group.limits.SetInParent()
    message.group.members[0].idempotency.ttl.SetInParent()
    assert wire_requests.plan_from_pb(message) == Group(
        "g",
        (Member("a", idempotency=Idempotency(ttl=0.0)),),
        limits=Limits(),
        retry=RetryPolicy(),
        hedge=HedgePolicy(),
        idempotency=Idempotency(key="", ttl=3600.0),
    )


def test_an_endless_wait_is_sent_as_the_longest_where_unset_means_a_shorter_one() -> None:
    retry = RetryPolicy(initial_backoff=math.inf, max_backoff=math.inf)
    hedge, idempotency = HedgePolicy(delay=math.inf), Idempotency(ttl=math.inf)
    group = Group("g", ["a"], retry=retry, hedge=hedge, idempotency=idempotency)
    message = wire_requests.group_to_pb(group)
    for sent in (
        message.retry.initial_backoff,
        message.retry.max_backoff,
        message.hedge.delay,
        message.idempotency.ttl,
    ):
        assert sent.seconds == wire.MAX_DURATION
    assert not wire_requests.group_to_pb(Group("g", ["a"], hedge=HedgePolicy())).hedge.HasField("delay")


def test_a_limit_that_no_field_holds_is_sent_as_the_highest_that_it_does() -> None:
    limits = Limits(max_cost_nanos=2**70, max_calls=2**63, min_samples=2**40, max_members=2**31, max_duration=math.inf)
    message = wire_requests.group_to_pb(Group("g", ["a"], limits=limits)).limits
    assert (message.max_cost_nanos, message.max_calls) == (2**63 - 1, 2**63 - 1)
    assert (message.min_samples, message.max_members) == (2**31 - 1, 2**31 - 1)
    assert not message.HasField("max_duration")


def test_a_group_takes_the_nearer_of_its_own_timeout_and_its_nodes() -> None:
    message = plan_pb2.Plan(group=plan_pb2.Group(name="g", members=[plan_pb2.Member(agent="a")]))
    message.group.timeout.seconds = 5
    message.timeout.seconds = 3
    plan = wire_requests.plan_from_pb(message)
    assert plan.timeout == 3.0


def test_a_member_without_weight_counts_one_and_with_weight_zero_counts_zero() -> None:
    message = plan_pb2.Group(name="g", members=[plan_pb2.Member(agent="a"), plan_pb2.Member(agent="b", weight=0)])
    assert [member.weight for member in wire_requests.group_from_pb(message).seats] == [1.0, 0.0]


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert wire.payload_to_pb(Payload.from_text("a\ud800")).text == "a?"
    assert wire.payload_to_pb(Payload.from_json({"k": "\udfff"})).json == '{"k":"?"}'
    made = wire.struct_to_pb({"\ud800": "\ud801"})
    assert made is not None
    assert wire.struct_from_pb(made) == {"?": "?"}


def test_integers_of_a_struct_come_back_as_integers_where_a_double_holds_them() -> None:
    made = wire.struct_to_pb({"a": 1, "b": 1.5, "c": 2**53, "d": 2**70, "e": True, "f": [2, {"g": 3.0}]})
    assert made is not None
    back = wire.struct_from_pb(made)
    assert back == {"a": 1, "b": 1.5, "c": 2**53, "d": str(2**70), "e": True, "f": [2, {"g": 3}]}
    assert [type(back[key]) for key in "abcde"] == [int, float, int, str, bool]


def test_what_json_cannot_hold_goes_into_a_struct_as_text() -> None:
    made = wire.struct_to_pb({"nan": math.nan, "set": {1}, "tuple": (1, None), 5: math.inf})  # type: ignore[dict-item]
    assert made is not None
    assert wire.struct_from_pb(made) == {"nan": "nan", "set": "{1}", "tuple": [1, None], "5": "inf"}


def test_a_struct_nested_too_deep_for_readers_ends_in_text() -> None:
    deep: Any = "bottom"
    for _ in range(500):
        deep = {"in": deep}
    made = wire.struct_to_pb(deep)
    assert made is not None
    back: Any = wire.struct_from_pb(Struct.FromString(made.SerializeToString()))
    for _ in range(wire.MAX_STRUCT_DEPTH):
        back = back["in"]
    assert isinstance(back, str)


def test_no_values_leave_a_struct_unset() -> None:
    assert wire.struct_to_pb({}) is None
    assert wire.struct_from_pb(Struct()) == {}


def test_a_moment_keeps_its_microseconds() -> None:
    moment = datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)
    assert wire.timestamp_to_pb(moment).ToDatetime(tzinfo=UTC) == moment


@given(moment=st.datetimes())
def test_moments_are_written_as_protobuf_writes_them(moment: datetime) -> None:
    expected = Timestamp()
    expected.FromDatetime(moment)
    assert wire.timestamp_to_pb(moment) == expected
    assert wire.timestamp_to_pb(moment.replace(tzinfo=UTC)) == expected


@given(seconds=st.floats(0, 2))
def test_short_durations_are_within_a_nanosecond_and_well_formed(seconds: float) -> None:
    written = wire.duration_to_pb(seconds)
    assert 0 <= written.nanos < 1_000_000_000
    assert wire.duration_from_pb(written) == pytest.approx(seconds, abs=1e-9)


def test_a_duration_just_below_a_second_is_rounded_to_it() -> None:
    assert wire.duration_to_pb(1 - 1e-12) == Duration(seconds=1)


def test_a_duration_of_zero_is_set_in_the_message_that_has_it() -> None:
    fields: Any = wire.duration_fields(0.0)
    assert run_pb2.Outcome(queued=fields).HasField("queued")


@pytest.mark.parametrize(
    ("enum", "table", "pb_enum"),
    [
        (State, wire.STATES, run_pb2.State),
        (StopKind, wire.STOP_KINDS, run_pb2.StopReceipt.Kind),
        (AttemptKind, wire.ATTEMPT_KINDS, run_pb2.Attempt.Kind),
        (OnFailure, wire.ON_FAILURES, plan_pb2.OnFailure),
        (OnBreach, wire.ON_BREACHES, plan_pb2.OnBreach),
        (AgentKind, wire.AGENT_KINDS, catalog_service_pb2.AgentKind),
    ],
)
def test_every_member_of_an_enum_has_its_own_number_on_the_wire(enum: Any, table: Any, pb_enum: Any) -> None:
    assert set(table) - {None} == set(enum)
    assert len(set(table.values())) == len(table)
    for member in enum:
        assert pb_enum.Name(table[member]).endswith(f"_{member.name}")
    assert {0, *table.values()} == set(pb_enum.values())


def test_every_kind_of_event_has_a_form_on_the_wire() -> None:
    assert set(wire_results.DETAILS) == set(get_args(Detail))
    assert len(run_pb2.Event.DESCRIPTOR.oneofs_by_name["detail"].fields) == len(get_args(Detail))


def test_a_page_has_fifty_runs_unless_told_and_a_thousand_at_most() -> None:
    sizes = [0, 7, 1000, 5000]
    queries = [wire_requests.run_query_from_pb(run_service_pb2.ListRunsRequest(page_size=size)) for size in sizes]
    assert [query.limit for query in queries] == [50, 7, 1000, 1000]
