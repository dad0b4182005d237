"""Schemas of tools, from signatures and docstrings."""

import dataclasses
import enum
import functools
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from motet.agents.model.tool import ArgumentsInvalid
from motet.agents.model.tool_docstring import parse_docstring
from motet.agents.model.tool_schema import Parameters, schema_and_check
from motet.ports import Call
from motet.testing.fakes import make_call


class Unit(enum.Enum):
    METRIC = "metric"
    IMPERIAL = "imperial"


class Place(BaseModel):
    city: str
    country: str = "PT"


@dataclasses.dataclass
class Window:
    start: int
    end: int = 24


def keywords(fn: Callable[..., Any], document: str) -> dict[str, Any]:
    return Parameters(fn, "t").keywords(document, make_call())


def refusal(fn: Callable[..., Any], document: str) -> str:
    with pytest.raises(ArgumentsInvalid) as caught:
        keywords(fn, document)
    return str(caught.value)


def test_the_schema_says_types_defaults_and_what_is_required() -> None:
    def fn(
        city: str, days: Annotated[int, Field(ge=1, le=7, description="How many.")] = 3, unit: Unit = Unit.METRIC
    ) -> None:
        """Forecast.

        Args:
            city: Where it is.
            days: Not shown, for the field says it itself.
        """

    schema = Parameters(fn, "t").schema
    assert schema["type"] == "object"
    assert schema["required"] == ["city"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["city"] == {"type": "string", "description": "Where it is."}
    assert schema["properties"]["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 7,
        "default": 3,
        "description": "How many.",
    }
    assert schema["$defs"]["Unit"]["enum"] == ["metric", "imperial"]
    assert "title" not in schema


def test_values_arrive_as_the_types_that_the_function_asks_for() -> None:
    def fn(
        place: Place, window: Window, unit: Unit, mode: Literal["a", "b"], *, tags: set[str], price: Decimal, n: int = 4
    ) -> None: ...

    given = keywords(
        fn,
        '{"place":{"city":"Faro"},"window":{"start":"6"},"unit":"metric","mode":"b","tags":["x"],'
        '"price":"0.10000000000000000000001"}',
    )
    assert given == {
        "place": Place(city="Faro"),
        "window": Window(6, 24),
        "unit": Unit.METRIC,
        "mode": "b",
        "tags": {"x"},
        "price": Decimal("0.10000000000000000000001"),
    }


def test_a_default_that_json_cannot_hold_stays_the_functions_own() -> None:
    marker = object()

    def fn(x: Any = marker) -> None: ...

    assert keywords(fn, "{}") == {}
    assert "default" not in Parameters(fn, "t").schema["properties"]["x"]


def test_a_default_given_as_a_field_is_filled_in() -> None:
    def fn(x: int = Field(default=5, ge=1), y: int = Field(ge=1)) -> None: ...

    assert keywords(fn, '{"y": 2}') == {"x": 5, "y": 2}
    assert Parameters(fn, "t").schema["required"] == ["y"]


def test_names_that_pydantic_keeps_to_itself_can_be_parameters() -> None:
    def fn(schema: str, copy: int, _hidden: int, model_config: str, json: str = "") -> None: ...

    document = '{"schema":"s","copy":1,"_hidden":2,"model_config":"m"}'
    assert keywords(fn, document) == {"schema": "s", "copy": 1, "_hidden": 2, "model_config": "m"}


def test_the_call_is_given_and_not_shown() -> None:
    def annotated(city: str, where: Call) -> None: ...
    def optional(city: str, where: Call | None = None) -> None: ...
    def named(city, call) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    call = make_call()
    for fn, parameter in ((annotated, "where"), (optional, "where"), (named, "call")):
        parameters = Parameters(fn, "t")
        assert list(parameters.schema["properties"]) == ["city"]
        assert parameters.keywords('{"city":"Faro"}', call)[parameter] is call


def test_a_call_that_only_type_checkers_import_is_known_by_its_name() -> None:
    def fn(city: str, where: "motet.Call") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert Parameters(fn, "t").call_parameter == "where"
    assert keywords(fn, '{"city":"Faro"}')["city"] == "Faro"


def test_a_parameter_named_call_of_another_type_is_an_argument() -> None:
    def fn(call: str) -> None: ...

    assert keywords(fn, '{"call":"x"}') == {"call": "x"}


def test_a_partial_a_method_and_an_object_have_their_parameters_shown() -> None:
    class Weather:
        def of(self, city: str) -> str:
            return city

        def __call__(self, city: int) -> int:
            return city

    def fn(city: str, days: int) -> None: ...

    assert keywords(Weather().of, '{"city":"Faro"}') == {"city": "Faro"}
    assert keywords(Weather(), '{"city":"3"}') == {"city": 3}
    assert keywords(functools.partial(fn, days=3), '{"city":"Faro"}') == {"city": "Faro"}


def test_signatures_that_no_object_can_call_are_refused_with_the_parameter() -> None:
    def args(*names: str) -> None: ...
    def rest(**names: str) -> None: ...
    def only(city: str, /) -> None: ...
    def odd(city: Callable[[], None]) -> None: ...
    def foreign(city: dataclasses.Field[int]) -> None: ...
    def unknown(city: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for fn, part in (
        (args, r"\*names"),
        (rest, r"\*\*names"),
        (only, "city"),
        (odd, "'city'"),
        (foreign, "'city'"),
        (unknown, "Nowhere"),
    ):
        with pytest.raises(ValueError, match=part):
            Parameters(fn, "t")


def test_a_refusal_names_each_place_and_what_belongs_there() -> None:
    def fn(place: Place, days: int) -> None: ...

    said = refusal(fn, '{"place":{"city":7},"days":"many","colour":"red"}')
    assert "place.city: Input should be a valid string, not 7" in said
    assert "days: Input should be a valid integer" in said
    assert 'not "many"' in said
    assert "colour: there is no such parameter; the parameters are place, days" in said
    assert "place: is required; days: is required" in refusal(fn, "{}")


def test_a_refusal_is_short_however_much_is_wrong() -> None:
    def fn(rows: list[int]) -> None: ...

    said = refusal(fn, '{"rows":[' + ",".join(f'"{"x" * 500}{n}"' for n in range(100)) + "]}")
    assert "and 90 more" in said
    assert len(said) < 5000


def test_a_schema_is_checked_as_a_whole_and_refuses_what_it_does_not_name() -> None:
    given = {
        "properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["n"],
    }
    schema, check = schema_and_check("t", given)
    assert schema["type"] == "object"
    assert check({"n": 1, "tags": ["a"]}) == {"n": 1, "tags": ["a"]}
    for wrong, said in (
        ({}, "'n'"),
        ({"n": "1"}, "n: "),
        ({"n": 1, "tags": [2]}, "tags"),
        ({"n": 1, "x": 1}, "x: there is no such"),
    ):
        with pytest.raises(ArgumentsInvalid, match=said):
            check(wrong)
    _, loose = schema_and_check("t", {**given, "additionalProperties": True})
    assert loose({"n": 1, "x": 1}) == {"n": 1, "x": 1}


def test_a_type_is_checked_and_its_defaults_filled_in() -> None:
    for kind in (Place,):
        schema, check = schema_and_check("t", kind)
        assert schema["required"] == ["city"]
        assert check({"city": "Faro"}) == {"city": "Faro", "country": "PT"}
        with pytest.raises(ArgumentsInvalid, match="city: is required"):
            check({})
    assert schema_and_check("t", Window)[1]({"start": 3}) == {"start": 3, "end": 24}


def test_parameters_that_are_no_object_are_refused() -> None:
    for wrong in (int, list[str], {"type": "array"}, Callable[[], None]):
        with pytest.raises(ValueError, match="tool 't'"):
            schema_and_check("t", wrong)


GOOGLE = """Looks things up.

In every drawer,
twice.

Args:
    city (str): Where
        it is.
    days: How many: at most 7.

Returns:
    what: a text
"""
NUMPY = """Looks things up.

In every drawer,
twice.

Parameters
----------
city : str
    Where
    it is.
days : int, optional
    How many: at most 7.

Returns
-------
what : str
    a text
"""
SPHINX = """Looks things up.

In every drawer,
twice.

:param str city: Where
    it is.
:param days: How many: at most 7.
:type days: int
:returns: a text
"""


@pytest.mark.parametrize("doc", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_docstrings_of_each_style_are_read(doc: str) -> None:
    assert parse_docstring(doc) == (
        "Looks things up.\n\nIn every drawer, twice.",
        {"city": "Where it is.", "days": "How many: at most 7."},
    )


def test_a_docstring_without_sections_is_all_description() -> None:
    assert parse_docstring("Adds: two numbers.") == ("Adds: two numbers.", {})
    assert parse_docstring(None) == ("", {})
    assert parse_docstring("Do.\n\nParameters\n----------\na, b : int\n    Both.") == (
        "Do.",
        {"a": "Both.", "b": "Both."},
    )
