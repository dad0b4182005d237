"""The program against a server of its own: runs over gRPC, background runs, drain."""

import json
import signal
from pathlib import Path

from cli_process import Motet, Spawn, read_until, wait_for


def test_a_run_on_a_server_is_shown_as_one_in_this_process(motet: Motet, server: str) -> None:
    done = motet("run", "two", "hello", "--server", server, "--var", "a=1", "--timeout", "30s")
    assert (done.returncode, done.stderr) == (0, "")
    assert "two/second SUCCEEDED" in done.stdout
    assert '{"combined_results":["hello a=1","hello a=1"],"result_count":2}' in done.stdout


def test_errors_of_the_server_are_sentences_with_exit_codes(motet: Motet, server: str) -> None:
    unknown = motet("run", "nope", "--server", server)
    assert (unknown.returncode, "'nope'" in unknown.stderr) == (2, True)
    assert motet("run", "bad", "--server", server).returncode == 1
    assert motet("run", "two", "--server", server, "--timeout", "0").returncode == 3
    assert motet("watch", "nope", "--server", server).returncode == 2
    assert motet("cancel", "nope", "--server", server).returncode == 2


def test_an_interrupted_run_on_a_server_brings_its_receipts(spawn: Spawn, server: str) -> None:
    process = spawn("run", "slow", "--server", server)
    read_until(process, "slow/echo SUCCEEDED")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert "slow/slow: STOPPED in " in err
    assert "slow/sleeper: STOPPED in " in err


def test_a_killed_program_takes_its_run_on_the_server_with_it(spawn: Spawn, motet: Motet, server: str) -> None:
    process = spawn("run", "slow", "--server", server)
    read_until(process, "slow/echo SUCCEEDED")
    process.kill()
    process.communicate()
    listed = motet("runs", "--server", server, "--json").stdout
    run_id = json.loads(listed)["run_id"]
    assert motet("watch", run_id, "--server", server).returncode == 1
    assert json.loads(motet("runs", "--server", server, "--json").stdout)["state"] == "CANCELLED"


def test_a_background_run_is_listed_watched_from_a_cursor_and_cancelled(
    spawn: Spawn, motet: Motet, server: str
) -> None:
    run_id = motet("run", "slow", "--server", server, "--detach", "--label", "k=v").stdout.strip()
    listed = motet("runs", "--server", server, "--state", "running", "--label", "k=v", "--json").stdout
    assert json.loads(listed)["run_id"] == run_id
    assert motet("runs", "--server", server, "--label", "k=other").stdout == "no runs\n"
    watcher = spawn("watch", run_id, "--server", server)
    read_until(watcher, "slow/echo SUCCEEDED")
    cancelled = motet("cancel", run_id, "--server", server)
    assert cancelled.returncode == 0
    assert "slow/sleeper: STOPPED in " in cancelled.stdout
    out, _ = watcher.communicate(timeout=30)
    assert watcher.returncode == 1
    assert "run CANCELLED" in out
    again = motet("watch", run_id, "--server", server, "--after", "4", "--json").stdout.splitlines()
    assert json.loads(again[0])["event"]["sequence"] == 5
    assert json.loads(again[-1])["result"]["state"] == "CANCELLED"


def test_an_interrupted_watch_leaves_the_run_alone(spawn: Spawn, motet: Motet, server: str) -> None:
    run_id = motet("run", "slow", "--server", server, "--detach").stdout.strip()
    watcher = spawn("watch", run_id, "--server", server)
    read_until(watcher, "slow/echo SUCCEEDED")
    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=30)
    assert watcher.returncode == 130
    assert f"motet cancel {run_id}" in err
    assert json.loads(motet("runs", "--server", server, "--json").stdout)["state"] == "RUNNING"


def test_agents_and_groups_of_a_server_are_listed(motet: Motet, server: str) -> None:
    assert "function" in motet("agents", "--server", server).stdout
    assert "echo, second" in motet("groups", "--server", server).stdout


def test_a_draining_server_lets_running_work_end_and_refuses_new_work(
    spawn: Spawn, motet: Motet, catalog: Path, tmp_path: Path
) -> None:
    process = spawn("serve", catalog, "--address", "127.0.0.1:0", "--port-file", tmp_path / "port")
    address = wait_for(tmp_path / "port")
    run_id = motet("run", "slow", "--server", address, "--detach").stdout.strip()
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert "draining" in process.stderr.readline()
    refused = motet("run", "two", "--server", address)
    assert (refused.returncode, "draining" in refused.stderr) == (4, True)
    assert motet("cancel", run_id, "--server", address).returncode == 0
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_second_signal_cuts_the_grace_of_a_drain_short(spawn: Spawn, motet: Motet, catalog: Path) -> None:
    process = spawn("serve", catalog, "--address", "127.0.0.1:0", "--grace", "10m")
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    motet("run", "slow", "--server", address, "--detach")
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert "draining" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


def test_an_address_that_is_taken_is_refused_in_a_sentence(motet: Motet, catalog: Path, server: str) -> None:
    done = motet("serve", catalog, "--address", server)
    assert done.returncode == 4
    assert done.stderr.startswith("motet: ")
    assert "Traceback" not in done.stderr
