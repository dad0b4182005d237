"""What makes a client known to a server, and the server to the client: TLS and the token. Neither keys nor tokens are in any
text that this file makes."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import grpc

from motet_client._errors import InvalidArgument, Violation

TOKEN_KEY: Final = "authorization"  # noqa: S105 - the metadata key, not a token
NAME_OPTION: Final = "grpc.ssl_target_name_override"
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")

Pem: TypeAlias = str | os.PathLike[str] | bytes | None
"""A file's path, or the bytes of what such a file holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to talk TLS. Files are read when the client is made."""

    ca: Pem = None
    """Authorities to trust, in PEM; None means those that gRPC knows."""
    cert: Pem = None
    """Certificate to show to the server, in PEM; None means none. Needs `key`."""
    key: Pem = field(default=None, repr=False)
    """Private key of the certificate, in PEM, not encrypted."""
    server_name: str = ""
    """Name that the server's certificate must have; empty means the one in the address."""


def credentials(tls: Tls | bool | None) -> grpc.ChannelCredentials | None:
    """For a channel; None for one without TLS. True means TLS with the authorities that gRPC knows. Raises InvalidArgument."""
    if tls is None or tls is False:
        return None
    given = Tls() if tls is True else tls
    if (given.cert is None) != (given.key is None):
        raise _invalid("tls", "give the certificate and its key, or neither")
    return grpc.ssl_channel_credentials(
        _read("tls.ca", given.ca), _read("tls.key", given.key), _read("tls.cert", given.cert)
    )


def name_option(tls: Tls | bool | None) -> dict[str, str]:
    """The channel argument that goes with the credentials."""
    return {NAME_OPTION: tls.server_name} if isinstance(tls, Tls) and tls.server_name else {}


def token_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata that carries a token. Raises InvalidArgument, without the token."""
    if token is None:
        return ()
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
        raise _invalid("token", "must be 1 to 4096 printable ASCII characters without spaces")
    return ((TOKEN_KEY, f"Bearer {token}"),)


def _read(field_name: str, pem: Pem) -> bytes | None:
    if pem is None:
        return None
    if isinstance(pem, bytes):
        data, where = pem, "its bytes"
    else:
        where = str(pem)
        try:
            data = Path(pem).read_bytes()
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or str(error)
            raise _invalid(field_name, f"{where} cannot be read: {said}") from None
    if b"-----BEGIN" not in data:
        raise _invalid(field_name, f"{where}: must be PEM")
    return data


def _invalid(field_name: str, message: str) -> InvalidArgument:
    violation = Violation(field_name, message)
    return InvalidArgument(str(violation), reason="INVALID_REQUEST", violations=[violation])
