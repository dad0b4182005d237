"""Writes `requirements.lock`: every package of the development environment, pinned, with hashes and no address.

Knows the three pyproject files and uv; nothing else in the project does. The lock records a digest of the
requirements it was made from, so that `--check` finds a forgotten `make lock` without a network.

Usage: lock.py [--check] [--upgrade]
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PROJECTS = (ROOT / "pyproject.toml", ROOT / "proto/python/pyproject.toml", ROOT / "clients/python/pyproject.toml")
PYTHON = "3.11"
DIGEST = re.compile(r"^# requirements: sha256:([0-9a-f]{64})$", re.MULTILINE)
NAME = re.compile(r"[A-Za-z0-9._-]+")
# A lock that names a host or a directory would install from there on every machine.
ADDRESS = re.compile(r"https?://|file:|^\s*(?:--(?:extra-)?index-url|--find-links|-i|-f|-e)\b", re.MULTILINE)
PINNED = re.compile(r"^[A-Za-z0-9._-]+(?:\[[^]]*])?==")


def requirements() -> list[str]:
    """What the three distributions and their extras ask for, without each other, sorted."""
    projects: list[dict[str, Any]] = [tomllib.loads(path.read_text())["project"] for path in PROJECTS]
    own = {project["name"] for project in projects}
    wanted: set[str] = set()
    for project in projects:
        for group in (project.get("dependencies", []), *project.get("optional-dependencies", {}).values()):
            wanted.update(group)
    return sorted(line for line in wanted if (name := NAME.match(line)) and name.group() not in own)


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write(*, upgrade: bool) -> None:
    lines = requirements()
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "requirements.in"), Path(name, "requirements.lock")
        source.write_text("\n".join(lines) + "\n")
        if LOCK.exists() and not upgrade:
            target.write_text(LOCK.read_text())  # uv keeps the pins it finds here
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", PYTHON, "--generate-hashes"]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"]
        done = subprocess.run([*command, "--output-file", str(target), str(source)], check=False)
        if done.returncode:
            sys.exit(done.returncode)
        header = f"# Every package of the development environment. Written by `make lock`.\n# requirements: sha256:{digest(lines)}\n"
        LOCK.write_text(header + target.read_text())


def problems() -> list[str]:
    """What is wrong with the lock, one sentence each; nothing is fetched."""
    if not LOCK.exists():
        return ["requirements.lock is missing: run `make lock`"]
    text = LOCK.read_text()
    recorded = DIGEST.search(text)
    found = []
    if recorded is None or recorded.group(1) != digest(requirements()):
        found.append("requirements.lock was made from other requirements: run `make lock`")
    if (address := ADDRESS.search(text)) is not None:
        found.append(f"requirements.lock holds an address: {address.group().strip()!r}")
    entries = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    found += [f"not pinned: {line}" for line in entries if not PINNED.match(line)]
    found += [f"without a hash: {line}" for line in entries if "--hash=sha256:" not in line]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="fail when the lock is stale, unpinned or holds an address"
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions the ranges allow")
    arguments = parser.parse_args()
    if not arguments.check:
        write(upgrade=arguments.upgrade)
    if found := problems():
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
