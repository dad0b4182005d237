"""How a call becomes the arguments of a Python function, and its return value a reply. Decided once for a function,
so that a call inspects nothing. Knows nothing of where the function runs."""

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.payload import Payload
from motet.model.quick import quick
from motet.model.reason import INPUT_INVALID, OUTPUT_INVALID
from motet.ports import Call

_BY_NAME: Final[Mapping[str, object]] = {"str": str, "bytes": bytes, "Payload": Payload, "Call": Call}
"""For annotations that cannot be evaluated, such as names imported for type checkers only."""

_INPUT_FORMS: Final[Mapping[object, Callable[[Call], Any]]] = {
    str: attrgetter("input.text"),
    bytes: attrgetter("input.data"),
    Payload: attrgetter("input"),
}
_input_value: Final[Callable[[Call], Any]] = attrgetter("input.value")

_NO_KEYWORDS: Final[Mapping[str, Any]] = MappingProxyType({})

_P = inspect.Parameter

_payload: Final[Callable[..., Payload]] = quick(Payload)
_reply: Final[Callable[..., Reply]] = quick(Reply)
_NOTHING: Final = Reply(Payload.from_json(None))


class Binding:
    """The parameters of one function, as getters from a call.

    The first positional parameter is the input; one annotated `Call` or named `call` is the call (a first one named
    `call` only if it has no annotation); the others are variables. Raises ValueError for a function with `*args` or one that cannot be inspected.
    """

    __slots__ = ("_keywords", "_name", "_positional", "_rest", "_taken", "takes_call")

    def __init__(self, fn: Callable[..., Any], name: str) -> None:
        self._name = name
        self._positional: list[Callable[[Call], Any]] = []
        self._keywords: list[tuple[str, Callable[[Call], Any]]] = []
        self._rest = False
        self._taken: set[str] = set()
        self.takes_call = False
        """A parameter receives the call itself."""
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except TypeError as error:
            raise ValueError(f"function {name!r} cannot be inspected; wrap it in a function of your own") from error
        hints = _hints(fn)
        for place, parameter in enumerate(parameters):
            self._add(parameter, hints.get(parameter.name), first=place == 0)

    def _add(self, parameter: inspect.Parameter, hint: object, *, first: bool) -> None:
        if parameter.kind is _P.VAR_POSITIONAL:
            raise ValueError(f"function {self._name!r} has *{parameter.name}; name the parameters that it needs")
        if parameter.kind is _P.VAR_KEYWORD:
            self._rest = True
            return
        self._taken.add(parameter.name)
        getter: Callable[[Call], Any]
        if hint is Call or (parameter.name == "call" and (hint is None or not first)):
            self.takes_call = True
            getter = _whole
        elif first and parameter.kind is not _P.KEYWORD_ONLY:
            getter = _INPUT_FORMS.get(hint, _input_value) if isinstance(hint, type) else _input_value
        else:
            getter = self._variable(parameter, hint)
        if parameter.kind is _P.KEYWORD_ONLY:
            self._keywords.append((parameter.name, getter))
        else:
            self._positional.append(getter)

    def _variable(self, parameter: inspect.Parameter, hint: object) -> Callable[[Call], Any]:
        name, default, owner = parameter.name, parameter.default, self._name

        def get(call: Call) -> Any:
            payload = call.variable_payloads.get(name)
            if payload is not None:
                return _variable_value(payload, hint)
            if default is not _P.empty:
                return default
            message = f"function {owner!r} needs the variable {name!r}; give it, or give the parameter a default"
            raise AgentError(message, reason=INPUT_INVALID, details={"variable": name})

        return get

    def arguments(self, call: Call) -> tuple[list[Any], Mapping[str, Any]]:
        """Positional and keyword arguments. Raises AgentError INPUT_INVALID when the call has no such form."""
        try:
            positional = [get(call) for get in self._positional] if self._positional else []
            if not self._keywords and not self._rest:
                return positional, _NO_KEYWORDS
            keywords = {name: get(call) for name, get in self._keywords}
            if self._rest:
                for name, payload in call.variable_payloads.items():
                    if name not in self._taken:
                        keywords.setdefault(name, payload.value)
        except ValueError as error:
            message = f"function {self._name!r} cannot take this input: {error}"
            raise AgentError(message, reason=INPUT_INVALID) from error
        return positional, keywords


def reply_of(value: Any, name: str) -> Reply:
    """What a function returned, as a reply. Raises AgentError OUTPUT_INVALID for what cannot travel: no JSON form, NaN,
    text that is not Unicode (lone surrogates), metadata that is not JSON."""
    try:
        if type(value) is str:  # the most common case, without the further tests
            if not value.isascii():
                value.encode()
            return _reply(_payload("text", value, ""), None, None)
        if value is None:
            return _NOTHING
        reply = value if isinstance(value, Reply) else Reply(Payload.of(value))
        content = reply.output.content
        if isinstance(content, str) and not content.isascii():
            content.encode()
        if reply.metadata is not None:
            json.dumps(reply.metadata, allow_nan=False)
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        message = f"function {name!r} returned what cannot be sent on: {type(error).__name__}: {_said(error)}"
        raise AgentError(message, reason=OUTPUT_INVALID, details={"type": type(value).__name__}) from error
    return reply


def _said(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):  # its own sentence holds the character that cannot be sent
        return f"the text has a character that is not Unicode at position {error.start}"
    return str(error)


def _whole(call: Call) -> Call:
    return call


def _variable_value(payload: Payload, hint: object) -> Any:
    if hint is Payload:
        return payload
    if hint is bytes:
        return payload.data
    value = payload.value
    return payload.text if hint is str and not isinstance(value, str) else value


def _hints(fn: Callable[..., Any]) -> Mapping[str, object]:
    target = fn if inspect.isroutine(fn) else getattr(fn, "func", None) or type(fn).__call__
    try:
        return typing.get_type_hints(target)
    except Exception:  # noqa: BLE001 - annotations may be anything; those that do not resolve are not used
        found = getattr(target, "__annotations__", {})
        return {name: _named(hint) for name, hint in found.items()}


def _named(hint: object) -> object:
    return _BY_NAME.get(hint.rpartition(".")[2], hint) if isinstance(hint, str) else hint
