"""A model agent's turns and tools, in the tree of calls and as spans: what it tells is what both read."""

from typing import TYPE_CHECKING

import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import motet
from motet.agents.model.agent import ModelAgent
from motet.agents.model.providers.scripted import Say, ScriptedProvider
from motet.errors import AgentError
from motet.instrument.otel import Tracing
from motet.instrument.tree import Tree
from motet.model.chat import ToolCall

if TYPE_CHECKING:
    from motet.ports import Observer


async def search(query: str) -> str:
    """Search for something."""
    await trio.sleep(1)
    return f"found {query}"


def calls() -> tuple[ToolCall, ...]:
    said = [("c1", "search", '{"query": "a"}'), ("c2", "search", '{"query": "b"}'), ("c3", "nothing", "{}")]
    return tuple(ToolCall(id=call, name=name, arguments=arguments) for call, name, arguments in said)


async def test_turns_retries_and_tools_of_a_model_agent_are_all_told(autojump_clock: object) -> None:
    busy = AgentError("busy", reason="RATE_LIMITED", retryable=True)
    provider = ScriptedProvider("lab", replies=[busy, Say(tool_calls=calls()), "the answer is 42"])
    catalog = motet.Catalog()
    catalog.add(ModelAgent("thinker", model="small/1", provider=provider, tools=[search]))
    exporter, tree, tracers = InMemorySpanExporter(), Tree(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    observers: list[Observer] = [Tracing(tracers), lambda _, event: tree.apply(event)]
    async with motet.open_engine(catalog, observers=observers) as engine:
        result = await engine.run(motet.Group("work", ["thinker"]), "what is it?")
    tracers.shutdown()
    assert result.succeeded

    [thinker] = tree.snapshot().children[0].children
    assert [(group.name, group.role) for group in thinker.children] == [
        ("turn_1", "turn"),
        ("tools_1", "tools"),
        ("turn_2", "turn"),
    ]
    [request] = thinker.children[0].children
    assert [(attempt.state, attempt.reason) for attempt in request.children] == [
        ("FAILED", "RATE_LIMITED"),
        ("SUCCEEDED", ""),
    ]
    assert {(use.call_id, use.status) for use in thinker.tools} == {
        ("c1", "executed"),
        ("c2", "executed"),
        ("c3", "tool_not_found"),
    }

    spans = exporter.get_finished_spans()
    chats = [span.attributes for span in spans if span.name == "chat small/1"]
    assert [chat["gen_ai.response.finish_reasons"] for chat in chats] == [("tool_calls",), ("stop",)]
    assert {chat["gen_ai.provider.name"] for chat in chats} == {"scripted"}
    assert all(chat["gen_ai.usage.output_tokens"] for chat in chats)
    tools = [span.attributes for span in spans if span.name == "execute_tool search"]
    assert {tool["gen_ai.tool.call.id"] for tool in tools} == {"c1", "c2"}
    [thinking] = [span for span in spans if span.name == "invoke_agent thinker"]
    assert [event.attributes["gen_ai.tool.call.id"] for event in thinking.events] == ["c3"]
