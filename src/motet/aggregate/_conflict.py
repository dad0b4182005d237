"""How far a vote agreed: shares, and the conflict report with its thresholds. Pure arithmetic over whole numbers."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import lcm
from sys import float_info
from typing import Any, Final

CONFLICT: Final = Fraction(3, 5)
"""Share of the winner below which there is a conflict; ToolWeaver's guide to aggregation draws the line there too."""
SEVERITIES: Final = ((CONFLICT, "none"), (Fraction(1, 2), "low"), (Fraction(2, 5), "medium"), (Fraction(0), "high"))
"""The least share of the winner for each: 60% none, half low (nothing can outweigh it), 40% medium, less high."""


def conflict(winner: int, cast: int, answers: int) -> Mapping[str, Any]:
    """The part of a report that says how far the votes agreed: `winner` and `cast` are scores, `answers` counts answers.

    `confidence` is the winner's share of the cast weight, 0 when nothing was cast.
    """
    share = Fraction(winner, cast) if cast else Fraction(0)
    return {
        "unanimous": answers == 1,
        "has_conflict": cast > 0 and share < CONFLICT,
        "conflict_severity": severity(share) if cast else "none",
    }


def severity(share: Fraction) -> str:
    """`none`, `low`, `medium` or `high`, by the winner's share of the cast weight."""
    return next(name for least, name in SEVERITIES if share >= least)


def whole_weights(weights: Sequence[float]) -> tuple[list[int], int]:
    """The weights as whole numbers, and what 1.0 became.

    Sums of floats depend on their order, and so would who wins. A weight is read as the decimal it is written by, so
    that 0.1 and 0.2 together tie with 0.3.
    """
    exact = {weight: Fraction(Decimal(repr(float(weight)))) for weight in set(weights)}
    scale = lcm(*(fraction.denominator for fraction in exact.values()))
    whole = {weight: int(fraction * scale) for weight, fraction in exact.items()}
    return [whole[weight] for weight in weights], scale


def as_float(score: int, scale: int) -> float:
    """A score as it is reported; the largest float where it is larger."""
    try:
        return score / scale
    except OverflowError:
        return float_info.max
