"""What an engine is doing, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from motet.model.limit_use import LimitUse
from motet.model.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """A moment of an engine. See `Engine.statistics`."""

    runs_active: int
    """Runs that have started and not ended, nested ones not counted."""
    runs_started: int
    """Since the engine opened."""
    runs_ended: Mapping[State, int] = field(default_factory=dict)
    """By end state, since the engine opened."""
    members_running: int
    """Members whose agent is being called."""
    members_waiting: int
    """Members of started groups that have not started."""
    members_detached: int
    """Members that were given up and still run, and threads that agents could not stop."""
    width_waiters: int
    """Groups and returning calls that wait for width."""
    limits: tuple[LimitUse, ...] = ()
    """What is in use of every limit."""
    draining: bool
    """New work is refused."""
