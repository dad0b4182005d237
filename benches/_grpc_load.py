"""Load for the gRPC benchmarks: servers and async clients in processes of their own, told what to do over pipes.

Knows gRPC and bytes; nothing of Motet but what a benchmark's server role brings along.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc.aio
import uvloop

from _harness import quantile

WARM_UP = 0.2
"""Seconds of load before the count begins."""


@dataclass(frozen=True, slots=True)
class Job:
    """Unary calls in closed loops: each client sends its next request once it has the answer to the last."""

    address: str
    method: str
    request: str
    """Hexadecimal."""
    clients: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """What some clients achieved together."""

    per_second: float
    p50: float
    """Seconds."""
    p99: float


class Process:
    """A Python process of a benchmark that prints a line when it is ready and then answers lines with lines."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._process: Any = subprocess.Popen(  # noqa: S603 - this file's own siblings
            [sys.executable, str(Path(__file__).with_name(script)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GRPC_VERBOSITY": "ERROR"},
        )
        self.ready = self._line()
        """The first line that it printed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._process.communicate("", timeout=30)  # the end of its input is its end
        finally:
            self._process.kill()  # one that has ended does not mind

    def keep_to(self, core: int) -> None:
        """Let its threads, those that it has by now, run on one core only. Linux only."""
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})

    def send(self, message: object) -> None:
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        return json.loads(self._line())

    def ask(self, message: object) -> Any:
        self.send(message)
        return self.receive()

    def cpu(self) -> float:
        """Seconds of CPU time that it has used. From /proc: Linux only."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes of resident memory. From /proc: Linux only."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _line(self) -> str:
        line: str = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the benchmark has ended early")
        return line.strip()


@contextmanager
def clients(count: int) -> Iterator[list[Process]]:
    """Client processes, each with a loop of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(Process("_grpc_load.py")) for _ in range(count)]


def load(processes: list[Process], job: Job) -> Load:
    """Run the job, its clients dealt out over the processes."""
    shares = [len(range(n, job.clients, len(processes))) for n in range(len(processes))]
    busy = [(process, share) for process, share in zip(processes, shares, strict=True) if share]
    for process, share in busy:
        process.send(asdict(job) | {"clients": share})
    answers = [process.receive() for process, _ in busy]
    times = [seconds for answer in answers for seconds in answer["times"]]
    return Load(sum(answer["per_second"] for answer in answers), quantile(times, 0.5), quantile(times, 0.99))


async def serve_load() -> None:
    """The client role: one job a line."""
    loop = asyncio.get_running_loop()
    channels: dict[str, grpc.aio.Channel] = {}
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        job = Job(**json.loads(line))
        if job.address not in channels:
            channels[job.address] = grpc.aio.insecure_channel(job.address)
        print(json.dumps(await do(job, channels[job.address])), flush=True)
    for channel in channels.values():
        await channel.close()


async def do(job: Job, channel: grpc.aio.Channel) -> dict[str, Any]:
    call: Any = channel.unary_unary(job.method)
    request = bytes.fromhex(job.request)
    times: list[float] = []
    begin = time.perf_counter() + WARM_UP
    end = begin + job.seconds

    async def client() -> None:
        while (sent := time.perf_counter()) < end:
            await call(request, timeout=30.0)
            if begin <= (now := time.perf_counter()) <= end:
                times.append(now - sent)

    await asyncio.gather(*(client() for _ in range(job.clients)))
    return {"per_second": len(times) / job.seconds, "times": times}


if __name__ == "__main__":
    uvloop.run(serve_load())
