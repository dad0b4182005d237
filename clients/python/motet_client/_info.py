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
    tenant: str = ""
    """On whose account it runs; empty means nobody's."""
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
class Rate:
    """Calls and tokens in a time. None is no bound; several bounds hold together."""

    calls_per_second: float | None = None
    calls_per_minute: float | None = None
    tokens_per_second: float | None = None
    """Input and output together."""
    tokens_per_minute: float | None = None
    burst: float | None = None
    """Calls that may start at once after a rest; None means one second's worth, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When calls are refused because those before have failed."""

    failures: int = 5
    """Failures in a row that open it."""
    cooldown: float = 30.0
    """Seconds for which it stays open; then it lets probes through."""
    probes: int = 1
    """Probes at once while it is half open, and successes in a row that close it."""


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
    replay_safe: bool | None = None
    """A call may be made twice without harm. None means not said: it is not hedged, but made again after a crash."""
    labels: Mapping[str, str] = field(default_factory=dict)
    estimated_cost_nanos: int | None = None
    """What a call is expected to cost, in billionths of a US dollar; None means not known, 0 that it is free."""
    estimated_tokens: int | None = None
    """Tokens that a call is expected to use, input and output together; None means not known."""
    rate: Rate | None = None
    """How often it may be called; None means no bound of its own."""
    weight: float = 1.0
    """Calls that one call counts for against rates."""
    breaker: Breaker | None = None
    """When calls are refused because those before have failed; None means never."""
    composite: bool = False
    """A call does no work itself: groups that it runs do, and pay for it."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """One bound and what is in use of it."""

    guard: str
    """Which guard enforces it: capacity, rate, budget, quota, failure_rate, breaker, ..."""
    scope: str
    """engine, provider, agent, tenant, run or group."""
    name: str = ""
    """Of the provider, agent or tenant; of a run its id, of a group the run's id, a slash and its name."""
    what: str
    """running, runs, calls, tokens, cost_nanos, seconds, failures, successes, retries or hedges."""
    limit: float | None = None
    """None means that there is no bound and the use is only counted."""
    used: float = 0.0
    """Spent, counted or running."""
    reserved: float = 0.0
    """Set aside for calls that run."""
    window: float | None = None
    """Seconds after which it counts anew, or to which a rate refers; None means neither."""
    state: str = ""
    """Of a breaker: closed, open or half_open; of a budget: breached when it is used up; else empty."""


@dataclass(frozen=True, slots=True)
class LimitsInUse:
    """What is in use of a server's limits at one moment."""

    uses: tuple[LimitUse, ...]
    """Sorted by scope, then by name."""
    waiting: int
    """Members and calls that wait for a limit, of all tenants."""


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
