"""The type that a model's answer has to have: its JSON Schema as providers take it, and how an answer is checked against it.
Knows no provider."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from motet.agents.model._schema import with_moved_refs
from motet.model.payload import Payload, parse_json

_FENCED: Final = re.compile(r"```[ \t]*(?:json)?[ \t]*\r?\n(?P<document>.*)\r?\n[ \t]*```", re.DOTALL | re.IGNORECASE)
_VALUE: Final = "value"
"""The key under which a type that is no object is asked for: providers take only objects."""
_MOST_PROBLEMS: Final = 10
"""Told to the model at once: more would be the same mistake again."""
_DEFINITIONS: Final = ("$defs", "definitions", "$schema")


class OutputMismatch(ValueError):
    """An answer that does not follow its type; the message says where, in words that the model can act on."""


Read = Callable[[str], Payload]
"""Makes the payload of a JSON document that has been found well-formed. Raises OutputMismatch."""


class OutputType:
    """What an answer has to be. Make it with `OutputType.of`."""

    __slots__ = ("_read", "name", "schema", "wrapped")

    def __init__(self, name: str, schema: Mapping[str, Any], read: Read) -> None:
        """`schema` is that of the value itself; one that is not surely an object's is wrapped."""
        self.name: str = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:64] or "answer"
        """Letters, digits, _ and -, at most 64: what providers call the schema by."""
        flat = _with_flat_root(schema)
        self.wrapped: bool = flat.get("type") != "object"
        """The model is asked for `{"value": ...}`, and `parse` gives what stands there."""
        self.schema: Mapping[str, Any] = _wrap(flat) if self.wrapped else flat
        """JSON Schema of what the model has to write, always an object's."""
        self._read = read

    @classmethod
    def of(cls, thing: Any, *, name: str = "") -> "OutputType":
        """Of a pydantic model, dataclass, TypedDict or any other annotation that pydantic knows (`int`, `list[str]`,
        `Literal[...]`, unions), or of a JSON Schema as a mapping. Raises ValueError for what is neither.

        A mapping is checked as JSON Schema 2020-12, or what its `$schema` says; what it refers to must be in it.
        """
        if isinstance(thing, OutputType):
            return thing
        if isinstance(thing, Mapping):
            from motet.agents.model._schema_check import checker  # noqa: PLC0415 - slow to load

            try:
                schema = json.loads(json.dumps(thing, allow_nan=False))
            except (TypeError, ValueError) as error:
                raise ValueError(f"the output type is not a JSON Schema: {error}") from None
            check = checker(schema)
            made = cls(name or str(schema.get("title", "")), schema, Payload.from_json_text)
            made._read = _checked_read(checker(made.schema) if made.wrapped else check, wrapped=made.wrapped)
            return made
        from motet.agents.model._typed import typed  # noqa: PLC0415 - pydantic is slow to load

        described, read_value = typed(thing)
        made = cls(name or getattr(thing, "__name__", ""), described, read_value)
        if made.wrapped:
            made._read = _unwrapping(read_value)
        return made

    def __repr__(self) -> str:
        return f"<OutputType {self.name}>"

    def parse(self, text: str) -> Payload:
        """The answer as a JSON payload. Raises OutputMismatch.

        White space around the document, and a Markdown fence around the whole of it, are taken off. NaN and keys that
        stand twice in one object are refused. Numbers of a JSON Schema's answer stay as the model wrote them; those of a
        Python type become that type's.
        """
        document = text.strip().removeprefix("\N{BYTE ORDER MARK}")
        fenced = _FENCED.fullmatch(document)
        if fenced is not None:
            document = fenced["document"].strip()
        if not document:
            raise OutputMismatch("the answer is empty; write the JSON document")
        try:
            json.loads(document, object_pairs_hook=_without_twins)
            parse_json(document)
        except OutputMismatch:
            raise
        except RecursionError:
            raise OutputMismatch("the JSON document is nested too deep") from None
        except ValueError as error:
            raise OutputMismatch(f"the answer is not JSON: {error}") from None
        return self._read(document)

    def repair_prompt(self, error: Exception) -> str:
        """What the model is told after an answer that does not fit, to have it written anew."""
        return (
            f"Your answer does not have the form that was asked for: {error}\n"
            "Write the whole answer again as one JSON document that follows this JSON Schema, and nothing else:\n"
            + json.dumps(self.schema, ensure_ascii=False)
        )


def problems_text(problems: Iterable[tuple[Iterable[str | int], str]]) -> str:
    """One line for (place, sentence) pairs, such as `items[0].price: Input should be a valid number`."""
    lines = []
    for place, sentence in problems:
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
        lines.append(f"{path}: {sentence}" if path else sentence)
    shown = lines[:_MOST_PROBLEMS]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    return "; ".join(shown)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in keys if keys.count(key) > 1)
        raise OutputMismatch(f"the key {json.dumps(twin, ensure_ascii=False)} stands twice in one object")
    return made


def _inner(document: str) -> str:
    """The text of the value that an object wraps, digit for digit. Raises OutputMismatch when it is no such object."""
    value = parse_json(document)
    if not isinstance(value, dict) or list(value) != [_VALUE]:
        raise OutputMismatch(f'the answer has to be a JSON object with the one key "{_VALUE}"')
    # The only key comes first, and neither it nor any way to escape it holds a colon.
    return document[document.index(":") + 1 : document.rindex("}")].strip()


def _unwrapping(read: Read) -> Read:
    def unwrapped(document: str) -> Payload:
        return read(_inner(document))

    return unwrapped


def _checked_read(check: Callable[[Any], str], *, wrapped: bool) -> Read:
    def checked(document: str) -> Payload:
        problems = check(parse_json(document))
        if problems:
            raise OutputMismatch(problems)
        return Payload.from_json_text(_inner(document) if wrapped else document)

    return checked


def _with_flat_root(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recursive type's schema is a reference at its root, which providers refuse: put what it refers to there."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return schema
    target = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
    if not isinstance(target, Mapping) or "$ref" in target:
        return schema
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _wrap(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = {key: value for key, value in schema.items() if key not in _DEFINITIONS}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {_VALUE: with_moved_refs(inner, f"#/properties/{_VALUE}")},
        "required": [_VALUE],
        "additionalProperties": False,
    }
    for key in _DEFINITIONS:
        if key in schema:
            outer[key] = with_moved_refs({key: schema[key]}, f"#/properties/{_VALUE}")[key]
    return outer
