"""Results, events, records and catalog entries from motet.model to motet.v1. One way: a server only tells them."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from motet.model import usage as usage_model
from motet.model.agent import AgentInfo
from motet.model.event import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
    RunStarted,
)
from motet.model.limit_use import LimitUse
from motet.model.outcome import Attempt, Failure, Outcome, StopReceipt
from motet.model.plan import Group
from motet.model.rate import Breaker, Rate
from motet.model.result import GroupResult, RunResult, Saved, Stats
from motet.model.run import RunRecord
from motet.model.usage import Usage
from motet.ports import AggregatorType
from motet_proto.v1 import catalog_service_pb2, run_pb2, run_service_pb2
from motet_server import wire
from motet_server.wire_requests import group_to_pb


def failure_to_pb(failure: Failure | None) -> run_pb2.Failure | None:
    if failure is None:
        return None
    return run_pb2.Failure(
        reason=wire.text_to_pb(failure.reason),
        message=wire.text_to_pb(failure.message),
        details=wire.struct_to_pb(failure.details),
    )


def usage_to_pb(usage: Usage) -> run_pb2.Usage | None:
    """None, which leaves the field unset, when nothing was called."""
    if usage == usage_model.NONE:
        return None
    return run_pb2.Usage(
        calls=usage.calls,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_nanos=usage.cost_nanos,
        unpriced_calls=usage.unpriced_calls,
    )


def stats_to_pb(stats: Stats) -> run_pb2.Stats:
    return run_pb2.Stats(
        members=stats.members,
        succeeded=stats.succeeded,
        failed=stats.failed,
        timed_out=stats.timed_out,
        cancelled=stats.cancelled,
        skipped=stats.skipped,
        detached=stats.detached,
        peak_running=stats.peak_running,
        ran=wire.duration_to_pb(stats.ran),
        queued=wire.duration_to_pb(stats.queued),
        progress_dropped=stats.progress_dropped,
    )


def outcome_to_pb(outcome: Outcome) -> run_pb2.Outcome:
    return run_pb2.Outcome(
        member=wire.text_to_pb(outcome.member),
        agent=wire.text_to_pb(outcome.agent),
        state=wire.STATES[outcome.state],
        output=None if outcome.output is None else wire.payload_to_pb(outcome.output),
        failure=failure_to_pb(outcome.failure),
        attempts=outcome.attempts,
        queued=wire.duration_to_pb(outcome.queued),
        ran=wire.duration_to_pb(outcome.ran),
        usage=usage_to_pb(outcome.usage),
        cached=outcome.cached,
        stop=_receipt_to_pb(outcome.stop),
        metadata=wire.struct_to_pb(outcome.metadata),
        nested=map(group_result_to_pb, outcome.nested),
        attempt_log=map(attempt_to_pb, outcome.attempt_log),
    )


def attempt_to_pb(attempt: Attempt) -> run_pb2.Attempt:
    return run_pb2.Attempt(
        number=attempt.number,
        kind=wire.ATTEMPT_KINDS[attempt.kind],
        state=wire.STATES[attempt.state],
        failure=failure_to_pb(attempt.failure),
        started=wire.duration_to_pb(attempt.started),
        ran=wire.duration_to_pb(attempt.ran),
        usage=usage_to_pb(attempt.usage),
        stop=_receipt_to_pb(attempt.stop),
    )


def group_result_to_pb(result: GroupResult) -> run_pb2.GroupResult:
    return run_pb2.GroupResult(
        name=wire.text_to_pb(result.name),
        state=wire.STATES[result.state],
        aggregate=None if result.aggregate is None else wire.payload_to_pb(result.aggregate),
        failure=failure_to_pb(result.failure),
        outcomes=map(outcome_to_pb, result.outcomes),
        decided_early=result.decided_early,
        elapsed=wire.duration_to_pb(result.elapsed),
        stats=stats_to_pb(result.stats),
        metadata=wire.struct_to_pb(result.metadata),
        parent=wire.text_to_pb(result.parent),
        usage=usage_to_pb(result.usage),
        asked=map(group_result_to_pb, result.asked),
        saved=None if result.saved is None else _saved_to_pb(result.saved),
    )


def run_result_to_pb(result: RunResult) -> run_pb2.RunResult:
    return run_pb2.RunResult(
        run_id=result.run_id,
        state=wire.STATES[result.state],
        output=None if result.output is None else wire.payload_to_pb(result.output),
        groups=map(group_result_to_pb, result.groups),
        usage=usage_to_pb(result.usage),
        failure=failure_to_pb(result.failure),
        started_at=wire.timestamp_to_pb(result.started_at),
        elapsed=wire.duration_to_pb(result.elapsed),
        stats=stats_to_pb(result.stats),
    )


def run_to_pb(record: RunRecord) -> run_pb2.Run:
    return run_pb2.Run(
        run_id=record.run_id,
        state=wire.STATES[record.state],
        target=wire.text_to_pb(record.target),
        labels=wire.texts_to_pb(record.labels),
        request_id=wire.text_to_pb(record.request_id),
        session_id=wire.text_to_pb(record.session_id),
        tenant=wire.text_to_pb(record.tenant),
        started_at=wire.timestamp_to_pb(record.started_at),
        ended_at=None if record.ended_at is None else wire.timestamp_to_pb(record.ended_at),
        last_sequence=record.last_sequence,
        result=None if record.result is None else run_result_to_pb(record.result),
    )


def event_to_pb(event: Event) -> run_pb2.Event:
    message = run_pb2.Event(
        sequence=event.sequence,
        elapsed=wire.duration_to_pb(event.elapsed),
        parent=wire.text_to_pb(event.parent),
        group=wire.text_to_pb(event.group),
        member=wire.text_to_pb(event.member),
    )
    DETAILS[type(event.detail)](message, event.detail)
    return message


def _saved_to_pb(saved: Saved) -> run_pb2.Saved:
    return run_pb2.Saved(
        members=saved.members,
        calls=saved.calls,
        cost_nanos=min(saved.cost_nanos, wire.MAX_INT64),
        unpriced_calls=saved.unpriced_calls,
    )


def _receipt_to_pb(receipt: StopReceipt | None) -> run_pb2.StopReceipt | None:
    if receipt is None:
        return None
    return run_pb2.StopReceipt(
        kind=wire.STOP_KINDS[receipt.kind],
        took=wire.duration_to_pb(receipt.took),
        detail=wire.text_to_pb(receipt.detail),
    )


def _run_started(message: run_pb2.Event, detail: RunStarted) -> None:
    message.run_started.CopyFrom(
        run_pb2.RunStarted(
            run_id=detail.run_id,
            started_at=wire.timestamp_to_pb(detail.started_at),
            members=detail.members,
            labels=wire.texts_to_pb(detail.labels),
        )
    )


def _group_started(message: run_pb2.Event, detail: GroupStarted) -> None:
    seats = (
        run_pb2.Seat(member=wire.text_to_pb(member), agent=wire.text_to_pb(agent)) for member, agent in detail.seats
    )
    message.group_started.CopyFrom(
        run_pb2.GroupStarted(members=detail.members, seats=seats, fingerprint=wire.text_to_pb(detail.fingerprint))
    )


def _member_started(message: run_pb2.Event, detail: MemberStarted) -> None:
    queued = wire.duration_to_pb(detail.queued)
    started = run_pb2.MemberStarted(agent=wire.text_to_pb(detail.agent), queued=queued, attempt=detail.attempt)
    message.member_started.CopyFrom(started)


def _attempt_started(message: run_pb2.Event, detail: AttemptStarted) -> None:
    message.attempt_started.CopyFrom(run_pb2.AttemptStarted(number=detail.number, kind=wire.ATTEMPT_KINDS[detail.kind]))


def _attempt_ended(message: run_pb2.Event, detail: AttemptEnded) -> None:
    message.attempt_ended.CopyFrom(
        run_pb2.AttemptEnded(attempt=attempt_to_pb(detail.attempt), retry_in=wire.wait_to_pb(detail.retry_in))
    )


def _member_progress(message: run_pb2.Event, detail: MemberProgress) -> None:
    message.member_progress.report.CopyFrom(wire.payload_to_pb(detail.report))


def _member_ended(message: run_pb2.Event, detail: MemberEnded) -> None:
    message.member_ended.outcome.CopyFrom(outcome_to_pb(detail.outcome))


def _group_ended(message: run_pb2.Event, detail: GroupEnded) -> None:
    message.group_ended.result.CopyFrom(group_result_to_pb(detail.result))


def _run_ended(message: run_pb2.Event, detail: RunEnded) -> None:
    message.run_ended.CopyFrom(
        run_pb2.RunEnded(
            state=wire.STATES[detail.state],
            failure=failure_to_pb(detail.failure),
            usage=usage_to_pb(detail.usage),
            stats=stats_to_pb(detail.stats),
        )
    )


DETAILS: Final[Mapping[type, Callable[[run_pb2.Event, Any], None]]] = {
    RunStarted: _run_started,
    GroupStarted: _group_started,
    MemberStarted: _member_started,
    AttemptStarted: _attempt_started,
    AttemptEnded: _attempt_ended,
    MemberProgress: _member_progress,
    MemberEnded: _member_ended,
    GroupEnded: _group_ended,
    RunEnded: _run_ended,
}
"""How each kind of event is written. A test compares the rows with the kinds that there are."""


def agent_to_pb(info: AgentInfo) -> catalog_service_pb2.Agent:
    return catalog_service_pb2.Agent(
        name=wire.text_to_pb(info.name),
        kind=wire.AGENT_KINDS[info.kind],
        description=wire.text_to_pb(info.description),
        version=wire.text_to_pb(info.version),
        input_schema=wire.text_to_pb(info.input_schema),
        max_parallel=min(info.max_parallel or 0, wire.MAX_INT32),
        provider=wire.text_to_pb(info.provider),
        timeout=wire.timeout_to_pb(info.timeout),
        replay_safe=info.replay_safe,
        labels=wire.texts_to_pb(info.labels),
        estimated_cost_nanos=wire.count_to_pb(info.estimated_cost_nanos, wire.MAX_INT64),
        estimated_tokens=wire.count_to_pb(info.estimated_tokens, wire.MAX_INT64),
        rate=None if info.rate is None else _rate_to_pb(info.rate),
        weight=info.weight,
        breaker=None if info.breaker is None else _breaker_to_pb(info.breaker),
    )


def _rate_to_pb(rate: Rate) -> catalog_service_pb2.Rate:
    return catalog_service_pb2.Rate(
        calls_per_second=rate.calls_per_second,
        calls_per_minute=rate.calls_per_minute,
        tokens_per_second=rate.tokens_per_second,
        tokens_per_minute=rate.tokens_per_minute,
        burst=rate.burst,
    )


def _breaker_to_pb(breaker: Breaker) -> catalog_service_pb2.Breaker:
    return catalog_service_pb2.Breaker(
        failures=min(breaker.failures, wire.MAX_INT32),
        cooldown=wire.wait_to_pb(breaker.cooldown),
        probes=min(breaker.probes, wire.MAX_INT32),
    )


def group_info_to_pb(group: Group, description: str) -> catalog_service_pb2.GroupInfo:
    return catalog_service_pb2.GroupInfo(group=group_to_pb(group), description=wire.text_to_pb(description))


def aggregation_to_pb(rule: AggregatorType) -> catalog_service_pb2.AggregationInfo:
    schema = rule.options_schema
    return catalog_service_pb2.AggregationInfo(
        name=wire.text_to_pb(rule.name),
        description=wire.text_to_pb(rule.description),
        options_schema=json.dumps(schema, separators=(",", ":"), default=dict) if schema else "",
        decides_early=rule.decides_early,
    )


def limit_use_to_pb(use: LimitUse) -> run_service_pb2.LimitUse:
    return run_service_pb2.LimitUse(
        guard=wire.text_to_pb(use.guard),
        scope=wire.text_to_pb(use.scope),
        name=wire.text_to_pb(use.name),
        what=wire.text_to_pb(use.what),
        limit=use.limit,
        used=use.used,
        reserved=use.reserved,
        window=wire.timeout_to_pb(use.window),
        state=wire.text_to_pb(use.state),
    )
