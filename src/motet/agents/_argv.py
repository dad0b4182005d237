"""The argument template of a command: literals and `{name}` placeholders, filled by plain replacement, never by a shell
or a format language. Knows neither processes nor calls."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from motet.errors import AgentError
from motet.model.reason import INPUT_INVALID

INPUT: Final = "input"
"""The placeholder that stands for the call's input."""
MAX_ARGUMENT_BYTES: Final = 128 * 1024 - 1
"""Linux refuses a longer single argument (MAX_ARG_STRLEN, which counts the closing NUL)."""
_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Element:
    """One element of argv, taken apart."""

    literals: tuple[str, ...]
    """The text around the placeholders; always one more than there are names."""
    names: tuple[str, ...]
    """The placeholders, in order; empty for an element that is always the same."""
    after_dashes: bool
    """The element before it is `--`, so that by convention it cannot be read as an option."""


def parse(argv: Sequence[str]) -> tuple[Element, ...]:
    """Take a template apart. Raises ValueError, which names the element of `argv`, when it is wrong."""
    if isinstance(argv, str) or not argv:
        raise ValueError("argv: give the program and its arguments as a list with at least one element")
    elements: list[Element] = []
    for index, text in enumerate(argv):
        if not isinstance(text, str) or "\0" in text:
            raise ValueError(f"argv[{index}]: must be a string without NUL characters")
        elements.append(_parse_element(index, text, after_dashes=index > 0 and argv[index - 1] == "--"))
    if elements[0].names or not elements[0].literals[0]:
        raise ValueError("argv[0]: must name a program and have no placeholder; a value never chooses what is run")
    return tuple(elements)


def _parse_element(index: int, text: str, *, after_dashes: bool) -> Element:
    literals, names, position = [""], [], 0
    for token in _TOKEN.finditer(text):
        literals[-1] += text[position : token.start()]
        position = token.end()
        if name := token[1]:
            names.append(name)
            literals.append("")
        elif len(token[0]) == 2:
            literals[-1] += token[0][0]
        else:
            raise ValueError(f"argv[{index}]: a single {token[0]!r} is no placeholder; write a literal brace twice")
    literals[-1] += text[position:]
    return Element(tuple(literals), tuple(names), after_dashes)


def fill(elements: Sequence[Element], value: Callable[[str], str]) -> list[str]:
    """The arguments with each placeholder replaced by `value(name)`.

    Raises AgentError, reason INPUT_INVALID, for what is no argument: NUL characters, text that is not Unicode, more
    than MAX_ARGUMENT_BYTES, or a value that begins its element with `-`, which the program could take for an option.
    """
    return [_fill_element(element, value) if element.names else element.literals[0] for element in elements]


def _fill_element(element: Element, value: Callable[[str], str]) -> str:
    text = element.literals[0]
    for name, literal in zip(element.names, element.literals[1:], strict=True):
        text += value(name) + literal
    place = " and ".join(f"{{{name}}}" for name in element.names)
    if "\0" in text:
        raise _refused(f"the value of {place} has a NUL character, which no argument can carry")
    if text.startswith("-") and not element.literals[0] and not element.after_dashes:
        raise _refused(
            f"the value of {place} begins with '-' and could be read as an option; "
            "in the agent's argv put the element '--' before it, or give it a prefix such as './' or '--name='"
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _refused(f"the value of {place} has lone surrogates, which are not text") from None
    if size > MAX_ARGUMENT_BYTES:
        raise _refused(f"the value of {place} makes an argument of {size} bytes; the most is {MAX_ARGUMENT_BYTES}")
    return text


def _refused(message: str) -> AgentError:
    return AgentError(message, reason=INPUT_INVALID)
