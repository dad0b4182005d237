"""What a dispatch gives: one result for each task, in the order of the tasks, and their counts. Values; made of the
outcomes of a group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from motet.model.outcome import Outcome
from motet.model.state import State

TIMEOUT: Final = "timeout"
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgentResult:
    """How one task ended."""

    task_args: Mapping[str, Any]
    """The task's arguments, as they were given."""
    output: Any = None
    """What the agent said; None without an answer."""
    error: str | None = None
    """Why there is none: `timeout`, or a sentence."""
    duration_ms: float = 0.0
    """Of its run, waiting not included; 0 for an answer that was given before."""
    success: bool = False
    cost: float | None = 0.0
    """US dollars: what the agent told, else its estimate; None when neither is known. 0 for an answer that was given before,
    and for an agent that was not started."""
    reason: str = ""
    """Stable and upper case, where there is an error."""
    cached: bool = False
    """The answer was given before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchStats:
    """Counts over the tasks of one dispatch."""

    total_agents: int = 0
    completed_agents: int = 0
    """That succeeded."""
    failed_agents: int = 0
    """That started and did not."""
    skipped_agents: int = 0
    """That never started."""
    concurrent_count: int = 0
    """Most that ran at the same moment."""
    total_cost_usd: float = 0.0
    """Of the agents whose cost is known."""
    elapsed_seconds: float = 0.0
    failure_rate: float = 0.0
    """Share of those that started."""


class DispatchResults(list[SubAgentResult]):
    """The results in the order of the tasks, with their counts."""

    def __init__(self, results: Iterable[SubAgentResult] = (), stats: DispatchStats | None = None) -> None:
        super().__init__(results)
        self.stats = stats or DispatchStats()


def result_of(task: Mapping[str, Any], outcome: Outcome, output: Any) -> SubAgentResult:
    """Of one task; `output` is what the agent said, read."""
    failure = outcome.failure
    return SubAgentResult(
        task_args=task,
        output=output,
        error=None if failure is None else TIMEOUT if outcome.state is State.TIMED_OUT else failure.message,
        duration_ms=0.0 if outcome.cached else outcome.ran * 1000,
        success=outcome.succeeded,
        cost=cost_of(outcome),
        reason="" if failure is None else failure.reason,
        cached=outcome.cached,
    )


def cost_of(outcome: Outcome) -> float | None:
    """US dollars; None when some of it is not known."""
    if outcome.cached or outcome.state is State.SKIPPED:
        return 0.0
    return None if outcome.usage.unpriced_calls else outcome.usage.cost_nanos / _NANOS


def stats_of(
    results: Iterable[SubAgentResult], outcomes: Iterable[Outcome], peak: int, elapsed: float
) -> DispatchStats:
    """Of one dispatch."""
    states = [outcome.state for outcome in outcomes]
    skipped = states.count(State.SKIPPED)
    completed = states.count(State.SUCCEEDED)
    started = len(states) - skipped
    return DispatchStats(
        total_agents=len(states),
        completed_agents=completed,
        failed_agents=started - completed,
        skipped_agents=skipped,
        concurrent_count=peak,
        total_cost_usd=sum(result.cost or 0.0 for result in results),
        elapsed_seconds=elapsed,
        failure_rate=(started - completed) / started if started else 0.0,
    )
