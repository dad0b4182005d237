"""What a conversation remembers, and how conversations are kept."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from motet.model.payload import Payload

USER: Final = "user"
"""The role of what members were asked: of all of them, or of the one that is named, which had an input of its own."""
MEMBER: Final = "member"
"""The role of what a member answered."""
SUMMARY: Final = "summary"
"""The role of what stands for everything that was said before it."""


class WhenBusy(StrEnum):
    """What a run does whose session another run takes part in."""

    WAIT = "WAIT"
    """It waits for its turn, in the order in which runs came; the time counts against its timeout."""
    REFUSE = "REFUSE"
    """It ends at once, with the reason SESSION_BUSY, and has started nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How an engine keeps its sessions."""

    when_busy: WhenBusy = WhenBusy.WAIT
    max_entries: int = 200
    """Most entries that a session keeps, questions and answers counted alike."""
    summary_agent: str = ""
    """An agent of the catalog that is asked to sum up the older half of the entries when there are more than
    `max_entries`; empty means that the oldest are forgotten."""
    summary_timeout: float = 60.0
    """Seconds for the summary. When it fails, the oldest entries are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """One thing that was said in a session."""

    role: str
    """Who said it: `user`, `member`, `summary`, or what else the writer calls it."""
    member: str = ""
    """Instance name of the member that said it, or that alone was asked; empty for all."""
    group: str = ""
    run_id: str = ""
    payload: Payload
    at: datetime
    """Wall clock, UTC."""
