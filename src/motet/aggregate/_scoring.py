"""Scores of outputs: by a field, an expression, a function or a judge, one or several with weights. Knows numbers and
outcomes; what is made of the scores is the rules' business."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, TypeAlias

from motet.aggregate._common import MAX_LISTED, json_text
from motet.aggregate._numbers import Number, exact, json_object, number_of, rounded
from motet.aggregate._select import Selected, make_selector, shortened
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Member, Named
from motet.ports import Answer, Ask, RuleBook

NO_SCORES: Final = "NO_SCORES"
"""Members succeeded, and none of them has a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One source of scores."""

    name: str
    """Empty when it is the only one."""
    weight: Fraction
    select: Callable[[Outcome], Selected]
    """Finds the score in a member's outcome, or in that of the question about it."""
    judge: str | Named | None = None
    """The agent that is asked for the score."""
    timeout: float | None = None
    """Seconds for each question."""
    max_parallel: int | None = None
    """Most questions at once."""
    max_calls: int | None = None
    """Most questions in all: the judge's budget."""


@dataclass(frozen=True, slots=True)
class Score:
    """What is known of one member's score."""

    parts: Mapping[str, Number] = field(default_factory=dict)
    """Score by criterion."""
    problem: str = ""
    """Why there is no score; empty means that there is one, or will be."""


Scores: TypeAlias = Mapping[int, Score]
"""By place in declared order, those that succeeded and no others, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How outputs are scored, and which score is better."""

    criteria: Sequence[Criterion]
    descending: bool
    """The highest score is the best."""
    numbers_in_text: bool

    @property
    def judged(self) -> bool:
        return any(criterion.judge is not None for criterion in self.criteria)

    @property
    def agents(self) -> Sequence[str]:
        """Names of the catalog's agents that are asked."""
        return tuple(criterion.judge for criterion in self.criteria if isinstance(criterion.judge, str))

    def measure(self, outcome: Outcome) -> Score:
        """The outcome's score as far as no judge is needed."""
        score = Score()
        for criterion in self.criteria:
            if criterion.judge is None and not score.problem:
                score = self._with(score, criterion, criterion.select(outcome))
        return score

    def settle(
        self, outcomes: Sequence[Outcome], question: Payload, scores: Scores, finish: Callable[[Scores], Answer]
    ) -> Answer:
        """What `finish` makes of the scores once the judges have been asked for what is missing."""
        judges = [criterion for criterion in self.criteria if criterion.judge is not None]
        return self._ask(judges, outcomes, question, scores, finish)

    def total(self, score: Score) -> Number | Fraction:
        """The score as one number: exact, so that neither rounding nor the order of criteria decides."""
        if len(self.criteria) == 1:
            return score.parts[self.criteria[0].name]
        weights = sum(criterion.weight for criterion in self.criteria)
        return sum((c.weight * Fraction(score.parts[c.name]) for c in self.criteria), Fraction(0)) / weights

    def shown(self, score: Score) -> Number:
        """The total as a JSON number."""
        total = self.total(score)
        return rounded(total) if isinstance(total, Fraction) else total

    def best_first(self, scores: Scores) -> list[int]:
        """Places of the members that have a score; equal ones in declared order."""
        totals = {place: self.total(score) for place, score in scores.items() if not score.problem}
        return sorted(totals, key=totals.__getitem__, reverse=self.descending)

    def _ask(
        self,
        judges: Sequence[Criterion],
        outcomes: Sequence[Outcome],
        question: Payload,
        scores: Scores,
        finish: Callable[[Scores], Answer],
    ) -> Answer:
        # A member without one of its scores has none in the end: nothing is spent on its others.
        places = [place for place, score in scores.items() if not score.problem]
        if not judges or not places:
            return finish(scores)
        criterion, *rest = judges
        judge = criterion.judge
        if judge is None:
            return self._ask(rest, outcomes, question, scores, finish)
        if criterion.max_calls is not None and len(places) > criterion.max_calls:
            spent = Selected(None, f"the judge had been asked {criterion.max_calls} times, which is max_calls")
            late = {place: self._with(scores[place], criterion, spent) for place in places[criterion.max_calls :]}
            scores, places = {**scores, **late}, places[: criterion.max_calls]

        def then(replies: Sequence[Outcome]) -> Answer:
            judged = {
                place: self._with(scores[place], criterion, _reply(criterion, reply))
                for place, reply in zip(places, replies, strict=True)
            }
            return self._ask(rest, outcomes, question, {**scores, **judged}, finish)

        return Ask(
            purpose="judge",
            members=[
                Member(judge, outcomes[place].member, _question(question, outcomes[place]), timeout=criterion.timeout)
                for place in places
            ],
            then=then,
            max_parallel=criterion.max_parallel,
        )

    def _with(self, score: Score, criterion: Criterion, selected: Selected) -> Score:
        in_text = self.numbers_in_text or criterion.judge is not None
        number = selected.problem or number_of(selected.value, in_text=in_text)
        if isinstance(number, str):
            return Score(score.parts, shortened(f"{criterion.name}: {number}" if criterion.name else number))
        return Score({**score.parts, criterion.name: number})


def make_criterion(book: RuleBook, options: Any, where: str, name: str = "", weight: float = 1.0) -> Criterion:
    """From the options of a score. Raises ValueError that names the option below `where`."""
    try:
        select = make_selector(
            book,
            field="" if options.agent is not None else options.field,
            expression=options.expression,
            function=options.function,
        )
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None
    return Criterion(
        name=name,
        weight=exact(weight),
        select=select,
        judge=options.agent,
        timeout=options.timeout,
        max_parallel=options.max_parallel,
        max_calls=options.max_calls,
    )


def unscored(outcomes: Sequence[Outcome], scores: Scores) -> Failure:
    """The failure of a group in which members succeeded and none has a score."""
    listed = [{"member": outcomes[place].member, "problem": score.problem} for place, score in scores.items()]
    return Failure(
        NO_SCORES,
        f"none of the {len(listed)} members that succeeded has a score",
        {"unscored": listed[:MAX_LISTED], "unscored_total": len(listed)},
    )


def _question(question: Payload, outcome: Outcome) -> Payload:
    """What a judge is given. Not whose output it is: a judge that knows names may judge names."""
    output = json_text(outcome.output) if outcome.output is not None else "null"
    asked = {"question": json_text(question)} if question.content else {}
    return Payload("json", json_object(**asked, output=output))


def _reply(criterion: Criterion, reply: Outcome) -> Selected:
    if not reply.succeeded:
        said = f"{reply.failure.reason}: {reply.failure.message}" if reply.failure else "no reason given"
        return Selected(None, shortened(f"the judge did not answer: {reply.state.value} {said}"))
    found = criterion.select(reply)
    if isinstance(found.value, dict):
        return Selected(found.value["score"]) if "score" in found.value else Selected(None, "the judge gave no score")
    return found
