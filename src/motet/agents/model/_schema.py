"""JSON Schemas turned into others: for strict modes of providers, and with references moved. Pure; knows no provider."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

_MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold schemas by name."""
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
"""Keywords that hold a list of schemas."""
_SINGLE: Final = frozenset(
    {
        "items",
        "additionalProperties",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Keywords that hold one schema."""

_KEPT: Final = frozenset(
    {
        "type",
        "properties",
        "required",
        "items",
        "anyOf",
        "enum",
        "const",
        "description",
        "title",
        "$defs",
        "$ref",
        "additionalProperties",
        "pattern",
        "format",
        "multipleOf",
        "maximum",
        "minimum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "minItems",
        "maxItems",
    }
)
"""What strict modes know, after OpenAI's description of structured outputs."""
_DROPPED: Final = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "discriminator",
        "minLength",
        "maxLength",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "contentEncoding",
        "contentMediaType",
    }
)
"""What only comments, or only narrows what may be written: without it the answer is checked all the same."""
_FORMATS: Final = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"))
_BESIDE_A_REF: Final = frozenset({"title", "description"})


class _NoStrictForm(Exception):
    """The schema says something that strict modes cannot."""


def strict_form(schema: Schema) -> Schema | None:
    """The schema with every object closed and every property required; None when that cannot be said.

    What follows it follows the given schema too, but for bounds that strict modes do not know, such as a text's length.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return None  # strict modes want an object at the root
    definitions = schema.get("$defs", {})
    try:
        return _Strict(definitions if isinstance(definitions, Mapping) else {}).of(schema)
    except _NoStrictForm:
        return None


class _Strict:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def of(self, schema: Any, inlined: frozenset[str] = frozenset()) -> dict[str, Any]:
        """`inlined` names the definitions that are being put in place of a reference: the same again would not end."""
        if not isinstance(schema, Mapping) or not schema:
            raise _NoStrictForm
        if "$ref" in schema:
            return self._reference(schema, inlined)
        self._refuse(schema)
        made: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in _DROPPED or (keyword == "format" and value not in _FORMATS):
                continue
            target = "anyOf" if keyword == "oneOf" else keyword
            if target in _MAPS:
                made[target] = {name: self.of(each, inlined) for name, each in value.items()}
            elif target == "anyOf":
                made[target] = [self.of(each, inlined) for each in value]
            elif target == "items":
                made[target] = self.of(value, inlined)
            else:
                made[target] = value
        if made.get("type") == "object":
            made["required"] = list(made.setdefault("properties", {}))
            made["additionalProperties"] = False
        elif "type" not in made and not made.keys() & {"anyOf", "enum", "const"}:
            raise _NoStrictForm
        return made

    def _reference(self, schema: Schema, inlined: frozenset[str]) -> dict[str, Any]:
        reference, beside = schema["$ref"], {k: v for k, v in schema.items() if k != "$ref" and k not in _DROPPED}
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/$defs/")):
            raise _NoStrictForm
        if beside.keys() - _BESIDE_A_REF:
            raise _NoStrictForm
        name = reference.removeprefix("#/$defs/")
        if not beside or name in inlined or name not in self._definitions:
            return {"$ref": reference}
        # Strict modes take nothing beside a reference, and a description is worth more than one copy.
        return self.of({**self._definitions[name], **beside}, inlined | {name})

    @staticmethod
    def _refuse(schema: Schema) -> None:
        if schema.keys() - _KEPT - _DROPPED - {"oneOf"} or {"oneOf", "anyOf"} <= schema.keys():
            raise _NoStrictForm
        objects = schema.get("type") == "object"
        others = schema.get("additionalProperties", False)
        if others is not False or (not objects and "properties" in schema):
            raise _NoStrictForm
        kinds = schema.get("type")
        if isinstance(kinds, list) and {"object", "array"} & set(kinds):
            raise _NoStrictForm
        if objects and "properties" not in schema and "additionalProperties" not in schema:
            raise _NoStrictForm  # any object will do, which strict modes cannot say
        if set(schema.get("required", ())) - set(schema.get("properties", ())):
            raise _NoStrictForm
        if kinds == "array" and "items" not in schema:
            raise _NoStrictForm


def with_moved_refs(schema: Schema, place: str) -> dict[str, Any]:
    """The schema as it has to read when what stood at its root stands at `place`, while its definitions do not move."""

    def moved(reference: str) -> str:
        if not reference.startswith("#") or reference.startswith(("#/$defs/", "#/definitions/")):
            return reference
        return place if reference == "#" else place + reference[1:] if reference.startswith("#/") else reference

    return _walk(schema, moved)


def _walk(schema: Schema, moved: Callable[[str], str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword == "$ref" and isinstance(value, str):
            made[keyword] = moved(value)
        elif keyword in _MAPS and isinstance(value, Mapping):
            made[keyword] = {
                name: _walk(each, moved) if isinstance(each, Mapping) else each for name, each in value.items()
            }
        elif keyword in _LISTS and isinstance(value, list | tuple):
            made[keyword] = [_walk(each, moved) if isinstance(each, Mapping) else each for each in value]
        elif keyword in _SINGLE and isinstance(value, Mapping):
            made[keyword] = _walk(value, moved)
        else:
            made[keyword] = value
    return made
