"""What to run: a tree of sequences and parallels whose leaves are groups of members. Values only; `motet.engine`
checks them against a catalog before anything starts."""

from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, TypeVar

from motet.model.agent import AgentInfo
from motet.model.payload import Payload


class Named(Protocol):
    """An agent given in place of its name."""

    @property
    def info(self) -> AgentInfo: ...


class OnFailure(StrEnum):
    """What a sequence does after a step that has no answer."""

    STOP = "STOP"
    """Later steps do not start; their groups are SKIPPED."""
    CONTINUE = "CONTINUE"
    """Later steps run all the same."""


class OnBreach(StrEnum):
    """What happens to running members when a budget is used up."""

    DRAIN = "DRAIN"
    """Nothing new starts, what runs may finish."""
    CANCEL = "CANCEL"
    """Nothing new starts, what runs is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed call is made again."""

    max_attempts: int = 1
    """Most attempts, the first included."""
    initial_backoff: float = 0.1
    """Seconds before the second attempt."""
    max_backoff: float = 10.0
    """Longest wait, in seconds."""
    backoff_multiplier: float = 2.0
    """Growth of the wait."""
    jitter: float = 0.5
    """Share of each wait that is random, 0 to 1."""
    reasons: tuple[str, ...] = ()
    """Failure reasons that are tried again; empty means those that the agent marks retryable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgePolicy:
    """A second attempt beside a slow one."""

    delay: float | None = None
    """Seconds before the second attempt; None means the agent's live 95th percentile."""
    max_attempts: int = 2
    """Most attempts at once, the first included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """A call with a key is made once: who asks again gets a copy of the answer. Only successes are kept."""

    key: str = ""
    """The caller's own, unique to its tenant; a group's has each member's name added. Empty means the hash of tenant,
    agent, its version and settings, input and variables."""
    ttl: float = 3600.0
    """Seconds for which an answer is given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a run or a group; None is no bound. Descendants count: nested groups, retries, hedges, questions of
    aggregations."""

    max_cost_nanos: int | None = None
    """Billionths of a US dollar."""
    max_tokens: int | None = None
    """Input and output together."""
    max_calls: int | None = None
    """Calls of agents, descendants included."""
    max_duration: float | None = None
    """Seconds that calls may run, added up."""
    max_failure_rate: float | None = None
    """Share of failed members, timeouts included, above which the group stops. Of a run: for each of its groups."""
    min_samples: int | None = None
    """Ended members before `max_failure_rate` is looked at; None means 5."""
    min_successes: int | None = None
    """Fewest successes for the group to succeed. Of a run: for each of its groups."""
    max_members: int | None = None
    """Most members in the run, replicas and those of nested runs counted; turns and tool calls of model agents are none."""
    max_depth: int | None = None
    """Deepest nesting of runs; 0 means that members may not run groups."""
    on_breach: OnBreach | None = None
    """What happens to running members when a budget is used up or too many have failed; None means DRAIN."""
    skip_infeasible: bool | None = None
    """Skip a member whose time left is below the live median of its agent's calls; None means no."""

    def tightened(self, other: "Limits | None") -> "Limits":
        """Both together: of each bound the narrower."""
        if other is None:
            return self
        breaches = (self.on_breach, other.on_breach)
        return Limits(
            max_cost_nanos=_least(self.max_cost_nanos, other.max_cost_nanos),
            max_tokens=_least(self.max_tokens, other.max_tokens),
            max_calls=_least(self.max_calls, other.max_calls),
            max_duration=_least(self.max_duration, other.max_duration),
            max_failure_rate=_least(self.max_failure_rate, other.max_failure_rate),
            min_samples=_least(self.min_samples, other.min_samples),
            min_successes=_most(self.min_successes, other.min_successes),
            max_members=_least(self.max_members, other.max_members),
            max_depth=_least(self.max_depth, other.max_depth),
            on_breach=OnBreach.CANCEL if OnBreach.CANCEL in breaches else self.on_breach or other.on_breach,
            skip_infeasible=True if self.skip_infeasible or other.skip_infeasible else self.skip_infeasible,
        )


@dataclass(frozen=True, slots=True)
class Aggregation:
    """The rule that turns outcomes into one answer."""

    name: str = "combine"
    """A name that the catalog knows."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The rule's options, JSON values."""
    early_stop: bool = True
    """Cancel the rest once the answer can no longer change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOverride:
    """What one replica of a member has of its own; None keeps the member's."""

    replica: int
    """Which one, from 1."""
    input: Payload | None = None
    variables: Mapping[str, Payload] = field(default_factory=dict)
    """Added to the member's; on the same name these win."""
    weight: float | None = None
    timeout: float | None = None
    """Seconds of run time."""


@dataclass(frozen=True, slots=True)
class Member:
    """An agent's seat in a group."""

    agent: "str | Named"
    """A name in the catalog, or the agent itself."""
    name: str = ""
    """Instance name, unique in the group; empty means the agent's name, with `_2`, `_3`, ... where it repeats."""
    input: Payload | None = None
    """Its own input; None means the run's."""
    variables: Mapping[str, Payload] = field(default_factory=dict)
    """Added to the run's; on the same name the member's wins."""
    weight: float = 1.0
    """Weight in aggregations that weigh."""
    timeout: float | None = None
    """Seconds of run time, queueing not counted; 0 means that it never starts, None no bound of its own."""
    replicas: int | None = None
    """n copies `name_1` ... `name_n`; None means one, unnumbered."""
    overrides: tuple[ReplicaOverride, ...] = ()
    """What single replicas have of their own."""
    retry: RetryPolicy | None = None
    """None means the group's."""
    idempotency: Idempotency | None = None
    """None means the group's."""

    @property
    def agent_name(self) -> str:
        return self.agent if isinstance(self.agent, str) else self.agent.info.name


@dataclass(frozen=True, slots=True)
class Group:
    """Members that run together, and the rule that combines what they say."""

    name: str
    """Unique in the plan."""
    members: "Items[Member | str | Named]"
    """In the order in which results are reported; a name or an agent stands for a plain member."""
    aggregation: "Aggregation | str" = field(default_factory=Aggregation)
    """A name stands for the rule with its defaults."""
    timeout: float | None = None
    """Seconds, queueing included; 0 means already over, None no bound of its own."""
    max_parallel: int | None = None
    """Most members that run at once; None means as many as there are."""
    limits: Limits | None = None
    retry: RetryPolicy | None = None
    """For members without a policy of their own."""
    hedge: HedgePolicy | None = None
    """For members whose agent is declared replay_safe."""
    idempotency: Idempotency | None = None
    """For members without a policy of their own; None means that every call is made."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON values, returned with the result, never interpreted."""
    preserve_session: bool = False
    """Members continue the run's session."""

    @property
    def seats(self) -> "tuple[Member, ...]":
        """The members, plain names and agents made into members."""
        return tuple(m if isinstance(m, Member) else Member(m) for m in self.members)

    @property
    def rule(self) -> Aggregation:
        """The aggregation, a plain name made into a rule."""
        return Aggregation(self.aggregation) if isinstance(self.aggregation, str) else self.aggregation


@dataclass(frozen=True, slots=True)
class Sequence:
    """Steps one after another; the output is the last step's."""

    steps: "Items[Plan]"
    feed_forward: bool = False
    """Each step gets the answers before it: as variables named after their groups, and as input where it has none."""
    on_failure: OnFailure | None = None
    """None means STOP with `feed_forward`, CONTINUE without."""
    timeout: float | None = None
    """Seconds from the sequence's start; 0 means already over, None no bound of its own."""


@dataclass(frozen=True, slots=True)
class Parallel:
    """Branches at the same time; the output is an object from group name to answer."""

    branches: "Items[Plan]"
    timeout: float | None = None
    """Seconds from the start; 0 means already over, None no bound of its own."""


N = TypeVar("N", int, float)


def _least(one: N | None, other: N | None) -> N | None:
    return other if one is None else one if other is None else min(one, other)


def _most(one: N | None, other: N | None) -> N | None:
    return other if one is None else one if other is None else max(one, other)


Plan: TypeAlias = Group | Sequence | Parallel
