"""How the commands prove who they are to a server: a token from a file or the environment, and TLS."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from motet_server.cli.exits import UsageError

if TYPE_CHECKING:
    from motet_client import Tls

VARIABLE: Final = "MOTET_TOKEN"
_MAX_FILE: Final = 8192
"""Bytes of a file with one token: a wrong file must not end up in a header."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions:
    """Words as they stand on the command line; None where nothing was said."""

    token_file: str | None = None
    """File that holds the token for the server; without it the variable MOTET_TOKEN counts."""
    tls: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Talk TLS to the server, and trust the authorities that gRPC knows."""
    tls_ca: str | None = None
    """Talk TLS, and trust the authorities in this PEM file."""
    tls_cert: str | None = None
    """Certificate to show to the server, in PEM; needs --tls-key."""
    tls_key: str | None = None
    """Private key of the certificate, in PEM."""
    tls_name: str | None = None
    """Name that the server's certificate must have, where it is not the one in its address."""


NO_ACCESS: Final = AccessOptions()


def settings(options: AccessOptions) -> dict[str, Any]:
    """For the client: its token and its TLS. Raises UsageError, which names the option."""
    return {"token": _token(options.token_file), "tls": _tls(options)}


def _tls(options: AccessOptions) -> "Tls | None":
    from motet_client import Tls  # noqa: PLC0415 - brings grpc

    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert, --tls-key: give both, or neither")
    named = (options.tls_ca, options.tls_cert, options.tls_key, options.tls_name)
    if not options.tls and all(word is None for word in named):
        return None
    return Tls(ca=options.tls_ca, cert=options.tls_cert, key=options.tls_key, server_name=options.tls_name or "")


def _token(file: str | None) -> str | None:
    if file is None:
        return os.environ.get(VARIABLE, "").strip() or None
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--token-file: cannot read {file!r}: {said}") from None
    token = text.decode("ascii", errors="replace").strip()
    if not token or len(text) > _MAX_FILE or len(token.split()) != 1:
        raise UsageError(f"--token-file: {file!r} must hold one token and nothing else")
    return token
