"""Reads a receipt as a page: where things stand, not what they are called. A name is what stands in the middle above, the
total is the last amount at the right edge of the sums.

Good at columns in any language. Sentences and mail headers have no place that means anything to it.
"""

import re
from datetime import date
from typing import Final, NamedTuple

AMOUNT: Final = re.compile(r"(?P<sign>[£$€]|CHF|GBP|EUR|USD)?\s*(?P<whole>\d[\d.,]*)[.,](?P<cents>\d\d)\s*\|?$")
DIGITS: Final = re.compile(r"(?P<a>\d{1,4})(?P<between>[/.-])(?P<b>\d{1,2})(?P=between)(?P<c>\d{2,4})")
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WORDS: Final = re.compile(r"(?P<day>\d{1,2}) (?P<month>[A-Za-z]{3})[a-z]* (?P<year>\d{4})")
HOME: Final = {"£": "GBP", "$": "USD", "€": "EUR"}


class Edge(NamedTuple):
    """An amount that ends a line."""

    row: int
    value: float
    sign: str


def read(text: str) -> dict[str, object]:
    """The fields found; None for each that was not."""
    rows = text.splitlines()
    edges = [
        Edge(row, float(re.sub(r"[.,]", "", found["whole"]) + "." + found["cents"]), found["sign"] or "")
        for row, line in enumerate(rows)
        if (found := AMOUNT.search(line.rstrip()))
    ]
    signed = [edge for edge in edges if edge.sign]
    # An amount with its currency stands out; else the last of the sums does.
    total = next(reversed(signed or edges), None)
    shown = [found[0] for line in rows if (found := re.search(r"[£$€]|CHF|GBP|EUR|USD", line))]
    sign = total.sign if total and total.sign else next(reversed(shown), "")
    currency = HOME.get(sign, sign)
    return {
        "merchant": _middle(rows),
        "date": _date(text, currency),
        "currency": currency or None,
        "total": total.value if total else None,
    }


def _middle(rows: list[str]) -> str | None:
    """Of the first rows the one that is centred; with no centred row, the first that has only words."""
    width = max(map(len, rows))
    top = [row for row in rows[:4] if row.strip() and not re.search(r"\d", row)]
    centred = [row for row in top if len(row) - len(row.lstrip()) > width // 8 and "*" not in row]
    chosen = next(iter(centred or [row for row in top if ":" not in row and "/" not in row and not row.isupper()]), "")
    name = chosen.strip()
    return (name.title() if name.isupper() else name) or None


def _date(text: str, currency: str) -> str | None:
    """Digits in the order of the country whose money it is; then words."""
    if found := DIGITS.search(text):
        a, b, c = int(found["a"]), int(found["b"]), int(found["c"])
        if a > 31:
            return _iso(a, b, c)
        return _iso(c, a, b) if currency == "USD" else _iso(c, b, a)
    if (said := WORDS.search(text)) and said["month"].lower() in MONTHS:
        return _iso(int(said["year"]), MONTHS.index(said["month"].lower()) + 1, int(said["day"]))
    return None


def _iso(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None
