"""Who calls, and what they may: from a bearer token to a tenant and rights. Pure: it reads no file, and knows neither gRPC
nor the engine. A token itself is in no text that leaves this file, but for the one that `new_token` makes."""

import hashlib
import hmac
import re
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, Self, TypeAlias

from motet.errors import MotetError

AUTHORIZATION: Final = "authorization"
"""Metadata key of the token: `Bearer TOKEN`."""
MAX_TOKEN: Final = 4096
"""Characters; longer ones are not even hashed."""
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,127}")
"""Of a token and of a tenant: the rule that the contract has for tenants."""
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_KEYS: Final = frozenset({"sha256", "tenant", "rights"})


class Unauthenticated(MotetError):
    """Nobody knows who calls: the caller gives a token that the server knows."""

    default_reason: ClassVar[str] = "TOKEN_INVALID"


class PermissionDenied(MotetError):
    """The caller is known and may not do this: it takes another token, or asks for less."""

    default_reason: ClassVar[str] = "PERMISSION_DENIED"


class BadTokens(ValueError):
    """A file of tokens is wrong. `problems` names every mistake, and never a value."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class Right(StrEnum):
    """What a caller may do."""

    RUN = "run"
    """Start runs of its tenant, and stop them."""
    WATCH = "watch"
    """See runs of its tenant, their events and the use of its limits."""
    WORK = "work"
    """Serve agents as a worker, which sees the inputs of every tenant's calls to them."""
    ADMIN = "admin"
    """`run` and `watch`, for every tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a call."""

    name: str
    """Of the token, for people; not secret."""
    tenant: str = ""
    """On whose account its runs are. Empty means nobody's."""
    rights: frozenset[Right] = frozenset()
    """What it may do; empty means nothing but reflection."""

    @property
    def is_admin(self) -> bool:
        return Right.ADMIN in self.rights


Authorise: TypeAlias = Callable[[str, Mapping[str, str]], Caller]
"""From the full name of a method and the call's metadata, keys in lower case, to the caller. Raises Unauthenticated or
PermissionDenied. Called in gRPC's thread before the request is read, and again in trio's when tokens have changed: it must be
quick, and must touch nothing of trio."""

_METHODS: Final[Sequence[tuple[str, Sequence[str], frozenset[Right]]]] = (
    ("RunService", ("Run", "StreamRun", "StartRun", "MapRun", "CancelRun"), frozenset({Right.RUN})),
    ("RunService", ("GetRun", "ListRuns", "WatchRun", "ListLimits"), frozenset({Right.WATCH})),
    (
        "CatalogService",
        ("ListAgents", "GetAgent", "ListGroups", "GetGroup", "ListAggregations"),
        frozenset({Right.RUN, Right.WATCH}),
    ),
    ("WorkerService", ("Serve",), frozenset({Right.WORK})),
)
NEEDED: Final[Mapping[str, frozenset[Right]]] = {
    f"/motet.v1.{service}/{name}": rights for service, names, rights in _METHODS for name in names
}
"""The table: any one of these rights is enough for the method. Methods of Motet that are not in it are for admins."""
OPEN: Final = ("/grpc.health.v1.Health/",)
"""Services that need no token: balancers and probes have none."""


def check_right(caller: Caller, method: str) -> None:
    """Raises PermissionDenied, reason RIGHT_MISSING, when the caller may not call the method."""
    needed = NEEDED.get(method, frozenset({Right.ADMIN}) if method.startswith("/motet.") else None)
    if needed is None or needed & caller.rights or (caller.is_admin and needed != {Right.WORK}):
        return
    names = sorted(right.value for right in needed)
    text = f"the token {caller.name!r} has no right to {method.rpartition('/')[2]}, which needs {' or '.join(names)}"
    raise PermissionDenied(text, reason="RIGHT_MISSING", details={"rights": ",".join(names)})


def tenant_for(caller: Caller | None, asked: str) -> str:
    """The tenant of what a caller asks for: the named one where it may, its own when it names none.

    Raises PermissionDenied, reason TENANT_DENIED. Without a caller, when no token is needed, tenants are trusted as given.
    """
    if caller is None:
        return asked
    if not asked or asked == caller.tenant:
        return caller.tenant
    if caller.is_admin:
        return asked
    text = (
        f"the token {caller.name!r} may not act for tenant {asked!r}; leave the tenant out, or use a token of that one"
    )
    raise PermissionDenied(text, reason="TENANT_DENIED", details={"tenant": asked})


def only_tenant(caller: Caller | None) -> str | None:
    """The one tenant whose runs the caller may see and stop; None when it may those of all."""
    return None if caller is None or caller.is_admin else caller.tenant


def bearer(metadata: Mapping[str, str]) -> str:
    """The token of a call. Raises Unauthenticated, reason TOKEN_MISSING."""
    scheme, _, token = metadata.get(AUTHORIZATION, "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "the call needs a token; send it as metadata: authorization: Bearer ...", reason="TOKEN_MISSING"
        )
    if len(token) > MAX_TOKEN:
        raise _unknown()
    return token


class Tokens:
    """The tokens of a file, by their SHA-256. Called with the metadata of a call it gives the caller; never changes."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        """`callers` by the SHA-256 of their token, in hexadecimal."""
        # Looked up by a mark that is keyed anew in each process: how long that takes tells nothing of a digest. What is
        # found is compared in constant time all the same.
        self._key = secrets.token_bytes(32)
        self._callers = {self._mark(bytes.fromhex(one)): (bytes.fromhex(one), who) for one, who in callers.items()}

    @classmethod
    def parse(cls, text: str) -> Self:
        """From TOML: tables `[tokens.NAME]` with `sha256`, `tenant` and `rights`. Raises BadTokens."""
        return cls(_read(text))

    def __call__(self, _method: str, metadata: Mapping[str, str]) -> Caller:
        """The caller with the token of this metadata. Raises Unauthenticated."""
        digest = hashlib.sha256(bearer(metadata).encode(errors="replace")).digest()
        kept, caller = self._callers.get(self._mark(digest), (b"", None))
        if caller is None or not hmac.compare_digest(kept, digest):
            raise _unknown()
        return caller

    def __len__(self) -> int:
        return len(self._callers)

    def _mark(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._key).digest()


def new_token() -> str:
    """A token of 256 random bits: too many to guess, so that its hash needs no salt and no stretching."""
    return f"motet_{secrets.token_urlsafe(32)}"


def table(name: str, token: str, tenant: str, rights: Iterable[Right]) -> str:
    """The table of a token for the file, which holds its hash alone. Raises BadTokens for what the file would not take."""
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    lines = [f"[tokens.{key}]", f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"']
    lines += [f'tenant = "{tenant}"'] if tenant else []
    words = ", ".join(f'"{right}"' for right in dict.fromkeys(rights))
    lines.append(f"rights = [{words}]")
    problems = [] if NAME.fullmatch(name) else [_name_problem("the token's name")]
    problems += [] if not tenant or NAME.fullmatch(tenant) else [_name_problem("tenant")]
    if problems:
        raise BadTokens(problems)
    text = "\n".join(lines) + "\n"
    _read(text)
    return text


def _unknown() -> Unauthenticated:
    return Unauthenticated("the server does not know this token; ask its operator for another one")


def _name_problem(what: str) -> str:
    return f"{what}: use letters, digits and _ . : @ -, at most 128, not starting with . : @ or -"


def _read(text: str) -> dict[str, Caller]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadTokens([f"is not TOML: {error}"]) from None
    problems = [f"{key}: is not known; tokens are tables [tokens.NAME]" for key in document if key != "tokens"]
    tables = document.get("tokens", {})
    if not isinstance(tables, dict):
        raise BadTokens([*problems, "tokens: must be tables [tokens.NAME]"])
    callers: dict[str, Caller] = {}
    for name, given in tables.items():
        found = list(_problems(name, given))
        if not found and (digest := given["sha256"].lower()) in callers:
            found.append(f"sha256: is that of [tokens.{callers[digest].name}] too; each token has one table")
        if found:
            problems += [f"[tokens.{name}] {problem}" for problem in found]
            continue
        rights = frozenset(map(Right, given["rights"]))
        callers[digest] = Caller(name=name, tenant=given.get("tenant", ""), rights=rights)
    if problems:
        raise BadTokens(problems)
    return callers


def _problems(name: str, given: Any) -> Iterable[str]:
    if not NAME.fullmatch(name):
        yield _name_problem("the name")
    if not isinstance(given, dict):
        yield "must be a table"
        return
    yield from (f"{key}: is not known; use sha256, tenant and rights" for key in given if key not in _KEYS)
    digest, tenant, rights = given.get("sha256"), given.get("tenant", ""), given.get("rights")
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        yield "sha256: must be the SHA-256 of the token, 64 hexadecimal digits; `motet token new` makes both"
    if not isinstance(tenant, str) or (tenant and not NAME.fullmatch(tenant)):
        yield _name_problem("tenant")
    words = [right.value for right in Right]
    if not isinstance(rights, list) or not rights or any(right not in words for right in rights):
        yield f"rights: must be a list of {', '.join(words)}, at least one"
    elif not tenant and set(rights) & {Right.RUN, Right.WATCH} and Right.ADMIN not in rights:
        yield "tenant: is needed with the rights run and watch, which are those to runs of one tenant"
