"""Where a run, a group or a member stands, and the table of moves that are allowed. The code, the docs, the store and
the property tests read this one table."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a run, a group or a member."""

    QUEUED = "QUEUED"
    """Accepted, not yet started."""
    RUNNING = "RUNNING"
    """Started, not yet ended."""
    SUCCEEDED = "SUCCEEDED"
    """Ended with an answer."""
    FAILED = "FAILED"
    """Ended without one."""
    TIMED_OUT = "TIMED_OUT"
    """Started, and its deadline passed."""
    CANCELLED = "CANCELLED"
    """Started, and was stopped by the caller or because the answer was decided."""
    SKIPPED = "SKIPPED"
    """Never started."""

    @property
    def ended(self) -> bool:
        """No move leads on from here."""
        return not TRANSITIONS[self]


ENDS: Final = frozenset({State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED, State.SKIPPED})

TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.QUEUED: frozenset({State.RUNNING, State.SKIPPED}),
    State.RUNNING: frozenset({State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED}),
    **{end: frozenset() for end in ENDS},
}
