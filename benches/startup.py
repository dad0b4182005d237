"""How long does `import motet` take, and `motet serve` until it is ready? Fresh processes, with the bytecode compiled.

Run: python benches/startup.py
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import trio

from _harness import cpu_of, interleaved, median, millis, record

Taken: TypeAlias = tuple[float, float]
"""Seconds, and CPU seconds."""
ROUNDS: Final = 7
IMPORT: Final = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import {}
print([time.perf_counter() - wall, time.process_time() - cpu])
"""
CATALOG: Final = """
[agents.cat]
kind = "command"
argv = ["cat"]

[groups.pair]
members = [{ agent = "cat", replicas = 2 }]
"""
IMPORTS: Final = {"trio": "", "grpc": "", "motet": "<=0.3 s", "motet_client": ""}


def importing(module: str) -> Taken:
    """Seconds that a fresh interpreter takes for the import alone, and CPU seconds."""
    command = [sys.executable, "-c", IMPORT.format(module)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own interpreter
    wall, cpu = json.loads(done.stdout)
    return wall, cpu


def serving(*options: str) -> Taken:
    """Seconds from the start of the process to the line that says that it serves, and CPU seconds."""
    command = [sys.executable, "-m", "motet_server.cli", "serve", *options, "--address", "127.0.0.1:0"]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603 - this project's program
        try:
            if process.stdout is None or not process.stdout.readline().startswith("serving on"):
                raise RuntimeError("the server did not start")
            return time.perf_counter() - begin, cpu_of(process.pid)
        finally:
            process.terminate()


def blocking(function: Callable[..., Taken], *arguments: str) -> Callable[[], Awaitable[Taken]]:
    return lambda: trio.to_thread.run_sync(function, *arguments)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "catalog.toml"
        catalog.write_text(CATALOG, encoding="utf-8")
        store = f"{folder}/runs.db"
        serve = {"motet serve": blocking(serving, str(catalog))}
        serve["motet serve --store"] = blocking(serving, str(catalog), "--store", store)
        cases = {f"import {module}": blocking(importing, module) for module in IMPORTS}
        taken = await interleaved(ROUNDS, cases | serve, warm_up=1)
    reach = {f"import {module}": text for module, text in IMPORTS.items()} | dict.fromkeys(serve, "<=1.5 s")
    record(
        "startup",
        "How long do `import motet` and `motet serve` take?",
        ["", "median, ms", "CPU, ms", "reach"],
        [
            [name, *(millis(median(each[which] for each in values)) for which in (0, 1)), reach.get(name, "")]
            for name, values in taken.items()
        ],
        note="Imports alone, without the interpreter's own start, each in a fresh process; `motet serve` from the start of its "
        "process to the line that says that it serves, a catalog with one command.",
    )


if __name__ == "__main__":
    trio.run(main)
