"""How answers are put together from what services send, in one piece or many."""

from collections.abc import Mapping
from typing import Any

import pytest

from motet.agents.model import reasons
from motet.agents.model.providers._anthropic_answer import MessagesAnswer
from motet.agents.model.providers._errors import Failures
from motet.agents.model.providers._openai_format import ChatCompletion
from motet.errors import AgentError
from motet.model.chat import ChatReply, ChatRequest, Finish, ToolCall
from motet.model.usage import UNPRICED_CALL, Usage

FAILURES = Failures(provider="p", model="asked", key="")


def usage(_model: str, read: int, written: int, cached: int) -> Usage:
    return Usage(calls=1, input_tokens=read, output_tokens=written, cost_nanos=cached)


def completion(*, stream: bool = True, heard: list[str] | None = None) -> ChatCompletion:
    hear = heard.append if heard is not None else lambda _piece: None
    return ChatCompletion(ChatRequest(model="asked", messages=(), stream=stream), FAILURES, usage, hear)


def chunked(*deltas: Mapping[str, Any], finish: str = "stop") -> ChatReply:
    answer = completion()
    for delta in deltas:
        answer.event("", {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    answer.event("", {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return answer.reply()


def tool(arguments: object, **fields: Any) -> dict[str, Any]:
    name = fields.pop("name", None)
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"tool_calls": [{**fields, "function": function}]}


def reason_of(answer: ChatCompletion | MessagesAnswer) -> tuple[str, bool]:
    with pytest.raises(AgentError) as caught:
        answer.reply()
    return caught.value.reason, caught.value.retryable


# ------------------------------------------------------------------------------------------------------------- openai


def test_tool_calls_are_put_together_from_deltas_in_any_order() -> None:
    reply = chunked(
        tool("", index=1, id="b", name="second"),
        tool('{"y"', index=1),
        tool('{"x"', index=0, id="a", name="first"),
        tool(": 2}", index=1),
        tool(": 1}", index=0),
        finish="tool_calls",
    )
    assert reply.finish is Finish.TOOL_CALLS
    assert reply.tool_calls == (
        ToolCall(id="a", name="first", arguments='{"x": 1}'),
        ToolCall(id="b", name="second", arguments='{"y": 2}'),
    )


def test_tool_calls_without_an_index_are_told_apart_by_id() -> None:
    reply = chunked(tool("{", id="a", name="f"), tool("}"), tool("{}", id="b", name="g"))
    assert [(call.id, call.arguments) for call in reply.tool_calls] == [("a", "{}"), ("b", "{}")]


def test_tool_calls_that_share_an_index_are_told_apart_by_id() -> None:
    reply = chunked(tool("{}", index=0, id="a", name="f"), tool("{", index=0, id="b", name="g"), tool("}", index=0))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("f", "{}"), ("g", "{}")]


def test_tool_calls_have_ids_of_their_own_whatever_the_server_sends() -> None:
    message = {
        "tool_calls": [{"function": {"name": "f"}}, {"id": "call_1", "function": {"name": "g", "arguments": {}}}]
    }
    answer = completion(stream=False)
    answer.whole({"choices": [{"message": message, "finish_reason": "stop"}]})
    reply = answer.reply()
    assert len({call.id for call in reply.tool_calls}) == 2
    assert [call.arguments for call in reply.tool_calls] == ["{}", "{}"]
    assert reply.finish is Finish.TOOL_CALLS


@pytest.mark.parametrize(
    ("told", "finish"),
    [
        ("stop", Finish.STOP),
        ("length", Finish.LENGTH),
        ("content_filter", Finish.REFUSED),
        ("tool_calls", Finish.STOP),
        ("eos", Finish.STOP),
    ],
)
def test_the_reason_to_finish_is_read_with_leniency(told: str, finish: Finish) -> None:
    assert chunked({"content": "x"}, finish=told).finish is finish


def test_a_refusal_is_a_refusal_with_its_text() -> None:
    reply = chunked({"refusal": "I will "}, {"refusal": "not."})
    assert (reply.finish, reply.text) == (Finish.REFUSED, "I will not.")


def test_text_is_heard_as_it_comes_also_in_parts_of_content() -> None:
    heard: list[str] = []
    answer = completion(heard=heard)
    for content in ("a", [{"type": "text", "text": "b"}, {"type": "image"}], None, ""):
        answer.event("", {"choices": [{"delta": {"content": content}}]})
    answer.event("", {"choices": [{"delta": {}, "finish_reason": "stop"}]})
    assert heard == ["a", "b"]
    assert answer.reply().text == "ab"


def test_only_the_first_choice_counts_and_none_does_no_harm() -> None:
    answer = completion()
    answer.event("", {"choices": []})
    answer.event("", {"choices": None})
    answer.event("", {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}]})
    assert not answer.complete
    answer.event("", {"choices": [{"index": 0, "delta": {"content": "own"}, "finish_reason": "stop"}]})
    assert answer.reply().text == "own"


def test_the_last_usage_counts_and_none_is_unpriced() -> None:
    answer = completion()
    answer.event("", {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": None})
    assert answer.reply().usage is UNPRICED_CALL
    answer.event("", {"usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    details = {"cached_tokens": 3}
    answer.event("", {"usage": {"prompt_tokens": 9, "completion_tokens": -2, "prompt_tokens_details": details}})
    assert answer.reply().usage == Usage(calls=1, input_tokens=9, output_tokens=0, cost_nanos=3)


def test_a_stream_without_its_end_is_broken_and_may_be_asked_again() -> None:
    answer = completion()
    answer.event("", {"choices": [{"delta": {"content": "half"}}]})
    assert reason_of(answer) == (reasons.PROVIDER_UNAVAILABLE, True)


@pytest.mark.parametrize("body", [[], "text", {}, {"choices": []}, {"choices": ["x"]}], ids=str)
def test_an_answer_that_is_none_is_invalid(body: object) -> None:
    with pytest.raises(AgentError) as caught:
        completion(stream=False).whole(body)
    assert (caught.value.reason, caught.value.retryable) == (reasons.PROVIDER_INVALID, True)


def test_an_error_in_place_of_an_answer_is_the_services_own() -> None:
    with pytest.raises(AgentError) as caught:
        completion().event("", {"error": {"message": "busy", "code": 429}})
    assert caught.value.reason == reasons.RATE_LIMITED


# ---------------------------------------------------------------------------------------------------------- anthropic


def messages(*, answer_tool: str = "", wrapped: bool = False) -> MessagesAnswer:
    request = ChatRequest(model="asked", messages=())
    return MessagesAnswer(request, FAILURES, usage, answer_tool=answer_tool, wrapped=wrapped)


def whole(
    *content: Mapping[str, Any], stop: str = "tool_use", answer_tool: str = "", wrapped: bool = False
) -> ChatReply:
    answer = messages(answer_tool=answer_tool, wrapped=wrapped)
    answer.whole({"content": list(content), "stop_reason": stop})
    return answer.reply()


def use(name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"id_{name}", "name": name, "input": given}


def test_cached_tokens_are_among_the_input_tokens_and_the_last_count_stands() -> None:
    answer = messages()
    first = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 1}
    answer.event("message_start", {"type": "message_start", "message": {"model": "real", "id": "i", "usage": first}})
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 30}}
    assert not answer.event("message_delta", end)
    assert answer.event("message_stop", {"type": "message_stop"})
    reply = answer.reply()
    assert reply.usage == Usage(calls=1, input_tokens=17, output_tokens=30, cost_nanos=5)
    assert (reply.model, reply.response_id) == ("real", "i")


def test_the_input_of_a_tool_comes_at_once_or_in_pieces_or_not_at_all() -> None:
    answer = messages()
    for index, given in ((0, {"x": 1}), (2, {}), (1, {})):
        block = {"type": "tool_use", "id": str(index), "name": "f", "input": given}
        answer.event("", {"type": "content_block_start", "index": index, "content_block": block})
    for piece in ('{"y":', " 2}"):
        delta = {"type": "input_json_delta", "partial_json": piece}
        answer.event("", {"type": "content_block_delta", "index": 1, "delta": delta})
    answer.event("", {"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    assert [call.arguments for call in answer.reply().tool_calls] == ['{"x": 1}', '{"y": 2}', "{}"]


@pytest.mark.parametrize(
    ("told", "finish"),
    [
        ("end_turn", Finish.STOP),
        ("stop_sequence", Finish.STOP),
        ("max_tokens", Finish.LENGTH),
        ("model_context_window_exceeded", Finish.LENGTH),
        ("refusal", Finish.REFUSED),
        ("something_new", Finish.STOP),
    ],
)
def test_reasons_to_stop_have_their_finish(told: str, finish: Finish) -> None:
    assert whole({"type": "text", "text": "x"}, stop=told).finish is finish


def test_the_tool_that_stands_for_the_answer_is_the_answer() -> None:
    reply = whole({"type": "text", "text": "Here:"}, use("answer", n=1), answer_tool="answer")
    assert (reply.text, reply.tool_calls, reply.finish) == ('{"n": 1}', (), Finish.STOP)
    assert whole(use("answer", value=[1]), answer_tool="answer", wrapped=True).text == "[1]"


def test_other_tools_come_before_the_answer() -> None:
    reply = whole(use("answer", n=1), use("weather"), answer_tool="answer")
    assert [call.name for call in reply.tool_calls] == ["weather"]
    assert reply.finish is Finish.TOOL_CALLS


def test_thinking_and_unknown_events_are_passed_over() -> None:
    answer = messages()
    answer.event("", {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}})
    answer.event("", {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}})
    answer.event("brand_new", {"type": "brand_new"})
    answer.event("", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    assert answer.reply().text == ""


def test_a_message_without_its_end_is_broken() -> None:
    answer = messages()
    answer.event("", {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "ha"}})
    assert reason_of(answer) == (reasons.PROVIDER_UNAVAILABLE, True)


@pytest.mark.parametrize(
    "event",
    [
        [],
        {"type": "content_block_start", "content_block": {}},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}},
    ],
    ids=str,
)
def test_events_that_make_no_message_are_invalid(event: object) -> None:
    with pytest.raises(AgentError) as caught:
        messages().event("", event)
    assert caught.value.reason == reasons.PROVIDER_INVALID


def test_an_error_event_has_the_reason_of_its_type() -> None:
    with pytest.raises(AgentError) as caught:
        messages().event("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert (caught.value.reason, caught.value.retryable) == (reasons.RATE_LIMITED, True)
