"""Values as JSON lines. JSON payloads are written to the letter, so their numbers keep their precision."""

import base64
import dataclasses
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_SPECIAL = re.compile(r"[^\x20-\x7e]")


def _ascii(match: re.Match[str]) -> str:
    """Outside its strings a JSON document has no such characters but line ends and tabs, so escaping is safe inside."""
    char = match.group()
    if char in "\r\n\t":
        return " "
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def line(value: Any) -> str:
    """One JSON object on one line of ASCII, with its line end."""
    return _write(value) + "\n"


def event(value: Any) -> dict[str, Any]:
    """An event with the name of its kind: `member_ended` for MemberEnded."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(value.detail).__name__).lower()
    return {
        "sequence": value.sequence,
        "elapsed": value.elapsed,
        "type": kind,
        "parent": value.parent,
        "group": value.group,
        "member": value.member,
        "detail": value.detail,
    }


def _write(value: Any) -> str:  # noqa: PLR0911  # one for each kind of value
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    if value is None or isinstance(value, bool | int | float | str):
        return json.dumps(value)
    if isinstance(value, datetime):
        return json.dumps(value.isoformat())
    if isinstance(value, bytes):
        return json.dumps(base64.b64encode(value).decode())
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_write(item)}" for key, item in value.items()) + "}"
    if dataclasses.is_dataclass(value):
        if type(value).__name__ == "Payload":
            return _payload(value)
        fields = (field.name for field in dataclasses.fields(value))
        return "{" + ", ".join(f"{json.dumps(name)}: {_write(getattr(value, name))}" for name in fields) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_write, value)) + "]"
    if isinstance(value, set | frozenset):
        return "[" + ", ".join(sorted(map(_write, value))) + "]"
    return json.dumps(_stand_in(value))


def _stand_in(value: Any) -> str:
    """The name of an agent or a function, which a catalog made in Python may hold; else its text."""
    name = getattr(getattr(value, "info", value), "name", None) or getattr(value, "__name__", None)
    return name if isinstance(name, str) else str(value)


def _payload(payload: Any) -> str:
    """`{"text": "..."}`, `{"json": the document itself}` or `{"data": "base64"}`."""
    content = _SPECIAL.sub(_ascii, payload.content) if payload.kind == "json" else _write(payload.content)
    media_type = f', "media_type": {json.dumps(payload.media_type)}' if payload.media_type else ""
    return f'{{"{payload.kind}": {content}{media_type}}}'
