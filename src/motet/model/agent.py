"""What is known of an agent without calling it, and what it returns when it is called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from motet.model.payload import Payload
from motet.model.rate import Breaker, Rate
from motet.model.usage import Usage


class AgentKind(StrEnum):
    """What an agent is made of."""

    FUNCTION = "function"
    COMMAND = "command"
    HTTP = "http"
    MODEL = "model"
    MCP = "mcp"
    REMOTE = "remote"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """An agent's card: what a catalog lists and what the engine schedules by."""

    name: str
    """Unique in a catalog."""
    kind: AgentKind
    description: str = ""
    version: str = ""
    """Changes when the agent's behaviour does."""
    input_schema: str = ""
    """JSON Schema of the input, as JSON text; empty means any input."""
    max_parallel: int | None = None
    """Most calls at once in one engine; None means no bound of its own."""
    provider: str = ""
    """The provider whose bound it shares; empty means none."""
    timeout: float | None = None
    """Seconds for each call, where the member has no timeout of its own; None means no bound."""
    replay_safe: bool | None = None
    """A call may be made twice without harm. None means not said: it is not hedged, but made again after a crash."""
    labels: Mapping[str, str] = field(default_factory=dict)
    estimated_cost_nanos: int | None = None
    """What a call is expected to cost, in billionths of a US dollar; None means not known, 0 that it is free."""
    estimated_tokens: int | None = None
    """Tokens that a call is expected to use, input and output together; None means not known."""
    rate: Rate | None = None
    """How often it may be called in one engine; None means no bound of its own."""
    weight: float = 1.0
    """Calls that one call counts for against rates, its own and its provider's."""
    breaker: Breaker | None = None
    """When calls are refused because those before have failed; None means never."""
    composite: bool = False
    """A call does no work itself: groups that it runs do, and pay for it. Budgets set nothing aside for it but the call."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent returns."""

    output: Payload
    usage: Usage | None = None
    """What the call used; None counts as one call of unknown price, or a free one where the card says that it costs 0."""
    metadata: Mapping[str, Any] | None = None
    """JSON values kept with the outcome."""
