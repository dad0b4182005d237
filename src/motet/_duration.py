"""Lengths of time as people write them: `90`, `"90s"`, `"1m30s"`. Knows text and numbers only."""

import math
import re
from typing import Final

MAX_SECONDS: Final = 315_576_000_000.0
"""About 10,000 years: the longest length that the contract's Duration can hold."""

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART: Final = r"(?:(?P<{name}>[0-9]+(?:\.[0-9]+)?){unit})?"
_TEXT: Final = re.compile("".join(_PART.format(name=unit, unit=unit) for unit in _UNITS))
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_FORM: Final = 'give seconds, or text such as "500ms", "2s", "1m30s" or "1h"'


def parse_duration(value: object) -> float:
    """Seconds in a number of seconds or a text: units d, h, m, s and ms, largest first; a bare number is seconds.

    Raises ValueError, with a sentence that says what is allowed, for anything else: negative, not finite, too long.
    """
    if isinstance(value, str):
        return _bounded(_parse_text(value.strip()), value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is not a length of time; {_FORM}")  # noqa: TRY004 - one kind of error for all wrong input
    try:
        return _bounded(float(value), value)
    except OverflowError:
        raise ValueError(_too_long()) from None


def _parse_text(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    match = _TEXT.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{_quoted(text)} is not a length of time; {_FORM}")
    return math.fsum(float(count) * _UNITS[unit] for unit, count in match.groupdict().items() if count)


def _bounded(seconds: float, given: object) -> float:
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{given!r} is not a length of time; it must be 0 or more")
    if seconds > MAX_SECONDS:
        raise ValueError(_too_long())
    return seconds + 0.0  # turns -0.0 into 0.0


def _too_long() -> str:
    return f"is longer than {MAX_SECONDS:.0f} seconds; leave it out to have no bound"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
