"""`motet serve`: a catalog as a gRPC server, until a signal drains it. Knows of other processes only whether there are any."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import Parameter, validators

from motet_server.cli import collector, exits, secured, storing, values, worker, workers
from motet_server.cli.common import Flag, open_engine
from motet_server.cli.follow import SIGNALS
from motet_server.cli.output import say
from motet_server.cli.secured import Secured, SecureOptions
from motet_server.cli.storing import StoreOptions

MAX_WORKERS = 64
"""Above what one SQLite file takes from as many cores."""
_MEMORY = StoreOptions()
_OPEN = SecureOptions()


async def serve(
    catalog: str,
    /,
    *,
    address: str = "127.0.0.1:50061",
    grace: str = "30s",
    expressions: bool = True,
    workers_may_register: Annotated[bool, Flag] = False,
    port_file: Annotated[str | None, Parameter(show_default=False)] = None,
    processes: Annotated[int, Parameter(name="--workers", validator=validators.Number(gte=1, lte=MAX_WORKERS))] = 1,
    pin: Annotated[bool, Flag] = False,
    observer: Annotated[list[str] | None, Parameter(negative="", show_default=False)] = None,
    keeping: StoreOptions = _MEMORY,
    securing: SecureOptions = _OPEN,
    as_worker: Annotated[int | None, Parameter(show=False)] = None,
    on_core: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Serve a catalog over gRPC until SIGTERM or Ctrl-C.

    Then new work is refused, what runs may finish within the grace, and is cancelled after it. A second signal cancels
    it at once, a third leaves without waiting. With --tls-cert or --tokens SIGHUP reads these files again instead.

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
    workers_may_register
        Let workers bring agents that the catalog does not declare as remote.
    port_file
        File to write the bound address to, once the server is ready.
    processes
        Processes that serve the address together, to use as many cores; above 1 it needs --store. Widths, rates and
        breakers of the catalog hold in each of them, quotas in all together.
    pin
        Keep each worker on a core of its own, with all programs that its agents start. Linux only.
    observer
        Something that hears every event of every run, such as a tracer: module:attribute or file.py:attribute. May be
        given more than once.
    as_worker
        What `--workers` starts its processes with: where they say that they are ready.
    on_core
        The core of that process.
    """
    seconds = values.duration("--grace", grace) or 0.0
    observers = [_observer(word) for word in observer or ()]
    access = Secured(securing)
    if as_worker is not None:
        worker.stay(on_core)
        worker.follow_supervisor()
        tell = partial(worker.ready, as_worker)
        return await _serve(
            catalog,
            address,
            seconds,
            tell,
            keeping,
            access=access,
            observers=observers,
            expressions=expressions,
            workers_may_register=workers_may_register,
            as_worker=True,
        )
    announce = partial(_announce, port_file=port_file, keeping=keeping, access=access)
    if processes == 1:
        if pin:
            raise exits.UsageError(
                "--pin needs --workers above 1; a server alone is kept on a core by: taskset -c 0 motet serve"
            )
        return await _serve(
            catalog,
            address,
            seconds,
            announce,
            keeping,
            access=access,
            observers=observers,
            expressions=expressions,
            workers_may_register=workers_may_register,
            as_worker=False,
        )
    if keeping.store is None:
        raise exits.UsageError(
            "--workers above 1 needs --store: it is by the file that the processes know each other's runs, request ids"
            " and quotas"
        )
    words = [f"--grace={grace}", "--expressions" if expressions else "--no-expressions", *storing.words(keeping)]
    words += ["--workers-may-register"] if workers_may_register else []
    words += secured.words(securing)
    words += [f"--observer={word}" for word in observer or ()]
    cores = workers.cores(pin=pin)
    return await workers.supervise(
        catalog,
        words,
        address=address,
        count=processes,
        cores=cores,
        grace=seconds,
        tell=announce,
        reloads=access.reloads,
    )


async def _serve(
    catalog: str,
    address: str,
    grace: float,
    tell: Any,
    keeping: StoreOptions,
    *,
    access: Secured,
    observers: list[Any],
    expressions: bool,
    workers_may_register: bool,
    as_worker: bool,
) -> int:
    """Serve in this process. `tell` is called with the address and the number of continued runs once it is ready."""
    import motet_server  # noqa: PLC0415  # brings grpc
    from motet_server.rpc import TransportOptions  # noqa: PLC0415  # as above

    transport = TransportOptions(so_reuseport=as_worker)
    options = motet_server.ServerOptions(
        expressions=expressions,
        workers_may_register=workers_may_register,
        transport=transport,
        **access.settings(),
    )
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with open_engine(catalog, partial(storing.open_store, keeping), observers) as engine:
            # Before the address is bound: nothing but what it carries on can have started.
            continued = engine.statistics().runs_started
            async with motet_server.serve(engine, address, options=options) as server:
                collector.calm()
                tell(server.address, continued)
                stops = _stops(signals, access, server)
                number = await anext(stops)
                if not as_worker:
                    say(workers.draining(number, grace))
                again = await _drain(server, grace, stops)
    return exits.SIGNALLED + again if again else exits.OK


async def _stops(  # noqa: ASYNC900 - one reader takes it, in the scope of the signals
    signals: AsyncIterator[int], access: Secured, server: Any
) -> AsyncIterator[int]:
    """The signals that ask for the end; the others are obeyed here."""
    async for number in signals:
        if number == secured.RELOAD and access.reloads:
            await access.reload()
            server.recheck()
        else:
            yield number


def _observer(word: str) -> Any:
    from motet._reference import BadReference, load_reference  # noqa: PLC0415  # only when one is given

    try:
        found = load_reference(word)
    except BadReference as error:
        raise exits.UsageError(f"--observer: {error}") from None
    if not callable(found):
        raise exits.UsageError(
            f"--observer: {word!r} names a {type(found).__name__}; it must take a run id and an event"
        )
    return found


async def _drain(server: Any, grace: float, signals: AsyncIterator[int]) -> int:
    """Drain the server. Returns the number of the signal that cut the grace short, 0 when none did."""
    again = 0

    async def listen() -> None:
        nonlocal again
        async for number in signals:
            if again:
                say(workers.LEFT)
                os._exit(exits.SIGNALLED + number)
            again = number
            nursery.start_soon(server.drain, 0.0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await server.drain(grace)
        nursery.cancel_scope.cancel()
    return again


def _announce(address: str, continued: int, *, port_file: str | None, keeping: StoreOptions, access: Secured) -> None:
    access.warn(address)
    if keeping.store is not None:
        say(storing.said(keeping, continued))
    if port_file is not None:
        _write_whole(Path(port_file), f"{address}\n")
    sys.stdout.write(f"serving on {address}\n")
    sys.stdout.flush()


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        Path(name).replace(path)
    except OSError as error:
        raise exits.UsageError(f"--port-file: cannot write {str(path)!r}: {error.strerror}") from None
