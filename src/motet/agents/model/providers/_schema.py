"""Whether a JSON Schema leaves something open that strictness has to know. Pure; knows no provider."""

from collections.abc import Mapping
from typing import Any


def is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether every object in it says which properties it has, and every value of what kind it is."""
    try:
        _closed(schema)
    except _LooseError:
        return False
    return True


class _LooseError(Exception):
    """The schema leaves open what strictness has to know."""


def _closed(schema: object) -> None:
    if not isinstance(schema, Mapping) or not schema:
        raise _LooseError
    for name in ("$defs", "properties"):
        for part in schema.get(name, {}).values():
            _closed(part)
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for part in schema.get(name, ()):
            _closed(part)
    if "items" in schema:
        _closed(schema["items"])
    if schema.get("type") == "object" and (
        "properties" not in schema or schema.get("additionalProperties", False) is not False
    ):
        raise _LooseError
    if not {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"} & schema.keys():
        raise _LooseError
