"""How OxyGent's agents ask models: messages, answers that are none, summaries of one's own, reports and tools by name."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import motet
from motet import Finish, Say, ScriptedProvider, set_default_model
from motet.agents.model.tool_services import http_tool
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


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    made = ScriptedProvider(default="yes")
    set_default_model(made, "small")
    yield made
    set_default_model(None)
    oxy_space.clear()


class Asking(ParallelAgent):
    """Asks the model `large` with the messages that are its query."""

    async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
        return await oxy_request.call("large", {"messages": self.messages})

    messages: Any = ()


def asking(messages: object, **options: Any) -> Asking:
    made = Asking("asking", space=Space(), **options)
    made.messages = messages
    return made


async def test_a_conversation_is_passed_on_in_its_order(provider: ScriptedProvider) -> None:
    memory = Memory()
    memory.add_messages([Message.system_message("Be brief."), Message.user_message("Hello")])
    memory.add_messages([Message.assistant_message("Hi"), Message.user_message("Bye")])
    assert (await asking(memory).run("?")).output == "yes"
    assert [(message.role.value, message.text) for message in provider.requests[0].messages] == [
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", "Bye"),
    ]


async def test_a_provider_of_its_own_is_the_one_that_is_asked(provider: ScriptedProvider) -> None:
    own = ScriptedProvider("own", default="mine")
    assert (await asking([Message.user_message("Hello")], provider=own).run("?")).output == "mine"
    assert (own.requests[0].model, provider.requests) == ("large", [])


@pytest.mark.parametrize(
    ("messages", "why"),
    [([], "at least one"), ("Hello", "give a list"), ([{"content": "Hello"}], r"messages[0]"), ([3], r"messages[0]")],
)
async def test_messages_that_are_none_are_refused_by_their_place(
    provider: ScriptedProvider, messages: Sequence[object], why: str
) -> None:
    response = await asking(messages).run("?")
    assert why in response.failure.message
    assert provider.requests == []


@pytest.mark.parametrize(
    ("finish", "reason"), [(Finish.REFUSED, "CONTENT_REFUSED"), (Finish.LENGTH, "OUTPUT_TRUNCATED")]
)
async def test_an_answer_that_is_cut_or_refused_is_none(
    provider: ScriptedProvider, finish: Finish, reason: str
) -> None:
    provider._default = Say("half of", finish=finish)
    response = await asking([Message.user_message("Hello")]).run("?")
    assert (response.state, response.failure.reason) == (OxyState.FAILED, reason)


async def test_nothing_is_asked_for_a_summary_of_nothing(provider: ScriptedProvider) -> None:
    class Summing(ParallelAgent):
        async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
            return await self.summarize_responses(oxy_request, [OxyResponse(OxyState.ERROR, "an error")])

    response = await Summing("summing").run("?")
    assert response.failure.reason == "NO_SUCCESSFUL_RESULTS"
    assert provider.requests == []


async def test_a_model_that_remembers_still_reports_and_calls_tools(provider: ScriptedProvider) -> None:
    async def look(call: motet.Call) -> str:
        call.report("looking")
        return "seen"

    provider._default = lambda request: "done" if request.messages[-1].role == "tool" else [("look", {})]
    group = motet.Group("g", [LocalAgent("desk", tools=[look])], "first", preserve_session=True)
    async with motet.open_engine() as engine, engine.stream(group, "?", session_id="s") as stream:
        events = [event async for event in stream]
    assert stream.result.unwrap() == "done"
    reports = [event.detail.report.value for event in events if isinstance(event.detail, motet.MemberProgress)]
    assert "looking" in reports
    assert {"tool": "look", "call_id": "call_1", "status": "executed"} in reports


async def test_a_service_is_a_tool_by_name_and_no_member(provider: ScriptedProvider) -> None:
    orders = http_tool("orders", "https://shop.example/orders", description="Orders.", parameters={}, method="GET")
    space = Space()
    space.add(orders)
    await LocalAgent("desk", tools=["orders"], space=space).run("?")
    assert [tool.name for tool in provider.requests[0].tools] == ["orders"]
    response = await ParallelAgent("both", permitted_tool_name_list=["orders"], space=space).run("?")
    assert "orders" in response.failure.message
