"""Whatever a model service answers becomes an answer or an error with a reason, never another exception."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.agents.model.providers._anthropic_answer import MessagesAnswer
from motet.agents.model.providers._errors import Failures
from motet.agents.model.providers._openai_format import ChatCompletion
from motet.errors import AgentError
from motet.model.chat import ChatRequest, Message, Role
from motet.model.usage import Usage

REQUEST = ChatRequest(model="m", messages=(Message(role=Role.USER, text="x"),))
CALL = {"index": 0, "id": "a", "function": {"name": "n", "arguments": "{}"}}
SAID = {"content": "x", "refusal": None, "tool_calls": [CALL]}
CHAT: list[dict[str, Any]] = [
    {
        "id": "c",
        "model": "m",
        "choices": [{"index": 0, "delta": SAID, "message": SAID, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
        "error": None,
    }
]
MESSAGES: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "a", "model": "m", "usage": {"input_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "x", "name": "n", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "error", "error": {"type": "x", "message": "m"}},
    {"content": [{"type": "text", "text": "x"}, {"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.just(2**80),
    st.floats(),
    st.sampled_from(["", "x", "text", "tool_use"]),
    st.sampled_from([[], {}, [3], {"a": 1}, [None], [[]]]),
)


def _count(_model: str, read: int, written: int, _cached: int) -> Usage:
    return Usage(calls=1, input_tokens=read, output_tokens=written)


@st.composite
def spoilt(draw: st.DrawFn, documents: list[dict[str, Any]]) -> list[Any]:
    """The documents, some left out, with one value or a few replaced by what does not belong there."""

    def walk(value: Any) -> Any:
        if draw(st.integers(0, 11)) == 0:
            return draw(JUNK)
        if isinstance(value, dict):
            return {key: walk(inner) for key, inner in value.items() if draw(st.integers(0, 19))}
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        return value

    return [walk(document) for document in documents if draw(st.integers(0, 4))]


@pytest.mark.parametrize(("parser", "documents"), [(ChatCompletion, CHAT), (MessagesAnswer, MESSAGES)])
@pytest.mark.parametrize("whole", [True, False])
@settings(deadline=None)
@given(data=st.data())
def test_an_answer_of_any_shape_is_understood_or_refused(
    parser: type[ChatCompletion] | type[MessagesAnswer],
    documents: list[dict[str, Any]],
    whole: bool,
    data: st.DataObject,
) -> None:
    answer = parser(REQUEST, Failures(provider="p", model="m", key="k"), _count)
    try:
        for document in data.draw(spoilt(documents)):
            if whole:
                answer.whole(document)
            else:
                answer.event("", document)
        reply = answer.reply()
    except AgentError as error:
        assert error.reason.isupper()  # noqa: PT017 - either end is right, and both are looked at
        return
    assert isinstance(reply.text, str)
    assert all(isinstance(part, str) for call in reply.tool_calls for part in (call.id, call.name, call.arguments))
    assert type(reply.usage.input_tokens) is int
