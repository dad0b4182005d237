"""`motet limits`: what is in use, as a table, as JSON, once or each second; and runs with limits and tenants."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cli_process import Motet, Spawn, read_until

from motet.model.limit_use import LimitUse
from motet_client import LimitsInUse
from motet_server.cli.limits import row, shown


@pytest.fixture
def bounded(guarded: Path, spawn: Spawn) -> Iterator[str]:
    """The address of a server of the guarded catalog."""
    process = spawn("serve", guarded, "--address", "127.0.0.1:0", "--grace", "0s")
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err


def _use(**given: object) -> LimitUse:
    return LimitUse(**{"guard": "capacity", "scope": "engine", "what": "running", **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("use", "cells"),
    [
        (_use(used=3.0), ("running", "3", "", "", "", "", "")),
        (_use(used=3.0, limit=8.0), ("running", "3", "8", "", "37.5%", "", "")),
        (
            _use(guard="budget", what="cost_nanos", used=2.1e6, reserved=1e9, limit=4e9, state="breached"),
            ("cost", "0.0021 USD", "4.00 USD", "1.00 USD", "25.1%", "", "breached"),
        ),
        (
            _use(guard="budget", what="seconds", used=1.5, limit=3600.0),
            ("seconds", "1.50 s", "1 h 00 min", "", "0%", "", ""),
        ),
        (
            _use(guard="rate", what="calls", used=0.25, limit=1200.0, window=60.0),
            ("calls", "0.25", "1,200", "", "0%", "minute", ""),
        ),
        (
            _use(guard="failure_rate", what="failures", used=1 / 3, limit=0.2),
            ("failures", "33.3%", "20%", "", "", "", ""),
        ),
        (
            _use(guard="breaker", what="failures", used=5.0, limit=5.0, state="open"),
            ("failures", "5", "5", "", "100%", "", "open"),
        ),
        (_use(limit=0.0, window=90.0), ("running", "0", "0", "", "", "1 min 30 s", "")),
    ],
)
def test_amounts_have_the_unit_of_what_they_count(use: LimitUse, cells: tuple[str, ...]) -> None:
    assert row(use)[3:] == cells


def test_the_table_is_sorted_by_scope_and_name_and_says_how_many_wait() -> None:
    uses = (_use(scope="tenant", name="b"), _use(scope="agent", name="z"), _use(scope="agent", name="\x1b[2J"))
    lines = shown(LimitsInUse(uses, 1234), json=False, terminal=False).splitlines()  # type: ignore[arg-type]
    assert [text.split()[:2] for text in lines[1:4]] == [["agent", "\\x1b[2J"], ["agent", "z"], ["tenant", "b"]]
    assert lines[4] == "waiting: 1,234"
    nothing = shown(LimitsInUse((), 0), "acme", json=False, terminal=False)
    assert nothing == "no limit is in use\nwaiting: 0 of all tenants\n"


def test_a_narrow_terminal_goes_without_what_is_dispensable(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = _use(guard="budget", scope="group", name="run_" + 32 * "0" + "/review", what="cost_nanos", used=1e9)
    found = LimitsInUse((replace(spent, limit=4e9, reserved=1e9, state="breached"),), 0)  # type: ignore[arg-type]
    for width, spared in ((80, 0), (72, 1), (65, 2), (55, 3)):
        monkeypatch.setenv("COLUMNS", str(width))
        drawn = shown(found, json=False, terminal=True)
        heads = drawn.splitlines()[0]
        assert [head in heads for head in ("share", "guard", "reserved")] == [at >= spared for at in range(3)]
        assert "4.00 USD" in drawn
        assert "breached" in drawn


def test_what_is_in_use_is_shown_while_a_run_goes(motet: Motet, bounded: str) -> None:
    run_id = motet(
        "run", "slow", "--server", bounded, "--tenant", "acme", "--max-cost", "0.3", "--detach"
    ).stdout.strip()
    done = motet("limits", "--server", bounded)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [text.split() for text in done.stdout.splitlines()]
    assert ["run", run_id, "budget", "cost", "0.00", "USD", "0.30", "USD", "0.30", "USD", "100%"] in lines
    assert ["provider", "lab", "capacity", "running", "0", "3", "0%"] in lines
    assert lines[-1] == ["waiting:", "0"]
    own = motet("limits", "--address", bounded, "--tenant", "acme", "--json").stdout
    uses = json.loads(own)["uses"]
    assert {use["scope"] for use in uses} == {"group", "run", "tenant"}
    assert [use["limit"] for use in uses if use["what"] == "runs"] == [2.0]
    assert json.loads(own)["waiting"] == 0
    assert motet("limits", "--server", bounded, "--tenant", "other").stdout.startswith("no limit is in use")
    listed = json.loads(motet("runs", "--server", bounded, "--json").stdout)
    assert (listed["run_id"], listed["tenant"]) == (run_id, "acme")
    assert "acme" in motet("runs", "--server", bounded).stdout


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_following_in_a_pipe_prints_again_and_again_until_a_signal(
    spawn: Spawn, bounded: str, words: list[str]
) -> None:
    process = spawn("limits", "--server", bounded, "--follow", *words)
    read_until(process, "waiting")
    read_until(process, "waiting")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")


def test_following_on_a_terminal_leaves_the_last_picture_and_the_cursor(bounded: str) -> None:
    main, child = pty.openpty()
    argv = [sys.executable, "-m", "motet_server.cli", "limits", "--server", bounded, "--follow"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(argv, stdout=child, stderr=child, stdin=child, env=environment) as process:
        os.close(child)
        text = io.BytesIO()
        while text.getvalue().count(b"waiting: 0") < 2:
            text.write(os.read(main, 65536))
        process.send_signal(signal.SIGTERM)
        try:
            while more := os.read(main, 65536):
                text.write(more)
        except OSError:  # how Linux tells that the other side has closed
            pass
    os.close(main)
    assert process.returncode == 143
    drawn = text.getvalue()
    assert b"capacity" in drawn
    assert drawn.count(b"\x1b[?25h") >= drawn.count(b"\x1b[?25l") >= 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["limits", "--server", "127.0.0.1:1"], 4, "connect"),
        (["limits", "--follow", "--server", "127.0.0.1:1"], 4, "connect"),
        (["limits", "--tenant", "a/b"], 2, "--tenant: "),
        (["limits", "--bogus"], 2, "--bogus"),
        (["run", "many", "--catalog", "guarded.toml", "--max-cost", "-1"], 2, "--max-cost: "),
        (["run", "many", "--catalog", "guarded.toml", "--max-calls", "x"], 2, "--max-calls: "),
        (["run", "many", "--catalog", "guarded.toml", "--min-successes", "11"], 2, "--min-successes: "),
        (["run", "many", "--catalog", "guarded.toml", "--tenant", "*"], 2, "--tenant: "),
    ],
)
def test_wrong_input_has_its_exit_code_and_sentence(
    motet: Motet, guarded: Path, words: list[str], code: int, said: str
) -> None:
    assert guarded.exists()
    done = motet(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_stops_at_the_bounds_it_is_given(motet: Motet, guarded: Path, bounded: str) -> None:
    for place in (["--catalog", guarded], ["--server", bounded]):
        done = motet("run", "many", "x", *place, "--max-calls", "3")
        assert (done.returncode, done.stderr) == (0, "")
        assert "many SUCCEEDED in " in done.stdout
        assert "BUDGET_EXCEEDED stopped 7 members" in done.stdout
        failed = motet("run", "many", "x", *place, "--max-calls", "3", "--min-successes", "4")
        assert failed.returncode == 1
        assert "TOO_FEW_SUCCESSES" in failed.stdout


def test_a_tenant_that_runs_as_much_as_it_may_is_refused(motet: Motet, bounded: str) -> None:
    for _ in range(2):
        assert motet("run", "slow", "--server", bounded, "--tenant", "acme", "--detach").returncode == 0
    refused = motet("run", "many", "--server", bounded, "--tenant", "acme")
    assert (refused.returncode, "acme" in refused.stderr) == (4, True)
    assert motet("run", "many", "--server", bounded, "--tenant", "other").returncode == 0


def test_retries_and_kept_answers_are_shown(motet: Motet, bounded: str) -> None:
    retried = motet("run", "retry", "x", "--server", bounded).stdout
    assert "retry/flaky attempt 1 FAILED after" in retried
    assert "retry/flaky attempt 3 starts" in retried
    assert "3 (2 retries)" in retried
    motet("run", "cached", "x", "--server", bounded, "--tenant", "acme")
    assert (
        "cached/echo SUCCEEDED (cached)" in motet("run", "cached", "x", "--server", bounded, "--tenant", "acme").stdout
    )


def test_the_guards_of_agents_and_groups_are_listed(motet: Motet, guarded: Path, bounded: str) -> None:
    for place in (["--catalog", guarded], ["--server", bounded]):
        agents = motet("agents", *place).stdout
        assert "20 calls/s, 90,000 tokens/min, weight 2" in agents
        assert "9 failures, 1 min 00 s, 1 probe" in agents
        assert "0.01 USD   1,200" in agents
        groups = motet("groups", *place).stdout
        assert "0.50 USD, failures up to 20%, at least 1 success" in groups
        assert "3 attempts, 1 ms to 10.00 s" in groups
        assert "2 at once after 1 h 00 min" in groups
        assert "by call, 1 h 00 min" in groups
