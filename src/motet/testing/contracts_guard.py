"""What every guard promises, as tests: subclass `GuardContract` as `Test...` beside the guard. Needs pytest."""
# ruff: noqa: S101 - asserting is what a contract suite does

import copy
from collections.abc import Sequence

import pytest

from motet.model.agent import AgentInfo, AgentKind
from motet.ports import Admit, Guard, Refuse, Ticket, Wait


def make_ticket(
    agent: str = "agent", *, provider: str = "", max_parallel: int | None = None, group: str = "group"
) -> Ticket:
    """A ticket as the engine makes it."""
    info = AgentInfo(name=agent, kind=AgentKind.FUNCTION, provider=provider, max_parallel=max_parallel)
    return Ticket(info, "run", group, 0)


class GuardContract:
    """Tests of one kind of guard. The subclass says how to make it."""

    most: int = 1000
    """Starts after which a guard that bounds nothing of these tickets is taken to bound nothing at all."""

    def make_guard(self) -> Guard:
        raise NotImplementedError

    def make_tickets(self) -> Sequence[Ticket]:
        """Tickets that the guard admits while nothing runs; a start of the first asks for its scarcest bound."""
        return [make_ticket()]

    def fill(self, guard: Guard) -> tuple[int, Wait | Refuse | None]:
        """Start the first ticket until the guard no longer admits it: how often, and what the guard then says."""
        ticket = self.make_tickets()[0]
        for started in range(self.most):
            admission = guard.may_start(ticket)
            if not isinstance(admission, Admit):
                return started, admission
            guard.started(ticket)
        return self.most, None

    def test_it_has_a_name(self) -> None:
        assert self.make_guard().name

    def test_may_start_only_looks(self) -> None:
        guard = self.make_guard()
        before = copy.deepcopy(guard.statistics())
        for ticket in self.make_tickets():
            assert isinstance(guard.may_start(ticket), Admit)
            assert guard.may_start(ticket) == guard.may_start(ticket)
        assert guard.statistics() == before

    def test_an_end_names_the_key_that_was_waited_for_and_makes_room(self) -> None:
        guard = self.make_guard()
        ticket = self.make_tickets()[0]
        _, admission = self.fill(guard)
        if not isinstance(admission, Wait):
            pytest.skip("this guard delays none of its tickets")
        assert admission.key in guard.ended(ticket)
        assert isinstance(guard.may_start(ticket), Admit)

    def test_a_pause_gives_back_what_a_start_took_and_a_resumption_takes_it_again(self) -> None:
        guard = self.make_guard()
        ticket = self.make_tickets()[0]
        _, admission = self.fill(guard)
        if not isinstance(admission, Wait):
            pytest.skip("this guard delays none of its tickets")
        keys = guard.paused(ticket)
        if not keys:
            pytest.skip("this guard holds on through a pause")
        assert admission.key in keys
        assert isinstance(guard.may_resume(ticket), Admit)
        guard.resumed(ticket)
        assert isinstance(guard.may_start(ticket), Wait)

    def test_after_every_start_has_ended_it_admits_as_many_again(self) -> None:
        guard = self.make_guard()
        ticket = self.make_tickets()[0]
        first, _ = self.fill(guard)
        for _ in range(first):
            guard.ended(ticket)
        again, _ = self.fill(guard)
        assert again == first
