"""Reads a receipt as one string, with regular expressions for what amounts, dates and names look like anywhere in it.

Good at running text. Believes that the largest amount is the total, that slashed dates put the month first, and that
decimals follow a point.
"""

import re
from collections import Counter
from datetime import datetime
from typing import Final

MONEY: Final = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})*\.\d{2}(?![\d.,])|(?<![\d.,])\d+\.\d{2}(?![\d.,])")
NAMED: Final = re.compile(r"(?:receipt from|thanks from) (?P<name>.+?)\.?$", re.MULTILINE)
COMPANY: Final = re.compile(r"^\s*(?P<name>[^\d\n]*\b(?:Ltd|Inc|GmbH|AG))\s*$", re.MULTILINE)
PROPER: Final = re.compile(r"^\s*(?P<name>[A-Z][a-z']+(?: (?:&|and|[A-Z][a-z']*))+)\s*$", re.MULTILINE)
DATES: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d"), "%Y-%m-%d"),
    (re.compile(r"\d\d/\d\d/\d{4}"), "%m/%d/%Y"),
    (re.compile(r"\d\d/\d\d/\d{4}"), "%d/%m/%Y"),
    (re.compile(r"\d\d\.\d\d\.\d{4}"), "%d.%m.%Y"),
    (re.compile(r"\d{1,2} [A-Z][a-z]{2} \d{4}"), "%d %b %Y"),
    (re.compile(r"\d{1,2} [A-Z][a-z]{3,} \d{4}"), "%d %B %Y"),
)
CURRENCY: Final = re.compile(r"£|\$|€|GBP|USD|EUR|CHF")
CODE: Final = {"£": "GBP", "$": "USD", "€": "EUR"}


def read(text: str) -> dict[str, object]:
    """The fields found; None for each that was not."""
    amounts = [float(amount.replace(",", "")) for amount in MONEY.findall(text)]
    signs = Counter(CODE.get(sign, sign) for sign in CURRENCY.findall(text)).most_common(1)
    return {
        "merchant": _merchant(text),
        "date": _date(text),
        "currency": signs[0][0] if signs else None,
        "total": max(amounts, default=None),
    }


def _merchant(text: str) -> str | None:
    for pattern in (NAMED, COMPANY, PROPER):
        if found := pattern.search(text):
            name = found["name"].strip()
            return name.title() if name.isupper() else name
    return None


def _date(text: str) -> str | None:
    for pattern, form in DATES:
        if found := pattern.search(text):
            try:
                return datetime.strptime(found[0], form).date().isoformat()  # noqa: DTZ007 - a day has no zone
            except ValueError:
                continue
    return None
