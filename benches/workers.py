"""What do worker processes gain? Runs per second of `motet serve --workers 2`, left to the kernel and pinned to a core each,
beside one process, under closed loops of one run at a time over many connections from a process of its own.

Run: python benches/workers.py
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from types import TracebackType
from typing import Any, Final, Self, TextIO, cast

import grpc.aio
import uvloop

from _harness import median, ratio_of, record
from motet_proto.v1 import run_service_pb2

ROUNDS: Final = 5
SECONDS: Final = 1.5
WARM_UP: Final = 0.3
"""Seconds of load before the count begins."""
CONNECTIONS: Final = 32
"""The kernel deals connections out by their ports: of a few, one worker may get all."""
REACH: Final = ">=1.70"
METHOD: Final = "/motet.v1.RunService/Run"
ONE, TWO, PINNED = "1 process", "2 processes", "2, pinned"
SERVERS: Final = {ONE: (), TWO: ("--workers", "2"), PINNED: ("--workers", "2", "--pin")}
"""The options of each server; all have a store in a file."""
GROUPS: Final = {"ten": "10 no-op members", "busy": "10 members, 0.3 ms of Python each", "hundred": "100 no-op members"}
"""Of the catalog: each call is a run of one."""
AGENTS: Final = """
import time


async def noop():
    return "done"


async def busy():
    end = time.thread_time() + 0.0003
    while time.thread_time() < end:
        pass
    return "done"
"""
CATALOG: Final = """
agents.noop = { kind = "function", function = "agents.py:noop" }
agents.busy = { kind = "function", function = "agents.py:busy" }
groups.ten = { members = [{ agent = "noop", replicas = 10 }] }
groups.busy = { members = [{ agent = "busy", replicas = 10 }] }
groups.hundred = { members = [{ agent = "noop", replicas = 100 }] }
"""


class Program:
    """A process that tells in its first line that it is ready."""

    def __init__(self, *arguments: str, folder: str | None = None) -> None:
        self.process = Popen(  # noqa: S603 - this project's own programs
            [sys.executable, *arguments],
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL if folder else None,  # servers tell when they drain
            text=True,
            cwd=folder,
        )
        self._to = cast("TextIO", self.process.stdin)
        self._from = cast("TextIO", self.process.stdout)
        self.ready = self.line()
        """The first line that it printed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)

    def line(self) -> str:
        if not (line := self._from.readline()):
            raise RuntimeError("a process of the benchmark has ended early")
        return line.strip()

    def ask(self, message: object) -> Any:
        self._to.write(json.dumps(message) + "\n")
        self._to.flush()
        return json.loads(self.line())

    def cpu(self) -> float:
        """Seconds of CPU time that it and its children have used. From /proc: Linux only."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(_cpu(each) for each in (str(pid), *children))


def _cpu(pid: str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> float:
    """Seconds of CPU time that all programs of the machine have used. From /proc: Linux only."""
    with Path("/proc/stat").open() as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and waiting for a disk


async def load() -> None:
    """The client: one job a line, `[address, group]`; answers with the runs in a second, and its CPU time for each run."""
    lines = asyncio.get_running_loop().run_in_executor
    print("ready", flush=True)
    while line := await lines(None, sys.stdin.readline):
        address, group = json.loads(line)
        async with AsyncExitStack() as stack:
            own = [("grpc.use_local_subchannel_pool", 1)]
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(address, options=own))
                for _ in range(CONNECTIONS)
            ]
            print(json.dumps(await closed_loops(channels, group)), flush=True)


async def closed_loops(channels: list[grpc.aio.Channel], group: str) -> list[float]:
    request = run_service_pb2.RunRequest(group_name=group).SerializeToString()
    begin = time.perf_counter() + WARM_UP
    end = begin + SECONDS
    calls = counted = 0

    async def client(channel: grpc.aio.Channel) -> None:
        nonlocal calls, counted
        call: Any = channel.unary_unary(METHOD)
        while time.perf_counter() < end:
            await call(request, timeout=30.0)
            calls += 1
            counted += begin <= time.perf_counter() <= end

    spent = time.process_time()
    await asyncio.gather(*map(client, channels))
    return [counted / SECONDS, (time.process_time() - spent) / calls, calls]


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "agents.py").write_text(AGENTS)
        (folder / "catalog.toml").write_text(CATALOG)
        serve = ("-m", "motet_server.cli", "serve", "catalog.toml", "--address", "127.0.0.1:0")
        servers = {
            kind: stack.enter_context(Program(*serve, *words, "--store", f"{number}.db", folder=name))
            for number, (kind, words) in enumerate(SERVERS.items())
        }
        client = stack.enter_context(Program(__file__, "load"))

        def others() -> float:
            return machine() - client.cpu() - sum(server.cpu() for server in servers.values())

        since, before = time.perf_counter(), others()
        rows = [row(what, *measure(servers, client, group)) for group, what in GROUPS.items()]
        foreign = (others() - before) / (time.perf_counter() - since)
    record(
        "workers",
        "What do worker processes gain?",
        [
            "a run of",
            *(f"{kind}, 1/s" for kind in SERVERS),
            "ratio",
            "reach",
            "pinned",
            "cores allow",
            "server CPU, ms",
            "client CPU, ms",
        ],
        rows,
        note=f"Runs per second over {CONNECTIONS} connections, one run at a time on each; the clients are one more process on the"
        " same cores, and take what the last column says for each run. `ratio` is 2 processes to 1, `pinned` is 2 with `--pin` to 1,"
        " `cores allow` what two cores leave to servers beside the clients, where one process fills one core."
        f" Other programs of the machine used {max(foreign, 0.0):.2f} cores meanwhile: the ratios are worth something below 0.1.",
    )


Samples = dict[str, list[float]]


def measure(servers: dict[str, Program], client: Program, group: str) -> tuple[Samples, Samples, list[float]]:
    """Runs per second and CPU seconds a run of each kind of server, and CPU seconds a run of the client."""
    speeds: Samples = {kind: [] for kind in servers}
    costs: Samples = {kind: [] for kind in servers}
    own: list[float] = []
    for number in range(ROUNDS):
        for kind in servers if number % 2 == 0 else reversed(servers):
            before = servers[kind].cpu()
            speed, cost, calls = client.ask([servers[kind].ready.split()[-1], group])
            speeds[kind].append(speed)
            costs[kind].append((servers[kind].cpu() - before) / calls)
            own.append(cost)
    return speeds, costs, own


def row(what: str, speeds: Samples, costs: Samples, own: list[float]) -> list[str]:
    return [
        what,
        *(f"{median(speeds[kind]):,.0f}" for kind in SERVERS),
        f"{ratio_of(speeds[TWO], speeds[ONE]):.2f}",
        REACH,
        f"{ratio_of(speeds[PINNED], speeds[ONE]):.2f}",
        f"{2 * median(costs[ONE]) / (median(costs[TWO]) + median(own)):.2f}",
        " / ".join(f"{median(costs[kind]) * 1e3:.2f}" for kind in SERVERS),
        f"{median(own) * 1e3:.2f}",
    ]


if __name__ == "__main__":
    if sys.argv[1:] == ["load"]:
        uvloop.run(load())
    else:
        main()
