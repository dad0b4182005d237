"""CEL expressions: mistakes found when they are compiled, values, and bounds."""

import sys
from typing import Any

import pytest

from motet.aggregate import _cel
from motet.aggregate._cel import MAX_DEPTH, CelError, compile_cel


def evaluate(text: str, output: object = None) -> Any:
    return compile_cel(text, ("output",))({"output": output})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("(1", "line 1, column 3: Syntax error"),
        ("1 + 'a'", "line 1, column 3: found no matching overload for '_+_'"),
        ("member + 1", "line 1, column 8: found no matching overload"),
        ("total + 'a'", "line 1, column 7: found no matching overload"),
        ("output\n  + nobody", "line 2, column 5: undeclared reference to 'nobody'"),
        ("", "line 1, column 1: Syntax error"),
        ("\ud800", "is not text that UTF-8 can carry"),
        ("(" * 40 + "1" + ")" * 40, "Expression recursion limit exceeded"),
        ("x" * 200_000, "expression size exceeds codepoint limit"),
    ],
    ids=range(9),
)
def test_what_cannot_work_is_refused_when_it_is_compiled_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what the test looks at
        compile_cel(text, ("output", "member", "total"))
    assert str(caught.value).startswith(sentence)
    assert not isinstance(caught.value, CelError)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("output.a[0] + 1", 2),
        ("double(output.a[0]) / 2.0", 0.5),
        ("output.a.map(x, {'n': x})", [{"n": 1}, {"n": 2.5}, {"n": None}]),
        ("output.a.exists(x, x == 2.5) && !has(output.b)", True),
        ("null", None),
        ("b'ab'", b"ab"),
        ("{1: true}", {"1": True}),
        ("timestamp('2020-01-02T03:04:05Z')", "2020-01-02T03:04:05Z"),
        ("duration('90s')", 90.0),
        ("type(1)", "INT"),
    ],
)
def test_an_expression_has_a_plain_value(text: str, value: object) -> None:
    assert evaluate(text, {"a": [1, 2.5, None]}) == value


@pytest.mark.parametrize(
    ("text", "output", "sentence"),
    [
        ("output.zz", {}, 'Key not found in map: "zz"'),
        ("output.a * 2.0", {"a": 1}, "No matching overloads"),
        ("1 / output", 0, "divide by zero"),
        ("output + 1", 2**63 - 1, "integer overflow"),
        ("output", 2**64, "Integer value '18446744073709551616' out of range"),
        ("output.b", {"a": "\ud800", "b": 1}, "output holds a lone surrogate"),
        ("output", object(), "Non-CEL value type"),
        ("output.map(x, output.map(y, y)).size()", list(range(200)), "Iteration budget exceeded"),
    ],
)
def test_what_goes_wrong_with_a_value_is_an_error_in_words(text: str, output: object, sentence: str) -> None:
    with pytest.raises(CelError) as caught:
        evaluate(text, output)
    assert sentence in str(caught.value)


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_value_nested_too_deep_never_reaches_the_library() -> None:
    assert evaluate("size(output)", nested(MAX_DEPTH)) == 1
    for levels in (MAX_DEPTH + 1, 50_000):
        with pytest.raises(CelError, match="nested deeper than 100 levels"):
            evaluate("size(output)", nested(levels))


def test_a_value_that_holds_itself_is_nested_too_deep() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(CelError, match="nested deeper"):
        evaluate("size(output)", loop)


def test_a_variable_that_is_not_given_is_an_error() -> None:
    with pytest.raises(CelError, match="output"):
        compile_cel("output", ("output",))({})


def test_values_are_not_changed() -> None:
    output = {"a": [1, {"b": 2}]}
    evaluate("output.a.map(x, x)", output)
    assert output == {"a": [1, {"b": 2}]}


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    _cel._compile.cache_clear()
    with pytest.raises(ValueError, match=r"pip install motet\[cel\]"):
        compile_cel("1 + 1", ())
