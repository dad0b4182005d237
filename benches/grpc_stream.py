"""How many events a second does a server stream, to one caller and to a hundred watchers, and what does a watcher cost that
stops reading? The members report progress, as fast as the engine takes it, ten reports to a checkpoint.

Run: python benches/grpc_stream.py
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import trio
import uvloop

import motet
import motet_server
from _grpc_load import Process
from _harness import median, megabytes, record
from motet_proto.v1 import run_service_pb2 as pb

MEMBERS = 10
REPORTS = {"many": 5000, "some": 500}
"""Of each member."""
WATCHERS = 100
ROUNDS = 5
LARGE = 64 * 1024
"""Bytes of each of the reports that a stopped watcher leaves unread."""
UNREAD = (1, 250, 1000, 4000)
"""Such reports to a run. All share one text in the server: the run itself takes little."""
SERVICE = "/motet.v1.RunService/"


async def serve() -> None:
    catalog = motet.Catalog()
    for name, reports in REPORTS.items():
        catalog.agent(reporter(reports, lambda number: f"word {number}"), name=name)
        catalog.group(name, [motet.Member(name, replicas=MEMBERS)])
    large = "x" * LARGE
    for unread in UNREAD:
        catalog.agent(reporter(unread, lambda _: large), name=f"large_{unread}")
        catalog.group(f"large_{unread}", [motet.Member(f"large_{unread}")])
    async with motet.open_engine(catalog) as engine, motet_server.serve(engine, "127.0.0.1:0") as server:
        print(server.address, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


def reporter(reports: int, word: Callable[[int], str]) -> Callable[[motet.Call], Awaitable[str]]:
    async def report(call: motet.Call) -> str:
        for number in range(reports):
            call.report(word(number))
            if number % 10 == 9:
                await trio.lowlevel.checkpoint()
        return "done"

    return report


async def watch() -> None:
    """The client role: each line names a case, its answer has the events and the seconds that they took."""
    address = sys.argv[2]
    options = (("grpc.max_receive_message_length", 2**24), ("grpc.use_local_subchannel_pool", 1))
    loop = asyncio.get_running_loop()
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            case, *arguments = json.loads(line)
            print(json.dumps(await CASES[case](channel, *arguments)), flush=True)


async def stream_run(channel: Any, group: str) -> tuple[int, float]:
    request = pb.StreamRunRequest(request=pb.RunRequest(group_name=group))
    begin = time.perf_counter()
    events = await count(channel.unary_stream(SERVICE + "StreamRun")(request.SerializeToString()), pb.StreamRunResponse)
    return events, time.perf_counter() - begin


async def watch_run(channel: Any, group: str, watchers: int) -> tuple[int, float]:
    """Of a run that starts with its watchers."""
    begin = time.perf_counter()
    request = watching(await start(channel, group))
    call = channel.unary_stream(SERVICE + "WatchRun")
    counts = await asyncio.gather(*(count(call(request), pb.WatchRunResponse) for _ in range(watchers)))
    return sum(counts), time.perf_counter() - begin


async def stop_reading(channel: Any, group: str) -> int:
    """A watcher that takes one message and no more, until the run has ended and what can be sent is sent."""
    request = watching(await start(channel, group))
    call = channel.unary_stream(SERVICE + "WatchRun")(request)
    STOPPED_CALLS.append(call)
    read = len(await call.read())
    while not await ended(channel, request):  # noqa: ASYNC110 - the server tells of an end to who asks
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    return read


async def start(channel: Any, group: str) -> str:
    request = pb.StartRunRequest(request=pb.RunRequest(group_name=group))
    reply = await channel.unary_unary(SERVICE + "StartRun")(request.SerializeToString())
    return pb.StartRunResponse.FromString(reply).run_id


def watching(run_id: str) -> bytes:
    return pb.WatchRunRequest(run_id=run_id).SerializeToString()


async def ended(channel: Any, watched: bytes) -> bool:
    request = pb.GetRunRequest(run_id=pb.WatchRunRequest.FromString(watched).run_id)
    reply = await channel.unary_unary(SERVICE + "GetRun")(request.SerializeToString())
    return pb.GetRunResponse.FromString(reply).run.HasField("ended_at")


async def count(call: Any, response: Any) -> int:
    """Read the stream to its end and count the events that its messages have."""
    events = 0
    while (data := await call.read()) is not grpc.aio.EOF:
        events += len(response.FromString(data).events)
    return events


CASES: dict[str, Callable[..., Awaitable[Any]]] = {
    "stream_run": stream_run,
    "watch_run": watch_run,
    "stop_reading": stop_reading,
}
STOPPED_CALLS: list[Any] = []


def rates(server: Process, client: Process) -> None:
    cases = {
        "StreamRun": ("stream_run", "many"),
        "WatchRun": ("watch_run", "many", 1),
        f"WatchRun, {WATCHERS} watchers": ("watch_run", "some", WATCHERS),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(ROUNDS):
        for name in cases if number % 2 else reversed(list(cases)):
            before = server.cpu()
            events, seconds = client.ask(cases[name])
            found[name].append((events / seconds, (server.cpu() - before) / events))
    record(
        "grpc_stream",
        "How many events a second does a server stream?",
        ["", "events/s", "server CPU, us per event", "reach"],
        [
            [
                name,
                f"{median(rate for rate, _ in samples):,.0f}",
                f"{1e6 * median(cpu for _, cpu in samples):,.1f}",
                ">=50,000" if name == "StreamRun" else "",
            ]
            for name, samples in found.items()
        ],
        note=f"{MEMBERS} members report progress at once; the client, a process of its own, decodes every message. Those of all "
        "watchers are counted together.",
    )


def slow_watchers(server: Process, client: Process) -> None:
    rows = []
    for unread in UNREAD:
        before = server.memory()
        client.ask(["stop_reading", f"large_{unread}"])
        rows.append([megabytes(unread * LARGE), megabytes(server.memory() - before)])
    record(
        "grpc_stream",
        "How many events a second does a server stream?",
        ["unread, MB", "growth of the server's memory, MB", "reach"],
        [[*row, "flat"] for row in rows],
        note="A watcher takes the first message of a run and reads no more, while the run goes on and ends.",
    )


def main() -> None:
    with Process("grpc_stream.py", "serve") as server, Process("grpc_stream.py", "watch", server.ready) as client:
        rates(server, client)
    with Process("grpc_stream.py", "serve") as server, Process("grpc_stream.py", "watch", server.ready) as client:
        slow_watchers(server, client)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            trio.run(serve)
        case ["watch", _]:
            uvloop.run(watch())
        case _:
            main()
