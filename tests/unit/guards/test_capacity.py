"""Capacity: who waits for what, and that nothing is ever taken beyond a bound or lost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.guards.capacity import MAX_IDLE, Capacity
from motet.model.limit_use import LimitUse
from motet.ports import ADMIT, Guard, Start, Ticket, Wait
from motet.testing.contracts_guard import GuardContract, make_start, make_ticket

NOW = 0.0


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


def start_of(agent: str = "agent", *, provider: str = "", max_parallel: int | None = None) -> Start:
    return make_start(make_ticket(agent, provider=provider, max_parallel=max_parallel))


def running(name: str, used: int, limit: int | None, scope: str = "agent") -> LimitUse:
    return LimitUse(guard="capacity", scope=scope, name=name, what="running", limit=limit, used=used)


def test_a_start_waits_for_the_narrowest_bound_that_is_reached() -> None:
    capacity = Capacity(engine=1, providers={"p": 1})
    start = start_of("a", provider="p", max_parallel=1)
    capacity.started(start, NOW)
    assert capacity.may_start(start, NOW) == Wait(("agent", "a"))
    assert capacity.may_start(start_of("b", provider="p"), NOW) == Wait(("provider", "p"))
    assert capacity.may_start(start_of("c"), NOW) == Wait(("engine",))


def test_an_end_names_the_widest_key_first() -> None:
    capacity = Capacity(engine=1)
    start = start_of("a", provider="p")
    capacity.started(start, NOW)
    assert capacity.ended(start, NOW) == (("engine",), ("provider", "p"), ("agent", "a"))


def test_agents_of_one_name_share_a_count_and_keep_their_own_bounds() -> None:
    capacity = Capacity()
    wide, narrow, free = start_of(max_parallel=3), start_of(max_parallel=1), start_of()
    capacity.started(free, NOW)
    assert capacity.may_start(narrow, NOW) == Wait(("agent", "agent"))
    assert capacity.may_start(wide, NOW) == ADMIT
    assert ("agent", "agent") in capacity.ended(free, NOW)
    assert capacity.may_start(narrow, NOW) == ADMIT


def test_a_call_that_resumes_takes_its_width_again() -> None:
    capacity = Capacity(engine=1)
    start, other = start_of(), start_of("other")
    capacity.started(start, NOW)
    capacity.paused(start, NOW)
    capacity.started(other, NOW)
    assert capacity.may_resume(start, NOW) == Wait(("engine",))
    capacity.ended(other, NOW)
    assert capacity.may_resume(start, NOW) == ADMIT
    capacity.resumed(start, NOW)
    assert capacity.may_start(other, NOW) == Wait(("engine",))


def test_a_call_that_ends_while_it_is_paused_holds_nothing() -> None:
    capacity = Capacity(engine=1)
    start = start_of()
    capacity.started(start, NOW)
    capacity.paused(start, NOW)
    assert capacity.uses() == (running("", 0, 1, "engine"),)
    with pytest.raises(RuntimeError, match="nobody held"):
        capacity.ended(start, NOW)


@pytest.mark.parametrize(
    ("engine", "providers", "field"), [(0, {}, "engine"), (None, {"p": 0}, "provider p"), (-1, {}, "engine")]
)
def test_a_bound_below_one_is_refused(engine: int | None, providers: dict[str, int | None], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Capacity(engine=engine, providers=providers)


def test_uses_show_what_is_in_use_or_bounded() -> None:
    capacity = Capacity(engine=9, providers={"p": 4, "free": None})
    bounded, free = start_of("bounded", max_parallel=2), start_of("free", provider="free")
    for start in (bounded, bounded, free):
        capacity.started(start, NOW)
    capacity.ended(bounded, NOW)
    assert capacity.uses() == (
        running("", 2, 9, "engine"),
        running("p", 0, 4, "provider"),
        running("free", 1, None, "provider"),
        running("bounded", 1, 2),
        running("free", 1, None),
    )
    for start in (bounded, free):
        capacity.ended(start, NOW)
    assert capacity.uses() == (running("", 0, 9, "engine"), running("p", 0, 4, "provider"), running("bounded", 0, 2))


def test_figures_of_agents_at_rest_are_bounded() -> None:
    capacity = Capacity()
    for number in range(MAX_IDLE + 10):
        start = start_of(f"agent {number}", max_parallel=1)
        capacity.started(start, NOW)
        capacity.ended(start, NOW)
    agents = [use.name for use in capacity.uses() if use.scope == "agent"]
    assert len(agents) == MAX_IDLE
    assert "agent 0" not in agents


STARTS = [
    start_of("a", provider="p", max_parallel=2),
    start_of("b", provider="p"),
    start_of("c", provider="q", max_parallel=1),
    start_of("c", provider="q", max_parallel=3),
    start_of("d"),
]
BOUNDS = {"p": 3, "q": None}


@given(st.lists(st.tuples(st.sampled_from(["start", "end", "pause", "resume"]), st.integers(0, len(STARTS) - 1))))
def test_no_order_of_starts_ends_and_pauses_passes_a_bound_or_loses_a_slot(steps: list[tuple[str, int]]) -> None:
    capacity = Capacity(engine=4, providers=BOUNDS)
    holding: Counter[int] = Counter()
    paused: Counter[int] = Counter()
    for step, index in steps:
        start = STARTS[index]
        agent = start.ticket.agent
        held = [STARTS[i].ticket.agent for i in holding.elements()]
        of_agent = sum(other.name == agent.name for other in held)
        of_provider = sum(bool(other.provider) and other.provider == agent.provider for other in held)
        bound = BOUNDS.get(agent.provider)
        room = len(held) < 4 and (bound is None or of_provider < bound)
        room = room and (agent.max_parallel is None or of_agent < agent.max_parallel)
        if step == "start":
            assert (capacity.may_start(start, NOW) == ADMIT) is room
            if room:
                capacity.started(start, NOW)
                holding[index] += 1
        elif step == "resume" and paused[index]:
            assert (capacity.may_resume(start, NOW) == ADMIT) is room
            if room:
                capacity.resumed(start, NOW)
                paused[index] -= 1
                holding[index] += 1
        elif step == "end" and holding[index]:
            assert ("engine",) in capacity.ended(start, NOW)
            holding[index] -= 1
        elif step == "pause" and holding[index]:
            assert ("agent", agent.name) in capacity.paused(start, NOW)
            holding[index] -= 1
            paused[index] += 1
        assert capacity.uses()[0].used == holding.total() <= 4
    for index in holding.elements():
        capacity.ended(STARTS[index], NOW)
    assert all(use.used == 0 for use in capacity.uses())
