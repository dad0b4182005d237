"""What follows from what a model says, decided without anything being called."""

from typing import Any

import pytest

from motet.agents.model import reasons
from motet.agents.model.tool import ToolStatus
from motet.agents.model.turns import (
    EMPTY_ANSWER,
    Answered,
    AskAgain,
    Conversation,
    Ended,
    Told,
    WantsTools,
    begun,
    exhausted,
    fed_back,
    first_handoff,
    sampling_of,
    step,
    with_ids,
)
from motet.model import reason
from motet.model.chat import ChatReply, Finish, Message, Role, Sampling, ToolCall
from motet.model.outcome import Failure, Outcome
from motet.model.state import State

HELLO = Message(role=Role.USER, text="hello")


def conversation(**own: Any) -> Conversation:
    return Conversation(**{"messages": (HELLO,), "max_turns": 3, "turn": 1, **own})


def wants(*names: str, text: str = "") -> ChatReply:
    calls = tuple(ToolCall(id=f"c{place}", name=name) for place, name in enumerate(names))
    return ChatReply(text=text, tool_calls=calls, finish=Finish.TOOL_CALLS)


def test_text_without_tool_calls_is_the_answer() -> None:
    assert step(conversation(), ChatReply(text="hi")) == Answered("hi")


def test_tool_calls_are_made_also_when_the_server_calls_the_finish_a_stop() -> None:
    reply = ChatReply(text="let me look", tool_calls=(ToolCall(id="a", name="look"),), finish=Finish.STOP)
    assert step(conversation(), reply) == WantsTools(reply.tool_calls)


def test_tools_wanted_in_the_last_turn_end_the_call() -> None:
    ended = step(conversation(turn=3), wants("look"))
    assert isinstance(ended, Ended)
    assert ended.reason == reasons.MAX_TURNS


@pytest.mark.parametrize(
    ("finish", "why"), [(Finish.LENGTH, reasons.OUTPUT_TRUNCATED), (Finish.REFUSED, reasons.CONTENT_REFUSED)]
)
def test_a_cut_or_refused_answer_is_none_even_with_tool_calls_in_it(finish: Finish, why: str) -> None:
    reply = ChatReply(text="so far", tool_calls=(ToolCall(id="a", name="look"),), finish=finish)
    ended = step(conversation(), reply)
    assert isinstance(ended, Ended)
    assert ended.reason == why


def test_an_empty_answer_is_asked_for_once_more_and_then_a_mismatch() -> None:
    first = step(conversation(), ChatReply(text=" \n"))
    assert isinstance(first, AskAgain)
    # What was empty is not sent back: providers refuse messages without content.
    assert first.conversation.messages == (HELLO, Message(role=Role.USER, text=EMPTY_ANSWER))
    second = step(begun(first.conversation, ChatReply()), ChatReply())
    assert isinstance(second, Ended)
    assert second.reason == reasons.OUTPUT_MISMATCH


def test_an_empty_answer_in_the_last_turn_is_still_asked_for_once_more() -> None:
    again = step(conversation(turn=3), ChatReply())
    assert isinstance(again, AskAgain)
    beyond = begun(again.conversation, wants("look"))
    ended = step(beyond, wants("look"))
    assert isinstance(ended, Ended)
    assert ended.reason == reasons.MAX_TURNS


def test_the_last_text_is_kept_through_turns_that_only_call_tools() -> None:
    talk = begun(conversation(), wants("look", text="let me look"))
    assert begun(talk, wants("look")).text == "let me look"


def test_results_are_fed_back_in_the_order_of_the_calls() -> None:
    reply = wants("a", "b")
    told = [
        Told(reply.tool_calls[0], "no", ToolStatus.FAILED, "BROKEN"),
        Told(reply.tool_calls[1], "yes", ToolStatus.EXECUTED),
    ]
    talk = fed_back(conversation(), reply, told)
    assert talk.messages[1].tool_calls == reply.tool_calls
    assert [(m.tool_call_id, m.text, m.failed) for m in talk.messages[2:]] == [("c0", "no", True), ("c1", "yes", False)]
    assert [use.value() for use in talk.uses] == [
        {"tool": "a", "call_id": "c0", "turn": 1, "status": "failed", "reason": "BROKEN"},
        {"tool": "b", "call_id": "c1", "turn": 1, "status": "executed"},
    ]


def test_a_handoff_is_no_tool_use_and_gives_the_next_agent_its_own_second_try() -> None:
    reply = wants("transfer_to_x")
    told = [Told(reply.tool_calls[0], "over", ToolStatus.EXECUTED, handoff=True)]
    talk = fed_back(conversation(asked_again=True), reply, told, handed_to="x")
    assert talk.uses == ()
    assert talk.handoffs == ("x",)
    assert not talk.asked_again
    assert talk.messages[-1] == Message(role=Role.TOOL, text="over", tool_call_id="c0")


def test_of_several_handoffs_the_first_counts() -> None:
    calls = wants("look", "transfer_to_b", "transfer_to_a").tool_calls
    assert first_handoff(calls, {"transfer_to_a": 1, "transfer_to_b": 2}) == 1
    assert first_handoff(calls[:1], {"transfer_to_a": 1}) is None


def test_tool_calls_without_ids_of_their_own_are_told_apart() -> None:
    same = ChatReply(tool_calls=(ToolCall(id="", name="a"), ToolCall(id="", name="b")))
    assert [call.id for call in with_ids(conversation(turn=2), same).tool_calls] == ["call_2_1", "call_2_2"]
    named = wants("a", "b")
    assert with_ids(conversation(), named) is named


def test_tool_calls_named_as_in_an_earlier_turn_are_told_apart() -> None:
    reply = wants("a")
    talk = fed_back(conversation(), reply, [Told(reply.tool_calls[0], "yes", ToolStatus.EXECUTED)])
    assert [call.id for call in with_ids(begun(talk, reply), reply).tool_calls] == ["call_2_1"]


@pytest.mark.parametrize(
    ("choice", "called", "tools", "sent"),
    [
        ("required", False, True, "required"),
        ("required", True, True, ""),
        ("look", True, True, ""),
        ("none", True, True, "none"),
        ("auto", True, True, "auto"),
        ("required", False, False, ""),
        ("", False, False, ""),
    ],
)
def test_a_model_is_made_to_call_a_tool_once_and_only_where_there_are_tools(
    choice: str, called: bool, tools: bool, sent: str
) -> None:
    sampling = Sampling(tool_choice=choice, temperature=0.5)
    made = sampling_of(conversation(called=called), sampling, tools=tools)
    assert made == Sampling(tool_choice=sent, temperature=0.5)


def test_an_agent_that_is_handed_to_has_not_called_tools_yet() -> None:
    reply = wants("a")
    told = [Told(reply.tool_calls[0], "yes", ToolStatus.EXECUTED)]
    assert fed_back(conversation(), reply, told).called
    assert not fed_back(conversation(), reply, told, handed_to="x").called


def ended(state: State, why: str) -> Outcome:
    return Outcome(member="m", agent="a", state=state, failure=Failure(why, "no"))


@pytest.mark.parametrize("why", [reason.BUDGET_EXCEEDED, reason.QUOTA_EXCEEDED])
@pytest.mark.parametrize("state", [State.SKIPPED, State.CANCELLED])
def test_a_member_that_a_budget_kept_from_running_means_that_nothing_more_would_run(state: State, why: str) -> None:
    fine, stopped = ended(State.FAILED, "BROKEN"), ended(state, why)
    assert exhausted([fine, stopped]) is stopped


def test_a_tool_that_broke_a_budget_of_its_own_is_only_a_failed_tool() -> None:
    assert exhausted([ended(State.FAILED, reason.BUDGET_EXCEEDED), ended(State.SKIPPED, reason.CIRCUIT_OPEN)]) is None
