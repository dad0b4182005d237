"""The gRPC server of Motet: `async with motet_server.serve(engine, address)` in any trio program."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet_server.server import Server, ServerOptions, serve

__all__ = ["Server", "ServerOptions", "serve"]


def __getattr__(name: str) -> Any:
    # gRPC is loaded when it is asked for: the command line needs it for some commands only, and can then say in a
    # sentence what to install when it is missing.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from motet_server import server  # noqa: PLC0415

    return getattr(server, name)
