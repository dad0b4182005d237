"""Certificates of a server, as gRPC takes them. Knows files and PEM; keys are in no text that leaves this file."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import grpc


class BadTls(ValueError):
    """A certificate or key cannot be used; the message names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The certificate that a server shows, and whose certificates it asks its clients for. All in PEM."""

    cert: bytes = field(repr=False)
    """Its certificate, followed by those between it and the root."""
    key: bytes = field(repr=False)
    """The private key of the certificate, not encrypted."""
    client_ca: bytes | None = field(default=None, repr=False)
    """The authorities whose certificates clients must have one of. None means that clients need none."""

    @classmethod
    def load(cls, cert: str | Path, key: str | Path, client_ca: str | Path | None = None) -> Self:
        """Read the files and check that they fit together. Blocks. Raises BadTls, which names the file."""
        made = cls(
            cert=_bytes(Path(cert)),
            key=_bytes(Path(key)),
            client_ca=None if client_ca is None else _bytes(Path(client_ca)),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # With a password of its own: for a key that is encrypted OpenSSL would ask on the terminal.
            context.load_cert_chain(cert, key, password="")
        except (OSError, ValueError) as error:
            raise BadTls(
                f"{cert}, {key}: must be a PEM certificate and its key, not encrypted: {_why(error)}"
            ) from None
        if made.client_ca is not None:
            try:
                context.load_verify_locations(cadata=made.client_ca.decode("ascii"))
            except (OSError, ValueError) as error:
                raise BadTls(f"{client_ca}: must be PEM certificates of authorities: {_why(error)}") from None
        return made


def credentials(tls: Tls | Callable[[], Tls]) -> grpc.ServerCredentials:
    """For gRPC. A function is asked before each handshake, in a thread of gRPC's, so that certificates can be renewed; whether
    clients need one is settled by the first answer."""
    if isinstance(tls, Tls):
        return grpc.ssl_server_credentials(
            [(tls.key, tls.cert)], root_certificates=tls.client_ca, require_client_auth=tls.client_ca is not None
        )
    ask = tls
    shown = ask()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        now = ask()
        if now is shown:
            return None
        shown = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown), cast("Any", renewed), require_client_authentication=shown.client_ca is not None
    )


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(tls.key, tls.cert)], root_certificates=tls.client_ca)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise BadTls(f"{path}: cannot be read: {_why(error)}") from None


def _why(error: Exception) -> str:
    """What OpenSSL or the system says, without the place in its source."""
    said = getattr(error, "strerror", None) or str(error)
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else said
