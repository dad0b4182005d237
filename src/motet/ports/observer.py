"""Observer: hears every event."""

from collections.abc import Callable
from typing import TypeAlias

from motet.model.event import Event

Observer: TypeAlias = Callable[[str, Event], None]
"""Hears every event of every run, as (run_id, event), at the moment it happens. Synchronous and quick; an observer that
raises is logged and not called again."""
