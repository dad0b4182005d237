"""The catalog that the tests of the program use, and ways to wait for a process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

AGENTS = """
import os

import trio

async def echo(call):
    return call.text + "".join(f" {name}={value}" for name, value in sorted(call.variables.items()))

async def bad(call):
    raise ValueError("no [red]way[/red] \\x1b[31m")

async def slow(call):
    call.report("half way")
    await trio.sleep(60)

async def pid(call):
    return os.getpid()

async def depth(call):
    return call.depth
"""
CATALOG = """
[agents.echo]
kind = "function"
function = "agents.py:echo"
[agents.bad]
kind = "function"
function = "agents.py:bad"
[agents.slow]
kind = "function"
function = "agents.py:slow"
[agents.depth]
kind = "function"
function = "agents.py:depth"
[agents.pid]
kind = "function"
function = "agents.py:pid"
[agents.sleeper]
kind = "command"
argv = ["sleep", "60"]
input = "none"
[agents.stubborn]
kind = "command"
argv = ["sh", "-c", "trap '' TERM; echo $$ > $PID_FILE; while :; do sleep 0.1; done"]
input = "none"
env = { PID_FILE = "@PID_FILE@" }

[groups.two]
description = "Two echoes"
members = ["echo", { agent = "echo", name = "second" }]
[groups.mixed]
members = ["echo", "bad"]
[groups.bad]
members = ["bad"]
[groups.slow]
members = ["slow", "sleeper", "echo"]
[groups.stubborn]
members = ["stubborn"]
[groups.depth]
members = ["depth"]
[groups.pid]
members = ["pid"]
[groups.many]
members = [{ agent = "echo", replicas = 3000 }]
max_parallel = 50
"""

GUARDED_AGENTS = """
import trio

from motet.errors import AgentError

made = 0

async def echo(call):
    return call.text

async def flaky(call):
    global made
    made += 1
    if made < 3:
        raise AgentError("not now", reason="BUSY", retryable=True)
    return "at last"

async def slow(call):
    call.report("half way")
    await trio.sleep(60)
"""
GUARDED = """
[limits]
max_calls = 1000
[providers.lab]
max_parallel = 3
rate = { calls_per_minute = 600, burst = 5 }
[tenants.acme]
max_runs = 2
per_day = { calls = 100, cost = 0.5 }

[agents.echo]
kind = "function"
function = "guarded.py:echo"
provider = "lab"
estimated_cost = 0.01
estimated_tokens = 1200
[agents.flaky]
kind = "function"
function = "guarded.py:flaky"
rate = { calls_per_second = 20, tokens_per_minute = 90_000 }
breaker = { failures = 9, cooldown = "1m" }
weight = 2
replay_safe = false
[agents.slow]
kind = "function"
function = "guarded.py:slow"
replay_safe = true

[groups.retry]
members = ["flaky", "echo"]
retry = { max_attempts = 3, initial_backoff = "1ms" }
[groups.cached]
members = ["echo"]
idempotency = true
[groups.slow]
members = ["slow"]
hedge = { delay = "1h" }
limits = { max_cost = 0.5, max_failure_rate = 0.2, min_successes = 1 }
[groups.many]
members = [{ agent = "echo", replicas = 10 }]
max_parallel = 1
"""

Motet = Callable[..., "subprocess.CompletedProcess[str]"]
Spawn = Callable[..., "subprocess.Popen[str]"]


def read_until(process: "subprocess.Popen[str]", words: str) -> None:
    """Read standard output up to the line that has the words."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"{words!r} never came")


def wait_for(path: Path) -> str:
    """The content of a file, once somebody has written it."""
    end = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.01)
    return path.read_text().strip()
