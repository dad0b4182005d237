"""The examples of JAF's page on parallel agents, ported line by line: imports change, and what runs them."""

import json
import time
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
    ParallelTool,
    RunConfig,
    RunState,
    create_domain_experts_tool,
    create_language_specialists_tool,
    create_parallel_agents_tool,
    create_simple_parallel_tool,
    generate_run_id,
    generate_trace_id,
    run,
)

Default = Callable[..., ScriptedProvider]


def says(**answers: str) -> list[Rule]:
    """Answers by a word of the instructions, underscores for spaces."""
    return [Rule(when_instructions=word.replace("_", " "), reply=text) for word, text in answers.items()]


async def groups_of(tool: ParallelTool, input: str = "test") -> dict[str, Any]:
    told = json.loads(await tool.execute(AgentToolInput(input=input), context={}))
    found: dict[str, Any] = told["parallel_execution_results"]
    return found


async def asked(orchestrator: Agent, tool_name: str, provider: ScriptedProvider) -> dict[str, Any]:
    """What an orchestrator reads of the tool that it calls."""
    state = RunState(generate_run_id(), generate_trace_id(), [Message("user", "go")], orchestrator.name)
    config = RunConfig(agent_registry={orchestrator.name: orchestrator}, model_provider=provider, model_override="m")
    finished = await run(state, config)
    assert finished.outcome.status == "completed", finished.outcome
    told: dict[str, Any] = json.loads(next(m.content for m in finished.final_state.messages if m.role == "tool"))
    return told


async def test_translation_group(default_model: Default) -> None:
    default_model(rules=says(Spanish="hola", French="bonjour"))
    # Create specialized agents
    spanish_agent = Agent(
        name="spanish_translator",
        instructions=lambda state: "Translate to Spanish and respond in Spanish only.",
        tools=[],
    )

    french_agent = Agent(
        name="french_translator",
        instructions=lambda state: "Translate to French and respond in French only.",
        tools=[],
    )

    # Create parallel group
    translation_group = ParallelAgentGroup(
        name="translators",
        agents=[spanish_agent, french_agent],
        shared_input=True,
        result_aggregation="combine",
        timeout=25.0,
        metadata={"category": "translation", "languages": ["spanish", "french"]},
    )
    group = (await groups_of(create_parallel_agents_tool(groups=[translation_group])))["translators"]
    assert group.pop("execution_time_ms") >= 0
    assert group == {
        "group_name": "translators",
        "agent_count": 2,
        "individual_results": {
            "spanish_translator": {"success": True, "result": "hola"},
            "french_translator": {"success": True, "result": "bonjour"},
        },
        "aggregated_result": {"combined_results": ["hola", "bonjour"], "result_count": 2},
        "metadata": {"category": "translation", "languages": ["spanish", "french"]},
    }


async def test_quick_start_simple_tool_in_an_orchestrator() -> None:
    # Create agents
    math_agent = Agent(name="math_expert", instructions=lambda s: "Solve math problems", tools=[])
    science_agent = Agent(name="science_expert", instructions=lambda s: "Explain science", tools=[])

    # Create parallel tool (one line!)
    parallel_tool = create_simple_parallel_tool(
        agents=[math_agent, science_agent],
        group_name="experts",
        tool_name="consult_experts",
        shared_input=True,
        result_aggregation="combine",
        timeout=30.0,
    )

    # Use in orchestrator
    orchestrator = Agent(
        name="orchestrator",
        instructions=lambda s: "Use consult_experts for multi-expert analysis",
        tools=[parallel_tool],
    )
    provider = ScriptedProvider(
        rules=[
            *says(Solve_math="4", Explain_science="atoms"),
            Rule(when_result="atoms", reply="4 atoms"),
            Rule(when_instructions="Use consult_experts", reply=[("consult_experts", {"input": "2+2?"})]),
        ]
    )
    told = await asked(orchestrator, "consult_experts", provider)
    assert told["parallel_execution_results"]["experts"]["aggregated_result"] == {
        "combined_results": ["4", "atoms"],
        "result_count": 2,
    }
    assert (told["execution_mode"], told["total_groups"]) == ("sequential", 1)


async def test_quick_start_language_specialists_and_domain_experts(default_model: Default) -> None:
    default_model(rules=says(Spanish="hola", French="salut", Technical="tech", Business="biz"))
    # Create language agents
    spanish_agent = Agent(name="spanish", instructions=lambda s: "Respond in Spanish", tools=[])
    french_agent = Agent(name="french", instructions=lambda s: "Respond in French", tools=[])

    # Create language tool
    language_tool = create_language_specialists_tool(
        language_agents={
            "spanish": spanish_agent,
            "french": french_agent,
        },
        tool_name="translate_parallel",
        timeout=25.0,
    )
    # Create expert agents
    tech_agent = Agent(name="tech", instructions=lambda s: "Technical advice", tools=[])
    business_agent = Agent(name="business", instructions=lambda s: "Business strategy", tools=[])

    # Create experts tool
    experts_tool = create_domain_experts_tool(
        expert_agents={
            "tech": tech_agent,
            "business": business_agent,
        },
        tool_name="consult_experts",
        result_aggregation="combine",
        timeout=60.0,
    )
    languages = (await groups_of(language_tool))["language_specialists"]
    assert languages["aggregated_result"]["combined_results"] == ["hola", "salut"]
    assert languages["metadata"] == {"languages": ["spanish", "french"]}
    domains = (await groups_of(experts_tool))["domain_experts"]
    assert domains["aggregated_result"]["combined_results"] == ["tech", "biz"]
    assert domains["metadata"] == {"domains": ["tech", "business"]}


async def test_several_groups_with_strategies_of_their_own(default_model: Default, autojump_clock: object) -> None:
    default_model(
        rules=[
            Rule(when_instructions="tech", reply=Say("slow", delay=10)),
            *says(creative="quick", business="biz", legal="law"),
        ]
    )
    tech_agent, creative_agent, business_agent, legal_agent = (
        Agent(name=name, instructions=name) for name in ("tech", "creative", "business", "legal")
    )
    # Define multiple groups
    rapid_response = ParallelAgentGroup(
        name="rapid_response",
        agents=[tech_agent, creative_agent],
        result_aggregation="first",
        timeout=15.0,
        metadata={"priority": "high"},
    )

    analysis_team = ParallelAgentGroup(
        name="analysis_team",
        agents=[business_agent, legal_agent],
        result_aggregation="combine",
        timeout=30.0,
        metadata={"priority": "medium"},
    )

    comprehensive_tool = create_parallel_agents_tool(
        groups=[rapid_response, analysis_team],
        tool_name="multi_team_analysis",
        inter_group_execution="parallel",  # Execute groups in parallel
        global_timeout=60.0,
        preserve_session=False,
    )
    told = json.loads(await comprehensive_tool.execute(AgentToolInput(input="x"), {}))
    assert (told["execution_mode"], told["total_groups"]) == ("parallel", 2)
    groups = told["parallel_execution_results"]
    assert groups["rapid_response"]["aggregated_result"] == "quick"
    assert groups["rapid_response"]["individual_results"]["tech"]["type"] == "DECIDED"
    assert groups["analysis_team"]["aggregated_result"]["result_count"] == 2
    config = ParallelExecutionConfig(
        groups=[rapid_response, analysis_team],
        inter_group_execution="sequential",  # or "parallel"
        global_timeout=120.0,
        preserve_session=True,  # Share session across agent calls
    )
    assert json.loads(await create_parallel_agents_tool(config).execute(AgentToolInput("x")))["total_groups"] == 2


async def test_example_1_translation_service(capsys: pytest.CaptureFixture[str]) -> None:
    # Create language specialists
    spanish_agent = Agent(
        name="spanish_specialist",
        instructions=lambda state: "Traduce al español y responde solo en español.",
        tools=[],
    )

    french_agent = Agent(
        name="french_specialist",
        instructions=lambda state: "Traduis en français et réponds seulement en français.",
        tools=[],
    )

    german_agent = Agent(
        name="german_specialist",
        instructions=lambda state: "Übersetze ins Deutsche und antworte nur auf Deutsch.",
        tools=[],
    )

    # Create parallel language tool
    language_tool = create_language_specialists_tool(
        language_agents={"spanish": spanish_agent, "french": french_agent, "german": german_agent},
        tool_name="translate_to_multiple_languages",
        timeout=30.0,
    )

    # Create orchestrator
    orchestrator = Agent(
        name="translation_orchestrator",
        instructions=lambda state: (
            """You coordinate multiple language specialists.

When given text to translate:
1. Use translate_to_multiple_languages to get translations in all supported languages
2. Present the translations in a clear, organized format
3. Explain any cultural nuances or translation challenges

Always use the parallel translation tool to provide comprehensive multilingual support."""
        ),
        tools=[language_tool],
    )

    async def run_translation_demo() -> None:
        """Demo the parallel translation service."""
        # Setup (you'll need to configure your LLM provider)
        model_provider = ScriptedProvider(
            rules=[
                *says(español="¿Cómo estás?", français="Comment vas-tu ?", Deutsche="Wie geht es dir?"),
                Rule(when_result="Wie geht", reply="Three translations: ..."),
                Rule(
                    when_instructions="coordinate",
                    reply=[("translate_to_multiple_languages", {"input": "Hello, how are you today?"})],
                ),
            ]
        )

        # Create agent registry
        agent_registry = {
            "translation_orchestrator": orchestrator,
            "spanish_specialist": spanish_agent,
            "french_specialist": french_agent,
            "german_specialist": german_agent,
        }

        # Create run state
        initial_state = RunState(
            run_id=generate_run_id(),
            trace_id=generate_trace_id(),
            messages=[
                Message(
                    role="user",
                    content="Please translate 'Hello, how are you today?' into multiple languages.",
                )
            ],
            current_agent_name="translation_orchestrator",
            context={},
            turn_count=0,
        )

        # Create run config
        config = RunConfig(agent_registry=agent_registry, model_provider=model_provider, max_turns=3)

        # Execute
        result = await run(initial_state, config)

        print("Translation Results:")  # noqa: T201 - the page's
        for message in result.final_state.messages:
            if message.role == "assistant":
                print(message.content)  # noqa: T201 - the page's

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MOTET_MODEL", "any")
        await run_translation_demo()
    assert capsys.readouterr().out.splitlines() == ["Translation Results:", "", "Three translations: ..."]


async def test_timing_wrapper_replaces_execute(default_model: Default, capsys: pytest.CaptureFixture[str]) -> None:
    # Add timing wrapper
    def timed_parallel_tool(agents: list[Agent], **kwargs: Any) -> ParallelTool:
        tool = create_simple_parallel_tool(agents, **kwargs)

        original_execute = tool.execute

        async def timed_execute(args: AgentToolInput, context: Any) -> str:
            start_time = time.time()
            result: str = await original_execute(args, context)
            end_time = time.time()

            print(f"Parallel execution completed in {end_time - start_time:.2f} seconds")  # noqa: T201 - the page's
            return result

        tool.execute = timed_execute
        return tool

    tool = timed_parallel_tool([Agent(name="a", instructions="one")], tool_name="timed")
    boss = Agent(name="boss", instructions="boss", tools=[tool])
    provider = ScriptedProvider(
        rules=[
            *says(one="1"),
            Rule(when_result="1", reply="done"),
            Rule(when_instructions="boss", reply=[("timed", {"input": "x"})]),
        ]
    )
    told = await asked(boss, "timed", provider)
    assert told["parallel_execution_results"]["parallel_group"]["individual_results"]["a"]["result"] == "1"
    assert capsys.readouterr().out.startswith("Parallel execution completed in ")


async def test_agents_listed_three_times_run_three_times_together(
    default_model: Default, autojump_clock: trio.testing.MockClock
) -> None:
    default_model(default=Say("done", delay=5))
    # Create test agents with artificial delays
    slow_agent = Agent(name="slow", instructions=lambda s: "Wait 5 seconds then respond", tools=[])

    parallel_tool = create_simple_parallel_tool(
        agents=[slow_agent, slow_agent, slow_agent],  # 3 slow agents
        timeout=10.0,
    )

    start_time = trio.current_time()
    # Execute (should take ~5s in parallel, not 15s sequential)
    result = await parallel_tool.execute(AgentToolInput(input="test"), context={})
    end_time = trio.current_time()

    execution_time = end_time - start_time
    # Should be ~5s (parallel) not ~15s (sequential)
    assert execution_time < 8.0, f"Expected parallel execution, got {execution_time:.1f}s"
    group = json.loads(result)["parallel_execution_results"]["parallel_group"]
    assert list(group["individual_results"]) == ["slow", "slow_2", "slow_3"]
    assert group["aggregated_result"]["result_count"] == 3
