"""Is a request well-formed? The rules written in the proto files, and what they cannot say: JSON text that is JSON,
durations that are durations, plans that are not nested too deep. Knows messages only; what an engine or a catalog
allows is theirs to say."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

import protovalidate
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from motet.errors import InvalidRequest, Violation
from motet.model.payload import parse_json
from motet_proto.v1.payload_pb2 import Payload
from motet_proto.v1.plan_pb2 import Plan
from motet_server.wire import MAX_DURATION

MAX_PLAN_DEPTH: Final = 32
"""Sequences and parallels in each other. Plans of people have two or three; protobuf itself refuses a message of more
than 100 levels, and a level of a plan has two."""

_Check: TypeAlias = Callable[[Any, Any, list[Violation]], None]
"""Takes a message, its path and the violations to add to."""
_EXPRESSIONS: Final = frozenset({"expression", "decided"})
"""Options of aggregations that hold CEL."""
_NAME: Final = "must be 1 to 128 letters, digits or _ . : -, and start with a letter, a digit or _"
_TENANT: Final = "must be up to 128 letters, digits or _ . : @ -, and start with a letter, a digit or _"
_SENTENCES: Final[Mapping[str, str]] = {
    "string.min_len": "must not be empty",
    "string.pattern": _NAME,
    "repeated.min_items": "must not be empty: give at least one",
    "duration.gte": "must not be negative: give zero or more, or leave it out for no bound",
    "enum.defined_only": "must be a value that this server knows",
    "double.finite": "must be a finite number",
    "required": "must be set",
}
"""By protovalidate's rule; a rule without a sentence here keeps the library's, which says the bound that is broken."""


def validate(message: Message, *, max_plan_depth: int = MAX_PLAN_DEPTH) -> None:
    """Raises InvalidRequest, naming every wrong field by its path from the message."""
    too_deep = _too_deep(message, max_plan_depth)
    if too_deep:
        raise InvalidRequest([Violation(too_deep, f"must not nest plans deeper than {max_plan_depth} levels")])
    violations = dict.fromkeys(_broken_rules(message))
    violations.update(dict.fromkeys(_broken_values(message)))
    if violations:
        raise InvalidRequest(list(violations))


def refuse_expressions(plan: Plan) -> None:
    """Raises InvalidRequest, naming every CEL expression in a plan's aggregations."""
    violations = [
        Violation(field, "this server takes no expressions from callers; name a rule of the catalog that has it")
        for field in _expressions(plan, "plan")
    ]
    if violations:
        raise InvalidRequest(violations)


def _expressions(plan: Plan, path: str) -> Iterator[str]:
    if plan.HasField("group"):
        yield from _keys(plan.group.aggregation.options, f"{path}.group.aggregation.options")
    for index, step in enumerate(plan.sequence.steps):
        yield from _expressions(step, f"{path}.sequence.steps[{index}]")
    for index, branch in enumerate(plan.parallel.branches):
        yield from _expressions(branch, f"{path}.parallel.branches[{index}]")


def _keys(options: Struct, path: str) -> Iterator[str]:
    for name, value in options.fields.items():
        if name in _EXPRESSIONS:
            yield f"{path}.{name}"
        elif value.HasField("struct_value"):
            yield from _keys(value.struct_value, f"{path}.{name}")
        for index, item in enumerate(value.list_value.values):
            yield from _keys(item.struct_value, f"{path}.{name}[{index}]")


def _broken_rules(message: Message) -> Iterator[Violation]:
    for found in protovalidate.collect_violations(message):
        violation = found.proto
        elements = list(violation.field.elements) if violation.field else []
        sentence = _SENTENCES.get(violation.rule_id, violation.message.removeprefix("map "))
        if violation.rule_id == "string.pattern" and elements and elements[-1].field_name == "tenant":
            sentence = _TENANT
        if violation.rule_id == "required":
            choices = _choices(message.DESCRIPTOR, [element.field_name for element in elements])
            if choices:
                sentence = f"must be set: give one of {', '.join(choices)}"
                # The name of a oneof is not a field: the message that lacks it is what the caller can point to.
                elements = elements[:-1] or elements
        field = "".join(_pieces(elements)).removeprefix(".")
        yield Violation(field, f"has a key that {sentence}" if violation.for_key else sentence)


def _pieces(elements: Any) -> Iterator[str]:
    for element in elements:
        yield f".{element.field_name}"
        if element.subscript is not None:
            yield _subscript(element.subscript.value)


def _subscript(key: object) -> str:
    return f"[{json.dumps(key, ensure_ascii=False)}]"


def _choices(descriptor: Any, names: list[str]) -> list[str]:
    """Names of the fields of the oneof that the path ends in; none when it ends in a field."""
    for name in names[:-1]:
        field = descriptor.fields_by_name[name]
        value = field.message_type
        descriptor = value.fields_by_name["value"].message_type if _is_map(field) else value
    oneof = descriptor.oneofs_by_name.get(names[-1])
    return [field.name for field in oneof.fields] if oneof else []


def _broken_values(message: Message) -> list[Violation]:
    found: list[Violation] = []
    _walk(message, (), found)
    return found


def _walk(message: Any, path: Any, found: list[Violation]) -> None:
    """Every field that can lead to a payload or a duration. Paths are chains, written out only for a violation."""
    checks = _checks(message.DESCRIPTOR)
    for field, value in message.ListFields():
        check = checks.get(field.name)
        if check is None:
            continue
        place = (path, f".{field.name}")
        if field.is_repeated:
            for item, where in _items(field, value, place):
                check(item, where, found)
        else:
            check(value, place, found)


def _check_payload(payload: Payload, path: Any, found: list[Violation]) -> None:
    if payload.json:
        try:
            parse_json(payload.json)
        except ValueError as error:
            found.append(Violation(_written((path, ".json")), f"must be one JSON document: {error}"))


def _check_duration(duration: Duration, path: Any, found: list[Violation]) -> None:
    seconds, nanos = duration.seconds, duration.nanos
    if abs(nanos) >= 1_000_000_000 or seconds * nanos < 0 or abs(seconds) > MAX_DURATION:
        text = "must be a duration: seconds and nanos of one sign, within 10,000 years"
        found.append(Violation(_written(path), text))


def _items(field: Any, value: Any, path: Any) -> Iterator[tuple[Message, Any]]:
    """The messages in a field, each with its path."""
    if _is_map(field):
        for key in value:
            yield value[key], (path, _subscript(key))
    elif field.is_repeated:
        for index, item in enumerate(value):
            yield item, (path, f"[{index}]")
    else:
        yield value, path


def _written(path: Any) -> str:
    pieces: list[str] = []
    while path:
        path, piece = path
        pieces.append(piece)
    return "".join(reversed(pieces)).removeprefix(".")


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


@cache
def _checks(descriptor: Any) -> Mapping[str, _Check]:
    """How the messages in a field are checked, for the fields that can lead to a payload or a duration."""
    return {field.name: _check(field) for field in descriptor.fields if _leads(field.message_type, frozenset())}


def _check(field: Any) -> _Check:
    value = field.message_type.fields_by_name["value"].message_type if _is_map(field) else field.message_type
    if value is Payload.DESCRIPTOR:
        return _check_payload
    return _check_duration if value is Duration.DESCRIPTOR else _walk


def _leads(descriptor: Any, above: frozenset[str]) -> bool:
    if descriptor is None or descriptor.full_name in above:
        return False
    if descriptor in (Payload.DESCRIPTOR, Duration.DESCRIPTOR):
        return True
    within = above | {descriptor.full_name}
    return any(_leads(field.message_type, within) for field in descriptor.fields)


_PLAN_FIELDS: Final = frozenset({"open", "request", "plan", "sequence", "parallel", "steps", "branches"})
"""The fields that lead from a request to the plans in it."""


def _too_deep(message: Message, most: int) -> str:
    """Path of a plan below the bound, empty when there is none. Not recursive: it is asked before anything that is."""
    waiting: list[tuple[Message, Any, int]] = [(message, (), 0)]
    while waiting:
        node, path, above = waiting.pop()
        depth = above + isinstance(node, Plan)
        if depth > most:
            return _written(path)
        for field, value in node.ListFields():
            if field.name in _PLAN_FIELDS and field.message_type is not None:
                here = (path, f".{field.name}")
                waiting.extend((item, place, depth) for item, place in _items(field, value, here))
    return ""
