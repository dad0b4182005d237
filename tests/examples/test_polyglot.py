"""The polyglot example as a user runs it: with what the machine has, and where there is Python only."""

import os
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "polyglot" / "demo.py"
PATIENCE = 300


def play(*arguments: str, path: str | None = None) -> list[str]:
    environment = {**os.environ, "PATH": os.environ["PATH"] if path is None else path}
    done = subprocess.run(
        [sys.executable, str(DEMO), "--installed", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def ends(lines: list[str]) -> dict[str, str]:
    """By member, how it ended."""
    found = (line.split(maxsplit=3) for line in lines if " s  " in line and (" FAILED" in line or " SUCCEEDED" in line))
    return {member: said for _, _, member, said in found}


def test_the_answer_comes_although_a_worker_is_killed_at_work() -> None:
    lines = play()
    workers = lines[0].removeprefix("workers: ").split(", ")
    missing = [line for line in lines if line.startswith("missing: ")]
    assert len(workers) + len(missing) == 4
    told = ends(lines)
    assert set(told) == {"python", "typescript", "go", "java"}
    victim = workers[-1] if len(workers) > 1 else None
    for member, said in told.items():
        if member == victim:
            assert said.startswith("FAILED: WORKER_LOST: ")
        elif member in workers:
            assert said == "SUCCEEDED: Friday"
        else:
            assert said.startswith("FAILED: WORKER_UNAVAILABLE: ")
    voted = len(workers) - (victim is not None)
    assert lines[-1] == f"2026-11-20 is a Friday, say {voted} of 4"


def test_a_machine_with_python_alone_says_what_is_missing_and_answers(tmp_path: Path) -> None:
    lines = play("2000-02-29", path=str(tmp_path))
    assert lines[:4] == [
        "workers: python",
        "missing: TypeScript: this machine has no node, npm",
        "missing: Go: this machine has no go",
        "missing: Java: this machine has no java, mvn",
    ]
    assert ends(lines)["python"] == "SUCCEEDED: Tuesday"
    assert lines[-1] == "2000-02-29 is a Tuesday, say 1 of 4"


def test_without_an_answer_the_program_says_so_and_exits_with_1(tmp_path: Path) -> None:
    command = [sys.executable, str(DEMO), "--installed", "--kill", "python"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("no answer: NO_SUCCESSFUL_RESULTS: ")
