"""`motet serve --store`: runs that survive their server, and what is wrong with the words for it."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli_process import Motet, Spawn, read_until, wait_for

from motet.store import MemoryStore, SqliteStore
from motet_server.cli import storing
from motet_server.cli.exits import UsageError
from motet_server.cli.storing import StoreOptions

if TYPE_CHECKING:
    import subprocess


async def test_without_a_file_the_store_is_in_memory() -> None:
    store = await storing.open_store(StoreOptions(retain_runs="5", retain_age="none"))
    assert isinstance(store, MemoryStore)
    assert not store.shared


async def test_with_a_file_the_store_is_kept_in_it(tmp_path: Path) -> None:
    options = StoreOptions(store=str(tmp_path / "runs.db"), durability="normal", retain_runs="5", retain_age="1h")
    store = await storing.open_store(options)
    assert isinstance(store, SqliteStore)
    await store.aclose()
    assert (tmp_path / "runs.db").exists()


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (StoreOptions(durability="normal"), "--durability needs --store"),
        (StoreOptions(retain_runs="0"), "--retain-runs: "),
        (StoreOptions(retain_runs="x"), "--retain-runs: "),
        (StoreOptions(retain_age="0"), "--retain-age: "),
        (StoreOptions(retain_age="soon"), "--retain-age: "),
        (StoreOptions(store=""), "--store: "),
        (StoreOptions(store="/nowhere/at/all/runs.db"), "--store: there is no folder"),
        (StoreOptions(store="\0"), "--store: "),
    ],
)
async def test_wrong_words_are_refused_with_the_name_of_the_option(options: StoreOptions, option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option}"):
        await storing.open_store(options)


def test_a_store_that_cannot_be_used_is_a_sentence(motet: Motet, guarded: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database")
    for words in (["--store", "notes.txt"], ["--store", "runs.db", "--durability", "never"]):
        done = motet("serve", guarded, "--address", "127.0.0.1:0", *words)
        assert done.returncode == 2
        assert done.stderr.startswith("motet: ")
        assert words[-2] in done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "not a database"


def test_a_catalog_with_mistakes_leaves_no_store_behind(motet: Motet, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[agents.a]\n")
    assert motet("serve", "wrong.toml", "--store", "runs.db", "--address", "127.0.0.1:0").returncode == 2
    assert not (tmp_path / "runs.db").exists()


def test_a_run_goes_on_when_its_server_was_killed_and_another_opens_the_store(
    spawn: Spawn, motet: Motet, guarded: Path, tmp_path: Path
) -> None:
    def serve(port: str) -> "tuple[subprocess.Popen[str], str, str]":
        process = spawn(
            "serve", guarded, "--address", "127.0.0.1:0", "--grace", "0s", "--store", "runs.db",
            "--port-file", tmp_path / port,
        )  # fmt: skip
        assert process.stderr is not None
        return process, process.stderr.readline(), wait_for(tmp_path / port)

    first, said, address = serve("first")
    assert said == "store runs.db: no run to continue\n"
    run_id = motet("run", "slow", "--server", address, "--tenant", "acme", "--detach").stdout.strip()
    watcher = spawn("watch", run_id, "--server", address)
    read_until(watcher, "slow/slow reports: half way")
    first.kill()
    first.communicate()
    watcher.kill()

    second, said, address = serve("second")
    assert said == "store runs.db: 1 run continued\n"
    watcher = spawn("watch", run_id, "--server", address)
    read_until(watcher, "attempt 2 starts; the one before ended with its process")
    cancelled = motet("cancel", run_id, "--server", address)
    assert cancelled.returncode == 0, cancelled.stderr
    assert "slow/slow: STOPPED in " in cancelled.stdout
    out, _ = watcher.communicate(timeout=30)
    assert "run CANCELLED" in out
    assert "2 (resumed)" in out
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=30)
    assert second.returncode == 0

    _, said, address = serve("third")
    assert said == "store runs.db: no run to continue\n"
    assert "acme" in motet("runs", "--server", address).stdout
