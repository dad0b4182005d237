"""Whether, and when, a failed call is made again, and when a slow one gets company. Pure."""

from motet.model.outcome import Failure
from motet.model.plan import HedgePolicy, RetryPolicy
from motet.ports import Profile

HEDGE_SHARE = 0.95
"""A call that is slower than this share of its agent's calls is worth a second attempt."""


def retry_wait(policy: RetryPolicy | None, made: int, failure: Failure, chance: float) -> float | None:
    """Seconds to wait before the attempt after `made` attempts; None when there is to be none.

    `chance` is random, 0 to 1. What the agent asks for with `retry_after_seconds` is waited for at least.
    """
    if policy is None or made >= policy.max_attempts or not _passing(policy, failure):
        return None
    grown = policy.initial_backoff
    # Step by step, so that no power overflows; the bound is reached long before the most attempts are.
    for _ in range(made - 1):
        grown *= policy.backoff_multiplier
        if grown >= policy.max_backoff:
            break
    wait = min(grown, policy.max_backoff)
    wait *= 1.0 - policy.jitter * chance
    after = failure.details.get("retry_after_seconds")
    return max(wait, float(after)) if isinstance(after, int | float) and after > 0 else wait


def _passing(policy: RetryPolicy, failure: Failure) -> bool:
    if policy.reasons:
        return failure.reason in policy.reasons
    return bool(failure.details.get("retryable"))


def hedge_delay(policy: HedgePolicy | None, replay_safe: bool | None, profile: Profile | None) -> float | None:
    """Seconds after which a call gets company; None when it gets none: only agents declared replay_safe do, and none while
    its calls fail."""
    if policy is None or not replay_safe or policy.max_attempts < 2:
        return None
    if profile is not None and profile.failing:
        return None
    if policy.delay is not None:
        return policy.delay
    return profile.quantile(HEDGE_SHARE) if profile is not None else None
