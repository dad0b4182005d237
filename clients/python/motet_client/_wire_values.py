"""Times, JSON values, payloads and enums between messages and the client's own values. No input or output here.

Unset and zero stay apart both ways: a duration of 0 is sent as 0, None is not sent.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from motet_client._errors import Internal
from motet_client._payload import Payload
from motet_proto.v1 import payload_pb2

E = TypeVar("E", bound=StrEnum)

MAX_EXACT: Final = 2.0**53
"""Up to here a double holds every whole number, so one that came as a double can be an int again."""
MAX_SECONDS: Final = 315_576_000_000
"""Ten thousand years: what google.protobuf.Duration holds."""


def number_of(table: Mapping[int, E], choice: E | None) -> Any:
    return 0 if choice is None else next(number for number, known in table.items() if known == choice)


def named(table: Mapping[int, E], number: int, what: str) -> E:
    known = table.get(number)
    if known is None:
        raise Internal(f"the server sent {what} {number}, which this client does not know; update motet-client")
    return known


def to_duration(seconds: float | None) -> Duration | None:
    """None, and infinity, is unset. Raises ValueError for what is not a number or does not fit."""
    if seconds is None or seconds == math.inf:
        return None
    if not abs(seconds) <= MAX_SECONDS:
        raise ValueError(f"{seconds} is not a number of seconds up to {MAX_SECONDS}")
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def to_wait(seconds: float | None) -> Duration | None:
    """None is unset; infinity is sent as the longest duration, since unset means something shorter there."""
    return to_duration(MAX_SECONDS if seconds == math.inf else seconds)


def from_duration(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def duration_of(message: Any, name: str) -> float | None:
    return from_duration(getattr(message, name)) if message.HasField(name) else None


def from_timestamp(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)


def to_struct(values: Mapping[str, Any]) -> Struct | None:
    if not values:
        return None
    struct = Struct()
    struct.update(dict(values))
    return struct


def from_struct(struct: Struct) -> dict[str, Any]:
    return {name: _from_value(value) for name, value in struct.fields.items()}


def _from_value(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= MAX_EXACT else number
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(each) for each in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def to_payload(value: object) -> payload_pb2.Payload:
    """Raises TypeError or ValueError for what has no payload form."""
    payload = Payload.of(value)
    kind: Any = {payload.kind: payload.content}
    return payload_pb2.Payload(**kind, media_type=payload.media_type)


def to_payloads(values: Mapping[str, object]) -> dict[str, payload_pb2.Payload]:
    return {name: to_payload(value) for name, value in values.items()}


def from_payload(message: payload_pb2.Payload) -> Payload:
    kind = message.WhichOneof("kind") or "text"
    return Payload(kind, getattr(message, kind), message.media_type)


def payload_of(message: Any, name: str) -> Payload | None:
    return from_payload(getattr(message, name)) if message.HasField(name) else None


def from_payloads(messages: Mapping[str, payload_pb2.Payload]) -> dict[str, object]:
    return {name: from_payload(message) for name, message in messages.items()}
