"""best: the output with the best score, or the first that is good enough. Pure where no judge is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from motet.aggregate._common import json_text, no_success
from motet.aggregate._numbers import document, fragment
from motet.aggregate._options import Made, OptionRule
from motet.aggregate._scoring import Score, Scores, Scoring, make_criterion, unscored
from motet.model.outcome import Outcome
from motet.model.payload import EMPTY
from motet.ports import Aggregator, Answer, Roster, RuleBook

if TYPE_CHECKING:
    from pydantic import BaseModel

    from motet.aggregate._score_options import BestOptions


@dataclass(frozen=True, slots=True)
class _Settings:
    scoring: Scoring
    several: bool
    """Criteria were given, and not one score."""
    good_enough: float | None

    def reaches(self, score: Score) -> bool:
        if self.good_enough is None or score.problem:
            return False
        total = self.scoring.total(score)
        return total >= self.good_enough if self.scoring.descending else total <= self.good_enough


class _Best:
    """Constant amortised time for each outcome: `_front` only moves forward."""

    __slots__ = ("_earliest", "_early", "_ended", "_front", "_measured", "_question", "_settings", "_winners")

    def __init__(self, roster: Roster, settings: _Settings) -> None:
        members = len(roster.names)
        self._question = roster.question
        self._settings = settings
        self._early = settings.good_enough is not None and not settings.scoring.judged
        self._measured: dict[int, Score] = {}
        self._ended = bytearray(members)
        self._front = 0
        """First place in declared order whose member has not ended."""
        self._earliest = members
        """First place in declared order whose member is good enough."""
        self._winners: Sequence[int] | None = None

    def add(self, index: int, outcome: Outcome, /) -> bool:
        if not self._early:
            return False
        self._ended[index] = 1
        while self._front < len(self._ended) and self._ended[self._front]:
            self._front += 1
        if outcome.succeeded:
            score = self._measured[index] = self._settings.scoring.measure(outcome)
            if self._settings.reaches(score):
                self._earliest = min(self._earliest, index)
        # As for a majority: while a member declared before it is out, that one may yet be the answer.
        return self._earliest < self._front

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        scoring = self._settings.scoring
        scores = {
            place: self._measured.get(place) or scoring.measure(outcome)
            for place, outcome in enumerate(outcomes)
            if outcome.succeeded
        }
        if not scores:
            return no_success(outcomes)
        return scoring.settle(outcomes, self._question, scores, lambda found: self._finish(outcomes, found))

    def winners(self, _outcomes: Sequence[Outcome]) -> Sequence[int] | None:
        """The place of the best member; None before there is an answer."""
        return self._winners

    def _finish(self, outcomes: Sequence[Outcome], scores: Scores) -> Answer:
        settings = self._settings
        reached = next((place for place, score in scores.items() if settings.reaches(score)), None)
        if reached is not None:
            winner = reached
            # Of those declared later nothing is told: whether they ended is a matter of time.
            scores = {place: score for place, score in scores.items() if place <= winner}
        else:
            ranked = settings.scoring.best_first(scores)
            if not ranked:
                return unscored(outcomes, scores)
            winner = ranked[0]
        self._winners = (winner,)
        extra = {} if settings.good_enough is None else {"good_enough": fragment(reached is not None)}
        if settings.several:
            extra["criteria"] = fragment(_by_member(outcomes, scores))
        return document(
            answer=json_text(outcomes[winner].output or EMPTY),
            member=fragment(outcomes[winner].member),
            score=fragment(settings.scoring.shown(scores[winner])),
            scores=fragment(
                {
                    outcomes[place].member: settings.scoring.shown(score)
                    for place, score in scores.items()
                    if not score.problem
                }
            ),
            unscored=fragment(
                [
                    {"member": outcomes[place].member, "problem": score.problem}
                    for place, score in scores.items()
                    if score.problem
                ]
            ),
            **extra,
        )


def _by_member(outcomes: Sequence[Outcome], scores: Scores) -> dict[str, dict[str, int | float]]:
    return {outcomes[place].member: dict(score.parts) for place, score in scores.items()}


def _model() -> "type[BaseModel]":
    from motet.aggregate._score_options import BestOptions  # noqa: PLC0415 - brings pydantic

    return BestOptions


def _build(options: "BestOptions", book: RuleBook) -> Aggregator:
    if options.score is not None:
        criteria = [make_criterion(book, options.score, "score")]
    else:
        criteria = [
            make_criterion(book, given, f"criteria[{place}]", given.name, given.weight)
            for place, given in enumerate(options.criteria or ())
        ]
    scoring = Scoring(
        criteria=criteria,
        descending=options.order == "descending",
        numbers_in_text=options.numbers_in_text,
    )
    settings = _Settings(scoring, options.criteria is not None, options.good_enough)
    return Made(lambda roster: _Best(roster, settings), scoring.agents)


BEST: Final = OptionRule(
    name="best",
    description="The output with the best score, by one score or several with weights, or the first good enough.",
    decides_early=True,
    model=_model,
    build=_build,
)
"""Options: those of rank but `limit`; or, in place of `score`, `criteria`: [{name, weight, field | expression | function
| agent, ...}], whose score is the mean by weight, and a member without one of them is unscored; `good_enough`.

Answers {"answer", "member", "score", "scores": {member: score}, "unscored": [{"member", "problem"}]}, with "criteria":
{member: {name: score}} where there are some. Of equal scores the first in declared order wins; with no score at all it
fails with NO_SCORES.

With `good_enough` the answer is the first member in declared order that reaches it, even if a later one scores better,
and the best when none does; "good_enough" in the answer says which. It is decided once that member and all declared
before it have ended, so that the order in which members end never chooses; the scores told are then those up to it.
Where a judge is asked, nothing is decided early: the judge is asked when all have ended."""
