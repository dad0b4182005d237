"""Capacity: who waits for what, and that nothing is ever taken beyond a bound or lost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.guards import Capacity
from motet.guards.capacity import MAX_IDLE
from motet.ports import ADMIT, Guard, Ticket, Wait
from motet.testing.contracts_guard import GuardContract, make_ticket


class TestCapacityOfTheEngineKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return Capacity(engine=3)


class TestCapacityOfAnAgentKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return Capacity(engine=10)

    def make_tickets(self) -> list[Ticket]:
        return [make_ticket(max_parallel=2), make_ticket("other")]


class TestCapacityOfAProviderKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return Capacity(providers={"p": 2, "free": None})

    def make_tickets(self) -> list[Ticket]:
        return [make_ticket(provider="p", max_parallel=5), make_ticket(provider="free"), make_ticket(provider="other")]


class TestCapacityWithoutBoundsKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return Capacity()


def test_a_start_waits_for_the_narrowest_bound_that_is_reached() -> None:
    capacity = Capacity(engine=1, providers={"p": 1})
    ticket = make_ticket("a", provider="p", max_parallel=1)
    capacity.started(ticket)
    assert capacity.may_start(ticket) == Wait(("agent", "a"))
    assert capacity.may_start(make_ticket("b", provider="p")) == Wait(("provider", "p"))
    assert capacity.may_start(make_ticket("c")) == Wait(("engine",))


def test_an_end_names_the_widest_key_first() -> None:
    capacity = Capacity(engine=1)
    ticket = make_ticket("a", provider="p")
    capacity.started(ticket)
    assert capacity.ended(ticket) == (("engine",), ("provider", "p"), ("agent", "a"))


def test_agents_of_one_name_share_a_count_and_keep_their_own_bounds() -> None:
    capacity = Capacity()
    wide, narrow, free = make_ticket(max_parallel=3), make_ticket(max_parallel=1), make_ticket()
    capacity.started(free)
    assert capacity.may_start(narrow) == Wait(("agent", "agent"))
    assert capacity.may_start(wide) == ADMIT
    assert ("agent", "agent") in capacity.ended(free)
    assert capacity.may_start(narrow) == ADMIT


def test_a_call_that_ends_while_it_is_paused_holds_nothing() -> None:
    capacity = Capacity(engine=1)
    ticket = make_ticket()
    capacity.started(ticket)
    capacity.paused(ticket)
    assert capacity.statistics()["engine"]["in_use"] == 0
    with pytest.raises(RuntimeError, match="nobody held"):
        capacity.ended(ticket)


@pytest.mark.parametrize(
    ("engine", "providers", "field"), [(0, {}, "engine"), (None, {"p": 0}, "provider p"), (-1, {}, "engine")]
)
def test_a_bound_below_one_is_refused(engine: int | None, providers: dict[str, int | None], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Capacity(engine=engine, providers=providers)


def test_statistics_show_what_is_in_use_or_bounded() -> None:
    capacity = Capacity(engine=9, providers={"p": 4, "free": None})
    bounded, free = make_ticket("bounded", max_parallel=2), make_ticket("free", provider="free")
    for ticket in (bounded, bounded, free):
        capacity.started(ticket)
    capacity.ended(bounded)
    assert capacity.statistics() == {
        "engine": {"in_use": 2, "limit": 9, "peak": 3},
        "agents": {
            "bounded": {"in_use": 1, "limit": 2, "peak": 2},
            "free": {"in_use": 1, "limit": None, "peak": 1},
        },
        "providers": {
            "p": {"in_use": 0, "limit": 4, "peak": 0},
            "free": {"in_use": 1, "limit": None, "peak": 1},
        },
    }
    for ticket in (bounded, free):
        capacity.ended(ticket)
    assert capacity.statistics()["agents"] == {"bounded": {"in_use": 0, "limit": 2, "peak": 2}}
    assert capacity.statistics()["providers"] == {"p": {"in_use": 0, "limit": 4, "peak": 0}}


def test_figures_of_agents_at_rest_are_bounded() -> None:
    capacity = Capacity()
    for number in range(MAX_IDLE + 10):
        ticket = make_ticket(f"agent {number}", max_parallel=1)
        capacity.started(ticket)
        capacity.ended(ticket)
    agents = capacity.statistics()["agents"]
    assert len(agents) == MAX_IDLE
    assert "agent 0" not in agents


TICKETS = [
    make_ticket("a", provider="p", max_parallel=2),
    make_ticket("b", provider="p"),
    make_ticket("c", provider="q", max_parallel=1),
    make_ticket("c", provider="q", max_parallel=3),
    make_ticket("d"),
]
BOUNDS = {"p": 3, "q": None}


@given(st.lists(st.tuples(st.sampled_from(["start", "end", "pause", "resume"]), st.integers(0, len(TICKETS) - 1))))
def test_no_order_of_starts_ends_and_pauses_passes_a_bound_or_loses_a_slot(steps: list[tuple[str, int]]) -> None:
    capacity = Capacity(engine=4, providers=BOUNDS)
    holding: Counter[int] = Counter()
    paused: Counter[int] = Counter()
    for step, index in steps:
        ticket = TICKETS[index]
        held = [TICKETS[i] for i in holding.elements()]
        of_agent = sum(t.agent.name == ticket.agent.name for t in held)
        of_provider = sum(bool(t.agent.provider) and t.agent.provider == ticket.agent.provider for t in held)
        bound = BOUNDS.get(ticket.agent.provider)
        room = len(held) < 4 and (bound is None or of_provider < bound)
        room = room and (ticket.agent.max_parallel is None or of_agent < ticket.agent.max_parallel)
        if step == "start":
            assert (capacity.may_start(ticket) == ADMIT) is room
            if room:
                capacity.started(ticket)
                holding[index] += 1
        elif step == "resume" and paused[index]:
            assert (capacity.may_resume(ticket) == ADMIT) is room
            if room:
                capacity.resumed(ticket)
                paused[index] -= 1
                holding[index] += 1
        elif step == "end" and holding[index]:
            assert ("engine",) in capacity.ended(ticket)
            holding[index] -= 1
        elif step == "pause" and holding[index]:
            assert ("agent", ticket.agent.name) in capacity.paused(ticket)
            holding[index] -= 1
            paused[index] += 1
        assert capacity.statistics()["engine"]["in_use"] == holding.total()
    for index in holding.elements():
        capacity.ended(TICKETS[index])
    statistics = capacity.statistics()
    assert statistics["engine"]["in_use"] == 0
    assert statistics["engine"]["peak"] <= 4
    for kind in ("agents", "providers"):
        assert all(count["in_use"] == 0 for count in statistics[kind].values())
