"""Random model agents that call tools, groups and each other, and the providers that they talk to. Knows no engine."""

from dataclasses import dataclass, replace
from typing import Any

import trio
from hypothesis import strategies as st
from run_strategies import LIMITS, RETRIES, SECONDS, WIDTHS

import motet
from motet import Group, Limits, Member, OnBreach, Parallel, Sequence, Usage
from motet.agents.model import reasons
from motet.agents.model.agent import ModelAgent
from motet.agents.model.as_tool import as_tool
from motet.agents.model.choice import ModelChoice
from motet.agents.model.guardrails import AgentGuardrail, Guardrail
from motet.agents.model.instructions import Instructions, ModelState
from motet.agents.model.providers.prices import Price
from motet.agents.model.providers.scripted import Say, ScriptedProvider
from motet.agents.model.tool import Tool
from motet.model.chat import ChatReply, ChatRequest, Finish, ToolCall, ToolSpec
from motet.ports import ChatContext
from motet.testing import ScriptedAgent

PASSING = motet.AgentError("busy", reason=reasons.RATE_LIMITED, retryable=True)
LATER = motet.AgentError("busy", reason=reasons.RATE_LIMITED, retryable=True, retry_after=3.0)
LASTING = motet.AgentError("no", reason=reasons.PROVIDER_DENIED)
BUG = ValueError("a bug")


def rarely(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """None most of the time: what bounds everything would hide the rest."""
    return st.integers(0, 7).flatmap(lambda number: strategy if number == 5 else st.none())


TIMEOUTS = st.sampled_from([None] * 30 + [0.0, 0.5, 2.0, 7.0, 30.0, 60.0])
CALLS = st.lists(
    st.builds(
        ToolCall,
        id=st.sampled_from(["", "a", "b", "c"]),
        name=st.sampled_from(
            ["quick", "slow", "bad", "stuck", "resists", "paid", "group", "helper", "nothing"]
            + [f"transfer_to_{name}" for name in ("top", "middle", "leaf")]
        ),
        arguments=st.sampled_from(["{}", "", '{"input": "x"}', '{"input": "x"}', "[]", "{broken", "\ud800"]),
    ),
    max_size=4,
).map(tuple)
SAYINGS = st.one_of(
    st.builds(
        Say,
        st.sampled_from(["", "text", "\ud83d", " ", '{"a": 1}', '{"a": "x"}']),
        tool_calls=CALLS,
        delay=st.sampled_from([0.0, 0.0, 0.5, 1.0, 5.0, 30.0]),
        pieces=st.integers(1, 3),
        finish=st.sampled_from([None] * 5 + [Finish.STOP, Finish.LENGTH, Finish.REFUSED]),
    ),
    st.sampled_from([PASSING, LATER, LASTING, BUG]),
    st.builds(Say, st.just("part"), delay=st.sampled_from([0.5, 5.0]), error=st.sampled_from([PASSING, LASTING])),
)
FOR_EVER = st.sampled_from(
    [
        Say("the end"),
        Say('{"a": 1}'),
        Say(""),
        Say("long", delay=40, pieces=4),
        *(Say(tool_calls=[(name, {"input": "x"})]) for name in ("quick", "helper", "group")),
    ]
)
"""What is said when a script is over."""
MODEL_LIMITS = rarely(
    st.builds(
        Limits,
        max_calls=st.sampled_from([None, None, 0, 1, 2, 4, 8]),
        max_cost_nanos=st.sampled_from([None, None, 0, 5, 20]),
        max_tokens=st.sampled_from([None, None, 0, 5, 50]),
        max_duration=st.sampled_from([None, None, 0.0, 1.0, 5.0]),
        on_breach=st.sampled_from([None, *OnBreach]),
        max_depth=st.sampled_from([None, None, 0, 1]),
    )
)
OUTPUT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


class Witness(ScriptedProvider):
    """Knows when requests came and what was paid for; may go on for `resist` seconds after a cancellation."""

    def __init__(self, name: str, *, resist: float, **options: Any) -> None:
        super().__init__(name, price=Price(1_000, 1_000), **options)
        self.resist = resist
        self.times: list[float] = []
        self.paid = Usage()

    async def chat(self, request: ChatRequest, context: ChatContext, /) -> ChatReply:
        self.times.append(trio.current_time())
        try:
            reply = await super().chat(request, context)
        except trio.Cancelled:
            # Not bounded on purpose: this is a provider that does not stop when it is asked to.
            with trio.CancelScope(shield=True):
                await trio.sleep(self.resist)
            raise
        self.paid += reply.usage
        return reply


async def passes_late(text: str, state: ModelState) -> None:
    await trio.sleep(2)


async def trips_late(text: str, state: ModelState) -> str:
    await trio.sleep(1)
    return "no"


async def never(text: str, state: ModelState) -> None:
    await trio.sleep_forever()


def raises(text: str, state: ModelState) -> None:
    raise ArithmeticError("scripted")


def no_instructions(state: ModelState) -> str:
    raise KeyError("scripted")


async def late_instructions(state: ModelState) -> str:
    await trio.sleep(1)
    return f"turn {state.turn}"


INSTRUCTIONS: list[Instructions] = ["", "s", "s", "s", "s", "s", no_instructions, late_instructions]


def judge(reply: object, delay: float, timeout: float | None = None) -> AgentGuardrail:
    agent = ScriptedAgent("judge", reply=reply, delay=delay, usage=Usage(calls=1, cost_nanos=5))
    return AgentGuardrail(agent, timeout=timeout)


GUARDRAILS = rarely(
    st.one_of(
        st.sampled_from([passes_late, trips_late, raises]).map(lambda fn: [Guardrail(fn)]),
        st.builds(lambda: [Guardrail(never, timeout=1.0), Guardrail(passes_late)]),
        st.builds(lambda reply, delay: [judge(reply, delay)], st.sampled_from([True, False, "junk"]), SECONDS),
        st.builds(lambda: [judge(reply=True, delay=1, timeout=0.5)]),
    )
).map(lambda found: found or [])


@dataclass(frozen=True)
class World:
    """Agents, whom they ask, and a plan of them."""

    plan: motet.Plan
    providers: list[Witness]
    agents: list[ScriptedAgent]
    """All that are called and are no models."""


@st.composite
def worlds(draw: st.DrawFn) -> World:
    resist = st.sampled_from([0.0] * 6 + [1.0, 10.0])
    scripts = st.lists(SAYINGS, max_size=10)
    providers = [
        Witness(name, replies=draw(scripts), default=draw(FOR_EVER), resist=draw(resist)) for name in ("p", "q")
    ]
    agents = [
        ScriptedAgent("quick", delay=0.1, usage=Usage(calls=1, cost_nanos=3)),
        ScriptedAgent("slow", delay=2, max_parallel=draw(WIDTHS), provider=draw(st.sampled_from(["", "p"]))),
        ScriptedAgent("bad", error=BUG),
        ScriptedAgent("stuck", delay=1e9),
        ScriptedAgent("resists", delay=4, resist=draw(st.sampled_from([0.5, 20.0]))),
        ScriptedAgent("paid", delay=1, spends=Usage(calls=1, cost_nanos=7), error=draw(st.sampled_from([None, BUG]))),
    ]
    tools = [
        Tool(spec=ToolSpec(name=each.info.name), agent=each, timeout=draw(st.sampled_from([None, None, 1.0])))
        for each in agents
    ]
    inner = ScriptedAgent("inner", delay=draw(SECONDS), usage=Usage(calls=1, cost_nanos=2))
    plain = ScriptedAgent("plain", delay=draw(SECONDS), usage=Usage(calls=1, cost_nanos=1))
    leaf = draw(model_agents("leaf", providers, tools))
    group = Group(
        "group",
        [Member(inner, replicas=2), Member(leaf, name="model")],
        draw(st.sampled_from(["combine", "first"])),
        timeout=draw(TIMEOUTS),
        max_parallel=draw(WIDTHS),
    )
    helper = as_tool(leaf, name="helper", timeout=draw(st.sampled_from([None, 3.0])))
    middle = draw(model_agents("middle", providers, [*tools, as_tool(group), helper]))
    top = draw(model_agents("top", providers, [*tools, as_tool(group), as_tool(middle, name="helper")]))
    models = [top, middle, leaf]
    for agent in models:
        agent.add_handoffs(*(other for other in models if other is not agent and draw(st.booleans())))
    groups = [
        draw(groups_of(f"g{number}", [top, middle, leaf, top, plain])) for number in range(draw(st.integers(1, 2)))
    ]
    plan: motet.Plan = groups[0]
    if len(groups) > 1:
        plan = Sequence(groups, feed_forward=draw(st.booleans())) if draw(st.booleans()) else Parallel(groups)
    return World(plan, providers, [*agents, inner, plain])


@st.composite
def model_agents(draw: st.DrawFn, name: str, providers: list[Witness], tools: list[Tool]) -> ModelAgent:
    one, two = providers
    fallbacks = [(), (), (ModelChoice(two, "y"),), (ModelChoice(one, "y"), ModelChoice(two, "z"))]
    return ModelAgent(
        name,
        provider=draw(st.sampled_from(providers)),
        model="x",
        instructions=draw(st.sampled_from(INSTRUCTIONS)),
        tools=tools,
        max_turns=draw(st.integers(1, 4)),
        output_type=draw(st.sampled_from([None, None, None, OUTPUT])),
        input_guardrails=draw(GUARDRAILS),
        output_guardrails=draw(GUARDRAILS),
        fallbacks=draw(st.sampled_from(fallbacks)),
        limits=draw(MODEL_LIMITS),
        retry=draw(RETRIES),
        turn_timeout=draw(TIMEOUTS),
        tool_timeout=draw(st.sampled_from([None, 5.0, 5.0, 5.0])),
        max_parallel_tools=draw(WIDTHS),
        stream=draw(st.booleans()),
        history=draw(st.sampled_from(["own", "all", "none"])),
        timeout=draw(TIMEOUTS),
        replay_safe=draw(st.sampled_from([None, True])),
        max_parallel=draw(st.sampled_from([None, None, 1])),
    )


@st.composite
def groups_of(draw: st.DrawFn, name: str, agents: list[Any]) -> Group:
    seats = st.builds(
        Member,
        st.sampled_from(agents),
        timeout=TIMEOUTS,
        retry=st.none() | RETRIES,
        replicas=st.sampled_from([None, None, 2]),
        idempotency=st.sampled_from([None] * 4 + [motet.Idempotency(key="k")]),
    )
    members = [
        replace(member, name=f"m{number}")
        for number, member in enumerate(draw(st.lists(seats, min_size=1, max_size=3)))
    ]
    safe = any(not isinstance(member.agent, str) and member.agent.info.replay_safe for member in members)
    hedge = st.none() | st.builds(motet.HedgePolicy, delay=st.sampled_from([0.5, 1.0]))
    return Group(
        name,
        members,
        draw(st.sampled_from(["combine", "combine", "first", "majority", "merge"])),
        timeout=draw(TIMEOUTS),
        max_parallel=draw(WIDTHS),
        limits=draw(rarely(LIMITS)),
        retry=draw(RETRIES),
        hedge=draw(hedge) if safe else None,
        preserve_session=draw(st.booleans()),
    )
