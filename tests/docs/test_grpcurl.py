"""Runs the commands of the page on generic gRPC tools against a server with the page's catalog, in the page's order. Needs
grpcurl: in the PATH, or in Go's module cache, from which it is built."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "grpcurl.md"
ADDRESS = "127.0.0.1:50061"
"""What the page writes for the server; a free port takes its place."""
BLOCK = re.compile(r"^```sh\n(?P<command>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```$)?", re.MULTILINE | re.DOTALL)
MARK = "----- next command -----"
PATIENCE = 120


class Command(NamedTuple):
    line: int
    text: str
    output: str | None


def commands() -> list[Command]:
    text = PAGE.read_text()
    return [
        Command(text.count("\n", 0, found.start()) + 1, found["command"], found["output"])
        for found in BLOCK.finditer(text)
    ]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PATH with grpcurl in it. No registry is asked."""
    if shutil.which("grpcurl") is not None:
        return os.environ["PATH"]
    go = shutil.which("go")
    if go is None:
        pytest.skip("this machine has neither grpcurl nor go")
    made = tmp_path_factory.mktemp("bin")
    module = re.search(r"go install (\S+@v[\d.]+)", PAGE.read_text())
    assert module is not None
    cache = subprocess.run([go, "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {**os.environ, "GOBIN": str(made), "GOPROXY": f"file://{cache}/cache/download", "GOSUMDB": "off"}
    done = subprocess.run([go, "install", module[1]], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"grpcurl is not in Go's module cache; to have it there: go install {module[1]}")
    return f"{made}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    catalog = re.search(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert catalog is not None
    (folder / "catalog.toml").write_text(catalog[1])
    port_file = folder / "address"
    command = [sys.executable, "-m", "motet_server.cli", "serve", str(folder / "catalog.toml"), "--grace", "0"]
    with subprocess.Popen(
        [*command, "--address", "127.0.0.1:0", "--port-file", str(port_file)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("serving on ")
            yield port_file.read_text().strip()
        finally:
            server.terminate()
            server.communicate(timeout=PATIENCE)


def pattern_of(output: str) -> re.Pattern[str]:
    """`...` stands for anything; a line that is nothing else for any lines, none included."""
    lines = output.splitlines(keepends=True)
    return re.compile(
        "".join("(?:.*\n)*?" if line == "...\n" else ".*?".join(map(re.escape, line.split("..."))) for line in lines)
    )


def test_the_commands_of_the_page_print_what_the_page_says(tools: str, address: str, tmp_path: Path) -> None:
    blocks = commands()
    assert len(blocks) > 10
    # One shell for all, since later ones use what earlier ones have set.
    script = "".join(f"{block.text}\necho '{MARK}'\n" for block in blocks).replace(ADDRESS, address)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", script],
        env={**os.environ, "PATH": tools},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
    )
    printed = done.stdout.split(f"{MARK}\n")
    assert len(printed) == len(blocks) + 1
    for block, found in zip(blocks, printed, strict=False):
        if block.output is not None:
            assert pattern_of(block.output).fullmatch(found), f"{PAGE.name}:{block.line}\n{found}"


@pytest.mark.parametrize(
    ("output", "found", "fits"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("...\nb\n...\n", "a\nb\nc\nd\n", True),
        ("...\nb\n...\n", "a\nc\n", False),
        ("run_...x\n", "run_123x\n", True),
        ("run_...x\n", "run_1\n23x\n", False),
    ],
)
def test_dots_stand_for_what_differs_from_run_to_run(output: str, found: str, fits: bool) -> None:
    assert (pattern_of(output).fullmatch(found) is not None) is fits
