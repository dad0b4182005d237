"""What the memory store keeps by key, within bounds: answers of idempotent calls, what tenants have used, sessions.
Synchronous, so each call is one step; knows no runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from motet.model.outcome import Attempt, Failure, Outcome
from motet.model.quota_use import QuotaUse
from motet.model.result import GroupResult
from motet.model.session import SessionEntry
from motet.ports import Busy, Claim, Claimed, Conflict, Replayed

OVERHEAD: Final = 200
"""Bytes that a noun is counted with besides its payloads: what the objects themselves take, roughly."""

WINDOWS_KEPT: Final = 2
"""The window that runs, and the one before for calls that end late."""

_HAVE_MAPS: Final = frozenset({Outcome, Attempt, Failure, GroupResult})
"""Nouns that hold maps which somebody could change; the others are frozen all through."""


@dataclass(frozen=True, slots=True)
class _Answer:
    fingerprint: str
    outcome: Outcome
    expires_at: float
    size: int


class Answers:
    """Claims, and the last `bound` answers of together at most `max_bytes`. Claims are as many as there are calls that
    run, and not bounded here."""

    def __init__(self, bound: int, max_bytes: int, clock: Callable[[], float], size: Callable[[Outcome], int]) -> None:
        self._bound = bound
        self._max_bytes = max_bytes
        self._clock = clock
        self._size = size
        self._claims: dict[str, tuple[str, int]] = {}
        """Fingerprint and epoch by key."""
        self._answers: dict[str, _Answer] = {}
        """By key, the oldest first."""
        self._bytes = 0
        self._epoch = 0
        """Counts claims of all keys, so that none of them ever has an epoch twice."""

    def claim(self, key: str, fingerprint: str) -> Claim:
        if (held := self._claims.get(key)) is not None:
            return Busy() if held[0] == fingerprint else Conflict()
        if (answer := self._answers.get(key)) is not None:
            if answer.expires_at > self._clock():
                return Replayed(_copied(answer.outcome)) if answer.fingerprint == fingerprint else Conflict()
            self._forget(key)
        self._epoch += 1
        self._claims[key] = (fingerprint, self._epoch)
        return Claimed(self._epoch)

    def settle(self, key: str, epoch: int, outcome: Outcome | None, ttl: float) -> None:
        held = self._claims.get(key)
        if held is None or held[1] != epoch:
            return
        if outcome is not None and ttl > 0:
            size = OVERHEAD + self._size(outcome)
            self._answers[key] = _Answer(held[0], _copied(outcome), self._clock() + ttl, size)
            self._bytes += size
        del self._claims[key]
        while len(self._answers) > 1 and (len(self._answers) > self._bound or self._bytes > self._max_bytes):
            self._forget(next(iter(self._answers)))

    def clear(self) -> None:
        self._claims.clear()
        self._answers.clear()
        self._bytes = 0

    def _forget(self, key: str) -> None:
        self._bytes -= self._answers.pop(key).size


class QuotaUses:
    """What tenants have used in the newest windows of each length. Those of all tenants start at the same moments, so
    windows are forgotten for all tenants at once, those who never come back included."""

    def __init__(self) -> None:
        self._uses: dict[str, dict[float, dict[str, QuotaUse]]] = {}
        """By window, start and tenant."""

    def add(self, uses: Sequence[QuotaUse]) -> Sequence[QuotaUse]:
        totals = tuple(self._add(use) for use in uses)
        for starts in self._uses.values():
            for start in sorted(starts)[:-WINDOWS_KEPT]:
                del starts[start]
        return totals

    def clear(self) -> None:
        self._uses.clear()

    def _add(self, use: QuotaUse) -> QuotaUse:
        before = self._uses.get(use.window, {}).get(use.start, {}).get(use.tenant)
        total = use if before is None else before.plus(use)
        if not use.is_nothing:
            self._uses.setdefault(use.window, {}).setdefault(use.start, {})[use.tenant] = total
        return total


class Sessions:
    """The last `bound` sessions that were used, of together at most `max_bytes`."""

    def __init__(self, bound: int, max_bytes: int) -> None:
        self._bound = bound
        self._max_bytes = max_bytes
        self._sessions: dict[str, list[SessionEntry]] = {}
        """By id, the one that was used longest ago first."""
        self._bytes = 0

    def remember(self, session_id: str, entries: Sequence[SessionEntry], keep: int) -> None:
        kept = [*self._sessions.get(session_id, ()), *entries]
        kept = kept[max(0, len(kept) - max(0, keep)) :]
        self.forget(session_id)
        if kept:
            self._sessions[session_id] = kept
            self._bytes += _session_size(kept)
        while len(self._sessions) > 1 and (len(self._sessions) > self._bound or self._bytes > self._max_bytes):
            self.forget(next(iter(self._sessions)))

    def entries(self, session_id: str) -> Sequence[SessionEntry]:
        if (kept := self._sessions.pop(session_id, None)) is None:
            return ()
        self._sessions[session_id] = kept
        return tuple(kept)

    def forget(self, session_id: str) -> None:
        self._bytes -= _session_size(self._sessions.pop(session_id, ()))

    def clear(self) -> None:
        self._sessions.clear()
        self._bytes = 0


def _session_size(entries: Sequence[SessionEntry]) -> int:
    return sum(OVERHEAD + entry.payload.size for entry in entries)


def _copied(value: Any) -> Any:
    """The value with maps and lists of its own, so that who changes one copy changes no other."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_copied(item) for item in value)
    if type(value) in _HAVE_MAPS:
        return replace(value, **{field.name: _copied(getattr(value, field.name)) for field in fields(value)})
    return value
