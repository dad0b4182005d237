"""What a conversation remembers."""

from dataclasses import dataclass
from datetime import datetime

from motet.model.payload import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """One thing that was said in a session."""

    role: str
    """Who said it: `user`, `member`, or what else the writer calls it."""
    member: str = ""
    """Instance name of the member; empty when none said it."""
    group: str = ""
    run_id: str = ""
    payload: Payload
    at: datetime
    """Wall clock, UTC."""
