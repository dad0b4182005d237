"""`motet bench` against a server: what it counts and how it ends. How quick anything is, no test says."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from cli_process import Motet, Spawn

from motet_server.cli.bench import shown
from motet_server.cli.load import Measured


def test_it_counts_runs_and_prints_figures(motet: Motet, server: str) -> None:
    done = motet("bench", "two", "hello", "--server", server, "--clients", 3, "--seconds", 0.5)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "3 clients for 0.5 s; Ctrl-C ends it early\n"
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[:4])
    assert set(lines) == {"runs", "throughput", "latency", "errors"}
    assert int(lines["runs"].split()[0].replace(",", "")) >= 3
    assert [part.split()[0] for part in lines["latency"].split(", ")] == ["p50", "p90", "p99", "max"]
    assert lines["errors"] == "none"


def test_json_has_every_figure(motet: Motet, server: str) -> None:
    words = ("--server", server, "--clients", 2, "--seconds", 1, "--rate", 20, "--var", "a=1", "--json")
    done = motet("bench", "two", "{}", "--json-input", *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {name: told[name] for name in ("group", "server", "clients", "rate")} == {
        "group": "two",
        "server": server,
        "clients": 2,
        "rate": 20.0,
    }
    assert (told["runs"], told["succeeded"], told["unfinished"], told["unsent"]) == (20, 20, 0, 0)
    assert told["elapsed"] == pytest.approx(1)
    assert told["throughput"] <= 20
    latency = [told["latency"][name] for name in ("p50", "p90", "p99", "max")]
    assert latency == sorted(latency)
    assert (told["errors"], told["cpu"] > 0) == ({}, True)


def test_runs_without_an_answer_are_errors_by_reason(motet: Motet, server: str) -> None:
    done = motet("bench", "bad", "--server", server, "--clients", 1, "--seconds", 1, "--rate", 5, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"] == {"NO_SUCCESSFUL_RESULTS": 5}
    late = motet(
        "bench", "slow", "--server", server, "--clients", 1, "--seconds", 0.5, "--rate", 2, "--timeout", "0", "--json"
    )
    assert (late.returncode, sum(json.loads(late.stdout)["errors"].values())) == (1, 1)


def test_an_interrupt_ends_it_with_what_was_measured(spawn: Spawn, server: str) -> None:
    process = spawn("bench", "slow", "--server", server, "--clients", 2, "--seconds", 600, "--json")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("2 clients for 600 s")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    told = json.loads(out)
    assert (told["runs"], told["unfinished"]) == (0, 2)
    assert told["elapsed"] < 600


def test_what_is_wrong_is_told_before_any_load(motet: Motet, server: str, catalog: Path) -> None:
    unknown = motet("bench", "nope", "--server", server)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "'nope'" in unknown.stderr
    for words in (["--clients", "0"], ["--seconds", "0"], ["--rate", "0"], ["--timeout", "soon"], ["--var", "a"]):
        wrong = motet("bench", "two", "--server", server, *words)
        assert (wrong.returncode, words[0] in wrong.stderr) == (2, True)
    assert motet("bench", "two", "--server", "127.0.0.1:1").returncode == 4


def measured(**changed: Any) -> Measured:
    plain: dict[str, Any] = {"elapsed": 10.0, "calls": 2000, "succeeded": 1990, "throughput": 199.04, "errors": {}}
    latency = {"p50": 0.01, "p90": 0.02, "p99": 0.0999, "max": 1.5}
    return Measured(**{**plain, **latency, "unfinished": 0, "unsent": 0, **changed})


def test_the_figures_read_as_lines() -> None:
    assert shown(measured(errors={"BUSY": 1200, "A\x1b": 1}), 0.2).splitlines() == [
        "runs        2,000 in 10.0 s",
        "throughput  199 a second",
        "latency     p50 10.00 ms, p90 20.00 ms, p99 99.90 ms, max 1.500 s",
        "errors      1,200 BUSY, 1 A\\x1b",
    ]


def test_what_was_left_out_and_what_bounds_the_figures_is_said() -> None:
    text = shown(measured(p50=None, p90=None, p99=None, max=None, unfinished=1, unsent=2), 0.93)
    assert text.splitlines()[2:] == [
        "latency     no answer",
        "errors      none",
        "unfinished  1 run cancelled at the end",
        "unsent      2 runs not begun, since too many were under way",
        "this program used 93% of a core: it may be what bounds these figures",
    ]
