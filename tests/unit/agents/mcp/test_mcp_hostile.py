"""Servers that break the rules harm nobody but themselves."""

from typing import Any

import pytest
import trio

import motet
from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.convert import RESULT_MOST
from motet.agents.mcp.server import McpServer
from motet.agents.model.tool import Tool
from motet.testing.fakes import make_call


async def listed(nursery: trio.Nursery, server: McpServer) -> list[Tool]:
    nursery.start_soon(server.live)
    return list(await server.tools(make_call()))


async def test_a_thousand_tools_are_listed(rude: Any, nursery: trio.Nursery) -> None:
    assert len(await listed(nursery, rude("many"))) == 1000


async def test_pages_of_tools_are_followed(rude: Any, nursery: trio.Nursery) -> None:
    assert [tool.spec.name for tool in await listed(nursery, rude("pages"))] == ["p0", "p1", "p2"]


async def test_a_server_without_tools_has_none(rude: Any, nursery: trio.Nursery) -> None:
    assert await listed(nursery, rude("no tools")) == []


async def test_names_that_models_cannot_have_are_mapped_and_still_reach_their_tools(
    rude: Any, nursery: trio.Nursery
) -> None:
    tools = await listed(nursery, rude("names"))
    assert tools[0].spec.name == "a_b"
    assert len(tools[1].spec.name) == 64
    assert (await tools[0].agent.call(make_call({}))).output.text == "a b"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("twins", "two tools that a model would know as 'a_b'"),
        ("no schema", "its list of tools is wrong"),
        ("endless pages", "does not end"),
    ],
)
async def test_a_list_of_tools_that_cannot_be_used_is_refused(
    rude: Any, nursery: trio.Nursery, how: str, why: str
) -> None:
    with pytest.raises(motet.AgentError, match=why) as caught:
        await listed(nursery, rude(how))
    assert (caught.value.reason, caught.value.retryable) == ("TOOL_SERVER_INVALID", False)


async def test_a_banner_on_standard_output_is_borne(rude: Any, nursery: trio.Nursery, caplog: Any) -> None:
    assert len(await listed(nursery, rude("banner"))) == 1
    assert "MCP server 'rude' wrote what is no message: Welcome!" in caplog.messages


async def test_a_stream_of_garbage_ends_the_session(rude: Any, nursery: trio.Nursery) -> None:
    with pytest.raises(motet.AgentError, match="no MCP message") as caught:
        await listed(nursery, rude("garbage"))
    assert caught.value.reason == "TOOL_SERVER_LOST"


async def test_a_result_above_the_bound_fails_its_call_alone(peer: Any, nursery: trio.Nursery) -> None:
    server = peer()
    nursery.start_soon(server.live)
    agent = McpAgent("huge", server, "huge")
    pid = McpAgent("pid", server, "pid")
    before = (await pid.call(make_call({}))).output.text
    with pytest.raises(motet.AgentError) as caught:
        await agent.call(make_call({"size": RESULT_MOST}))
    assert caught.value.reason == "OUTPUT_TOO_LARGE"
    assert len((await agent.call(make_call({"size": 2**20}))).output.text) == 2**20
    assert (await pid.call(make_call({}))).output.text == before


async def test_a_message_above_the_bound_that_names_no_call_ends_the_session(rude: Any, nursery: trio.Nursery) -> None:
    server = rude("huge without id")
    nursery.start_soon(server.live)
    with pytest.raises(motet.AgentError, match="more than") as caught:
        await McpAgent("x", server, "x").call(make_call({}))
    assert caught.value.reason == "TOOL_SERVER_LOST"


async def test_a_result_that_breaks_the_promise_of_its_tool_is_refused(rude: Any, nursery: trio.Nursery) -> None:
    server = rude("breaks promise")
    nursery.start_soon(server.live)
    with pytest.raises(motet.AgentError, match="structured content") as caught:
        await McpAgent("x", server, "x").call(make_call({}))
    assert caught.value.reason == "OUTPUT_INVALID"


async def test_a_result_that_is_not_json_is_refused(rude: Any, nursery: trio.Nursery) -> None:
    server = rude("not a number")
    nursery.start_soon(server.live)
    with pytest.raises(motet.AgentError) as caught:
        await McpAgent("x", server, "x").call(make_call({}))
    assert caught.value.reason == "OUTPUT_INVALID"


async def test_a_server_that_asks_without_end_and_reads_nothing_is_given_up(rude: Any, nursery: trio.Nursery) -> None:
    server = rude("asks and asks")
    nursery.start_soon(server.live)
    with pytest.raises(motet.AgentError, match="reads no answer") as caught:
        await McpAgent("x", server, "x").call(make_call({}))
    assert caught.value.reason == "TOOL_SERVER_LOST"
