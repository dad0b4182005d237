"""Runs and tools of JAF's page inside the engine: who answers, what is shared, what a model reads of failures."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

import motet
from motet.agents.model.agent import ModelAgent
from motet.agents.model.defaults import set_default_model
from motet.agents.model.providers.openai import OpenAIProvider
from motet.agents.model.providers.scripted import Rule, Say, ScriptedProvider
from motet.patterns.jaf import (
    Agent,
    AgentToolInput,
    FinishedRun,
    Message,
    ParallelAgentGroup,
    RunConfig,
    RunState,
    create_parallel_agents_tool,
    create_simple_parallel_tool,
    generate_run_id,
    generate_trace_id,
    make_litellm_provider,
    run,
)

Default = Callable[..., ScriptedProvider]


def state(name: str, *said: str, **options: Any) -> RunState:
    """A conversation in which the user speaks first, then in turns."""
    messages = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(said)]
    return RunState(generate_run_id(), generate_trace_id(), messages, name, **options)


async def talk(agent: Agent, provider: ScriptedProvider, *said: str, engine: Any = None, **options: Any) -> FinishedRun:
    config = RunConfig(
        agent_registry=options.pop("registry", {agent.name: agent}),
        model_provider=provider,
        model_override="m",
        **options,
    )
    return await run(state(agent.name, *(said or ("go",))), config, engine=engine)


def calls_then(tool: str, answer: str, *rules: Rule) -> ScriptedProvider:
    """A boss that calls a tool once and then answers."""
    boss = [
        Rule(when_instructions="^boss", when_result=".", reply=answer),
        Rule(when_instructions="^boss", reply=[(tool, {"input": "q"})]),
    ]
    return ScriptedProvider(rules=[*boss, *rules])


async def test_the_final_state_has_what_was_said_before_and_what_the_run_said() -> None:
    provider = ScriptedProvider(replies=["third"])
    finished = await talk(Agent("a", instructions="be kind"), provider, "first", "second", "and now?")
    assert [(m.role, m.content) for m in finished.final_state.messages] == [
        ("user", "first"),
        ("assistant", "second"),
        ("user", "and now?"),
        ("assistant", "third"),
    ]
    assert [m.text for m in provider.requests[0].messages] == ["be kind", "first", "second", "and now?"]
    assert finished.outcome.output == "third"
    assert finished.final_state.turn_count == 1


async def test_instructions_see_the_state_and_may_be_async() -> None:
    seen: list[RunState] = []

    async def instructions(now: RunState) -> str:
        await trio.lowlevel.checkpoint()
        seen.append(now)
        return f"serve {now.context['user']}"

    provider = ScriptedProvider(default="ok")
    begun = RunState("r", "t", [Message("user", "hi")], "a", context={"user": "Ada"})
    config = RunConfig(agent_registry={"a": Agent("a", instructions)}, model_provider=provider, model_override="m")
    await run(begun, config)
    assert provider.requests[0].messages[0].text == "serve Ada"
    assert seen[0].current_agent_name == "a"
    assert seen[0].trace_id == "t"
    assert (seen[0].messages[-1].content, seen[0].turn_count) == ("hi", 0)


async def test_instructions_see_what_was_said_before_the_run() -> None:
    provider = ScriptedProvider(default="ok")
    await talk(Agent("a", lambda now: f"{len(now.messages)} messages"), provider, "one", "two", "three")
    assert provider.requests[0].messages[0].text == "3 messages"


async def test_an_agent_of_a_group_may_have_a_provider_and_take_the_model_of_the_run() -> None:
    own = ScriptedProvider(default="mine")
    tool = create_simple_parallel_tool([Agent("inner", instructions="inner", provider=own)], tool_name="ask")
    finished = await talk(Agent("boss", instructions="boss", tools=[tool]), calls_then("ask", "done"))
    assert finished.outcome.output == "done"
    assert own.requests[0].model == "m"


async def test_events_and_results_of_such_a_run_agree(checked_run: Callable[..., Any], default_model: Default) -> None:
    default_model(rules=[*calls_then("ask", "done")._rules, Rule(when_instructions="inner", reply="yes")])
    group = ParallelAgentGroup("g", [Agent("inner", instructions="inner")] * 2, result_aggregation="first")
    boss = Agent("boss", instructions="boss", tools=[create_parallel_agents_tool([group, group], "ask")])
    async with motet.open_engine() as engine:
        result = await checked_run(engine, motet.Group("top", [boss], "first"), "hi")
    assert result.unwrap() == "done"


async def test_agents_in_groups_see_the_context_of_the_run_that_called_them() -> None:
    inner = Agent("inner", instructions=lambda now: f"inner for {now.context}")
    boss = Agent("boss", instructions="boss", tools=[create_simple_parallel_tool([inner], tool_name="ask")])
    provider = calls_then("ask", "done", Rule(when_instructions="inner", reply="yes"))
    config = RunConfig(agent_registry={"boss": boss}, model_provider=provider, model_override="m")
    await run(state("boss", "go", context="Ada"), config)
    assert "inner for Ada" in [request.messages[0].text for request in provider.requests]


async def test_the_registry_does_not_replace_the_agents_of_a_tool() -> None:
    inner = Agent("inner", instructions="supplied")
    boss = Agent("boss", instructions="boss", tools=[create_simple_parallel_tool([inner], tool_name="ask")])
    provider = calls_then("ask", "done", Rule(when_instructions="supplied", reply="mine"))
    registry = {"boss": boss, "inner": Agent("inner", instructions="another")}
    finished = await talk(boss, provider, registry=registry)
    assert '"mine"' in finished.final_state.messages[2].content


async def test_a_tool_without_any_answer_has_failed_and_the_model_reads_the_same_results() -> None:
    inner = Agent("inner", instructions="inner")
    boss = Agent("boss", instructions="boss", tools=[create_simple_parallel_tool([inner], tool_name="ask")])
    provider = calls_then("ask", "sorry", Rule(when_instructions="inner", reply=RuntimeError("down")))
    finished = await talk(boss, provider)
    told = json.loads(finished.final_state.messages[2].content)
    assert told["error"] == "parallel_execution_failed"
    assert told["groups_attempted"] == ["parallel_group"]
    group = told["parallel_execution_results"]["parallel_group"]
    assert group["aggregated_result"]["error"] == "no_successful_results"
    answer = finished.result.groups[0].outcomes[0]
    assert answer.metadata["tools"][0]["status"] == "failed"
    assert finished.outcome.output == "sorry"


async def test_a_tool_that_is_too_slow_tells_what_had_finished(autojump_clock: trio.testing.MockClock) -> None:
    group = ParallelAgentGroup("g", [Agent("fast", instructions="fast"), Agent("slow", instructions="slow")])
    boss = Agent("boss", instructions="boss", tools=[create_parallel_agents_tool([group], "ask")])
    slow = Rule(when_instructions="slow", reply=Say("late", delay=60))
    provider = calls_then("ask", "done", Rule(when_instructions="fast", reply="soon"), slow)
    finished = await talk(boss, provider, default_tool_timeout=5)
    told = json.loads(finished.final_state.messages[2].content)
    assert told["parallel_execution_results"]["g"]["individual_results"]["fast"]["result"] == "soon"
    assert finished.result.groups[0].outcomes[0].metadata["tools"][0]["status"] == "timed_out"


async def test_turns_are_bounded_those_before_included() -> None:
    boss = Agent("boss", instructions="boss", tools=[create_simple_parallel_tool([Agent("i")], tool_name="ask")])
    provider = ScriptedProvider(default=[("ask", {"input": "again"})])
    config = RunConfig(agent_registry={"boss": boss}, model_provider=provider, model_override="m", max_turns=3)
    finished = await run(state("boss", "go", turn_count=2), config)
    assert finished.outcome.error.reason == "MAX_TURNS"
    assert finished.final_state.turn_count == 3
    none_left = await run(state("boss", "go", turn_count=3), config)
    assert (none_left.outcome.status, none_left.outcome.error.reason) == ("error", "MAX_TURNS")
    assert none_left.result is None


async def test_an_agent_may_hand_over_to_one_of_the_registry() -> None:
    desk = Agent("desk", instructions="desk", handoffs=["expert"])
    expert = Agent("expert", instructions="expert")
    provider = ScriptedProvider(
        rules=[
            Rule(when_instructions="^desk", reply=[("transfer_to_expert", {})]),
            Rule(when_instructions="^expert", reply="solved"),
        ]
    )
    finished = await talk(desk, provider, registry={"desk": desk, "expert": expert})
    assert finished.outcome.output == "solved"
    assert finished.final_state.current_agent_name == "expert"
    assert [m.role for m in finished.final_state.messages] == ["user", "assistant", "tool", "assistant"]
    with pytest.raises(ValueError, match="nobody is named 'expert'"):
        await talk(desk, provider)


async def test_members_share_the_session_and_all_their_answers_are_kept_in_order() -> None:
    agents = [Agent(name, instructions=name) for name in ("one", "two", "three")]
    tool = create_parallel_agents_tool([ParallelAgentGroup("g", agents)], "ask", preserve_session=True)
    boss = Agent("boss", instructions="boss", tools=[tool])
    answers = [Rule(when_instructions=f"^{agent.name}$", reply=f"{agent.name} says") for agent in agents]
    provider = calls_then("ask", "done", *answers)
    async with motet.open_engine() as engine:
        await talk(boss, provider, "first", engine=engine, conversation_id="c")
        provider.requests.clear()
        await talk(boss, provider, "second", engine=engine, conversation_id="c")
        seen: list[tuple[str, str]] = []

        async def look(call: motet.Call) -> str:
            await trio.lowlevel.checkpoint()
            seen.extend((entry.member, entry.payload.text) for entry in call.history)
            return "ok"

        group = motet.Group("look", [motet.FunctionAgent(look, name="look")], preserve_session=True)
        await engine.run(group, "?", session_id="c")
    said = [text for member, text in seen if member in {"one", "two", "three"}]
    assert said == ["one says", "two says", "three says"] * 2
    second = next(r for r in provider.requests if r.messages[0].text == "one")
    assert "one says" in [m.text for m in second.messages]
    assert "two says" not in [m.text for m in second.messages]


async def test_without_preserve_session_agents_know_nothing_of_it() -> None:
    tool = create_simple_parallel_tool([Agent("one", instructions="one")], tool_name="ask")
    provider = calls_then("ask", "done", Rule(when_instructions="^one$", reply="one says"))
    boss = Agent("boss", instructions="boss", tools=[tool])
    async with motet.open_engine() as engine:
        for word in ("first", "second"):
            await talk(boss, provider, word, engine=engine, conversation_id="c")
    inner = [request for request in provider.requests if request.messages[0].text == "one"]
    assert [[m.text for m in request.messages] for request in inner] == [["one", "q"]] * 2


async def test_a_model_agent_takes_such_a_tool_and_a_group_such_an_agent(default_model: Default) -> None:
    default_model(
        rules=[
            Rule(when_instructions="expert", reply="deep"),
            Rule(when_result="deep", reply="told"),
            Rule(when_instructions="boss", reply=[("ask", {"input": "q"})]),
        ]
    )
    expert = Agent("expert", instructions=lambda now: f"expert of {now.current_agent_name}")
    boss = ModelAgent("boss", instructions="boss", tools=[create_simple_parallel_tool([expert], tool_name="ask")])
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [boss, expert]), "hi")
    assert result.unwrap()["combined_results"] == ["told", "deep"]


async def test_an_agent_as_a_tool_of_another_uses_the_same_provider() -> None:
    helper = Agent("helper", instructions="helper", description="Helps.")
    boss = Agent("boss", instructions="boss", tools=[helper])
    finished = await talk(boss, calls_then("helper", "done", Rule(when_instructions="^helper", reply="help")))
    assert [m.content for m in finished.final_state.messages[2:]] == ["help", "done"]


async def test_inside_a_call_the_tool_runs_one_level_deeper_within_its_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def deep(call: motet.Call) -> int:
        await trio.lowlevel.checkpoint()
        return call.depth

    tool = create_simple_parallel_tool([motet.FunctionAgent(deep, name="deep"), motet.FunctionAgent(deep, name="b")])

    async def outer(call: motet.Call) -> Any:
        return json.loads(await tool.execute(AgentToolInput("x")))

    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [motet.FunctionAgent(outer, name="outer")], "first"), "x")
        outcome = result["g"]["outer"]
        shallow = await engine.run(
            motet.Group("g", [motet.FunctionAgent(outer, name="outer")], "first"), "x", limits=motet.Limits(max_depth=0)
        )
    assert [group.name for group in outcome.nested] == ["parallel_group"]
    said = outcome.output.value["parallel_execution_results"]["parallel_group"]["aggregated_result"]
    assert said["combined_results"] == [1, 1]
    assert shallow.unwrap()["error"] == "parallel_execution_failed"


async def test_a_program_inside_a_group_is_not_taken_for_the_agent_that_called_the_tool() -> None:
    async def broken(_text: str) -> str:
        await trio.lowlevel.checkpoint()
        raise motet.AgentError("no", reason="BROKEN")

    inner_tool = create_simple_parallel_tool([motet.FunctionAgent(broken)])

    async def program(text: str) -> Any:
        return json.loads(await inner_tool.execute(AgentToolInput(text)))

    tool = create_simple_parallel_tool([motet.FunctionAgent(program)], tool_name="ask")
    finished = await talk(Agent("boss", instructions="boss", tools=[tool]), calls_then("ask", "done"))
    told = json.loads(finished.final_state.messages[2].content)
    inner = told["parallel_execution_results"]["parallel_group"]["individual_results"]["program"]["result"]
    group = inner["parallel_execution_results"]["parallel_group"]
    assert group["aggregated_result"]["error"] == "no_successful_results"


async def test_an_engine_may_be_given() -> None:
    async with motet.open_engine() as engine:
        tool = create_simple_parallel_tool([motet.FunctionAgent(len, name="size")], engine=engine)
        await tool.execute(AgentToolInput("abc"))
        assert engine.statistics().runs_started == 1


async def test_what_is_wrong_is_refused_before_anything_starts() -> None:
    provider = ScriptedProvider(default="never")
    agent = Agent("a")
    config = RunConfig(agent_registry={"a": agent}, model_provider=provider)
    with pytest.raises(ValueError, match="current_agent_name: nobody is named 'b'"):
        await run(state("b", "hi"), config)
    with pytest.raises(ValueError, match="messages: the last one"):
        await run(state("a", "hi", "hello"), config)
    with pytest.raises(ValueError, match="messages: 'robot' is no role"):
        await run(RunState("r", "t", [Message("robot", "x"), Message("user", "x")], "a"), config)
    with pytest.raises(ValueError, match="model: is empty"):
        await run(state("a", "hi"), config)
    assert provider.requests == []


async def test_without_any_provider_the_outcome_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MOTET_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    set_default_model(None)
    finished = await run(state("a", "hi"), RunConfig(agent_registry={"a": Agent("a")}))
    assert finished.outcome.error.reason == "PROVIDER_MISSING"
    assert [m.content for m in finished.final_state.messages] == ["hi"]


def test_a_litellm_proxy_is_a_server_that_speaks_chat_completions() -> None:
    provider = make_litellm_provider("http://127.0.0.1:4000/v1", "your_api_key")
    assert isinstance(provider, OpenAIProvider)
    assert provider.name == "litellm"
    with pytest.raises(ValueError, match="base_url"):
        make_litellm_provider("your_base_url", "your_api_key")
