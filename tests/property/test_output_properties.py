"""Output types, for any values: what a type can hold comes through, digit for digit, and strict schemas only narrow."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped,unused-ignore]  # its stubs are a package of their own
import pydantic
from hypothesis import given
from hypothesis import strategies as st

from motet.agents.model._schema import strict_form
from motet.agents.model.output import OutputMismatch, OutputType


class Item(pydantic.BaseModel):
    name: str
    count: int = 0
    tags: list[str] = []
    parent: "Item | None" = None


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_ITEMS: st.SearchStrategy[Item] = st.recursive(
    st.builds(
        Item, name=_TEXTS, count=st.integers(-(2**200), 2**200), tags=st.lists(_TEXTS, max_size=3), parent=st.none()
    ),
    lambda inner: st.builds(Item, name=_TEXTS, parent=inner),
    max_leaves=4,
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
ITEM = OutputType.of(Item)
ITEMS = OutputType.of(list[Item])
ANYTHING = OutputType.of({})
NUMBER = OutputType.of({"type": "number"})


@given(_ITEMS)
def test_what_a_type_writes_it_reads_again(item: Item) -> None:
    assert Item.model_validate_json(ITEM.parse(item.model_dump_json()).text) == item


@given(st.lists(_ITEMS, max_size=3))
def test_what_a_wrapped_type_writes_it_reads_again(items: list[Item]) -> None:
    document = json.dumps({"value": [item.model_dump() for item in items]})
    assert [Item.model_validate(each) for each in ITEMS.parse(document).value] == items


@given(_ITEMS)
def test_what_follows_the_strict_schema_follows_the_type(item: Item) -> None:
    assert strict_form(ITEM.schema) is not None
    jsonschema.Draft202012Validator(strict_form(ITEM.schema)).validate(item.model_dump())
    jsonschema.Draft202012Validator(ITEM.schema).validate(item.model_dump())


@given(_VALUES, st.sampled_from([None, 0, 3]), st.booleans())
def test_a_value_comes_out_of_its_wrapping_as_it_was_written(value: Any, indent: int | None, ascii_only: bool) -> None:
    document = json.dumps({"value": value}, indent=indent, ensure_ascii=ascii_only)
    assert ANYTHING.parse(f"```json\n{document}\n```").text == document[document.index(":") + 1 : -1].strip()


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_a_number_keeps_every_digit(number: str) -> None:
    assert NUMBER.parse(f'{{"value": {number}}}').text == number


@given(st.text())
def test_any_text_is_either_taken_or_refused_with_a_sentence(text: str) -> None:
    for output in (ITEM, ITEMS, ANYTHING):
        try:
            told = output.parse(text).text
        except OutputMismatch as error:
            told = str(error)
        assert told
