"""The examples of ToolWeaver's page on parallel agents, ported line by line, and agents that are simply run together."""

import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import trio

import motet
from motet.agents.model.providers.scripted import Rule, ScriptedProvider
from motet.patterns import Agent, execute_agents_parallel

Default = Callable[..., ScriptedProvider]


@pytest.fixture
def agents(default_model: Default) -> list[Agent]:
    default_model(
        rules=[
            Rule(when_instructions="one", reply={"category": "food", "amount": 10}),
            Rule(when_instructions="two", reply={"category": "travel", "amount": 40}),
            Rule(when_instructions="three", reply={"category": "food", "amount": 10}),
        ]
    )
    return [Agent(name, instructions=name) for name in ("one", "two", "three")]


async def test_consensus_voting(agents: list[Agent]) -> None:
    agent1, agent2, agent3 = agents
    # Execute agents in parallel
    results = await execute_agents_parallel([agent1, agent2, agent3])

    # Majority vote
    votes = Counter([r["category"] for r in results])
    winner = votes.most_common(1)[0][0]
    assert winner == "food"


async def test_best_of_n_selection(agents: list[Agent]) -> None:
    results = await execute_agents_parallel(agents)

    def score_quality(r: dict[str, Any]) -> float:
        return float(r["amount"])

    # Score each result
    scored = [(score_quality(r), r) for r in results]

    # Select best
    best_result = max(scored, key=lambda x: x[0])[1]
    assert best_result["category"] == "travel"


async def test_ensemble_aggregation(agents: list[Agent]) -> None:
    results = await execute_agents_parallel(agents)
    # Average predictions
    predictions = [r["amount"] for r in results]
    final_amount = statistics.mean(predictions)
    assert final_amount == 20


async def test_functions_are_agents_too_and_failures_stand_apart() -> None:
    async def fine() -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        return {"n": 1}

    def broken(text: str) -> str:
        raise ValueError(text)

    answers = await execute_agents_parallel([fine, broken, lambda text: text.upper()], "question")
    assert list(answers) == [{"n": 1}, "QUESTION"]
    assert answers.failures["broken"].message == "ValueError: question"
    assert [outcome.member for outcome in answers.outcomes] == ["fine", "broken", "agent_3"]


async def test_agents_run_together_within_width_and_time(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(seconds: int) -> int:
        await trio.sleep(seconds)
        return seconds

    begun = trio.current_time()
    assert await execute_agents_parallel([slow, slow, slow], 2, max_parallel=2, timeout=3) == [2, 2]
    assert trio.current_time() - begun == pytest.approx(3)


async def test_when_none_succeeds_the_error_keeps_every_outcome() -> None:
    async def broken(_text: str) -> str:
        await trio.lowlevel.checkpoint()
        raise motet.AgentError("no", reason="BROKEN")

    with pytest.raises(motet.RunFailed) as caught:
        await execute_agents_parallel([broken, broken])
    assert caught.value.reason == "NO_SUCCESSFUL_RESULTS"
    assert caught.value.result.groups[0]["broken_2"].failure.reason == "BROKEN"


@pytest.mark.parametrize(("agents", "field"), [([], "agents: "), ("ab", "agents: "), ([3], r"agents\[0\]: int")])
async def test_what_is_no_agent_is_refused(agents: Any, field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        await execute_agents_parallel(agents)
