"""What does an http agent add to the HTTP client beneath it, and does that stay flat with the requests in flight? CPU time of
a request to a local server in a process of its own: by the agent, in a run, and by a bare httpx2 client with one pool.

Run: python benches/http_agents.py
"""

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import httpx2
import trio

import motet
from _harness import interleaved, median, micros, ratio, record
from motet.engine.engine import Engine
from motet_server.cli import collector

WIDTHS: Final = (10, 100, 1000)
ROUNDS: Final = 3
REQUESTS: Final = 500
"""In a sample, and one for each in flight at least."""
BODY: Final = b"Hello, this is the answer."
INPUT: Final = motet.Payload.of("Hello")


class Host:
    """All that an http agent asks of the engine that calls it: the benchmark closes the agent itself."""

    def keep(self, resident: object) -> None: ...


HOST: Final[Any] = Host()


class Answers(asyncio.Protocol):
    """The server's side of a connection: the same short answer to everything, so that it is never what is waited for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, rest = self.received.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or b"0")
            if len(rest) < length:
                return
            self.received = rest[length:]
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
            )


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0, backlog=2048)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await server.serve_forever()


@contextmanager
def server() -> Iterator[str]:
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - itself
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def cpu_of_asking(width: int, ask: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds of a request, with `width` of them always in flight."""
    left = requests = max(REQUESTS, width)

    async def keep_asking() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await ask()

    begin = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(width):
            nursery.start_soon(keep_asking)
    return (time.process_time() - begin) / requests


async def cpu_of_a_run(engine: Engine, group: motet.Group) -> float:
    """CPU seconds of a request that a member of a run makes, with as many in flight as the agent takes."""
    begin = time.process_time()
    result = await engine.run(group, INPUT)
    spent = time.process_time() - begin
    if result.stats.succeeded != result.stats.members:
        raise RuntimeError(f"not every request was answered: {result.stats}")
    return spent / result.stats.members


async def connected(sample: Callable[[], Awaitable[float]]) -> float:
    """The second of two samples: idle connections do not last from one turn to the next, and making them is not asked for."""
    await sample()
    return await sample()


async def calmly(sample: Callable[[], Awaitable[float]]) -> float:
    """A sample with the garbage collector as `motet serve` sets it."""
    thresholds = gc.get_threshold()
    collector.calm()
    try:
        return await sample()
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def samples_of(engine: Engine, url: str, width: int) -> dict[str, list[float]]:
    agent = motet.HttpAgent("http", url, max_parallel=width)
    group = motet.Group("group", [motet.Member(agent, replicas=max(REQUESTS, width))])
    limits = httpx2.Limits(max_connections=width, max_keepalive_connections=width)
    async with httpx2.AsyncClient(limits=limits, trust_env=False, timeout=60) as client:

        async def ask_agent() -> None:
            await agent.call(motet.Call(INPUT, host=HOST))

        async def ask_client() -> None:
            response = await client.post(url, content=INPUT.data, headers={"content-type": "text/plain"})
            response.raise_for_status()

        cases = {
            "client": lambda: connected(lambda: cpu_of_asking(width, ask_client)),
            "agent": lambda: connected(lambda: cpu_of_asking(width, ask_agent)),
            "calm": lambda: calmly(lambda: connected(lambda: cpu_of_asking(width, ask_agent))),
            "run": lambda: connected(lambda: cpu_of_a_run(engine, group)),
        }
        samples = await interleaved(ROUNDS, cases)
    await agent.aclose()
    return samples


async def main() -> None:
    with server() as url:
        async with motet.open_engine() as engine:
            taken = {width: await samples_of(engine, url, width) for width in WIDTHS}
    least = {name: median(taken[WIDTHS[0]][name]) for name in ("agent", "calm")}
    record(
        "http_agents",
        "What does an HTTP agent cost a request, and does it stay flat with the requests in flight?",
        [
            "in flight",
            "bare client, us",
            "agent, us",
            "in a run, us",
            "agent to client",
            "agent against that at 10",
            "collector as in `motet serve`, us",
            "against that at 10",
            "reach",
        ],
        [
            [
                f"{width:,}",
                *(micros(median(samples[name])) for name in ("client", "agent", "run")),
                ratio(samples["agent"], samples["client"]),
                f"{(median(samples['agent']) / least['agent'] - 1) * 100:+.0f} %",
                micros(median(samples["calm"])),
                f"{(median(samples['calm']) / least['calm'] - 1) * 100:+.0f} %",
                "flat",
            ]
            for width, samples in taken.items()
        ],
        note="CPU time of this process for a request to a local server in another: an httpx2 client with one pool as wide as the "
        "requests in flight, an HTTP agent as wide, and the same agent as the members of a run; the agent once more with the garbage "
        "collector as `motet serve` sets it, which walks what is in flight less often.",
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        trio.run(main)
