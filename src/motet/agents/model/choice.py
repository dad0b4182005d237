"""Which model answers, and when the next one does in its place. Pure."""

from dataclasses import dataclass
from typing import Final

from motet.agents.model import reasons
from motet.model import reason
from motet.model.chat import Sampling
from motet.model.outcome import Failure, Outcome
from motet.model.state import State
from motet.ports import Provider


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that may answer."""

    provider: Provider | None
    """None means the program's default."""
    model: str
    """Empty means the default's; only without a provider."""
    sampling: Sampling | None = None
    """None means the agent's."""


FALLBACK_REASONS: Final = frozenset(
    {
        reasons.RATE_LIMITED,
        reasons.PROVIDER_UNAVAILABLE,
        reasons.PROVIDER_REJECTED,
        reasons.PROVIDER_DENIED,
        reasons.PROVIDER_INVALID,
        reason.CIRCUIT_OPEN,
        reason.RETRIES_EXHAUSTED,
        reason.DEADLINE_EXCEEDED,
    }
)
"""Failures of a turn that another model may not have. A wrong or too long request is among them: what one model refuses,
another may take. Not among them: budgets and quotas, which all models share; a refusal of the content; a cancellation."""


def falls_back(outcome: Outcome) -> bool:
    """Whether another model is to answer the turn that ended so."""
    failure = outcome.failure
    if failure is None or outcome.state is State.CANCELLED:
        return False
    return failure.reason in FALLBACK_REASONS or bool(failure.details.get("retryable"))


def worth_trying_again(failure: Failure) -> bool:
    """Whether the agent as a whole may have an answer when it is called once more."""
    return bool(failure.details.get("retryable"))
