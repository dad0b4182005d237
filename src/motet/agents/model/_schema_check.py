"""Checks values against a JSON Schema that the program gave, with the jsonschema library. Never fetches a schema from
elsewhere. Imported when the first such schema is given."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from motet.agents.model.output import problems_text

try:
    import jsonschema  # type: ignore[import-untyped,unused-ignore]  # its stubs are a package of their own
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped,unused-ignore]  # it has no types
    from referencing import Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012
except ImportError:
    raise ValueError(
        "a JSON Schema as output type needs the library jsonschema, which `pip install motet[models]` installs; "
        "or give a Python type"
    ) from None


def checker(schema: Mapping[str, Any]) -> Callable[[Any], str]:
    """What tells what is wrong with a value, an empty text when nothing is. Raises ValueError when it is no JSON Schema."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "".join(f".{step}" for step in error.absolute_path).lstrip(".")
        raise ValueError(f"the output type is not a JSON Schema: {place or 'it'}: {error.message}") from None
    # With a registry of its own it looks nothing up on the network, as it would without.
    validator = kind(schema, registry=REGISTRY)

    resolver = REGISTRY.resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except (Unresolvable, ValueError):
            raise ValueError(
                f"the output type refers to {reference!r}, which is not in it; put what it refers to under $defs"
            ) from None

    def check(value: Any) -> str:
        try:
            errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        except RecursionError:
            return "the document or its schema is nested too deep"
        return problems_text((error.absolute_path, error.message[:300]) for error in errors)

    return check


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for keyword, value in schema.items():
            if keyword in {"$ref", "$dynamicRef"} and isinstance(value, str):
                yield value
            elif keyword not in {"const", "enum", "default", "examples"}:
                yield from _references(value)
    elif isinstance(schema, list | tuple):
        for each in schema:
            yield from _references(each)
