"""Values of the Python client from and to the JSON form of protobuf, by the contract's descriptors. Knows no case."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

import motet_client
from motet_client import _plan as plan
from motet_client._wire_plan import _from_limits, from_group
from motet_client._wire_values import duration_of, from_payloads, payload_of
from motet_proto.v1 import payload_pb2, plan_pb2, run_pb2
from motet_proto.v1.run_service_pb2 import RunRequest


def form_of(value: object, kind: type[Message]) -> dict[str, Any]:
    """A value of the client, in the JSON form of the message that it came in."""
    found: dict[str, Any] = MessageToDict(_message(value, kind()))
    return found


def event_form(event: motet_client.Event) -> dict[str, Any]:
    message = _message(event, run_pb2.Event())
    name = type(event.detail).__name__
    field = next(each for each in message.DESCRIPTOR.oneofs_by_name["detail"].fields if each.message_type.name == name)
    part = getattr(message, field.name)
    part.SetInParent()
    _message(event.detail, part)
    found: dict[str, Any] = MessageToDict(message)
    return found


def arguments(request: Mapping[str, Any]) -> tuple[plan.Plan | str, object, dict[str, Any]]:
    """Target, input and options for the calls of the client. Raises ParseError for what is no RunRequest."""
    given = ParseDict(dict(request), RunRequest())
    target = _node(given.plan) if given.HasField("plan") else given.group_name
    options: dict[str, Any] = {
        "variables": from_payloads(given.variables),
        "session_id": given.session_id,
        "tenant": given.tenant,
        "timeout": duration_of(given, "timeout"),
        "limits": _from_limits(given.limits) if given.HasField("limits") else None,
        "labels": dict(given.labels),
        "request_id": given.request_id,
    }
    value = payload_of(given, "input")
    return target, "" if value is None else value, options


def _node(node: plan_pb2.Plan) -> plan.Plan:
    timeout = duration_of(node, "timeout")
    match node.WhichOneof("node"):
        case "sequence":
            choice = node.sequence.on_failure
            return plan.Sequence(
                tuple(map(_node, node.sequence.steps)),
                feed_forward=node.sequence.feed_forward,
                on_failure=plan.OnFailure(plan_pb2.OnFailure.Name(choice).removeprefix("ON_FAILURE_"))
                if choice
                else None,
                timeout=timeout,
            )
        case "parallel":
            return plan.Parallel(tuple(map(_node, node.parallel.branches)), timeout=timeout)
    return from_group(node.group)


def _message(value: object, message: Any) -> Any:
    for field in message.DESCRIPTOR.fields:
        given = getattr(value, field.name, None)
        if given is None or (field.containing_oneof is not None and field.containing_oneof.name == "detail"):
            continue
        if isinstance(given, Mapping) and field.message_type is not None:
            _mapping(given, field, message)
        elif field.is_repeated:
            for each in given:
                _repeated(each, field, getattr(message, field.name))
        else:
            _single(given, field, message)
    return message


def _mapping(given: Mapping[str, Any], field: FieldDescriptor, message: Any) -> None:
    if given:
        getattr(message, field.name).update(dict(given))


def _repeated(each: Any, field: FieldDescriptor, into: Any) -> None:
    if field.message_type is None:
        into.append(each)
    elif isinstance(each, tuple) and field.message_type.name == "Seat":
        into.add(member=each[0], agent=each[1])
    else:
        _message(each, into.add())


def _single(given: Any, field: FieldDescriptor, message: Any) -> None:
    if field.enum_type is not None:
        prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
        setattr(message, field.name, field.enum_type.values_by_name[prefix + given.upper()].number)
    elif field.message_type is None:
        setattr(message, field.name, given)
    else:
        part = getattr(message, field.name)
        part.SetInParent()
        if isinstance(given, motet_client.Payload):
            content: Any = {given.kind: given.content}
            part.CopyFrom(payload_pb2.Payload(**content, media_type=given.media_type))
        elif isinstance(given, datetime):
            part.FromDatetime(given)
        elif field.message_type.full_name == "google.protobuf.Duration":
            part.FromNanoseconds(round(given * 1e9))
        else:
            _message(given, part)
