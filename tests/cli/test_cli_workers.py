"""`motet serve --workers`: processes on one port, which are replaced, drained and ended together."""

import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from cli_process import Motet, Spawn

from motet_client import MotetClientError, State
from motet_client.trio import Client

PATIENCE = 60.0
"""Seconds; for what takes one or two on a quiet machine."""
OWN = {"grpc.use_local_subchannel_pool": 1}
"""A connection of its own, which the kernel deals out to one of the workers."""


@dataclass
class Served:
    """A server of two workers."""

    process: "subprocess.Popen[str]"
    address: str

    def ask(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, what it printed after the first line, what it said."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


Serve = Callable[..., Served]


@pytest.fixture
def serve(spawn: Spawn, catalog: Path) -> Iterator[Serve]:
    made: list[Served] = []

    def start(*words: object) -> Served:
        process = spawn("serve", catalog, "--address", "127.0.0.1:0", "--workers", 2, "--store", "runs.db", *words)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving on 127.0.0.1:"), process.communicate(timeout=PATIENCE)[1]
        made.append(served := Served(process, line.split()[-1]))
        return served

    yield start
    for served in made:
        workers = children(served.process.pid)
        served.process.kill()
        for worker in workers:
            wait_gone(worker)


def slow_run(spawn: Spawn, served: Served) -> "subprocess.Popen[str]":
    """A run of a minute, which has begun."""
    caller: subprocess.Popen[str] = spawn("run", "slow", "--server", served.address, "--json")
    assert caller.stdout is not None
    assert any("half way" in line for line in caller.stdout)
    return caller


def children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    return [int(word) for word in listed.stdout.split()]


def gone(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "\nState:\tZ" in (Path("/proc") / str(pid) / "status").read_text()
    return True


def wait_gone(pid: int) -> None:
    end = time.monotonic() + PATIENCE
    while not gone(pid):
        assert time.monotonic() < end, f"process {pid} still runs"
        time.sleep(0.02)


@asynccontextmanager
async def worker_of(served: Served, *, but: int = 0) -> AsyncIterator[tuple[Client, int]]:
    """A connection to a worker other than this one, and its process id."""
    with trio.fail_after(PATIENCE):
        while True:
            async with Client(served.address, options=OWN) as client:
                try:
                    result = await client.run("pid")
                    pid = int(result.groups[0].outcomes[0].output.content)
                except MotetClientError:  # the one that is being replaced
                    pid = but
                if pid != but:
                    yield client, pid
                    return
            await trio.sleep(0.02)


async def test_two_processes_answer_on_one_port_and_one_that_is_killed_is_replaced(serve: Serve) -> None:
    served = serve()
    async with worker_of(served) as (_, one), worker_of(served, but=one) as (_, other):
        assert {one, other} == set(children(served.process.pid))
    os.kill(one, signal.SIGKILL)
    wait_gone(one)
    async with worker_of(served, but=other) as (_, third):
        assert third != one
    served.ask(signal.SIGTERM)
    code, out, err = served.end()
    assert (code, out) == (0, "")
    said = err.splitlines()
    assert said[0] == "store runs.db: no run to continue"
    assert re.fullmatch(r"worker [12] was ended by SIGKILL; another takes its place in 0.5 s", said[1])
    assert re.fullmatch(r"worker [12] is ready", said[2])
    assert said[3:] == ["SIGTERM: draining for up to 30 s; once more to stop at once"]


async def test_a_background_run_is_known_to_all_and_goes_on_in_another_when_its_worker_is_killed(serve: Serve) -> None:
    served = serve()
    async with worker_of(served) as (one, pid), worker_of(served, but=pid) as (other, _):
        started = await one.start("slow", "hello", request_id="mine")
        repeated = await other.start("slow", "hello", request_id="mine")
        assert (repeated.run_id, repeated.existing) == (started.run_id, True)
        attempts: list[str] = []
        with trio.fail_after(PATIENCE):
            async with other.watch(started.run_id) as stream:
                async for event in stream:
                    kind = type(event.detail).__name__
                    if kind == "MemberProgress" and not attempts:
                        os.kill(pid, signal.SIGKILL)
                    if kind in {"MemberProgress", "AttemptStarted"}:
                        attempts.append(kind)
                    if attempts.count("MemberProgress") == 2:
                        break
            assert "AttemptStarted" in attempts
            cancelled = await other.cancel(started.run_id)
        assert cancelled.state is State.CANCELLED


async def test_a_worker_that_is_asked_to_end_drains_and_is_replaced(serve: Serve) -> None:
    served = serve()
    before = set(children(served.process.pid))
    asked = min(before)
    os.kill(asked, signal.SIGTERM)
    wait_gone(asked)
    async with worker_of(served, but=max(before)) as (_, pid):
        assert pid not in before
    served.ask(signal.SIGTERM)
    code, _, err = served.end()
    assert code == 0
    assert "ended with 0; another takes its place" in err


def test_a_signal_drains_all_and_a_second_one_stops_them(serve: Serve, spawn: Spawn) -> None:
    served = serve("--grace", "10m")
    caller = slow_run(spawn, served)
    workers = children(served.process.pid)
    served.ask(signal.SIGTERM)
    assert served.process.stderr is not None
    assert any("draining for up to 600 s" in line for line in served.process.stderr)
    assert caller.poll() is None
    served.ask(signal.SIGINT)
    assert served.end() == (130, "", "")
    out, _ = caller.communicate(timeout=PATIENCE)
    assert '"kind": "STOPPED"' in out
    assert all(map(gone, workers))


def test_the_third_signal_leaves_at_once(serve: Serve, spawn: Spawn, tmp_path: Path) -> None:
    served = serve()
    spawn("run", "stubborn", "--server", served.address)
    end = time.monotonic() + PATIENCE
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    served.ask(signal.SIGTERM)
    assert served.process.stderr is not None
    assert any("draining" in line for line in served.process.stderr)
    workers = children(served.process.pid)
    served.ask(signal.SIGHUP)
    served.ask(signal.SIGINT)
    code, _, err = served.end()
    assert code in {129, 130}, err  # the two may be taken in either order
    for worker in workers:
        wait_gone(worker)
    with suppress(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_worker_that_is_killed_amid_a_drain_makes_it_a_failure(serve: Serve, spawn: Spawn) -> None:
    served = serve("--grace", "10m")
    slow_run(spawn, served)
    served.ask(signal.SIGTERM)
    assert served.process.stderr is not None
    assert any("draining" in line for line in served.process.stderr)
    for worker in children(served.process.pid):
        os.kill(worker, signal.SIGKILL)
    code, _, err = served.end()
    assert code == 1
    assert "was ended by SIGKILL before it had drained" in err


def test_the_workers_and_their_members_end_with_a_supervisor_that_is_killed(serve: Serve, spawn: Spawn) -> None:
    served = serve()
    slow_run(spawn, served)
    workers = children(served.process.pid)
    programs = [pid for worker in workers for pid in children(worker)]
    assert len(workers) == 2
    assert programs
    served.ask(signal.SIGKILL)
    for pid in [*workers, *programs]:
        wait_gone(pid)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system keeps no process on a core")
async def test_pinned_workers_stay_on_a_core_each(serve: Serve) -> None:
    served = serve("--pin")
    cores = sorted(os.sched_getaffinity(0))
    async with worker_of(served) as (_, one), worker_of(served, but=one) as (_, other):
        for pid, threads in ((pid, Path(f"/proc/{pid}/task")) for pid in (one, other)):
            kept = {core for thread in threads.iterdir() for core in os.sched_getaffinity(int(thread.name))}
            assert len(kept) == 1, pid
        if len(cores) > 1:
            assert os.sched_getaffinity(one) != os.sched_getaffinity(other)
    assert os.sched_getaffinity(served.process.pid) == set(cores)


def test_workers_need_a_store_and_a_port_of_their_own(motet: Motet, catalog: Path, serve: Serve) -> None:
    without = motet("serve", catalog, "--workers", 2)
    assert (without.returncode, without.stdout) == (2, "")
    assert without.stderr.startswith("motet: --workers above 1 needs --store: ")
    assert motet("serve", catalog, "--workers", 0).returncode == 2
    assert motet("serve", catalog, "--pin").returncode == 2
    served = serve()
    taken = motet("serve", catalog, "--workers", 2, "--store", "other.db", "--address", served.address)
    assert taken.returncode == 4
    assert "is in use by another program" in taken.stderr
    alone = motet("serve", catalog, "--address", served.address)
    assert alone.returncode == 4


def test_what_is_wrong_is_said_once_and_nothing_is_left(motet: Motet, catalog: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[agents.a]\n")
    words = ("--workers", 2, "--store", "runs.db", "--address", "127.0.0.1:0")
    wrong = motet("serve", "wrong.toml", *words)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert len(wrong.stderr.splitlines()) == 1
    assert "wrong.toml" in wrong.stderr
    kept = motet("serve", catalog, *words, "--retain-runs", "0")
    assert kept.returncode == 2
    assert kept.stderr.count("--retain-runs") == 1
    file = motet("serve", catalog, *words, "--port-file", "/nowhere/port")
    assert file.returncode == 2
    assert "--port-file: cannot write" in file.stderr
