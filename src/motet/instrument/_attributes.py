"""What the events of a run say, as attributes of spans. Names beginning with `gen_ai` and `error` are OpenTelemetry's semantic
conventions, all others begin with `motet`. Pure; knows no library of traces."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from motet.model.event import MemberStarted, RunStarted
from motet.model.outcome import Attempt, Failure, Outcome, StopReceipt
from motet.model.payload import Payload
from motet.model.result import GroupResult, Stats
from motet.model.state import State
from motet.model.usage import Usage

Value: TypeAlias = str | bool | int | float | tuple[str, ...]
Attributes: TypeAlias = dict[str, Value]

CONTENT_LIMIT: Final = 16_384
"""Characters of one answer in a span; what is longer is cut. Collectors commonly refuse spans of some hundred kilobytes."""
MAX_LABELS: Final = 32
"""Labels of a run in its span: a quarter of the attributes that the SDK lets a span have."""
ERRORS: Final = frozenset({State.FAILED, State.TIMED_OUT})
"""Ends that make a span an error. What was cancelled or skipped is none: most often its group had its answer."""


def of_run(started: RunStarted) -> Attributes:
    labels = [name for name in started.labels if name not in {"traceparent", "tracestate"}]
    return {
        "motet.run.id": started.run_id,
        "motet.run.members": started.members,
        **{f"motet.label.{name}": started.labels[name] for name in labels[:MAX_LABELS]},
    }


def of_member(group: str, member: str, started: MemberStarted) -> Attributes:
    return {
        "motet.agent.name": started.agent,
        "motet.group.name": group,
        "motet.member.name": member,
        "motet.queued": started.queued,
    }


def of_end(state: State, failure: Failure | None, *, content: bool) -> Attributes:
    """How anything ended. A message may repeat what an agent said, so it is content; the reason never does."""
    made: Attributes = {"motet.state": str(state)}
    if failure is not None:
        made["motet.reason"] = failure.reason
        if state in ERRORS:
            made["error.type"] = failure.reason
        if content:
            made["motet.message"] = failure.message[:CONTENT_LIMIT]
    return made


def of_usage(usage: Usage) -> Attributes:
    """What was used, descendants included: not under the names of the conventions, since sums over spans would then count it
    several times. A cost is there only when there is a price, and calls without one are counted apart."""
    made: Attributes = {"motet.usage.calls": usage.calls}
    if usage.input_tokens or usage.output_tokens:
        made["motet.usage.input_tokens"] = usage.input_tokens
        made["motet.usage.output_tokens"] = usage.output_tokens
    if usage.calls > usage.unpriced_calls or usage.cost_nanos:
        made["motet.usage.cost_nanos"] = usage.cost_nanos
    if usage.unpriced_calls:
        made["motet.usage.unpriced_calls"] = usage.unpriced_calls
    return made


def of_stop(stop: StopReceipt | None) -> Attributes:
    return {} if stop is None else {"motet.stop.kind": str(stop.kind), "motet.stop.took": stop.took}


def of_attempt(attempt: Attempt, *, content: bool) -> Attributes:
    return {
        **of_end(attempt.state, attempt.failure, content=content),
        **of_usage(attempt.usage),
        **of_stop(attempt.stop),
    }


def of_outcome(outcome: Outcome, *, content: bool) -> Attributes:
    made = {
        **of_end(outcome.state, outcome.failure, content=content),
        **of_usage(outcome.usage),
        **of_stop(outcome.stop),
        "motet.attempts": outcome.attempts,
    }
    if outcome.cached:
        made["motet.cached"] = True
    if content and outcome.output is not None:
        made["motet.output"] = _shown(outcome.output)
    return made


def of_group(result: GroupResult, *, content: bool) -> Attributes:
    made = {
        **of_end(result.state, result.failure, content=content),
        **of_usage(result.usage),
        **of_stats("motet.group", result.stats),
    }
    if result.decided_early:
        made["motet.group.decided_early"] = True
    return made


def of_stats(prefix: str, stats: Stats) -> Attributes:
    """How many members ended in which way, those that any did."""
    counts = {
        "succeeded": stats.succeeded,
        "failed": stats.failed,
        "timed_out": stats.timed_out,
        "cancelled": stats.cancelled,
        "skipped": stats.skipped,
        "detached": stats.detached,
    }
    return {f"{prefix}.{name}": number for name, number in counts.items() if number}


def of_chat(outcome: Outcome, *, content: bool) -> Attributes:
    """Of a request to a model: the reply's metadata names the service and the model, the usage is the request's own."""
    said = outcome.metadata
    made: Attributes = {"gen_ai.operation.name": "chat"}
    values = {
        "gen_ai.provider.name": said.get("system"),
        "gen_ai.request.model": requested_model(said),
        "gen_ai.response.model": said.get("model"),
        "gen_ai.response.id": said.get("response_id"),
    }
    for name, value in values.items():
        if isinstance(value, str) and value:
            made[name] = value
    finish = said.get("finish")
    if isinstance(finish, str) and finish:
        made["gen_ai.response.finish_reasons"] = (finish,)
    if outcome.usage.input_tokens or outcome.usage.output_tokens:
        made["gen_ai.usage.input_tokens"] = outcome.usage.input_tokens
        made["gen_ai.usage.output_tokens"] = outcome.usage.output_tokens
    messages = _messages(outcome.output) if content else None
    if messages is not None:
        made["gen_ai.output.messages"] = messages
    return made


def is_chat(metadata: Mapping[str, Any]) -> bool:
    """The reply says that it is a model's."""
    return isinstance(metadata.get("system"), str) and isinstance(metadata.get("model"), str)


def requested_model(metadata: Mapping[str, Any]) -> str:
    """The one that was asked for; `model` is the one that answered."""
    return str(metadata.get("requested_model") or metadata.get("model"))


def of_tool(tool: str, call_id: str, status: str) -> Attributes:
    return {"gen_ai.tool.name": tool, "gen_ai.tool.call.id": call_id, "motet.tool.status": status}


def _shown(payload: Payload) -> str:
    if payload.kind == "data":
        return f"({len(payload.content)} bytes of {payload.media_type or 'application/octet-stream'})"
    return payload.text[:CONTENT_LIMIT]


def _messages(output: Payload | None) -> str | None:
    """A reply of a model in the form of the conventions; None when it is none, or too long for a span."""
    if output is None or output.kind != "json" or len(output.content) > CONTENT_LIMIT:
        return None
    reply = output.value
    if not isinstance(reply, dict):
        return None
    parts: list[dict[str, Any]] = []
    if isinstance(reply.get("text"), str) and reply["text"]:
        parts.append({"type": "text", "content": reply["text"]})
    calls = reply.get("tool_calls")
    parts += [
        {"type": "tool_call", **{name: call.get(name) for name in ("id", "name", "arguments")}}
        for call in (calls if isinstance(calls, list) else ())
        if isinstance(call, dict)
    ]
    return json.dumps([{"role": "assistant", "parts": parts, "finish_reason": str(reply.get("finish", "stop"))}])
