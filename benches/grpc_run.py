"""What is left of a bare gRPC server's throughput when it runs groups? Run with 1 and 10 no-op members beside a bare
grpc.aio server that sends the same reply, both on the loop that Motet uses, with async clients in two processes.

Run: python benches/grpc_run.py
"""

import asyncio
import os
import sys
from dataclasses import replace
from typing import Any

import grpc.aio
import trio
import uvloop

import motet
import motet_server
from _grpc_load import WARM_UP, Job, Load, Process, clients, load
from _harness import median, micros, millis, ratio, record
from motet_proto.v1 import run_service_pb2
from motet_server.cli import collector

MEMBERS = (1, 10)
CLIENTS = (1, 16, 128)
ROUNDS = 3
SECONDS = 0.8
REACH = {(1, 16): ">=0.6", (10, 16): ">=0.45"}
METHOD = "/motet.v1.RunService/Run"


async def noop() -> str:  # noqa: ASYNC124 - the agent that does least
    """Answer at once."""
    return "done"


async def serve_motet() -> None:
    catalog = motet.Catalog()
    catalog.agent(noop)
    for members in MEMBERS:
        catalog.group(f"of_{members}", [motet.Member("noop", replicas=members)])
    async with motet.open_engine(catalog) as engine, motet_server.serve(engine, "127.0.0.1:0") as server:
        collector.calm()  # as `motet serve` does
        print(server.address, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


async def serve_echo(reply: bytes) -> None:
    async def answer(_request: bytes, _context: object) -> bytes:  # noqa: ASYNC124 - grpc.aio asks for one
        return reply

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Run": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("motet.v1.RunService", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


def request_of(members: int) -> bytes:
    message = run_service_pb2.RunRequest(group_name=f"of_{members}")
    message.input.text = "hello"
    return message.SerializeToString()


def reply_of(address: str, request: bytes) -> bytes:
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(METHOD)
        return bytes(call(request, timeout=10.0))


def main() -> None:
    rows: list[list[str]] = []
    with (
        Process("grpc_run.py", "motet") as free,
        Process("grpc_run.py", "motet") as pinned,
        clients(2) as loaders,
    ):
        pinned.keep_to(max(os.sched_getaffinity(0)))
        for members in MEMBERS:
            request = request_of(members)
            reply = reply_of(free.ready, request)
            reply_of(pinned.ready, request)
            with Process("grpc_run.py", "echo", reply.hex()) as echo:
                for count in CLIENTS:
                    job = Job("", METHOD, request.hex(), count, SECONDS)
                    rows.append(row(members, count, measure([free, pinned, echo], loaders, job)))
    record(
        "grpc_run",
        "What is left of a bare gRPC server's throughput when it runs groups?",
        [
            "members",
            "clients",
            "Run, 1/s",
            "bare, 1/s",
            "ratio",
            "reach",
            "ratio on one core",
            "server CPU, us",
            "bare",
            "Run p50, ms",
            "Run p99, ms",
        ],
        rows,
        note="Closed loops in two client processes, which take their share of the cores. The bare server is grpc.aio on the same event "
        "loop and answers with the same bytes. 'On one core' keeps the threads of Motet's process to one core; all else is free. CPU is "
        "of the whole server process, for each request.",
    )


def measure(servers: list[Process], loaders: list[Process], job: Job) -> list[list[tuple[Load, float]]]:
    """For each server the load of each round, and the CPU seconds that the server took for each request."""
    samples: list[list[tuple[Load, float]]] = [[] for _ in servers]
    for number in range(ROUNDS):
        order = list(zip(servers, samples, strict=True))
        for server, found in order if number % 2 else reversed(order):
            before = server.cpu()
            done = load(loaders, replace(job, address=server.ready))
            found.append((done, (server.cpu() - before) / (done.per_second * (WARM_UP + SECONDS))))
    return samples


def row(members: int, count: int, samples: list[list[tuple[Load, float]]]) -> list[str]:
    free, _, bare = samples
    rates, pinned_rates, bare_rates = ([done.per_second for done, _ in found] for found in samples)
    return [
        f"{members}",
        f"{count}",
        f"{median(rates):,.0f}",
        f"{median(bare_rates):,.0f}",
        ratio(rates, bare_rates),
        REACH.get((members, count), ""),
        ratio(pinned_rates, bare_rates),
        micros(median(cpu for _, cpu in free)),
        micros(median(cpu for _, cpu in bare)),
        millis(median(done.p50 for done, _ in free)),
        millis(median(done.p99 for done, _ in free)),
    ]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["motet"]:
            trio.run(serve_motet)
        case ["echo", reply]:
            uvloop.run(serve_echo(bytes.fromhex(reply)))
        case _:
            main()
