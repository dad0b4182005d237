"""The seats of a group: one for each member, replicas counted. Names and inputs are worked out when a seat is asked
for, so that a member with 100,000 replicas costs no more than one until they start."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Generic, TypeVar, overload

from motet.model.agent import AgentInfo
from motet.model.payload import Payload
from motet.model.plan import HedgePolicy, Idempotency, Member, ReplicaOverride, RetryPolicy
from motet.ports import Agent

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_NUMBERED: Final = re.compile(r"(.*)_([1-9][0-9]*)")
T = TypeVar("T")


NO_OVERRIDES: Final[Mapping[int, ReplicaOverride]] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class SeatSpec:
    """One declared member, with the agent it names. Written once; not frozen, for each run makes one of every member."""

    member: Member
    agent: Agent
    info: AgentInfo
    name: str
    """Of its seat; with replicas, what their numbers are added to."""
    first: int
    """Place of its first seat in declared order."""
    overrides: Mapping[int, ReplicaOverride] = field(default_factory=dict)
    retry: RetryPolicy | None = None
    """The member's, else the group's; None when no call is made again."""
    hedge: HedgePolicy | None = None
    idempotency: Idempotency | None = None
    """The member's, else the group's."""
    plain: bool = field(init=False)
    """One call, whatever comes of it."""
    timeout: float | None = field(init=False)
    """Seconds of run time where no override says otherwise: the member's, else the agent's; None without a bound."""

    def __post_init__(self) -> None:
        self.plain = self.retry is None and self.hedge is None and self.idempotency is None
        own = self.member.timeout
        self.timeout = self.info.timeout if own is None else own

    @property
    def count(self) -> int:
        return self.member.replicas or 1

    def timeout_is_agents(self, index: int) -> bool:
        """The time of the seat at this place is its agent's, for each call; else its own, for all of them."""
        override = self.overrides.get(index - self.first + 1)
        return self.member.timeout is None and (override is None or override.timeout is None)


class _Lazy(Sequence[T], Generic[T]):
    """A sequence whose items are worked out when they are asked for."""

    def __init__(self, count: int, item: Callable[[int], T]) -> None:
        self._count = count
        self._item = item

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return map(self._item, range(self._count))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self._item(i) for i in range(*index.indices(self._count))]
        return self._item(range(self._count)[index])


class Seats:
    """All seats of a group, by their place in declared order."""

    def __init__(self, specs: Sequence[SeatSpec]) -> None:
        self.specs = specs
        self._firsts = [spec.first for spec in specs]
        self.total = sum(spec.count for spec in specs)
        self._plain = self.total == len(specs)

    def spec(self, index: int) -> SeatSpec:
        return self.specs[index if self._plain else bisect_right(self._firsts, index) - 1]

    def name(self, index: int) -> str:
        return self.name_of(self.spec(index), index)

    def name_of(self, spec: SeatSpec, index: int) -> str:
        """Of a seat whose spec is at hand."""
        return spec.name if spec.member.replicas is None else f"{spec.name}_{index - spec.first + 1}"

    def weight(self, index: int) -> float:
        spec = self.spec(index)
        override = self.override(spec, index)
        return spec.member.weight if override is None or override.weight is None else override.weight

    def cost(self, index: int) -> int | None:
        """What the call of the seat at this place is expected to cost, in billionths of a US dollar, by its agent's card."""
        return self.spec(index).info.estimated_cost_nanos

    def override(self, spec: SeatSpec, index: int) -> ReplicaOverride | None:
        return spec.overrides.get(index - spec.first + 1) if spec.overrides else None

    def timeout(self, spec: SeatSpec, index: int) -> float | None:
        """Seconds of run time: the replica's, else the member's, else the agent's; None without a bound."""
        override = self.override(spec, index)
        return spec.timeout if override is None or override.timeout is None else override.timeout

    def input(self, spec: SeatSpec, index: int, given: Payload) -> Payload:
        override = self.override(spec, index) if spec.overrides else None
        own = spec.member.input if override is None or override.input is None else override.input
        return given if own is None else own

    def variables(self, spec: SeatSpec, index: int, given: Mapping[str, Payload]) -> Mapping[str, Payload]:
        """The run's, then the member's, then those of the replica; later ones win. `given` itself when nothing is added."""
        member = spec.member
        if member.replicas is None:
            return {**given, **member.variables} if member.variables else given
        override = self.override(spec, index)
        return {
            **given,
            **member.variables,
            "member_id": Payload("json", str(index - spec.first + 1)),
            "total_members": Payload("json", str(member.replicas)),
            **(override.variables if override is not None else {}),
        }

    def first_agents(self, most: int) -> tuple[tuple[str, str], ...]:
        """(instance name, agent name) of at most so many seats, in declared order."""
        return tuple((self.name(index), self.spec(index).info.name) for index in range(min(self.total, most)))

    @property
    def names(self) -> Sequence[str]:
        return _Lazy(self.total, self.name)

    @property
    def weights(self) -> Sequence[float]:
        return _Lazy(self.total, self.weight)


def instance_names(  # noqa: C901 - three short passes that share what is taken
    members: Sequence[Member],
) -> tuple[list[str], dict[int, str]]:
    """Name every member; returns the names, and for members whose name is taken a sentence about it, by place.

    Numbered families come first, then explicit names, then the rest, which give way: `name`, `name_2`, `name_3`, ...
    """
    names = [member.name or member.agent_name for member in members]
    clashes: dict[int, str] = {}
    families: dict[str, int] = {}
    singles: set[str] = set()

    def taken(name: str) -> bool:
        match = _NUMBERED.fullmatch(name)
        return name in singles or (match is not None and int(match[2][:9]) <= families.get(match[1], 0))

    for place, member in enumerate(members):
        if member.replicas is not None:
            if names[place] in families:
                clashes[place] = f"the replicas of another member are named {names[place]}_1, ... too; give it a name"
            else:
                families[names[place]] = member.replicas
    for place, member in enumerate(members):
        if member.replicas is None and member.name:
            if taken(member.name):
                clashes[place] = f"{member.name} is the name of another member; instance names are unique in a group"
            singles.add(member.name)
    next_number: dict[str, int] = {}
    for place, member in enumerate(members):
        if member.replicas is None and not member.name:
            base = names[place]
            number = next_number.get(base, 2)
            name = base
            while taken(name):
                name, number = f"{base}_{number}", number + 1
            next_number[base] = number
            names[place] = name
            singles.add(name)
    return names, clashes
