"""Python types as output types, through pydantic. Imported when the first one is given."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from motet.agents.model.output import OutputMismatch, problems_text
from motet.model.payload import Payload


def typed(thing: Any) -> tuple[Mapping[str, Any], Callable[[str], Payload]]:
    """The type's JSON Schema and what reads a document as the type. Raises ValueError when pydantic does not know it."""
    if isinstance(thing, str):
        told = f"the output type is the text {thing!r}; give the type itself, or a JSON Schema as a mapping"
        raise ValueError(told)  # noqa: TRY004 - whatever cannot be an output type is refused alike
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(thing)
        schema = adapter.json_schema()
    except PydanticUserError as error:
        raise ValueError(f"{thing!r} cannot be an output type: {error.message}") from None

    def read(document: str) -> Payload:
        try:
            value = adapter.validate_json(document)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise OutputMismatch(problems_text((each["loc"], each["msg"]) for each in found)) from None
        return Payload.from_json_text(adapter.dump_json(value, by_alias=True).decode())

    return schema, read
