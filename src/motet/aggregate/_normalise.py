"""What makes two answers the same answer: a canonical key for each value, and the JSON text it is reported by. Pure;
knows values, nothing of votes or members."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

MAX_DEPTH: Final = 100
"""Deepest nesting of an answer. What is deeper is reported as no answer, instead of failing where the stack happens to end."""
_MAX_BITS: Final = 14_000
"""Python refuses to write integers of more than 4,300 digits."""
_MAX_NUMBER_TEXT: Final = 400
"""Longest text that is read as a number."""

_NUMBER: Final = re.compile(
    r"[+-]?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?"
)


@dataclass(frozen=True, slots=True)
class Canonical:
    """One answer."""

    key: str
    """Equal for answers that count as the same, different for all others."""
    json: str
    """The value as JSON text that UTF-8 can carry, by which it is reported."""
    text: str | None
    """The value where it is text; None where it is not."""

    @property
    def label(self) -> str:
        """What stands for the value where only a name can: text as it is, anything else by its JSON text."""
        return self.json if self.text is None else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Normaliser:
    """Which differences between answers do not count. Text is compared to the letter, numbers as they are written
    (1 is not 1.0), bytes by their base64 text, unless the flags say otherwise; each flag reaches values inside arrays and
    objects, but never the names in an object."""

    case: bool = False
    """Upper and lower case of text, by Unicode case folding."""
    whitespace: bool = False
    """White space around text, and how much of it stands inside."""
    numbers: bool = False
    """How a number is written: 1, 1.0 and 1e0 are one, and so is text that is a number: "1", "1,000.00" (a comma
    before each three digits)."""
    json: bool = True
    """The order of the names in an object."""

    @property
    def keeps_form(self) -> bool:
        """Answers that count as the same are reported by the same text."""
        return not (self.case or self.whitespace or self.numbers)

    def canonical(self, value: Any) -> Canonical:
        """The value's key and form. Raises ValueError, with a few words, for what is not a JSON value."""
        plain = _plain(value, 0)
        text = plain if isinstance(plain, str) else None
        document = self._dump(plain)
        form = document if document.isascii() else _escaped(document)
        if self.keeps_form:
            return Canonical(document, form, text)
        return Canonical(self._dump(self._fold(plain)), form, text)

    def _dump(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=self.json)

    def _fold(self, value: Any) -> Any:
        """The value without the differences that do not count."""
        if isinstance(value, str):
            return self._fold_text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _number(Decimal(repr(value))) if self.numbers else value
        if isinstance(value, list):
            return [self._fold(item) for item in value]
        if isinstance(value, dict):
            return {name: self._fold(item) for name, item in value.items()}
        return value

    def _fold_text(self, text: str) -> str:
        if self.numbers and len(text) <= _MAX_NUMBER_TEXT:
            bare = text.strip()
            if _NUMBER.fullmatch(bare):
                return _number(Decimal(bare.replace(",", "")))
        if self.whitespace:
            text = " ".join(text.split())
        if self.case:
            text = text.casefold()
        # Beside numbers, text has a mark of its own, so that no text can pass for a number's mark.
        return f"t{text}" if self.numbers else text


def _number(value: Decimal) -> str:
    """One text for one number, exactly: no context rounds it, no exponent is written out."""
    sign, digits, exponent = value.as_tuple()
    written = "".join(map(str, digits)).lstrip("0")
    bare = written.rstrip("0")
    if not bare or not isinstance(exponent, int):
        return "n0"
    return f"n{'-' if sign else ''}{bare}e{exponent + len(written) - len(bare)}"


def _plain(value: Any, depth: int) -> Any:
    """The value made of nothing but JSON's own types, each a new copy."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _paired(value)
    if isinstance(value, int | float):
        return _plain_number(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(bytes(value)).decode("ascii")
    if depth >= MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        plain = {}
        for name, item in value.items():
            if not isinstance(name, str):
                raise ValueError(f"has a name that is not text but {type(name).__name__}")  # noqa: TRY004 - wrong is the value, which is data
            plain[_paired(name)] = _plain(item, depth + 1)
        return plain
    raise ValueError(f"{type(value).__name__} has no JSON form")


def _plain_number(value: float) -> int | float:
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise ValueError("is a number too large to write")
        return int(value)
    if value - value != 0:
        raise ValueError("is not a finite number")
    return float(value)


def _paired(text: str) -> str:
    """The text with surrogates that belong together joined: apart and joined they are the same JSON."""
    text = str.__str__(text)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return text


def _escaped(document: str) -> str:
    """The document with lone surrogates, which UTF-8 cannot carry, as escapes, which it can."""
    try:
        document.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match.group()):04x}", document)
    return document
