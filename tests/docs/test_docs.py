"""Runs the Python of the pages: each block is a whole program, and a text block after it is what it prints."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
    ROOT / "clients" / "python" / "README.md",
)
CATALOG = Path(__file__).with_name("served.toml")
ADDRESS = "127.0.0.1:50061"
"""What pages write for a server; the tests put a free port in its place."""
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```$)?", re.MULTILINE | re.DOTALL)
PATIENCE = 60


class Program(NamedTuple):
    code: str
    output: str | None


def programs() -> Iterator[object]:
    for page in PAGES:
        text = page.read_text()
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield pytest.param(Program(found["code"], found["output"]), id=f"{page.relative_to(ROOT)}:{line}")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with agents under the names that the pages use."""
    port_file = tmp_path_factory.mktemp("served") / "address"
    command = [sys.executable, "-m", "motet_server.cli", "serve", str(CATALOG), "--address", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--port-file", str(port_file)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("serving on ")
            yield port_file.read_text().strip()
        finally:
            server.terminate()
            server.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("program", tuple(programs()))
def test_a_program_on_a_page_runs_and_prints_what_the_page_says(
    program: Program, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    code = program.code
    if ADDRESS in code:
        code = code.replace(ADDRESS, request.getfixturevalue("address"))
    file = tmp_path / "program.py"
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if program.output is not None:
        assert done.stdout == program.output
