"""What a server tells of its runs and its catalog, and the small nouns of `start` and `map`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from motet_client._plan import Group
from motet_client._result import RunResult, State


@dataclass(frozen=True, slots=True)
class Started:
    """A run that goes on in the background."""

    run_id: str
    """By which `get`, `watch` and `cancel` find it."""
    existing: bool
    """The request_id was known, and this is the run it had started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A background run, as it stands."""

    run_id: str
    state: State
    """RUNNING, or one of the ends."""
    target: str
    """The names of its groups, joined by commas."""
    started_at: datetime
    """By the server's clock, in UTC."""
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    """The caller's key; empty means none."""
    session_id: str = ""
    ended_at: datetime | None = None
    """By the server's clock, in UTC; None while it runs."""
    last_sequence: int = 0
    """Number of the newest event that can be replayed; 0 means none yet."""
    result: RunResult | None = None
    """None while it runs, and in lists."""


class AgentKind(StrEnum):
    """What an agent is made of."""

    FUNCTION = "function"
    COMMAND = "command"
    HTTP = "http"
    MODEL = "model"
    MCP = "mcp"
    REMOTE = "remote"
    GROUP = "group"
    UNKNOWN = "unknown"
    """Something that this client is too old to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """An agent's card."""

    name: str
    """Unique in the catalog."""
    kind: AgentKind
    description: str = ""
    version: str = ""
    """Changes when the agent's behaviour does."""
    input_schema: str = ""
    """JSON Schema of the input, as JSON text; empty means any input."""
    max_parallel: int | None = None
    """Most calls at once; None means no bound of its own."""
    provider: str = ""
    """The provider whose bound it shares; empty means none."""
    timeout: float | None = None
    """Seconds for each call; None means no bound of its own."""
    replay_safe: bool = False
    """A call may be made twice without harm."""
    labels: Mapping[str, str] = field(default_factory=dict)
    estimated_cost_nanos: int | None = None
    """What a call is expected to cost, in billionths of a US dollar; None means not known, 0 that it is free."""


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group of the catalog."""

    group: Group
    """The group as it would run."""
    description: str = ""

    @property
    def name(self) -> str:
        return self.group.name


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationInfo:
    """A rule that a group may name."""

    name: str
    description: str = ""
    options_schema: str = ""
    """JSON Schema of its options, as JSON text; empty means that it has none."""
    decides_early: bool = False
    """It may know the answer before every member has ended."""


@dataclass(frozen=True, slots=True)
class MapInput:
    """One input of `map` that needs a name or variables of its own."""

    payload: object
    """A str, bytes, a Payload or any JSON value."""
    id: str = ""
    """Given back with the answer."""
    variables: Mapping[str, object] = field(default_factory=dict)
    """Added to the request's; on the same name these win."""


@dataclass(frozen=True, slots=True)
class MapResult:
    """The answer to one input of `map`."""

    index: int
    """The input's place in the stream, from 0."""
    id: str
    """The caller's name for it; empty means that none was given."""
    result: RunResult
