"""One system's side of the comparison: measures what it is asked to, over a pipe. Knows no system and no library, since it
runs in each one's own environment.

A request is a line of JSON, `{"case": ..., "agents": N, "calls": K}`; so is the answer, seconds for each call by the clock
and of CPU, or `{"error": ...}`. The first line says which versions run.
"""

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TextIO

InThread = Callable[[Callable[[], str]], Awaitable[str]]
"""`asyncio.to_thread` or `trio.to_thread.run_sync`: waits for the next request without stopping the loop."""


@dataclass(slots=True)
class Work:
    """What the agents of a case have done."""

    executions: int = 0
    """Agents that ran to their end; each adds one."""
    heard: int = 0
    """Events that a subscriber was given; none where nobody subscribes."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A case with its agents made."""

    call: Callable[[], Awaitable[Any]]
    """Runs all agents once and combines what they say. Only this is measured."""
    combined: Callable[[Any], int]
    """How many agents' answers are in what `call` has returned."""
    hears: bool = False
    """Events are taken by one subscriber."""


Case = Callable[[int, Work], AbstractAsyncContextManager[Ready]]
"""Makes N agents and what runs them; not measured."""


class Silent:
    """A standard output that costs next to nothing, for systems that print while they run."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def pipes() -> tuple[TextIO, TextIO]:
    """Where requests come from and answers go. What the system prints goes nowhere; errors stay visible."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = Silent()
    return sys.stdin, answers


async def serve(cases: Mapping[str, Case], distributions: Sequence[str], in_thread: InThread) -> None:
    """Answer requests until there are no more. One case is ready at a time for each name, all of one width."""
    requests, answers = pipes()
    versions = {name: metadata.version(name) for name in distributions}
    tell(answers, {"python": sys.version.split()[0], "versions": versions, "cases": list(cases)})
    line = await in_thread(requests.readline)
    while line:
        width = json.loads(line)["agents"]
        async with AsyncExitStack() as stack:
            ready: dict[str, tuple[Ready, Work]] = {}
            while line and (request := json.loads(line))["agents"] == width:
                name = request["case"]
                answer: dict[str, Any]
                try:
                    if name not in ready:
                        work = Work()
                        ready[name] = await stack.enter_async_context(cases[name](width, work)), work
                        settle()
                    answer = await measure(*ready[name], width, request["calls"])
                except Exception as error:  # noqa: BLE001 - a system that cannot do it says why, in the results
                    traceback.print_exc()
                    answer = {"error": f"{type(error).__name__}: {error}"}
                tell(answers, answer)
                line = await in_thread(requests.readline)


async def measure(case: Ready, work: Work, width: int, calls: int) -> dict[str, float]:
    """Mean seconds of a call. Raises when an agent did not run, or its answer is not in the result."""
    executions, heard = work.executions, work.heard
    result = None
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        result = await case.call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done, combined = work.executions - executions, case.combined(result)
    if done != width * calls or combined != width:
        raise RuntimeError(
            f"of {width} agents, {combined} answers were combined; {done} executions where {width * calls} were due"
        )
    events = (work.heard - heard) / calls
    if case.hears and events < width:
        raise RuntimeError(f"{events} events were heard for {width} agents")
    return {"wall": wall / calls, "cpu": cpu / calls, "events": events}


def settle() -> None:
    """Take what imports and agents have made out of the collector's sight, so that what a collection costs is what a run
    has made, and not how large a library is. Collecting itself goes on."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def tell(answers: TextIO, what: object) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()
