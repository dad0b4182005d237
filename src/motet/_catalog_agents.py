"""From the table of an agent to the agent: one function for each kind. The only part of the catalog that knows how agents
are made; it imports an agent's module when a file asks for that kind."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from motet._catalog_schema import AgentTable, CommandTable, FunctionTable, GroupAgentTable, HttpTable
from motet._reference import BadReference, load_reference
from motet.model.agent import AgentInfo, AgentKind
from motet.model.checks import card_problems
from motet.ports import Agent

_VARIABLE: Final = re.compile(r"\$\{env:([^}]*)\}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WITH_VARIABLES: Final = frozenset({"headers", "env"})

_GUARDED: Final = ("replay_safe", "estimated_tokens", "rate", "weight", "breaker")


class BuildError(Exception):
    """The agent cannot be made. `problems` are its mistakes, as (key, message)."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {message}" for key, message in problems))
        self.problems = problems


def build_agent(name: str, table: AgentTable, folder: Path) -> Agent:
    """The agent of a table. References and folders in it are relative to `folder`. Raises BuildError."""
    given = table.given()
    del given["kind"]
    problems = list(_misplaced(given))
    for key in sorted(_WITH_VARIABLES & given.keys()):
        given[key] = _filled(key, given[key], problems)
    for key in ("function", "parse"):
        if key in given:
            given[key] = load_callable(key, given[key], folder, problems)
    if "estimated_cost" in given:
        given["estimated_cost_nanos"] = given.pop("estimated_cost")
    problems += card_problems(AgentInfo(name=name, kind=AgentKind(table.kind), **_on_card(given)))
    if problems:
        raise BuildError(problems)
    try:
        return _BUILDERS[type(table)](name, given, folder)
    except (ValueError, TypeError) as error:
        raise BuildError([_placed(str(error), type(table))]) from error


def _on_card(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in _GUARDED if key in given}


def _function(name: str, given: dict[str, Any], _folder: Path) -> Agent:
    from motet.agents.function import FunctionAgent  # noqa: PLC0415 - only when a file has such an agent

    fn = given.pop("function")
    if isinstance(fn, FunctionAgent):
        return FunctionAgent(fn.fn, name=name, **{**fn.options, **given})
    return FunctionAgent(fn, name=name, **given)


def _command(name: str, given: dict[str, Any], folder: Path) -> Agent:
    from motet.agents.command import CommandAgent  # noqa: PLC0415 - only when a file has such an agent

    if "cwd" in given:
        given["cwd"] = str(folder / given["cwd"])
    return CommandAgent(name, **given)


def _http(name: str, given: dict[str, Any], _folder: Path) -> Agent:
    from motet.agents.http import HttpAgent  # noqa: PLC0415 - only when a file has such an agent

    return HttpAgent(name, **given)


def _group(name: str, given: dict[str, Any], _folder: Path) -> Agent:
    from motet.agents.group import GroupAgent  # noqa: PLC0415 - only when a file has such an agent

    return GroupAgent(name, given.pop("group"), **given)


_BUILDERS: Final[Mapping[type[AgentTable], Callable[[str, dict[str, Any], Path], Agent]]] = {
    FunctionTable: _function,
    CommandTable: _command,
    HttpTable: _http,
    GroupAgentTable: _group,
}


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


def _filled(key: str, texts: Mapping[str, str], problems: list[tuple[str, str]]) -> dict[str, str]:
    """The texts with every `${env:NAME}` replaced by that variable of this process."""

    def value_of(place: str, match: re.Match[str]) -> str:
        variable = match[1]
        if _VARIABLE_NAME.fullmatch(variable) is None:
            problems.append((place, "holds ${env:...} without the name of a variable; write ${env:NAME}"))
        elif variable not in os.environ:
            problems.append((place, f"the environment variable {variable} is not set"))
        return os.environ.get(variable, "")

    return {name: _VARIABLE.sub(partial(value_of, f"{key}.{name}"), text) for name, text in texts.items()}


def _misplaced(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        if key not in _WITH_VARIABLES and any("${env:" in text for text in _texts(value)):
            yield key, "${env:NAME} is replaced in headers and env only; write the value itself here"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))
    elif isinstance(value, dict):
        yield from (item for item in value.values() if isinstance(item, str))


def _placed(message: str, model: type[AgentTable]) -> tuple[str, str]:
    """What a constructor said, as (key, message): the key it begins with, or else names first; empty when it names none."""
    message = re.sub(r"^function '[^']*':? ", "", message)
    start = re.match(r"(\w+)(\[\d+\])?: ", message)
    if start is not None and start[1] in model.model_fields:
        return start[1] + (start[2] or ""), message[start.end() :]
    places = [(found.start(), key) for key in model.model_fields if (found := re.search(rf"\b{key}\b", message))]
    key = min(places)[1] if places else ""
    return key, message.removeprefix(f"{key} ") if key else message
