"""What goes to a tool and comes back: names, arguments, checks, payloads."""

from typing import Any

import pytest

from motet.agents.mcp.convert import arguments_of, check_of, failure_of, model_name, replay_safe, reply_payload
from motet.agents.model.tool import ArgumentsInvalid
from motet.errors import AgentError
from motet.model.payload import EMPTY, Payload

TEXT = {"type": "object", "properties": {"text": {"type": "string"}, "n": {"type": "integer"}}, "required": ["text"]}


@pytest.mark.parametrize(
    ("given", "schema", "arguments"),
    [
        (Payload.from_json({"a": 1}), {}, {"a": 1}),
        (Payload.from_text("hi"), TEXT, {"text": "hi"}),
        (EMPTY, {"type": "object", "properties": {"n": {"type": "integer"}}}, {}),
    ],
)
def test_arguments_are_an_object_or_the_text_of_the_only_string(given: Payload, schema: Any, arguments: Any) -> None:
    assert arguments_of("t", given, schema) == arguments


@pytest.mark.parametrize(
    ("given", "schema"),
    [
        (Payload.from_json([1]), TEXT),
        (Payload.from_bytes(b"x"), TEXT),
        (Payload.from_text("x"), {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
        (Payload.from_text("x"), {"properties": {"a": {"type": "string"}}, "required": ["n"]}),
        (Payload.from_text("x"), {"properties": 5, "required": 5}),
    ],
)
def test_other_input_is_refused_before_the_server_is_asked(given: Payload, schema: Any) -> None:
    with pytest.raises(AgentError) as caught:
        arguments_of("t", given, schema)
    assert caught.value.reason == "INPUT_INVALID"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "text: is required"),
        ({"text": 1}, "text: must be of type string"),
        ({"text": "x", "n": True}, "n: must be of type integer"),
        ({"text": "x", "n": 1.5}, "n: must be of type integer"),
        ({"text": "x", "m": 1}, "m: is not a parameter; there are text, n"),
    ],
)
def test_wrong_arguments_are_told_to_the_model(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ArgumentsInvalid, match=why):
        check_of({**TEXT, "additionalProperties": False})(arguments)


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (TEXT, {"text": "x", "n": 2.0, "more": 1}),
        ({"properties": {"a": {"type": ["string", "null"]}}}, {"a": None}),
        ({"properties": {"a": {"type": "colour"}, "b": True, "c": {"type": [[]]}}}, {"a": 1, "b": 2, "c": 3}),
        ({"properties": {"a": {"type": "number"}}, "required": "a"}, {"a": 1}),
    ],
)
def test_what_the_first_level_allows_is_left_to_the_server(schema: Any, arguments: Any) -> None:
    assert check_of(schema)(arguments) == arguments


def test_names_are_mapped_to_what_models_can_say() -> None:
    assert model_name("git_", "log/show all") == "git_log_show_all"
    long = model_name("", "x" * 200)
    assert len(long) == 64
    assert long != model_name("", "x" * 201)


def test_results_are_structured_content_text_or_blocks() -> None:
    text = {"type": "text", "text": "hi"}
    image = {"type": "image", "mimeType": "image/png", "data": "aGk="}
    assert reply_payload([text], {"n": 1}).value == {"n": 1}
    assert reply_payload([text], None) == Payload.from_text("hi")
    assert reply_payload([image], None).value == image
    assert reply_payload([text, image], None).value == [text, image]
    assert reply_payload([], None) == EMPTY


def test_a_failure_speaks_in_the_words_of_the_tool() -> None:
    texts = [{"type": "text", "text": "no"}, {"type": "image"}, {"type": "text", "text": "really"}]
    assert failure_of("t", texts, None).message == "no\nreally"
    assert failure_of("t", [], {"code": 3}).message == '{"code": 3}'
    assert failure_of("t", [], None).message == "tool 't' failed and did not say why"
    assert len(failure_of("t", [{"type": "text", "text": "x" * 10_000}], None).message) == 4000


@pytest.mark.parametrize(
    ("read_only", "idempotent", "safe"),
    [
        (True, None, True),
        (None, True, True),
        (False, True, True),
        (False, None, False),
        (None, False, False),
        (None, None, None),
    ],
)
def test_hints_say_whether_a_tool_may_be_called_twice(
    read_only: bool | None, idempotent: bool | None, safe: bool | None
) -> None:
    assert replay_safe(read_only=read_only, idempotent=idempotent) is safe
