"""Ready-made shapes, under the names of the pages that describe them elsewhere. Each builds a plan and runs it on the engine.

Names load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet.patterns._team import Role, Team, team
    from motet.patterns.jaf import (
        Agent,
        AgentToolInput,
        FinishedRun,
        Message,
        ParallelAgentGroup,
        ParallelExecutionConfig,
        ParallelTool,
        RunConfig,
        RunOutcome,
        RunState,
        create_domain_experts_tool,
        create_language_specialists_tool,
        create_parallel_agents_tool,
        create_simple_parallel_tool,
        generate_run_id,
        generate_trace_id,
        make_litellm_provider,
        run,
    )
    from motet.patterns.oxygent import LocalAgent, ParallelAgent
    from motet.patterns.toolweaver import (
        AgentAnswers,
        AggregateFailed,
        DispatchQuotaExceeded,
        DispatchResourceLimits,
        DispatchResults,
        DispatchStats,
        SubAgentResult,
        best_result,
        collect_all,
        dispatch_agents,
        execute_agents_parallel,
        forget_answers,
        majority_vote,
        rank_by_metric,
    )

_LAZY = {
    "Agent": "jaf",
    "AgentAnswers": "toolweaver",
    "AgentToolInput": "jaf",
    "AggregateFailed": "toolweaver",
    "DispatchQuotaExceeded": "toolweaver",
    "DispatchResourceLimits": "toolweaver",
    "DispatchResults": "toolweaver",
    "DispatchStats": "toolweaver",
    "FinishedRun": "jaf",
    "LocalAgent": "oxygent",
    "Message": "jaf",
    "ParallelAgent": "oxygent",
    "ParallelAgentGroup": "jaf",
    "ParallelExecutionConfig": "jaf",
    "ParallelTool": "jaf",
    "Role": "_team",
    "RunConfig": "jaf",
    "RunOutcome": "jaf",
    "RunState": "jaf",
    "SubAgentResult": "toolweaver",
    "Team": "_team",
    "best_result": "toolweaver",
    "collect_all": "toolweaver",
    "create_domain_experts_tool": "jaf",
    "create_language_specialists_tool": "jaf",
    "create_parallel_agents_tool": "jaf",
    "create_simple_parallel_tool": "jaf",
    "dispatch_agents": "toolweaver",
    "execute_agents_parallel": "toolweaver",
    "forget_answers": "toolweaver",
    "generate_run_id": "jaf",
    "generate_trace_id": "jaf",
    "majority_vote": "toolweaver",
    "make_litellm_provider": "jaf",
    "rank_by_metric": "toolweaver",
    "run": "jaf",
    "team": "_team",
}

__all__ = [
    "Agent",
    "AgentAnswers",
    "AgentToolInput",
    "AggregateFailed",
    "DispatchQuotaExceeded",
    "DispatchResourceLimits",
    "DispatchResults",
    "DispatchStats",
    "FinishedRun",
    "LocalAgent",
    "Message",
    "ParallelAgent",
    "ParallelAgentGroup",
    "ParallelExecutionConfig",
    "ParallelTool",
    "Role",
    "RunConfig",
    "RunOutcome",
    "RunState",
    "SubAgentResult",
    "Team",
    "best_result",
    "collect_all",
    "create_domain_experts_tool",
    "create_language_specialists_tool",
    "create_parallel_agents_tool",
    "create_simple_parallel_tool",
    "dispatch_agents",
    "execute_agents_parallel",
    "forget_answers",
    "generate_run_id",
    "generate_trace_id",
    "majority_vote",
    "make_litellm_provider",
    "rank_by_metric",
    "run",
    "team",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"motet.patterns.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
