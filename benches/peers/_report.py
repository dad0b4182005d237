"""What the comparison found, as Markdown. Knows how ratios are made, not how anything was measured."""

import datetime as dt
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from _harness import markdown
from peers._systems import MOTET, PEERS

RUN: Final = "Motet"
HEARD: Final = "Motet, events heard"
COMMAND: Final = "make bench-peers"


@dataclass(slots=True)
class Sampled:
    """The samples of one case at one width: seconds of a call, one for each round."""

    hears: bool
    """Its events were taken by a subscriber."""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, answer: Mapping[str, float]) -> None:
        self.wall.append(answer["wall"])
        self.cpu.append(answer["cpu"])


Samples = Mapping[tuple[int, str], Sampled]


def ratio(slower: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios of the rounds; a case measured once has one round."""
    return statistics.median(one / other for one, other in zip(slower, base, strict=False))


def times(factor: float) -> str:
    return f"{factor:,.2f}" if factor < 10 else f"{factor:,.0f}"


def rows(samples: Samples) -> list[list[str]]:
    table = []
    for (width, case), taken in samples.items():
        if not taken.wall:
            continue
        wall, cpu = statistics.median(taken.wall), statistics.median(taken.cpu)
        row = [f"{width:,}", case, f"{wall * 1e3:,.2f}", f"{cpu * 1e3:,.2f}", f"{cpu / width * 1e6:,.1f}"]
        for base in (samples[width, RUN], samples[width, HEARD]):
            own = case in {RUN, HEARD}
            row += ["", ""] if own else [times(ratio(taken.wall, base.wall)), times(ratio(taken.cpu, base.cpu))]
        table.append([*row, f"{len(taken.wall)}"])
    return table


def closest(samples: Samples) -> tuple[float, str]:
    """The smallest factor of all, like with like: events heard beside events heard, none beside none."""
    return min(
        (ratio(taken.cpu, samples[width, HEARD if taken.hears else RUN].cpu), f"{case}, {width:,} agents")
        for (width, case), taken in samples.items()
        if case not in {RUN, HEARD} and taken.cpu
    )


def verdict(samples: Samples) -> str:
    try:
        factor, where = closest(samples)
    except ValueError:
        return "**No other system could be measured.**"
    wins = "Motet was faster than every one at every N measured" if factor > 1 else "Motet was not faster everywhere"
    return f"**{wins}.** The closest, by CPU time and like with like: {times(factor)} times ({where})."


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.machine()}, {cores} cores, {platform.system()} {platform.release()}"


def report(
    versions: Mapping[str, Mapping[str, str]],
    samples: Samples,
    missing: Sequence[str],
    rounds: int,
    file: Path | None,
) -> None:
    """Print what was found, and write it to a file with what a reader needs to judge it."""
    head = ["agents", "system", "ms", "CPU ms", "CPU us per agent"]
    head += ["Motet is faster, times", "by CPU time", "with events heard, times", "by CPU time", "samples"]
    table = markdown(head, rows(samples))
    known = [[name, ", ".join(f"{what} {version}" for what, version in own.items())] for name, own in versions.items()]
    includes = "\n".join(f"- {system.name}: {system.includes}" for system in (MOTET, *PEERS))
    gaps = "\n".join(f"- {gap}" for gap in missing) or "Nothing."
    summary = verdict(samples)
    facts = [
        ["date", f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d %H:%M} UTC"],
        ["machine", machine()],
        ["load average", ", ".join(f"{load:.1f}" for load in os.getloadavg())],
        ["command", f"`{COMMAND}`"],
    ]
    print(f"\n{table}\n\n{summary}\n\nNot measured:\n{gaps}", flush=True)
    if file is None:
        return
    text = f"""\
# N no-op agents in parallel, combined: Motet and others

{summary}

Written by `{COMMAND}`; how it measures is in [README.md](README.md). Ratios are of one run and may be compared with those of
another day; times may not, on a shared machine.

{table}

Medians of {rounds} rounds in turns; a factor is the median of the factors of the rounds. One sample: a call that takes seconds,
measured once.

## Not measured

{gaps}

## What is included

{includes}

## Where and with what

{markdown(["", ""], [*facts, *known])}
"""
    file.write_text(text, encoding="utf-8")
