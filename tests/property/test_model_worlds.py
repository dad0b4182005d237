"""Random groups of random model agents, with random tools, bounds and cancellations: every promise about runs holds, nothing
goes on, every account adds up, and each conversation is one that providers take."""

from dataclasses import dataclass

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_worlds import World, rarely, worlds
from run_accounts import Accountant, every_outcome, is_detached
from run_strategies import CANCELS, LIMITS, TENANTS, WIDTHS

import motet
from motet import Group, Limits, Usage
from motet.model.chat import ChatRequest, Role
from motet.model.session import SessionSettings
from motet.sessions.book import SessionBook
from motet.testing import ScriptedAgent, check_run

STOP_GRACE = 3.0
PATIENCE = 100_000
"""Seconds on trio's clock within which every run must have ended by itself."""
RATES = st.sampled_from(
    [
        None,
        None,
        motet.Rate(calls_per_second=0.5),
        motet.Rate(calls_per_minute=20, burst=2),
        motet.Rate(tokens_per_second=5),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a world is run."""

    world: World
    provider_width: int | None
    rate: motet.Rate | None
    width: int | None
    timeout: float
    cancel: tuple[float, bool] | None
    """After how long the run is cancelled, and whether its caller leaves instead."""
    limits: Limits | None
    tenant: motet.TenantBounds | None
    session: str
    remembered: bool
    """Something was said in the session before."""

    @property
    def catalog(self) -> motet.Catalog:
        catalog = motet.Catalog(sessions=SessionSettings(max_entries=4))
        catalog.add_provider("p", self.provider_width, rate=self.rate)
        if self.tenant is not None:
            catalog.add_tenant("t", self.tenant)
        return catalog

    def stream(self, engine: motet.Engine) -> motet.RunStream:
        tenant = "" if self.tenant is None else "t"
        return engine.stream(
            self.world.plan, "x", timeout=self.timeout, limits=self.limits, tenant=tenant, session_id=self.session
        )


CASES = st.builds(
    Case,
    world=worlds(),
    provider_width=st.sampled_from([None, 1, 1, 2, 5]),
    rate=RATES,
    width=WIDTHS,
    timeout=st.sampled_from([5000.0] * 12 + [0.0, 2.0, 7.0, 30.0]),
    cancel=rarely(CANCELS),
    limits=rarely(LIMITS),
    tenant=rarely(TENANTS),
    session=st.sampled_from(["", "s"]),
    remembered=st.booleans(),
)


async def play(case: Case) -> None:
    events: list[motet.Event] = []
    accountant = Accountant()
    async with motet.open_engine(
        case.catalog,
        max_parallel=case.width,
        stop_grace=STOP_GRACE,
        guards=[accountant],
        observers=[lambda run_id, event: events.append(event)],
    ) as engine:
        if case.remembered:
            before = Group("before", [ScriptedAgent("m0"), ScriptedAgent("m1")], preserve_session=True)
            await engine.run(before, "hello", session_id="s")
            events.clear()
            accountant.settlements.clear()
        try:
            stream = case.stream(engine)
        except motet.Exhausted:
            assert not events
            return
        await follow(stream, case.cancel)
        result = stream.result
        assert result is not None
        check_run(events, result, plan=case.world.plan)
        if not any(map(is_detached, every_outcome(result))):
            check_accounts(case.world, result, accountant)
            assert not any(provider.running for provider in case.world.providers)
            assert not any(agent.running for agent in case.world.agents)
            now = engine.statistics()
            assert (now.members_running, now.members_waiting, now.width_waiters) == (0, 0, 0)
    assert not accountant.open
    assert isinstance(engine.sessions, SessionBook)
    assert not engine.sessions.turns.holder("s")


async def follow(stream: motet.RunStream, cancel: tuple[float, bool] | None) -> None:
    """To the end of the run, which may be a cancel or that its caller leaves."""
    after, leave = cancel or (PATIENCE, True)

    async def stop() -> None:
        await trio.sleep(after)
        if not leave:
            stream.cancel()

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(after if leave else PATIENCE) as scope:
            nursery.start_soon(stop)
            async with stream:
                async for _ in stream:
                    pass
        nursery.cancel_scope.cancel()
    assert cancel is not None or not scope.cancelled_caught, "the run does not end"


def check_accounts(world: World, result: motet.RunResult, accountant: Accountant) -> None:
    """What the run says it used is what was settled, and of tokens what the providers told."""
    assert result.usage == sum(accountant.settlements, Usage())
    assert sum(outcome.attempts for outcome in every_outcome(result)) == len(accountant.settlements)
    told = sum((provider.paid for provider in world.providers), Usage())
    tokens = [usage.input_tokens + usage.output_tokens for usage in (result.usage, told)]
    # An answer that came too late is paid for at a price that nobody knows.
    assert tokens[0] == tokens[1] or (tokens[0] < tokens[1] and result.usage.unpriced_calls)
    for outcome in every_outcome(result):
        if outcome.attempts and outcome.state in {motet.State.CANCELLED, motet.State.TIMED_OUT}:
            assert outcome.stop is not None


def check_conversation(request: ChatRequest) -> None:
    """Each tool call has its result, in order, right after the message that asked; nothing else has one."""
    roles = [message.role for message in request.messages]
    assert roles.count(Role.SYSTEM) <= 1
    assert next(role for role in roles if role is not Role.SYSTEM) is Role.USER
    assert roles[-1] in {Role.USER, Role.TOOL}
    named = [call.id for message in request.messages for call in message.tool_calls]
    assert len(set(named)) == len(named)
    waiting: list[str] = []
    for message in request.messages:
        if message.role is Role.TOOL:
            assert message.tool_call_id == waiting.pop(0)
        else:
            assert not waiting
            waiting = [call.id for call in message.tool_calls]
            assert "" not in waiting
            assert message.role is not Role.ASSISTANT or message.text.strip() or message.tool_calls
        message.text.encode()
    assert not waiting


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(case=CASES)
def test_random_groups_of_model_agents_keep_every_promise(case: Case) -> None:
    trio.run(play, case, clock=trio.testing.MockClock(autojump_threshold=0))
    for provider in case.world.providers:
        assert provider.running == 0
        for request in provider.requests:
            check_conversation(request)
        for time, context in zip(provider.times, provider.contexts, strict=True):
            assert time < context.deadline
    first = case.world.providers[0]
    if case.provider_width is not None and not first.resist:
        assert first.peak <= case.provider_width
