"""The longer examples of JAF's page, ported line by line: a data analysis, a customer service, and what the page says of
production."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio

from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.patterns import (
    Agent,
    AgentToolInput,
    Message,
    ParallelAgentGroup,
    ParallelExecutionConfig,
    RunConfig,
    RunState,
    create_parallel_agents_tool,
    generate_run_id,
    generate_trace_id,
    run,
)

Default = Callable[..., ScriptedProvider]


async def test_example_2_data_analysis_pipeline() -> None:
    # Create specialized analysis agents
    data_validator = Agent(
        name="data_validator",
        instructions=lambda state: (
            """You are a data validation specialist.
    Analyze data for:
    - Missing values and inconsistencies

    Provide a comprehensive data quality report."""
        ),
        tools=[],
    )

    statistical_analyzer = Agent(
        name="statistical_analyzer",
        instructions=lambda state: (
            """You are a statistical analysis expert.
    Provide detailed statistical insights."""
        ),
        tools=[],
    )

    business_analyst = Agent(
        name="business_analyst",
        instructions=lambda state: (
            """You are a business intelligence specialist.
    Provide business-focused insights."""
        ),
        tools=[],
    )

    visualization_expert = Agent(
        name="visualization_expert",
        instructions=lambda state: (
            """You are a data visualization specialist.
    Provide visualization strategy."""
        ),
        tools=[],
    )

    # Create analysis groups
    core_analysis = ParallelAgentGroup(
        name="core_analysis",
        agents=[data_validator, statistical_analyzer],
        result_aggregation="combine",
        timeout=45.0,
        metadata={"priority": "high", "stage": "foundation"},
    )

    business_insights = ParallelAgentGroup(
        name="business_insights",
        agents=[business_analyst, visualization_expert],
        result_aggregation="combine",
        timeout=60.0,
        metadata={"priority": "medium", "stage": "insights"},
    )

    # Create comprehensive analysis tool
    analysis_tool = create_parallel_agents_tool(
        groups=[core_analysis, business_insights],
        tool_name="comprehensive_data_analysis",
        tool_description="Perform comprehensive data analysis across multiple dimensions",
        inter_group_execution="sequential",  # Core first, then insights
        global_timeout=180.0,
    )

    # Create main orchestrator
    data_analysis_orchestrator = Agent(
        name="data_analysis_orchestrator",
        instructions=lambda state: (
            """You coordinate comprehensive data analysis.

Provide a complete analysis that serves both technical and business stakeholders."""
        ),
        tools=[analysis_tool],
    )

    order: list[str] = []

    def answer(name: str) -> Callable[[Any], str]:
        def said(_request: Any) -> str:
            order.append(name)
            return name

        return said

    provider = ScriptedProvider(
        rules=[
            Rule(when_instructions="data validation", reply=answer("validated")),
            Rule(when_instructions="statistical analysis", reply=answer("analyzed")),
            Rule(when_instructions="business intelligence", reply=answer("kpis")),
            Rule(when_instructions="data visualization", reply=answer("charts")),
            Rule(when_result="charts", reply="the report"),
            Rule(when_instructions="coordinate", reply=[("comprehensive_data_analysis", {"input": "sales.csv"})]),
        ]
    )
    state = RunState(generate_run_id(), generate_trace_id(), [Message("user", "analyze")], "data_analysis_orchestrator")
    registry = {"data_analysis_orchestrator": data_analysis_orchestrator}
    finished = await run(state, RunConfig(agent_registry=registry, model_provider=provider, model_override="m"))
    assert finished.outcome.output == "the report"
    assert sorted(order[:2]) == ["analyzed", "validated"]
    assert sorted(order[2:]) == ["charts", "kpis"]
    tools = provider.requests[0].tools
    assert (tools[0].name, tools[0].description) == (
        "comprehensive_data_analysis",
        "Perform comprehensive data analysis across multiple dimensions",
    )


# Custom aggregator for customer service
def customer_service_aggregator(results: list[str]) -> dict[str, Any]:
    """Aggregate customer service responses intelligently."""
    if not results:
        return {"status": "no_response", "escalation_needed": True}

    # Categorize responses
    technical_responses = [r for r in results if "technical" in r.lower() or "system" in r.lower()]
    billing_responses = [r for r in results if "billing" in r.lower() or "payment" in r.lower()]
    product_responses = [r for r in results if "feature" in r.lower() or "product" in r.lower()]

    return {
        "status": "responses_available",
        "response_count": len(results),
        "technical_available": len(technical_responses) > 0,
        "billing_available": len(billing_responses) > 0,
        "product_available": len(product_responses) > 0,
        "all_responses": results,
        "primary_response": results[0],
        "response_summary": f"Received {len(results)} specialist responses covering multiple support areas.",
    }


@pytest.mark.parametrize("all_down", [False, True])
async def test_example_3_customer_service(default_model: Default, all_down: bool) -> None:
    # Create specialist agents
    technical_support = Agent(
        name="technical_support", instructions=lambda state: "You are a technical support specialist.", tools=[]
    )
    billing_support = Agent(
        name="billing_support", instructions=lambda state: "You are a billing and payments specialist.", tools=[]
    )
    product_expert = Agent(name="product_expert", instructions=lambda state: "You are a product specialist.", tools=[])

    # Create intelligent routing group
    support_specialists = ParallelAgentGroup(
        name="support_specialists",
        agents=[technical_support, billing_support, product_expert],
        result_aggregation="custom",
        custom_aggregator=customer_service_aggregator,
        timeout=60.0,
        metadata={"department": "customer_service"},
    )

    support_tool = create_parallel_agents_tool(
        groups=[support_specialists],
        tool_name="consult_support_specialists",
        tool_description="Get assistance from technical, billing, and product specialists",
        global_timeout=90.0,
    )
    default_model(
        rules=[
            Rule(when_instructions="technical support", reply="Restart the system."),
            Rule(when_instructions="billing", reply=RuntimeError("the billing desk is closed")),
            Rule(when_instructions="product", reply="The feature is called sync."),
        ]
        if not all_down
        else [Rule(when_instructions="specialist", reply=RuntimeError("closed"))]
    )
    told = json.loads(await support_tool.execute(AgentToolInput(input="It does not sync"), {}))
    group = told["parallel_execution_results"]["support_specialists"]
    answer = group["aggregated_result"]
    assert group["metadata"] == {"department": "customer_service"}
    if all_down:
        assert answer == {"status": "no_response", "escalation_needed": True}
        return
    assert answer["response_count"] == 2
    assert answer["billing_available"] is False
    assert answer["primary_response"] == "Restart the system."
    assert group["individual_results"]["billing_support"]["error"] is True


@pytest.mark.parametrize(("down", "agreed"), [(2, True), (3, False)])
async def test_majority_strategy(
    default_model: Default, down: int, agreed: bool, autojump_clock: trio.testing.MockClock
) -> None:
    failure = Say(error=RuntimeError("down"), delay=1)
    default_model(
        rules=[Rule(when_instructions=f"^agent{n}$", reply=failure) for n in range(6 - down, 6)],
        default=lambda request: f"Result {request.messages[0].text[-1]}",
    )
    agent1, agent2, agent3, agent4, agent5 = (Agent(name=f"agent{n}", instructions=f"agent{n}") for n in range(1, 6))
    group = ParallelAgentGroup(
        name="consensus_team",
        agents=[agent1, agent2, agent3, agent4, agent5],  # 5 agents
        result_aggregation="majority",
    )
    told = json.loads(await create_parallel_agents_tool([group]).execute(AgentToolInput("x")))
    answer = told["parallel_execution_results"]["consensus_team"]["aggregated_result"]
    if agreed:
        assert answer == "Result 1"
    else:
        assert answer == {
            "error": "no_majority",
            "results": ["Result 1", "Result 2"],  # Only 2 out of 5 succeeded
            "message": "Insufficient consensus reached",
        }


async def test_production_configuration(default_model: Default, caplog: pytest.LogCaptureFixture) -> None:
    provider = default_model(
        rules=[Rule(when_instructions="one", reply=RuntimeError("too busy"), times=1)], default="fine"
    )
    primary_group = ParallelAgentGroup("primary", [Agent(name="one", instructions="one")])
    config = ParallelExecutionConfig(
        groups=[primary_group],
        fallback_to_auto=True,  # Fall back to normal tool execution on failure
        max_retries=1,
    )
    told = json.loads(await create_parallel_agents_tool(config).execute(AgentToolInput("x")))
    group = told["parallel_execution_results"]["primary"]
    assert group["aggregated_result"]["combined_results"] == ["fine"]
    assert group["fallback"]["because"]["type"] == "NO_SUCCESSFUL_RESULTS"
    assert len(provider.requests) == 2

    def log_parallel_results(group_name: str, results: list[str], execution_time: float) -> None:
        logging.info(f"Parallel group '{group_name}' completed in {execution_time:.2f}s")  # noqa: LOG015, G004 - the page's

    with caplog.at_level(logging.INFO):
        seconds = group["execution_time_ms"] / 1000
        log_parallel_results(group["group_name"], group["aggregated_result"]["combined_results"], seconds)
    assert caplog.messages[-1].startswith("Parallel group 'primary' completed in ")


def test_more_agents_than_should_run_at_once_get_a_width_instead_of_batches() -> None:
    # Limit concurrent executions
    MAX_PARALLEL_AGENTS = 5  # noqa: N806 - the page's
    agents = [Agent(name=f"a{n}", instructions="x") for n in range(9)]
    group = ParallelAgentGroup("wide", agents, max_parallel=MAX_PARALLEL_AGENTS)
    assert group.max_parallel == 5
    assert group.names()[-1] == "a8"
