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

Fields = dict[str, Any]
"""The fields of a message, as its constructor takes them: dicts where it has messages. A tree of dicts becomes messages in
one call, in half the time; a message that is made by itself is copied once for each level above it."""


def run_result_to_pb(result: RunResult) -> run_pb2.RunResult:
    return run_pb2.RunResult(**run_result_fields(result))


def run_result_fields(result: RunResult) -> Fields:
    fields: Fields = {
        "run_id": result.run_id,
        "state": wire.STATES[result.state],
        "groups": [group_result_fields(group) for group in result.groups],
        "started_at": wire.timestamp_fields(result.started_at),
        "elapsed": wire.duration_fields(result.elapsed),
        "stats": _stats(result.stats),
    }
    if result.output is not None:
        fields["output"] = wire.payload_fields(result.output)
    _add_failure(fields, result.failure)
    _add_usage(fields, result.usage)
    return fields


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
    return run_pb2.Event(**event_fields(event))


def event_fields(event: Event) -> Fields:
    name, write = DETAILS[type(event.detail)]
    fields: Fields = {
        "sequence": event.sequence,
        "elapsed": wire.duration_fields(event.elapsed),
        name: write(event.detail),
    }
    if event.parent:
        fields["parent"] = wire.text_to_pb(event.parent)
    if event.group:
        fields["group"] = wire.text_to_pb(event.group)
    if event.member:
        fields["member"] = wire.text_to_pb(event.member)
    return fields


def _add_failure(fields: Fields, failure: Failure | None) -> None:
    if failure is not None:
        fields["failure"] = {
            "reason": wire.text_to_pb(failure.reason),
            "message": wire.text_to_pb(failure.message),
            "details": wire.struct_to_pb(failure.details),
        }


def _add_usage(fields: Fields, usage: Usage) -> None:
    """Left unset when nothing was called."""
    if usage != usage_model.NONE:
        fields["usage"] = {
            "calls": usage.calls,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_nanos": usage.cost_nanos,
            "unpriced_calls": usage.unpriced_calls,
        }


def _add_receipt(fields: Fields, receipt: StopReceipt | None) -> None:
    if receipt is not None:
        fields["stop"] = {
            "kind": wire.STOP_KINDS[receipt.kind],
            "took": wire.duration_fields(receipt.took),
            "detail": wire.text_to_pb(receipt.detail),
        }


def _stats(stats: Stats) -> Fields:
    return {
        "members": stats.members,
        "succeeded": stats.succeeded,
        "failed": stats.failed,
        "timed_out": stats.timed_out,
        "cancelled": stats.cancelled,
        "skipped": stats.skipped,
        "detached": stats.detached,
        "peak_running": stats.peak_running,
        "ran": wire.duration_fields(stats.ran),
        "queued": wire.duration_fields(stats.queued),
        "progress_dropped": stats.progress_dropped,
    }


def outcome_fields(outcome: Outcome) -> Fields:
    fields: Fields = {
        "member": wire.text_to_pb(outcome.member),
        "agent": wire.text_to_pb(outcome.agent),
        "state": wire.STATES[outcome.state],
        "attempts": outcome.attempts,
        "queued": wire.duration_fields(outcome.queued),
        "ran": wire.duration_fields(outcome.ran),
    }
    if outcome.output is not None:
        fields["output"] = wire.payload_fields(outcome.output)
    _add_failure(fields, outcome.failure)
    _add_usage(fields, outcome.usage)
    if outcome.cached:
        fields["cached"] = True
    _add_receipt(fields, outcome.stop)
    if outcome.metadata:
        fields["metadata"] = wire.struct_to_pb(outcome.metadata)
    if outcome.nested:
        fields["nested"] = [group_result_fields(group) for group in outcome.nested]
    if outcome.attempt_log:
        fields["attempt_log"] = [_attempt(attempt) for attempt in outcome.attempt_log]
    return fields


def _attempt(attempt: Attempt) -> Fields:
    fields: Fields = {
        "number": attempt.number,
        "kind": wire.ATTEMPT_KINDS[attempt.kind],
        "state": wire.STATES[attempt.state],
        "started": wire.duration_fields(attempt.started),
        "ran": wire.duration_fields(attempt.ran),
    }
    _add_failure(fields, attempt.failure)
    _add_usage(fields, attempt.usage)
    _add_receipt(fields, attempt.stop)
    return fields


def group_result_fields(result: GroupResult) -> Fields:
    fields: Fields = {
        "name": wire.text_to_pb(result.name),
        "state": wire.STATES[result.state],
        "outcomes": [outcome_fields(outcome) for outcome in result.outcomes],
        "decided_early": result.decided_early,
        "elapsed": wire.duration_fields(result.elapsed),
        "stats": _stats(result.stats),
        "parent": wire.text_to_pb(result.parent),
    }
    if result.aggregate is not None:
        fields["aggregate"] = wire.payload_fields(result.aggregate)
    _add_failure(fields, result.failure)
    if result.metadata:
        fields["metadata"] = wire.struct_to_pb(result.metadata)
    _add_usage(fields, result.usage)
    if result.asked:
        fields["asked"] = [group_result_fields(group) for group in result.asked]
    if result.saved is not None:
        fields["saved"] = _saved(result.saved)
    return fields


def _saved(saved: Saved) -> Fields:
    return {
        "members": saved.members,
        "calls": saved.calls,
        "cost_nanos": min(saved.cost_nanos, wire.MAX_INT64),
        "unpriced_calls": saved.unpriced_calls,
    }


def _run_started(detail: RunStarted) -> Fields:
    return {
        "run_id": detail.run_id,
        "started_at": wire.timestamp_fields(detail.started_at),
        "members": detail.members,
        "labels": wire.texts_to_pb(detail.labels),
    }


def _group_started(detail: GroupStarted) -> Fields:
    return {
        "members": detail.members,
        "seats": [
            {"member": wire.text_to_pb(member), "agent": wire.text_to_pb(agent)} for member, agent in detail.seats
        ],
        "fingerprint": wire.text_to_pb(detail.fingerprint),
    }


def _member_started(detail: MemberStarted) -> Fields:
    return {
        "agent": wire.text_to_pb(detail.agent),
        "queued": wire.duration_fields(detail.queued),
        "attempt": detail.attempt,
    }


def _attempt_started(detail: AttemptStarted) -> Fields:
    return {"number": detail.number, "kind": wire.ATTEMPT_KINDS[detail.kind]}


def _attempt_ended(detail: AttemptEnded) -> Fields:
    return {"attempt": _attempt(detail.attempt), "retry_in": wire.wait_to_pb(detail.retry_in)}


def _member_progress(detail: MemberProgress) -> Fields:
    return {"report": wire.payload_fields(detail.report)}


def _member_ended(detail: MemberEnded) -> Fields:
    return {"outcome": outcome_fields(detail.outcome)}


def _group_ended(detail: GroupEnded) -> Fields:
    return {"result": group_result_fields(detail.result)}


def _run_ended(detail: RunEnded) -> Fields:
    fields: Fields = {"state": wire.STATES[detail.state], "stats": _stats(detail.stats)}
    _add_failure(fields, detail.failure)
    _add_usage(fields, detail.usage)
    return fields


DETAILS: Final[Mapping[type, tuple[str, Callable[[Any], Fields]]]] = {
    RunStarted: ("run_started", _run_started),
    GroupStarted: ("group_started", _group_started),
    MemberStarted: ("member_started", _member_started),
    AttemptStarted: ("attempt_started", _attempt_started),
    AttemptEnded: ("attempt_ended", _attempt_ended),
    MemberProgress: ("member_progress", _member_progress),
    MemberEnded: ("member_ended", _member_ended),
    GroupEnded: ("group_ended", _group_ended),
    RunEnded: ("run_ended", _run_ended),
}
"""How each kind of event is written, and into which field. A test compares the rows with the kinds that there are."""


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
        composite=info.composite,
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
