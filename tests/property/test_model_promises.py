"""Whatever models say and tools do: the conversation stays one that providers take, turns and widths are bounded, every call
is paid for exactly once, and events and results keep their promises."""

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import motet
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.codec import reply_of, reply_value, request_of, request_value
from motet.agents.model.providers.scripted import Say, ScriptedProvider
from motet.agents.model.tool import Tool
from motet.model.chat import ChatRequest, Finish, Role, ToolCall, ToolSpec
from motet.model.event import Event
from motet.model.outcome import Outcome
from motet.model.plan import Group, RetryPolicy
from motet.model.result import RunResult
from motet.model.usage import Usage
from motet.testing import ScriptedAgent, check_run

MAX_TURNS = 4
PASSING = motet.AgentError("busy", reason=reasons.RATE_LIMITED, retryable=True)
LASTING = motet.AgentError("no", reason=reasons.PROVIDER_DENIED)

NAMES = st.sampled_from(["quick", "slow", "bad", "stuck", "nothing", "transfer_to_other", "transfer_to_third"])
CALLS = st.lists(
    st.builds(
        ToolCall,
        id=st.sampled_from(["", "a", "b", "c"]),
        name=NAMES,
        arguments=st.sampled_from(["{}", "", '{"a": 1}', "[]", "{broken", "\ud800"]),
    ),
    max_size=4,
).map(tuple)
SAYINGS = st.one_of(
    st.builds(
        Say,
        st.sampled_from(["", "text", "\ud83d", " "]),
        tool_calls=CALLS,
        delay=st.sampled_from([0.0, 0.5, 30.0]),
        pieces=st.integers(1, 3),
        finish=st.sampled_from([None, None, None, Finish.STOP, Finish.LENGTH, Finish.REFUSED]),
    ),
    st.sampled_from([PASSING, LASTING]),
)
FOR_EVER = st.sampled_from(
    [
        Say("the end"),
        Say(""),
        *(Say(tool_calls=[(name, {})]) for name in ("quick", "transfer_to_other", "transfer_to_third")),
    ]
)
"""What it says when its script is over."""


def tools() -> list[Tool]:
    agents = [
        ScriptedAgent("quick", delay=0.1, usage=Usage(calls=1, cost_nanos=3)),
        ScriptedAgent("slow", delay=2),
        ScriptedAgent("bad", error=ValueError("bad")),
        ScriptedAgent("stuck", delay=1e9),
    ]
    return [Tool(spec=ToolSpec(name=agent.info.name), agent=agent) for agent in agents]


async def play(provider: ScriptedProvider) -> tuple[list[Event], RunResult]:
    retry = RetryPolicy(max_attempts=2, initial_backoff=0.1, jitter=0.0)

    def make(name: str, *handoffs: ModelAgent) -> ModelAgent:
        return ModelAgent(
            name,
            provider=provider,
            model=name,
            instructions=name,
            tools=tools(),
            max_turns=MAX_TURNS,
            retry=retry,
            turn_timeout=20,
            tool_timeout=5,
            handoffs=handoffs,
        )

    third = make("third")
    other = make("other", third)
    third.add_handoffs(other)
    group = Group("g", [make("first", other, third)])
    async with motet.open_engine() as engine, engine.stream(group, "go") as stream:
        events = [event async for event in stream]
        assert engine.statistics().members_running == 0
    return events, stream.result


def check_conversation(request: ChatRequest) -> None:
    """Each tool call has its result, in order, right after the message that asked; nothing else has one."""
    assert [m.role for m in request.messages].count(Role.SYSTEM) == 1
    waiting: list[str] = []
    named = [call.id for message in request.messages for call in message.tool_calls]
    assert len(set(named)) == len(named)
    for message in request.messages:
        if message.role is Role.TOOL:
            assert waiting
            assert message.tool_call_id == waiting.pop(0)
        else:
            assert not waiting
            waiting = [call.id for call in message.tool_calls]
            assert "" not in waiting
            assert message.role is not Role.ASSISTANT or message.text.strip() or message.tool_calls
    assert not waiting
    assert request.messages[-1].role in {Role.USER, Role.TOOL}


@settings(max_examples=80, deadline=None)
@given(st.lists(SAYINGS, max_size=8), FOR_EVER)
def test_any_model_and_any_tools_keep_the_promises(script: list[Say | Exception], for_ever: Say) -> None:
    provider = ScriptedProvider(replies=script, default=for_ever)
    events, result = trio.run(play, provider, clock=MockClock(autojump_threshold=0))
    check_run(events, result)
    (outcome,) = result["g"].outcomes
    turns = [group for group in outcome.nested if group.name.startswith("turn_")]
    assert 1 <= len(turns) <= MAX_TURNS + 1
    assert len({group.name for group in outcome.nested}) == len(outcome.nested)
    assert sum((group.usage for group in outcome.nested), Usage(calls=1)) == outcome.usage
    assert provider.running == 0
    for request in provider.requests:
        check_conversation(request)
        assert request_of(request_value(request)) == request
    check_end(outcome)


def check_end(outcome: Outcome) -> None:
    """An answer is what the last turn said; a failure says how far it came."""
    if outcome.output is None:
        assert outcome.failure is not None
        assert outcome.failure.details["turns"] <= MAX_TURNS + 1
        return
    last = outcome.nested[-1].outcomes[0].output
    assert last is not None
    reply = reply_of(last.json())
    assert reply_of(reply_value(reply)) == reply
    assert outcome.output.text == reply.text
    assert outcome.metadata["agent"] == ([*outcome.metadata["handoffs"]] or ["first"])[-1]
    outcome.output.text.encode()
