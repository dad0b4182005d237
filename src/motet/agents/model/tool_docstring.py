"""What a docstring says of a function and of its parameters: Google, NumPy and Sphinx styles. Pure; knows no schema."""

import inspect
import re
from collections.abc import Sequence
from typing import Final

_SECTIONS: Final = (
    "args|arguments|parameters|params|keyword args|keyword arguments|other parameters|returns?|yields?|raises|"
    "examples?|notes?|warnings?|warns|see also|references|attributes|todo"
)
_PARAMETERS: Final = frozenset({"args", "arguments", "parameters", "params", "keyword args", "keyword arguments"}) | {
    "other parameters"
}
_GOOGLE: Final = re.compile(rf"({_SECTIONS}):", re.IGNORECASE)
_NUMPY: Final = re.compile(_SECTIONS, re.IGNORECASE)
_UNDERLINE: Final = re.compile(r"-{3,}\s*")
_FIELD: Final = re.compile(r":(\w+)\b([^:]*):\s*(.*)")
_ITEM: Final = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY_ITEM: Final = re.compile(r"\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?")
_PARAM_FIELDS: Final = frozenset({"param", "parameter", "arg", "argument", "key", "keyword"})


def parse_docstring(doc: str | None) -> tuple[str, dict[str, str]]:
    """What stands before the first section, and a description for each parameter that has one."""
    lines = inspect.cleandoc(doc or "").splitlines()
    text: list[str] = []
    parameters: dict[str, str] = {}
    place = 0
    while place < len(lines):
        line = lines[place]
        following = lines[place + 1] if place + 1 < len(lines) else ""
        if (google := _GOOGLE.fullmatch(line.rstrip())) is not None:
            place = _google(lines, place + 1, google[1].lower() in _PARAMETERS, parameters)
        elif _NUMPY.fullmatch(line.strip()) and not line.startswith(" ") and _UNDERLINE.fullmatch(following):
            place = _numpy(lines, place + 2, line.strip().lower() in _PARAMETERS, parameters)
        elif (field := _FIELD.match(line)) is not None:
            place = _sphinx(lines, place, field, parameters)
        else:
            # Text after a section belongs to no parameter, and the model has read what the function is for.
            if place == len(text):
                text.append(line)
            place += 1
    return _joined(text), parameters


def _google(lines: Sequence[str], place: int, wanted: bool, parameters: dict[str, str]) -> int:
    """Reads an indented block; returns the first line after it."""
    indent: int | None = None
    name = ""
    while place < len(lines) and (not lines[place].strip() or lines[place].startswith((" ", "\t"))):
        line = lines[place]
        place += 1
        if not wanted or not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        indent = depth if indent is None else indent
        item = _ITEM.fullmatch(line.strip()) if depth <= indent else None
        if item is not None:
            name = item[1]
            parameters[name] = item[2].strip()
        elif name:
            parameters[name] = f"{parameters[name]} {line.strip()}".strip()
    return place


def _numpy(lines: Sequence[str], place: int, wanted: bool, parameters: dict[str, str]) -> int:
    """Reads up to the next underlined heading; returns its line."""
    names: list[str] = []
    while place < len(lines):
        line = lines[place]
        if place + 1 < len(lines) and line.strip() and _UNDERLINE.fullmatch(lines[place + 1]):
            return place
        place += 1
        if not wanted or not line.strip():
            continue
        if not line.startswith((" ", "\t")):
            item = _NUMPY_ITEM.fullmatch(line.strip())
            names = [part.strip(" *") for part in item[1].split(",")] if item is not None else []
            for name in names:
                parameters[name] = ""
        else:
            for name in names:
                parameters[name] = f"{parameters[name]} {line.strip()}".strip()
    return place


def _sphinx(lines: Sequence[str], place: int, field: re.Match[str], parameters: dict[str, str]) -> int:
    """Reads one field with its continuation lines; returns the first line after them."""
    words = [field[3].strip()]
    place += 1
    while place < len(lines) and lines[place].startswith((" ", "\t")):
        words.append(lines[place].strip())
        place += 1
    named = field[2].split()
    if field[1] in _PARAM_FIELDS and named:
        parameters[named[-1].lstrip("*")] = " ".join(filter(None, words))
    return place


def _joined(lines: Sequence[str]) -> str:
    """Paragraphs on one line each: line ends of source code mean nothing to a model."""
    paragraphs = "\n".join(lines).strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()
