"""The page for those who come from elsewhere: every row has a check that does what it says, and every check a row."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

import motet

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "guides" / "coming-from.md"
SYSTEMS = {"jaf", "tw", "ox"}
ROW = re.compile(r"^\| `(?P<id>[a-z-]+)` \| (?P<theirs>.+?) \| (?P<ours>.+?) \|(?P<why>.*)\|$", re.MULTILINE)
TABLE_LINE = re.compile(r"^\|(?! row \||-)", re.MULTILINE)
PROMISES = ("assert ", "pytest.raises(")


@cache
def rows() -> dict[str, re.Match[str]]:
    return {found["id"]: found for found in ROW.finditer(PAGE.read_text())}


@cache
def checks() -> dict[str, ast.AST]:
    """Functions by the row that they are for."""
    found: dict[str, ast.AST] = {}
    for file in HERE.glob("test_coming_from_*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found[node.name.removeprefix("test_").replace("_", "-")] = node
    return found


def test_every_line_of_the_tables_is_a_row_with_a_name_of_its_own() -> None:
    text = PAGE.read_text()
    assert len(rows()) == len(ROW.findall(text)) == len(TABLE_LINE.findall(text))
    assert {name.partition("-")[0] for name in rows()} == SYSTEMS


@pytest.mark.parametrize("row", sorted(rows()))
def test_a_row_has_a_check_that_is_run_and_promises_something(row: str) -> None:
    assert row in checks(), f"the row {row} has no test_{row.replace('-', '_')}"
    assert any(promise in ast.unparse(checks()[row]) for promise in PROMISES)


@pytest.mark.parametrize("check", sorted(checks()))
def test_a_check_has_a_row(check: str) -> None:
    assert check in rows(), f"nothing on the page is named {check}"


@pytest.mark.parametrize("row", sorted(rows()))
def test_names_of_motet_in_a_row_exist(row: str) -> None:
    for module, name in re.findall(r"`(motet(?:\.[a-z]+)*)\.(\w+)", rows()[row]["ours"]):
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
    for rule in re.findall(r'(?:rules? `|Aggregation\(")(\w+)', rows()[row]["ours"]):
        assert rule in motet.Catalog().aggregations, f"there is no rule {rule}"
