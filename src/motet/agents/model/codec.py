"""Requests to models and their replies as JSON values: how they travel as inputs and outputs of members, so that events, the
store and a run that is continued know them. Equal ones give equal text. Knows no provider."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypeVar

from motet.model import usage as _usage
from motet.model.chat import ChatReply, ChatRequest, Finish, Message, Role, Sampling, ToolCall, ToolSpec
from motet.model.usage import Usage

V = TypeVar("V")

_NO_SAMPLING: Final = Sampling()


def request_value(request: ChatRequest) -> dict[str, Any]:
    """What is as usual is left out."""
    value: dict[str, Any] = {"model": request.model, "messages": [message_value(each) for each in request.messages]}
    if request.tools:
        value["tools"] = [
            {"name": each.name, "description": each.description, "parameters": dict(each.parameters)}
            for each in request.tools
        ]
    if request.output_schema is not None:
        value["output_schema"] = dict(request.output_schema)
        value["output_name"] = request.output_name
    sampling = {
        each.name: said
        for each in fields(Sampling)
        if (said := getattr(request.sampling, each.name)) != getattr(_NO_SAMPLING, each.name)
    }
    if sampling:
        value["sampling"] = sampling
    if not request.stream:
        value["stream"] = False
    return value


def request_of(value: object) -> ChatRequest:
    """Raises ValueError naming what is wrong."""
    given = _object(value, "a request")
    messages = [message_of(each) for each in _list(given, "messages")]
    if not messages:
        raise ValueError("messages is empty; a request has at least one")
    schema = given.get("output_schema")
    sampling = dict(_object(given.get("sampling", {}), "sampling"))
    unknown = sampling.keys() - {each.name for each in fields(Sampling)}
    if unknown:
        raise ValueError(f"sampling.{min(unknown)} is not known")
    if "stop" in sampling:
        sampling["stop"] = tuple(_list(sampling, "stop"))
    return ChatRequest(
        model=_known(given, "model", str, ""),
        messages=tuple(messages),
        tools=tuple(_tool_of(each) for each in _list(given, "tools")),
        output_schema=None if schema is None else _object(schema, "output_schema"),
        output_name=_known(given, "output_name", str, "answer"),
        sampling=Sampling(**sampling),
        stream=_known(given, "stream", bool, True),
    )


def reply_value(reply: ChatReply) -> dict[str, Any]:
    """What is as usual is left out."""
    value: dict[str, Any] = {"text": reply.text, "finish": reply.finish.value}
    if reply.tool_calls:
        value["tool_calls"] = [_call_value(each) for each in reply.tool_calls]
    if reply.model:
        value["model"] = reply.model
    if reply.response_id:
        value["response_id"] = reply.response_id
    if reply.usage != _usage.NONE:
        value["usage"] = {each.name: getattr(reply.usage, each.name) for each in fields(Usage)}
    return value


def reply_of(value: object) -> ChatReply:
    """Raises ValueError naming what is wrong."""
    given = _object(value, "a reply")
    used = _object(given.get("usage", {}), "usage")
    return ChatReply(
        text=_known(given, "text", str, ""),
        tool_calls=tuple(_call_of(each) for each in _list(given, "tool_calls")),
        finish=Finish(given.get("finish", Finish.STOP)),
        model=_known(given, "model", str, ""),
        usage=Usage(**{each.name: _known(used, each.name, int, 0) for each in fields(Usage)}) if used else _usage.NONE,
        response_id=_known(given, "response_id", str, ""),
    )


def message_value(message: Message) -> dict[str, Any]:
    """What is as usual is left out."""
    value: dict[str, Any] = {"role": message.role.value, "text": message.text}
    if message.tool_calls:
        value["tool_calls"] = [_call_value(each) for each in message.tool_calls]
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    if message.failed:
        value["failed"] = True
    return value


def message_of(value: object) -> Message:
    """Raises ValueError naming what is wrong."""
    given = _object(value, "a message")
    return Message(
        role=Role(given.get("role", "")),
        text=_known(given, "text", str, ""),
        tool_calls=tuple(_call_of(each) for each in _list(given, "tool_calls")),
        tool_call_id=_known(given, "tool_call_id", str, ""),
        failed=_known(given, "failed", bool, False),
    )


def _call_value(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def _call_of(value: object) -> ToolCall:
    given = _object(value, "a tool call")
    return ToolCall(
        id=_known(given, "id", str, ""),
        name=_known(given, "name", str, ""),
        arguments=_known(given, "arguments", str, "{}"),
    )


def _tool_of(value: object) -> ToolSpec:
    given = _object(value, "a tool")
    return ToolSpec(
        name=_known(given, "name", str, ""),
        description=_known(given, "description", str, ""),
        parameters=_object(given.get("parameters", {}), "parameters"),
    )


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is a JSON object, not {type(value).__name__}")  # noqa: TRY004 - one error for all that is wrong
    return value


def _list(given: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = given.get(key, ())
    if not isinstance(found, list | tuple):
        raise ValueError(f"{key} is a JSON array, not {type(found).__name__}")  # noqa: TRY004 - one error for all that is wrong
    return found


def _known(given: Mapping[str, Any], key: str, kind: type[V], usual: V) -> V:
    found = given.get(key, usual)
    if not isinstance(found, kind):
        raise ValueError(f"{key} is {kind.__name__}, not {type(found).__name__}")  # noqa: TRY004 - one error for all that is wrong
    return found
