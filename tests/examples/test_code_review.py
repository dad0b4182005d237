"""The code review example: its parsers on what the analysers print, the merge, and the demo as a user runs it."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "code_review"


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


findings = _load("findings")


@dataclass
class Printed:
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


RUFF = json.dumps(
    [
        {
            "code": "F401",
            "filename": "/tree/bad.py",
            "location": {"column": 8, "row": 1},
            "message": "`os` imported but unused",
            "severity": "error",
        },
        {
            "code": None,
            "filename": "/tree/b.py",
            "location": {"column": 1, "row": 3},
            "message": "Expected an expression",
        },
    ]
).encode()
MYPY = (
    b'{"file": "/tree/bad.py", "line": 12, "column": 15, "message": "Unsupported operand types", "hint": null, '
    b'"code": "operator", "severity": "error"}\n'
    b'{"file": "/tree/bad.py", "line": 12, "column": 15, "message": "See the docs", "hint": null, "code": null, '
    b'"severity": "note"}\n'
)
BANDIT = json.dumps(
    {
        "errors": [{"filename": "/tree/syn.py", "reason": "syntax error while parsing AST from file"}],
        "results": [
            {
                "filename": "/tree/bad.py",
                "issue_severity": "HIGH",
                "issue_text": "subprocess call with shell=True",
                "line_number": 7,
                "test_id": "B602",
            }
        ],
    }
).encode()
VULTURE = b"/tree/bad.py:1: unused import 'os' (90% confidence)\n"


def test_each_parser_gives_findings_of_one_form() -> None:
    made = [
        *findings.ruff(Printed(RUFF)),
        *findings.mypy(Printed(MYPY, exit_code=1)),
        *findings.bandit(Printed(BANDIT, exit_code=1)),
        *findings.vulture(Printed(VULTURE, exit_code=3)),
    ]
    assert [(f["tool"], f["path"], f["line"], f["code"], f["severity"]) for f in made] == [
        ("ruff", "/tree/bad.py", 1, "F401", "error"),
        ("ruff", "/tree/b.py", 3, "", "error"),
        ("mypy", "/tree/bad.py", 12, "operator", "error"),
        ("bandit", "/tree/syn.py", 1, "unread", "error"),
        ("bandit", "/tree/bad.py", 7, "B602", "high"),
        ("vulture", "/tree/bad.py", 1, "unused", "warning"),
    ]


def test_a_clean_tree_gives_no_findings() -> None:
    assert findings.ruff(Printed(b"[]")) == []
    assert findings.mypy(Printed(b"")) == []
    assert findings.bandit(Printed(b'{"errors": [], "results": []}')) == []
    assert findings.vulture(Printed(b"")) == []


def test_relative_paths_become_absolute_so_that_findings_meet() -> None:
    assert findings.vulture(Printed(b"a.py:2: unused\n", exit_code=3))[0]["path"] == str(Path.cwd() / "a.py")


def test_a_file_that_vulture_cannot_parse_is_a_finding() -> None:
    [found] = findings.vulture(Printed(stderr=b'/tree/syn.py:1: invalid syntax at "def broken(:"\n', exit_code=1))
    assert (found["path"], found["line"]) == ("/tree/syn.py", 1)


@pytest.mark.parametrize("parser", ["ruff", "mypy", "bandit", "vulture"])
@pytest.mark.parametrize("garbage", [b"Traceback (most recent call last)", b"{", b"\xff\xfe\x00", b"null", b'{"a": 1}'])
def test_garbage_of_a_crashed_analyser_is_refused(parser: str, garbage: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        getattr(findings, parser)(Printed(garbage, exit_code=2))


def test_mypy_giving_up_for_more_than_a_file_that_cannot_be_parsed_is_a_failure() -> None:
    gave_up = b'{"file": "a.py", "line": -1, "message": "Source file found twice", "code": null, "severity": "error"}'
    with pytest.raises(ValueError, match="found twice"):
        findings.mypy(Printed(gave_up, exit_code=2))
    syntax = b'{"file": "a.py", "line": 1, "message": "Expected an expression", "code": "syntax", "severity": "error"}'
    assert len(findings.mypy(Printed(syntax, exit_code=2))) == 1


def test_places_that_more_analysers_flag_come_first_then_by_file_and_line() -> None:
    def made(tool: str, path: str, line: int) -> dict[str, Any]:
        return {"tool": tool, "path": path, "line": line, "code": "", "message": "", "severity": "error"}

    places = findings.merge(
        [
            [made("ruff", "/b.py", 2), made("ruff", "/b.py", 2), made("ruff", "/a.py", 9), made("ruff", "/a.py", 1)],
            [made("mypy", "/b.py", 1), made("mypy", "/a.py", 9)],
            [],
        ]
    )
    assert [(p.path, p.line, p.tools, len(p.findings)) for p in places] == [
        ("/a.py", 9, ("mypy", "ruff"), 2),
        ("/a.py", 1, ("ruff",), 1),
        ("/b.py", 1, ("mypy",), 1),
        ("/b.py", 2, ("ruff",), 2),
    ]


def test_places_flagged_for_the_same_reasons_stand_together_and_the_order_stays() -> None:
    def made(tool: str, line: int, code: str) -> dict[str, Any]:
        return {"tool": tool, "path": "/a.py", "line": line, "code": code, "message": "", "severity": "error"}

    places = findings.merge(
        [
            [made("ruff", 3, "S101"), made("ruff", 1, "F401"), made("ruff", 9, "S101"), made("ruff", 5, "F401")],
            [made("bandit", 3, "B101"), made("bandit", 9, "B101")],
        ]
    )
    assert [[place.line for place in kind] for kind in findings.alike(places)] == [[3, 9], [1, 5]]


def _demo(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE / "demo.py"), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def test_the_demo_reviews_a_tree_and_merges_what_the_analysers_say(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import os, subprocess\n\n\ndef f(x, y=[]):\n    subprocess.call('ls ' + x, shell=True)\n    return 1 + 'a'\n"
    )
    done = _demo(str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "review/ruff started" in done.stdout
    assert "flagged by more than one analyser" in done.stdout
    for tool in ("ruff", "mypy", "bandit", "vulture"):
        assert f"\n    {tool}" in done.stdout
    first = done.stdout.index("bad.py:")
    assert " + " in done.stdout[first : done.stdout.index("\n", first)]
    assert "one after another" in done.stdout


def test_the_demo_reports_a_clean_tree_as_clean(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text('"""Nothing to find."""\n')
    done = _demo(str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "clean: nothing found" in done.stdout


def test_the_demo_refuses_a_path_that_is_not_there_before_anything_starts(tmp_path: Path) -> None:
    done = _demo(str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("motet: there is no file or folder")
    assert done.stderr.count("\n") == 1


def test_an_analyser_that_fails_is_shown_as_failed_and_the_others_are_merged(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import os\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    broken = tools / "mypy"
    broken.write_text("#!/bin/sh\necho 'INTERNAL ERROR' >&2\nexit 2\n")
    broken.chmod(0o755)
    done = _demo(str(tmp_path / "bad.py"), env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"})
    assert done.returncode == 0, done.stderr
    assert "review/mypy FAILED" in done.stdout
    assert "INTERNAL ERROR" in done.stdout
    assert "unused import" in done.stdout


def test_an_interrupted_demo_stops_the_analysers_and_its_server(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import os\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    slow = tools / "mypy"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    slow.chmod(0o755)
    demo = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "demo.py"), str(tmp_path / "bad.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if "review/mypy started" in line:
            break
    while not (tmp_path / "pid").exists():
        assert demo.poll() is None
        time.sleep(0.01)
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=60)
    assert demo.returncode == 130, out + err
    assert "review/mypy: STOPPED" in err
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
