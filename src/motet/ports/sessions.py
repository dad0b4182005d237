"""Sessions: conversations that outlive a run, one run at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from motet.model.outcome import Failure
from motet.model.session import SessionEntry, SessionSettings


@dataclass(frozen=True, slots=True)
class Summary:
    """What takes the place of the oldest entries of a session."""

    entry: SessionEntry
    replaces: int
    """How many."""


class Conversation(Protocol):
    """A session that one run takes part in. To be left, once."""

    @property
    def history(self) -> Sequence[SessionEntry]:
        """What was said before this run, oldest first."""
        ...

    def excess(self, coming: int) -> Sequence[SessionEntry]:
        """The oldest entries of `history` that a summary is to replace when this many are added; empty when there is room
        for all, or when no summaries are made."""
        ...

    async def leave(self, entries: Sequence[SessionEntry], summary: Summary | None = None) -> Failure | None:
        """Add what was said, and let the next run take part. Shielded and bounded; a failure says that nothing was kept."""
        ...


class Sessions(Protocol):
    """The sessions of an engine."""

    @property
    def settings(self) -> SessionSettings: ...

    async def begin(
        self, tenant: str, session_id: str, run_id: str, around: Sequence[str] = (), *, again: bool = False
    ) -> Conversation | Failure:
        """Take part in a session: wait until no other run does, or refuse, as is set. `around` are the runs that this one
        runs in: one that waits for its own end would wait for ever. A run that goes on after a crash takes part
        `again`: it waits whatever is set."""
        ...

    async def entries(self, tenant: str, session_id: str) -> Sequence[SessionEntry]:
        """What a session remembers, oldest first; empty for one that is not kept. Raises StoreFailed."""
        ...

    async def forget(self, tenant: str, session_id: str) -> None:
        """Let a session start anew. Raises StoreFailed; Unavailable while a run of this process takes part in it."""
        ...
