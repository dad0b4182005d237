"""What a server sends, made into the client's own values: outcomes, results, events, runs, the catalog."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from motet_client import _event as event
from motet_client import _result as result
from motet_client._info import (
    AgentInfo,
    AgentKind,
    AggregationInfo,
    Breaker,
    GroupInfo,
    LimitsInUse,
    LimitUse,
    MapResult,
    Rate,
    RunInfo,
)
from motet_client._wire_plan import from_group
from motet_client._wire_values import (
    duration_of,
    from_duration,
    from_payload,
    from_struct,
    from_timestamp,
    named,
    payload_of,
)
from motet_proto.v1 import catalog_service_pb2 as catalog
from motet_proto.v1 import run_pb2, run_service_pb2

STATES: Final[dict[int, result.State]] = {run_pb2.State.Value(f"STATE_{state}"): state for state in result.State}
STOP_KINDS: Final[dict[int, result.StopKind]] = {
    run_pb2.StopReceipt.Kind.Value(f"KIND_{kind}"): kind for kind in result.StopKind
}
ATTEMPT_KINDS: Final[dict[int, result.AttemptKind]] = {
    run_pb2.Attempt.Kind.Value(f"KIND_{kind}"): kind for kind in result.AttemptKind
}
AGENT_KINDS: Final[dict[int, AgentKind]] = {
    catalog.AgentKind.Value(f"AGENT_KIND_{kind.name}"): kind for kind in AgentKind if kind is not AgentKind.UNKNOWN
}
RATE: Final = tuple(Rate.__dataclass_fields__)
SAVED: Final = tuple(result.Saved.__dataclass_fields__)
USAGE: Final = tuple(result.Usage.__dataclass_fields__)
COUNTS: Final = tuple(name for name in result.Stats.__dataclass_fields__ if name not in ("ran", "queued"))


def _failure(message: Any) -> result.Failure | None:
    if not message.HasField("failure"):
        return None
    failure = message.failure
    return result.Failure(failure.reason, failure.message, from_struct(failure.details))


def _usage(usage: run_pb2.Usage) -> result.Usage:
    return result.Usage(**{name: getattr(usage, name) for name in USAGE})


def _stats(stats: run_pb2.Stats) -> result.Stats:
    counts: dict[str, Any] = {name: getattr(stats, name) for name in COUNTS}
    return result.Stats(ran=from_duration(stats.ran), queued=from_duration(stats.queued), **counts)


def _saved(group: run_pb2.GroupResult) -> result.Saved | None:
    return result.Saved(**{name: getattr(group.saved, name) for name in SAVED}) if group.HasField("saved") else None


def _stop(message: Any) -> result.StopReceipt | None:
    if not message.HasField("stop"):
        return None
    stop = message.stop
    return result.StopReceipt(named(STOP_KINDS, stop.kind, "stop kind"), from_duration(stop.took), stop.detail)


def _attempt_kind(number: int) -> result.AttemptKind:
    return named(ATTEMPT_KINDS, number, "attempt kind")


def _attempt(attempt: run_pb2.Attempt) -> result.Attempt:
    return result.Attempt(
        number=attempt.number,
        kind=_attempt_kind(attempt.kind),
        state=named(STATES, attempt.state, "state"),
        failure=_failure(attempt),
        started=from_duration(attempt.started),
        ran=from_duration(attempt.ran),
        usage=_usage(attempt.usage),
        stop=_stop(attempt),
    )


def from_outcome(outcome: run_pb2.Outcome) -> result.Outcome:
    return result.Outcome(
        member=outcome.member,
        agent=outcome.agent,
        state=named(STATES, outcome.state, "state"),
        output=payload_of(outcome, "output"),
        failure=_failure(outcome),
        attempts=outcome.attempts,
        queued=from_duration(outcome.queued),
        ran=from_duration(outcome.ran),
        usage=_usage(outcome.usage),
        cached=outcome.cached,
        stop=_stop(outcome),
        metadata=from_struct(outcome.metadata),
        nested=_groups(outcome.nested),
        attempt_log=tuple(map(_attempt, outcome.attempt_log)),
    )


def _groups(groups: Iterable[run_pb2.GroupResult]) -> tuple[result.GroupResult, ...]:
    return tuple(map(from_group_result, groups))


def from_group_result(group: run_pb2.GroupResult) -> result.GroupResult:
    return result.GroupResult(
        name=group.name,
        state=named(STATES, group.state, "state"),
        aggregate=payload_of(group, "aggregate"),
        failure=_failure(group),
        outcomes=tuple(map(from_outcome, group.outcomes)),
        decided_early=group.decided_early,
        elapsed=from_duration(group.elapsed),
        stats=_stats(group.stats),
        metadata=from_struct(group.metadata),
        parent=group.parent,
        usage=_usage(group.usage),
        asked=_groups(group.asked),
        saved=_saved(group),
    )


def from_result(run: run_pb2.RunResult) -> result.RunResult:
    return result.RunResult(
        run_id=run.run_id,
        state=named(STATES, run.state, "state"),
        output=payload_of(run, "output"),
        groups=_groups(run.groups),
        usage=_usage(run.usage),
        failure=_failure(run),
        started_at=from_timestamp(run.started_at),
        elapsed=from_duration(run.elapsed),
        stats=_stats(run.stats),
    )


def from_event(message: run_pb2.Event) -> event.Event | None:
    """None for a kind of event that this client does not know: those are passed over."""
    kind = message.WhichOneof("detail")
    if kind is None:
        return None
    detail = _DETAILS[kind](getattr(message, kind))
    return event.Event(
        message.sequence, from_duration(message.elapsed), detail, message.group, message.member, message.parent
    )


_DETAILS: Final[Mapping[str, Any]] = {
    "run_started": lambda m: event.RunStarted(m.run_id, from_timestamp(m.started_at), m.members, dict(m.labels)),
    "group_started": lambda m: event.GroupStarted(
        m.members, tuple((seat.member, seat.agent) for seat in m.seats), m.fingerprint
    ),
    "member_started": lambda m: event.MemberStarted(m.agent, from_duration(m.queued), m.attempt),
    "attempt_started": lambda m: event.AttemptStarted(m.number, _attempt_kind(m.kind)),
    "attempt_ended": lambda m: event.AttemptEnded(_attempt(m.attempt), duration_of(m, "retry_in")),
    "member_progress": lambda m: event.MemberProgress(from_payload(m.report)),
    "member_ended": lambda m: event.MemberEnded(from_outcome(m.outcome)),
    "group_ended": lambda m: event.GroupEnded(from_group_result(m.result)),
    "run_ended": lambda m: event.RunEnded(
        named(STATES, m.state, "state"), _failure(m), _usage(m.usage), _stats(m.stats)
    ),
}


def from_map(answer: run_service_pb2.MapRunResponse) -> MapResult:
    return MapResult(answer.index, answer.id, from_result(answer.result))


def from_run(run: run_pb2.Run) -> RunInfo:
    return RunInfo(
        run_id=run.run_id,
        state=named(STATES, run.state, "state"),
        target=run.target,
        started_at=from_timestamp(run.started_at),
        labels=dict(run.labels),
        request_id=run.request_id,
        session_id=run.session_id,
        tenant=run.tenant,
        ended_at=from_timestamp(run.ended_at) if run.HasField("ended_at") else None,
        last_sequence=run.last_sequence,
        result=from_result(run.result) if run.HasField("result") else None,
    )


def from_agent(agent: catalog.Agent) -> AgentInfo:
    return AgentInfo(
        name=agent.name,
        kind=AGENT_KINDS.get(agent.kind, AgentKind.UNKNOWN),
        description=agent.description,
        version=agent.version,
        input_schema=agent.input_schema,
        max_parallel=agent.max_parallel or None,
        provider=agent.provider,
        timeout=duration_of(agent, "timeout"),
        replay_safe=agent.replay_safe if agent.HasField("replay_safe") else None,
        labels=dict(agent.labels),
        estimated_cost_nanos=agent.estimated_cost_nanos if agent.HasField("estimated_cost_nanos") else None,
        estimated_tokens=agent.estimated_tokens if agent.HasField("estimated_tokens") else None,
        rate=_rate(agent.rate) if agent.HasField("rate") else None,
        weight=agent.weight or 1.0,
        breaker=_breaker(agent.breaker) if agent.HasField("breaker") else None,
        composite=agent.composite,
    )


def _rate(rate: Any) -> Rate:
    return Rate(**{name: getattr(rate, name) for name in RATE if rate.HasField(name)})


def _breaker(breaker: catalog.Breaker) -> Breaker:
    return Breaker(failures=breaker.failures, cooldown=from_duration(breaker.cooldown), probes=breaker.probes)


def from_limits(answer: run_service_pb2.ListLimitsResponse) -> LimitsInUse:
    return LimitsInUse(tuple(map(_limit_use, answer.uses)), answer.waiting)


def _limit_use(use: run_service_pb2.LimitUse) -> LimitUse:
    return LimitUse(
        guard=use.guard,
        scope=use.scope,
        name=use.name,
        what=use.what,
        limit=use.limit if use.HasField("limit") else None,
        used=use.used,
        reserved=use.reserved,
        window=duration_of(use, "window"),
        state=use.state,
    )


def from_group_info(info: catalog.GroupInfo) -> GroupInfo:
    return GroupInfo(from_group(info.group), info.description)


def from_aggregation(info: catalog.AggregationInfo) -> AggregationInfo:
    return AggregationInfo(
        name=info.name,
        description=info.description,
        options_schema=info.options_schema,
        decides_early=info.decides_early,
    )
