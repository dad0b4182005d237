"""Templates of prompts: arguments are filled in, and every other brace stays."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.patterns._toolweaver_template import filled


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Read {text}.", "Read a {b}."),
        ('{"a": {"b": {n}}}', '{"a": {"b": 7}}'),
        ("{{text}} {text}", "{text} a {b}"),
        ("{n:03d} {price:.2f} {text!r} {text!s:>8}", "007 2.50 'a {b}'    a {b}"),
        ("{items} {nothing}", '["x",1] null'),
        ("{} { text } {1} {a.b} {a[0]} }{ {x:1}", "{} { text } {1} {a.b} {a[0]} }{ {x:1}"),
        ("act as a judge\n\n\nof {text}", "act as a judge\n\n\nof a {b}"),
        ("{other}", "<o>"),
    ],
)
def test_blanks_are_filled_and_other_braces_stay(template: str, expected: str) -> None:
    class Other:
        def __str__(self) -> str:
            return "<o>"

    arguments: dict[str, Any] = {
        "text": "a {b}",
        "n": 7,
        "price": 2.5,
        "items": ["x", 1],
        "nothing": None,
        "other": Other(),
    }
    assert filled(template, arguments) == expected


def test_a_blank_that_is_no_argument_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"\{recipt\} is no argument; there are: receipt\. Write \{\{recipt\}\}"):
        filled("Read {recipt}", {"receipt": 1})


def test_a_form_that_the_value_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\{n:\.2f\}: "):
        filled("{n:.2f}", {"n": "seven"})


@given(st.text(), st.dictionaries(st.text(), st.integers()))
def test_what_is_put_in_is_not_read_again(text: str, document: dict[str, int]) -> None:
    assert filled("{text}", {"text": text, "b": "no"}) == text
    body = json.dumps({"inner": document, "list": [1, {"k": 2}]})
    assert filled('{"q": {text}}', {"text": body}) == '{"q": ' + body + "}"
