"""Random plans over random agents, rules, questions, delays, failures, resistances, deadlines, cancels, retries, hedges,
keys, limits, rates, breakers and quotas: every promise about runs holds, nothing of a run is left when it has ended but
what a receipt names, and every account adds up."""

from dataclasses import dataclass

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_accounts import Accountant, every_agent, every_outcome, is_detached, used
from run_strategies import (
    CANCELS,
    LIMITS,
    RETRIES,
    TENANTS,
    TIMEOUTS,
    WIDTHS,
    agents,
    asking_rules,
    plans,
    rules_that_ask,
    unique,
)

import motet
from motet import Aggregation, Group, Limits, Member
from motet.model.usage import NONE
from motet.testing import AskingRule, ScriptedAgent, check_run

STOP_GRACE = 3.0
PATIENCE = 100_000
"""Seconds on trio's clock within which every run must have ended by itself."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a plan is run."""

    plan: motet.Plan
    rules: list[AskingRule]
    width: int | None = None
    timeout: float | None = None
    cancel: tuple[float, bool] | None = None
    limits: Limits | None = None
    tenant: motet.TenantBounds | None = None

    @property
    def catalog(self) -> motet.Catalog:
        catalog = motet.Catalog()
        for rule in self.rules:
            catalog.add_aggregation(rule)
        if self.tenant is not None:
            catalog.add_tenant("t", self.tenant)
        return catalog

    def stream(self, engine: motet.Engine) -> motet.RunStream:
        tenant = "" if self.tenant is None else "t"
        return engine.stream(self.plan, "x", timeout=self.timeout, limits=self.limits, tenant=tenant)


def keeps_every_promise(case: Case) -> None:
    async def main() -> None:
        events: list[motet.Event] = []
        observers = [lambda run_id, event: events.append(event)]
        accountant = Accountant()
        called = every_agent(case.plan, case.rules)
        before = sum(len(agent.calls) for agent in called)
        open_engine = motet.open_engine(
            case.catalog, max_parallel=case.width, stop_grace=STOP_GRACE, guards=[accountant], observers=observers
        )
        async with open_engine as engine:
            result, refused = None, ""
            try:
                stream = case.stream(engine)
            except motet.Exhausted as error:
                refused = error.reason
            else:
                seen, result = await followed(stream, case.cancel)
                check_run(events, result, plan=case.plan)
                assert seen == events[: len(seen)]
                check_nothing_goes_on(engine, result, accountant)
        check_nothing_is_held(engine, accountant)
        accountant.check_budgets()
        calls = sum(len(agent.calls) for agent in called) - before
        assert len(accountant.settlements) == calls
        if result is None:
            assert (refused, calls, events) == ("QUOTA_EXCEEDED", 0, [])
            return
        ended = list(every_outcome(result))
        told = (sum(outcome.attempts for outcome in ended), result.usage)
        # What a member does after it was given up is nobody's any more.
        if not any(map(is_detached, ended)):
            assert told == (calls, sum(accountant.settlements, NONE))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def followed(
    stream: motet.RunStream, cancel: tuple[float, bool] | None
) -> tuple[list[motet.Event], motet.RunResult]:
    """Follow a run to its end, which may be a cancel or that its caller leaves: what was seen, and its result."""
    cancel_after, leave = cancel or (None, False)

    async def stop() -> None:
        await trio.sleep(cancel_after or 0)
        stream.cancel()

    seen: list[motet.Event] = []
    async with trio.open_nursery() as nursery, stream:
        if cancel_after is not None and not leave:
            nursery.start_soon(stop)
        with trio.move_on_after(cancel_after if leave and cancel_after is not None else PATIENCE) as scope:
            async for event in stream:
                seen.append(event)  # noqa: PERF401 - what was seen before a cancel counts
        assert leave or not scope.cancelled_caught, "the run does not end"
        nursery.cancel_scope.shield = True
        await stream.__aexit__(None, None, None)
        nursery.cancel_scope.cancel()
    assert stream.result is not None
    return seen, stream.result


def check_nothing_goes_on(engine: motet.Engine, result: motet.RunResult, accountant: Accountant) -> None:
    """But for what could not be stopped, whose receipts say so, and which is paid for when it ends."""
    detached = sum(map(is_detached, every_outcome(result)))
    now = engine.statistics()
    assert now.members_running == 0
    assert now.members_waiting == 0
    assert now.members_detached <= detached
    assert now.width_waiters == 0
    assert detached or not accountant.open
    assert used(now.limits, "capacity", "engine") <= len(accountant.open)
    assert accountant.open or not any(row.reserved for row in now.limits)


def check_nothing_is_held(engine: motet.Engine, accountant: Accountant) -> None:
    """After the engine has closed, which waits for everything."""
    idle = [row for guard in engine.admission.guards for row in guard.uses()]
    assert not any(row.reserved for row in idle)
    assert not any(row.used for row in idle if row.what in {"running", "runs"})
    assert not accountant.open


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    case=st.builds(
        Case,
        plan=plans().filter(unique),
        rules=asking_rules(),
        width=WIDTHS,
        timeout=TIMEOUTS,
        cancel=CANCELS,
        limits=LIMITS,
        tenant=TENANTS,
    )
)
def test_every_promise_holds_for_every_plan(case: Case) -> None:
    keeps_every_promise(case)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    members=st.lists(agents(2, asked=True), min_size=1, max_size=4),
    rule=rules_that_ask(),
    rules=asking_rules(),
    bounds=st.tuples(WIDTHS, WIDTHS, st.sampled_from([None, None, 1.0, 2.0, 7.0])),
    how=st.tuples(CANCELS, RETRIES, st.none() | LIMITS),
)
def test_every_promise_holds_for_every_question(
    members: list[ScriptedAgent],
    rule: Aggregation,
    rules: list[AskingRule],
    bounds: tuple[int | None, int | None, float | None],
    how: tuple[tuple[float, bool] | None, motet.RetryPolicy | None, Limits | None],
) -> None:
    width, max_parallel, timeout = bounds
    cancel, retry, limits = how
    group = Group("asks", members, rule, timeout=timeout, max_parallel=max_parallel, retry=retry, limits=limits)
    # Once in the plan itself, and once inside a member, whose group has limits of its own.
    inside = Group("around", [Member(ScriptedAgent("host", nested=group), timeout=timeout)])
    for plan in (group, inside):
        keeps_every_promise(Case(plan=plan, rules=rules, width=width, cancel=cancel))
