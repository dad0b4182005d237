"""`motet bench`: load on a server of one's own, and what it bears: throughput, latencies, errors by reason."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Annotated, Any

import trio
from cyclopts import Parameter, validators

from motet_server.cli import bounds, exits, jsonform, values
from motet_server.cli.access import NO_ACCESS, AccessOptions
from motet_server.cli.common import Flag, JsonOption, open_client
from motet_server.cli.follow import SIGNALS
from motet_server.cli.load import Call, Ended, Load, Measured
from motet_server.cli.output import Output, say
from motet_server.cli.text import count, figure, one_line, percent

_OPTIONS = {"grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0}
"""Each client has a connection of its own, and what fails is counted, not tried again."""
_BUSY = 0.8
"""Share of a core from which on this program, not the server, may be what bounds the figures."""


async def bench(
    group: str,
    input: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    server: Annotated[
        str, Parameter(name=["--server", "--address"], help="Address of the server.")
    ] = "127.0.0.1:50061",
    clients: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))] = 16,
    seconds: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=86_400))] = 10.0,
    rate: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=100_000))] = None,
    input_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    json_input: Annotated[bool, Flag] = False,
    var: Annotated[list[str] | None, Parameter(negative="")] = None,
    timeout: str | None = None,  # an option's name, and words
    tenant: str | None = None,
    json: JsonOption = False,
    access: AccessOptions = NO_ACCESS,
) -> int:
    """Put load on a server and print throughput, latencies and errors. Ctrl-C ends it with what was measured.

    Every run is a real one: it calls the group's agents, and costs what they cost.

    Parameters
    ----------
    group
        Name of a group in the server's catalog.
    input
        What every member receives; - reads standard input.
    clients
        Connections, each of which has one run at a time unless --rate is given.
    seconds
        How long.
    rate
        Runs to begin in a second, whether earlier ones have ended or not; latency counts from the time they are due.
    input_file
        File to read the input from; - is standard input.
    json_input
        The input is a JSON document, not text.
    var
        name=value that members see as a variable; may be given more than once.
    timeout
        Bound on each run, such as 90, 30s or 1m30s.
    tenant
        On whose account the runs are: its quotas and limits hold.
    """
    payload = await values.read_input(input, input_file, json=json_input)
    options = {
        "variables": values.pairs("--var", var),
        "timeout": values.duration("--timeout", timeout),
        "tenant": bounds.tenant(tenant),
    }
    output = Output()
    async with _connect(server, access, clients, group=group, payload=payload, options=options) as calls:
        with trio.open_signal_receiver(*SIGNALS) as signals:
            say(f"{_how(clients, rate)} for {seconds:g} s; Ctrl-C ends it early")
            busy = time.process_time()
            measured, number = await _until_signal(Load(calls, rate), seconds, signals)
            busy = (time.process_time() - busy) / measured.elapsed if measured.elapsed else 0.0
    asked = {"group": group, "server": server, "clients": clients, "rate": rate}
    output.write(jsonform.line({**asked, **_fields(measured), "cpu": busy}) if json else shown(measured, busy))
    await output.flush()
    if number:
        return exits.SIGNALLED + number
    return exits.OK if measured.succeeded and not measured.errors else exits.FAILED


@asynccontextmanager
async def _connect(
    server: str, access: AccessOptions, clients: int, *, group: str, payload: Any, options: dict[str, Any]
) -> AsyncIterator[list[Call]]:
    """Connections that are up, to a server that has the group. Raises MotetClientError when there is none."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_client(server, access, _OPTIONS)) for _ in range(clients)]
        from motet_client import MotetClientError, Payload  # noqa: PLC0415 - a command loads what it needs

        sent = Payload(payload.kind, payload.content)

        async def call(client: Any) -> Ended:
            try:
                result = await client.run(group, sent, **options)
            except MotetClientError as error:
                return Ended(error.reason, refused=True)
            if str(result.state) == "SUCCEEDED":
                return Ended()
            return Ended(result.failure.reason if result.failure else str(result.state))

        await opened[0].group(group)
        async with trio.open_nursery() as nursery:
            for client in opened:
                nursery.start_soon(client.health)
        yield [partial(call, client) for client in opened]


async def _until_signal(load: Load, seconds: float, signals: AsyncIterator[int]) -> tuple[Measured, int]:
    """The load to its end. Returns what it measured, and the number of the signal that ended it early, or 0."""
    number = 0

    async def listen() -> None:
        nonlocal number
        number = await anext(signals)
        load.stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        measured = await load.run(seconds)
        nursery.cancel_scope.cancel()
    return measured, number


def shown(measured: Measured, busy: float) -> str:
    """The figures as lines of text. `busy` is the share of a core that this program used."""
    errors = ", ".join(f"{number:,} {one_line(reason)}" for reason, number in measured.errors.items())
    lines = [
        ("runs", f"{measured.calls:,} in {measured.elapsed:.1f} s"),
        ("throughput", f"{figure(round(measured.throughput, 1))} a second"),
        ("latency", _latency(measured)),
        ("errors", errors or "none"),
    ]
    if measured.unfinished:
        lines.append(("unfinished", f"{count(measured.unfinished, 'run')} cancelled at the end"))
    if measured.unsent:
        lines.append(("unsent", f"{count(measured.unsent, 'run')} not begun, since too many were under way"))
    text = "".join(f"{name:<11} {value}\n" for name, value in lines)
    if busy >= _BUSY:
        text += f"this program used {percent(busy)} of a core: it may be what bounds these figures\n"
    return text


def _latency(measured: Measured) -> str:
    named = {"p50": measured.p50, "p90": measured.p90, "p99": measured.p99, "max": measured.max}
    return ", ".join(f"{name} {_time(value)}" for name, value in named.items() if value is not None) or "no answer"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds:.3f} s"


def _fields(measured: Measured) -> dict[str, Any]:
    latency = {name: getattr(measured, name) for name in ("p50", "p90", "p99", "max")}
    return {
        "elapsed": measured.elapsed,
        "runs": measured.calls,
        "succeeded": measured.succeeded,
        "throughput": measured.throughput,
        "latency": latency,
        "errors": measured.errors,
        "unfinished": measured.unfinished,
        "unsent": measured.unsent,
    }


def _how(clients: int, rate: float | None) -> str:
    connections = count(clients, "client")
    return connections if rate is None else f"{figure(rate)} runs a second over {connections}"
