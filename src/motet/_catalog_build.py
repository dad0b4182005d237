"""What everything that is built of a table of a catalog file shares: import strings, variables of the environment, and where a
mistake belongs. Must not know what is built."""

import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from motet._catalog_values import Table
from motet._reference import BadReference, load_reference

_VARIABLE: Final = re.compile(r"\$\{env:([^}]*)\}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
WITH_VARIABLES: Final = frozenset({"headers", "env"})
"""Keys in whose values `${env:NAME}` is replaced."""


class BuildError(Exception):
    """It cannot be made. `problems` are its mistakes, as (key, message); none when what is wrong stands elsewhere."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {message}" for key, message in problems))
        self.problems = problems


def load_callable(key: str, text: str, folder: Path, problems: list[tuple[str, str]]) -> Any:
    """The function that an import string names; None after adding to `problems`."""
    try:
        found = load_reference(text, folder)
    except BadReference as error:
        problems.append((key, str(error)))
        return None
    if not callable(found):
        problems.append((key, f"{text!r} names a {type(found).__name__}; it must name a function"))
    return found


def filled(key: str, texts: Mapping[str, str], problems: list[tuple[str, str]]) -> dict[str, str]:
    """The texts with every `${env:NAME}` replaced by that variable of this process."""

    def value_of(place: str, match: re.Match[str]) -> str:
        variable = match[1]
        if _VARIABLE_NAME.fullmatch(variable) is None:
            problems.append((place, "holds ${env:...} without the name of a variable; write ${env:NAME}"))
        elif variable not in os.environ:
            problems.append((place, f"the environment variable {variable} is not set"))
        return os.environ.get(variable, "")

    return {name: _VARIABLE.sub(partial(value_of, f"{key}.{name}"), text) for name, text in texts.items()}


def misplaced(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        if key not in WITH_VARIABLES and any("${env:" in text for text in _texts(value)):
            yield key, "${env:NAME} is replaced in headers and env only; write the value itself here"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))
    elif isinstance(value, dict):
        yield from (item for item in value.values() if isinstance(item, str))


def placed(message: str, model: type[Table]) -> tuple[str, str]:
    """What a constructor said, as (key, message): the key it begins with, or else names first; empty when it names none."""
    message = re.sub(r"^(?:function|model agent) '[^']*':? ", "", message)
    start = re.match(r"(\w+)(\[\d+\])?: ", message)
    if start is not None and start[1] in model.model_fields:
        return start[1] + (start[2] or ""), message[start.end() :]
    places = [(found.start(), key) for key in model.model_fields if (found := re.search(rf"\b{key}\b", message))]
    key = min(places)[1] if places else ""
    return key, message.removeprefix(f"{key} ") if key else message
