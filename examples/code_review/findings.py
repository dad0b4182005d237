"""What four analysers print, as findings of one form; and the places that they flag. Knows no engine and no server."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

_VULTURE = re.compile(r"(?P<path>.+?):(?P<line>\d+): (?P<message>.+)")


class Printed(Protocol):
    """What a command has printed."""

    @property
    def exit_code(self) -> int: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...


class Finding(TypedDict):
    """One remark of one analyser."""

    tool: str
    path: str
    line: int
    code: str
    message: str
    severity: str


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, with all that was found there."""

    path: str
    line: int
    findings: tuple[Finding, ...]

    @property
    def tools(self) -> tuple[str, ...]:
        return tuple(sorted({finding["tool"] for finding in self.findings}))


def _finding(tool: str, path: str, line: object, *, code: object, message: str, severity: str) -> Finding:
    # Analysers name the same file in different ways; one form lets their findings meet.
    whole = str(Path(path).absolute())
    return {
        "tool": tool,
        "path": whole,
        "line": int(str(line)),
        "code": str(code or ""),
        "message": message,
        "severity": severity.lower(),
    }


def ruff(printed: Printed) -> list[Finding]:
    """Findings of `ruff check --output-format=json`."""
    found: list[dict[str, Any]] = json.loads(printed.stdout)
    return [
        _finding("ruff", f["filename"], f["location"]["row"], code=f["code"], message=f["message"], severity="error")
        for f in found
    ]


def mypy(printed: Printed) -> list[Finding]:
    """Findings of `mypy --output=json`: an object a line. Notes explain an error and are left out."""
    found: list[dict[str, Any]] = [json.loads(line) for line in printed.stdout.splitlines() if line.startswith(b"{")]
    if printed.exit_code == 2 and any(f["code"] != "syntax" for f in found):
        raise ValueError("; ".join(f["message"] for f in found))
    if not found and printed.exit_code != 0:
        raise ValueError(_words(printed) or "mypy gave up")
    return [
        _finding("mypy", f["file"], f["line"], code=f["code"], message=f["message"], severity="error")
        for f in found
        if f["severity"] == "error"
    ]


def bandit(printed: Printed) -> list[Finding]:
    """Findings of `bandit -f json`. A file that it could not read is a finding too."""
    report: dict[str, list[dict[str, Any]]] = json.loads(printed.stdout)
    return [
        _finding("bandit", e["filename"], 1, code="unread", message=e["reason"], severity="error")
        for e in report["errors"]
    ] + [
        _finding(
            "bandit",
            f["filename"],
            f["line_number"],
            code=f["test_id"],
            message=f["issue_text"],
            severity=f["issue_severity"],
        )
        for f in report["results"]
    ]


def vulture(printed: Printed) -> list[Finding]:
    """Findings of `vulture`, which prints `path:line: message`; files it cannot parse are named on standard error."""
    found = [match for match in map(_VULTURE.fullmatch, _words(printed).splitlines()) if match]
    if not found and printed.exit_code != 0:
        raise ValueError(_words(printed) or "vulture gave up")
    return [
        _finding("vulture", m["path"], m["line"], code="unused", message=m["message"], severity="warning")
        for m in found
    ]


def _words(printed: Printed) -> str:
    return (printed.stdout + printed.stderr).decode(errors="replace").strip()


def alike(places: Iterable[Place]) -> list[list[Place]]:
    """The same places, those that the same analysers flag for the same reasons together; the order stays."""
    kinds: dict[frozenset[tuple[str, str]], list[Place]] = {}
    for place in places:
        kinds.setdefault(frozenset((f["tool"], f["code"]) for f in place.findings), []).append(place)
    return list(kinds.values())


def merge(reviews: Iterable[Iterable[Finding]]) -> list[Place]:
    """The places of all findings: those that most analysers flag first, then by file and line."""
    places: dict[tuple[str, int], list[Finding]] = {}
    for finding in (finding for review in reviews for finding in review):
        places.setdefault((finding["path"], finding["line"]), []).append(finding)
    made = [Place(path, line, tuple(findings)) for (path, line), findings in places.items()]
    return sorted(made, key=lambda place: (-len(place.tools), place.path, place.line))
