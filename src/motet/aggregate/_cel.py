"""CEL expressions of options: compiled once, evaluated over plain Python values. The only file that knows the library,
which is imported when the first expression is compiled."""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

MAX_DEPTH: Final = 100
"""Lists and objects in each other in a value given to an expression. The library walks values on the C stack: at
10,000 levels it ends the process."""

_TEXT: Final = frozenset({"member", "agent"})
_WHOLE: Final = frozenset({"total", "succeeded", "failed"})
"""Variables whose type is known before any value is, so that a wrong use of one is found when the expression is compiled."""

_PLACE: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_CODE: Final = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")


class CelError(ValueError):
    """An expression has no value for these variables: a missing key, types that do not fit, too many iterations."""


def compile_cel(text: str, variables: Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    """A function from values of these variables to the expression's value, as a JSON value where it has one: bytes stay
    bytes, a timestamp is its RFC 3339 text, a duration its seconds, a type its name.

    `member` and `agent` are strings, `total`, `succeeded` and `failed` integers, any other variable may be anything. Raises
    ValueError, with line and column, when the text does not compile or its types cannot fit. The function raises
    CelError and nothing else; evaluation ends at 10,000 iterations of the expression's macros in all. `map` and `filter`
    copy what they have at each step: over some thousand entries they take seconds, while `all` and `exists` take none.
    """
    return _compile(text, tuple(variables))


@lru_cache(maxsize=256)
def _compile(text: str, variables: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Any]:
    if not _encodable(text):
        raise ValueError("is not text that UTF-8 can carry")
    cel = _library()
    types = cel.Type
    environment = cel.NewEnv(
        variables={
            name: types.STRING if name in _TEXT else types.INT if name in _WHOLE else types.DYN for name in variables
        }
    )
    try:
        expression = environment.compile(text)
    except RuntimeError as error:
        raise ValueError(_mistakes(str(error))) from None

    def evaluate(values: Mapping[str, Any]) -> Any:
        for name, value in values.items():
            _check(value, name, MAX_DEPTH)
        try:
            result = expression.eval(data=dict(values))
            kind = result.type()
            if kind in (types.ERROR, types.UNKNOWN):
                # The library returns errors as values of their own type.
                raise CelError(_reason(str(result.value())))
            return _plain(result.plain_value())
        except RuntimeError as error:
            raise CelError(_reason(str(error))) from None

    return evaluate


def _library() -> Any:
    try:
        from cel_expr_python import cel  # noqa: PLC0415 - an extra, and slow to load
    except ImportError:
        raise ValueError("CEL expressions need the library that `pip install motet[cel]` installs") from None
    return cel


def _mistakes(message: str) -> str:
    found: dict[str, None] = {}
    for line, column, sentence in _PLACE.findall(message):
        place = f"line {line}, column {column}: " if int(line) > 0 else ""
        found[place + sentence.replace(" (in container '')", "")] = None
    return "; ".join(found) or _reason(message)


def _reason(message: str) -> str:
    return _CODE.sub("", message.strip()).replace(" : ", ": ") or "the expression has no value"


def _check(value: Any, name: str, depth: int) -> None:
    """Refuse what the library would answer with a crash or a riddle."""
    if isinstance(value, str):
        if not _encodable(value):
            raise CelError(f"{name} holds a lone surrogate, which is not text that UTF-8 can carry")
    elif isinstance(value, dict | list | tuple):
        if depth == 0:
            raise CelError(f"{name} is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for key in value:
                _check(key, name, depth - 1)
        for entry in value.values() if isinstance(value, dict) else value:
            _check(entry, name, depth - 1)


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {_key(key): _plain(entry) for key, entry in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else _beyond_json(value)


def _beyond_json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    name = getattr(value, "name", None)
    return str(name()) if callable(name) else str(value)


def _key(key: Any) -> str:
    """CEL's keys may be integers and booleans; JSON's are text."""
    return key if isinstance(key, str) else str(key).lower()
