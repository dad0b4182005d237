"""What travels in and out of agents: text, JSON or bytes. JSON is kept as text, so numbers keep their precision."""

import json
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal

Kind = Literal["text", "json", "data"]


@dataclass(frozen=True, slots=True)
class Payload:
    """One value with its media type. Make it with `Payload.of`, `from_text`, `from_json` or `from_bytes`."""

    kind: Kind
    """`text`, `json` or `data`."""
    content: str | bytes
    """A str for text and json (the document's text), bytes for data."""
    media_type: str = ""
    """IANA media type; empty means the kind's own."""

    @classmethod
    def from_text(cls, text: str, media_type: str = "") -> "Payload":
        return cls("text", text, media_type)

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str = "") -> "Payload":
        return cls("data", data, media_type)

    @classmethod
    def from_json(cls, value: Any, media_type: str = "") -> "Payload":
        """A payload of the value's JSON. Raises TypeError or ValueError for what JSON cannot hold, NaN included."""
        document = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_jsonable)
        return cls("json", document, media_type)

    @classmethod
    def from_json_text(cls, document: str, media_type: str = "") -> "Payload":
        """A payload of a JSON document, kept to the letter. Raises ValueError when it is not JSON."""
        json.loads(document, parse_constant=_refuse_constant)
        return cls("json", document, media_type)

    @classmethod
    def of(cls, value: Any) -> "Payload":
        """Text for a str, data for bytes, the payload itself for a payload, JSON for everything else."""
        if isinstance(value, str):
            return cls("text", value)
        if isinstance(value, Payload):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return cls("data", bytes(value))
        return cls.from_json(value)

    @property
    def text(self) -> str:
        """As text: JSON as its document, data as UTF-8. Raises UnicodeDecodeError for data that is not UTF-8."""
        return self.content if isinstance(self.content, str) else self.content.decode()

    @property
    def data(self) -> bytes:
        """As bytes, text in UTF-8."""
        return self.content if isinstance(self.content, bytes) else self.content.encode()

    def json(self) -> Any:
        """The decoded document, a new copy each time. Text and data are parsed too. Raises ValueError when not JSON."""
        return json.loads(self.text, parse_constant=_refuse_constant)

    @property
    def value(self) -> Any:
        """The natural Python value: a str, the decoded document (a new copy each time), or bytes."""
        return self.json() if self.kind == "json" else self.content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _jsonable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form; give text, bytes, or JSON values")
