"""The functions with which JAF's pages make tools of agents. Each makes a configuration and a tool of it, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from motet.engine.engine import Engine
from motet.patterns._jaf_groups import ParallelAgentGroup, ParallelExecutionConfig
from motet.patterns._jaf_tool import ParallelTool
from motet.ports import Agent

TOOL_NAME = "execute_parallel_agents"


def create_parallel_agents_tool(  # noqa: PLR0917 - the order of the pages
    groups: Sequence[ParallelAgentGroup] | ParallelExecutionConfig,
    tool_name: str = TOOL_NAME,
    tool_description: str = "Execute multiple agents in parallel groups",
    inter_group_execution: str = "sequential",
    global_timeout: float | None = None,
    preserve_session: bool = False,
    *,
    fallback_to_auto: bool = False,
    max_retries: int = 0,
    engine: Engine | None = None,
) -> ParallelTool:
    """A tool that runs several groups, one after another or side by side.

    A ParallelExecutionConfig in place of the groups brings everything but name and description. Times are in seconds.
    Raises ValueError, naming what is wrong.
    """
    config = groups
    if not isinstance(config, ParallelExecutionConfig):
        config = ParallelExecutionConfig(
            groups=config,
            inter_group_execution=inter_group_execution,
            global_timeout=global_timeout,
            preserve_session=preserve_session,
            fallback_to_auto=fallback_to_auto,
            max_retries=max_retries,
        )
    elif (inter_group_execution, global_timeout, preserve_session, fallback_to_auto, max_retries) != _UNSAID:
        raise ValueError("groups: is a ParallelExecutionConfig; say there how it runs, and leave the options out")
    return ParallelTool(config, tool_name, tool_description, engine=engine)


_UNSAID = ("sequential", None, False, False, 0)


def create_simple_parallel_tool(  # noqa: PLR0917 - the order of the pages
    agents: Sequence[Agent],
    group_name: str = "parallel_group",
    tool_name: str = TOOL_NAME,
    shared_input: bool = True,
    result_aggregation: str = "combine",
    timeout: float | None = None,
    *,
    custom_aggregator: Callable[[list[str]], Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    max_parallel: int | None = None,
    preserve_session: bool = False,
    engine: Engine | None = None,
) -> ParallelTool:
    """A tool that asks one group of agents. `timeout` is the group's, in seconds. Raises ValueError, naming what is wrong."""
    group = ParallelAgentGroup(
        group_name,
        agents,
        shared_input=shared_input,
        result_aggregation=result_aggregation,
        custom_aggregator=custom_aggregator,
        timeout=timeout,
        metadata=metadata,
        max_parallel=max_parallel,
    )
    names = ", ".join(group.names())
    config = ParallelExecutionConfig([group], preserve_session=preserve_session)
    return ParallelTool(config, tool_name, f"Asks these agents together: {names}", engine=engine)


def create_language_specialists_tool(
    language_agents: Mapping[str, Agent],
    tool_name: str = "consult_language_specialists",
    timeout: float | None = 30.0,
    *,
    engine: Engine | None = None,
) -> ParallelTool:
    """A tool that asks an agent for each language and combines what they say. `timeout` is in seconds. Raises ValueError."""
    languages = list(language_agents)
    group = ParallelAgentGroup(
        "language_specialists",
        list(language_agents.values()),
        timeout=timeout,
        metadata={"languages": languages},
    )
    described = f"Asks specialists of these languages together: {', '.join(languages)}"
    return ParallelTool(ParallelExecutionConfig([group]), tool_name, described, engine=engine)


def create_domain_experts_tool(
    expert_agents: Mapping[str, Agent],
    tool_name: str = "consult_domain_experts",
    result_aggregation: str = "combine",
    timeout: float | None = 60.0,
    *,
    custom_aggregator: Callable[[list[str]], Any] | None = None,
    engine: Engine | None = None,
) -> ParallelTool:
    """A tool that asks an expert of each domain. `timeout` is in seconds. Raises ValueError, naming what is wrong."""
    domains = list(expert_agents)
    group = ParallelAgentGroup(
        "domain_experts",
        list(expert_agents.values()),
        result_aggregation=result_aggregation,
        custom_aggregator=custom_aggregator,
        timeout=timeout,
        metadata={"domains": domains},
    )
    described = f"Asks experts of these domains together: {', '.join(domains)}"
    return ParallelTool(ParallelExecutionConfig([group]), tool_name, described, engine=engine)
