"""Whatever a model writes: arguments are refused in one way, or arrive as what was asked for, and reach nothing else."""

import json
from typing import Any, Literal, get_args, get_origin
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.agents.model.tool import ArgumentsInvalid, Tool
from motet.agents.model.tool_calls import prepare
from motet.agents.model.tool_function import tool
from motet.agents.model.tool_schema import Parameters
from motet.agents.model.tool_services import command_tool, http_tool
from motet.testing.fakes import make_call

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["a", "b", "model_config", "copy", "_x", "self_", "schema", "e\u0301t\u00e9".replace("\u0301", "")]
)
PIECES = [
    "/",
    "\\",
    ".",
    "..",
    "%2f",
    "%",
    "?",
    "#",
    "@",
    ":",
    ";",
    "&",
    "=",
    " ",
    "-",
    "--",
    "{",
    "}",
    "$(",
    "|",
    "\0",
    "\n",
    "\r",
]
HOSTILE = st.lists(st.sampled_from([*PIECES, "x", "\u202e"]), max_size=6).map("".join) | st.text(max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
FITTING: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, TEXTS),
    (int, st.integers(-(2**63), 2**63)),
    (float, FLOATS),
    (bool, st.booleans()),
    (list[int], st.lists(st.integers(), max_size=4)),
    (dict[str, float], st.dictionaries(TEXTS, FLOATS, max_size=4)),
    (int | None, st.none() | st.integers()),
    (Literal["x", "y"], st.sampled_from(["x", "y"])),
    (list[str] | str, TEXTS | st.lists(TEXTS, max_size=4)),
]
SAFE_PATH = "https://x.example/v1/{city}/end"


def sample(*wanted: tuple[str, Any]) -> Any:
    """A function with these parameters, which gives back what it was called with."""
    scope: dict[str, Any] = {f"t{place}": kind for place, (_, kind) in enumerate(wanted)}
    listed = ", ".join(f"{name}: t{place}" for place, (name, _) in enumerate(wanted))
    exec(f"def fn({listed}):\n    return locals()", scope)  # noqa: S102 - a signature of generated names and types
    return scope["fn"]


def is_of(kind: Any, value: object) -> bool:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in args
    if origin is list:
        return isinstance(value, list) and all(is_of(args[0], item) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(type(k) is str and is_of(args[1], v) for k, v in value.items())
    if args:
        return any(is_of(each, value) for each in args)
    return type(value) is kind


SIGNATURES = st.dictionaries(NAMES, st.sampled_from([kind for kind, _ in FITTING]), max_size=4)


@settings(max_examples=60, deadline=None)
@given(SIGNATURES, st.data())
def test_what_passes_calls_the_function_with_values_of_its_types(
    signature: dict[str, Any], data: st.DataObject
) -> None:
    fn = sample(*signature.items())
    one = tool(fn)
    written = data.draw(
        st.fixed_dictionaries({}, optional=dict.fromkeys(signature, VALUES)).map(json.dumps)
        | st.dictionaries(NAMES, VALUES, max_size=4).map(json.dumps)
        | st.text(max_size=30)
    )
    try:
        prepared = prepare(one, written)
    except ArgumentsInvalid as error:
        assert str(error)  # noqa: PT017 - anything else that is raised fails the test
        return
    called = fn(**Parameters(fn, "fn").keywords(prepared.text, make_call()))
    assert called.keys() == signature.keys()
    for name, kind in signature.items():
        assert is_of(kind, called[name]), (name, kind, called[name])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.sampled_from(FITTING), max_size=4), st.data())
def test_arguments_of_the_right_types_always_pass(signature: dict[str, Any], data: st.DataObject) -> None:
    fn = sample(*((name, kind) for name, (kind, _) in signature.items()))
    arguments = {name: data.draw(values) for name, (_, values) in signature.items()}
    prepared = prepare(tool(fn), json.dumps(arguments))
    assert fn(**Parameters(fn, "fn").keywords(prepared.text, make_call())) == arguments


@settings(deadline=None)
@given(st.text(max_size=60) | VALUES.map(json.dumps))
@pytest.mark.parametrize("make", ["plain", "checked", "http", "command"])
def test_whatever_is_written_is_taken_or_refused_in_one_way(make: str, written: str) -> None:
    one = TOOLS[make]
    try:
        prepared = prepare(one, written)
    except ArgumentsInvalid as error:
        assert str(error)  # noqa: PT017 - anything else that is raised fails the test
    else:
        assert isinstance(prepared.json(), dict)


@settings(deadline=None)
@given(HOSTILE, st.dictionaries(HOSTILE, HOSTILE, max_size=3))
def test_no_argument_leaves_its_place_in_a_url(city: str, more: dict[str, str]) -> None:
    one = TOOLS["http"]
    try:
        prepared = prepare(one, json.dumps({"city": city, **more}))
    except ArgumentsInvalid:
        return
    url, _, content = one.agent._request(make_call(prepared))  # type: ignore[attr-defined]
    parts = urlsplit(url)
    first, version, place, end = parts.path.split("/")
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "x.example", "", "")
    assert (first, version, end) == ("", "v1", "end")
    assert unquote(place) == city
    assert place not in {"", ".", ".."}
    assert url.isascii()
    assert url.isprintable()
    assert "/" not in city
    assert json.loads(content) == {}


@settings(deadline=None)
@given(HOSTILE, st.lists(HOSTILE, max_size=3))
def test_no_argument_becomes_an_option_or_another_argument(path: str, more: list[str]) -> None:
    one = TOOLS["command"]
    try:
        prepared = prepare(one, json.dumps({"path": path, "more": more}))
    except ArgumentsInvalid:
        return
    _, argv = one.agent._given(make_call(prepared))  # type: ignore[attr-defined]
    assert argv == [f"--path={path}", path, *more]
    assert not any(text.startswith("-") for text in argv[1:])


def _checked(city: str, days: int = 1) -> str:
    return city * days


TOOLS: dict[str, Tool] = {
    "plain": Tool(spec=tool(_checked, name="plain").spec, agent=tool(_checked, name="plain").agent),
    "checked": tool(_checked, name="checked"),
    "http": http_tool(
        "http",
        SAFE_PATH,
        description="d",
        parameters={"properties": {"city": {"type": "string"}}, "required": ["city"]},
    ),
    "command": command_tool(
        "command",
        ["ls", "--path={path}", "{path}", "{more}"],
        description="d",
        parameters={
            "properties": {"path": {"type": "string"}, "more": {"type": "array", "items": {"type": "string"}}},
            "required": ["path"],
        },
    ),
}
