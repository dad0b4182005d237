"""ensemble: the statistics of the numbers that members gave. Pure."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from motet.aggregate._common import MAX_LISTED, no_success
from motet.aggregate._numbers import Number, exact, fragment, number_of, rounded
from motet.aggregate._options import Made, OptionRule
from motet.aggregate._outliers import outliers
from motet.aggregate._select import Selected, make_selector
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Aggregator, Roster, RuleBook

if TYPE_CHECKING:
    from pydantic import BaseModel

    from motet.aggregate._score_options import EnsembleOptions

NO_NUMBERS: Final = "NO_NUMBERS"
"""Members succeeded, and none of them gave a number."""

LARGEST: Final = 1e300
"""Beyond it the spread and the deviation of two numbers may be beyond floats."""


@dataclass(frozen=True, slots=True)
class _Settings:
    select: Callable[[Outcome], Selected]
    weighted: bool
    outliers: str
    threshold: float | None
    numbers_in_text: bool

    def number(self, outcome: Outcome) -> Number | str:
        selected = self.select(outcome)
        number = selected.problem or number_of(selected.value, in_text=self.numbers_in_text)
        return "is too large" if not isinstance(number, str) and abs(number) > LARGEST else number


class _Ensemble:
    __slots__ = ("_settings", "_weights")

    def __init__(self, roster: Roster, settings: _Settings) -> None:
        self._weights = roster.weights
        self._settings = settings

    def add(self, _index: int, _outcome: Outcome, /) -> bool:
        return False

    def answer(self, outcomes: Sequence[Outcome]) -> Payload | Failure:
        found = {place: self._settings.number(outcome) for place, outcome in enumerate(outcomes) if outcome.succeeded}
        if not found:
            return no_success(outcomes)
        numbers = {place: number for place, number in found.items() if not isinstance(number, str)}
        others = [
            {"member": outcomes[place].member, "problem": problem}
            for place, problem in found.items()
            if isinstance(problem, str)
        ]
        if not numbers:
            return Failure(
                NO_NUMBERS,
                f"none of the {len(found)} members that succeeded gave a number",
                {"not_numbers": others[:MAX_LISTED], "not_numbers_total": len(others)},
            )
        places = list(numbers)
        out = {
            places[at]: why
            for at, why in outliers(list(numbers.values()), self._settings.outliers, self._settings.threshold).items()
        }
        kept = {place: number for place, number in numbers.items() if place not in out}
        answer: Mapping[str, Any] = {
            **describe(list(kept.values()), [self._weight(place) for place in kept]),
            "members": {outcomes[place].member: number for place, number in kept.items()},
            "left_out": [
                {"member": outcomes[place].member, "value": numbers[place], "why": why} for place, why in out.items()
            ],
            "not_numbers": others,
        }
        return Payload("json", fragment(answer))

    def _weight(self, place: int) -> float:
        return self._weights[place] if self._settings.weighted else 1.0


def describe(values: Sequence[Number], weights: Sequence[float]) -> dict[str, Any]:
    """The statistics of at least one value. Integers stay integers where the statistics module keeps them."""
    low, high = min(values), max(values)
    return {
        "mean": statistics.mean(values),
        "median": statistics.median(values),
        "stdev": statistics.stdev(values) if len(values) > 1 else 0,
        "min": low,
        "max": high,
        "spread": high - low,
        "count": len(values),
        "weighted_mean": _weighted_mean(values, weights),
        "values": list(values),
    }


def _weighted_mean(values: Sequence[Number], weights: Sequence[float]) -> Number | None:
    if weights[0] > 0 and len(set(weights)) == 1:
        return statistics.mean(values)
    shares = [exact(weight) for weight in weights]
    total = _sum(shares)
    if not total:
        return None
    mean = _sum(Fraction(value) * share for value, share in zip(values, shares, strict=True)) / total
    return rounded(mean) if all(isinstance(value, int) for value in values) else float(mean)


def _sum(terms: Iterable[Fraction]) -> Fraction:
    """Exact. Fractions of one denominator are added as integers, many times quicker than as fractions."""
    numerators: dict[int, int] = {}
    for term in terms:
        numerators[term.denominator] = numerators.get(term.denominator, 0) + term.numerator
    return sum((Fraction(top, bottom) for bottom, top in numerators.items()), Fraction(0))


def _model() -> "type[BaseModel]":
    from motet.aggregate._score_options import EnsembleOptions  # noqa: PLC0415 - brings pydantic

    return EnsembleOptions


def _build(options: "EnsembleOptions", book: RuleBook) -> Aggregator:
    select = make_selector(book, field=options.field, expression=options.expression, function=options.function)
    settings = _Settings(select, options.weighted, options.outliers, options.threshold, options.numbers_in_text)
    return Made(lambda roster: _Ensemble(roster, settings))


ENSEMBLE: Final = OptionRule(
    name="ensemble",
    description="Mean, median, deviation, spread and more of the numbers that members gave; outliers left out if asked.",
    decides_early=False,
    model=_model,
    build=_build,
)
"""Options: `field`, `expression` or `function` (where the number is; by default the output itself), `weighted`
(weighted_mean by the members' weights; else all weigh the same), `outliers` ("none", "mad" or "iqr"), `threshold`
(3.5 for mad, 1.5 for iqr), `numbers_in_text`. How outliers are told: `motet.aggregate._outliers.outliers`.

Answers {"mean", "median", "stdev", "min", "max", "spread", "count", "weighted_mean", "values", "members": {member: value},
"left_out": [{"member", "value", "why"}], "not_numbers": [{"member", "problem"}]}. All but the last two are about the
values that stay. stdev is that of a sample, 0 for one value; weighted_mean is null when the weights sum to 0. A number
beyond 1e300 is too large to be counted. With no number at all it fails with NO_NUMBERS."""
