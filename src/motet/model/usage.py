"""What calls have used. A price that is not known is counted as unpriced, never as zero."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Calls, tokens and money, of one call or of many added up."""

    calls: int = 0
    """Calls of agents, nested ones included."""
    input_tokens: int = 0
    """Tokens read by models."""
    output_tokens: int = 0
    """Tokens written by models."""
    cost_nanos: int = 0
    """Money of the calls whose price is known, in billionths of a US dollar."""
    unpriced_calls: int = 0
    """Calls whose price is not known; they are not in `cost_nanos`."""

    def __add__(self, other: "Usage") -> "Usage":
        if other is NONE:
            return self
        if self is NONE:
            return other
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_nanos=self.cost_nanos + other.cost_nanos,
            unpriced_calls=self.unpriced_calls + other.unpriced_calls,
        )


NONE: Final = Usage()
"""Nothing was called."""
UNPRICED_CALL: Final = Usage(calls=1, unpriced_calls=1)
"""One call of an agent that told no price: what a reply without usage counts as."""
FREE_CALL: Final = Usage(calls=1)
"""The same of an agent whose card says that it costs nothing."""
