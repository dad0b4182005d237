"""Calls that are made once for each key: who asks while one is made waits for it, who asks later gets a copy."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from motet.errors import MotetError
from motet.model import reason
from motet.model import usage as usage_module
from motet.model.outcome import Failure, Outcome
from motet.model.state import State
from motet.ports import Busy, Claimed, Conflict, Replayed, Store

if TYPE_CHECKING:
    from motet.engine.member import RunningMember

SETTLE_PATIENCE: Final = 30.0
"""Seconds that the store may take to keep an answer."""
FIRST_LOOK: Final = 0.05
LONGEST_LOOK: Final = 1.0
"""Seconds between looks at a key that another process works on: there is nobody here to tell of its end."""
_log = logging.getLogger("motet.engine")


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two calls the same."""

    key: str
    fingerprint: str
    ttl: float
    """Seconds."""


def identity_of(member: "RunningMember") -> Identity:
    """Of a member with a policy."""
    policy = member.spec.idempotency
    if policy is None:
        raise RuntimeError("the member has no idempotency policy")
    info = member.ticket.agent
    tenant = member.ticket.tenant
    what = canonical(
        [
            info.name,
            info.version,
            info.kind.value,
            getattr(member.agent, "settings", None),
            member.input,
            member.find_variables(),
        ]
    )
    fingerprint = hashlib.sha256(what.encode(errors="surrogatepass")).hexdigest()
    if not policy.key:
        return Identity(f"hash:{tenant}:{fingerprint}", fingerprint, policy.ttl)
    own = member.spec.member.idempotency is not None and member.spec.count == 1
    name = policy.key if own else f"{policy.key}/{member.name}"
    return Identity(f"key:{tenant}:{name}", fingerprint, policy.ttl)


async def ask_for_key(member: "RunningMember") -> "Held | Replayed | Conflict | Failure":
    """Ask for the right to make a member's call; wait while somebody else makes it."""
    identity = member.identity = identity_of(member)
    if identity.key in keys_around(member):
        message = "the call with this idempotency key is the one that this call runs in; it would wait for itself"
        return Failure(reason.IDEMPOTENCY_KEY_REUSED, message)
    try:
        return await member.group.run.engine.idempotency.begin(identity)
    except MotetError as error:
        message = f"whether the call was made already is not known: {error.message}"
        return Failure(error.reason, message, error.details)
    except Exception as error:  # noqa: BLE001 - a store is foreign code; its failure ends this member only
        _log.exception("the store failed")
        message = f"whether the call was made already is not known: {type(error).__name__}: {error}"
        return Failure(reason.STORE_UNAVAILABLE, message)


def keys_around(member: "RunningMember") -> Iterator[str]:
    """Keys of the calls that this member runs in."""
    attempt = member.group.run.caller
    while attempt is not None:
        if attempt.member.identity is not None:
            yield attempt.member.identity.key
        attempt = attempt.member.group.run.caller


class _Flight:
    """A call that somebody in this process asks for or makes."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.over = trio.Event()
        self.outcome: Outcome | None = None


class Held:
    """The right to make a call. Only the first settlement counts."""

    def __init__(self, owner: "Idempotency", identity: Identity, epoch: int) -> None:
        self._owner = owner
        self._identity = identity
        self._epoch = epoch
        self._settled = False

    async def settle(self, outcome: Outcome | None) -> None:
        """The call is over; only a success is kept. Shielded and bounded; an answer that cannot be kept is an answer all
        the same."""
        if not self._settled:
            self._settled = True
            await self._owner.settle(self._identity, self._epoch, outcome)


class Idempotency:
    """The keys of an engine, over its store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._flights: dict[str, _Flight] = {}

    async def begin(self, identity: Identity) -> Held | Replayed | Conflict:
        """Wait until the call is the caller's to make, or has been made. Raises StoreFailed."""
        look = FIRST_LOOK
        while True:
            flight = self._flights.get(identity.key)
            if flight is not None:
                if flight.fingerprint != identity.fingerprint:
                    return Conflict()
                await flight.over.wait()
                if flight.outcome is not None:
                    return Replayed(flight.outcome)
                continue
            # Entered before the store is asked, so that of many in this process one asks.
            flight = self._flights[identity.key] = _Flight(identity.fingerprint)
            claim = None
            try:
                claim = await self._store.claim(identity.key, identity.fingerprint)
            finally:
                if not isinstance(claim, Claimed):
                    flight.outcome = claim.outcome if isinstance(claim, Replayed) else None
                    self._land(identity.key)
            if isinstance(claim, Claimed):
                return Held(self, identity, claim.epoch)
            if not isinstance(claim, Busy):
                return claim
            await trio.sleep(look)
            look = min(2 * look, LONGEST_LOOK)

    async def settle(self, identity: Identity, epoch: int, outcome: Outcome | None) -> None:
        kept = None
        if outcome is not None and outcome.state is State.SUCCEEDED:
            kept = replace(outcome, nested=(), attempt_log=(), attempts=1, usage=usage_module.NONE, ran=0.0, queued=0.0)
        self._flights[identity.key].outcome = kept
        with trio.move_on_after(SETTLE_PATIENCE, shield=True) as scope:  # noqa: ASYNC912 - the store waits as it needs
            try:
                await self._store.settle(identity.key, epoch, kept if identity.ttl > 0 else None, identity.ttl)
            except Exception as error:  # noqa: BLE001 - a store is foreign code, and the call has been made
                _log.warning("an answer could not be kept for its idempotency key: %s", error)
            finally:
                self._land(identity.key)
        if scope.cancelled_caught:
            _log.warning("the store took longer than %g s to keep an answer for its idempotency key", SETTLE_PATIENCE)

    def _land(self, key: str) -> None:
        self._flights.pop(key).over.set()


def canonical(value: object) -> str:
    """Text that is the same for equal values whatever the order of their maps. Agents count by name."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k!r}:{canonical(v)}" for k, v in sorted(value.items())) + "}"
    if is_dataclass(value) and not isinstance(value, type):
        parts = ",".join(f"{f.name}={canonical(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({parts})"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    info = getattr(value, "info", None)
    return f"agent({info.name})" if info is not None else repr(value)


def fingerprint_of(request: object) -> str:
    """Of a request: the same for equal ones."""
    return hashlib.sha256(canonical(request).encode(errors="surrogatepass")).hexdigest()
