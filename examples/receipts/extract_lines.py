"""Reads a receipt line by line, as a clerk would who goes by the words at the start of each line. Plain Python.

Good at labels. Believes that the first line is the shop and that dates put the day first.
"""

import re
from datetime import datetime
from typing import Final

SYMBOLS: Final = {"£": "GBP", "€": "EUR", "$": "USD"}
CODES: Final = ("GBP", "EUR", "USD", "CHF")
LABELS: Final = ("total", "balance due", "amount due", "order total", "we charged", "summe", "gesamt")
"""What the line with the sum begins with."""
FORMATS: Final = ("%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d", "%d %B %Y")


def read(text: str) -> dict[str, object]:
    """The fields found; None for each that was not."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" -=*")]
    return {
        "merchant": _merchant(lines),
        "date": next((found for line in lines if (found := _date(line))), None),
        "currency": _currency(lines),
        "total": _total(lines),
    }


def _merchant(lines: list[str]) -> str:
    first = lines[0]
    if first.startswith("From:"):
        first = first.removeprefix("From:").partition("<")[0]
    return first.strip(" *").title() if first.isupper() else first.strip()


def _date(line: str) -> str | None:
    words = line.removeprefix("Date:").removeprefix("Datum").split()
    for start in range(len(words)):
        for length in (1, 3):
            for pattern in FORMATS:
                try:
                    day = datetime.strptime(" ".join(words[start : start + length]), pattern)  # noqa: DTZ007 - a day has no zone
                except ValueError:
                    continue
                return day.date().isoformat()
    return None


def _currency(lines: list[str]) -> str | None:
    for line in lines:
        for sign, code in (*SYMBOLS.items(), *((code, code) for code in CODES)):
            if sign in line:
                return code
    return None


def _total(lines: list[str]) -> float | None:
    """The last line that begins like a total."""
    for line in reversed(lines):
        if line.lower().startswith(LABELS) and (amounts := re.findall(r"\d[\d.,]*", line)):
            return _number(amounts[-1])
    return None


def _number(amount: str) -> float:
    """The last separator is the decimal one, when two digits follow it."""
    whole, cents = (amount[:-3], amount[-2:]) if amount[-3:-2] in {".", ","} else (amount, "0")
    return float(f"{re.sub('[.,]', '', whole)}.{cents}")
