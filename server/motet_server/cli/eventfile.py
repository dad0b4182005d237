"""Reads back the events that `motet run --json` and `motet watch --json` printed. What they mean is for others to say."""

import json
import math
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final

from motet.model.payload import Payload
from motet.model.state import State
from motet_server.cli.exits import UsageError

_MAPPINGS: Final = {"labels", "metadata", "details", "options", "variables"}
"""Fields that hold names of their own, not those of a noun."""
_KINDS: Final = {"text", "json", "data"}
_NUMBER: Final = (int, float)
_OPTIONAL: Final = (SimpleNamespace, type(None))
_SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "RunStarted": {"run_id": str, "started_at": str, "members": int},
    "GroupStarted": {"members": int, "seats": list},
    "MemberStarted": {"agent": str, "attempt": int},
    "AttemptStarted": {"number": int, "kind": str},
    "AttemptEnded": {"attempt": SimpleNamespace},
    "MemberProgress": {"report": Payload},
    "MemberEnded": {"outcome": SimpleNamespace},
    "GroupEnded": {"result": SimpleNamespace},
    "RunEnded": {"state": str, "failure": _OPTIONAL, "usage": SimpleNamespace},
    "attempt": {"number": int, "state": str, "failure": _OPTIONAL, "usage": SimpleNamespace, "stop": _OPTIONAL},
    "outcome": {
        "agent": str,
        "state": str,
        "failure": _OPTIONAL,
        "attempts": int,
        "cached": bool,
        "usage": SimpleNamespace,
        "stop": _OPTIONAL,
    },
    "result": {"state": str, "failure": _OPTIONAL, "usage": SimpleNamespace},
    "failure": {"reason": str, "message": str},
    "stop": {"kind": str, "took": _NUMBER, "detail": str},
    "usage": {
        "calls": int,
        "input_tokens": int,
        "output_tokens": int,
        "cost_nanos": int,
        "unpriced_calls": int,
    },
}
"""What is read of each kind of event, and of the nouns in them by the names of their fields."""


def read(lines: Iterable[str], name: str) -> Iterator[Any]:
    """The events in the lines, as objects with the fields of events. Lines of other things, as of the result, are passed
    over. Raises UsageError, which names the line of the file `name`."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line, parse_constant=_refuse)
            if isinstance(found, dict) and "event" in found:
                yield _event(found["event"])
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise UsageError(
                f"--file: line {number} of {name!r} is not what `motet run --json` and `motet watch --json` print"
            ) from None


def _event(found: Mapping[str, Any]) -> Any:
    kind = "".join(word.capitalize() for word in found["type"].split("_"))
    detail = _value(kind, found["detail"])
    if kind == "RunStarted":
        detail.started_at = datetime.fromisoformat(detail.started_at)
    if kind == "GroupStarted":
        detail.seats = tuple((str(member), str(agent)) for member, agent in detail.seats)
    # Whoever reads events knows them by the names of their classes.
    named = type(kind, (SimpleNamespace,), {})(**vars(detail))
    elapsed = float(found["elapsed"])
    if not math.isfinite(elapsed):
        raise ValueError("no such time")
    return SimpleNamespace(
        sequence=int(found["sequence"]),
        elapsed=elapsed,
        detail=named,
        group=str(found["group"]),
        member=str(found["member"]),
        parent=str(found["parent"]),
    )


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_value(name, item) for item in value]
    if not isinstance(value, dict) or name in _MAPPINGS:
        return value
    kind = next((kind for kind in _KINDS if kind in value), None)
    if kind is not None and set(value) <= {kind, "media_type"}:
        return _payload(kind, value[kind])
    made = SimpleNamespace(**{field: _value(field, item) for field, item in value.items()})
    for field, wanted in _SHAPES.get(name, {}).items():
        given = getattr(made, field)
        if not isinstance(given, wanted) or (field == "state" and given not in set(State)):
            raise ValueError(f"{name}.{field} is something else")
    return made


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _payload(kind: str, content: Any) -> Payload:
    if kind == "data":
        return Payload.from_bytes(b64decode(content))
    # A document is only looked into for what a report says of tools, so its numbers may lose precision here.
    return Payload.from_json(content) if kind == "json" else Payload.from_text(str(content))
