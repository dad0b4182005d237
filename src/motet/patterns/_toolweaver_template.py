"""Templates of prompts: text in which `{name}` stands for an argument, and every other brace for itself. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from motet.model.payload import Payload

_BLANK: Final = re.compile(
    r"\{\{(?P<kept>[^\W\d]\w*)\}\}|\{(?P<name>[^\W\d]\w*)(?P<form>![rs])?(?::(?P<spec>[^{}]*))?\}"
)


def filled(template: str, arguments: Mapping[str, Any]) -> str:
    """The template with the arguments in it.

    `{name}` is text as it is, anything else as JSON; `{name!r}` and `{name:.2f}` are as in `str.format`. `{{name}}` is
    `{name}`. What is put in is not read again. Other braces, such as those of JSON, stay. Raises ValueError for a plain
    `{name}` that is no argument, and for a form that the value does not have.
    """

    def value_of(found: re.Match[str]) -> str:
        if found["kept"] is not None:
            return "{" + found["kept"] + "}"
        name, form, spec = found["name"], found["form"], found["spec"]
        if name not in arguments:
            if form is None and spec is None:
                known = ", ".join(map(str, arguments)) or "none"
                raise ValueError(f"{{{name}}} is no argument; there are: {known}. Write {{{{{name}}}}} for the braces")
            return found[0]
        value = arguments[name]
        try:
            if spec is not None:
                value = format(repr(value) if form == "!r" else str(value) if form == "!s" else value, spec)
            return repr(value) if form == "!r" and spec is None else _text(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{found[0]}: {error}") from error

    return _BLANK.sub(value_of, template)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return Payload.from_json(value).text
    except (TypeError, ValueError):
        return str(value)
