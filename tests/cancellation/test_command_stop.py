"""Stopping a command: its whole group ends, first asked, then forced, and the call says which."""

import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from motet.agents.command import CommandAgent, CommandResult
from motet.model.payload import Payload
from motet.ports import Call, CallHost

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
SAY_PIDS = """
import os, sys, subprocess, time
child = subprocess.Popen([sys.executable, "-c", CHILD])
with open(sys.argv[1] + ".new", "w") as file: file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


def make_call(input: object = "") -> Call:
    return Call(Payload.of(input), host=cast("CallHost", None))


def python(code: str, *arguments: str, **options: Any) -> CommandAgent:
    return CommandAgent("py", [sys.executable, "-c", code.replace("{", "{{").replace("}", "}}"), *arguments], **options)


def has_ended(pid: int, *, collected: bool = False) -> bool:
    """A zombie has ended too, but nobody has collected it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z" and not collected
    except (FileNotFoundError, ProcessLookupError):
        return True


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  files, threads and foreign processes give no event
        await trio.sleep(0.01)


async def pids_in(path: Path) -> list[int]:
    await until(path.exists)
    return [int(pid) for pid in path.read_text().split()]  # noqa: ASYNC240 - a small local file


@asynccontextmanager
async def running(agent: CommandAgent, call: Call) -> AsyncIterator[trio.CancelScope]:
    """The call runs meanwhile; it is cancelled through the scope, and must end within a minute."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.call, call)
            yield nursery.cancel_scope


@pytest.mark.parametrize("stubborn", [False, True])
async def test_the_program_and_its_child_are_gone_when_a_cancelled_call_returns(tmp_path: Path, stubborn: bool) -> None:
    pids: list[int] = []
    hanging = (STUBBORN if stubborn else "") + "import time; time.sleep(1000)"
    code = (STUBBORN if stubborn else "") + SAY_PIDS.replace("CHILD", repr(hanging)) + "time.sleep(1000)"
    agent, call = python(code, str(tmp_path / "pids"), term_grace=0.2), make_call()
    async with running(agent, call) as scope:
        pids = await pids_in(tmp_path / "pids")
        scope.cancel()
    if stubborn:
        assert re.fullmatch(r"killed by SIGKILL after \d+\.\d s", call.stop_detail)
    else:
        assert call.stop_detail == "ended on SIGTERM"
    assert call.detached == ""
    assert has_ended(pids[0], collected=True)
    with trio.fail_after(10):
        await until(lambda: has_ended(pids[1]))


async def test_a_program_may_finish_its_work_when_it_is_asked_to_stop(tmp_path: Path) -> None:
    code = f"""
import signal, sys, time
def stop(*_):
    sys.stderr.write("x" * 1_000_000)  # last words that do not fit in a pipe
    open({str(tmp_path / "saved")!r}, "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open({str(tmp_path / "ready")!r}, "w").close()
time.sleep(1000)
"""
    agent, call = python(code, term_grace=30.0), make_call()
    async with running(agent, call) as scope:
        await until((tmp_path / "ready").exists)
        scope.cancel()
    assert call.stop_detail == "ended on SIGTERM"
    assert (tmp_path / "saved").read_text() == "saved"


async def test_a_second_cancel_during_the_grace_changes_nothing(tmp_path: Path) -> None:
    code = STUBBORN + SAY_PIDS.replace("CHILD", "''") + "time.sleep(1000)"
    agent, call = python(code, str(tmp_path / "pids"), term_grace=0.5), make_call()
    pids: list[int] = []
    with trio.CancelScope() as outer:
        async with running(agent, call) as scope:
            pids = await pids_in(tmp_path / "pids")
            scope.cancel()
            outer.cancel()
            outer.cancel()
    assert call.stop_detail.startswith("killed by SIGKILL")
    assert has_ended(pids[0], collected=True)


async def test_a_deadline_ends_a_program_that_neither_reads_nor_writes(tmp_path: Path) -> None:
    code = SAY_PIDS.replace("CHILD", "''") + "time.sleep(1000)"
    agent, call = python(code, str(tmp_path / "pids")), make_call(b"x" * 5_000_000)
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.call, call)
            await pids_in(tmp_path / "pids")
            scope.deadline = trio.current_time()
    assert scope.cancelled_caught
    assert call.stop_detail == "ended on SIGTERM"


async def test_a_call_cancelled_before_it_starts_starts_nothing(tmp_path: Path) -> None:
    agent = python("import sys; open(sys.argv[1], 'w')", str(tmp_path / "started"))
    call = make_call()
    with trio.CancelScope() as scope:
        scope.cancel()
        await agent.call(call)
    assert scope.cancelled_caught
    assert not (tmp_path / "started").exists()
    assert (call.stop_detail, call.detached) == ("", "")


async def test_a_cancel_while_the_program_is_being_started_loses_no_process(tmp_path: Path) -> None:
    code = "import os, sys, time; open(os.path.join(sys.argv[1], str(os.getpid())), 'w'); time.sleep(1000)"
    agent = python(code, str(tmp_path), term_grace=0.1)
    with trio.fail_after(60):
        for _ in range(8):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(agent.call, make_call())
                await trio.lowlevel.checkpoint()  # the threads that start them are under way
                nursery.cancel_scope.cancel()
        assert all(has_ended(int(pid), collected=True) for pid in os.listdir(tmp_path))  # noqa: PTH208 - names are what is wanted


async def test_a_parse_function_that_runs_on_is_named() -> None:
    entered, release = threading.Event(), threading.Event()

    def parse(_: CommandResult) -> object:
        entered.set()
        release.wait(60)
        return None

    agent, call = python("", parse=parse), make_call()
    try:
        async with running(agent, call) as scope:
            await until(entered.is_set)
            scope.cancel()
        assert call.detached == "parse function of command 'py'"
    finally:
        release.set()
