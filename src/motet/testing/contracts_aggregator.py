"""What every aggregation promises, as tests: subclass `AggregatorContract` as `Test...`. Needs pytest.

`decide` plays one group's outcomes to an aggregator as the engine does, `answer_with` the agents that it asks.
"""
# ruff: noqa: S101 - asserting is what a contract suite does

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Any, ClassVar, Final

import pytest

from motet.aggregate import BUILTIN
from motet.model import reason
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import EMPTY, Payload
from motet.model.plan import Member
from motet.model.state import State
from motet.ports import Aggregator, AggregatorType, Answer, Ask, Roster, RuleBook

MAX_ROUNDS: Final = 100
"""Questions after questions that `answer_with` plays before it gives a rule up, as the engine does."""


@dataclass(frozen=True)
class Book:
    """A rule book for tests: the built-in rules, and the functions given."""

    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    aggregations: Mapping[str, AggregatorType] = field(default_factory=lambda: BUILTIN)


BOOK: Final = Book()
"""The built-in rules and no functions."""


def succeeded(member: str, output: object) -> Outcome:
    """The outcome of a member that succeeded."""
    return Outcome(member=member, agent="agent", state=State.SUCCEEDED, output=Payload.of(output))


def failed(member: str) -> Outcome:
    """The outcome of a member that failed."""
    return Outcome(
        member=member,
        agent="agent",
        state=State.FAILED,
        failure=Failure(reason.AGENT_FAILED, f"{member} failed"),
    )


def stopped(member: str) -> Outcome:
    """The outcome of a member that was stopped because the answer was decided."""
    return Outcome(
        member=member,
        agent="agent",
        state=State.CANCELLED,
        failure=Failure(reason.DECIDED, "the answer was decided"),
        stop=StopReceipt(StopKind.STOPPED, 0.0),
    )


def roster_of(outcomes: Sequence[Outcome], weights: Sequence[float] | None = None, question: Payload = EMPTY) -> Roster:
    """The roster of these members, each with the weight 1 unless `weights` says otherwise."""
    return Roster(
        [outcome.member for outcome in outcomes], [1.0] * len(outcomes) if weights is None else weights, question
    )


def decide(
    aggregator: Aggregator,
    outcomes: Sequence[Outcome],
    order: Sequence[int],
    *,
    early_stop: bool,
    weights: Sequence[float] | None = None,
    question: Payload = EMPTY,
) -> tuple[Answer, int]:
    """The answer when members end in this order, and how many had ended when it was decided (all, when never).

    With `early_stop` the others are then stopped, as the engine does, and the answer is over what is left. What the rule
    asks is not played: see `answer_with`.
    """
    tally = aggregator.begin(roster_of(outcomes, weights, question))
    for ended, index in enumerate(order, 1):
        if tally.add(index, outcomes[index]) and early_stop:
            rest = set(order[ended:])
            for other in order[ended:]:
                tally.add(other, stopped(outcomes[other].member))
            left = [stopped(o.member) if place in rest else o for place, o in enumerate(outcomes)]
            return tally.answer(left), ended
    return tally.answer(outcomes), len(outcomes)


def answer_with(answer: Answer, replies: Callable[[Member], Outcome]) -> Payload | Failure:
    """What the rule says in the end when each question that it asks ends as `replies` says."""
    for _ in range(MAX_ROUNDS):
        if not isinstance(answer, Ask):
            return answer
        names = [member.name for member in answer.members]
        assert names, f"{answer.purpose}: it asks nobody"
        assert len(set(names)) == len(names), f"{answer.purpose}: names of questions repeat: {names}"
        answer = answer.then([replies(member) for member in answer.members])
    raise AssertionError(f"it asked {MAX_ROUNDS} times and did not answer")


class AggregatorContract:
    """Tests of one kind of aggregation. The subclass says how to make it."""

    options: ClassVar[Mapping[str, Any]] = {}
    """Options that are right."""
    book: ClassVar[RuleBook] = BOOK
    """Where the rule looks up what its options name."""
    answers_without_success: ClassVar[bool] = False
    """It may answer when no member succeeded."""

    def make_type(self) -> AggregatorType:
        raise NotImplementedError

    def make_reply(self, question: Member) -> Outcome:
        """How a question to an agent ends."""
        return succeeded(question.name, "1")

    def same_answer(self, early: Payload | Failure, full: Payload | Failure) -> bool:
        """Whether an early decision left the answer as it is. A failure may tell of what it saw so far; that there is no
        answer does not change."""
        return early == full or (isinstance(early, Failure) and isinstance(full, Failure))

    def answer(
        self, aggregator: Aggregator, outcomes: Sequence[Outcome], order: Sequence[int], *, early_stop: bool = False
    ) -> Payload | Failure:
        """What `decide` and `answer_with` give."""
        answer, _ = decide(aggregator, outcomes, order, early_stop=early_stop)
        return answer_with(answer, self.make_reply)

    def make_output(self, number: int) -> object:
        """What the member with this number says when it succeeds."""
        return f"answer {number}"

    def groups(self) -> Iterator[list[Outcome]]:
        """Every group of up to four members that succeed or fail."""
        for size in range(1, 5):
            for successes in product((True, False), repeat=size):
                yield [
                    succeeded(f"m{number}", self.make_output(number)) if success else failed(f"m{number}")
                    for number, success in enumerate(successes)
                ]

    def test_it_has_a_name_and_a_description(self) -> None:
        kind = self.make_type()
        assert kind.name
        assert kind.description
        assert isinstance(kind.options_schema, Mapping)

    def test_an_unknown_option_is_refused_by_name(self) -> None:
        with pytest.raises(ValueError, match="no_such_option"):
            self.make_type().make({**self.options, "no_such_option": 1}, self.book)

    def test_no_success_is_a_failure_that_names_the_members(self) -> None:
        if self.answers_without_success:
            pytest.skip("this aggregation may answer without a success")
        aggregator = self.make_type().make(self.options, self.book)
        answer = self.answer(aggregator, [failed("a"), failed("b")], [0, 1], early_stop=True)
        assert isinstance(answer, Failure)
        assert answer.reason == reason.NO_SUCCESSFUL_RESULTS
        assert set(answer.details["members"]) == {"a", "b"}

    def test_stopping_early_never_changes_the_answer(self) -> None:
        aggregator = self.make_type().make(self.options, self.book)
        for outcomes in self.groups():
            for order in permutations(range(len(outcomes))):
                early = self.answer(aggregator, outcomes, order, early_stop=True)
                full = self.answer(aggregator, outcomes, order)
                assert self.same_answer(early, full), (outcomes, order, early, full)

    def test_it_decides_early_only_if_it_says_so(self) -> None:
        kind = self.make_type()
        if kind.decides_early:
            pytest.skip("this aggregation decides early")
        for outcomes in self.groups():
            tally = kind.make(self.options, self.book).begin(roster_of(outcomes))
            assert not any(tally.add(index, outcome) for index, outcome in enumerate(outcomes[:-1]))

    def test_it_never_changes_outcomes(self) -> None:
        aggregator = self.make_type().make(self.options, self.book)
        for outcomes in self.groups():
            before = repr(outcomes)
            self.answer(aggregator, outcomes, range(len(outcomes)))
            assert repr(outcomes) == before

    def test_a_tally_that_is_asked_again_says_the_same(self) -> None:
        aggregator = self.make_type().make(self.options, self.book)
        for outcomes in self.groups():
            tally = aggregator.begin(roster_of(outcomes))
            for index, outcome in enumerate(outcomes):
                tally.add(index, outcome)
            assert answer_with(tally.answer(outcomes), self.make_reply) == answer_with(
                tally.answer(outcomes), self.make_reply
            )

    def test_one_aggregator_serves_two_groups_at_once(self) -> None:
        aggregator = self.make_type().make(self.options, self.book)
        groups = [[succeeded(f"m{n}", self.make_output(n + shift)) for n in range(3)] for shift in (0, 3)]
        tallies = [aggregator.begin(roster_of(outcomes)) for outcomes in groups]
        for index in range(3):
            for tally, outcomes in zip(tallies, groups, strict=True):
                tally.add(index, outcomes[index])
        own = [tally.answer(outcomes) for tally, outcomes in zip(tallies, groups, strict=True)]
        answers = [answer_with(answer, self.make_reply) for answer in own]
        assert answers == [self.answer(aggregator, outcomes, range(3)) for outcomes in groups]
