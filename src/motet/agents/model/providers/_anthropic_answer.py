"""Answers in the format of Anthropic's messages, whole or from a stream of events. Pure: no SDK, no network."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from motet.agents.model.providers._errors import Failures
from motet.model.chat import ChatReply, ChatRequest, Finish, ToolCall
from motet.model.usage import UNPRICED_CALL, Usage
from motet.ports.provider import Hear, nobody

Priced: TypeAlias = Callable[[str, int, int, int], Usage]
"""Gives the usage of a model's input tokens, output tokens and, among the former, cached ones."""

_FINISH: Final = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "tool_use": Finish.TOOL_CALLS,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "refusal": Finish.REFUSED,
}
_MOST_TOKENS: Final = 2**40
"""A count above it is no count, and would not go into a store."""
_COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass(slots=True, eq=False)
class _Block:
    """Text, or a tool call, as far as it is known."""

    kind: str
    id: str = ""
    name: str = ""
    begun_with: Any = None
    """The input as the block began with it, for one whose input comes at once."""
    text: list[str] = field(default_factory=list)
    """Of a tool call, its input as JSON."""

    @property
    def arguments(self) -> str:
        return "".join(self.text) or json.dumps(self.begun_with if isinstance(self.begun_with, dict) else {})


class MessagesAnswer:
    """Puts an answer together. See `_sdk.Answer`.

    answer_tool: the tool whose input is the answer, when the request has such a one.
    wrapped: the answer is the property `value` of that input.
    """

    def __init__(
        self,
        request: ChatRequest,
        failures: Failures,
        usage: Priced,
        hear: Hear = nobody,
        *,
        answer_tool: str = "",
        wrapped: bool = False,
    ) -> None:
        self._request = request
        self._failures = failures
        self._usage_of = usage
        self._hear = hear
        self._answer_tool = answer_tool
        self._wrapped = wrapped
        self._blocks: dict[int, _Block] = {}
        self._stop = ""
        self._model = ""
        self._id = ""
        self._counts: dict[str, int] = {}

    @property
    def complete(self) -> bool:
        return bool(self._stop)

    def event(self, name: str, data: Any) -> bool:
        if not isinstance(data, Mapping):
            raise self._failures.invalid("answered with JSON that is no object")
        match data.get("type") or name:
            case "error":
                raise self._failures.in_body(data)
            case "message_start":
                self._head(_mapping(data.get("message")))
            case "content_block_start":
                self._begin(data.get("index"), _mapping(data.get("content_block")))
            case "content_block_delta":
                self._add(data.get("index"), _mapping(data.get("delta")))
            case "message_delta":
                self._stop = _text(_mapping(data.get("delta")).get("stop_reason")) or self._stop
                self._count(data.get("usage"))
            case "message_stop":
                return True
            case _:
                pass  # new kinds of events may come at any time, says the API
        return False

    def whole(self, body: Any) -> None:
        if not isinstance(body, Mapping):
            raise self._failures.invalid("answered with JSON that is no object")
        if body.get("error"):
            raise self._failures.in_body(body)
        if not isinstance(body.get("content"), list):
            raise self._failures.invalid("answered without content")
        self._head(body)
        for index, block in enumerate(body["content"]):
            self._begin(index, _mapping(block))
        self._stop = _text(body.get("stop_reason")) or "end_turn"

    def reply(self) -> ChatReply:
        if not self._stop:
            raise self._failures.unreachable("broke off before the answer was whole")
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        text = "".join("".join(block.text) for block in blocks if block.kind == "text")
        finish = _FINISH.get(self._stop, Finish.STOP)
        calls = [block for block in blocks if block.kind == "tool_use"]
        answers = [block for block in calls if self._answer_tool and block.name == self._answer_tool]
        calls = [block for block in calls if block not in answers]
        if answers and not calls:  # beside other tools it was too early: the model answers again when it has seen these
            text = self._unwrapped(answers[0].arguments)
            finish = Finish.STOP if finish is Finish.TOOL_CALLS else finish
        elif calls and finish is Finish.STOP:
            finish = Finish.TOOL_CALLS
        model = self._model or self._request.model
        return ChatReply(
            text=text,
            tool_calls=tuple(ToolCall(id=block.id, name=block.name, arguments=block.arguments) for block in calls),
            finish=finish,
            model=model,
            usage=self._cost(model),
            response_id=self._id,
        )

    def _head(self, message: Mapping[str, Any]) -> None:
        self._model = _text(message.get("model"))
        self._id = _text(message.get("id"))
        self._count(message.get("usage"))

    def _begin(self, index: object, block: Mapping[str, Any]) -> None:
        if not isinstance(index, int):
            raise self._failures.invalid("answered with a block that has no index")
        kind = _text(block.get("type"))
        # Kinds that nobody knows are passed over; a block of another shape must not pass for an empty one.
        if not kind or (kind == "text" and not isinstance(block.get("text"), str | None)):
            raise self._failures.invalid("answered with a block that makes no sense")
        if kind == "tool_use" and not _text(block.get("name")):
            raise self._failures.invalid("answered with a tool call that has no name")
        begun = _Block(kind, _text(block.get("id")), _text(block.get("name")), block.get("input"))
        self._blocks[index] = begun
        if kind == "text":
            self._say(begun, _text(block.get("text")))

    def _add(self, index: object, delta: Mapping[str, Any]) -> None:
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is None:
            raise self._failures.invalid("answered with a piece of a block that never began")
        if delta.get("type") == "text_delta":
            self._say(block, _text(delta.get("text")))
        elif delta.get("type") == "input_json_delta":
            block.text.append(_text(delta.get("partial_json")))

    def _say(self, block: _Block, text: str) -> None:
        if text:
            block.text.append(text)
            if self._request.stream:
                self._hear(text)

    def _unwrapped(self, arguments: str) -> str:
        if not self._wrapped:
            return arguments
        try:
            return json.dumps(json.loads(arguments)["value"], ensure_ascii=False)
        except (ValueError, KeyError, TypeError):
            return arguments  # it does not follow the schema: whoever checks it says so

    def _count(self, usage: object) -> None:
        """Counts in a stream are sums so far: the last one counts."""
        for name in _COUNTS:
            value = _mapping(usage).get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS:
                self._counts[name] = value

    def _cost(self, model: str) -> Usage:
        if not self._counts:
            return UNPRICED_CALL
        counts = [self._counts.get(name, 0) for name in _COUNTS]
        fresh, written, cached, cached_now = counts
        return self._usage_of(model, fresh + cached + cached_now, written, cached)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
