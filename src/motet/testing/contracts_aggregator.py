"""What every aggregation promises, as tests: subclass `AggregatorContract` as `Test...`. Needs pytest.

`decide` plays one group's outcomes to an aggregator as the engine does.
"""
# ruff: noqa: S101 - asserting is what a contract suite does

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product
from typing import Any, ClassVar

import pytest

from motet.model import reason
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.state import State
from motet.ports import Aggregator, AggregatorType, Roster


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


def roster_of(outcomes: Sequence[Outcome]) -> Roster:
    """The roster of these members, each with the weight 1."""
    return Roster([outcome.member for outcome in outcomes], [1.0] * len(outcomes))


def decide(
    aggregator: Aggregator, outcomes: Sequence[Outcome], order: Sequence[int], *, early_stop: bool
) -> tuple[Payload | Failure, int]:
    """The answer when members end in this order, and how many had ended when it was decided (all, when never).

    With `early_stop` the others are then stopped, as the engine does, and the answer is over what is left.
    """
    tally = aggregator.begin(roster_of(outcomes))
    for ended, index in enumerate(order, 1):
        if tally.add(index, outcomes[index]) and early_stop:
            rest = set(order[ended:])
            for other in order[ended:]:
                tally.add(other, stopped(outcomes[other].member))
            left = [stopped(o.member) if place in rest else o for place, o in enumerate(outcomes)]
            return tally.answer(left), ended
    return tally.answer(outcomes), len(outcomes)


class AggregatorContract:
    """Tests of one kind of aggregation. The subclass says how to make it."""

    options: ClassVar[Mapping[str, Any]] = {}
    """Options that are right."""
    answers_without_success: ClassVar[bool] = False
    """It may answer when no member succeeded."""

    def make_type(self) -> AggregatorType:
        raise NotImplementedError

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
            self.make_type().make({**self.options, "no_such_option": 1})

    def test_no_success_is_a_failure_that_names_the_members(self) -> None:
        if self.answers_without_success:
            pytest.skip("this aggregation may answer without a success")
        answer, _ = decide(self.make_type().make(self.options), [failed("a"), failed("b")], [0, 1], early_stop=True)
        assert isinstance(answer, Failure)
        assert answer.reason == reason.NO_SUCCESSFUL_RESULTS
        assert set(answer.details["members"]) == {"a", "b"}

    def test_stopping_early_never_changes_the_answer(self) -> None:
        aggregator = self.make_type().make(self.options)
        for outcomes in self.groups():
            for order in permutations(range(len(outcomes))):
                early, _ = decide(aggregator, outcomes, order, early_stop=True)
                full, _ = decide(aggregator, outcomes, order, early_stop=False)
                # A failure may tell of what it saw so far; that there is no answer does not change.
                assert early == full or (isinstance(early, Failure) and isinstance(full, Failure)), (outcomes, order)

    def test_it_decides_early_only_if_it_says_so(self) -> None:
        kind = self.make_type()
        if kind.decides_early:
            pytest.skip("this aggregation decides early")
        for outcomes in self.groups():
            tally = kind.make(self.options).begin(roster_of(outcomes))
            assert not any(tally.add(index, outcome) for index, outcome in enumerate(outcomes[:-1]))

    def test_it_never_changes_outcomes(self) -> None:
        aggregator = self.make_type().make(self.options)
        for outcomes in self.groups():
            before = repr(outcomes)
            decide(aggregator, outcomes, range(len(outcomes)), early_stop=False)
            assert repr(outcomes) == before

    def test_one_aggregator_serves_two_groups_at_once(self) -> None:
        aggregator = self.make_type().make(self.options)
        groups = [[succeeded(f"m{n}", self.make_output(n + shift)) for n in range(3)] for shift in (0, 3)]
        tallies = [aggregator.begin(roster_of(outcomes)) for outcomes in groups]
        for index in range(3):
            for tally, outcomes in zip(tallies, groups, strict=True):
                tally.add(index, outcomes[index])
        answers = [tally.answer(outcomes) for tally, outcomes in zip(tallies, groups, strict=True)]
        assert answers == [decide(aggregator, outcomes, range(3), early_stop=False)[0] for outcomes in groups]
