"""The aggregators of JAF's page, ported line by line."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from motet.agents.model.providers.scripted import Rule, ScriptedProvider
from motet.patterns import Agent, AgentToolInput, ParallelAgentGroup, ParallelTool, create_parallel_agents_tool

Default = Callable[..., ScriptedProvider]


async def groups_of(tool: ParallelTool) -> dict[str, Any]:
    told = json.loads(await tool.execute(AgentToolInput(input="test"), context={}))
    found: dict[str, Any] = told["parallel_execution_results"]
    return found


def consensus_aggregator(results: list[str]) -> dict[str, Any]:
    """Custom aggregator that analyzes consensus patterns."""
    if len(results) < 2:
        return {"type": "single_result", "result": results[0] if results else "No results"}

    # Analyze for common themes
    themes: dict[str, int] = {}
    for result in results:
        if "recommend" in result.lower():
            themes["recommendation"] = themes.get("recommendation", 0) + 1
        if "concern" in result.lower():
            themes["concern"] = themes.get("concern", 0) + 1

    consensus_strength = max(themes.values()) / len(results) if themes else 0

    return {
        "type": "consensus_analysis",
        "agent_count": len(results),
        "themes": themes,
        "consensus_strength": consensus_strength,
        "all_results": results,
        "summary": f"Strong consensus ({consensus_strength:.1%})" if consensus_strength > 0.7 else "Weak consensus",
    }


async def test_custom_consensus_aggregator(default_model: Default) -> None:
    default_model(
        rules=[
            Rule(when_instructions="one", reply="I recommend A"),
            Rule(when_instructions="two", reply="We recommend A"),
            Rule(when_instructions="three", reply="Recommended: A"),
        ]
    )
    agent1, agent2, agent3 = (Agent(name=name, instructions=name) for name in ("one", "two", "three"))
    group = ParallelAgentGroup(
        name="consensus_team",
        agents=[agent1, agent2, agent3],
        result_aggregation="custom",
        custom_aggregator=consensus_aggregator,
    )
    answer = (await groups_of(create_parallel_agents_tool([group])))["consensus_team"]["aggregated_result"]
    assert answer["themes"] == {"recommendation": 3}
    assert answer["summary"] == "Strong consensus (100.0%)"


@pytest.mark.parametrize(
    ("failing", "status"),
    [((), "success"), (("secondary", "backup"), "partial_success"), (("primary", "secondary", "backup"), "all_failed")],
)
async def test_resilient_aggregator(default_model: Default, failing: tuple[str, ...], status: str) -> None:
    def resilient_aggregator(results: list[str]) -> dict[str, Any]:
        """Aggregator that handles partial failures gracefully."""
        if not results:
            return {"status": "all_failed", "fallback": "Using cached analysis"}

        if len(results) == 1:
            return {"status": "partial_success", "result": results[0]}

        # Combine successful results
        return {
            "status": "success",
            "primary_result": results[0],
            "supporting_results": results[1:],
            "confidence": len(results) / 3,  # Assuming 3 total agents
        }

    default_model(rules=[Rule(when_instructions=name, reply=RuntimeError("down")) for name in failing], default="fine")
    primary_agent, secondary_agent, backup_agent = (
        Agent(name=name, instructions=name) for name in ("primary", "secondary", "backup")
    )
    resilient_group = ParallelAgentGroup(
        name="resilient_analysts",
        agents=[primary_agent, secondary_agent, backup_agent],
        result_aggregation="custom",
        custom_aggregator=resilient_aggregator,
        timeout=45.0,
    )
    answer = (await groups_of(create_parallel_agents_tool([resilient_group])))["resilient_analysts"]
    assert answer["aggregated_result"]["status"] == status


async def test_best_practice_aggregator_for_few_answers(default_model: Default) -> None:
    expected_agents = [Agent(name=name, instructions=name) for name in ("a1", "a2", "a3")]

    def resilient_aggregator(results: list[str]) -> dict[str, Any]:
        """Handle partial failures gracefully."""
        if not results:
            return {
                "status": "all_failed",
                "fallback_action": "Use cached results or escalate to human",
                "retry_recommended": True,
            }

        if len(results) < len(expected_agents) / 2:
            return {
                "status": "insufficient_responses",
                "available_results": results,
                "confidence": "low",
                "recommendation": "Consider retry or escalation",
            }

        return {"status": "success", "results": results, "confidence": "high"}

    default_model(rules=[Rule(when_instructions="a[12]", reply=RuntimeError("down"))], default="fine")
    group = ParallelAgentGroup(
        "g", expected_agents, result_aggregation="custom", custom_aggregator=resilient_aggregator
    )
    told = json.loads(await create_parallel_agents_tool([group]).execute(AgentToolInput("x")))
    answer = told["parallel_execution_results"]["g"]["aggregated_result"]
    assert (answer["status"], answer["available_results"]) == ("insufficient_responses", ["fine"])
