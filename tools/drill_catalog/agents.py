"""The members of the fault drill. They leave marks: a line when a call starts and one when it ends, on the disk before
anything else happens. Known to the drill by those lines only."""

import json
import os
import random
import time
from pathlib import Path

import trio

from motet import AgentError, Call

MARKS = Path(__file__).with_name("marks.jsonl")
SLOWEST = float(os.environ.get("DRILL_SLOWEST", "0.25"))
"""Seconds that a call takes at most."""


def mark(what: str, call: Call) -> None:
    line = json.dumps({"what": what, "seat": call.idempotency_key, "attempt": call.attempt, "at": time.monotonic_ns()})
    file = os.open(MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)


async def work(call: Call) -> str:
    mark("start", call)
    await trio.sleep(random.uniform(0.01, SLOWEST))  # noqa: S311 - how long a call takes is no secret
    mark("end", call)
    return f"{call.member} did it"


async def tries(call: Call) -> str:
    mark("start", call)
    await trio.sleep(random.uniform(0.01, SLOWEST))  # noqa: S311 - as above
    if random.random() < 0.4:  # noqa: S311 - as above
        raise AgentError("not this time", reason="BUSY", retryable=True)
    mark("end", call)
    return "done at last"
