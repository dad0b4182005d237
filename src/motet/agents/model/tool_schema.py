"""The arguments of tools: JSON Schema of a function's parameters, of a type, or as given, and how arguments are checked
against it. Knows neither agents nor models; pydantic is imported when the first schema is made."""

import functools
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from motet.agents.model.tool import ArgumentsInvalid, Check
from motet.agents.model.tool_docstring import parse_docstring
from motet.model.payload import Payload
from motet.ports import Call

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

Schema: TypeAlias = Mapping[str, Any]

_P = inspect.Parameter
_ERRORS_TOLD: Final = 10
_VALUE_TOLD: Final = 80
"""Characters of a wrong value that are repeated to the model."""


class Parameters:
    """The parameters of a function as a model sees them. Raises ValueError, which names the parameter, for a function
    that no JSON object can call.

    Values are converted as pydantic does by default: what means the same is taken (`"5"` and `5.0` for an int), what
    would lose something is refused. Parameters that are not given keep the function's own defaults.
    """

    def __init__(self, fn: Callable[..., Any], name: str) -> None:
        self._name = name
        self.call_parameter = ""
        """The one that receives the call; empty when none does."""
        self._parameters: dict[str, str] = {}
        """By field of the model: fields have names of their own, for pydantic keeps some to itself."""
        self._defaults: set[str] = set()
        """Fields whose default is pydantic's: the function would get the description of the field instead."""
        fields = self._fields(fn)
        self._model = _model_of(name, fields, self._parameters)
        doc = parse_docstring(inspect.getdoc(fn.func if isinstance(fn, functools.partial) else fn))
        self.description = doc[0]
        """The docstring without its sections."""
        self.schema = _schema_of(self._model)
        """JSON Schema of an object."""
        for parameter, said in self.schema.get("properties", {}).items():
            if said and doc[1].get(parameter):
                said.setdefault("description", doc[1][parameter])
            elif doc[1].get(parameter):
                said["description"] = doc[1][parameter]

    def check(self, arguments: Mapping[str, Any], /) -> Mapping[str, Any]:
        """The arguments as they are, once they are known to fit. Raises ArgumentsInvalid."""
        self._validated(Payload.from_json(dict(arguments)).text)
        return arguments

    def keywords(self, document: str, call: Call | None) -> dict[str, Any]:
        """The function's keyword arguments, of a JSON object. Raises ArgumentsInvalid."""
        values = self._validated(document)
        given = values.model_fields_set | self._defaults
        keywords = {
            parameter: getattr(values, field) for field, parameter in self._parameters.items() if field in given
        }
        if self.call_parameter:
            keywords[self.call_parameter] = call
        return keywords

    def _validated(self, document: str) -> "BaseModel":
        from pydantic import ValidationError  # noqa: PLC0415 - `import motet` stays quick

        try:
            return self._model.model_validate_json(document)
        except ValidationError as error:
            raise ArgumentsInvalid(_complaint(self._name, error, list(self._parameters.values()))) from error

    def _fields(self, fn: Callable[..., Any]) -> dict[str, Any]:
        from pydantic import Field  # noqa: PLC0415 - `import motet` stays quick
        from pydantic.fields import FieldInfo  # noqa: PLC0415

        try:
            parameters = inspect.signature(fn).parameters.values()
        except (TypeError, ValueError) as error:
            raise ValueError(f"tool {self._name!r} cannot be inspected; wrap it in a function of your own") from error
        hints = _hints(fn, self._name)
        fields: dict[str, Any] = {}
        for parameter in parameters:
            hint = hints.get(parameter.name, Any)
            if parameter.kind in (_P.VAR_POSITIONAL, _P.VAR_KEYWORD, _P.POSITIONAL_ONLY):
                raise ValueError(
                    f"tool {self._name!r}: a model gives arguments by name, which {parameter} cannot take; "
                    "give each parameter a name of its own"
                )
            if _takes_call(parameter, hint):
                self.call_parameter = parameter.name
                continue
            field = f"p{len(fields)}"
            self._parameters[field] = parameter.name
            if isinstance(parameter.default, FieldInfo) and not parameter.default.is_required():
                self._defaults.add(field)
            default = ... if parameter.default is _P.empty else parameter.default
            # The alias stands with the field: given in the model's config, it would reach into dataclasses too.
            fields[field] = (Annotated[hint, Field(alias=parameter.name)], default)
        return fields


def schema_and_check(name: str, given: object) -> tuple[dict[str, Any], Check]:
    """Of what an author gave as `parameters`: a JSON Schema of an object, or a type that pydantic knows.

    Of a type, defaults are filled in. Of a schema, names that it does not know are refused too, unless it has
    `additionalProperties` or `patternProperties`: what a model invents reaches nobody. Raises ValueError.
    """
    if isinstance(given, Mapping):
        schema = json.loads(Payload.from_json(dict(given)).text)
        if schema.get("type", "object") != "object" or not isinstance(schema.get("properties", {}), dict):
            raise ValueError(f"tool {name!r}: the schema of its parameters must be that of an object with properties")
        from motet.agents.model._schema_check import checker  # noqa: PLC0415 - its library is loaded when it is needed

        schema = {"type": "object", "properties": {}, **schema}
        return schema, functools.partial(_check_object, name, schema, checker(schema))
    return _typed(name, given)


def _typed(name: str, given: Any) -> tuple[dict[str, Any], Check]:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - `import motet` stays quick
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    try:
        adapter = TypeAdapter[Any](given)
        schema = _schema_of(adapter)
    except PydanticUserError as error:
        raise ValueError(
            f"tool {name!r}: its parameters cannot be described in JSON Schema: {_first(error)}"
        ) from error
    if schema.get("type") != "object":
        raise ValueError(f"tool {name!r}: its parameters must be an object, such as a pydantic model or a dataclass")

    def check(arguments: Mapping[str, Any], /) -> Mapping[str, Any]:
        try:
            value = adapter.validate_json(Payload.from_json(dict(arguments)).text)
        except ValidationError as error:
            raise ArgumentsInvalid(_complaint(name, error, list(schema.get("properties", {})))) from error
        checked: Mapping[str, Any] = adapter.dump_python(value, mode="json", by_alias=True)
        return checked

    return schema, check


def _check_object(
    name: str, schema: Schema, complaint_of: Callable[[Any], str], arguments: Mapping[str, Any], /
) -> Mapping[str, Any]:
    properties: Schema = schema.get("properties", {})
    if not schema.get("additionalProperties") and "patternProperties" not in schema:
        unknown = [f"{_cut(key)}: {_no_such(list(properties))}" for key in arguments if key not in properties]
        if unknown:
            raise ArgumentsInvalid(_sentence(name, unknown[:_ERRORS_TOLD]))
    if complaint := complaint_of(dict(arguments)):
        raise ArgumentsInvalid(_sentence(name, [complaint]))
    return arguments


def _model_of(name: str, fields: Mapping[str, Any], aliases: Mapping[str, str]) -> "type[BaseModel]":
    from pydantic import ConfigDict, create_model  # noqa: PLC0415 - `import motet` stays quick
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    config = ConfigDict(extra="forbid")
    try:
        model: type[BaseModel] = create_model("Arguments", __config__=config, **fields)
        _schema_of(model)
    except PydanticUserError as error:
        for field, (hint, _) in fields.items():
            try:
                _schema_of(create_model("One", one=(hint, ...)))
            except PydanticUserError:
                raise ValueError(
                    f"tool {name!r}: parameter {aliases[field]!r} has a type that JSON cannot give ({_first(error)}); "
                    "annotate it with JSON types, a pydantic model or a dataclass"
                ) from error
        raise ValueError(f"tool {name!r}: its parameters cannot be described: {_first(error)}") from error
    return model


def _schema_of(thing: Any) -> dict[str, Any]:
    """Without the titles that pydantic makes of names: to a model they are noise that it pays for."""
    make = thing.json_schema if hasattr(thing, "json_schema") else thing.model_json_schema
    schema: dict[str, Any] = make(schema_generator=_plain_generator())
    schema.pop("title", None)
    return schema


@functools.cache
def _plain_generator() -> type[Any]:
    from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415 - `import motet` stays quick

    class Plain(GenerateJsonSchema):
        ignored_warning_kinds = frozenset({"skipped-choice", "non-serializable-default"})  # type: ignore[assignment]

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
            return False

    return Plain


def _hints(fn: Callable[..., Any], name: str) -> Mapping[str, Any]:
    while isinstance(fn, functools.partial):
        fn = fn.func
    target = inspect.unwrap(fn) if inspect.isroutine(fn) else type(fn).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # noqa: BLE001 - annotations may be anything; each is now looked at by itself
        return {key: _hint(target, name, key, hint) for key, hint in target.__annotations__.items() if key != "return"}


def _hint(target: Any, name: str, parameter: str, hint: Any) -> Any:
    if isinstance(hint, str) and hint.rpartition(".")[2].strip() == "Call":  # often imported for type checkers only
        return Call
    alone = types.SimpleNamespace(__annotations__={parameter: hint})
    try:
        found = typing.get_type_hints(alone, getattr(target, "__globals__", {}), include_extras=True)
    except Exception as error:
        raise ValueError(
            f"tool {name!r}: the annotation of {parameter!r} cannot be read ({error}); "
            "its names must be importable at run time, at the top level of the module"
        ) from error
    return found[parameter]


def _takes_call(parameter: inspect.Parameter, hint: Any) -> bool:
    if hint is Any:
        return parameter.name == "call" and parameter.annotation is _P.empty
    return hint is Call or Call in typing.get_args(hint)


def _complaint(name: str, error: "ValidationError", parameters: list[str]) -> str:
    errors = error.errors(include_url=False, include_context=False)
    told = [_told(one, parameters) for one in errors[:_ERRORS_TOLD]]
    if len(errors) > _ERRORS_TOLD:
        told.append(f"and {len(errors) - _ERRORS_TOLD} more")
    return _sentence(name, told)


def _told(error: "ErrorDetails", parameters: list[str]) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{_cut(part)}" for part in error["loc"]).lstrip(".")
    if error["type"] == "missing":
        return f"{place}: is required"
    if error["type"] == "extra_forbidden":
        return f"{place}: {_no_such(parameters)}" if len(error["loc"]) == 1 else f"{place}: is not known here"
    return f"{place or 'arguments'}: {error['msg']}, not {_shown(error['input'])}"


def _no_such(parameters: list[str]) -> str:
    there_are = f"the parameters are {', '.join(parameters)}" if parameters else "the tool takes none"
    return f"there is no such parameter; {there_are}"


def _sentence(name: str, complaints: list[str]) -> str:
    return f"the arguments of {name} are wrong: {'; '.join(complaints)}. Put them right and call the tool again."


def _shown(value: object) -> str:
    try:
        return _cut(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_TOLD else f"{text[:_VALUE_TOLD]}..."


def _first(error: Exception) -> str:
    return str(error).split("\n", 1)[0].strip().rstrip(".")
