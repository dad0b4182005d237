"""Compares the reference pages with the tables in the code that they describe."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import motet
from motet import errors
from motet.agents import command, http, process
from motet.agents.mcp import convert
from motet.agents.model import reasons
from motet.model import event, reason
from motet.model.state import TRANSITIONS
from motet_server.status import CODES

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
NAME = re.compile(r"`([^`]+)`")


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """The cells of the table under a heading, without its two head lines."""
    text = (REFERENCE / page).read_text()
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def reasons_of(module: ModuleType) -> set[str]:
    return {value for name, value in vars(module).items() if name.isupper() and name == value}


def test_the_state_table_of_the_page_is_the_one_in_the_code() -> None:
    told = {NAME.findall(state)[0]: set(NAME.findall(moves)) for state, _, moves in rows("events.md", "States")}
    assert told == {state.value: {move.value for move in moves} for state, moves in TRANSITIONS.items()}


def test_every_event_is_on_the_page() -> None:
    kinds = {kind.__name__ for kind in event.Detail.__args__}
    assert {NAME.findall(name)[0] for name, *_ in rows("events.md", "Events")} == kinds


def test_every_error_is_on_the_page_with_its_reason_and_status() -> None:
    told = {
        NAME.findall(name)[0]: (NAME.findall(default)[0], status)
        for name, _, default, status in rows("errors.md", "The tree")
    }
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.MotetError)]
    assert told == {kind.__name__: (kind.default_reason, CODES[kind].name) for kind in kinds}


def test_every_reason_that_the_code_names_is_on_the_page() -> None:
    told = {NAME.findall(name)[0] for name, *_ in rows("errors.md", "Reasons of failures")}
    named = set[str]().union(*map(reasons_of, (reason, reasons, command, http, process, convert)))
    assert named <= told


def test_the_pages_name_only_reasons_that_the_code_has() -> None:
    told = {NAME.findall(name)[0] for name, *_ in rows("errors.md", "Reasons of failures")}
    code = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert {name for name in told if f'"{name}"' not in code} == set()


def test_every_public_name_has_a_docstring() -> None:
    things = {name: getattr(motet, name) for name in motet.__all__}
    undocumented = {name for name, thing in things.items() if inspect.isclass(thing) and not thing.__doc__}
    assert undocumented == set()
