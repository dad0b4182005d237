"""Aggregator: from outcomes to one answer. Pure; what it cannot know by itself it asks agents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from motet.model.outcome import Failure, Outcome
from motet.model.payload import EMPTY, Payload
from motet.model.plan import Member


@dataclass(frozen=True, slots=True)
class Roster:
    """The members of a group, as an aggregation sees them before any has ended."""

    names: Sequence[str]
    """Instance names, in declared order."""
    weights: Sequence[float]
    """One for each name."""
    question: Payload = EMPTY
    """What the members were given, for rules that ask an agent about their answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Questions that an aggregation puts to agents before it can answer: a tiebreak, scores, a summary.

    The engine runs them as a group of their own, inside the asking group's deadline and widths, and gives every outcome
    to `then`, in the order of the members, however it ended. A question that is not asked costs nothing: pure rules
    never make one.
    """

    purpose: str
    """Names the questions' group in events and results: `tiebreaker`, `judge`, `summary`, ..."""
    members: Sequence[Member]
    """One for each question, with its agent, input, timeout and a name unique among them. At least one."""
    then: "Callable[[Sequence[Outcome]], Answer]"
    """What the outcomes make of it: pure, like a tally."""
    max_parallel: int | None = None
    """Most questions at once; None means all."""


Answer: TypeAlias = Payload | Failure | Ask
"""What an aggregation says in the end, or what it has to ask before it can."""


class Tally(Protocol):
    """One group's aggregation in progress. Pure and synchronous: it never waits, reads no clock, starts nothing.

    The engine feeds every outcome once, in the order in which members end, and asks after each whether the answer is
    known. Its cost is constant for each outcome, so that a group's is linear.
    """

    def add(self, index: int, outcome: Outcome) -> bool:
        """Take the outcome of the member with this place in declared order. True once the answer, or that there will
        be none, can no longer change whatever the others do."""
        ...

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        """The answer over all outcomes, in declared order, or why there is none, or what has to be asked first."""
        ...


class Aggregator(Protocol):
    """A rule with its options. One serves any number of groups at once."""

    def begin(self, roster: Roster) -> Tally: ...

    @property
    def agents(self) -> Sequence[str]:
        """Names of the catalog's agents that it may ask, so that an unknown one is refused before anything starts."""
        ...


class RuleBook(Protocol):
    """What a rule may look up while it is made: a catalog."""

    @property
    def aggregations(self) -> "Mapping[str, AggregatorType]": ...

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Python functions that options may name: a request cannot bring code, only the name of code."""
        ...


class AggregatorType(Protocol):
    """A rule that a catalog knows by name."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def options_schema(self) -> Mapping[str, Any]:
        """JSON Schema of the options; empty when it takes none."""
        ...

    @property
    def decides_early(self) -> bool: ...

    def make(self, options: Mapping[str, Any], book: RuleBook, /) -> Aggregator:
        """Raises ValueError, with a sentence that names the option, when the options are wrong."""
        ...
