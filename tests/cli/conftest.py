"""Catalogs and processes for the tests of the program."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside the tests

from cli_process import AGENTS, CATALOG, GUARDED, GUARDED_AGENTS, Motet, Spawn  # found by the line above


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog of small functions and programs."""
    (tmp_path / "agents.py").write_text(AGENTS)
    made = tmp_path / "catalog.toml"
    made.write_text(CATALOG.replace("@PID_FILE@", str(tmp_path / "pid")))
    return made


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    """A catalog with limits, quotas, retries, hedges and kept answers."""
    (tmp_path / "guarded.py").write_text(GUARDED_AGENTS)
    made = tmp_path / "guarded.toml"
    made.write_text(GUARDED)
    return made


def _argv(words: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-m", "motet_server.cli", *map(str, words)]


@pytest.fixture
def motet(tmp_path: Path) -> Motet:
    """Runs the program to its end, with its output in pipes."""

    def run(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
        env = {**os.environ, **options.pop("env", {})}
        return subprocess.run(
            _argv(words), capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=env, **options
        )

    return run


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    """Starts the program; what still runs at the test's end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            _argv(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, bufsize=1
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def server(catalog: Path, spawn: Spawn) -> Iterator[str]:
    """The address of a server of the catalog; its drain is a part of every test."""
    process = spawn("serve", catalog, "--address", "127.0.0.1:0", "--grace", "0s")
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
