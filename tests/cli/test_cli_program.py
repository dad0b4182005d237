"""The program as a user runs it, on a catalog in its own process: exit codes, pipes, JSON lines, signals."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import Motet, Spawn, read_until, wait_for


def test_a_run_prints_its_events_the_answer_and_the_outcomes(motet: Motet, catalog: Path) -> None:
    done = motet("run", "two", "hello", "--catalog", catalog, "--var", "a=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "two/second SUCCEEDED" in done.stdout
    assert '{"combined_results":["hello a=1","hello a=1"],"result_count":2}' in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "bad", "--catalog", "catalog.toml"], 1, ""),
        (["run", "mixed", "--catalog", "catalog.toml"], 0, ""),
        (["run", "nope", "--catalog", "catalog.toml"], 2, "nope"),
        (["run", "two", "--catalog", "nope.toml"], 2, "nope.toml"),
        (["run", "two"], 2, "--catalog, --server: "),
        (["run", "two", "--catalog", "catalog.toml", "--server", "x"], 2, "--catalog, --server: "),
        (["run", "two", "--catalog", "catalog.toml", "--detach"], 2, "--detach needs --server"),
        (["run", "two", "--catalog", "catalog.toml", "--bogus"], 2, "--bogus"),
        (["run", "two", "--catalog", "catalog.toml", "--timeout", "-1s"], 2, "--timeout"),
        (["run", "two", "--catalog", "catalog.toml", "--var", "a"], 2, "--var: "),
        (["run", "bad", "--catalog", "catalog.toml", "--timeout", "0"], 3, ""),
        (["run", "two", "--server", "127.0.0.1:1"], 4, "connect"),
        (["bogus"], 2, "bogus"),
        (["version"], 0, ""),
    ],
)
def test_every_end_has_its_exit_code_and_wrong_usage_its_sentence(
    motet: Motet, catalog: Path, words: list[str], code: int, said: str
) -> None:
    assert catalog.exists()
    done = motet(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert all(line.startswith("motet: ") for line in done.stderr.splitlines())


def test_what_a_member_says_cannot_steer_the_terminal(motet: Motet, catalog: Path) -> None:
    done = motet("run", "bad", "--catalog", catalog)
    assert "no [red]way[/red] \\x1b[31m" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_json_lines_are_the_events_and_then_the_result(motet: Motet, catalog: Path) -> None:
    done = motet("run", "two", "-", "--catalog", catalog, "--json", "--label", "k=v", input="from a pipe")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"]["sequence"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert lines[0]["event"]["detail"]["labels"] == {"k": "v"}
    assert lines[-1]["result"]["output"]["json"]["combined_results"] == ["from a pipe", "from a pipe"]


def test_json_input_is_passed_on_as_a_document(motet: Motet, catalog: Path) -> None:
    done = motet("run", "two", '{"a": 1.10}', "--catalog", catalog, "--json-input")
    assert '{\\"a\\": 1.10}' in done.stdout
    wrong = motet("run", "two", "{", "--catalog", catalog, "--json-input")
    assert (wrong.returncode, wrong.stderr.startswith("motet: --json-input: ")) == (2, True)


def test_input_that_begins_with_a_hyphen_follows_two_hyphens(motet: Motet, catalog: Path) -> None:
    assert '["--json","--json"]' in motet("run", "two", "--catalog", catalog, "--", "--json").stdout


def test_the_depth_of_the_surrounding_run_is_counted_on(motet: Motet, catalog: Path) -> None:
    assert '"combined_results":[4]' in motet("run", "depth", "--catalog", catalog, env={"MOTET_DEPTH": "3"}).stdout
    assert motet("run", "depth", "--catalog", catalog, env={"MOTET_DEPTH": "99"}).returncode == 4
    assert motet("run", "depth", "--catalog", catalog, env={"MOTET_DEPTH": "x"}).returncode == 2


def test_a_reader_that_leaves_ends_the_run_quietly(catalog: Path) -> None:
    command = f"'{sys.executable}' -m motet_server.cli run many x --catalog '{catalog}'; echo \"code $?\" >&2"
    done = subprocess.run(
        ["/bin/sh", "-c", f"( {command} ) | head -n 1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == "code 141\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_and_says_what_was_stopped(spawn: Spawn, catalog: Path, number: int) -> None:
    process = spawn("run", "slow", "--catalog", catalog)
    read_until(process, "slow/echo SUCCEEDED")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number, out + err
    assert "stopped 2 members" in err
    assert "slow/slow: STOPPED in " in err
    assert "slow/sleeper: STOPPED in " in err
    assert "STOPPED" in out
    assert "slow/echo" not in err


def test_with_json_a_signal_still_brings_the_result_with_its_receipts(spawn: Spawn, catalog: Path) -> None:
    process = spawn("run", "slow", "--catalog", catalog, "--json")
    read_until(process, "member_progress")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    outcomes = json.loads(out.splitlines()[-1])["result"]["groups"][0]["outcomes"]
    assert [outcome["stop"]["kind"] for outcome in outcomes if outcome["stop"]] == ["STOPPED", "STOPPED"]


def test_a_second_signal_leaves_at_once(spawn: Spawn, catalog: Path, tmp_path: Path) -> None:
    process = spawn("run", "stubborn", "--catalog", catalog)
    pid = int(wait_for(tmp_path / "pid"))
    try:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "once more" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "left before everything had stopped" in err
    finally:
        os.killpg(pid, signal.SIGKILL)


def test_on_a_terminal_the_run_is_drawn_live_and_the_cursor_given_back(catalog: Path) -> None:
    main, child = pty.openpty()
    argv = [sys.executable, "-m", "motet_server.cli", "run", "two", "hello", "--catalog", str(catalog)]
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(argv, stdout=child, stderr=child, stdin=child, env=environment) as process:
        os.close(child)
        shown = b""
        while True:
            try:
                more = os.read(main, 65536)
            except OSError:  # how Linux tells that the other side has closed
                break
            if not more:
                break
            shown += more
    os.close(main)
    assert process.returncode == 0
    assert shown.count(b"\x1b[?25h") >= shown.count(b"\x1b[?25l") >= 1
    end = shown[shown.rindex(b"\x1b[?25h") :].decode()
    assert '"hello"' in end
    assert "SUCCEEDED" in end


def test_check_prints_every_mistake_with_file_table_and_key(motet: Motet, catalog: Path, tmp_path: Path) -> None:
    right = motet("check", catalog)
    assert (right.returncode, right.stdout) == (0, "ok: 7 agents, 8 groups\n")
    (tmp_path / "wrong.toml").write_text(
        '[agents.a]\nkind = "command"\n[agents.b]\nkind = "nope"\n[groups.g]\nmembers = ["missing"]\n'
    )
    wrong = motet("check", "wrong.toml")
    assert wrong.returncode == 2
    lines = wrong.stdout.splitlines()
    assert [line.split("]")[0] for line in lines] == [
        "wrong.toml: [agents.a",
        "wrong.toml: [agents.b",
        "wrong.toml: [groups.g",
    ]
    assert "argv: " in lines[0]


def test_agents_and_groups_are_listed_by_name(motet: Motet, catalog: Path) -> None:
    agents = motet("agents", "--catalog", catalog).stdout.splitlines()
    assert [line.split()[0] for line in agents] == [
        "agent",
        "bad",
        "depth",
        "echo",
        "pid",
        "sleeper",
        "slow",
        "stubborn",
    ]
    groups = [json.loads(line) for line in motet("groups", "--catalog", catalog, "--json").stdout.splitlines()]
    assert [entry["group"]["name"] for entry in groups] == sorted(entry["group"]["name"] for entry in groups)
    assert {entry["description"] for entry in groups} == {"", "Two echoes"}


def test_a_missing_library_is_named_with_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['cyclopts'] = None; from motet_server.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr == "motet: cyclopts is missing; install the program with: pip install 'motet[server]'\n"
