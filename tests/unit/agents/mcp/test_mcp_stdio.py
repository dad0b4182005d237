"""Tools of a real MCP server over its standard streams, as members of groups and as tools of a model agent."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio

import motet
from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.server import McpServer
from motet.agents.model.agent import ModelAgent
from motet.agents.model.providers.scripted import ScriptedProvider
from motet.model.chat import ChatReply, ToolCall
from motet.testing.contracts_agent import AgentContract
from motet.testing.fakes import RecordingHost, make_call


async def ask(engine: motet.Engine, server: McpServer, tool: str, value: object, **options: Any) -> motet.Outcome:
    member = motet.Member(McpAgent(tool, server, tool), input=motet.Payload.of(value), **options)
    result = await engine.run(motet.Group("g", [member]))
    return result["g"].outcomes[0]


async def test_what_a_tool_answers_becomes_text_json_or_described_blocks(peer: Any, tmp_path: Path) -> None:
    server = peer()
    async with motet.open_engine() as engine:
        text = await ask(engine, server, "shout", "hello")
        assert (text.output.kind, text.output.text) == ("text", "HELLO")
        structured = await ask(engine, server, "add", {"a": 1, "b": 2})
        assert structured.output.value == {"sum": 3}
        assert structured.metadata == {"server": "peer", "tool": "add"}
        blocks = await ask(engine, server, "picture", {})
        assert blocks.output.value == [
            {"type": "text", "text": "a dot"},
            {"type": "image", "mimeType": "image/png", "data": "aGk="},
        ]
        failed = await ask(engine, server, "fail", "x")
        assert (failed.failure.reason, failed.failure.message) == ("TOOL_FAILED", "cannot take x")
        wrong = await ask(engine, server, "add", "x")
        assert wrong.failure.reason == "INPUT_INVALID"
        unknown = await ask(engine, server, "nothing", {})
        assert unknown.failure.reason == "TOOL_FAILED"
        assert "has no tool 'nothing'" in unknown.failure.message
        curious = await ask(engine, server, "curious", {})
        assert curious.output.text.startswith("refused: ")
    assert len((tmp_path / "starts").read_text().split()) == 1


async def test_progress_of_a_tool_is_reported(peer: Any, nursery: trio.Nursery) -> None:
    server, host = peer(), RecordingHost()
    nursery.start_soon(server.live)
    await McpAgent("steps", server, "steps").call(make_call({}, host=host))
    assert [report.value for report in host.reports] == [
        {"progress": 1.0, "total": 2.0, "message": "step 1"},
        {"progress": 2.0, "total": 2.0, "message": "step 2"},
    ]
    assert host.residents == [server]


async def test_many_calls_share_one_session_and_keep_to_its_width(peer: Any, tmp_path: Path) -> None:
    server = peer(max_parallel=2)
    agent = McpAgent("add", server, "add")
    members = [motet.Member(agent, input=motet.Payload.of({"a": number})) for number in range(20)]
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", members))
    assert [outcome.output.value["sum"] for outcome in result["g"].outcomes] == list(range(1, 21))
    assert len((tmp_path / "starts").read_text().split()) == 1


async def test_the_tools_of_a_server_are_tools_of_a_model(peer: Any, nursery: trio.Nursery) -> None:
    server = peer(prefix="peer_", tools=["add", "shout", "die_unsafely"], call_timeout=7)
    nursery.start_soon(server.live)
    tools = {tool.spec.name: tool for tool in await server.tools(make_call())}
    assert sorted(tools) == ["peer_add", "peer_die_unsafely", "peer_shout"]
    add = tools["peer_add"]
    assert add.spec.description == "Adds."
    assert add.spec.parameters["properties"]["b"]["description"] == "the other"
    assert (add.timeout, add.agent.info.timeout, add.agent.info.kind) == (7, 7, "mcp")
    assert [tools[name].agent.info.replay_safe for name in sorted(tools)] == [True, False, True]
    assert (await add.agent.call(make_call({"a": 2}))).output.value == {"sum": 3}


async def test_a_model_calls_tools_of_a_server_and_hears_what_became_of_each(peer: Any) -> None:
    calls = [("add", '{"a": 1, "b": 2}'), ("add", '{"a": "x"}'), ("fail", '{"text": "x"}'), ("nope", "{}")]
    wanted = tuple(ToolCall(id=str(number), name=name, arguments=given) for number, (name, given) in enumerate(calls))
    provider = ScriptedProvider(replies=[ChatReply(tool_calls=wanted), "done"])
    agent = ModelAgent("m", provider=provider, model="any", tools=[peer()])
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [agent]), "hello")
    outcome = result["g"].outcomes[0]
    assert outcome.output.text == "done"
    assert [tool["status"] for tool in outcome.metadata["tools"]] == [
        "executed",
        "validation_error",
        "failed",
        "tool_not_found",
    ]
    told = [message.text for message in provider.requests[-1].messages[-4:]]
    assert told[0] == '{"sum":3}'
    assert "a: must be of type integer" in told[1]
    assert "cannot take x" in told[2]


async def test_what_is_not_on_the_list_cannot_be_called_either(peer: Any, nursery: trio.Nursery) -> None:
    server = peer(tools=["add"])
    nursery.start_soon(server.live)
    with pytest.raises(motet.AgentError, match="not among the tools"):
        await McpAgent("shout", server, "shout").call(make_call("x"))


async def test_tools_are_listed_anew_once_the_server_says_that_they_changed(peer: Any, nursery: trio.Nursery) -> None:
    server = peer()
    nursery.start_soon(server.live)

    async def names() -> set[str]:
        return {tool.spec.name for tool in await server.tools(make_call())}

    assert "whisper" not in await names()
    await McpAgent("grow", server, "grow").call(make_call({}))
    with trio.fail_after(20):
        while "whisper" not in await names():  # noqa: ASYNC110 - another process tells, when it will
            await trio.sleep(0.01)


async def test_a_program_sees_of_the_environment_only_what_it_is_given(
    peer: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "1")
    monkeypatch.setenv("WANTED", "1")
    server = peer(env={"GIVEN": "1"}, inherit_env=["WANTED"])
    nursery.start_soon(server.live)
    seen = (await McpAgent("environment", server, "environment").call(make_call({}))).output.text.split()
    assert {"GIVEN", "WANTED", "PATH"} <= set(seen)
    assert "SECRET_OF_THE_SERVER" in os.environ
    assert "SECRET_OF_THE_SERVER" not in seen


async def test_one_server_serves_two_engines_one_after_the_other(peer: Any) -> None:
    server = peer()
    pids = []
    for _ in range(2):
        async with motet.open_engine() as engine:
            pids.append((await ask(engine, server, "pid", {})).output.text)
    assert pids[0] != pids[1]


async def test_two_engines_at_once_share_the_session_and_the_second_outlives_the_first(peer: Any) -> None:
    server = peer(restart_backoff=0.01)
    async with motet.open_engine() as second:
        async with motet.open_engine() as first:
            pids = {(await ask(engine, server, "pid", {})).output.text for engine in (first, second)}
            assert len(pids) == 1
        assert (await ask(second, server, "pid", {})).output.text not in pids


class TestMcpAgent(AgentContract):
    """The promises of every agent."""

    input = "hello"

    @pytest.fixture(autouse=True)
    def _keep(self, peer: Any) -> None:
        self._peer = peer

    def _agent(self, tool: str) -> McpAgent:
        server = self._peer()
        trio.lowlevel.spawn_system_task(server.live)  # the suite has no engine that would do so
        return McpAgent(tool, server, tool)

    def make_agent(self) -> McpAgent:
        return self._agent("shout")

    def make_slow_agent(self) -> McpAgent:
        return self._agent("slow")

    def make_failing_agent(self) -> McpAgent:
        return self._agent("fail")
