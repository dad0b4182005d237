"""Turns what pydantic says about a table into keys and sentences of the catalog's own. No value is ever quoted: it may be a
secret."""

import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from motet._catalog_check import suggestion
from motet._catalog_models import GuardrailTable, ToolTable
from motet._catalog_schema import MemberTable

_SENTENCES: Final = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "finite_number": "must be a finite number",
    "string_too_short": "must not be empty",
}
_FORMS: Final = frozenset({"[key]", "[text]", "[table]"})
"""Parts of a location that are no keys: what was looked at, or which form of a value."""
_IN_PLACE_OF_A_TABLE: Final[dict[type[BaseModel], str]] = {
    MemberTable: "must be the name of an agent, or a table",
    ToolTable: "must be the name of an agent or group, an import string, or a table",
    GuardrailTable: "must be an import string, the name of an agent, or a table",
}


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """A (key, message) for each mistake that pydantic found in a table of this model."""
    for detail in error.errors(include_url=False, include_input=False):
        kind, location = detail["type"], detail["loc"]
        if kind == "extra_forbidden":
            yield key_of(location), _unknown(str(location[-1]), _owner(model, location[:-1]))
        elif kind == "model_type" and (owner := _owner(model, location)) in _IN_PLACE_OF_A_TABLE:
            yield key_of(location), _IN_PLACE_OF_A_TABLE[owner]
        elif kind == "value_error":
            yield key_of(location), detail["msg"].removeprefix("Value error, ")
        elif kind in _SENTENCES:
            yield key_of(location), _SENTENCES[kind].format(**_whole(detail.get("ctx", {})))
        else:
            yield key_of(location), detail["msg"][:1].lower() + detail["msg"][1:]


def _whole(context: Mapping[str, Any]) -> dict[str, Any]:
    """With `0` for 0.0."""
    numbers = {key: int(value) for key, value in context.items() if isinstance(value, float) and value.is_integer()}
    return {**context, **numbers}


def key_of(location: Sequence[str | int]) -> str:
    """`("members", 1, "timeout")` as `members[1].timeout`."""
    key = ""
    for part in location:
        if part in _FORMS:
            continue
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    return key


def unknown_key(key: str, known: Collection[str]) -> str:
    """The sentence about a key that no table of this sort has."""
    return "is not a known key" + (suggestion(key, known) or f"; known are {', '.join(sorted(known))}")


def _unknown(key: str, model: type[BaseModel] | None) -> str:
    return unknown_key(key, list(model.model_fields) if model is not None else [])


def _owner(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of the table at a location."""
    owner: type[BaseModel] | None = model
    for part in location:
        if owner is not None and isinstance(part, str) and part in owner.model_fields:
            owner = _model_in(owner.model_fields[part].annotation)
    return owner


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part)) is not None), None)
