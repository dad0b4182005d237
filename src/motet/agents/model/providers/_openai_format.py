"""Requests and answers in the format of OpenAI's chat completions, as its API reference and compatible servers have it.

Pure: no SDK, no network. Lenient in what it reads, for servers differ.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeAlias

from motet.agents.model._schema import strict_form
from motet.agents.model.providers._errors import Failures
from motet.model.chat import ChatReply, ChatRequest, Finish, Message, Role, ToolCall, ToolSpec
from motet.model.usage import UNPRICED_CALL, Usage
from motet.ports.provider import Hear, nobody

Priced: TypeAlias = Callable[[str, int, int, int], Usage]
"""Gives the usage of a model's input tokens, output tokens and, among the former, cached ones."""

_MOST_TOKENS: Final = 2**40
"""A count above it is no count, and would not go into a store."""
_FINISH: Final = {
    "stop": Finish.STOP,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "length": Finish.LENGTH,
    "content_filter": Finish.REFUSED,
}


def request_body(request: ChatRequest, *, max_tokens_field: str, strict_tools: bool) -> dict[str, Any]:
    """The arguments of `chat.completions.create`."""
    sampling = request.sampling
    body: dict[str, Any] = {"model": request.model, "messages": [_message(each) for each in request.messages]}
    optional = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        max_tokens_field: sampling.max_output_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    if request.tools:
        body["tools"] = [_tool(tool, strict=strict_tools) for tool in request.tools]
        if sampling.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = sampling.parallel_tool_calls
        if sampling.tool_choice:
            body["tool_choice"] = _tool_choice(sampling.tool_choice)
    if request.output_schema is not None:
        strict = strict_form(request.output_schema)
        schema = {"name": request.output_name, "schema": strict or dict(request.output_schema), "strict": bool(strict)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    body["stream"] = request.stream
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    if sampling.extra:
        body["extra_body"] = dict(sampling.extra)
    return body


def _message(message: Message) -> dict[str, Any]:
    if message.role is Role.TOOL:
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
    if message.role is Role.ASSISTANT and message.tool_calls:
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json_object(call.arguments)},
            }
            for call in message.tool_calls
        ]
        return {"role": "assistant", "content": message.text or None, "tool_calls": calls}
    return {"role": message.role.value, "content": message.text}


def json_object(arguments: str) -> str:
    """The arguments as a model may be shown them again: servers read them, and refuse a conversation with any that are
    not a JSON object."""
    try:
        if isinstance(json.loads(arguments), dict):
            return arguments
    except (ValueError, RecursionError):
        pass
    return json.dumps({"invalid": arguments} if arguments.strip() else {})


def _tool(tool: ToolSpec, *, strict: bool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": dict(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    if strict:
        schema = strict_form(tool.parameters)
        if schema is not None:
            function.update(parameters=schema, strict=True)
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> object:
    if choice in {"auto", "required", "none"}:
        return choice
    return {"type": "function", "function": {"name": choice}}


@dataclass(slots=True, eq=False)
class _Piece:
    """A tool call as far as it is known."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class ChatCompletion:
    """Puts an answer together from chunks, or takes it whole. See `_sdk.Answer`."""

    def __init__(self, request: ChatRequest, failures: Failures, usage: Priced, hear: Hear = nobody) -> None:
        self._request = request
        self._failures = failures
        self._usage_of = usage
        self._hear = hear
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[object, _Piece] = {}
        """By index; or, where servers tell none or one for all, by a key of its own."""
        self._order: list[_Piece] = []
        self._finish = ""
        self._usage: Mapping[str, Any] | None = None
        self._model = ""
        self._id = ""

    @property
    def complete(self) -> bool:
        return bool(self._finish)

    def event(self, _name: str, data: Any) -> bool:
        self._head(data)
        for choice in _list(data.get("choices")):
            if not isinstance(choice, Mapping) or choice.get("index") not in (0, None):
                continue
            self._said(_mapping(choice.get("delta")), stream=True)
            self._finish = _text(choice.get("finish_reason")) or self._finish
        return False

    def whole(self, body: Any) -> None:
        self._head(body)
        choices = _list(body.get("choices"))
        if not choices or not isinstance(choices[0], Mapping):
            raise self._failures.invalid("answered without a choice")
        if not isinstance(choices[0].get("message"), Mapping):
            raise self._failures.invalid("answered without a message")
        self._said(choices[0]["message"], stream=False)
        self._finish = _text(choices[0].get("finish_reason")) or "stop"

    def reply(self) -> ChatReply:
        if not self._finish:
            raise self._failures.unreachable("broke off before the answer was whole")
        calls = _named(self._order)
        finish = _FINISH.get(self._finish, Finish.STOP)
        text = "".join(self._text)
        if self._refusal:
            finish, text = Finish.REFUSED, text or "".join(self._refusal)
        elif calls and finish is Finish.STOP:
            finish = Finish.TOOL_CALLS
        elif not calls and finish is Finish.TOOL_CALLS:
            finish = Finish.STOP
        model = self._model or self._request.model
        return ChatReply(
            text=text, tool_calls=calls, finish=finish, model=model, usage=self._cost(model), response_id=self._id
        )

    def _head(self, data: Any) -> None:
        if not isinstance(data, Mapping):
            raise self._failures.invalid("answered with JSON that is no object")
        if data.get("error"):
            raise self._failures.in_body(data)
        self._model = _text(data.get("model")) or self._model
        self._id = _text(data.get("id")) or self._id
        self._usage = _mapping(data.get("usage")) or self._usage

    def _said(self, said: Mapping[str, Any], *, stream: bool) -> None:
        # An answer of another shape must not pass for an empty one.
        content, calls = said.get("content"), said.get("tool_calls")
        if not isinstance(content, str | list | None) or not isinstance(calls, list | None):
            raise self._failures.invalid("answered with a message that makes no sense")
        text = _content(content)
        if text:
            self._text.append(text)
            if stream or self._request.stream:
                self._hear(text)
        refusal = _text(said.get("refusal"))
        if refusal:
            self._refusal.append(refusal)
        for position, call in enumerate(calls or ()):
            if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping | None):
                raise self._failures.invalid("answered with a tool call that makes no sense")
            self._call(call, position if not stream else None)

    def _call(self, call: Mapping[str, Any], position: int | None) -> None:
        function = _mapping(call.get("function"))
        piece = self._piece(call.get("index") if position is None else position, _text(call.get("id")))
        piece.name = piece.name or _text(function.get("name"))
        arguments = function.get("arguments")
        piece.arguments += (
            arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)
        )

    def _piece(self, index: object, call_id: str) -> _Piece:
        """The call that a delta belongs to. One that has an id of its own is a call of its own, whatever its index."""
        if isinstance(index, int):
            found = self._calls.get(index)
            if found is not None and call_id and found.id and found.id != call_id:
                found = next((piece for piece in self._order if piece.id == call_id), None)
        elif call_id:
            found = next((piece for piece in self._order if piece.id == call_id), None)
        else:
            found = self._order[-1] if self._order else None
        if found is None:
            found = _Piece()
            self._order.append(found)
        found.id = found.id or call_id
        if isinstance(index, int) and self._calls.get(index) is not found:
            self._calls[index] = found
            self._sort()
        return found

    def _sort(self) -> None:
        places = {id(piece): index for index, piece in self._calls.items() if isinstance(index, int)}
        if len(places) == len(self._order):
            self._order.sort(key=lambda piece: places[id(piece)])

    def _cost(self, model: str) -> Usage:
        usage = self._usage
        if usage is None:
            return UNPRICED_CALL
        details = _mapping(usage.get("prompt_tokens_details"))
        return self._usage_of(
            model,
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
            _count(details.get("cached_tokens")),
        )


def _named(pieces: Sequence[_Piece]) -> tuple[ToolCall, ...]:
    """The calls, with an id each: what a tool answers has to be told apart."""
    calls: list[ToolCall] = []
    used: set[str] = set()
    for number, piece in enumerate(pieces, 1):
        call_id = piece.id
        if not call_id or call_id in used:
            call_id = next(name for name in (f"call_{n}" for n in count(number)) if name not in used)
        used.add(call_id)
        calls.append(ToolCall(id=call_id, name=piece.name, arguments=piece.arguments or "{}"))
    return tuple(calls)


def _content(content: object) -> str:
    """Text as it is, or the texts of parts, which some servers send."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return _text(content)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_TOKENS else 0
