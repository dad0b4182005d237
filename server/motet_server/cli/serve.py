"""`motet serve`: a catalog as a gRPC server, until a signal drains it."""

import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import Parameter

from motet_server.cli import exits, storing, values
from motet_server.cli.common import open_engine
from motet_server.cli.follow import SIGNALS
from motet_server.cli.output import say
from motet_server.cli.storing import StoreOptions

_MEMORY = StoreOptions()


async def serve(
    catalog: str,
    /,
    *,
    address: str = "127.0.0.1:50061",
    grace: str = "30s",
    expressions: bool = True,
    port_file: Annotated[str | None, Parameter(show_default=False)] = None,
    keeping: StoreOptions = _MEMORY,
) -> int:
    """Serve a catalog over gRPC until SIGTERM or Ctrl-C.

    Then new work is refused, what runs may finish within the grace, and is cancelled after it. A second signal cancels
    it at once, a third leaves without waiting.

    Parameters
    ----------
    catalog
        Catalog file in TOML.
    address
        Host and port to listen on; port 0 takes a free one.
    grace
        How long running work may go on after the signal, such as 30s.
    expressions
        Take CEL expressions from callers. They are bounded in steps, not in memory.
    port_file
        File to write the bound address to, once the server is ready.
    """
    import motet_server  # noqa: PLC0415  # brings grpc

    seconds = values.duration("--grace", grace) or 0.0
    options = motet_server.ServerOptions(expressions=expressions)
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with open_engine(catalog, partial(storing.open_store, keeping)) as engine:
            # Before the address is bound: nothing but what it carries on can have started.
            continued = engine.statistics().runs_started
            async with motet_server.serve(engine, address, options=options) as server:
                if keeping.store is not None:
                    say(storing.said(keeping, continued))
                if port_file is not None:
                    _write_whole(Path(port_file), f"{server.address}\n")
                sys.stdout.write(f"serving on {server.address}\n")
                sys.stdout.flush()
                number = await anext(signals)
                say(f"{_name(number)}: draining for up to {seconds:g} s; once more to stop at once")
                again = await _drain(server, seconds, signals)
    return exits.SIGNALLED + again if again else exits.OK


async def _drain(server: Any, grace: float, signals: AsyncIterator[int]) -> int:
    """Drain the server. Returns the number of the signal that cut the grace short, 0 when none did."""
    again = 0

    async def listen() -> None:
        nonlocal again
        async for number in signals:
            if again:
                say("left before everything had stopped; members may still run")
                os._exit(exits.SIGNALLED + number)
            again = number
            nursery.start_soon(server.drain, 0.0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await server.drain(grace)
        nursery.cancel_scope.cancel()
    return again


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        Path(name).replace(path)
    except OSError as error:
        raise exits.UsageError(f"--port-file: cannot write {str(path)!r}: {error.strerror}") from None


def _name(number: int) -> str:
    return signal.Signals(number).name
