"""Which of some numbers lie too far out: by the median absolute deviation or by the quartiles. Pure; exact arithmetic,
so that no value of any size overflows."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from motet.aggregate._numbers import Number, exact

MIN_VALUES: Final = 3
"""Of two values, nobody can say which is wrong."""
DEFAULT_THRESHOLDS: Final[Mapping[str, float]] = MappingProxyType({"mad": 3.5, "iqr": 1.5})
"""Iglewicz and Hoaglin's for the modified z-score, Tukey's for the fences."""
MIN_MAD_THRESHOLD: Final = 0.6745
"""Below it even a value as near to the median as half of all could be left out, and so could all."""

_NORMAL: Final = Fraction("0.6745")
"""The MAD of a normal distribution in standard deviations, to the four places that the method is published with."""


def outliers(values: Sequence[Number], method: str, threshold: float | None = None) -> dict[int, str]:
    """Places of the values that lie too far out, each with the reason in a few words. Some value always stays.

    `mad`: the modified z-score 0.6745 |x - median| / MAD is above `threshold` (Iglewicz and Hoaglin, How to Detect and
    Handle Outliers, 1993). `iqr`: outside [Q1 - t IQR, Q3 + t IQR], Tukey's fences, with the quartiles of
    `statistics.quantiles(method="inclusive")`; the quartiles of three values hide any outlier, so there they are taken
    as symmetric, one MAD to either side of the median.

    When the MAD or the IQR is 0, at least half of the values agree, and every value that differs from them by more
    than rounding (1e-9 of its size) is left out. Fewer than three values have no outliers.
    """
    if len(values) < MIN_VALUES or method == "none":
        return {}
    limit = exact(DEFAULT_THRESHOLDS[method] if threshold is None else threshold)
    # Sorted as they are, which is quick and exact, so that sorting them again as fractions costs one pass.
    places = sorted(range(len(values)), key=values.__getitem__)
    found = _METHODS[method]([Fraction(values[place]) for place in places], limit)
    return {places[at]: found[at] for at in sorted(found, key=places.__getitem__)}


def _mad(values: Sequence[Fraction], limit: Fraction) -> dict[int, str]:
    median, mad = _center(values)
    found = {}
    for place, value in enumerate(values):
        distance = abs(value - median)
        # Multiplied out: nothing is divided by a MAD of 0.
        if _NORMAL * distance > limit * mad and not _close(value, median):
            score = (
                f"modified z-score {_text(_NORMAL * distance / mad)}" if mad else "at least half of the values agree"
            )
            found[place] = f"{score}, more than {_text(limit)} is out" if mad else f"{score} on {_text(median)}"
    return found


def _iqr(values: Sequence[Fraction], limit: Fraction) -> dict[int, str]:
    if len(values) == MIN_VALUES:
        median, mad = _center(values)
        low, high = median - mad, median + mad
    else:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    reach = limit * (high - low)
    return {
        place: f"outside {_text(low - reach)} to {_text(high + reach)}"
        for place, value in enumerate(values)
        if not low - reach <= value <= high + reach and not _close(value, low) and not _close(value, high)
    }


_METHODS: Final[Mapping[str, Callable[[Sequence[Fraction], Fraction], dict[int, str]]]] = MappingProxyType(
    {"mad": _mad, "iqr": _iqr}
)


def _center(values: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """The median and the median distance from it."""
    ordered = sorted(values)
    median = statistics.median(ordered)
    # Falling, then rising: two runs, which sorting merges in one pass.
    return median, statistics.median([abs(value - median) for value in ordered])


def _close(one: Fraction, other: Fraction) -> bool:
    return abs(one - other) <= max(abs(one), abs(other)) / 1_000_000_000


def _text(value: Fraction) -> str:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    return f"{number:.4g}"
