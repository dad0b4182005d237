"""What the benchmarks share: turns, clocks, medians, ratios, a table, a fresh process and the record of a question. Knows
nothing of Motet.

How a benchmark looks:

    # benches/thing_cost.py, run by `python benches/thing_cost.py` and by `make bench`
    async def main() -> None:
        samples = await interleaved(5, {
            "motet": lambda: cpu_seconds(motet_way, at_least=0.3),   # A B B A A B ...: each call gives one sample
            "bare": lambda: cpu_seconds(bare_way, at_least=0.3),
        })
        record(
            "thing_cost",
            "What does a thing cost beside a bare one?",
            ["things", "us", "ratio", "reach"],
            [["10", micros(median(samples["motet"])), ratio(samples["motet"], samples["bare"]), "<=2.0"]],
            note="CPU time of ...",
        )

`record` prints the table as Markdown and, under `make bench` (run_all.py), hands it on to benches/RESULTS.md. Call it once
for each table; tables of one question share its name. A figure of another process comes from `fresh`. What is asked for in
numbers stands in a column "reach".
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

S = TypeVar("S")

RESULTS_VARIABLE: Final = "MOTET_BENCH_RESULTS"
"""Names the file that takes each recorded table as a line of JSON; unset, tables are only printed."""


async def interleaved(
    rounds: int, cases: Mapping[str, Callable[[], Awaitable[S]]], *, warm_up: int = 0
) -> dict[str, list[S]]:
    """One sample, mostly a float, of each case in each round, in turns (A B, then B A), so that what else the machine does meets all alike.

    The samples of round i are at index i of every list: `ratio` compares them pair by pair. The samples of the
    `warm_up` rounds before are thrown away.
    """
    samples: dict[str, list[S]] = {name: [] for name in cases}
    for number in range(-warm_up, rounds):
        for name in cases if number % 2 == 0 else reversed(list(cases)):
            gc.collect()
            sample = await cases[name]()
            if number >= 0:
                samples[name].append(sample)
    return samples


async def cpu_seconds(call: Callable[[], Awaitable[object]], *, at_least: float) -> float:
    """Mean CPU seconds (of all threads of this process) of a call, over as many calls as take `at_least` seconds."""
    return await _mean(time.process_time, call, at_least)


async def wall_seconds(call: Callable[[], Awaitable[object]], *, at_least: float) -> float:
    """Mean seconds of a call by the clock, over as many calls as take `at_least` seconds."""
    return await _mean(time.perf_counter, call, at_least)


async def _mean(clock: Callable[[], float], call: Callable[[], Awaitable[object]], at_least: float) -> float:
    count = 0
    begin = clock()
    while (spent := clock() - begin) < at_least or not count:
        await call()
        count += 1
    return spent / count


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies; the nearest one, not interpolated."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio_of(samples: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios of the rounds: what drifts from round to round falls out."""
    return median(one / other for one, other in zip(samples, base, strict=True))


def ratio(samples: Sequence[float], base: Sequence[float]) -> str:
    return f"{ratio_of(samples, base):.2f}"


def micros(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f}" if seconds < 1e-3 else f"{seconds * 1e6:,.0f}"


def millis(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f}"


def megabytes(size: float) -> str:
    """Of bytes; a million to the megabyte."""
    return f"{size / 1e6:,.1f}"


def resident() -> int:
    """Bytes of this process that are in memory now. Linux only; elsewhere it raises FileNotFoundError."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_of(pid: int) -> float:
    """CPU seconds that another process has used so far, in steps of about 10 ms. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fresh(script: str, *arguments: str, patience: float = 120.0) -> Any:
    """Run a Python file in a process of its own, and the JSON that it prints: for what one process can measure only once,
    such as memory. Usually `fresh(__file__, "case")`. It blocks; raises when the process fails or outlives `patience`.
    """
    command = [sys.executable, script, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != RESULTS_VARIABLE}
    done = subprocess.run(  # noqa: S603 - a file of this folder, with arguments of its own
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=patience, env=environment
    )
    return json.loads(done.stdout)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def record(
    name: str,
    question: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    command: str = "",
    note: str = "",
) -> None:
    """Print a table, and hand it on when the results are collected.

    `name` is the file's name without `.py`; `question` is the heading in the results; `command` is what measures it again
    (default: `python benches/NAME.py`); `note` says what was measured, in a sentence or two.
    """
    shown = markdown(head, rows)
    print(f"{note}\n\n{shown}\n" if note else f"{shown}\n", flush=True)
    if path := os.environ.get(RESULTS_VARIABLE):
        entry = {
            "name": name,
            "question": question,
            "command": command or f"python benches/{name}.py",
            "note": note,
            "table": shown,
        }
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
