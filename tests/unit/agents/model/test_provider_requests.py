"""What a request becomes in each service's format."""

from typing import Any

import anthropic
import pytest

from motet.agents.model.providers import _anthropic_format, _openai_format
from motet.agents.model.providers._errors import Failures
from motet.agents.model.providers._schema import is_closed
from motet.agents.model.reasons import PROVIDER_REJECTED
from motet.errors import AgentError
from motet.model.chat import ChatRequest, Message, Role, Sampling, ToolCall, ToolSpec

WEATHER = ToolSpec(
    name="weather",
    description="Tells the weather.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)
ASKED = Message(
    role=Role.ASSISTANT,
    tool_calls=(
        ToolCall(id="call.1", name="weather", arguments='{"city": "Oslo"}'),
        ToolCall(id="2", name="weather", arguments="{city"),
    ),
)
TALK = (
    Message(role=Role.SYSTEM, text="Be brief."),
    Message(role=Role.SYSTEM, text="Be kind."),
    Message(role=Role.USER, text="Weather?"),
    ASKED,
    Message(role=Role.TOOL, tool_call_id="call.1", text="rain"),
    Message(role=Role.TOOL, tool_call_id="2", text="no JSON", failed=True),
    Message(role=Role.USER, text="Well?"),
)
ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer", "default": 1}, "who": {"$ref": "#/$defs/Who", "description": "whoever"}},
    "$defs": {"Who": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
}
LOOSE: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "object", "additionalProperties": True}}}


def request(**changes: Any) -> ChatRequest:
    return ChatRequest(**{"model": "m-1", "messages": TALK, **changes})


def openai_body(*, max_tokens_field: str = "max_tokens", strict_tools: bool = False, **changes: Any) -> dict[str, Any]:
    return _openai_format.request_body(request(**changes), max_tokens_field=max_tokens_field, strict_tools=strict_tools)


def anthropic_body(**changes: Any) -> dict[str, Any]:
    return _anthropic_format.request_body(
        request(**changes),
        Failures(provider="p", model="m-1", key=""),
        default_max_tokens=1000,
        transform=anthropic.transform_schema,
    )


# ------------------------------------------------------------------------------------------------------------- openai


def test_openai_gets_every_message_in_its_place() -> None:
    calls = [
        {"id": "call.1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
        {"id": "2", "type": "function", "function": {"name": "weather", "arguments": '{"invalid": "{city"}'}},
    ]
    assert openai_body() == {
        "model": "m-1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call.1", "content": "rain"},
            {"role": "tool", "tool_call_id": "2", "content": "no JSON"},
            {"role": "user", "content": "Well?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_openai_gets_the_sampling_that_is_set_and_no_more() -> None:
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        max_output_tokens=9,
        stop=("END",),
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        parallel_tool_calls=False,
        tool_choice="weather",
        extra={"top_k": 3},
    )
    body = openai_body(sampling=sampling, tools=(WEATHER,), stream=False, max_tokens_field="max_completion_tokens")
    body.pop("messages")
    assert body == {
        "model": "m-1",
        "temperature": 0.0,
        "top_p": 0.5,
        "max_completion_tokens": 9,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "tools": [
            {
                "type": "function",
                "function": {"name": "weather", "description": "Tells the weather.", "parameters": WEATHER.parameters},
            }
        ],
        "stream": False,
        "extra_body": {"top_k": 3},
    }


def test_openai_gets_no_word_about_tools_when_there_are_none() -> None:
    body = openai_body(sampling=Sampling(tool_choice="required", parallel_tool_calls=True))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


def test_openai_tools_are_strict_on_demand_where_their_schema_can_be() -> None:
    loose = ToolSpec(name="any", parameters=LOOSE)
    body = openai_body(tools=(WEATHER, loose), strict_tools=True)
    first, second = (tool["function"] for tool in body["tools"])
    assert first["strict"]
    assert first["parameters"]["required"] == ["city"]
    assert second == {"name": "any", "parameters": LOOSE}


@pytest.mark.parametrize(("schema", "strict"), [(ANSWER, True), (LOOSE, False)])
def test_openai_is_held_to_an_output_schema_strictly_where_that_can_be(schema: dict[str, Any], *, strict: bool) -> None:
    form = openai_body(output_schema=schema, output_name="verdict")["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["name"] == "verdict"
    assert form["json_schema"]["strict"] is strict
    assert strict or form["json_schema"]["schema"] == schema


# ---------------------------------------------------------------------------------------------------------- anthropic


def test_anthropic_gets_the_system_apart_and_the_results_of_a_turn_as_one_message() -> None:
    body = anthropic_body(tools=(WEATHER,))
    uses = [
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "2", "name": "weather", "input": {"invalid": "{city"}},
    ]
    results = [
        {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"},
        {"type": "tool_result", "tool_use_id": "2", "content": "no JSON", "is_error": True},
        {"type": "text", "text": "Well?"},
    ]
    assert body == {
        "model": "m-1",
        "max_tokens": 1000,
        "stream": True,
        "system": "Be brief.\n\nBe kind.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {"role": "assistant", "content": uses},
            {"role": "user", "content": results},
        ],
        "tools": [{"name": "weather", "description": "Tells the weather.", "input_schema": WEATHER.parameters}],
    }


def test_anthropic_knows_the_tools_of_the_past_when_none_is_offered() -> None:
    body = anthropic_body()
    assert body["tools"] == [{"name": "weather", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


def test_anthropic_gets_no_block_without_text() -> None:
    messages = (
        Message(role=Role.USER, text="a"),
        Message(role=Role.ASSISTANT, text=" "),
        Message(role=Role.USER, text="b"),
    )
    assert [each["content"] for each in anthropic_body(messages=messages)["messages"]] == [
        [{"type": "text", "text": "a"}],
        [{"type": "text", "text": "b"}],
    ]


@pytest.mark.parametrize(
    ("sampling", "choice"),
    [
        (Sampling(), None),
        (Sampling(tool_choice="auto"), {"type": "auto"}),
        (Sampling(tool_choice="required"), {"type": "any"}),
        (Sampling(tool_choice="none", parallel_tool_calls=False), {"type": "none"}),
        (Sampling(tool_choice="weather"), {"type": "tool", "name": "weather"}),
        (Sampling(parallel_tool_calls=False), {"type": "auto", "disable_parallel_tool_use": True}),
        (Sampling(parallel_tool_calls=True), {"type": "auto"}),
    ],
    ids=str,
)
def test_anthropic_has_its_own_words_for_the_choice_of_tools(sampling: Sampling, choice: dict[str, Any] | None) -> None:
    assert anthropic_body(tools=(WEATHER,), sampling=sampling).get("tool_choice") == choice


def test_anthropic_gets_the_sampling_that_it_has() -> None:
    sampling = Sampling(temperature=0.0, top_p=0.9, max_output_tokens=5, stop=("END",), extra={"top_k": 3})
    body = anthropic_body(sampling=sampling)
    assert body["max_tokens"] == 5
    assert body["stop_sequences"] == ["END"]
    assert body["extra_body"] == {"temperature": 0.0, "top_p": 0.9, "top_k": 3}


@pytest.mark.parametrize("name", ["seed", "presence_penalty", "frequency_penalty"])
def test_anthropic_refuses_the_sampling_that_it_has_not(name: str) -> None:
    with pytest.raises(AgentError, match=name) as caught:
        anthropic_body(sampling=Sampling(**{name: 1}))  # type: ignore[arg-type]
    assert caught.value.reason == PROVIDER_REJECTED


def test_anthropic_follows_an_output_schema_by_itself_where_it_can() -> None:
    body = anthropic_body(output_schema=ANSWER, tools=(WEATHER,))
    form = body["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert form["schema"]["additionalProperties"] is False
    assert [tool["name"] for tool in body["tools"]] == ["weather"]


def test_anthropic_answers_an_open_schema_through_a_tool() -> None:
    alone = anthropic_body(output_schema=LOOSE, messages=TALK[:3])
    assert [tool["name"] for tool in alone["tools"]] == ["answer"]
    assert alone["tools"][0]["input_schema"] == LOOSE
    assert alone["tool_choice"] == {"type": "tool", "name": "answer"}
    beside = anthropic_body(output_schema=LOOSE, output_name="weather", tools=(WEATHER,))
    assert [tool["name"] for tool in beside["tools"]] == ["weather", "weather_"]
    assert beside["tool_choice"] == {"type": "any"}


def test_anthropic_answers_a_schema_of_no_object_inside_one() -> None:
    schema = {"type": "array", "items": {}}
    body = anthropic_body(output_schema=schema, messages=TALK[:3])
    assert body["tools"][0]["input_schema"]["properties"] == {"value": schema}


# ------------------------------------------------------------------------------------------------------------- schemas


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"description": "anything"},
        {"type": "array", "items": {}},
        {"anyOf": [{"type": "string"}, {}]},
    ],
    ids=str,
)
def test_what_leaves_something_open_is_not_closed(part: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"part": part}}
    assert is_closed(ANSWER)
    assert not is_closed(schema)
