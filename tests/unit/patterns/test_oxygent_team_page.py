"""The examples of the reference page on team_size, line by line: only their imports are others. Each is asked, and does
what the page says of it."""

# ruff: noqa: ANN001, ANN003, ANN201, ANN204 - what the page's reader wrote stays as it is
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from collections.abc import Callable, Iterator

import pytest
from trio.testing import MockClock as Clock

from motet.agents.model.defaults import set_default_model
from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.model.chat import ChatRequest
from motet.patterns._team import SUMMARY
from motet.patterns.oxygent import (
    LocalAgent,
    OxyState,
    oxy_space,
)


def system_of(request: ChatRequest) -> str:
    return request.messages[0].text if request.messages[0].role == "system" else ""


def summaries(provider: ScriptedProvider) -> list[ChatRequest]:
    return [request for request in provider.requests if system_of(request) == SUMMARY]


def answers(provider: ScriptedProvider) -> list[ChatRequest]:
    return [request for request in provider.requests if system_of(request) != SUMMARY]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """Answers members with an idea after a second, and those who sum up with a summary."""
    made = ScriptedProvider(
        rules=[Rule(when_instructions="You are given a question", reply="the summary")],
        default=lambda request: Say(f"idea of {request.model}", delay=1.0),
    )
    set_default_model(made, "default-model")
    yield made
    set_default_model(None)
    oxy_space.clear()


# -------------------------------------------------------------------------------------------- basic parallel execution


class BrainstormingAgent(LocalAgent):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.llm_model = "gpt-4"
        self.team_size = 3  # Creates 3 team members
        self.prompt = """
        You are a creative brainstorming assistant.
        Generate innovative ideas and solutions for the given problem.
        Be creative and think outside the box.
        """


async def test_a_team_size_makes_that_many_members_that_work_at_once_and_one_summary(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    brainstorm_agent = BrainstormingAgent(name="brainstorm_coordinator")
    response = await brainstorm_agent.run("How do we save water?")
    assert response.output == "the summary"
    assert provider.peak == 3
    (summary,) = summaries(provider)
    asked = summary.messages[-1].text
    for number in (1, 2, 3):
        assert f"brainstorm_coordinator_{number}" in asked
    assert "How do we save water?" in asked
    assert {system_of(request) for request in answers(provider)} == {
        """You are a creative brainstorming assistant.
Generate innovative ideas and solutions for the given problem.
Be creative and think outside the box."""
    }


# ------------------------------------------------------------------------------------------------ problem-solving team


class ProblemSolvingTeam(LocalAgent):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.llm_model = "gpt-4"
        self.team_size = 4  # 4 different approaches
        self.tools = ["web_search", "calculator", "python_executor"]

        self.prompt = """
        You are part of a problem-solving team. Approach the given problem
        from your unique perspective and provide a comprehensive solution.

        Consider:
        - Different solution strategies
        - Alternative approaches
        - Potential edge cases
        - Implementation details

        Use available tools as needed to support your analysis.
        """


async def test_members_of_a_team_use_the_tools_that_it_names(provider: ScriptedProvider, autojump_clock: Clock) -> None:
    calculated = []

    async def calculator(expression: str) -> int:
        calculated.append(expression)
        return 4

    async def web_search(query: str) -> str:
        return query

    async def python_executor(code: str) -> str:
        return code

    def member(request: ChatRequest) -> str | list[tuple[str, dict[str, str]]]:
        if request.messages[-1].role == "tool":
            return f"it is {request.messages[-1].text}"
        return [("calculator", {"expression": "2+2"})]

    oxy_space.add(web_search, calculator, python_executor)
    provider._default = member
    response = await ProblemSolvingTeam(name="solvers").run("2+2?")
    assert response.output == "the summary"
    assert calculated == ["2+2"] * 4
    assert [tool.name for tool in answers(provider)[0].tools] == ["web_search", "calculator", "python_executor"]
    assert summaries(provider)[0].messages[-1].text.count("it is 4") == 4


async def test_a_tool_that_nobody_added_fails_the_team_with_its_name(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    response = await ProblemSolvingTeam(name="solvers").run("2+2?")
    assert response.state is OxyState.FAILED
    assert response.failure.reason == "TOOL_NOT_FOUND"
    assert "'web_search'" in response.failure.message
    assert provider.requests == []


# -------------------------------------------------------------------------------------------------- code review team


class CodeReviewTeam(LocalAgent):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.llm_model = "gpt-4"
        self.team_size = 3
        self.tools = ["static_analyzer", "security_scanner", "performance_profiler"]

        self.prompt = """
        You are a code reviewer focusing on different aspects:
        - Code quality and best practices
        - Security vulnerabilities
        - Performance optimization opportunities
        - Maintainability and readability

        Provide constructive feedback and specific recommendations.
        """


async def test_a_team_of_reviewers_gives_one_review(provider: ScriptedProvider, autojump_clock: Clock) -> None:
    team = CodeReviewTeam(name="reviewers")
    tools = ["static_analyzer", "security_scanner", "performance_profiler"]
    oxy_space.add(*map(named, tools))
    response = await team.run("def f(): ...")
    assert response.output == "the summary"
    assert {tool.name for tool in answers(provider)[0].tools} == set(tools)


def named(name: str) -> Callable[..., object]:
    async def tool(code: str) -> str:
        return name

    tool.__name__ = name
    return tool


# ------------------------------------------------------------------------------------------ advanced team configuration


class AdaptiveTeam(LocalAgent):
    def __init__(self, team_size=3, **kwargs):
        super().__init__(**kwargs)
        self.llm_model = "gpt-4"
        self.team_size = team_size

        # Each team member gets slightly different instructions
        self.prompt = """
        You are team member ${member_id} out of ${total_members}.
        Your role: ${role_description}

        Focus on: ${focus_area}

        Collaborate with your team by providing unique insights
        from your specialized perspective.
        """

    def customize_team_member(self, member_id: int, total_members: int):
        """Customize individual team member configurations"""
        roles = {
            1: {"role": "Creative Thinker", "focus": "innovative solutions"},
            2: {"role": "Critical Analyst", "focus": "potential problems and risks"},
            3: {"role": "Practical Implementer", "focus": "feasibility and execution"},
        }

        role_config = roles.get(member_id, {"role": "General Analyst", "focus": "comprehensive analysis"})

        return {
            "member_id": member_id,
            "total_members": total_members,
            "role_description": role_config["role"],
            "focus_area": role_config["focus"],
        }


async def test_each_member_of_an_adaptive_team_has_its_role(provider: ScriptedProvider, autojump_clock: Clock) -> None:
    await AdaptiveTeam(name="adaptive", team_size=4).run("What now?")
    told = sorted(system_of(request) for request in answers(provider))
    for number, (role, focus) in enumerate(
        [
            ("Creative Thinker", "innovative solutions"),
            ("Critical Analyst", "potential problems and risks"),
            ("Practical Implementer", "feasibility and execution"),
            ("General Analyst", "comprehensive analysis"),
        ]
    ):
        assert told[number].startswith(
            f"You are team member {number + 1} out of 4.\nYour role: {role}\n\nFocus on: {focus}\n"
        )


# --------------------------------------------------------------------------------------------- performance considerations


class ResourceOptimizedTeam(LocalAgent):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.team_size = 2  # Smaller teams for resource constraints

        # Optimize for efficiency
        self.short_memory_size = 5
        self.max_react_rounds = 8  # If using ReAct-based members


async def test_members_stop_after_their_rounds(provider: ScriptedProvider, autojump_clock: Clock) -> None:
    async def look() -> str:
        return "nothing"

    provider._default = lambda request: [("look", {})]
    team = ResourceOptimizedTeam(name="small", tools=[look])
    response = await team.run("Find it.")
    assert response.state is OxyState.FAILED
    assert {each["reason"] for each in response.extra["failed_members"]} == {"MAX_TURNS"}
    assert len(provider.requests) == 2 * 8
    assert {request.model for request in provider.requests} == {"default-model"}


class CostEffectiveTeam(LocalAgent):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.team_size = 3

        # Use cost-effective models for team members
        # Coordinator uses premium model for final summary
        self.llm_model = "gpt-4"  # Premium for coordination
        self.member_llm_model = "gpt-3.5-turbo"  # Cost-effective for members


async def test_members_use_the_cheap_model_and_the_summary_the_premium_one(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    await CostEffectiveTeam(name="thrifty").run("Why?")
    assert [request.model for request in answers(provider)] == ["gpt-3.5-turbo"] * 3
    assert [request.model for request in summaries(provider)] == ["gpt-4"]
