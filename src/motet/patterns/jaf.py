"""Groups of agents as one tool, under the names of JAF's pages. Thin: each builds a plan and runs it on the engine.

`coming-from` in the guides says what is named differently, and what failed there and holds here.
"""

from motet.patterns._jaf_agent import Agent, Message, RunState, generate_run_id, generate_trace_id
from motet.patterns._jaf_groups import ParallelAgentGroup, ParallelExecutionConfig
from motet.patterns._jaf_run import FinishedRun, RunConfig, RunOutcome, make_litellm_provider, run
from motet.patterns._jaf_tool import AgentToolInput, ParallelTool
from motet.patterns._jaf_tools import (
    create_domain_experts_tool,
    create_language_specialists_tool,
    create_parallel_agents_tool,
    create_simple_parallel_tool,
)

__all__ = [
    "Agent",
    "AgentToolInput",
    "FinishedRun",
    "Message",
    "ParallelAgentGroup",
    "ParallelExecutionConfig",
    "ParallelTool",
    "RunConfig",
    "RunOutcome",
    "RunState",
    "create_domain_experts_tool",
    "create_language_specialists_tool",
    "create_parallel_agents_tool",
    "create_simple_parallel_tool",
    "generate_run_id",
    "generate_trace_id",
    "make_litellm_provider",
    "run",
]
