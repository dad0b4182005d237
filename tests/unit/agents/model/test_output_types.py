"""Output types: the schema that a provider is given, and the answers that are taken, put right or refused."""

import dataclasses
import json
from decimal import Decimal
from typing import Any, Literal, Optional

import pydantic
import pytest
from typing_extensions import TypedDict

from motet.agents.model._schema import strict_form
from motet.agents.model.output import OutputMismatch, OutputType


class Line(pydantic.BaseModel):
    """One line of a receipt."""

    text: str
    price: float = pydantic.Field(ge=0, description="in euros")


class Receipt(pydantic.BaseModel):
    shop: str
    lines: list[Line]
    note: str | None = None


class Tree(pydantic.BaseModel):
    label: str
    children: list["Tree"] = []
    twin: Optional["Tree"] = pydantic.Field(default=None, description="the same again")


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Pair(TypedDict):
    left: int
    right: int


PLAIN: dict[str, Any] = {
    "title": "Weather report",
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "number", "maximum": 60}},
    "required": ["city"],
    "additionalProperties": False,
}


def refusal(output: OutputType, text: str) -> str:
    with pytest.raises(OutputMismatch) as caught:
        output.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("thing", "answer", "value"),
    [
        (Receipt, '{"shop":"a","lines":[{"text":"b","price":1}]}', {"shop": "a", "lines": [{"text": "b", "price": 1.0}], "note": None}),
        (Point, '{"x":1}', {"x": 1, "y": 0}),
        (Pair, '{"left":1,"right":2}', {"left": 1, "right": 2}),
        (dict[str, int], '{"a":1}', {"a": 1}),
        (Tree, '{"label":"a","children":[{"label":"b"}]}', {"label": "a", "children": [{"label": "b", "children": [], "twin": None}], "twin": None}),
        (PLAIN, '{"city":"Bonn"}', {"city": "Bonn"}),
    ],
)  # fmt: skip
def test_an_object_is_asked_for_as_it_is(thing: Any, answer: str, value: Any) -> None:
    output = OutputType.of(thing)
    assert not output.wrapped
    assert output.schema["type"] == "object"
    payload = output.parse(answer)
    assert (payload.kind, payload.value) == ("json", value)


@pytest.mark.parametrize(
    ("thing", "answer", "value"),
    [
        (int, '{"value": 3}', 3),
        (str, '{"value": "a: {b}"}', "a: {b}"),
        (list[int], ' {"value" : [1, 2] } ', [1, 2]),
        (Literal["yes", "no"], '{"value":"no"}', "no"),
        (Point | Line, '{"value":{"x":1}}', {"x": 1, "y": 0}),
        (list[Tree], '{"value":[{"label":"a"}]}', [{"label": "a", "children": [], "twin": None}]),
        (int | None, '{"value":null}', None),
        (bool, r'{"\u0076alue":true}', True),
        ({"type": "array", "items": {"type": "integer"}}, '{"value":[1]}', [1]),
        ({"enum": ["a", "b"]}, '{"value":"b"}', "b"),
    ],
)
def test_any_other_type_is_asked_for_under_value_and_taken_from_there(thing: Any, answer: str, value: Any) -> None:
    output = OutputType.of(thing)
    assert output.wrapped
    assert (output.schema["type"], output.schema["required"]) == ("object", ["value"])
    assert output.parse(answer).value == value


@pytest.mark.parametrize("text", ["3", '{"value":3,"more":1}', "{}", '{"other":3}', "[3]"])
def test_a_wrapped_type_that_is_answered_without_its_wrapping_is_refused(text: str) -> None:
    assert 'the one key "value"' in refusal(OutputType.of(int), text)
    assert refusal(OutputType.of({"type": "integer"}), text)


@pytest.mark.parametrize(
    "text",
    [
        '{"x":1}',
        ' \n{"x":1}\n',
        '```json\n{"x":1}\n```',
        '```\n{"x":1}\n```\n',
        '``` JSON\r\n{"x":1}\r\n```',
        '\ufeff{"x":1}',
    ],
)
def test_white_space_and_a_fence_around_the_whole_answer_are_taken_off(text: str) -> None:
    assert OutputType.of(Point).parse(text).value == {"x": 1, "y": 0}


def test_a_fence_inside_a_string_is_text() -> None:
    document = json.dumps({"value": "```json\n1\n```"})
    assert OutputType.of(str).parse(f"```json\n{document}\n```").value == "```json\n1\n```"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("```json\n```", "not JSON"),
        ("Sure! Here it is: {}", "not JSON"),
        ('{"x":1} and more', "not JSON"),
        ('{"x":NaN}', "NaN"),
        ('{"x":Infinity}', "Infinity"),
        ('{"x":1,"x":2}', 'the key "x" stands twice'),
        ('{"x":1', "not JSON"),
        ('{"x":' + "[" * 100_000, "nested too deep"),
        ('{"x":' + "9" * 5000 + "}", "not JSON"),
    ],
)
@pytest.mark.parametrize("thing", [Point, {"type": "object"}])
def test_what_is_no_clean_json_is_refused_for_every_type(thing: Any, text: str, told: str) -> None:
    assert told in refusal(OutputType.of(thing), text)


def test_wrong_values_are_told_with_their_places() -> None:
    told = refusal(OutputType.of(Receipt), '{"lines":[{"text":"a","price":-1},{"text":2,"price":3}]}')
    assert told.split("; ") == [
        "shop: Field required",
        "lines[0].price: Input should be greater than or equal to 0",
        "lines[1].text: Input should be a valid string",
    ]


def test_wrong_values_of_a_json_schema_are_told_with_their_places() -> None:
    told = refusal(OutputType.of(PLAIN), '{"city":1,"degrees":99}')
    assert told == "city: 1 is not of type 'string'; degrees: 99 is greater than the maximum of 60"
    nested = OutputType.of({"type": "array", "items": {"type": "integer"}})
    assert refusal(nested, '{"value":[1,"a"]}') == "value[1]: 'a' is not of type 'integer'"


def test_only_the_first_problems_are_told() -> None:
    told = refusal(OutputType.of(list[int]), json.dumps({"value": ["a"] * 30}))
    assert told.endswith("; and 20 more")


def test_numbers_of_a_json_schema_stay_as_the_model_wrote_them() -> None:
    number = "1.10000000000000000000000000001"
    document = f'{{"city":"a","degrees":{number}}}'
    assert OutputType.of(PLAIN).parse(document).text == document
    assert OutputType.of({"type": "number"}).parse(f'{{"value": {number} }}').text == number
    assert OutputType.of({"type": "integer"}).parse(f'{{"value":{10**30}}}').text == str(10**30)


def test_numbers_of_a_python_type_become_that_type() -> None:
    assert OutputType.of(int).parse('{"value":123456789012345678901234567890}').value == 123456789012345678901234567890
    assert OutputType.of(float).parse('{"value":1}').text == "1.0"
    assert OutputType.of(Decimal).parse('{"value":"1.10"}').value == "1.10"


def test_names_that_differ_from_the_fields_are_those_of_the_schema() -> None:
    class Aliased(pydantic.BaseModel):
        kind: str = pydantic.Field(alias="type")

    output = OutputType.of(Aliased)
    assert list(output.schema["properties"]) == ["type"]
    assert output.parse('{"type":"a"}').value == {"type": "a"}


@pytest.mark.parametrize("thing", ["Receipt", 3, print, True, None, object()])
def test_what_is_no_type_is_refused_where_it_is_given(thing: Any) -> None:
    if thing is None:  # the type whose one value is null
        assert OutputType.of(None).parse('{"value":null}').value is None
    else:
        with pytest.raises(ValueError, match=r"output type"):
            OutputType.of(thing)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "objekt"}, "not a JSON Schema: type"),
        ({"type": "object", "properties": []}, "not a JSON Schema: properties"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}, "refers to '#/$defs/A', which is not in it"),
        ({"enum": [object()]}, "not a JSON Schema: Object of type object"),
        ({"$ref": "https://example.invalid/schema.json"}, "not in it"),
    ],
)
def test_what_is_no_json_schema_or_refers_elsewhere_is_refused_where_it_is_given(schema: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("$", r"\$")):
        OutputType.of(schema)


def test_an_output_type_is_taken_as_it_is() -> None:
    output = OutputType.of(Point)
    assert OutputType.of(output) is output


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Point, "Point"),
        (PLAIN, "Weather_report"),
        ({"type": "string"}, "answer"),
        (list[int], "list"),
        (int | str, "answer"),
    ],
)
def test_the_schema_has_a_name_that_providers_take(thing: Any, name: str) -> None:
    assert OutputType.of(thing).name == name
    assert OutputType.of(thing, name="my answer!").name == "my_answer"


def test_the_model_is_told_what_was_wrong_and_what_to_follow() -> None:
    output = OutputType.of(Point)
    prompt = output.repair_prompt(OutputMismatch(refusal(output, "{}")))
    assert "x: Field required" in prompt
    assert json.dumps(output.schema) in prompt


def test_the_strict_schema_requires_every_property_and_closes_every_object() -> None:
    strict = strict_form(OutputType.of(Receipt).schema)
    assert strict is not None
    assert (strict["required"], strict["additionalProperties"]) == (["shop", "lines", "note"], False)
    line = strict["$defs"]["Line"]
    assert (line["required"], line["additionalProperties"]) == (["text", "price"], False)
    assert line["properties"]["price"] == {"type": "number", "minimum": 0, "description": "in euros", "title": "Price"}
    assert "default" not in json.dumps(strict)


def test_the_strict_schema_has_nothing_beside_a_reference_and_ends_for_recursive_types() -> None:
    strict = strict_form(OutputType.of(Tree).schema)
    assert strict is not None
    assert strict["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}

    class Route(pydantic.BaseModel):
        start: Point = pydantic.Field(description="where it begins")
        end: Point

    route = strict_form(OutputType.of(Route).schema)
    assert route is not None
    assert route["properties"]["end"] == {"$ref": "#/$defs/Point"}
    assert route["properties"]["start"]["description"] == "where it begins"
    assert route["properties"]["start"]["required"] == ["x", "y"]


@pytest.mark.parametrize("thing", [int, list[Point], Literal["a"], Point | Line, int | None, PLAIN, Point])
def test_most_types_have_a_strict_schema(thing: Any) -> None:
    assert strict_form(OutputType.of(thing).schema) is not None


@pytest.mark.parametrize(
    "thing",
    [
        dict[str, int],
        Any,
        tuple[int, str],
        {"type": "object"},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        {"type": "object", "properties": {}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"not": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"type": ["object", "null"]}}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
    ],
)
def test_what_strict_modes_cannot_say_has_no_strict_schema(thing: Any) -> None:
    assert strict_form(OutputType.of(thing).schema) is None


def test_references_of_a_wrapped_schema_still_lead_where_they_did() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}, {"$ref": "#/$defs/word"}, {"$ref": "#/anyOf/0"}],
        "$defs": {"word": {"type": "string"}},
    }  # fmt: skip
    output = OutputType.of(schema)
    assert output.parse('{"value":[1,["a",[2]]]}').value == [1, ["a", [2]]]
    assert refusal(output, '{"value":[1,[true]]}')


def test_a_document_or_schema_that_nests_without_end_is_refused() -> None:
    endless = OutputType.of(
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}
    )
    assert "nested too deep" in refusal(endless, '{"a":1}')
