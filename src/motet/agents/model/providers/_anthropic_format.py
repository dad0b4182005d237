"""Requests in the format of Anthropic's messages, as its API reference has it. Pure: no SDK, no network."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, TypeAlias

from motet.agents.model.providers._errors import Failures
from motet.agents.model.providers._schema import is_closed
from motet.model.chat import ChatRequest, Message, Role, Sampling, ToolCall

Transform: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes a schema one that the API takes, as the SDK does it. Raises ValueError or AssertionError when it cannot."""

_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
_UNKNOWN: Final = ("seed", "presence_penalty", "frequency_penalty")
"""Of Sampling: the API has none of these."""


def request_body(
    request: ChatRequest, failures: Failures, *, default_max_tokens: int, transform: Transform | None
) -> dict[str, Any]:
    """The arguments of `messages.create`. Raises AgentError PROVIDER_REJECTED for sampling that the API does not have."""
    sampling = request.sampling
    for name in _UNKNOWN:
        if getattr(sampling, name) is not None:
            raise failures.rejected(f"has no {name}: leave it out of the agent's sampling")
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": sampling.max_output_tokens or default_max_tokens,
        "messages": _messages(request),
        "stream": request.stream,
    }
    system = "\n\n".join(each.text for each in request.messages if each.role is Role.SYSTEM and each.text)
    optional = {
        "system": system or None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_sequences": list(sampling.stop) or None,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    _add_tools(body, request)
    _add_output(body, request, transform)
    # The API takes these of some models only, and the SDK's method not as arguments.
    extra = dict(sampling.extra)
    extra.update((name, body.pop(name)) for name in ("temperature", "top_p") if name in body)
    if extra:
        body["extra_body"] = extra
    return body


def answer_tool(request: ChatRequest) -> str:
    """The name of the tool that stands for the answer: the schema's, changed when a real tool has it."""
    name = _ID.sub("_", request.output_name)[:60] or "answer"
    taken = {tool.name for tool in request.tools}
    while name in taken:
        name += "_"
    return name


def output_schema(request: ChatRequest, transform: Transform | None) -> dict[str, Any] | None:
    """The schema for the API's own structured output; None when it cannot express it, and a tool has to stand for it."""
    schema = request.output_schema
    if schema is None or transform is None or not is_closed(schema):
        return None  # open objects would be transformed into empty ones
    try:
        return transform(dict(schema))
    except (ValueError, AssertionError):
        return None


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Messages in turns: what user and tools say one after the other is one message, results first."""
    said = [each for each in request.messages if each.role is not Role.SYSTEM]
    messages: list[dict[str, Any]] = []
    for role, group in groupby(said, key=lambda each: "assistant" if each.role is Role.ASSISTANT else "user"):
        blocks = [block for each in group for block in _blocks(each)]
        blocks.sort(key=lambda block: block["type"] != "tool_result")
        if blocks:
            messages.append({"role": role, "content": blocks})
    return messages


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    if message.role is Role.TOOL:
        block = {"type": "tool_result", "tool_use_id": _tool_id(message.tool_call_id)}
        if message.text.strip():
            block["content"] = message.text
        yield {**block, "is_error": True} if message.failed else block
        return
    if message.text.strip():  # the API refuses blocks without text
        yield {"type": "text", "text": message.text}
    for call in message.tool_calls:
        yield {"type": "tool_use", "id": _tool_id(call.id), "name": call.name, "input": _input(call)}


def _tool_id(call_id: str) -> str:
    """An id that another service made, in the API's characters."""
    return _ID.sub("_", call_id) or "_"


def _input(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, dict):
        return arguments
    return {"invalid": call.arguments} if call.arguments.strip() else {}


def _add_tools(body: dict[str, Any], request: ChatRequest) -> None:
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        described = {"description": tool.description} if tool.description else {}
        tools.append({"name": tool.name, **described, "input_schema": dict(tool.parameters)})
    choice = _tool_choice(request.sampling)
    if not tools:
        # Tools that were called before have to be known, also when none is offered any more.
        called = dict.fromkeys(call.name for each in request.messages for call in each.tool_calls)
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in called if name]
        choice = {"type": "none"}
    if tools:
        body["tools"] = tools
        if choice is not None:
            body["tool_choice"] = choice


def _tool_choice(sampling: Sampling) -> dict[str, Any] | None:
    wanted = sampling.tool_choice
    one_by_one = sampling.parallel_tool_calls is False
    if not wanted and sampling.parallel_tool_calls is None:
        return None
    if wanted == "none":
        return {"type": "none"}
    kinds: Mapping[str, dict[str, Any]] = {"": {"type": "auto"}, "auto": {"type": "auto"}, "required": {"type": "any"}}
    choice = kinds.get(wanted, {"type": "tool", "name": wanted})
    return {**choice, "disable_parallel_tool_use": True} if one_by_one else choice


def _add_output(body: dict[str, Any], request: ChatRequest, transform: Transform | None) -> None:
    if request.output_schema is None:
        return
    schema = output_schema(request, transform)
    if schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return
    name = answer_tool(request)
    parameters = dict(request.output_schema)
    if parameters.get("type") != "object":
        parameters = {"type": "object", "properties": {"value": parameters}, "required": ["value"]}
    tool = {"name": name, "description": "Give the final answer with this tool.", "input_schema": parameters}
    body["tools"] = [*body.get("tools", ()), tool]
    # With tools of its own the model may use these first; it ends with this one in any case.
    free = request.tools and request.sampling.tool_choice != "none"
    body["tool_choice"] = {"type": "any"} if free else {"type": "tool", "name": name}
