"""What a server sends, made into the client's own values: outcomes, results, events, runs, the catalog."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from motet_client import _event as event
from motet_client import _result as result
from motet_client._info import AgentInfo, AgentKind, AggregationInfo, GroupInfo, MapResult, RunInfo
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
AGENT_KINDS: Final[dict[int, AgentKind]] = {
    catalog.AgentKind.Value(f"AGENT_KIND_{kind.name}"): kind for kind in AgentKind if kind is not AgentKind.UNKNOWN
}
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


def from_outcome(outcome: run_pb2.Outcome) -> result.Outcome:
    stop = outcome.stop
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
        stop=result.StopReceipt(named(STOP_KINDS, stop.kind, "stop kind"), from_duration(stop.took), stop.detail)
        if outcome.HasField("stop")
        else None,
        metadata=from_struct(outcome.metadata),
        nested=_groups(outcome.nested),
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
    "group_started": lambda m: event.GroupStarted(m.members, tuple((seat.member, seat.agent) for seat in m.seats)),
    "member_started": lambda m: event.MemberStarted(m.agent, from_duration(m.queued), m.attempt),
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
        replay_safe=agent.replay_safe,
        labels=dict(agent.labels),
        estimated_cost_nanos=agent.estimated_cost_nanos if agent.HasField("estimated_cost_nanos") else None,
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
