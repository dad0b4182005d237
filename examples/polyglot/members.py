"""The four workers of the demo: what each needs, how it is built, how it is started. Knows no question."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENTS = HERE.parents[1] / "clients"
BUILT = HERE / "build"
sys.path.append(str(CLIENTS / "conformance"))
import languages  # noqa: E402 - beside the clients, where their builds are written down


@dataclass(frozen=True, slots=True)
class Member:
    """One language's worker."""

    name: str
    build: tuple[str, ...]
    """Makes the program out of the worker's source; run in the client's folder. Empty: nothing to make."""
    start: Callable[[], list[str]]
    """The command, without the address."""


def _java() -> list[str]:
    classpath = (CLIENTS / "java" / "target" / "classpath.txt").read_text().strip()
    return [
        "java",
        "-cp",
        f"{CLIENTS / 'java' / 'target' / 'classes'}:{classpath}",
        str(HERE / "java" / "Weekday.java"),
    ]


_TSC = ("node_modules/.bin/tsc", "--project", str(HERE / "typescript"))
MEMBERS = {
    "python": Member("python", (), lambda: [sys.executable, str(HERE / "python" / "worker.py")]),
    "typescript": Member("typescript", _TSC, lambda: ["node", str(BUILT / "worker.mjs")]),
    "go": Member(
        "go",
        ("go", "build", "-o", str(BUILT / "go-worker"), str(HERE / "go" / "worker.go")),
        lambda: [str(BUILT / "go-worker")],
    ),
    "java": Member("java", (), _java),
}


def ready(*, installed: bool = False) -> tuple[dict[str, list[str]], list[str]]:
    """Commands of the workers that this machine can start, and what is missing for the others, one sentence each."""
    commands: dict[str, list[str]] = {}
    missing: list[str] = []
    for language in languages.LANGUAGES:
        member = MEMBERS[language.name]
        if language.missing:
            missing.append(f"{language.title}: this machine has no {', '.join(language.missing)}")
            continue
        try:
            languages.build(language, installed=installed)
        except languages.NotBuilt as error:
            missing.append(f"{language.title}: {str(error).splitlines()[0]}")
            continue
        BUILT.mkdir(exist_ok=True)
        if member.build and subprocess.run(member.build, cwd=language.folder, check=False).returncode:  # noqa: S603 - commands of this file
            missing.append(f"{language.title}: its worker could not be built")
            continue
        commands[member.name] = member.start()
    return commands, missing
