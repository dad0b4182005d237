"""What travels in and out of agents: text, JSON or bytes. JSON is kept as text, so numbers keep their precision and
every reader decodes a copy of its own."""

import json
from base64 import b64encode
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Final, Literal

Kind = Literal["text", "json", "data"]

MEDIA_TYPES: Final[dict[Kind, str]] = {
    "text": "text/plain",
    "json": "application/json",
    "data": "application/octet-stream",
}


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
    def from_json_text(cls, document: str, media_type: str = "") -> "Payload":
        """A payload of a JSON document, kept to the letter. Raises ValueError when it is not JSON."""
        parse_json(document)
        return cls("json", document, media_type)

    @classmethod
    def from_json(cls, value: Any, media_type: str = "") -> "Payload":
        """A payload of the value's JSON. Raises TypeError or ValueError for what JSON cannot hold, NaN included."""
        return cls("json", "null" if value is None else _ENCODER.encode(value), media_type)

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
        """The decoded document, a new copy each time. Text and data are parsed too. Raises ValueError when it is not JSON."""
        return parse_json(self.text)

    @property
    def value(self) -> Any:
        """The natural Python value: a str, the decoded document (a new copy each time), or bytes."""
        return parse_json(self.text) if self.kind == "json" else self.content

    @property
    def fragment(self) -> str:
        """The JSON text that stands for this value inside a larger document: a document as it is, text as a string,
        bytes as a base64 string. Concatenating fragments keeps the precision that decoding would lose."""
        if self.kind == "json":
            return self.text
        return _TEXT.encode(self.text if self.kind == "text" else b64encode(self.data).decode())

    @property
    def effective_media_type(self) -> str:
        return self.media_type or MEDIA_TYPES[self.kind]

    @property
    def size(self) -> int:
        """Bytes of content, text counted as UTF-8."""
        return len(self.content) if isinstance(self.content, bytes) else len(self.content.encode(errors="replace"))


EMPTY: Final = Payload("text", "")


def parse_json(document: str) -> Any:
    """Decode RFC 8259 JSON. Unlike the json module it refuses NaN and Infinity; a document nested too deep is a ValueError."""
    try:
        return _DECODER.decode(document)
    except RecursionError:
        raise ValueError("the JSON document is nested too deep") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _jsonable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form; return text, bytes, or JSON values")


# Made once: what `json.dumps` and `json.loads` make anew for each call with options costs more than most payloads.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_jsonable)
_TEXT: Final = json.JSONEncoder(ensure_ascii=False)
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
