"""Checks of the repository itself that no linter makes: sizes, layout, what may not be in any file."""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import motet

ROOT = Path(__file__).resolve().parents[2]
CODE = ("src", "server", "clients/python/motet_client", "clients/conformance", "tools", "examples", "benches", "tests")
MAX_LINES = 400
GENERATED = ROOT / "proto" / "python"
TEXT = {".py", ".md", ".toml", ".proto", ".lock", ".yaml", ".yml", ".txt", ""}
SKIPPED = {".git", ".venv", ".venv-peers", "__pycache__", "dist", "build", "node_modules", "target"}
UNFINISHED = re.compile(r"TODO|FIXME|XXX|(?i:not implemented|for now\b)")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")


def code_files() -> list[Path]:
    return [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]


def text_files() -> Iterator[Path]:
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        hidden = any(part in SKIPPED or part.endswith("_cache") or part == ".hypothesis" for part in parts)
        if path.is_file() and not hidden and path.suffix in TEXT and not path.is_relative_to(GENERATED):
            yield path


def test_no_file_is_longer_than_400_lines() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in code_files()}
    assert {name: lines for name, lines in sizes.items() if lines > MAX_LINES} == {}
    assert statistics.median(sizes.values()) < MAX_LINES / 2


def test_every_file_opens_with_what_lives_there() -> None:
    silent = [
        path for path in code_files() if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_nothing_is_left_unfinished_and_no_file_names_a_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in text_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNFINISHED.search(line) or MACHINE_PATH.search(line)
    ]
    assert found == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)


def test_every_unit_test_mirrors_a_package_of_the_engine() -> None:
    folders = {
        path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    packages = {path.name for path in (ROOT / "src" / "motet").iterdir() if path.is_dir()}
    assert folders <= packages | {"server"}


def test_public_names_are_sorted_and_there() -> None:
    assert list(motet.__all__) == sorted(motet.__all__)
    for name in motet.__all__:
        assert hasattr(motet, name)


@pytest.mark.parametrize("heavy", ["httpx2", "pydantic", "grpc", "google.protobuf", "asyncio", "motet_proto"])
def test_importing_motet_does_not_import(heavy: str) -> None:
    code = f"import sys, motet; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_decisions_are_numbered_without_gaps_and_short() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert [page.name for page in pages if len(page.read_text().splitlines()) > 40] == []


def test_links_between_pages_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!https?://|#)([^)#]+)")
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in text_files()
        if page.suffix == ".md"
        for target in link.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_ci_script_runs_the_two_commands_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."', "make check", "make test"]
