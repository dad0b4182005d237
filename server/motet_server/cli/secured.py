"""Who may talk to `motet serve`: the options for certificates and tokens, and how both are read again at SIGHUP."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import trio
from cyclopts import Parameter

from motet_server.auth import BadTokens, Caller, Tokens
from motet_server.cli.exits import UsageError
from motet_server.cli.output import say
from motet_server.cli.text import count, one_line

if TYPE_CHECKING:
    from motet_server.tls import Tls

RELOAD: Final = getattr(signal, "SIGHUP", 0)
"""The signal at which tokens and certificates are read again; 0 on systems without it."""
_MAX_TOKENS_FILE: Final = 16 * 1024 * 1024
_HERE: Final = ("127.", "localhost", "[::1]", "unix:", "unix-abstract:", "ipv4:127.", "ipv6:[::1]")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SecureOptions:
    """Words as they stand on the command line; None where nothing was said."""

    tls_cert: str | None = None
    """Certificate to show, in PEM, with those up to the root; needs --tls-key. SIGHUP reads it again."""
    tls_key: str | None = None
    """Private key of the certificate, in PEM, not encrypted."""
    client_ca: str | None = None
    """Authorities in PEM: clients must show a certificate of one of them."""
    tokens: Annotated[str | None, Parameter(name="--tokens")] = None
    """File of tokens in TOML: callers need one of them, and act for its tenant. SIGHUP reads it again."""

    @property
    def given(self) -> bool:
        return self.tls_cert is not None or self.tokens is not None


def words(options: SecureOptions) -> list[str]:
    """The options as words of a command line again, for another process."""
    said = {f"--{field.name.replace('_', '-')}": getattr(options, field.name) for field in fields(options)}
    return [f"{name}={word}" for name, word in said.items() if word is not None]


class Secured:
    """The certificates and tokens of a server that runs. Read whole or not at all: a file that is wrong changes nothing."""

    def __init__(self, options: SecureOptions) -> None:
        """Blocks. Raises UsageError, which names the option."""
        if (options.tls_cert is None) != (options.tls_key is None):
            raise UsageError("--tls-cert, --tls-key: give both, or neither")
        if options.client_ca is not None and options.tls_cert is None:
            raise UsageError("--client-ca needs --tls-cert and --tls-key: without TLS clients show no certificate")
        self._options = options
        self._tls: Tls | None = None
        self._tokens: Tokens | None = None
        self._tls, self._tokens = self._read()

    @property
    def reloads(self) -> bool:
        """Whether SIGHUP means to read again; otherwise it ends the server, as other signals do."""
        return self._options.given

    def settings(self) -> dict[str, Any]:
        """For ServerOptions."""
        made: dict[str, Any] = {}
        if self._tls is not None:
            made["tls"] = self._shown
        if self._tokens is not None:
            made["authorise"] = self._authorise
        return made

    async def reload(self) -> None:
        """Read the files again, and say how that went."""
        try:
            self._tls, self._tokens = await trio.to_thread.run_sync(self._read)
        except UsageError as error:
            say(one_line(f"SIGHUP: nothing is changed: {error}"))
            return
        parts = [] if self._tokens is None else [count(len(self._tokens), "token")]
        parts += [] if self._tls is None else ["the certificate"]
        say(f"SIGHUP: {' and '.join(parts)} read again")

    def warn(self, address: str) -> None:
        """Say so when tokens travel for everybody to read."""
        if self._tokens is not None and self._tls is None and not address.startswith(_HERE):
            say(f"--tokens without --tls-cert: tokens travel unencrypted to {address}; put TLS in front of it")

    def _shown(self) -> "Tls":
        if self._tls is None:
            raise RuntimeError("a server without a certificate was asked for it")
        return self._tls

    def _authorise(self, method: str, metadata: Mapping[str, str]) -> Caller:
        if self._tokens is None:
            raise RuntimeError("a server without tokens was asked for them")
        return self._tokens(method, metadata)

    def _read(self) -> "tuple[Tls | None, Tokens | None]":
        return _tls(self._options), None if self._options.tokens is None else _tokens(self._options.tokens)


def _tls(options: SecureOptions) -> "Tls | None":
    if options.tls_cert is None or options.tls_key is None:
        return None
    from motet_server.tls import BadTls, Tls  # noqa: PLC0415 - brings grpc

    try:
        return Tls.load(options.tls_cert, options.tls_key, options.client_ca)
    except BadTls as error:
        names = "--tls-cert, --tls-key" if options.client_ca is None else "--tls-cert, --tls-key, --client-ca"
        raise UsageError(f"{names}: {error}") from None


def _tokens(name: str) -> Tokens:
    try:
        path = Path(name)
        if path.stat().st_size > _MAX_TOKENS_FILE:
            raise UsageError(f"--tokens: {name!r} is too large to be a file of tokens")
        return Tokens.parse(path.read_text(encoding="utf-8"))
    except BadTokens as error:
        raise UsageError(f"--tokens: {name}: {error}") from None
    except OSError as error:
        raise UsageError(f"--tokens: cannot read {name!r}: {error.strerror or error}") from None
    except ValueError:  # no UTF-8, or a path that no file system takes
        raise UsageError(f"--tokens: {name!r} is not a text file") from None
