"""One prompt over many tasks within bounds, under the names of ToolWeaver's pages. Thin: a dispatch is a group on the engine.

`coming-from` in the guides says what is named differently, and what failed there and holds here.
"""

from motet.patterns._toolweaver_aggregate import best_result, collect_all, majority_vote, rank_by_metric
from motet.patterns._toolweaver_dispatch import AggregateFailed, dispatch_agents, forget_answers
from motet.patterns._toolweaver_limits import DispatchQuotaExceeded, DispatchResourceLimits
from motet.patterns._toolweaver_results import DispatchResults, DispatchStats, SubAgentResult
from motet.patterns._toolweaver_together import AgentAnswers, execute_agents_parallel

__all__ = [
    "AgentAnswers",
    "AggregateFailed",
    "DispatchQuotaExceeded",
    "DispatchResourceLimits",
    "DispatchResults",
    "DispatchStats",
    "SubAgentResult",
    "best_result",
    "collect_all",
    "dispatch_agents",
    "execute_agents_parallel",
    "forget_answers",
    "majority_vote",
    "rank_by_metric",
]
