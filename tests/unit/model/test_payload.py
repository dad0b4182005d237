"""Payloads: the three kinds, what JSON may hold, and values that no encoding likes."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.model.payload import EMPTY, Payload, parse_json

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("value", "kind", "content"),
    [
        ("text", "text", "text"),
        ("", "text", ""),
        (b"\x00\xff", "data", b"\x00\xff"),
        (bytearray(b"x"), "data", b"x"),
        (memoryview(b"x"), "data", b"x"),
        (None, "json", "null"),
        (True, "json", "true"),
        ({"a": [1, "ü"]}, "json", '{"a":[1,"ü"]}'),
    ],
)
def test_a_python_value_becomes_the_kind_that_suits_it(value: object, kind: str, content: object) -> None:
    payload = Payload.of(value)
    assert (payload.kind, payload.content) == (kind, content)


def test_a_payload_is_taken_as_it_is() -> None:
    payload = Payload.from_text("x", "text/html")
    assert Payload.of(payload) is payload


@pytest.mark.parametrize("value", ["x", b"x", {"a": [1, None]}, [], 1.5])
def test_a_value_comes_back_as_it_went_in(value: object) -> None:
    assert Payload.of(value).value == value


def test_every_reader_gets_a_copy_of_its_own() -> None:
    payload = Payload.of({"a": []})
    payload.value["a"].append(1)
    assert payload.value == {"a": []}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_numbers_that_json_does_not_know_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Payload.of(value)


@pytest.mark.parametrize("document", ["NaN", "[Infinity]", '{"a": -Infinity}', "", "{", "1 2", "'a'", "\ufeff1"])
def test_text_that_is_not_json_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Payload.from_json_text(document)


def test_a_document_nested_too_deep_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json(DEEP)
    with pytest.raises(ValueError, match="nested too deep"):
        Payload.from_json_text(DEEP)


def test_an_integer_too_long_for_python_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="digits"):
        parse_json("9" * 5000)


def test_a_document_keeps_its_letters_and_so_its_precision() -> None:
    document = ' {"n": 0.1000000000000000055511151231257827, "n": 123456789012345678901234567890} '
    payload = Payload.from_json_text(document)
    assert payload.text == document
    assert payload.data == document.encode()
    assert payload.value == {"n": 123456789012345678901234567890}


def test_what_has_no_json_form_is_a_type_error_that_says_what_to_return() -> None:
    with pytest.raises(TypeError, match="object has no JSON form; return text"):
        Payload.of(object())


def test_dataclasses_and_pydantic_models_become_objects() -> None:
    @dataclass
    class Point:
        x: int

    class Model:
        def model_dump(self, mode: str) -> dict[str, str]:
            return {"mode": mode}

    assert Payload.of([Point(1), Model()]).value == [{"x": 1}, {"mode": "json"}]


@pytest.mark.parametrize(
    ("payload", "media_type"),
    [
        (EMPTY, "text/plain"),
        (Payload.of(1), "application/json"),
        (Payload.of(b""), "application/octet-stream"),
        (Payload.from_bytes(b"", "image/png"), "image/png"),
    ],
)
def test_the_media_type_is_the_kinds_own_unless_one_is_given(payload: Payload, media_type: str) -> None:
    assert payload.effective_media_type == media_type


@pytest.mark.parametrize(
    ("value", "size"), [("", 0), ("abc", 3), ("ü🎵", 6), (b"\x00\xff", 2), ([1], 3), ("\ud800", 1), ("a\udfffb", 3)]
)
def test_the_size_is_that_of_the_utf8_and_counts_a_lone_surrogate_as_one(value: object, size: int) -> None:
    assert Payload.of(value).size == size


def test_a_lone_surrogate_has_a_value_and_no_bytes() -> None:
    text, document = Payload.of("\ud800"), Payload.of(["\ud800"])
    assert text.value == "\ud800"
    assert document.value == ["\ud800"]
    for payload in (text, document):
        with pytest.raises(UnicodeEncodeError):
            _ = payload.data


def test_an_escaped_surrogate_in_a_document_has_bytes() -> None:
    payload = Payload.from_json_text('"\\ud800"')
    assert payload.value == "\ud800"
    assert payload.data == b'"\\ud800"'


def test_bytes_that_are_not_utf8_have_no_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        _ = Payload.of(b"\xff").text


@pytest.mark.parametrize("payload", [Payload.of('{"a": 1}'), Payload.of(b'{"a": 1}'), Payload.of({"a": 1})])
def test_json_parses_every_kind(payload: Payload) -> None:
    assert payload.json() == {"a": 1}


@pytest.mark.parametrize(
    ("payload", "fragment"),
    [
        (Payload.from_json_text(" 1.10 "), " 1.10 "),
        (Payload.of('"ü"'), '"\\"ü\\""'),
        (Payload.of(b"\x00\xff"), '"AP8="'),
    ],
)
def test_a_fragment_stands_for_the_value_in_a_larger_document(payload: Payload, fragment: str) -> None:
    assert payload.fragment == fragment


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON)
def test_every_json_value_survives_a_payload(value: Any) -> None:
    payload = Payload.from_json(value)
    assert payload.value == value
    assert Payload.from_json_text(payload.text) == payload
    assert parse_json(f"[{Payload.of(value).fragment}]") == [value]
