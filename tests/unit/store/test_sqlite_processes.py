"""A SQLite file with several processes, some of which are killed: nothing acknowledged is lost, no run has two holders."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from motet.ports import Busy, Claimed
from motet.store.sqlite import SqliteStore
from motet.testing.contracts_store import make_events, make_record

HEAD = """
import os, subprocess, sys, time, trio
from motet.store.sqlite import SqliteStore
from motet.testing.contracts_store import make_events, make_record

def say(*words):
    print(*words, flush=True)
"""
WRITE_ON = """
async def write(store, run_id):
    await store.create(make_record(run_id))
    say(run_id, 0)
    for last in range(3, 10**9, 3):
        await store.append(run_id, make_events(last - 2, 3))
        say(run_id, last)

async def main():
    store = await SqliteStore.open(sys.argv[1])
    await store.claim("key", "print")
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(write, store, f"r{number}")

trio.run(main)
"""
ADOPT_ALL = """
async def main():
    store = await SqliteStore.open(sys.argv[1])
    say("open")
    sys.stdin.readline()
    while runs := await store.adopt(3):
        say(*(run.record.run_id for run in runs))
    say("done")
    sys.stdin.readline()

trio.run(main)
"""
OPEN_AND_WRITE = """
async def main():
    say("ready")
    sys.stdin.readline()
    store = await SqliteStore.open(sys.argv[1])
    for number in range(20):
        await store.create(make_record(f"{os.getpid()}-{number}"))
    await store.aclose()
    say("done")

trio.run(main)
"""
HOLD = """
async def main():
    store = await SqliteStore.open(sys.argv[1])
    await store.create(make_record("r"))
    await store.claim("key", "print")
    say("holds")
    await trio.sleep_forever()

trio.run(main)
"""
HOLD_AND_LEAVE_A_CHILD = """
async def main():
    store = await SqliteStore.open(sys.argv[1])
    await store.create(make_record("r"))
    if sys.argv[2] == "program":
        pid = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False).pid
    else:
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
    say(pid)
    await trio.sleep_forever()

trio.run(main)
"""


@contextmanager
def process(code: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """A Python process that is killed at the end, if it still runs then."""
    command = [sys.executable, "-c", HEAD + code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def lines_until(child: "subprocess.Popen[str]", is_last: Callable[[str], bool]) -> list[str]:
    lines = []
    for line in child.stdout:
        lines.append(line.rstrip("\n"))
        if is_last(lines[-1]):
            break
    return lines


def go(child: "subprocess.Popen[str]") -> None:
    child.stdin.write("go\n")
    child.stdin.flush()


def opened(path: Path, use: Callable[[SqliteStore], Any]) -> Any:
    """What `use` gives with the store, opened for it alone."""

    async def main() -> Any:
        store = await SqliteStore.open(path)
        try:
            return await use(store)
        finally:
            await store.aclose()

    return trio.run(main)


@pytest.mark.parametrize("lines", [1, 7, 60, 200])
def test_what_a_killed_process_had_acknowledged_is_there_and_its_runs_are_adopted(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "runs.db"
    with process(WRITE_ON, path) as child:
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    acknowledged: dict[str, int] = {}
    for line in said:
        if line.endswith("\n"):
            run_id, last = line.split()
            acknowledged[run_id] = int(last)
    assert acknowledged

    async def look(store: SqliteStore) -> None:
        adopted = {run.record.run_id: run for run in await store.adopt()}
        assert acknowledged.keys() <= adopted.keys()
        for run_id, run in adopted.items():
            last = run.record.last_sequence
            assert last >= acknowledged.get(run_id, 0)
            assert list(await store.events(run_id, 0, 10**6)) == make_events(1, last), "whole, in order, without gaps"
            assert run.epoch == 2
            await store.append(run_id, make_events(last + 1, 1), run.epoch)
        assert isinstance(await store.claim("key", "print"), Claimed)

    opened(path, look)


def test_of_two_processes_that_adopt_at_once_each_run_goes_to_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    run_ids = [f"r{number}" for number in range(100)]

    async def create(store: SqliteStore) -> None:
        for run_id in run_ids:
            await store.create(make_record(run_id))

    opened(path, create)
    with process(ADOPT_ALL, path) as one, process(ADOPT_ALL, path) as other:
        for child in (one, other):
            assert child.stdout.readline() == "open\n"
        for child in (one, other):
            go(child)
        got = [lines_until(child, lambda line: line == "done") for child in (one, other)]

        async def adopt(store: SqliteStore) -> object:
            return await store.adopt()

        assert list(opened(path, adopt)) == [], "both are open, so all are held"
    adopted = [run_id for lines in got for line in lines[:-1] for run_id in line.split()]
    assert sorted(adopted) == sorted(run_ids)


def test_processes_that_make_a_file_and_write_it_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with (
        process(OPEN_AND_WRITE, path) as one,
        process(OPEN_AND_WRITE, path) as two,
        process(OPEN_AND_WRITE, path) as three,
    ):
        children = (one, two, three)
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            go(child)
        assert [child.stdout.readline() for child in children] == ["done\n"] * 3

    async def adopt(store: SqliteStore) -> object:
        return await store.adopt()

    assert len(opened(path, adopt)) == 60


@pytest.mark.parametrize("kind", ["program", "fork"])
def test_a_child_that_outlives_its_killed_parent_does_not_keep_its_runs(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "runs.db"

    async def adopt(store: SqliteStore) -> list[str]:
        return [run.record.run_id for run in await store.adopt()]

    with process(HOLD_AND_LEAVE_A_CHILD, path, kind) as parent:
        child = int(parent.stdout.readline())
        try:
            assert opened(path, adopt) == []
            parent.kill()
            parent.wait(60)
            os.kill(child, 0)
            assert opened(path, adopt) == ["r"]
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_process_that_is_stopped_keeps_its_runs_and_claims(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def look(store: SqliteStore) -> tuple[int, bool]:
        return len(await store.adopt()), await store.claim("key", "print") == Busy()

    with process(HOLD, path) as child:
        assert child.stdout.readline() == "holds\n"
        child.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert opened(path, look) == (0, True)
        child.kill()
        child.wait(60)
        assert opened(path, look) == (1, False)
