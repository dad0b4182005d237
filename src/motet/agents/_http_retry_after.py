"""The Retry-After field of RFC 9110 (10.2.3), as seconds. Pure, but for the wall clock when the response bears no Date."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# A fraction is not in the RFC, but services send it; more digits than ten are no delay that anybody means.
_SECONDS: Final = re.compile(r"[+-]?\d{1,10}(?:\.\d{1,9})?", re.ASCII)


def retry_after_seconds(value: str | None, date: str | None = None) -> float | None:
    """Seconds to wait, never negative; None when the field is missing or means nothing.

    A date is measured from the response's own `date` field, so that this machine's clock need not agree with the
    server's; from the wall clock only where the response has no such field.
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return max(0.0, float(value))
    until = _instant(value)
    if until is None:
        return None
    return max(0.0, (until - (_instant(date or "") or datetime.now(UTC))).total_seconds())


def _instant(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
