"""The tools of the example: what one can ask about `sales.csv`. Plain functions; they know no model and no engine."""

import csv
import statistics
from pathlib import Path
from typing import Literal

import trio

import motet

Column = Literal["visits", "orders", "revenue"]
ROWS = list(csv.DictReader(Path(__file__).with_name("sales.csv").read_text().splitlines()))


def describe(column: Column) -> dict[str, object]:
    """Count, mean, median, least and most of a column, and the months that have no value or one far off.

    Args:
        column: Which one.
    """
    values = {row["month"]: float(row[column]) for row in ROWS if row[column]}
    middle = statistics.median(values.values())
    spread = statistics.median(abs(value - middle) for value in values.values())
    return {
        "count": len(values),
        "mean": round(statistics.mean(values.values()), 1),
        "median": middle,
        "min": min(values.values()),
        "max": max(values.values()),
        "missing": [row["month"] for row in ROWS if not row[column]],
        "far_off": [month for month, value in values.items() if abs(value - middle) > 6 * spread],
    }


def correlation(first: Column, second: Column) -> float:
    """How two columns go together, from -1 to 1, over the months that have both."""
    pairs = [(float(row[first]), float(row[second])) for row in ROWS if row[first] and row[second]]
    return round(statistics.correlation(*zip(*pairs, strict=True)), 3)


async def last_year(column: Column) -> dict[str, float]:
    """The same column a year before, from the archive."""
    await trio.sleep(600)
    raise motet.AgentError(f"the archive has no {column}", reason="ARCHIVE_EMPTY")
