"""The guard against creeping cost: the work of fixed runs, counted and not timed, so that it neither drifts nor flakes.

What is counted and how stands in count_work.py; `python tests/work/count_work.py --update` takes the figures of now.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import trio

FIGURES: Final = """
run                              | members | calls  | tasks | wakeups | hops | events | kept  | cyclic | peak
1 member                         | 1       | 553    | 2     | 5       | 0    | 0      | 22    | 95     | 19413
100 members                      | 100     | 95.62  | 1.01  | 2.03    | 0    | 0      | 5.16  | 3.64   | 3047.95
1,000 members                    | 1000    | 91.46  | 1     | 2       | 0    | 0      | 5.02  | 1.43   | 2852.07
1,000 members, 50 at a time      | 1000    | 96.53  | 1     | 2       | 0    | 0      | 5.02  | 0.27   | 467.92
100 coroutine functions          | 100     | 105.67 | 1.01  | 2.03    | 0    | 0      | 6.16  | 3.64   | 3368.59
100 blocking functions           | 100     | -      | 1.01  | -       | 1    | 0      | -     | -      | -
10 groups of 10, nested          | 100     | 148.5  | 1.21  | 2.43    | 0    | 0      | 6.86  | 12.45  | 4722.5
100 members that are tried twice | 100     | 283.01 | 1.01  | 2.13    | 0    | 0      | 9.97  | 7.92   | 7786.51
100 members, one follower        | 100     | 123.64 | 1.02  | 2.1     | 0    | 2.04   | 11.37 | 3.85   | 3341.02
1 member over gRPC               | 1       | 838    | 3     | 10      | 1    | 0      | -     | -      | -
100 members over gRPC            | 100     | 109.36 | 1.02  | 2.08    | 0.01 | 0      | -     | -      | -
"""
"""For each member. calls: Python functions called and coroutines gone on with, trio's included; tasks: spawned; wakeups of
tasks; hops to threads; events made; kept: blocks of memory in use after the run, its result; cyclic: blocks that only the
garbage collector frees; peak: bytes in use at the most."""
MARGINS: Final = {"calls": 0.05, "wakeups": 0.05, "kept": 0.1, "cyclic": 0.1, "peak": 0.1}
"""Share that a figure may be higher; tasks, hops and events may not."""
SLACK: Final = {"calls": 10, "kept": 20, "cyclic": 20, "peak": 4000}
"""In a whole run, beside the margins: what a cache or a free list happens to hold."""
COUNTED_WITH: Final = ((3, 11), "0.35.")
"""Python and trio. Elsewhere the figures are others: there they may be half as high again."""
ELSEWHERE: Final = 0.5
PATIENCE: Final = 100
ADVICE: Final = (
    "Look for what does more than before. If that is worth its cost, say so in the commit and take the figures of now: "
    "python tests/work/count_work.py --update"
)
Figures = dict[str, float]
"""Of one run, by name, with its members; what is not judged is left out."""


def figures_in(table: str) -> dict[str, Figures]:
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return {
        row[0]: {name: float(cell) for name, cell in zip(head[1:], row[1:], strict=True) if cell != "-"} for row in rows
    }


def grown_figures(run: str, now: Figures, was: Figures, *, exact: bool) -> list[str]:
    """A sentence for each figure above what it may be."""
    grown = []
    for name, before in was.items():
        share = max(MARGINS.get(name, 0), 0 if exact else ELSEWHERE)
        most = round(before * (1 + share) + SLACK.get(name, 0) / was["members"], 2)
        if now[name] > most:
            grown.append(f"{run}: {name} for each member grew from {before:g} to {now[name]:g}, and may be {most:g}")
    return grown


@pytest.fixture(scope="module")
def counted() -> dict[str, Figures]:
    """The figures of a process of its own, which no other test has touched."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(Path(__file__).with_name("count_work.py"))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, timeout=PATIENCE, text=True)
    return figures_in(done.stdout)


@pytest.mark.parametrize("run", figures_in(FIGURES))
def test_a_run_does_no_more_work_than_it_did(counted: dict[str, Figures], run: str) -> None:
    version, trios = COUNTED_WITH
    exact = sys.version_info[:2] == version and trio.__version__.startswith(trios)
    grown = grown_figures(run, counted[run], figures_in(FIGURES)[run], exact=exact)
    assert not grown, "\n".join([*grown, ADVICE])


def test_every_counted_run_is_in_the_table(counted: dict[str, Figures]) -> None:
    table = figures_in(FIGURES)
    assert {run: figures.keys() for run, figures in counted.items()} == {run: table[run].keys() for run in table}


def test_work_for_a_member_is_the_same_in_wide_groups(counted: dict[str, Figures]) -> None:
    wide, narrow = counted["1,000 members"], counted["100 members"]
    assert {name for name in wide.keys() - {"members"} if wide[name] > 1.05 * narrow[name]} == set()


def test_what_nobody_hears_is_not_made(counted: dict[str, Figures]) -> None:
    assert {run for run, figures in counted.items() if figures["events"]} == {"100 members, one follower"}
    assert counted["100 members, one follower"]["events"] >= 2


def test_only_blocking_functions_need_threads(counted: dict[str, Figures]) -> None:
    hops = {run: figures["hops"] * figures["members"] for run, figures in counted.items() if figures["hops"]}
    # Those of the runs over gRPC are the caller's own.
    assert hops == {"100 blocking functions": 100, "1 member over gRPC": 1, "100 members over gRPC": 1}


def test_a_figure_that_grew_is_named_with_what_it_was_and_what_it_may_be() -> None:
    was = {"members": 100.0, "calls": 100.0, "tasks": 1.0}
    assert grown_figures("x", was | {"calls": 105}, was, exact=True) == []
    [told] = grown_figures("x", was | {"calls": 120}, was, exact=True)
    assert told == "x: calls for each member grew from 100 to 120, and may be 105.1"
    assert grown_figures("x", was | {"calls": 120}, was, exact=False) == []
    assert len(grown_figures("x", was | {"tasks": 1.01}, was, exact=True)) == 1
    assert grown_figures("x", was | {"calls": 50, "tasks": 0}, was, exact=True) == []
