"""Runs flake8-async over the repository, in parallel: it finds swallowed cancellation that ruff does not look for.

All of its rules are on, the optional ones too, except those named here with the reason.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "server", "clients/python", "tools", "examples", "benches")
OPTIONAL = ("ASYNC106", "ASYNC900", "ASYNC912", "ASYNC913")
DISABLED = (
    "ASYNC109",  # a timeout is part of what a caller states here: it travels on every hop and is reported
    # A checkpoint on every path of every async function costs 4 microseconds where the paths that need none cost
    # less than one. Loops are held to ASYNC913 and scopes to ASYNC912.
    "ASYNC910",
    "ASYNC911",
)
DISABLED_IN_TESTS = (
    "ASYNC110",  # for another process or a socket there is no event to wait for, only a condition
    "ASYNC124",  # an agent or a handler in a test is async because its port is
    "ASYNC210",  # takes `requests.put(...)`, a queue of requests, for the HTTP library
    "ASYNC900",  # an async generator is the shortest stream of inputs, and a test ends soon after it
    "ASYNC912",  # a bounded wait for a condition may find it met at once
)


def findings(share: tuple[Sequence[str], Sequence[str]]) -> str:
    files, disabled = share
    rules = [f"--enable={','.join(('ASYNC', *OPTIONAL))}", f"--disable={','.join(disabled)}"]
    command = [sys.executable, "-m", "flake8_async", *rules, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def python_files(folders: Sequence[str]) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def main() -> None:
    workers = os.cpu_count() or 1
    groups = ((python_files(FOLDERS), DISABLED), (python_files(["tests"]), (*DISABLED, *DISABLED_IN_TESTS)))
    # Interleaved shares end at about the same time, whatever folder the long files are in.
    shares = [(files[n::workers], disabled) for files, disabled in groups for n in range(workers) if files[n::workers]]
    with ThreadPoolExecutor(workers) as pool:
        found = "".join(pool.map(findings, shares))
    if found:
        sys.exit(found.rstrip())


if __name__ == "__main__":
    main()
