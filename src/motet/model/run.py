"""What is known of a run from outside: the request it came from, where it stands and, at its end, its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from motet.model.payload import EMPTY, Payload
from motet.model.plan import Limits, Plan
from motet.model.result import RunResult
from motet.model.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as a store keeps it."""

    run_id: str
    state: State
    """RUNNING, or one of the ends."""
    target: str
    """The names of its groups, joined by commas."""
    started_at: datetime
    """Wall clock, UTC."""
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    """The caller's key; empty means none."""
    fingerprint: str = ""
    """Of the request, to tell a repeat from another request under the same key; empty with no key."""
    session_id: str = ""
    tenant: str = ""
    """On whose account it runs; empty means nobody's."""
    attached: bool = False
    """Its callers wait for it: it is not to go on without them."""
    ended_at: datetime | None = None
    """Wall clock, UTC; None while it runs."""
    last_sequence: int = 0
    """Number of the newest event that can be replayed; 0 means none yet."""
    result: RunResult | None = None
    """None while it runs, and in lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs to list, newest first."""

    states: frozenset[State] = frozenset()
    """Only these; empty means all."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Only runs that have all of them."""
    limit: int = 50
    """Most runs in the page; at least 1."""
    page_token: str = ""
    """`next_page_token` of the page before; empty means the first page."""


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of runs."""

    runs: tuple[RunRecord, ...]
    """Newest first, without results."""
    next_page_token: str
    """Empty means that this was the last page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What to run, with which input and within which bounds."""

    target: "Plan | str"
    """A plan, or the name of a group in the catalog."""
    input: Payload = EMPTY
    """What every member without its own receives."""
    request_id: str = ""
    """The caller's key, which makes a repeat safe; empty means none."""
    session_id: str = ""
    """The conversation this run belongs to; empty means none."""
    tenant: str = ""
    """On whose account it runs; empty means nobody's."""
    variables: Mapping[str, Payload] = field(default_factory=dict)
    """Values that members see by name."""
    limits: Limits | None = None
    timeout: float | None = None
    """Seconds for the whole run; 0 means already over, None no bound."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Kept with the run and given back."""
    depth: int = 0
    """Depth that the request says it comes from; the engine takes the deeper of this and what it knows itself."""
