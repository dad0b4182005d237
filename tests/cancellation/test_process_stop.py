"""What becomes of a function's process, and of those it started: gone when the call is over, however it is over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from motet.agents import _subprocess
from motet.agents import process as process_module
from motet.agents.function import FunctionAgent, agent
from motet.errors import AgentError
from motet.model.payload import Payload
from motet.ports import Call

LONG = 30.0
"""Seconds that no test takes: a bound for what would otherwise hang."""
SLEEPER = ["sleep", "600"]
in_process = agent(isolation="process")


class RecordingHost:
    history: Any = ()

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.began = trio.Event()

    def left(self, what: Any) -> None:
        return None

    def keep(self, resident: Any) -> None:
        raise AssertionError(resident)

    def report(self, call: Call, report: Payload) -> None:
        self.pids += report.value
        self.began.set()

    async def run(self, *_: Any, **__: Any) -> Any:
        raise AssertionError


# -------------------------------------------------------------------------------- functions that the children run


@in_process
def stubborn_parent(call: Call) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = subprocess.Popen(SLEEPER)
    call.report([os.getpid(), grandchild.pid])
    time.sleep(600)


@in_process
def leaves_one_behind(how: str, call: Call) -> str:
    grandchild = subprocess.Popen(SLEEPER)
    call.report([os.getpid(), grandchild.pid])
    if how == "dies":
        os._exit(4)
    if how == "fails":
        raise LookupError(how)
    return how


@in_process
def forks(call: Call) -> None:
    """The fork holds the pipe of the answer."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    call.report([os.getpid(), pid])
    os._exit(5)


@in_process
def forks_out_of_the_group(call: Call) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.write(write, b"x")
        time.sleep(600)
    os.read(read, 1)
    call.report([os.getpid(), pid])
    os._exit(6)


@in_process
async def sleeps(call: Call) -> None:
    call.report([os.getpid()])
    await trio.sleep_forever()


# -------------------------------------------------------------------------------------------------------- tests


def runs(pid: int) -> bool:
    """A zombie that nobody has collected yet does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def reaped(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def collect(pid: int) -> None:
    with suppress(ChildProcessError):  # subprocess collects what it lost when it starts the next
        os.waitpid(pid, 0)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(LONG):
        while not condition():  # noqa: ASYNC110 - other processes set no events
            await trio.sleep(0.005)


async def gone(pids: list[int]) -> None:
    await until(lambda: not any(map(runs, pids)))


def call_of(input: object, host: RecordingHost) -> Call:
    return Call(Payload.of(input), host=host)


async def cancel_when_began(made: FunctionAgent[..., Any], call: Call, host: RecordingHost) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.call, call)
        with trio.fail_after(LONG):
            await host.began.wait()
        assert all(map(runs, host.pids))
        nursery.cancel_scope.cancel()


async def test_a_process_that_ignores_sigterm_and_the_one_it_started_are_both_gone() -> None:
    host = RecordingHost()
    call = call_of("", host)
    await cancel_when_began(stubborn_parent, call, host)
    child, grandchild = host.pids
    assert reaped(child)
    await gone([grandchild])
    assert (call.stop_detail, call.detached) == ("process killed", "")


async def test_an_async_function_in_a_process_is_killed_too() -> None:
    host = RecordingHost()
    call = call_of("", host)
    await cancel_when_began(sleeps, call, host)
    assert reaped(host.pids[0])
    assert call.stop_detail == "process killed"


@pytest.mark.parametrize("how", ["answers", "fails", "dies"])
async def test_what_a_function_leaves_behind_is_killed_when_its_call_ends(how: str) -> None:
    host = RecordingHost()
    if how == "answers":
        assert (await leaves_one_behind.call(call_of(how, host))).output.value == how
    else:
        with pytest.raises(AgentError) as caught:
            await leaves_one_behind.call(call_of(how, host))
        assert caught.value.reason == ("AGENT_FAILED" if how == "fails" else "PROCESS_DIED")
    await gone(host.pids)


async def test_a_fork_that_holds_the_pipe_does_not_hold_up_the_call() -> None:
    host = RecordingHost()
    with trio.fail_after(LONG), pytest.raises(AgentError) as caught:
        await forks.call(call_of("", host))
    assert caught.value.details["exit_code"] == 5
    await gone(host.pids)


async def test_a_fork_that_left_the_group_does_not_hold_up_the_call_either() -> None:
    host = RecordingHost()
    try:
        with trio.fail_after(LONG), pytest.raises(AgentError) as caught:
            await forks_out_of_the_group.call(call_of("", host))
        assert caught.value.details["exit_code"] == 6
    finally:
        for pid in host.pids[1:]:
            os.kill(pid, signal.SIGKILL)


async def test_cancels_at_any_moment_leave_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    spawn = _subprocess.spawn

    async def counting(argv: list[str]) -> Any:
        child = await spawn(argv)
        started.append(child.pid)
        return child

    monkeypatch.setattr(process_module, "spawn", counting)
    for i in range(20):
        call = call_of("", RecordingHost())
        with trio.move_on_after(i * 0.015) as scope:
            await sleeps.call(call)
        assert scope.cancelled_caught
        assert call.detached == ""
        assert all(map(reaped, started))
    assert len(started) >= 15


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # that is the case here,
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # so trio keeps its descriptor
async def test_a_process_that_cannot_be_reaped_in_time_is_named_as_detached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = RecordingHost()
    call = call_of("", host)
    monkeypatch.setattr(process_module, "REAP_BOUND", 0)
    await cancel_when_began(sleeps, call, host)
    assert call.detached == f"process {host.pids[0]} of function 'sleeps'"
    await gone(host.pids)
    collect(host.pids[0])


PARENT = """
import os, time
import subprocess, trio
from motet.agents.function import agent
from motet.ports import Call
from motet.model.payload import Payload

@agent(isolation="process")
def fn(call: Call) -> None:
    grandchild = subprocess.Popen(["sleep", "600"])
    call.report(f"{os.getpid()} {grandchild.pid}")
    time.sleep(600)

class Host:
    def left(self, what):
        return None

    def report(self, call, report):
        print(report.value, flush=True)

if __name__ == "__main__":
    trio.run(fn.call, Call(Payload.of(""), host=Host()))
"""


def killed_once_it_has_told(script: Path) -> list[int]:
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(runs, pids))
        parent.kill()
    return pids


async def test_a_process_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    pids = killed_once_it_has_told(script)
    assert len(pids) == 2
    await gone(pids)
