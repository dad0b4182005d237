"""What a scenario expects, compared with what was found. Pure; knows no client and no server.

Everything here is in the JSON form of protobuf. Raises Mismatch, whose text says where and how the two differ.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 200
"""Characters of a value that are quoted."""


class Mismatch(Exception):
    """What was found is not what was expected."""


def check(expect: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """`found` may have `result`, `response`, `events` (a list), `answers` and `error`."""
    if "error" not in expect and "error" in found:
        raise Mismatch(f"failed: {quoted(found['error'])}")
    if "error" in expect:
        _error(expect["error"], found)
    for part in ("result", "response"):
        if part in expect:
            if part not in found:
                raise Mismatch(f"{part}: there is none")
            subset(expect[part], found[part], part)
    if "events" in expect:
        _events(expect["events"], found.get("events", []))
    if "answers" in expect:
        _answers(expect["answers"], found.get("answers", []))


def subset(expected: Any, found: Any, path: str) -> None:
    """Raises Mismatch unless everything that is expected is found."""
    if isinstance(expected, Mapping):
        _object(expected, found, path)
    elif isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            raise Mismatch(f"{path}: expected {len(expected)} elements, found {quoted(found)}")
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            subset(one, other, f"{path}[{index}]")
    elif expected != found or isinstance(expected, bool) != isinstance(found, bool):
        raise Mismatch(f"{path}: expected {quoted(expected)}, found {quoted(found)}")


def _object(expected: Mapping[str, Any], found: Any, path: str) -> None:
    if set(expected) == {"$exists"}:
        return
    if set(expected) == {"$matches"}:
        if not (isinstance(found, str) and re.search(expected["$matches"], found)):
            raise Mismatch(f"{path}: expected text with {expected['$matches']}, found {quoted(found)}")
        return
    if not isinstance(found, Mapping):
        raise Mismatch(f"{path}: expected an object, found {quoted(found)}")
    for name, value in expected.items():
        if name not in found:
            raise Mismatch(f"{path}.{name}: expected {quoted(value)}, found nothing")
        subset(value, found[name], f"{path}.{name}")


def kind_of(event: Mapping[str, Any]) -> str:
    """Which of an event's details is set."""
    return next((name for name in event if name in KINDS), "")


KINDS = (
    "runStarted",
    "groupStarted",
    "memberStarted",
    "memberProgress",
    "memberEnded",
    "groupEnded",
    "runEnded",
    "attemptStarted",
    "attemptEnded",
)


def _error(expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    error = found.get("error")
    if error is None:
        raise Mismatch(f"error: expected {quoted(dict(expected))}, and the call succeeded")
    for name in ("code", "reason"):
        if name in expected and error.get(name) != expected[name]:
            raise Mismatch(f"error.{name}: expected {expected[name]}, found {quoted(error)}")
    if "field" in expected and expected["field"] not in error.get("fields", []):
        raise Mismatch(f"error.field: expected {expected['field']}, found {quoted(error)}")


def _events(expected: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
    kinds = [kind_of(event) for event in events]
    rest = iter(kinds)
    for wanted in expected.get("kinds", []):
        if wanted not in rest:
            raise Mismatch(f"events.kinds: {wanted} is missing, or not in this order, in {quoted(kinds)}")
    if "last" in expected and (not kinds or kinds[-1] != expected["last"]):
        raise Mismatch(f"events.last: expected {expected['last']}, found {kinds[-1] if kinds else 'no event'}")
    numbers = [int(event["sequence"]) for event in events]
    if expected.get("contiguous") and (not numbers or numbers != list(range(1, len(numbers) + 1))):
        raise Mismatch(f"events.contiguous: found the numbers {quoted(numbers)}")


def _answers(expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
    if len(expected) != len(found):
        raise Mismatch(f"answers: expected {len(expected)}, found {quoted(found)}")
    left = list(found)
    for one in expected:
        fits = next((other for other in left if _fits(one, other)), None)
        if fits is None:
            raise Mismatch(f"answers: {quoted(dict(one))} is not among {quoted(left)}")
        left.remove(fits)


def _fits(expected: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    try:
        subset(dict(expected), found, "")
    except Mismatch:
        return False
    return True


def quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text)} characters)"
