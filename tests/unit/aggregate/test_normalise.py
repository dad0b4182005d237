"""Which answers count as the same, and which values are no answer at all."""

import json
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest

from motet.aggregate._normalise import MAX_DEPTH, Normaliser

PLAIN = Normaliser()


def same(normaliser: Normaliser, one: Any, other: Any) -> bool:
    return normaliser.canonical(one).key == normaliser.canonical(other).key


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ([1, 2], (1, 2)),
        ("red", Colour.RED),
        (1, Level.ONE),
        (b"x", bytearray(b"x")),
        ("\U0001f600", "\ud83d\ude00"),
    ],
)
def test_values_with_the_same_json_are_the_same(one: Any, other: Any) -> None:
    assert same(PLAIN, one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        (1, "1"),
        (None, "null"),
        ("a", "A"),
        ("a", "a "),
        ([1, 2], [2, 1]),
        ({"a": 1}, '{"a":1}'),
        (10**30, 10**30 + 1),
        ("", None),
    ],
)
def test_values_with_other_json_are_others(one: Any, other: Any) -> None:
    assert not same(PLAIN, one, other)


def test_the_order_of_names_counts_when_json_is_off() -> None:
    assert not same(Normaliser(json=False), {"a": 1, "b": 2}, {"b": 2, "a": 1})


def test_case_and_white_space_are_folded_inside_arrays_and_objects_but_not_in_names() -> None:
    loose = Normaliser(case=True, whitespace=True)
    assert same(loose, {"a": [" Stra\u00dfe  9"]}, {"a": ["STRASSE 9 "]})
    assert not same(loose, {"a": 1}, {"A": 1})


def test_white_space_alone_leaves_case() -> None:
    assert same(Normaliser(whitespace=True), " a\n b ", "a b")
    assert not same(Normaliser(whitespace=True), "a", "A")


@pytest.mark.parametrize("other", [1000.0, "1000", " 1000 ", "1,000", "1,000.00", "+1000", "1e3", "01000"])
def test_numbers_are_the_same_however_they_are_written(other: Any) -> None:
    assert same(Normaliser(numbers=True), 1000, other)


@pytest.mark.parametrize("other", ["1,00", "1.000", "1 000", "x1000", True, "1e9999999", "n1e3", "1e3e0", "\u0661"])
def test_what_only_looks_like_a_number_is_another_answer(other: Any) -> None:
    assert not same(Normaliser(numbers=True), 1000, other)


def test_numbers_are_compared_exactly() -> None:
    numbers = Normaliser(numbers=True)
    assert not same(numbers, 10**40, 10**40 + 1)
    assert same(numbers, "0.10", 0.1)
    assert same(numbers, -0.0, 0)
    assert same(numbers, "1e999999", "10e999998")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "finite"),
        (float("-inf"), "finite"),
        ([10**5000], "too large"),
        ({1, 2}, "set has no JSON form"),
        (Decimal(1), "Decimal has no JSON form"),
        ({1: 2}, "not text"),
        ([[object()]], "object has no JSON form"),
    ],
)
def test_what_is_not_json_is_no_answer_and_it_says_why(value: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        PLAIN.canonical(value)


def test_a_value_nested_too_deep_or_without_end_is_no_answer() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert PLAIN.canonical(deep).key
    endless: list[Any] = []
    endless.append(endless)
    for value in ([deep], endless):
        with pytest.raises(ValueError, match="deeper"):
            PLAIN.canonical(value)


def test_the_form_is_json_that_utf8_can_carry() -> None:
    form = PLAIN.canonical({"b": "\ud800", "a": "\u00e9"}).json
    assert form.encode().decode() == form
    assert json.loads(form) == {"a": "\u00e9", "b": "\ud800"}


def test_a_value_is_never_changed() -> None:
    value = {"b": [" A "], "a": (1.0, None)}
    Normaliser(case=True, whitespace=True, numbers=True).canonical(value)
    assert value == {"b": [" A "], "a": (1.0, None)}
    assert list(value) == ["b", "a"]
