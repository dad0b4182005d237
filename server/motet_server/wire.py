"""The one place that knows both the messages of motet.v1 and the nouns of motet.model: values, numbers and enums here,
requests in `wire_requests`, results in `wire_results`. Knows nothing of gRPC, and does not validate."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from motet.model.agent import AgentKind
from motet.model.outcome import AttemptKind, StopKind
from motet.model.payload import Payload
from motet.model.plan import OnBreach, OnFailure
from motet.model.state import State
from motet_proto.v1 import catalog_service_pb2, payload_pb2, plan_pb2, run_pb2

MAX_DURATION: Final = 315_576_000_000.0
"""Seconds: the most that google.protobuf.Duration holds, about 10,000 years. Longer ones are cut to it."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_EXACT_INTEGER: Final = 2**53
"""A double holds every integer up to here."""
MAX_INT32: Final = 2**31 - 1
MAX_INT64: Final = 2**63 - 1
MAX_STRUCT_DEPTH: Final = 16
"""Objects and lists in each other in a Struct that goes out. Readers refuse messages nested deeper than 100, a level
of a Struct costs three, and the groups around it up to twenty: what lies deeper is sent as JSON-like text."""

# A member of a model enum without a row here cannot be sent; a test compares the tables with the enums.
STATES: Final[Mapping[State, run_pb2.State.ValueType]] = {
    State.QUEUED: run_pb2.STATE_QUEUED,
    State.RUNNING: run_pb2.STATE_RUNNING,
    State.SUCCEEDED: run_pb2.STATE_SUCCEEDED,
    State.FAILED: run_pb2.STATE_FAILED,
    State.TIMED_OUT: run_pb2.STATE_TIMED_OUT,
    State.CANCELLED: run_pb2.STATE_CANCELLED,
    State.SKIPPED: run_pb2.STATE_SKIPPED,
}
STOP_KINDS: Final[Mapping[StopKind, run_pb2.StopReceipt.Kind.ValueType]] = {
    StopKind.STOPPED: run_pb2.StopReceipt.KIND_STOPPED,
    StopKind.DETACHED: run_pb2.StopReceipt.KIND_DETACHED,
}
ATTEMPT_KINDS: Final[Mapping[AttemptKind, run_pb2.Attempt.Kind.ValueType]] = {
    AttemptKind.FIRST: run_pb2.Attempt.KIND_FIRST,
    AttemptKind.RETRY: run_pb2.Attempt.KIND_RETRY,
    AttemptKind.HEDGE: run_pb2.Attempt.KIND_HEDGE,
    AttemptKind.RESUME: run_pb2.Attempt.KIND_RESUME,
}
ON_FAILURES: Final[Mapping[OnFailure | None, plan_pb2.OnFailure.ValueType]] = {
    None: plan_pb2.ON_FAILURE_UNSPECIFIED,
    OnFailure.STOP: plan_pb2.ON_FAILURE_STOP,
    OnFailure.CONTINUE: plan_pb2.ON_FAILURE_CONTINUE,
}
ON_BREACHES: Final[Mapping[OnBreach | None, plan_pb2.OnBreach.ValueType]] = {
    None: plan_pb2.ON_BREACH_UNSPECIFIED,
    OnBreach.DRAIN: plan_pb2.ON_BREACH_DRAIN,
    OnBreach.CANCEL: plan_pb2.ON_BREACH_CANCEL,
}
AGENT_KINDS: Final[Mapping[AgentKind, catalog_service_pb2.AgentKind.ValueType]] = {
    AgentKind.FUNCTION: catalog_service_pb2.AGENT_KIND_FUNCTION,
    AgentKind.COMMAND: catalog_service_pb2.AGENT_KIND_COMMAND,
    AgentKind.HTTP: catalog_service_pb2.AGENT_KIND_HTTP,
    AgentKind.MODEL: catalog_service_pb2.AGENT_KIND_MODEL,
    AgentKind.MCP: catalog_service_pb2.AGENT_KIND_MCP,
    AgentKind.REMOTE: catalog_service_pb2.AGENT_KIND_REMOTE,
    AgentKind.GROUP: catalog_service_pb2.AGENT_KIND_GROUP,
}
STATES_FROM_PB: Final = {pb: state for state, pb in STATES.items()}
ON_FAILURES_FROM_PB: Final = {pb: value for value, pb in ON_FAILURES.items()}
ON_BREACHES_FROM_PB: Final = {pb: value for value, pb in ON_BREACHES.items()}


def text_to_pb(text: str) -> str:
    """The text as protobuf can hold it: a lone surrogate, which has no UTF-8 form, becomes a question mark."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def texts_to_pb(texts: Mapping[str, str]) -> dict[str, str]:
    return {text_to_pb(key): text_to_pb(value) for key, value in texts.items()}


def payload_to_pb(payload: Payload) -> payload_pb2.Payload:
    return payload_pb2.Payload(**payload_fields(payload))


def payload_fields(payload: Payload) -> dict[str, Any]:
    """As the constructor of a message that has a payload takes it."""
    fields: dict[str, Any] = {payload.kind: payload.data if payload.kind == "data" else text_to_pb(payload.text)}
    if payload.media_type:
        fields["media_type"] = text_to_pb(payload.media_type)
    return fields


def payload_from_pb(message: payload_pb2.Payload) -> Payload:
    """JSON is taken as it is: `validation` has read it before. Raises ValueError when no kind is set."""
    kind = message.WhichOneof("kind")
    if kind == "text":
        return Payload("text", message.text, message.media_type)
    if kind == "json":
        return Payload("json", message.json, message.media_type)
    if kind == "data":
        return Payload("data", message.data, message.media_type)
    raise ValueError("a payload is text, json or data")


def payloads_to_pb(payloads: Mapping[str, Payload]) -> dict[str, payload_pb2.Payload]:
    return {text_to_pb(name): payload_to_pb(payload) for name, payload in payloads.items()}


def payloads_from_pb(messages: Mapping[str, payload_pb2.Payload]) -> dict[str, Payload]:
    return {name: payload_from_pb(message) for name, message in messages.items()}


def duration_to_pb(seconds: float) -> Duration:
    """Rounded to the nanosecond. Raises ValueError for NaN."""
    return Duration(**duration_fields(seconds))


def duration_fields(seconds: float) -> dict[str, int]:
    """As the constructor of a message that has a duration takes it. Raises ValueError for NaN."""
    if 0 <= seconds < 1:  # nearly all of them
        nanos = round(seconds * 1e9)
        return {"nanos": nanos} if nanos < 1_000_000_000 else {"seconds": 1}
    if math.isnan(seconds):
        raise ValueError("NaN is not a duration")
    bounded = min(max(seconds, -MAX_DURATION), MAX_DURATION)
    whole = int(bounded)  # towards zero: both parts of a Duration have the same sign
    nanos = round((bounded - whole) * 1e9)
    if abs(nanos) == 1_000_000_000:
        whole, nanos = whole + (1 if nanos > 0 else -1), 0
    return {"seconds": whole, "nanos": nanos}


def duration_from_pb(message: Duration) -> float:
    """Seconds, the float nearest to what is written; never a negative zero."""
    return (message.seconds * 10**9 + message.nanos) / 10**9  # of integers: exact until it is rounded, once


def timeout_to_pb(seconds: float | None) -> Duration | None:
    """None and infinity, which mean no bound, leave the field unset; zero sets it."""
    return None if seconds is None or seconds == math.inf else duration_to_pb(seconds)


def wait_to_pb(seconds: float | None) -> Duration | None:
    """None leaves the field unset; infinity is sent as the longest duration, since unset means something shorter there."""
    return None if seconds is None else duration_to_pb(seconds)


def count_to_pb(count: int | None, most: int) -> int | None:
    """The count in at most `most`, which no count reaches in practice; None leaves the field unset."""
    return None if count is None else min(count, most)


def timestamp_to_pb(moment: datetime) -> Timestamp:
    """Microseconds are kept; a moment without a zone counts as UTC."""
    return Timestamp(**timestamp_fields(moment))


def timestamp_fields(moment: datetime) -> dict[str, int]:
    """As the constructor of a message that has a timestamp takes it."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return {"seconds": since.days * 86_400 + since.seconds, "nanos": since.microseconds * 1000}


def struct_to_pb(values: Mapping[str, Any]) -> Struct | None:
    """The values as a Struct; None, which leaves the field unset, for none at all.

    A Struct's numbers are doubles. An integer that a double cannot hold goes as its decimal text, as in the JSON form of
    protobuf's int64; NaN and infinity go as text too, an agent or a function as its name, and so does whatever else has
    no JSON form.
    """
    if not values:
        return None
    message = Struct()
    message.update(_plain(values, 0))
    return message


def struct_from_pb(message: Struct) -> dict[str, Any]:
    """JSON values; numbers without a fraction, as far as a double holds every integer, become ints again: 1.0 too."""
    return {key: _whole(value) for key, value in MessageToDict(message).items()} if message.fields else {}


def _plain(value: Any, depth: int) -> Any:
    if depth < MAX_STRUCT_DEPTH:
        if isinstance(value, Mapping):
            return {text_to_pb(str(key)): _plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [_plain(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= MAX_EXACT_INTEGER:
        return float(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    return text_to_pb(stand_in(value))


def stand_in(value: Any) -> str:
    """What stands for a value that has no JSON form: the name of an agent or a function, else its text."""
    name = getattr(getattr(value, "info", None), "name", None)
    if name is None and callable(value):
        name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else str(value)


def _whole(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= MAX_EXACT_INTEGER else value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value
