"""What the commands share: their options, and how they reach an engine or a server."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import trio
from cyclopts import Parameter

from motet_server.cli.access import AccessOptions, settings
from motet_server.cli.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from motet import Catalog, Engine
    from motet.ports import Observer, Store
    from motet_client.trio import Client

_CLOSING = 10.0
"""Seconds that a store may take to close."""
Flag = Parameter(negative="", show_default=False)
CatalogOption = Annotated[str | None, Parameter(name="--catalog", help="Catalog file to run from, in this process.")]
ServerOption = Annotated[str | None, Parameter(name="--server", help="Address of a server, such as 127.0.0.1:50061.")]
NeededServer = Annotated[str, Parameter(name="--server", help="Address of a server, such as 127.0.0.1:50061.")]
JsonOption = Annotated[bool, Flag, Parameter(name="--json", help="Print one JSON object a line.")]
LabelOption = Annotated[
    list[str] | None, Parameter(name="--label", negative="", help="name=value; may be given more than once.")
]


def one_place(catalog: str | None, server: str | None) -> None:
    """Raises UsageError unless exactly one of the two is given."""
    if catalog is not None and server is not None:
        raise UsageError("--catalog, --server: give one of the two, not both")
    if catalog is None and server is None:
        raise UsageError("--catalog, --server: say where the agents are: --catalog FILE or --server ADDRESS")


async def load_catalog(path: str) -> "Catalog":
    """The catalog of a file. Raises CatalogError. Its Python files are imported here, in the main thread."""
    from motet import Catalog  # noqa: PLC0415  # a command loads what it needs

    await trio.lowlevel.checkpoint()
    return Catalog.load(path)


@asynccontextmanager
async def open_engine(
    path: str, make_store: "Callable[[], Awaitable[Store]] | None" = None, observers: "Sequence[Observer]" = ()
) -> "AsyncIterator[Engine]":
    """An engine on a catalog file, with the file's own bounds. The store is made once the catalog is known to be right."""
    import motet  # noqa: PLC0415

    catalog = await load_catalog(path)
    store = None if make_store is None else await make_store()
    try:
        async with motet.open_engine(catalog, store=store, observers=observers) as engine:
            yield engine
    finally:
        if store is not None:
            # The engine has closed it, unless it did not come to be. Shielded and bounded by the store itself as well.
            with trio.move_on_after(_CLOSING, shield=True):
                await store.aclose()


@asynccontextmanager
async def open_client(
    address: str, access: AccessOptions, options: "Mapping[str, Any] | None" = None
) -> "AsyncIterator[Client]":
    """A client of the server at this address; `options` are channel arguments of gRPC. Raises UsageError."""
    try:
        from motet_client.trio import Client  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(f"--server needs {error.name}: pip install 'motet[server]'") from None
    async with Client(address, options=options, **settings(access)) as client:
        yield client
