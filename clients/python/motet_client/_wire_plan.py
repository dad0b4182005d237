"""Plans between messages and the client's own values, both ways. No input or output here."""

from typing import Any, Final

from motet_client import _plan as plan
from motet_client._wire_values import (
    duration_of,
    from_payloads,
    from_struct,
    number_of,
    payload_of,
    to_duration,
    to_payload,
    to_payloads,
    to_struct,
    to_wait,
)
from motet_proto.v1 import plan_pb2

ON_FAILURE: Final[dict[int, plan.OnFailure]] = {
    plan_pb2.OnFailure.Value(f"ON_FAILURE_{choice}"): choice for choice in plan.OnFailure
}
ON_BREACH: Final[dict[int, plan.OnBreach]] = {
    plan_pb2.OnBreach.Value(f"ON_BREACH_{choice}"): choice for choice in plan.OnBreach
}
LIMITS: Final = tuple(name for name in plan.Limits.__dataclass_fields__ if name not in ("on_breach", "max_duration"))


def to_plan(node: plan.Plan) -> plan_pb2.Plan:
    """Raises TypeError or ValueError for values that have no place in a message."""
    if isinstance(node, plan.Group):
        return plan_pb2.Plan(group=to_group(node))
    if isinstance(node, plan.Sequence):
        steps = plan_pb2.Sequence(
            steps=[to_plan(step) for step in node.steps],
            feed_forward=node.feed_forward,
            on_failure=number_of(ON_FAILURE, node.on_failure),
        )
        return plan_pb2.Plan(sequence=steps, timeout=to_duration(node.timeout))
    if isinstance(node, plan.Parallel):
        branches = plan_pb2.Parallel(branches=[to_plan(branch) for branch in node.branches])
        return plan_pb2.Plan(parallel=branches, timeout=to_duration(node.timeout))
    raise TypeError(f"{type(node).__name__} is not a plan; give a Group, a Sequence, a Parallel or a group's name")


def to_group(group: plan.Group) -> plan_pb2.Group:
    rule = plan.Aggregation(group.aggregation) if isinstance(group.aggregation, str) else group.aggregation
    return plan_pb2.Group(
        name=group.name,
        members=[_to_member(plan.Member(each) if isinstance(each, str) else each) for each in group.members],
        aggregation=plan_pb2.Aggregation(
            name=rule.name, options=to_struct(rule.options), early_stop=None if rule.early_stop else False
        ),
        timeout=to_duration(group.timeout),
        max_parallel=group.max_parallel or 0,
        limits=to_limits(group.limits),
        retry=_to_retry(group.retry),
        hedge=_to_hedge(group.hedge),
        idempotency=_to_idempotency(group.idempotency),
        metadata=to_struct(group.metadata),
        preserve_session=group.preserve_session,
    )


def _to_member(member: plan.Member) -> plan_pb2.Member:
    return plan_pb2.Member(
        agent=member.agent,
        name=member.name,
        replicas=member.replicas or 0,
        overrides=[
            plan_pb2.ReplicaOverride(replica=override.replica, **_to_seat(override)) for override in member.overrides
        ],
        retry=_to_retry(member.retry),
        idempotency=_to_idempotency(member.idempotency),
        **_to_seat(member),
    )


def _to_seat(seat: plan.Member | plan.ReplicaOverride) -> dict[str, Any]:
    return {
        "input": None if seat.input is None else to_payload(seat.input),
        "variables": to_payloads(seat.variables),
        "weight": seat.weight,
        "timeout": to_duration(seat.timeout),
    }


def _to_retry(retry: plan.RetryPolicy | None) -> plan_pb2.RetryPolicy | None:
    if retry is None:
        return None
    return plan_pb2.RetryPolicy(
        max_attempts=retry.max_attempts,
        initial_backoff=to_wait(retry.initial_backoff),
        max_backoff=to_wait(retry.max_backoff),
        backoff_multiplier=retry.backoff_multiplier,
        jitter=retry.jitter,
        reasons=retry.reasons,
    )


def _to_hedge(hedge: plan.HedgePolicy | None) -> plan_pb2.HedgePolicy | None:
    if hedge is None:
        return None
    return plan_pb2.HedgePolicy(delay=to_wait(hedge.delay), max_attempts=hedge.max_attempts)


def _to_idempotency(idempotency: plan.Idempotency | None) -> plan_pb2.IdempotencyPolicy | None:
    if idempotency is None:
        return None
    return plan_pb2.IdempotencyPolicy(key=idempotency.key, ttl=to_wait(idempotency.ttl))


def to_limits(limits: plan.Limits | None) -> plan_pb2.Limits | None:
    if limits is None:
        return None
    bounds: dict[str, Any] = {name: getattr(limits, name) for name in LIMITS}
    return plan_pb2.Limits(
        on_breach=number_of(ON_BREACH, limits.on_breach), max_duration=to_duration(limits.max_duration), **bounds
    )


def from_group(group: plan_pb2.Group) -> plan.Group:
    rule = group.aggregation
    hedge = group.hedge
    return plan.Group(
        group.name,
        tuple(map(_from_member, group.members)),
        plan.Aggregation(
            rule.name or "combine", from_struct(rule.options), rule.early_stop if rule.HasField("early_stop") else True
        ),
        timeout=duration_of(group, "timeout"),
        max_parallel=group.max_parallel or None,
        limits=_from_limits(group.limits) if group.HasField("limits") else None,
        retry=_from_retry(group.retry) if group.HasField("retry") else None,
        hedge=plan.HedgePolicy(delay=duration_of(hedge, "delay"), max_attempts=hedge.max_attempts or 2)
        if group.HasField("hedge")
        else None,
        idempotency=_from_idempotency(group.idempotency) if group.HasField("idempotency") else None,
        metadata=from_struct(group.metadata),
        preserve_session=group.preserve_session,
    )


def _from_member(member: plan_pb2.Member) -> plan.Member:
    seat = _from_seat(member)
    return plan.Member(
        agent=member.agent,
        name=member.name,
        replicas=member.replicas or None,
        overrides=tuple(plan.ReplicaOverride(replica=each.replica, **_from_seat(each)) for each in member.overrides),
        retry=_from_retry(member.retry) if member.HasField("retry") else None,
        idempotency=_from_idempotency(member.idempotency) if member.HasField("idempotency") else None,
        **(seat | {"weight": 1.0 if seat["weight"] is None else seat["weight"]}),
    )


def _from_seat(seat: plan_pb2.Member | plan_pb2.ReplicaOverride) -> dict[str, Any]:
    return {
        "input": payload_of(seat, "input"),
        "variables": from_payloads(seat.variables),
        "weight": seat.weight if seat.HasField("weight") else None,
        "timeout": duration_of(seat, "timeout"),
    }


def _from_retry(retry: plan_pb2.RetryPolicy) -> plan.RetryPolicy:
    first, longest = duration_of(retry, "initial_backoff"), duration_of(retry, "max_backoff")
    return plan.RetryPolicy(
        max_attempts=retry.max_attempts or 1,
        initial_backoff=0.1 if first is None else first,
        max_backoff=10.0 if longest is None else longest,
        backoff_multiplier=retry.backoff_multiplier or 2.0,
        jitter=retry.jitter if retry.HasField("jitter") else 0.5,
        reasons=tuple(retry.reasons),
    )


def _from_idempotency(idempotency: plan_pb2.IdempotencyPolicy) -> plan.Idempotency:
    ttl = duration_of(idempotency, "ttl")
    return plan.Idempotency(key=idempotency.key, ttl=3600.0 if ttl is None else ttl)


def _from_limits(limits: plan_pb2.Limits) -> plan.Limits:
    message: Any = limits
    given = {name: getattr(message, name) for name in LIMITS if message.HasField(name)}
    return plan.Limits(
        on_breach=ON_BREACH.get(limits.on_breach), max_duration=duration_of(limits, "max_duration"), **given
    )
