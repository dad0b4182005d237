"""Selectors: what they find, what they call a problem, what is refused before any output is seen."""

from collections.abc import Callable
from typing import Any

import pytest

from motet.aggregate._select import MAX_PROBLEM, Selected, make_selector
from motet.model.payload import Payload
from motet.testing.contracts_aggregator import BOOK, Book, failed, succeeded

DEEP = Payload("json", "[" * 100_000 + "]" * 100_000)


def select(output: object, **options: Any) -> Selected:
    return make_selector(BOOK, **options)(succeeded("m", output))


def test_without_options_it_is_the_whole_output() -> None:
    assert select({"a": [1]}) == Selected({"a": [1]})
    assert select("text") == Selected("text")
    assert select(b"\xff") == Selected(b"\xff")


def test_text_that_is_json_stays_text_unless_a_field_or_an_expression_looks_into_it() -> None:
    assert select('{"a": 1}').value == '{"a": 1}'
    assert select('{"a": 1}', field="/a").value == 1
    assert select('{"a": 1}', expression="output.a + 1").value == 2


# The examples of RFC 6901, section 5.
@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_a_field_is_found_as_the_rfc_says(pointer: str, value: object) -> None:
    document = {
        "foo": ["bar", "baz"],
        "": 0,
        "a/b": 1,
        "c%d": 2,
        "e^f": 3,
        "g|h": 4,
        "i\\j": 5,
        'k"l': 6,
        " ": 7,
        "m~n": 8,
    }
    assert select(document, field=pointer) == Selected(value)
    assert select(document, field="") == Selected(document)


@pytest.mark.parametrize(
    "pointer", ["/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/\u0660", "/foo/" + "9" * 5000, "/bar", "/foo/0/x"]
)
def test_a_field_that_is_not_there_is_a_problem(pointer: str) -> None:
    found = select({"foo": ["bar", "baz"]}, field=pointer)
    assert found.value is None
    assert found.problem.startswith("has nothing at /")
    assert len(found.problem) <= MAX_PROBLEM


def test_a_field_that_is_null_is_a_value() -> None:
    assert select({"a": None}, field="/a") == Selected(None)


def test_an_expression_knows_the_member_and_its_agent() -> None:
    assert select({"a": 2}, expression="member + '/' + agent + '/' + string(output.a)").value == "m/agent/2"


def test_a_function_gets_the_value_by_name_or_as_it_is() -> None:
    book = Book(functions={"length": len})
    assert make_selector(book, function="length")(succeeded("m", "four")).value == 4
    assert select([1, 2, 3], function=sum).value == 6


def test_a_function_that_changes_its_argument_changes_no_output() -> None:
    outcome = succeeded("m", {"a": [1]})
    selector = make_selector(BOOK, function=lambda value: value["a"].clear())
    selector(outcome)
    assert outcome.output == Payload.of({"a": [1]})


def test_a_function_that_raises_is_a_problem_with_its_words() -> None:
    assert select("x", function=lambda value: value["a"]).problem.startswith("TypeError: ")
    assert select("x", function=int).problem.startswith("invalid literal for int()")


def test_an_exception_that_cannot_say_what_it_is_has_its_type_for_a_problem() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail(_value: object) -> None:
        raise Mute

    assert select("x", function=fail).problem == "Mute"


def test_a_problem_is_short_and_has_bytes() -> None:
    def fail(_value: object) -> None:
        raise ValueError("\ud800" * 1000)

    problem = select("x", function=fail).problem
    assert len(problem) == MAX_PROBLEM
    assert problem.encode()


def test_a_function_that_gives_a_coroutine_is_a_problem() -> None:
    async def later(value: object) -> object:  # noqa: ASYNC124 - that it is async is the point
        return value

    assert "async" in select("x", function=lambda value: later(value)).problem  # noqa: PLW0108 - it hides that it is async


def test_a_member_without_an_output_is_a_problem() -> None:
    assert make_selector(BOOK)(failed("m")) == Selected(None, "has no output")


@pytest.mark.parametrize(
    "options", [{}, {"field": ""}, {"field": "/a"}, {"expression": "output"}, {"function": lambda value: value}]
)
def test_a_document_that_python_cannot_decode_is_a_problem(options: dict[str, Any]) -> None:
    assert select(DEEP, **options).problem == "the JSON document is nested too deep"
    assert select(Payload("json", "{"), **options).problem
    assert select(Payload("json", "NaN"), **options).problem == "NaN is not JSON"


async def slow(value: object) -> object:  # noqa: ASYNC124 - that it is async is the point
    return value


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"field": "a"}, "field: must be a JSON pointer"),
        ({"field": "/~2"}, "field: in a JSON pointer ~ is written ~0"),
        ({"expression": "output +"}, "expression: line 1, column"),
        ({"function": "nobody"}, "function: there is no function 'nobody' in the catalog; there are: none"),
        ({"function": 3}, "function: must be the name"),
        ({"function": slow}, "function: must not be async"),
        ({"field": "", "function": len}, "give only one of field, function"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what the test looks at
        make_selector(BOOK, **options)
    assert str(caught.value).startswith(sentence)


HOSTILE: list[object] = [
    None,
    True,
    2**80,
    "\ud800",
    b"\xff",
    [],
    {},
    {"a": ["\ud800"]},
    Payload("json", "1e999"),
    DEEP,
]
SELECTORS: list[dict[str, str | Callable[..., Any]]] = [
    {},
    {"field": "/a/0"},
    {"expression": "output.a[0]"},
    {"function": len},
]


@pytest.mark.parametrize("options", SELECTORS)
@pytest.mark.parametrize("output", HOSTILE, ids=lambda output: repr(output)[:20])
def test_no_output_makes_a_selector_raise(options: dict[str, Any], output: object) -> None:
    found = select(output, **options)
    assert isinstance(found, Selected)
    assert found.problem == "" or found.value is None
