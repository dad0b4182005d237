"""Text for people: what members say is not trusted, so it never reaches a terminal or a markup parser unescaped."""

import re
from typing import Any

CUT = 60
"""Characters of an answer in a table: what is left of 120 columns beside names, states and times."""

# C0 and C1 controls steer terminals; bidi and invisible controls reorder or hide what is read; lone surrogates cannot be written.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]")


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    return named or (f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}")


def one_line(text: str) -> str:
    """The text with every control character written out, line ends included."""
    return _UNSAFE.sub(_escape, text)


def many_lines(text: str) -> str:
    """The text with its line ends and tabs kept, and every other control character written out."""
    plain = text.replace("\r\n", "\n")
    return _UNSAFE.sub(lambda match: match.group() if match.group() in "\n\t" else _escape(match), plain)


def cut(text: str, width: int = CUT) -> str:
    """The text on one line, at most `width` characters long."""
    # Cut before escaping too, so that a long answer costs what is shown of it.
    line = one_line(text[: width + 1])
    return line if len(line) <= width else line[: width - 3] + "..."


def seconds(value: float) -> str:
    """A duration, in the unit that reads best."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int, noun: str, many: str = "") -> str:
    """`1 member`, `2 members`; `many` is the plural where it does not just have an s."""
    return f"{number:,} {noun if number == 1 else many or f'{noun}s'}"


def usd(nanos: int) -> str:
    """Billionths of a US dollar as `0.0021 USD`, exactly and with two decimals or more."""
    whole, rest = divmod(abs(nanos), 10**9)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanos < 0 else ''}{whole:,}.{decimals} USD"


def figure(value: float) -> str:
    """A number without needless decimals: `3`, `1,200`, `0.8`."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3f}".rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """A share as `12.5%`."""
    return f"{figure(round(100 * share, 1))}%"


def early(group: Any) -> str:
    """What the early decision of a group spared; empty when there was none."""
    if not group.decided_early:
        return ""
    saved = group.saved
    if saved is None:  # a server that does not count it
        return "decided early"
    parts = [f"{count(saved.members, 'member')} spared"]
    if saved.calls:
        parts.append(f"{count(saved.calls, 'call')} never made")
    if saved.cost_nanos:
        parts.append(f"{usd(saved.cost_nanos)} saved")
    unpriced = f" ({saved.unpriced_calls:,} unpriced)" if saved.unpriced_calls else ""
    return f"decided early: {', '.join(parts)}{unpriced}"


def payload_text(payload: Any) -> str:
    """A payload as text, not escaped. Bytes that are not UTF-8 are described, not shown."""
    if payload is None:
        return ""
    if isinstance(payload.content, str):
        return payload.content
    try:
        return str(payload.content.decode())
    except UnicodeDecodeError:
        return f"({count(len(payload.content), 'byte')} of {payload.media_type or 'application/octet-stream'})"


def reason(failure: Any) -> str:
    """A failure on one line, with what kept a further attempt from being made."""
    if failure is None:
        return ""
    refused = failure.details.get("no_retry")
    return one_line(f"{failure.reason}: {failure.message}{f'; no retry: {refused}' if refused else ''}")


def receipt(stop: Any) -> str:
    """A stop receipt on one line; empty when there is none."""
    if stop is None:
        return ""
    line = f"{stop.kind!s} in {seconds(stop.took)}"
    return one_line(f"{line}: {stop.detail}") if stop.detail else line
