"""What every guard promises, as tests: subclass `GuardContract` as `Test...` beside the guard. Needs pytest."""
# ruff: noqa: S101 - asserting is what a contract suite does

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import pytest

from motet.model import usage
from motet.model.agent import AgentInfo, AgentKind
from motet.model.limit_use import LimitUse
from motet.model.outcome import AttemptKind
from motet.model.rate import Breaker, Rate
from motet.ports import Admit, End, Guard, Profile, Refuse, RunTicket, Start, Ticket, Wait


@dataclass(frozen=True, slots=True)
class StubProfile:
    """What is known of an agent, as the test says."""

    cost_nanos: int | None = None
    tokens: int | None = None
    seen: bool = True
    times: Sequence[float] = ()
    """Seconds that its calls took."""
    failing: bool = False

    def quantile(self, share: float) -> float | None:
        """The nearest of `times`: 0.5 of an odd number of them is the one in the middle."""
        if not self.times:
            return None
        return sorted(self.times)[max(math.ceil(share * len(self.times)) - 1, 0)]


def make_ticket(
    agent: str = "agent",
    *,
    provider: str = "",
    max_parallel: int | None = None,
    group: str = "group",
    rate: Rate | None = None,
    breaker: Breaker | None = None,
    weight: float = 1.0,
    tenant: str = "",
    profile: Profile | None = None,
    composite: bool = False,
    run_id: str = "run",
) -> Ticket:
    """A ticket as the engine makes it."""
    info = AgentInfo(
        name=agent,
        kind=AgentKind.FUNCTION,
        composite=composite,
        provider=provider,
        max_parallel=max_parallel,
        rate=rate,
        breaker=breaker,
        weight=weight,
    )
    return Ticket(info, run_id, group, 0, tenant=tenant, profile=profile)


def make_start(
    ticket: Ticket | None = None, *, kind: AttemptKind = AttemptKind.FIRST, deadline: float = math.inf
) -> Start:
    """One attempt as the engine makes it; without a ticket, of `make_ticket()`."""
    return Start(ticket or make_ticket(), kind, deadline)


def make_run(
    run_id: str = "run",
    *,
    tenant: str = "",
    depth: int = 0,
    max_depth: int = 8,
    members: int = 1,
    max_members: int = 1000,
    nested: bool = False,
) -> RunTicket:
    """What a guard hears of a run that asks to start."""
    return RunTicket(run_id, tenant, depth, max_depth, members, max_members, nested)


STOPPED = End(usage.NONE, 0.0)
"""The attempt was stopped by others before it had used anything."""


class GuardContract:
    """Tests of one kind of guard. The subclass says how to make it."""

    most: int = 1000
    """Starts after which a guard that bounds nothing of these tickets is taken to bound nothing at all."""
    now: float = 100.0
    """On trio's clock, when the guard is first asked."""
    rest: float = 0.0
    """Seconds after which a guard that bounds what is used in a time has forgotten that anything ran."""

    def make_guard(self) -> Guard:
        raise NotImplementedError

    def make_tickets(self) -> Sequence[Ticket]:
        """Tickets that the guard admits while nothing runs; a start of the first asks for its scarcest bound."""
        return [make_ticket()]

    def fill(self, guard: Guard, now: float) -> tuple[list[Start], Wait | Refuse | None]:
        """Start the first ticket until the guard no longer admits it: what started, and what the guard then says."""
        ticket = self.make_tickets()[0]
        running: list[Start] = []
        for _ in range(self.most):
            start = make_start(ticket)
            admission = guard.may_start(start, now)
            if not isinstance(admission, Admit):
                return running, admission
            guard.started(start, now)
            running.append(start)
        return running, None

    def end(self, guard: Guard, start: Start, now: float) -> list[Hashable]:
        """Stop a start that has used nothing: the keys that may have room."""
        return [*guard.ended(start, now), *guard.settled(start, STOPPED, now)]

    def test_it_has_a_name(self) -> None:
        assert self.make_guard().name

    def test_may_start_only_looks(self) -> None:
        guard = self.make_guard()
        before = list(guard.uses())
        for ticket in self.make_tickets():
            start = make_start(ticket)
            assert isinstance(guard.may_start(start, self.now), Admit)
            assert guard.may_start(start, self.now) == guard.may_start(start, self.now)
        assert list(guard.uses()) == before
        _, admission = self.fill(guard, self.now)
        if admission is not None:
            full = list(guard.uses())
            assert guard.may_start(make_start(self.make_tickets()[0]), self.now) == admission
            assert list(guard.uses()) == full

    def test_may_run_only_looks_and_never_delays(self) -> None:
        guard = self.make_guard()
        before = list(guard.uses())
        for _ in range(2):
            assert isinstance(guard.may_run(make_run(), self.now), Admit)
        assert list(guard.uses()) == before

    def test_a_run_that_has_ended_leaves_room_for_another(self) -> None:
        guard = self.make_guard()
        for number in range(10):
            run = make_run(f"run {number}")
            assert isinstance(guard.may_run(run, self.now), Admit)
            guard.run_started(run, self.now)
            guard.run_ended(run, self.now)

    def test_a_wait_is_over_when_it_says_or_when_something_ends(self) -> None:
        guard = self.make_guard()
        running, admission = self.fill(guard, self.now)
        if not isinstance(admission, Wait):
            pytest.skip("this guard delays none of its tickets")
        assert admission.until > self.now
        moment = self.now
        if math.isinf(admission.until):
            assert admission.key in self.end(guard, running.pop(), self.now)
        else:
            moment = admission.until
        assert isinstance(guard.may_start(make_start(self.make_tickets()[0]), moment), Admit)

    def test_a_refusal_has_a_stable_reason_and_a_sentence(self) -> None:
        guard = self.make_guard()
        _, admission = self.fill(guard, self.now)
        if not isinstance(admission, Refuse):
            pytest.skip("this guard refuses none of its tickets")
        assert admission.failure.reason == admission.failure.reason.upper()
        assert admission.failure.message

    def test_a_pause_gives_back_what_a_start_took(self) -> None:
        guard = self.make_guard()
        running, admission = self.fill(guard, self.now)
        if not isinstance(admission, Wait):
            pytest.skip("this guard delays none of its tickets")
        start = running.pop()
        keys = guard.paused(start, self.now)
        if not keys:
            pytest.skip("this guard holds on through a pause")
        assert admission.key in keys
        assert isinstance(guard.may_start(make_start(self.make_tickets()[0]), self.now), Admit)
        assert isinstance(guard.may_resume(start, self.now), Admit)
        guard.resumed(start, self.now)
        for other in (start, *running):
            self.end(guard, other, self.now)
        self.check_rest(guard)

    def test_a_start_that_ends_while_it_is_paused_holds_nothing(self) -> None:
        guard = self.make_guard()
        start = make_start(self.make_tickets()[0])
        guard.started(start, self.now)
        guard.paused(start, self.now)
        guard.settled(start, STOPPED, self.now)
        self.check_rest(guard)

    def test_after_every_start_has_ended_it_admits_as_many_again(self) -> None:
        guard = self.make_guard()
        first, _ = self.fill(guard, self.now)
        for start in first:
            self.end(guard, start, self.now)
        self.check_rest(guard)
        again, _ = self.fill(guard, self.now + self.rest)
        assert len(again) == len(first)

    def test_uses_are_rows_of_its_own_with_figures_that_are_never_negative(self) -> None:
        guard = self.make_guard()
        for ticket in self.make_tickets():
            start = make_start(ticket)
            guard.started(start, self.now)
            self.check_uses(guard)
            self.end(guard, start, self.now)
        self.check_uses(guard)
        self.fill(guard, self.now)
        self.check_uses(guard)

    def check_uses(self, guard: Guard) -> None:
        for row in guard.uses():
            assert isinstance(row, LimitUse)
            assert row.guard == guard.name
            assert row.scope
            assert row.what
            assert row.used >= 0
            assert row.reserved >= 0
            assert row.limit is None or row.limit >= 0

    def check_rest(self, guard: Guard) -> None:
        """Nothing is held for calls when none runs."""
        self.check_uses(guard)
        for row in guard.uses():
            assert row.reserved == 0
            assert row.what != "running" or row.used == 0
