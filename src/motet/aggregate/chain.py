"""chain: one rule after another, each working on what the one before it made. Pure; knows other rules by their names,
and by whether they say who won."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from motet.aggregate._options import OptionRule
from motet.aggregate._reducing import Made, make_rule
from motet.aggregate.custom import CUSTOM, FunctionRule, PresetRule
from motet.aggregate.first import FIRST
from motet.aggregate.majority import MAJORITY
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.state import State
from motet.ports import Aggregator, AggregatorType, Answer, Ask, Roster, RuleBook, Tally

if TYPE_CHECKING:
    from pydantic import BaseModel

MAX_STEPS: Final = 16
"""Of one chain; more is a mistake, not a rule."""
Feed = Literal["winners", "answer"]


@dataclass(frozen=True, slots=True)
class _Chain:
    """The rule."""

    steps: Sequence[Made]
    feed: Feed

    @property
    def agents(self) -> Sequence[str]:
        return tuple(dict.fromkeys(name for step in self.steps for name in step.aggregator.agents))

    def begin(self, roster: Roster) -> Tally:
        return _ChainTally(self, roster)


class _ChainTally:
    __slots__ = ("_chain", "_early", "_first", "_roster")

    def __init__(self, chain: _Chain, roster: Roster) -> None:
        self._chain = chain
        self._roster = roster
        self._first = chain.steps[0].aggregator.begin(roster)
        self._early = _settles_all(chain.steps[0].kind) and not (
            chain.feed == "winners" and hasattr(self._first, "winners")
        )

    def add(self, index: int, outcome: Outcome, /) -> bool:
        return self._first.add(index, outcome) and self._early

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        return self._after(0, self._first, self._roster, outcomes, self._first.answer(outcomes))

    def _after(self, place: int, tally: Tally, roster: Roster, outcomes: Sequence[Outcome], answer: Answer) -> Answer:
        """What follows a step's answer: its questions, the chain's failure, the next step, or the end."""
        steps = self._chain.steps
        if isinstance(answer, Ask):
            then = answer.then
            return replace(answer, then=lambda replies: self._after(place, tally, roster, outcomes, then(replies)))
        if isinstance(answer, Failure):
            step = f"step {place + 1} ({steps[place].name})"
            return Failure(answer.reason, f"{step}: {answer.message}", {**answer.details, "step": place + 1})
        if place + 1 == len(steps):
            return answer
        roster, outcomes = self._handed_on(steps[place].name, tally, roster, outcomes, answer)
        tally = steps[place + 1].aggregator.begin(roster)
        for index, outcome in enumerate(outcomes):
            tally.add(index, outcome)
        return self._after(place + 1, tally, roster, outcomes, tally.answer(outcomes))

    def _handed_on(
        self, name: str, tally: Tally, roster: Roster, outcomes: Sequence[Outcome], answer: Payload
    ) -> tuple[Roster, Sequence[Outcome]]:
        winners = getattr(tally, "winners", None) if self._chain.feed == "winners" else None
        places = winners(outcomes) if winners is not None else None
        if places:
            won = Roster([roster.names[p] for p in places], [roster.weights[p] for p in places], roster.question)
            return won, [outcomes[p] for p in places]
        made = Outcome(member=name, agent=name, state=State.SUCCEEDED, output=answer)
        return Roster([name], [1.0], roster.question), [made]


def _settles_all(kind: AggregatorType) -> bool:
    """Its early decision settles the whole answer, and not only what it says of the winner: the report of a vote that
    was stopped has fewer votes in it, and the next step would see the difference."""
    if isinstance(kind, PresetRule):
        return _settles_all(kind.base)
    return any(kind is rule for rule in (FIRST, MAJORITY, CUSTOM)) or isinstance(kind, FunctionRule)


@cache
def _model() -> "type[BaseModel]":
    from pydantic import Field  # noqa: PLC0415 - pydantic is paid for by those who use it

    from motet.aggregate._fields import Options  # noqa: PLC0415 - as above

    class Chain(Options):
        """The rules, in order, and what each hands on."""

        steps: list[Any] = Field(
            min_length=2,
            max_length=MAX_STEPS,
            description="Aggregations in order, each a name or {name, ...options}.",
            json_schema_extra={"items": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["name"]}]}},
        )
        feed: Feed = Field(
            default="winners",
            description="What a step hands on: the outcomes of its winners, where it has any, or always its answer.",
        )

    return Chain


def _build(options: Any, book: RuleBook) -> Aggregator:
    steps: list[Made] = []
    wrong: list[str] = []
    for place, given in enumerate(options.steps):
        try:
            steps.append(make_rule(given, book, f"steps[{place}]"))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    return _Chain(tuple(steps), options.feed)


CHAIN: Final = OptionRule(
    name="chain",
    description="One aggregation after another: the next works on the winners of the one before, or on its answer.",
    decides_early=True,
    model=_model,
    build=_build,
)
"""The first rule sees the members' outcomes. A later one sees the outcomes of the members that won in the one before,
when that rule's tally has `winners(outcomes) -> Sequence[int] | None` (their places, in declared order; asked after the
tally has answered); where it has none, or with `feed="answer"`, it sees one outcome, named after the rule, whose output
is the rule's answer. A step without an answer ends the chain with its failure.

A chain decides early only where its first rule does and every later one works on nothing but an answer that can no
longer change in any part: `first`, `majority` and custom rules that declare it, without winners."""
