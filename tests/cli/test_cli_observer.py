"""Observers that `motet serve` is given hear every event, in each of its processes."""

import signal
from pathlib import Path

import pytest
from cli_process import Motet, Spawn

OBSERVER = """
def hear(run_id, event):
    with open("heard.txt", "a") as heard:
        heard.write(f"{run_id} {type(event.detail).__name__}\\n")

nothing = 7
"""


@pytest.mark.parametrize("words", [(), ("--workers", 2, "--store", "runs.db")], ids=["alone", "workers"])
def test_an_observer_hears_the_events_of_every_run(
    motet: Motet, spawn: Spawn, catalog: Path, tmp_path: Path, words: tuple[object, ...]
) -> None:
    (tmp_path / "tracing.py").write_text(OBSERVER)
    process = spawn("serve", catalog, "--address", "127.0.0.1:0", "--observer", "tracing.py:hear", *words)
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    assert motet("run", "two", "hello", "--server", address).returncode == 0
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    heard = [line.split() for line in (tmp_path / "heard.txt").read_text().splitlines()]
    assert [kind for _, kind in heard][:: len(heard) - 1] == ["RunStarted", "RunEnded"]
    assert len({run_id for run_id, _ in heard}) == 1


@pytest.mark.parametrize(
    ("word", "said"),
    [("tracing", "not an import string"), ("none.py:hear", "no file"), ("tracing.py:nothing", "names a int")],
)
def test_what_is_no_observer_is_refused_before_anything_starts(
    motet: Motet, catalog: Path, tmp_path: Path, word: str, said: str
) -> None:
    (tmp_path / "tracing.py").write_text(OBSERVER)
    done = motet("serve", catalog, "--address", "127.0.0.1:0", "--observer", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: --observer: ")
    assert said in done.stderr
