"""Plays the scenarios in every language that the machine has the toolchain of, each against a server of its own.

`run_all.py [--language NAME ...] [--only CASE] [--installed]` prints a table and exits with 1 when anything failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from generated import collect
from languages import LANGUAGES, Language, NoPackages, NotBuilt, build

HERE: Final = Path(__file__).resolve().parent
STARTING: Final = 60.0
"""Seconds for a server to start."""
PLAYING: Final = 900.0
"""Seconds for a runner to play all cases."""


@dataclass(slots=True)
class Played:
    """What one language's runner has said."""

    verdicts: dict[str, bool] = field(default_factory=dict)
    """By case, whether it passed."""
    reasons: list[str] = field(default_factory=list)
    """Why what failed has failed."""


@contextmanager
def a_server() -> Iterator[str]:
    """The address of a server of one's own."""
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(  # noqa: S603 - the commands of languages.py and of this folder
            [sys.executable, str(HERE / "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as server,
    ):
        try:
            line = server.stdout.readline() if server.stdout is not None else ""
            if not line.startswith("serving on "):
                server.wait(STARTING)
                said.seek(0)
                raise SystemExit(f"the server did not start:\n{said.read()}")
            yield line.removeprefix("serving on ").strip()
        finally:
            server.terminate()
            try:
                server.wait(STARTING)
            except subprocess.TimeoutExpired:
                server.kill()


def play(language: Language, cases: Path, address: str, only: str | None) -> Played:
    command = [*language.runner, "--address", address, "--cases", str(cases), *(["--only", only] if only else [])]
    played = Played()
    names = [only] if only else sorted(file.stem for file in cases.glob("*.json"))
    with tempfile.TemporaryFile("w+") as said:
        try:
            done = subprocess.run(  # noqa: S603 - the commands of languages.py and of this folder
                command,
                cwd=language.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                timeout=PLAYING,
                check=False,
            )
            output, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired as late:
            # Bytes, also where text was asked for.
            output, code = (late.stdout or b"").decode(errors="replace"), -1
            played.reasons.append(f"{language.name}: the runner took longer than {PLAYING:g} s and was ended")
        said.seek(0)
        errors = said.read()
    for line in output.splitlines():
        _take(played, language, line)
    played.verdicts = {name: played.verdicts.get(name, False) for name in names}
    if code or any(name not in output for name in names):
        played.reasons.append(f"{language.name}: the runner ended with {code}:\n{errors[-2000:]}")
    return played


def _take(played: Played, language: Language, line: str) -> None:
    try:
        told = json.loads(line)
        name, ok = told["case"], told["ok"] is True
    except (ValueError, TypeError, KeyError):
        played.reasons.append(f"{language.name}: the runner printed what is no verdict: {line[:200]}")
        return
    played.verdicts[name] = ok
    if not ok:
        played.reasons.append(f"{language.name}: {name}: {told.get('why', 'it did not say why')}")


def table(cases: list[str], played: dict[str, Played]) -> Iterator[str]:
    width = max(map(len, cases))
    yield " ".join([f"{'':{width}}", *played])
    for case in cases:
        marks = (f"{'ok' if each.verdicts.get(case) else 'FAIL':{len(name)}}" for name, each in played.items())
        yield " ".join([f"{case:{width}}", *marks]).rstrip()
    sums = (f"{sum(each.verdicts.values())}/{len(cases)}" for each in played.values())
    yield " ".join(
        [f"{'':{width}}", *(f"{text:{len(name)}}" for name, text in zip(played, sums, strict=True))]
    ).rstrip()


def fetch(chosen: list[Language]) -> int:
    """Get packages and build. What is not there is told and no failure: its scenarios are not played then."""
    for language in chosen:
        if language.missing:
            print(f"{language.title} is not played: this machine has no {', '.join(language.missing)}")
            continue
        try:
            build(language)
        except NotBuilt as error:
            print(f"{language.title} is not played: {error}")
    return 0


def main() -> int:
    names = [language.name for language in LANGUAGES]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--language", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument("--only", help="name of one case")
    parser.add_argument("--installed", action="store_true", help="ask no package registry")
    parser.add_argument("--fetch", action="store_true", help="only get packages and build what can be built here")
    given = parser.parse_args()
    chosen = [language for language in LANGUAGES if language.name in given.language]
    if given.fetch:
        return fetch(chosen)
    absent: list[str] = []
    reasons: list[str] = []
    played: dict[str, Played] = {}
    with tempfile.TemporaryDirectory() as name:
        cases = Path(name)
        collect(cases)
        known = sorted(file.stem for file in cases.glob("*.json"))
        if given.only is not None and given.only not in known:
            parser.error(f"--only: there is no case {given.only!r}")
        for language in chosen:
            if language.missing:
                absent.append(f"{language.title} was not there: this machine has no {', '.join(language.missing)}")
                continue
            began = time.monotonic()
            try:
                build(language, installed=given.installed)
            except NoPackages as error:
                absent.append(f"{language.title} was not there: {error}")
                continue
            except NotBuilt as error:
                reasons.append(f"{language.name} could not be built: {error}")
                continue
            with a_server() as address:
                played[language.name] = found = play(language, cases, address, given.only)
            reasons += found.reasons
            print(f"{language.title}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if played:
        print("\n".join(table([given.only] if given.only else known, played)))
    if reasons or absent:
        print("\n".join(["", *reasons, *absent]))
    return 1 if reasons or not played else 0
