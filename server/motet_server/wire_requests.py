"""Requests and plans between motet.v1 and motet.model. What comes in was validated before (`validation`): nothing is
checked twice here. Unset and zero are told apart exactly."""

from motet.model.payload import EMPTY
from motet.model.plan import (
    Aggregation,
    Group,
    HedgePolicy,
    Idempotency,
    Limits,
    Member,
    Parallel,
    Plan,
    ReplicaOverride,
    RetryPolicy,
    Sequence,
)
from motet.model.run import RunQuery, RunRequest
from motet_proto.v1 import plan_pb2, run_service_pb2
from motet_server import wire

DEFAULT_PAGE_SIZE = 50
"""Runs in a page when the request does not say."""
MAX_PAGE_SIZE = 1000
"""Runs in a page at most; the API design guides of the field cut silently too, at 100 to 1,000."""

_RETRY = RetryPolicy()
_HEDGE = HedgePolicy()
_IDEMPOTENCY = Idempotency()


def run_request_from_pb(message: run_service_pb2.RunRequest, *, depth: int = 0) -> RunRequest:
    """The request; `depth`, which travels beside it as metadata, is put in."""
    return RunRequest(
        target=message.group_name if message.WhichOneof("target") == "group_name" else plan_from_pb(message.plan),
        input=wire.payload_from_pb(message.input) if message.HasField("input") else EMPTY,
        request_id=message.request_id,
        session_id=message.session_id,
        tenant=message.tenant,
        variables=wire.payloads_from_pb(message.variables),
        limits=limits_from_pb(message.limits) if message.HasField("limits") else None,
        timeout=wire.duration_from_pb(message.timeout) if message.HasField("timeout") else None,
        labels=dict(message.labels),
        depth=depth,
    )


def run_request_to_pb(request: RunRequest) -> run_service_pb2.RunRequest:
    """The request without its depth, which travels as metadata."""
    message = run_service_pb2.RunRequest(
        input=wire.payload_to_pb(request.input),
        request_id=wire.text_to_pb(request.request_id),
        session_id=wire.text_to_pb(request.session_id),
        tenant=wire.text_to_pb(request.tenant),
        variables=wire.payloads_to_pb(request.variables),
        limits=_limits_to_pb(request.limits),
        timeout=wire.timeout_to_pb(request.timeout),
        labels=wire.texts_to_pb(request.labels),
    )
    if isinstance(request.target, str):
        message.group_name = wire.text_to_pb(request.target)
    else:
        message.plan.CopyFrom(plan_to_pb(request.target))
    return message


def run_query_from_pb(message: run_service_pb2.ListRunsRequest) -> RunQuery:
    return RunQuery(
        states=frozenset(wire.STATES_FROM_PB[state] for state in message.states),
        labels=dict(message.labels),
        limit=min(message.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
        page_token=message.page_token,
    )


def plan_from_pb(message: plan_pb2.Plan) -> Plan:
    """A group that has a timeout of its own in a node that has one too gets the nearer."""
    timeout = wire.duration_from_pb(message.timeout) if message.HasField("timeout") else None
    kind = message.WhichOneof("node")
    if kind == "sequence":
        sequence = message.sequence
        return Sequence(
            steps=tuple(map(plan_from_pb, sequence.steps)),
            feed_forward=sequence.feed_forward,
            on_failure=wire.ON_FAILURES_FROM_PB[sequence.on_failure],
            timeout=timeout,
        )
    if kind == "parallel":
        return Parallel(branches=tuple(map(plan_from_pb, message.parallel.branches)), timeout=timeout)
    return group_from_pb(message.group, timeout)


def plan_to_pb(plan: Plan) -> plan_pb2.Plan:
    if isinstance(plan, Sequence):
        sequence = plan_pb2.Sequence(
            steps=map(plan_to_pb, plan.steps),
            feed_forward=plan.feed_forward,
            on_failure=wire.ON_FAILURES[plan.on_failure],
        )
        return plan_pb2.Plan(sequence=sequence, timeout=wire.timeout_to_pb(plan.timeout))
    if isinstance(plan, Parallel):
        parallel = plan_pb2.Parallel(branches=map(plan_to_pb, plan.branches))
        return plan_pb2.Plan(parallel=parallel, timeout=wire.timeout_to_pb(plan.timeout))
    return plan_pb2.Plan(group=group_to_pb(plan))


def group_from_pb(message: plan_pb2.Group, node_timeout: float | None = None) -> Group:
    """The group; with `node_timeout`, in seconds, the nearer of that and its own."""
    own = wire.duration_from_pb(message.timeout) if message.HasField("timeout") else None
    bounds = [bound for bound in (own, node_timeout) if bound is not None]
    return Group(
        name=message.name,
        members=tuple(map(_member_from_pb, message.members)),
        aggregation=_aggregation_from_pb(message.aggregation),
        timeout=min(bounds, default=None),
        max_parallel=message.max_parallel or None,
        limits=limits_from_pb(message.limits) if message.HasField("limits") else None,
        retry=_retry_from_pb(message.retry) if message.HasField("retry") else None,
        hedge=_hedge_from_pb(message.hedge) if message.HasField("hedge") else None,
        idempotency=_idempotency_from_pb(message.idempotency) if message.HasField("idempotency") else None,
        metadata=wire.struct_from_pb(message.metadata),
        preserve_session=message.preserve_session,
    )


def group_to_pb(group: Group) -> plan_pb2.Group:
    """The group; an agent given in place of its name goes as its name."""
    rule = group.rule
    return plan_pb2.Group(
        name=wire.text_to_pb(group.name),
        members=map(_member_to_pb, group.seats),
        aggregation=plan_pb2.Aggregation(
            name=wire.text_to_pb(rule.name),
            options=wire.struct_to_pb(rule.options),
            early_stop=None if rule.early_stop else False,
        ),
        timeout=wire.timeout_to_pb(group.timeout),
        max_parallel=group.max_parallel or 0,
        limits=_limits_to_pb(group.limits),
        retry=_retry_to_pb(group.retry),
        hedge=_hedge_to_pb(group.hedge),
        idempotency=_idempotency_to_pb(group.idempotency),
        metadata=wire.struct_to_pb(group.metadata),
        preserve_session=group.preserve_session,
    )


def _member_from_pb(message: plan_pb2.Member) -> Member:
    return Member(
        agent=message.agent,
        name=message.name,
        input=wire.payload_from_pb(message.input) if message.HasField("input") else None,
        variables=wire.payloads_from_pb(message.variables),
        weight=message.weight if message.HasField("weight") else 1.0,
        timeout=wire.duration_from_pb(message.timeout) if message.HasField("timeout") else None,
        replicas=message.replicas or None,
        overrides=tuple(map(_override_from_pb, message.overrides)),
        retry=_retry_from_pb(message.retry) if message.HasField("retry") else None,
        idempotency=_idempotency_from_pb(message.idempotency) if message.HasField("idempotency") else None,
    )


def _member_to_pb(member: Member) -> plan_pb2.Member:
    return plan_pb2.Member(
        agent=wire.text_to_pb(member.agent_name),
        name=wire.text_to_pb(member.name),
        input=None if member.input is None else wire.payload_to_pb(member.input),
        variables=wire.payloads_to_pb(member.variables),
        weight=member.weight,
        timeout=wire.timeout_to_pb(member.timeout),
        replicas=member.replicas or 0,
        overrides=map(_override_to_pb, member.overrides),
        retry=_retry_to_pb(member.retry),
        idempotency=_idempotency_to_pb(member.idempotency),
    )


def _override_from_pb(message: plan_pb2.ReplicaOverride) -> ReplicaOverride:
    return ReplicaOverride(
        replica=message.replica,
        input=wire.payload_from_pb(message.input) if message.HasField("input") else None,
        variables=wire.payloads_from_pb(message.variables),
        weight=message.weight if message.HasField("weight") else None,
        timeout=wire.duration_from_pb(message.timeout) if message.HasField("timeout") else None,
    )


def _override_to_pb(override: ReplicaOverride) -> plan_pb2.ReplicaOverride:
    return plan_pb2.ReplicaOverride(
        replica=override.replica,
        input=None if override.input is None else wire.payload_to_pb(override.input),
        variables=wire.payloads_to_pb(override.variables),
        weight=override.weight,
        timeout=wire.timeout_to_pb(override.timeout),
    )


def _aggregation_from_pb(message: plan_pb2.Aggregation) -> Aggregation:
    return Aggregation(
        name=message.name or "combine",
        options=wire.struct_from_pb(message.options),
        early_stop=message.early_stop if message.HasField("early_stop") else True,
    )


def limits_from_pb(message: plan_pb2.Limits) -> Limits:
    return Limits(
        max_cost_nanos=message.max_cost_nanos if message.HasField("max_cost_nanos") else None,
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        max_calls=message.max_calls if message.HasField("max_calls") else None,
        max_duration=wire.duration_from_pb(message.max_duration) if message.HasField("max_duration") else None,
        max_failure_rate=message.max_failure_rate if message.HasField("max_failure_rate") else None,
        min_samples=message.min_samples if message.HasField("min_samples") else None,
        min_successes=message.min_successes if message.HasField("min_successes") else None,
        max_members=message.max_members if message.HasField("max_members") else None,
        max_depth=message.max_depth if message.HasField("max_depth") else None,
        on_breach=wire.ON_BREACHES_FROM_PB[message.on_breach],
        skip_infeasible=message.skip_infeasible if message.HasField("skip_infeasible") else None,
    )


def _limits_to_pb(limits: Limits | None) -> plan_pb2.Limits | None:
    if limits is None:
        return None
    return plan_pb2.Limits(
        max_cost_nanos=wire.count_to_pb(limits.max_cost_nanos, wire.MAX_INT64),
        max_tokens=wire.count_to_pb(limits.max_tokens, wire.MAX_INT64),
        max_calls=wire.count_to_pb(limits.max_calls, wire.MAX_INT64),
        max_duration=wire.timeout_to_pb(limits.max_duration),
        max_failure_rate=limits.max_failure_rate,
        min_samples=wire.count_to_pb(limits.min_samples, wire.MAX_INT32),
        min_successes=wire.count_to_pb(limits.min_successes, wire.MAX_INT32),
        max_members=wire.count_to_pb(limits.max_members, wire.MAX_INT32),
        max_depth=wire.count_to_pb(limits.max_depth, wire.MAX_INT32),
        on_breach=wire.ON_BREACHES[limits.on_breach],
        skip_infeasible=limits.skip_infeasible,
    )


def _retry_from_pb(message: plan_pb2.RetryPolicy) -> RetryPolicy:
    initial, longest = message.HasField("initial_backoff"), message.HasField("max_backoff")
    return RetryPolicy(
        max_attempts=message.max_attempts or _RETRY.max_attempts,
        initial_backoff=wire.duration_from_pb(message.initial_backoff) if initial else _RETRY.initial_backoff,
        max_backoff=wire.duration_from_pb(message.max_backoff) if longest else _RETRY.max_backoff,
        backoff_multiplier=message.backoff_multiplier or _RETRY.backoff_multiplier,
        jitter=message.jitter if message.HasField("jitter") else _RETRY.jitter,
        reasons=tuple(message.reasons),
    )


def _retry_to_pb(retry: RetryPolicy | None) -> plan_pb2.RetryPolicy | None:
    if retry is None:
        return None
    return plan_pb2.RetryPolicy(
        max_attempts=retry.max_attempts,
        initial_backoff=wire.wait_to_pb(retry.initial_backoff),
        max_backoff=wire.wait_to_pb(retry.max_backoff),
        backoff_multiplier=retry.backoff_multiplier,
        jitter=retry.jitter,
        reasons=map(wire.text_to_pb, retry.reasons),
    )


def _hedge_from_pb(message: plan_pb2.HedgePolicy) -> HedgePolicy:
    return HedgePolicy(
        delay=wire.duration_from_pb(message.delay) if message.HasField("delay") else None,
        max_attempts=message.max_attempts or _HEDGE.max_attempts,
    )


def _hedge_to_pb(hedge: HedgePolicy | None) -> plan_pb2.HedgePolicy | None:
    if hedge is None:
        return None
    return plan_pb2.HedgePolicy(delay=wire.wait_to_pb(hedge.delay), max_attempts=hedge.max_attempts)


def _idempotency_from_pb(message: plan_pb2.IdempotencyPolicy) -> Idempotency:
    return Idempotency(
        key=message.key, ttl=wire.duration_from_pb(message.ttl) if message.HasField("ttl") else _IDEMPOTENCY.ttl
    )


def _idempotency_to_pb(idempotency: Idempotency | None) -> plan_pb2.IdempotencyPolicy | None:
    if idempotency is None:
        return None
    return plan_pb2.IdempotencyPolicy(key=wire.text_to_pb(idempotency.key), ttl=wire.wait_to_pb(idempotency.ttl))
