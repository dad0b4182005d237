"""An address that several processes of this program may listen on, and no other: a bound socket that never listens."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from motet_server._port import bound_address, why_not_bound
from motet_server.cli.exits import UsageError

_TRIES = 20
"""Free ports to try where a name such as `localhost` stands for several addresses, which all need the same one."""


@contextmanager
def reserved(address: str) -> Iterator[str]:
    """Hold `host:port` for as long as the block lasts; yields it with the port that was found free when it was asked for
    with 0. Processes of this user that ask for SO_REUSEPORT may listen there.

    Raises UsageError for what is no host and port, Unavailable when the address cannot be bound.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError("--workers: processes cannot share a port on this system; start one server")
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535
    if not host or not is_port or bound_address(address, 1) != f"{host}:1":
        raise UsageError(f"--address: {address!r} is not host:port, such as 127.0.0.1:50061, which --workers needs")
    with ExitStack() as held:
        yield f"{host}:{_reserve(host, int(port), address, held)}"


def _reserve(host: str, port: int, address: str, held: ExitStack) -> int:
    for _ in range(_TRIES):
        with ExitStack() as bound:
            try:
                found = _bind(host, port, bound)
            except OSError as error:
                if port == 0 and error.errno == errno.EADDRINUSE:
                    continue
                raise why_not_bound(address) from None
            held.push(bound.pop_all())
            return found
    raise why_not_bound(address)


def _bind(host: str, port: int, bound: ExitStack) -> int:
    """Bind every address of the host to one port. Those of a family that this machine lacks are left out."""
    places = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, place in places:
        try:
            made = bound.enter_context(socket.socket(family, kind, protocol))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((place[0], port, *place[2:]))
        except OSError as error:
            if error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL} and len(places) > 1:
                continue
            raise
        # Only now: a server that shares its port with workers of its own is in use like any other.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port = made.getsockname()[1]
    if port == 0:
        raise OSError(errno.EADDRNOTAVAIL, "no address of this machine")
    return port
