"""What counts as a number in an output, and numbers and other values as JSON text. Pure; never raises on a value."""

import json
import math
import re
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, Final, TypeAlias

from motet.model.payload import Payload

Number: TypeAlias = int | float
"""Never a bool, never NaN or infinite."""

MAX_BITS: Final = 14_000
"""Python writes no integer of more than 4,300 digits as text, so such a number could not stand in an answer."""

_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,4000}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def number_of(value: Any, *, in_text: bool = False) -> Number | str:
    """The value as a number, or why it is none. Integers stay exact. A bool is not a number; text is one only with
    `in_text`, when it is a plain decimal number such as `-1.5e3`, spaces around it aside."""
    try:
        return _number_of(value, in_text=in_text)
    except (ArithmeticError, ValueError, TypeError):
        return "is too large"


def _number_of(value: Any, *, in_text: bool) -> Number | str:
    if isinstance(value, str) and in_text:
        text = value.strip()
        if not _DECIMAL.fullmatch(text):
            return "is text that is not a number"
        value = int(text) if _WHOLE.fullmatch(text) else float(text)
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return f"is {_kind(value)}, not a number"
    if isinstance(value, Integral):
        whole = int(value)
        return whole if whole.bit_length() <= MAX_BITS else "is too large"
    number = float(value)
    return number if math.isfinite(number) else "is not a finite number"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = ((str, "text"), (list, "a list"), (dict, "an object"), (bytes, "bytes"))
    return next((name for kind, name in kinds if isinstance(value, kind)), f"a {type(value).__name__}")


def exact(number: Number) -> Fraction:
    """A number of ours or of a catalog as the decimal that was written: 0.1 is a tenth."""
    return Fraction(number) if isinstance(number, int) else Fraction(repr(float(number)))


def rounded(value: Fraction) -> Number:
    """The nearest JSON number; an integer where the value is one, or is beyond floats."""
    if value.denominator == 1:
        return value.numerator
    try:
        return float(value)
    except OverflowError:
        return round(value)


def fragment(value: Any) -> str:
    """The value as JSON text that UTF-8 can carry: lone surrogates become escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if text.isascii() else _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def json_object(**fragments: str) -> str:
    """An object of values that are JSON text already, so that outputs are embedded to the letter."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in fragments.items()) + "}"


def document(**fragments: str) -> Payload:
    """The object as an answer."""
    return Payload("json", json_object(**fragments))
