"""Is Motet faster than other systems that run agents in parallel? N no-op agents, run and combined, each system in its own
way and its own environment, in turns. Prints a table and writes benches/peers/RESULTS.md.

Run, in benches: python -m peers [--environments FOLDER] [--widths N,N] [--rounds N]   (a part is only printed)
"""

import argparse
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from peers._environments import NotInstalled, environment
from peers._report import Sampled, report
from peers._side import NoAnswer, Side
from peers._systems import MOTET, PEERS, System

ROOT: Final = Path(__file__).resolve().parents[2]
WIDTHS: Final = (10, 100, 1000, 10_000)
ROUNDS: Final = 9
SECONDS: Final = 0.15
"""CPU seconds of one sample: as many calls as take about this long."""
SLOW: Final = 5.0
"""CPU seconds. A call that takes more is measured once, and wider ones of its case are not tried."""


@dataclass(slots=True)
class Comparison:
    """What was found, as it is found."""

    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """By system."""
    sampled: dict[tuple[int, str], Sampled] = field(default_factory=dict)
    """By width and case, in the order of the report."""
    missing: list[str] = field(default_factory=list)
    """What could not be measured, a sentence each."""

    def lacks(self, side: Side, what: str) -> None:
        """Note what is missing. Without Motet's own figures there is nothing to compare, and it raises."""
        if side.system is MOTET:
            raise RuntimeError(what)
        self.missing.append(what)


async def begin(sides: list[Side], found: Comparison) -> dict[str, Side]:
    """Start them all. The cases, with the side that runs each; Motet's are first."""
    cases: dict[str, Side] = {}
    for side in sides:
        try:
            hello = await side.hello()
        except NoAnswer as error:
            found.lacks(side, f"{side.system.name} was installed and does not start: {error}.")
            continue
        found.versions[side.system.name] = {**hello["versions"], "Python": hello["python"]}
        cases |= dict.fromkeys(hello["cases"], side)
    return cases


async def probe(cases: dict[str, Side], width: int, found: Comparison) -> dict[str, int]:
    """One call of each, to warm up and to see how many make a sample. What is too slow for turns has its only sample here."""
    calls: dict[str, int] = {}
    for case, side in cases.items():
        try:
            answer = await side.ask(case, width, 1)
        except NoAnswer as error:
            found.lacks(side, f"{case}, {width:,} agents: {error}.")
            continue
        sampled = found.sampled[width, case] = Sampled(hears=answer["events"] > 0)
        if answer["cpu"] > SLOW:
            sampled.add(answer)
        else:
            calls[case] = max(1, round(SECONDS / answer["cpu"]))
    return calls


async def compare(sides: list[Side], widths: list[int], rounds: int) -> Comparison:
    found = Comparison()
    cases = await begin(sides, found)
    for width in widths:
        print(f"{width:,} agents", flush=True)
        calls = await probe(cases, width, found)
        for number in range(-1, rounds):  # the first is thrown away: the loops are warm then
            for case in list(calls) if number % 2 == 0 else list(reversed(calls)):
                try:
                    answer = await cases[case].ask(case, width, calls[case])
                except NoAnswer as error:
                    found.lacks(cases[case], f"{case}, {width:,} agents: {error}.")
                    del calls[case]
                    continue
                if number >= 0:
                    found.sampled[width, case].add(answer)
        if width != widths[-1]:
            for case in [case for case in cases if case not in calls]:
                found.missing.append(f"{case}: more than {width:,} agents were not tried.")
                del cases[case]
    return found


async def main(widths: list[int], rounds: int, environments: Path) -> None:
    installed: list[tuple[System, Path]] = []
    refused: list[str] = []
    for system in (MOTET, *PEERS):
        try:
            installed.append((system, environment(system, environments)))
        except NotInstalled as error:
            refused.append(f"{system.name} could not be installed: {error}.")
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nursery = await stack.enter_async_context(trio.open_nursery())
        sides = []
        for system, python in installed:
            own = home / system.name
            own.mkdir()
            sides.append(Side(system, python, nursery, own, stack.enter_context(tempfile.TemporaryFile())))  # noqa: SIM115 - the stack is one
        found = await compare(sides, widths, rounds)
        nursery.cancel_scope.cancel()
    whole = (tuple(widths), rounds) == (WIDTHS, ROUNDS)
    file = Path(__file__).with_name("RESULTS.md") if whole else None
    report(found.versions, found.sampled, [*refused, *found.missing], rounds, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-peers", help="where they are made")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)), help="numbers of agents, ascending")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="samples of each case")
    chosen = parser.parse_args()
    trio.run(main, [int(width) for width in chosen.widths.split(",")], chosen.rounds, chosen.environments)
