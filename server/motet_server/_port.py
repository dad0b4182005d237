"""Addresses to listen on: what was bound, and why it could not be. gRPC itself tells only that it failed."""

import errno
import socket
from contextlib import suppress

from motet.errors import MotetError, Unavailable


def bound_address(asked: str, port: int) -> str:
    """The address that clients dial: the asked one, with the port that was bound in place of 0 or none."""
    host, _ = _split(asked)
    return asked if host is None else f"{host}:{port}"


def why_not_bound(address: str, *, secure: bool = False) -> MotetError:
    """The error for an address that gRPC could not bind, found by binding it once more with a plain socket. A
    `secure` one may also have failed for its certificate."""
    host, port = _split(address)
    if host is not None:
        try:
            places = socket.getaddrinfo(
                host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError) as error:
            return Unavailable(
                f"{address} is not an address to listen on ({error}); give it as host:port, such as 127.0.0.1:50061",
                reason="ADDRESS_INVALID",
            )
        for family, kind, protocol, _, place in places:
            with socket.socket(family, kind, protocol) as probe:
                with suppress(OSError):
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(place)
                    probe.listen(1)
                except OSError as error:
                    return _unavailable(address, error)
    if secure and host is not None:
        text = f"{address} cannot be served with this certificate and key; give both in PEM, and the key not encrypted"
        return Unavailable(text, reason="CERTIFICATE_INVALID")
    return _unavailable(address, None)


def _unavailable(address: str, error: OSError | None) -> MotetError:
    if error is None or error.errno == errno.EADDRINUSE:
        text = f"{address} is in use by another program; stop that one or listen on another port (0 picks a free one)"
        return Unavailable(text, reason="ADDRESS_IN_USE")
    text = f"{address} cannot be listened on: {error.strerror or error}; listen on an address of this machine and a permitted port"
    return Unavailable(text, reason="ADDRESS_NOT_BOUND")


def _split(address: str) -> tuple[str | None, str]:
    """Host (with the brackets of IPv6) and port of a TCP address; None as the host of any other, such as `unix:path`."""
    if address.startswith(("unix:", "unix-abstract:", "vsock:")):
        return None, ""
    bare = address.removeprefix("dns:///").removeprefix("dns:").removeprefix("ipv4:").removeprefix("ipv6:")
    host, colon, port = bare.rpartition(":")
    return (host, port) if colon else (bare, "0")
