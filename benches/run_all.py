"""Runs every benchmark, or those named, each in a process of its own, and writes what they record to benches/RESULTS.md,
with the machine, the commands and the date. Knows nothing of what they measure.

Run: python benches/run_all.py [NAME ...]   (with names: prints only, and leaves RESULTS.md alone)
"""

import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from _harness import RESULTS_VARIABLE, markdown

HERE: Final = Path(__file__).resolve().parent
PATIENCE: Final = 180.0
"""Seconds that one benchmark may take."""
DISTRIBUTIONS: Final = ("motet", "trio", "grpcio", "protobuf", "pydantic", "httpx2")


def benches(names: list[str]) -> list[Path]:
    """The files to run, by name; helpers begin with an underscore."""
    found = {
        path.stem: path
        for path in sorted(HERE.glob("*.py"))
        if not path.stem.startswith("_") and path.stem != "run_all"
    }
    if unknown := [name for name in names if name not in found]:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(found)}")
    return [found[name] for name in names] if names else list(found.values())


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(load: float) -> str:
    """What the figures were measured on. `load` is the machine's load average before the first of them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in DISTRIBUTIONS)
    rows = [
        ["date", f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d %H:%M} UTC"],
        ["processor", f"{processor()}, {cores()} cores"],
        ["memory", f"{memory:.0f} GB"],
        ["system", f"{platform.system()} {platform.release()}"],
        ["Python", f"{platform.python_implementation()} {platform.python_version()}"],
        ["packages", versions],
        ["load before the first", f"{load:.2f}"],
    ]
    return markdown(["", ""], rows)


def run(bench: Path, results: Path) -> tuple[list[dict[str, Any]], str]:
    """What a benchmark records, and why it failed, if it did."""
    results.unlink(missing_ok=True)
    print(f"== {bench.stem}", flush=True)
    begin = time.perf_counter()
    failure = ""
    try:
        environment = {**os.environ, RESULTS_VARIABLE: str(results)}
        command = [sys.executable, str(bench)]
        subprocess.run(command, check=True, timeout=PATIENCE, env=environment)  # noqa: S603 - a file of this folder
    except subprocess.CalledProcessError as error:
        failure = f"It ended with exit code {error.returncode}."
    except subprocess.TimeoutExpired:
        failure = f"It took longer than {PATIENCE:.0f} s."
    print(f"   {failure} ({time.perf_counter() - begin:.0f} s)\n", flush=True)
    entries = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return [json.loads(entry) for entry in entries], failure


def section(bench: Path, entries: list[dict[str, Any]], failure: str) -> str:
    """The Markdown of one question."""
    parts = [f"## {entries[0]['question'] if entries else bench.stem}"]
    parts.append(f"`{entries[0]['command'] if entries else f'python benches/{bench.name}'}`")
    for entry in entries:
        parts += [part for part in (entry["note"], entry["table"]) if part]
    if failure:
        parts.append(f"**Not measured to the end.** {failure}")
    return "\n\n".join(parts)


def main(names: list[str]) -> int:
    load = os.getloadavg()[0]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = [(bench, *run(bench, Path(folder) / "results.jsonl")) for bench in benches(names)]
    failed = [bench.stem for bench, _, failure in done if failure]
    if not names:
        head = (
            "# Results\n\nWritten by `make bench`; what each question means is in [README.md](README.md). Ratios are of one run and may be "
            "compared with those\nof another day; times and rates may not, on a shared machine.\n"
        )
        sections = [head.strip(), machine(load), *(section(*each) for each in done)]
        (HERE / "RESULTS.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print(f"{len(done)} benchmarks in {time.perf_counter() - begin:.0f} s", *(f"failed: {name}" for name in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
