"""The languages that have a runner: what each needs on the machine, how it is built and started. Knows no case.

Whoever adds a language adds one entry to `LANGUAGES`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CLIENTS: Final = Path(__file__).resolve().parent.parent
BUILT: Final = CLIENTS / "conformance" / "build"
"""Programs that have no place in their own folder."""
BUILDING: Final = 900.0
"""Seconds for a build, packages included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One client with its worker."""

    name: str
    title: str
    """For people."""
    programs: tuple[str, ...]
    """What must be in the PATH."""
    folder: Path
    """Where commands run."""
    runner: tuple[str, ...]
    """The command of its runner, without arguments."""
    fetch: tuple[str, ...] = ()
    """Gets the packages. Empty: the build does."""
    build: tuple[str, ...] = ()
    """Builds from packages that are there. Empty: there is nothing to build."""
    offline: Mapping[str, str] = field(default_factory=dict)
    """Variables that keep the build from asking a registry."""
    offline_build: tuple[str, ...] = ()
    """The build that asks no registry, where the variables are not enough."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What of it is not on this machine."""
        sources = () if self.folder.is_dir() else (f"clients/{self.folder.name}",)
        return (*(program for program in self.programs if shutil.which(program) is None), *sources)


_MAVEN: Final = "mvn --batch-mode --quiet {} process-test-classes && touch target/classpath.txt"
"""The runner builds itself where something is newer than that file."""
LANGUAGES: Final = (
    Language(
        name="python",
        title="Python",
        programs=(),
        folder=CLIENTS / "conformance",
        runner=(sys.executable, "run_python.py"),
    ),
    Language(
        name="typescript",
        title="TypeScript",
        programs=("node", "npm"),
        folder=CLIENTS / "typescript",
        fetch=("npm", "ci", "--no-audit", "--no-fund"),
        build=("npm", "run", "--silent", "build"),
        runner=("node", "dist/conformance/run.js"),
    ),
    Language(
        name="go",
        title="Go",
        programs=("go",),
        folder=CLIENTS / "go",
        build=("go", "build", "-o", str(BUILT / "go-runner"), "./conformance"),
        offline={"GOPROXY": "off", "GOTOOLCHAIN": "local"},
        runner=(str(BUILT / "go-runner"),),
    ),
    Language(
        name="java",
        title="Java",
        programs=("java", "mvn"),
        folder=CLIENTS / "java",
        build=("sh", "-c", _MAVEN.format("")),
        offline_build=("sh", "-c", _MAVEN.format("--offline")),
        runner=("./conformance.sh",),
    ),
)


class NotBuilt(Exception):
    """The build has failed; the text is what it said."""


class NoPackages(NotBuilt):
    """Packages that it needs are not on this machine, and no registry was asked."""


NOT_FETCHED: Final = ("GOPROXY=off", "in offline mode")
"""How build tools say so."""


def build(language: Language, *, installed: bool = False) -> None:
    """Make the runner ready. `installed`: from packages that are there, without asking a registry; raises NoPackages where they
    are not. Raises NotBuilt."""
    packages = language.folder / "node_modules"
    if language.fetch and not packages.is_dir():
        if installed:
            raise NoPackages(f"its packages are not installed: run {' '.join(language.fetch)} in {language.folder}")
        _run(language, language.fetch, {})
    command = (language.offline_build or language.build) if installed else language.build
    if command:
        _run(language, command, language.offline if installed else {})


def _run(language: Language, command: tuple[str, ...], variables: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - the commands of languages.py and of this folder
        command,
        cwd=language.folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILDING,
        check=False,
    )
    if done.returncode:
        kind = NoPackages if any(words in done.stdout for words in NOT_FETCHED) else NotBuilt
        raise kind(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-4000:]}")
