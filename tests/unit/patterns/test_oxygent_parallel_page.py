"""The examples of the reference page on ParallelAgent, line by line: only their imports are others. Each is asked, and does
what the page says of it."""

# ruff: noqa: ANN001, ANN003, ANN201, ANN204, BLE001, G004 - what the page's reader wrote stays as it is
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

import logging
import time
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock as Clock

from motet.agents.model.defaults import set_default_model
from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.model.chat import ChatRequest
from motet.patterns import oxygent as asyncio  # the page's `asyncio.gather`, on trio
from motet.patterns._team import SUMMARY
from motet.patterns.oxygent import (
    LocalAgent,
    Memory,
    Message,
    OxyRequest,
    OxyResponse,
    OxyState,
    ParallelAgent,
    Space,
    oxy_space,
)

logger = logging.getLogger(__name__)


class ShortUUID:
    """Stands in for the library that the page uses."""

    def random(self, length: int) -> str:
        return "p" * length


class shortuuid:  # noqa: N801 - the page's name
    ShortUUID = ShortUUID


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


# ------------------------------------------------------------------------------------------------- class definition


async def test_a_coordinator_made_directly_asks_the_members_that_it_names(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    members = [LocalAgent(name=f"member_{number}", llm_model="gpt-4") for number in (1, 2, 3)]
    parallel_agent = ParallelAgent(
        name="team_coordinator", llm_model="gpt-4", permitted_tool_name_list=["member_1", "member_2", "member_3"]
    )
    response = await parallel_agent.run("What now?")
    assert (response.state, response.output) == (OxyState.COMPLETED, "the summary")
    assert response.extra["team_size"] == len(members)
    assert provider.peak == 3
    assert trio.current_time() == pytest.approx(1.0, abs=0.1)


# -------------------------------------------------------------------------------------------- direct ParallelAgent usage


class AnalysisAgent(LocalAgent):
    def __init__(self, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.llm_model = "gpt-4"
        self.prompt = f"You are {name}, providing analysis from your specialized perspective."


async def test_specialists_made_before_are_found_by_their_names(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    market_analyst = AnalysisAgent(name="market_analyst")
    technical_analyst = AnalysisAgent(name="technical_analyst")
    risk_analyst = AnalysisAgent(name="risk_analyst")

    analysis_team = ParallelAgent(
        name="analysis_coordinator",
        llm_model="gpt-4",
        permitted_tool_name_list=["market_analyst", "technical_analyst", "risk_analyst"],
    )
    response = await analysis_team.run("Buy?")
    assert response.output == "the summary"
    assert {system_of(request).split(",")[0] for request in answers(provider)} == {
        f"You are {agent.name}" for agent in (market_analyst, technical_analyst, risk_analyst)
    }


# ------------------------------------------------------------------------------------------------- response aggregation


class DefaultSummary(ParallelAgent):
    """The page's default summarization, as an `_execute` of one's own."""

    async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
        oxy_responses = await asyncio.gather(
            *[oxy_request.call(callee=name, arguments=oxy_request.arguments) for name in self.permitted_tool_name_list]
        )
        temp_memory = Memory()
        temp_memory.add_message(
            Message.system_message(
                f"""You are a helpful assistant, the user's question is: {oxy_request.get_query()}.
Please summarize the results of the parallel execution of the above tasks."""
            )
        )
        temp_memory.add_message(
            Message.user_message(
                "The parallel results are as following:\n"
                + "\n".join([str(i + 1) + ". " + res.output for i, res in enumerate(oxy_responses)])
            )
        )
        return await oxy_request.call(callee=self.llm_model, arguments={"messages": temp_memory.to_dict_list()})


async def test_the_summary_of_the_page_is_asked_of_the_model_by_its_name(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    members = [LocalAgent(name=name, llm_model="gpt-4") for name in ("one", "two")]
    response = await DefaultSummary(
        name="coordinator", llm_model="premium", permitted_tool_name_list=[member.name for member in members]
    ).run("Why?")
    assert response.output == "idea of premium"
    request = provider.requests[-1]
    assert "the user's question is: Why?." in request.messages[0].text
    assert request.messages[1].text == "The parallel results are as following:\n1. idea of gpt-4\n2. idea of gpt-4"


class CustomAggregationAgent(ParallelAgent):
    async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
        # Get parallel results
        parallel_id = shortuuid.ShortUUID().random(length=16)
        oxy_responses = await asyncio.gather(
            *[
                oxy_request.call(
                    callee=permitted_tool_name,
                    arguments=oxy_request.arguments,
                    parallel_id=parallel_id,
                )
                for permitted_tool_name in self.permitted_tool_name_list
            ]
        )

        # Custom aggregation logic
        return await self.custom_aggregate(oxy_request, oxy_responses)

    async def custom_aggregate(self, oxy_request: OxyRequest, responses: list) -> OxyResponse:
        """Custom aggregation strategy"""

        # Analyze response quality
        scored_responses = []
        for i, response in enumerate(responses):
            score = self.evaluate_response_quality(response.output)
            scored_responses.append((score, i + 1, response.output))

        # Sort by quality score
        scored_responses.sort(reverse=True)

        # Create custom summary
        best_response = scored_responses[0]
        summary_prompt = f"""
        Based on {len(responses)} parallel analyses, here are the results ranked by quality:

        Best Response (Score: {best_response[0]}):
        {best_response[2]}

        Alternative Perspectives:
        {self.format_alternatives(scored_responses[1:3])}

        Provide a synthesized final answer combining the best insights.
        """

        return await oxy_request.call(
            callee=self.llm_model,
            arguments={"messages": [{"role": "user", "content": summary_prompt}]},
        )

    # The page leaves these two to its reader.
    def evaluate_response_quality(self, output):
        return len(output)

    def format_alternatives(self, scored):
        return "; ".join(output for _, _, output in scored)


async def test_a_custom_aggregation_ranks_what_members_say_and_asks_the_model_itself(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    short, long = LocalAgent(name="short", llm_model="ab"), LocalAgent(name="long", llm_model="abcdef")
    response = await CustomAggregationAgent(
        name="custom", llm_model="premium", permitted_tool_name_list=[short.name, long.name]
    ).run("Why?")
    assert response.output == "idea of premium"
    prompt = provider.requests[-1].messages[0].text
    assert "Based on 2 parallel analyses" in prompt
    assert "Best Response (Score: 14):\n        idea of abcdef" in prompt
    assert provider.peak == 2
    assert trio.current_time() == pytest.approx(2.0, abs=0.1)


# ---------------------------------------------------------------------------------------------------------- error handling


class FaultTolerantParallelAgent(ParallelAgent):
    async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
        parallel_id = shortuuid.ShortUUID().random(length=16)

        # Execute with error handling
        results = []
        for team_member in self.permitted_tool_name_list:
            try:
                response = await oxy_request.call(
                    callee=team_member,
                    arguments=oxy_request.arguments,
                    parallel_id=parallel_id,
                )
                results.append(response)
            except Exception as e:
                # Log error but continue with other team members
                logger.warning(f"Team member {team_member} failed: {e}")
                results.append(
                    OxyResponse(state=OxyState.ERROR, output=f"Team member {team_member} encountered an error")
                )

        # Filter out failed responses for summarization
        successful_responses = [r for r in results if r.state != OxyState.ERROR]

        if not successful_responses:
            return OxyResponse(state=OxyState.ERROR, output="All team members failed to process the request")

        # Summarize successful responses
        return await self.summarize_responses(oxy_request, successful_responses)


async def test_failed_members_are_left_out_of_the_summary(provider: ScriptedProvider, autojump_clock: Clock) -> None:
    good, bad = LocalAgent(name="good", llm_model="gpt-4"), LocalAgent(name="bad", tools=["no_such_tool"])
    response = await FaultTolerantParallelAgent(
        name="tolerant", llm_model="gpt-4", permitted_tool_name_list=[good.name, bad.name, "stranger"]
    ).run("Why?")
    assert response.output == "the summary"
    asked = summaries(provider)[0].messages[-1].text
    assert '{"number":1,"text":"idea of gpt-4"}' in asked
    assert "encountered an error" not in asked


async def test_a_team_of_which_all_failed_fails_with_what_its_author_says(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    response = await FaultTolerantParallelAgent(
        name="tolerant", llm_model="gpt-4", permitted_tool_name_list=["stranger"]
    ).run("Why?")
    assert response.state is OxyState.ERROR
    assert response.failure.message == "All team members failed to process the request"
    assert summaries(provider) == []


# ------------------------------------------------------------------------------------------------------------ monitoring


class MonitoredParallelAgent(ParallelAgent):
    async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
        start_time = time.time()

        # Execute parallel processing
        response = await super()._execute(oxy_request)

        # Track performance metrics
        total_time = time.time() - start_time
        team_size = len(self.permitted_tool_name_list)

        # Add metrics to response
        response.extra.update(
            {
                "team_size": team_size,
                "execution_time": total_time,
                "parallel_efficiency": total_time / team_size,
                "parallel_id": oxy_request.parallel_id,
            }
        )

        return response


async def test_metrics_that_an_author_adds_are_in_the_response(
    provider: ScriptedProvider, autojump_clock: Clock
) -> None:
    space = Space()
    members = [LocalAgent(name=name, llm_model="gpt-4", space=space) for name in ("one", "two")]
    response = await MonitoredParallelAgent(
        name="monitored", llm_model="gpt-4", permitted_tool_name_list=[m.name for m in members], space=space
    ).run("Why?")
    assert response.extra["team_size"] == 2
    assert response.extra["parallel_efficiency"] == pytest.approx(response.extra["execution_time"] / 2)
    assert response.extra["parallel_id"]
    assert response.extra["failed_members"] == []
