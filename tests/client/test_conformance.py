"""The scenarios that the client and worker of every language play: their form, the comparison, the table, and all of them
against a real server, in Python always and in other languages where their toolchain and packages are there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

import motet
from motet_proto.v1.run_service_pb2 import RunRequest

HERE = Path(__file__).resolve().parents[2] / "clients" / "conformance"
CASES = {file.stem: json.loads(file.read_text()) for file in sorted((HERE / "cases").glob("*.json"))}
BEHAVIOURS = {"upper", "fail", "slow", "progress", "stubborn"}
OPERATIONS = {
    "run",
    "stream",
    "start_and_watch",
    "watch_resume",
    "map",
    "cancel_run",
    "get_missing",
    "list_agents",
    "worker",
}
KEYS = {
    "name",
    "description",
    "needs",
    "operation",
    "request",
    "inputs",
    "deadline_ms",
    "abort_after",
    "cancel_after",
    "break_after",
    "worker",
    "expect",
}


def load(name: str) -> Any:
    """A module of the folder. It is a folder of programs, so it is in the path only while they are loaded."""
    sys.path.insert(0, str(HERE))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(HERE))


matching = load("matching")
languages = load("languages")
conform = load("conform")


@pytest.mark.parametrize("language", languages.LANGUAGES, ids=lambda language: language.name)
def test_every_scenario_passes(language: Any, tmp_path: Path) -> None:
    if language.missing:
        pytest.skip(f"this machine has no {', '.join(language.missing)}")
    try:
        languages.build(language, installed=True)
    except languages.NoPackages as error:
        pytest.skip(f"the packages of {language.title} are not on this machine: {str(error).splitlines()[0]}")
    load("generated").collect(tmp_path)
    with conform.a_server() as address:
        played = conform.play(language, tmp_path, address, None)
    assert played.reasons == []
    assert set(played.verdicts) >= set(CASES)
    assert all(played.verdicts.values())


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_of_the_form_that_its_page_describes(name: str) -> None:
    case = CASES[name]
    assert set(case) <= KEYS
    assert {"name", "description", "operation", "expect"} <= set(case)
    assert case["name"] == name
    assert case["operation"] in OPERATIONS
    assert ("request" in case) == (case["operation"] not in ("get_missing", "list_agents"))
    assert ("inputs" in case) == (case["operation"] == "map")
    assert ("worker" in case) == (case.get("needs") == ["worker"]) == (case["operation"] == "worker")
    assert case.get("worker", {}).get("behaviour", "upper") in BEHAVIOURS
    assert set(case["expect"]) <= {"result", "response", "events", "answers", "error"}
    assert case["expect"]
    ParseDict(case.get("request", {}), RunRequest())


def test_every_rule_that_may_decide_early_does_so_in_some_case() -> None:
    may = {name for name, kind in motet.Catalog().aggregations.items() if kind.decides_early}
    decided = {name for case in CASES.values() for name in _rules(case) if "decidedEarly" in json.dumps(case["expect"])}
    assert decided >= may


def _rules(case: dict[str, Any]) -> Iterator[str]:
    group = case.get("request", {}).get("plan", {}).get("group", {})
    if "aggregation" in group:
        yield group["aggregation"]["name"]


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"$exists": True}}, {"a": None}),
        ({"a": {"$matches": "^x+$"}}, {"a": "xxx"}),
        ([{"a": 1}, {}], [{"a": 1}, {"b": 1}]),
        ("9007199254740993", "9007199254740993"),
    ],
)
def test_a_subset_matches(expected: Any, found: Any) -> None:
    assert matching.subset(expected, found, "it") is None


@pytest.mark.parametrize(
    ("expected", "found", "why"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "it.a.b: expected 1, found 2"),
        ({"a": 1}, {}, "it.a: expected 1, found nothing"),
        ({"a": {"$exists": True}}, {}, "it.a: expected .*, found nothing"),
        ({"a": {"$matches": "^x$"}}, {"a": "xx"}, r"it.a: expected text with \^x\$"),
        ([1], [1, 2], "it: expected 1 elements"),
        (True, 1, "it: expected True"),
        ({"a": 1}, "text", "it: expected an object"),
    ],
)
def test_what_does_not_match_says_where(expected: Any, found: Any, why: str) -> None:
    with pytest.raises(matching.Mismatch, match=why):
        matching.subset(expected, found, "it")


@pytest.mark.parametrize(
    ("expect", "found", "why"),
    [
        ({}, {"error": {"code": "INTERNAL"}}, "failed: "),
        ({"error": {"code": "NOT_FOUND"}}, {"result": {}}, "the call succeeded"),
        ({"error": {"reason": "A"}}, {"error": {"code": "NOT_FOUND", "reason": "B"}}, "error.reason: expected A"),
        ({"error": {"field": "plan"}}, {"error": {"fields": ["plan.group"]}}, "error.field: expected plan"),
        ({"result": {}}, {}, "result: there is none"),
        (
            {"events": {"kinds": ["runEnded", "runStarted"]}},
            {"events": [{"runStarted": {}}, {"runEnded": {}}]},
            "order",
        ),
        ({"events": {"last": "runEnded"}}, {"events": []}, "events.last: expected runEnded, found no event"),
        ({"events": {"contiguous": True}}, {"events": [{"sequence": "1"}, {"sequence": "3"}]}, "events.contiguous"),
        ({"answers": [{"key": "0"}]}, {"answers": []}, "answers: expected 1"),
        ({"answers": [{"key": "0"}]}, {"answers": [{"key": "1"}]}, "is not among"),
    ],
)
def test_an_expectation_that_is_not_met_is_a_mismatch(expect: Any, found: Any, why: str) -> None:
    events = [{"sequence": str(number), **event} for number, event in enumerate(found.get("events", []), 1)]
    with pytest.raises(matching.Mismatch, match=why):
        matching.check(expect, {**found, "events": events} if events else found)


def a_runner(tmp_path: Path, prints: str, *, code: int = 0) -> Any:
    script = tmp_path / "runner.py"
    script.write_text(f"print({prints!r})\nraise SystemExit({code})\n")
    return replace(languages.LANGUAGES[0], name="fake", folder=tmp_path, runner=(sys.executable, str(script)))


@pytest.mark.parametrize(
    ("prints", "code", "why"),
    [
        ('{"case": "one", "ok": false, "why": "it differs"}', 0, "fake: one: it differs"),
        ('{"case": "one", "ok": "yes"}', 0, "fake: one: it did not say why"),
        ("Traceback", 1, "printed what is no verdict: Traceback"),
        ("", 0, "the runner ended with 0"),
        ('{"case": "one", "ok": true}', 1, "the runner ended with 1"),
    ],
)
def test_a_case_that_fails_or_is_not_played_is_told(prints: str, code: int, why: str, tmp_path: Path) -> None:
    played = conform.play(a_runner(tmp_path, prints, code=code), tmp_path, "127.0.0.1:1", "one")
    assert why in "\n".join(played.reasons)
    assert played.verdicts == {"one": prints.endswith("true}")}


def test_a_runner_that_hangs_is_ended_and_what_it_had_said_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conform, "PLAYING", 2.0)
    script = tmp_path / "hangs.py"
    hanging = replace(a_runner(tmp_path, ""), runner=(sys.executable, str(script)))
    script.write_text('import time\nprint(\'{"case": "one", "ok": true}\', flush=True)\ntime.sleep(600)\n')
    played = conform.play(hanging, tmp_path, "127.0.0.1:1", "one")
    assert "took longer than 2 s and was ended" in played.reasons[0]
    assert played.verdicts == {"one": True}


def test_the_table_has_a_line_for_each_case_and_a_column_for_each_language() -> None:
    played = {"go": conform.Played({"a": True, "bb": False}), "java": conform.Played({"a": True, "bb": True})}
    assert list(conform.table(["a", "bb"], played)) == ["   go java", "a  ok ok", "bb FAIL ok", "   1/2 2/2"]


def test_a_language_whose_toolchain_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = replace(languages.LANGUAGES[0], name="cobol", title="COBOL", programs=("cobc-is-not-here",))
    monkeypatch.setattr(conform, "LANGUAGES", (absent,))
    monkeypatch.setattr(sys, "argv", ["run_all.py"])
    assert conform.main() == 1
    assert "COBOL was not there: this machine has no cobc-is-not-here" in capsys.readouterr().out


def test_the_program_plays_one_case_of_one_language_and_exits_with_0() -> None:
    command = [sys.executable, str(HERE / "run_all.py"), "--language", "python", "--only", "worker_replies"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == ["               python", "worker_replies ok", "               1/1"]
    assert done.returncode == 0
