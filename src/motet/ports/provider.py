"""Provider: a service that answers turns of a conversation with a language model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import trio

from motet.model.chat import ChatReply, ChatRequest

Hear: TypeAlias = Callable[[str], None]
"""Takes each piece of the answer's text as it comes. Cheap, never waits."""


def nobody(_piece: str) -> None:
    """Hears nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatContext:
    """What goes along with a request beside what the model sees."""

    deadline: float
    """On trio's clock; infinite when there is none."""
    idempotency_key: str = ""
    """The same for each attempt of one turn; empty means none."""
    hear: Hear = nobody
    width: int | None = None
    """Most requests that this program sends at once, as far as is known: for the size of a connection pool."""

    def time_left(self) -> float:
        """Seconds until the deadline; infinite when there is none, 0 when it has passed."""
        return max(0.0, self.deadline - trio.current_time())


@runtime_checkable
class Provider(Protocol):
    """Answers turns. One serves any number of agents at once.

    `chat` makes one request and never repeats it: whoever calls knows the budget of time and money. It raises AgentError
    with a reason of `motet.agents.model.reasons`, `retryable` when the same request may succeed later, and `retry_after` in
    seconds when the service said how long to wait. Cancelled, it closes its connection, so that the service stops writing,
    and lets `trio.Cancelled` through.

    One whose answers depend on more than its name, such as its address, has a `settings` property too, as agents have: a
    mapping without secrets. One that holds connections may have a `life`, whose `use(call)` each call tells.
    """

    @property
    def name(self) -> str:
        """What agents of it share their bounds under: `providers.NAME` of a catalog."""
        ...

    @property
    def system(self) -> str:
        """The kind of service, as OpenTelemetry's `gen_ai.provider.name` has it: `openai`, `anthropic`, ..."""
        ...

    async def chat(self, request: ChatRequest, context: ChatContext, /) -> ChatReply: ...

    async def aclose(self) -> None:
        """Release connections. It may be used again afterwards, with new ones."""
        ...
