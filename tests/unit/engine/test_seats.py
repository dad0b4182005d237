"""Instance names and the queue of seats: pure, for any members."""

from hypothesis import given
from hypothesis import strategies as st

from motet.engine.seat_queue import SeatQueue
from motet.engine.seats import Seats, SeatSpec, instance_names
from motet.model.agent import AgentInfo, AgentKind
from motet.model.plan import Member
from motet.ports import Ticket
from motet.testing import ScriptedAgent

NAMES = st.sampled_from(["a", "b", "a_1", "a_2", "a_10", "b_2", "a_02"])
MEMBERS = st.lists(
    st.builds(
        lambda agent, name, replicas: Member(ScriptedAgent(agent), name=name, replicas=replicas),
        NAMES,
        st.just("") | NAMES,
        st.none() | st.integers(1, 12),
    ),
    min_size=1,
    max_size=8,
)


def seats_of(members: list[Member]) -> tuple[Seats, dict[int, str]]:
    names, clashes = instance_names(members)
    specs: list[SeatSpec] = []
    first = 0
    for member, name in zip(members, names, strict=True):
        agent = member.agent
        assert isinstance(agent, ScriptedAgent)
        specs.append(SeatSpec(member, agent, agent.info, name, first))
        first += member.replicas or 1
    return Seats(specs), clashes


@given(MEMBERS)
def test_instance_names_are_unique_unless_a_clash_is_reported(members: list[Member]) -> None:
    seats, clashes = seats_of(members)
    unique = len(set(seats.names)) == len(seats.names)
    assert unique or clashes


@given(MEMBERS)
def test_members_without_a_name_of_their_own_never_clash(members: list[Member]) -> None:
    _, clashes = instance_names([Member(member.agent) for member in members])
    assert not clashes


@given(MEMBERS)
def test_an_explicit_name_is_never_changed(members: list[Member]) -> None:
    names, _ = instance_names(members)
    assert all(name == member.name for name, member in zip(names, members, strict=True) if member.name)


def test_a_hundred_thousand_replicas_have_names_without_a_list_of_them() -> None:
    seats, _ = seats_of([Member(ScriptedAgent("first")), Member(ScriptedAgent("a"), replicas=100_000)])
    assert seats.total == 100_001
    assert seats.names[-1] == "a_100000"
    assert seats.name(1) == "a_1"
    assert list(seats.names[:2]) == ["first", "a_1"]
    assert len(seats.specs) == 2


def queue_of(agents: list[tuple[str, int]]) -> tuple[SeatQueue, dict[str, Ticket]]:
    seats, _ = seats_of([Member(ScriptedAgent(name), name=f"m{n}", replicas=c) for n, (name, c) in enumerate(agents)])
    tickets = {name: Ticket(AgentInfo(name=name, kind=AgentKind.FUNCTION), "run", "g", 0) for name, _ in agents}
    return SeatQueue(seats, [tickets[spec.info.name] for spec in seats.specs]), tickets


AGENTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), min_size=1, max_size=6)


@given(AGENTS)
def test_seats_leave_in_declared_order_when_nothing_is_held(agents: list[tuple[str, int]]) -> None:
    queue, _ = queue_of(agents)
    taken = []
    while queue.ready is not None:
        taken.append(queue.take())
    assert taken == list(range(sum(count for _, count in agents)))
    assert queue.waiting == 0


@given(AGENTS, st.lists(st.integers(0, 8), max_size=40))
def test_a_held_agent_holds_up_no_other_and_keeps_its_own_order(
    agents: list[tuple[str, int]], choices: list[int]
) -> None:
    queue, _ = queue_of(agents)
    owners = [name for name, count in agents for _ in range(count)]
    taken: list[int] = []
    held: list[str] = []
    while queue.waiting:
        choice = choices.pop() if choices else 8
        ticket = queue.ready
        if ticket is None or (held and choice < 3):
            assert queue.release(held.pop(choice % len(held)))
        elif choice < 6:
            assert ticket.agent.name not in held
            queue.hold(ticket.agent.name)
            held.append(ticket.agent.name)
        else:
            assert ticket.agent.name not in held
            taken.append(queue.take())
    assert sorted(taken) == list(range(len(owners)))
    for name in "abc":
        own = [index for index in taken if owners[index] == name]
        assert own == sorted(own)


@given(AGENTS, st.integers(0, 30))
def test_drain_returns_what_is_left_in_declared_order(agents: list[tuple[str, int]], takes: int) -> None:
    queue, _ = queue_of(agents)
    total = queue.waiting
    taken = [queue.take() for _ in range(min(takes, total))]
    if queue.ready is not None:
        queue.hold("key")
    left = queue.drain()
    assert taken + left == list(range(total))
    assert queue.waiting == 0
    assert not queue.release("key")
