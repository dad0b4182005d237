"""rank: outputs ordered by a score, failures apart. Pure where no judge is asked."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from motet.aggregate._common import json_text, no_success
from motet.aggregate._numbers import document, fragment, json_object
from motet.aggregate._options import Made, OptionRule
from motet.aggregate._scoring import Scores, Scoring, make_criterion
from motet.model.outcome import Outcome
from motet.model.payload import EMPTY, Payload
from motet.ports import Aggregator, Answer, Roster, RuleBook

if TYPE_CHECKING:
    from pydantic import BaseModel

    from motet.aggregate._score_options import RankOptions


class _Rank:
    __slots__ = ("_limit", "_question", "_scoring", "_winners")

    def __init__(self, roster: Roster, scoring: Scoring, limit: int | None) -> None:
        self._question = roster.question
        self._scoring = scoring
        self._limit = limit
        self._winners: Sequence[int] | None = None

    def add(self, _index: int, _outcome: Outcome, /) -> bool:
        return False

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        scores = {place: self._scoring.measure(outcome) for place, outcome in enumerate(outcomes) if outcome.succeeded}
        if not scores:
            return no_success(outcomes)
        return self._scoring.settle(outcomes, self._question, scores, lambda found: self._finish(outcomes, found))

    def winners(self, _outcomes: Sequence[Outcome]) -> Sequence[int] | None:
        """Places of the ranked members, best first; None before there is an answer."""
        return self._winners

    def _finish(self, outcomes: Sequence[Outcome], scores: Scores) -> Payload:
        ranked = self._scoring.best_first(scores)[: self._limit]
        self._winners = tuple(ranked)
        return document(
            ranking=_list(
                json_object(
                    member=fragment(outcomes[place].member),
                    score=fragment(self._scoring.shown(scores[place])),
                    output=json_text(outcomes[place].output or EMPTY),
                )
                for place in ranked
            ),
            unscored=_list(
                json_object(
                    member=fragment(outcomes[place].member),
                    problem=fragment(score.problem),
                    output=json_text(outcomes[place].output or EMPTY),
                )
                for place, score in scores.items()
                if score.problem
            ),
            failed=fragment([outcome.member for outcome in outcomes if not outcome.succeeded]),
            result_count=fragment(len(scores)),
        )


def _list(fragments: Iterable[str]) -> str:
    return f"[{','.join(fragments)}]"


def _model() -> "type[BaseModel]":
    from motet.aggregate._score_options import RankOptions  # noqa: PLC0415 - brings pydantic

    return RankOptions


def _build(options: "RankOptions", book: RuleBook) -> Aggregator:
    scoring = Scoring(
        criteria=(make_criterion(book, options.score, "score"),),
        descending=options.order == "descending",
        numbers_in_text=options.numbers_in_text,
    )
    return Made(lambda roster: _Rank(roster, scoring, options.limit), scoring.agents)


RANK: Final = OptionRule(
    name="rank",
    description="Every success ordered by a score, best first; those without a score and the failed apart.",
    decides_early=False,
    model=_model,
    build=_build,
)
"""Options: `score` ({field | expression | function | agent, timeout, max_parallel}: exactly one source), `order`
("descending" or "ascending"), `limit` (longest ranking), `numbers_in_text`.

Answers {"ranking": [{"member", "score", "output"}], "unscored": [{"member", "problem", "output"}], "failed": [member],
"result_count"}, where the count is of all that succeeded. A score that is missing or not a number (a bool, NaN, infinity
and text are none) puts a member among the unscored whichever the order. Equal scores keep declared order; integers
compare exactly.

A judge is asked about every success at once, with {"question", "output"} and without the member's name. It answers with
a number or an object with a "score", as JSON or as text; a member whose judge fails is unscored, with the reason."""
