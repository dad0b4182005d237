"""Picks the value that a rule looks at out of an output: a field, a CEL expression, a function, or the whole. Pure, and
total: whatever goes wrong with an output is a problem to report, never an exception."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from motet.aggregate._cel import compile_cel
from motet.model.outcome import Outcome
from motet.model.payload import Payload, parse_json
from motet.ports import RuleBook

MAX_PROBLEM: Final = 200
"""Characters of a problem: exceptions may quote whole outputs."""

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")


@dataclass(frozen=True, slots=True)
class Selected:
    """What a selector found in one outcome."""

    value: Any
    """A value that nobody else holds; None when there is a problem."""
    problem: str = ""
    """Why there is no value, in a few words; empty means that there is one."""


def make_selector(
    book: RuleBook,
    *,
    field: str | None = None,
    expression: str | None = None,
    function: str | Callable[..., Any] | None = None,
) -> Callable[[Outcome], Selected]:
    """What to look at in an outcome's output; at most one of the three, none for the whole output.

    `field` is an RFC 6901 pointer, where "" is the whole; `expression` is CEL over `output`, `member` and `agent`; both
    read text as JSON when it is JSON. `function` is a name in the book's functions, or the function itself, and is
    called with the output's value. Raises ValueError, naming the option, when it is wrong; the selector never raises.
    """
    given = {"field": field, "expression": expression, "function": function}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"give only one of {', '.join(names)}")
    if field is not None:
        return _guarded(_by_field(field))
    if expression is not None:
        return _guarded(_by_expression(expression))
    if function is not None:
        return _guarded(_by_function(book, function))
    return _guarded(lambda _outcome, output: Selected(output.value))


def _guarded(select: Callable[[Outcome, Payload], Selected]) -> Callable[[Outcome], Selected]:
    def selector(outcome: Outcome) -> Selected:
        if outcome.output is None:
            return Selected(None, "has no output")
        try:
            return select(outcome, outcome.output)
        except Exception as error:  # noqa: BLE001 - an output is foreign, and so is a function; what they do is reported
            return Selected(None, problem_of(error))

    return selector


def problem_of(error: Exception) -> str:
    """An exception as a problem: its message, or its type where that says more."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an exception of foreign code may fail to say what it is
        message = ""
    if not isinstance(error, ValueError) or not message:
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return shortened(message)


def shortened(problem: str) -> str:
    """A problem of bounded length, in text that UTF-8 can carry."""
    problem = problem.encode(errors="backslashreplace").decode()
    return problem if len(problem) <= MAX_PROBLEM else problem[: MAX_PROBLEM - 3] + "..."


def _document(output: Payload) -> Any:
    """The output as a JSON value: a document, text that is one, or else the text or the bytes."""
    if output.kind != "text":
        return output.value
    try:
        return parse_json(output.text)
    except ValueError:
        return output.text


# ---------------------------------------------------------------------------------------------------------- a field


def _by_field(pointer: str) -> Callable[[Outcome, Payload], Selected]:
    if pointer and not pointer.startswith("/"):
        raise ValueError("field: must be a JSON pointer: empty for the whole output, else starting with /")
    if _BAD_ESCAPE.search(pointer):
        raise ValueError("field: in a JSON pointer ~ is written ~0, and / inside a name ~1")
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]

    def select(_outcome: Outcome, output: Payload) -> Selected:
        value = _document(output)
        for token in tokens:
            if isinstance(value, dict) and token in value:
                value = value[token]
            elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
                value = value[int(token)]
            else:
                return Selected(None, shortened(f"has nothing at {pointer}"))
        return Selected(value)

    return select


# ----------------------------------------------------------------------------------------------------- an expression


def _by_expression(expression: str) -> Callable[[Outcome, Payload], Selected]:
    try:
        evaluate = compile_cel(expression, ("output", "member", "agent"))
    except ValueError as error:
        raise ValueError(f"expression: {error}") from None

    def select(outcome: Outcome, output: Payload) -> Selected:
        return Selected(evaluate({"output": _document(output), "member": outcome.member, "agent": outcome.agent}))

    return select


# -------------------------------------------------------------------------------------------------------- a function


def _by_function(book: RuleBook, function: str | Callable[..., Any]) -> Callable[[Outcome, Payload], Selected]:
    if isinstance(function, str):
        if function not in book.functions:
            known = ", ".join(sorted(book.functions)) or "none"
            raise ValueError(f"function: there is no function {function!r} in the catalog; there are: {known}")
        function = book.functions[function]
    if not callable(function):
        raise ValueError("function: must be the name of a function in the catalog")  # noqa: TRY004 - as every wrong option
    if inspect.iscoroutinefunction(function):
        raise ValueError("function: must not be async; the rule cannot wait for it")
    called = function

    def select(_outcome: Outcome, output: Payload) -> Selected:
        value = called(output.value)
        if inspect.iscoroutine(value):
            value.close()
            return Selected(None, "the function is async; the rule cannot wait for it")
        return Selected(value)

    return select
