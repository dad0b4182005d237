"""One answer of many results, as ToolWeaver's pages make it: by vote, by rank, by score. Pure. Results are those of a dispatch,
or plain values; failed ones never count."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from motet.patterns._toolweaver_results import SubAgentResult

R = TypeVar("R")
_MISSING: Final = object()


def collect_all(results: Iterable[R]) -> list[R]:
    """All of them, failed ones too, in their order."""
    return list(results)


def majority_vote(results: Iterable[Any], field: str | None = None) -> Any:
    """The value that most of the successes have in `field`, or as a whole; of several the one that was first. None when none
    has it.

    Values are compared as JSON, so lists and objects may be voted for too; 1, 1.0 and true are three values.
    """
    votes: dict[str, int] = {}
    values: dict[str, Any] = {}
    for result in results:
        value = _value(result, field)
        if value is _MISSING or value is None:
            continue
        key = _key(value)
        votes[key] = votes.get(key, 0) + 1
        values.setdefault(key, value)
    return values[max(votes, key=votes.__getitem__)] if votes else None


def rank_by_metric(results: Iterable[R], field: str, reverse: bool = True) -> list[R]:
    """The results by the number in `field`, the highest first, or the lowest with `reverse=False`. Those without a number, and
    failed ones, come last whichever the direction, in their order."""
    ranked: list[tuple[float, R]] = []
    rest: list[R] = []
    for result in results:
        number = _number(_value(result, field))
        if number is None:
            rest.append(result)
        else:
            ranked.append((number, result))
    ranked.sort(key=lambda pair: pair[0], reverse=reverse)
    return [*(result for _, result in ranked), *rest]


def best_result(results: Iterable[R], score_fn: Callable[[R], Any]) -> R | None:
    """The success that `score_fn` gives the highest number, the first of equals; None when there is none.

    Results that have no number are passed over. Raises ValueError when the function raised for all of them.
    """
    best: tuple[float, R] | None = None
    error: Exception | None = None
    scored = False
    for result in results:
        if _is_failed(result):
            continue
        try:
            number = _number(score_fn(result))
        except Exception as raised:  # noqa: BLE001 - the caller's function; one result that it cannot score loses no other
            error = raised
            continue
        scored = True
        if number is not None and (best is None or number > best[0]):
            best = number, result
    if error is not None and not scored:
        raise ValueError(f"score_fn raised for every result; the last: {type(error).__name__}: {error}") from error
    return None if best is None else best[1]


def _is_failed(result: object) -> bool:
    return result is None or (isinstance(result, SubAgentResult) and not result.success)


def _value(result: object, field: str | None) -> Any:
    if _is_failed(result):
        return _MISSING
    output = result.output if isinstance(result, SubAgentResult) else result
    if field is None:
        return output
    if isinstance(output, str):
        try:
            output = json.loads(output)
        except ValueError:
            return _MISSING
    return output.get(field, _MISSING) if isinstance(output, Mapping) else _MISSING


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return value


def _key(value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return f"{type(value).__name__}:{value!r}"
