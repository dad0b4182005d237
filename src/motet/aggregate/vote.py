"""vote: the most common answer, weighted, with a conflict report. Pure; the tiebreaker is asked by the engine."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any, Final

from motet.aggregate._common import MAX_LISTED, json_text, no_success
from motet.aggregate._conflict import as_float, conflict, whole_weights
from motet.aggregate._normalise import Canonical, Normaliser
from motet.aggregate._options import OptionRule
from motet.aggregate._select import Selected, make_selector, problem_of
from motet.aggregate._stopping import Candidate, Race, Sampler, Terms, Weights, settled
from motet.aggregate._tiebreak import Tiebreaker
from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Aggregator, Answer, Roster, RuleBook, Tally

if TYPE_CHECKING:
    from pydantic import BaseModel

    from motet.aggregate._vote_options import VoteOptions

TIE: Final = "TIE"
"""Several answers are level, and ties are no answer."""
BELOW_MINIMUM_SHARE: Final = "BELOW_MINIMUM_SHARE"
"""The leading answer has a smaller share of the cast weight than asked for."""
NO_VOTES: Final = "NO_VOTES"
"""Members succeeded, and none of them voted: they abstained, have weight 0, or gave nothing to count."""
MAX_ANSWERS: Final = 1000
"""Answers listed in a report, the leading ones; `answers_total` says when there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vote:
    """The rule with its options. Two answers are one when their canonical forms are, see `Normaliser`.

    Reports `answer` (as the first member, in declared order, that voted for it gave it), `confidence` (the winner's
    share of the cast weight), `votes` and `weighted_scores` by answer, `total_agents` (members of the group),
    `unanimous` (one answer alone has votes), `has_conflict` and `conflict_severity` (see `_conflict`), `members` by
    answer, `abstained`; and, where there is something to say, `spoiled`, `tie`, `tiebreaker`, `stopped_statistically`.
    The figures are over the votes that were cast: those of members stopped by an early decision are not among them.

    A member of weight 0 runs and does not count: it is in none of the figures but `total_agents`. With
    method="majority" the winner needs more than half of the weight of all members that did not abstain; a member that
    failed, was stopped or gave no usable answer did not abstain, so it counts against a majority. What fails is tried
    in this order: no success, no votes, no majority, minimum share, tie.

    Decided when neither who wins, nor the form in which the answer is given, nor that there is an answer can change any
    more, whatever the members still out do; and not a vote later, except where forms differ. With `confidence` it may
    also stop on a guess, see `Sampler`: that stop alone may change the answer, and the report says when it was used.
    """

    select: Callable[[Outcome], Selected]
    normaliser: Normaliser
    abstain: frozenset[str]
    """Keys of the answers that are no vote."""
    terms: Terms
    tiebreaker: Tiebreaker | None
    weighted: bool
    confidence: float | None

    @property
    def agents(self) -> Sequence[str]:
        agent = self.tiebreaker.agent if self.tiebreaker else None
        return (agent,) if isinstance(agent, str) else ()

    def begin(self, roster: Roster) -> Tally:
        return _Count(self, roster)


class _Count:
    """One group's votes. Constant amortised cost for each: `_front` only moves forward."""

    def __init__(self, rule: _Vote, roster: Roster) -> None:
        self._rule = rule
        self._roster = roster
        ones = [1.0] * len(roster.names)
        self._weights, self._scale = whole_weights(roster.weights if rule.weighted else ones)
        total = sum(self._weights)
        self._standing = Weights(out=total, base=total)
        self._ended = bytearray(len(self._weights))
        self._front = 0
        """First place in declared order whose member has weight and has not ended."""
        self._race = Race()
        self._candidates: dict[str, Candidate] = {}
        self._ballots: list[Candidate | None] = [None] * len(self._weights)
        self._abstained: list[int] = []
        self._spoiled: dict[int, str] = {}
        self._winner: Candidate | None = None
        voters = sum(weight > 0 for weight in self._weights)
        self._sampler = (
            Sampler(rule.confidence, Fraction(total, voters)) if rule.confidence is not None and voters else None
        )

    def add(self, index: int, outcome: Outcome, /) -> bool:
        if not self._ended[index]:
            self._take(index, outcome)
        terms, standing = self._rule.terms, self._standing
        while self._front < len(self._ended) and (self._ended[self._front] or not self._weights[self._front]):
            self._front += 1
        if settled(terms, self._race, standing, self._front if standing.out else inf):
            return True
        leader = self._race.leader
        return (
            self._sampler is not None
            and leader is not None
            and leader.score >= terms.minimum_share * standing.cast
            and self._sampler.sure(self._race)
        )

    def _take(self, index: int, outcome: Outcome) -> None:
        """Count one member that ended."""
        self._ended[index] = 1
        weight, standing = self._weights[index], self._standing
        standing.out -= weight
        if not (weight and outcome.succeeded):
            return
        selected = self._rule.select(outcome)
        if selected.problem:
            self._spoiled[index] = selected.problem
            return
        try:
            form = self._rule.normaliser.canonical(selected.value)
        except Exception as error:  # noqa: BLE001 - the value is foreign; what it does is reported
            self._spoiled[index] = problem_of(error)
            return
        if form.key in self._rule.abstain:
            self._abstained.append(index)
            standing.base -= weight
            return
        candidate = self._candidates.get(form.key)
        if candidate is None:
            candidate = self._candidates[form.key] = Candidate(index, form)
        elif index < candidate.first:
            candidate.first, candidate.form = index, form
        candidate.votes += 1
        candidate.score += weight
        standing.cast += weight
        self._ballots[index] = candidate
        self._race.improved(candidate)

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        for index, outcome in enumerate(outcomes):
            if not self._ended[index]:
                self._take(index, outcome)
        if not any(outcome.succeeded for outcome in outcomes):
            return no_success(outcomes)
        leader = self._race.leader
        if leader is None:
            return Failure(NO_VOTES, "members succeeded, but none of them cast a vote that counts", self._report())
        short = self._shortfall(leader)
        if short is not None:
            return Failure(*short, self._report())
        extra = self._statistics(outcomes)
        tied = sorted((c for c in self._candidates.values() if c.score == leader.score), key=_first)
        if len(tied) == 1:
            return self._answer(leader, extra)
        return self._break(tied, {"tie": True, **extra})

    def winners(self, _outcomes: Sequence[Outcome]) -> Sequence[int] | None:
        """The places of the members that voted for the answer; None before there is one."""
        if self._winner is None:
            return None
        return [index for index, candidate in enumerate(self._ballots) if candidate is self._winner]

    def _shortfall(self, leader: Candidate) -> tuple[str, str] | None:
        """Why the leader has too little to win, as reason and message; None when it has enough."""
        terms, standing = self._rule.terms, self._standing
        if terms.majority and 2 * leader.score <= standing.base:
            return reason.NO_MAJORITY, "no answer has more than half of the weight of the members that did not abstain"
        if leader.score < terms.minimum_share * standing.cast:
            share, least = leader.score / standing.cast, float(terms.minimum_share)
            return BELOW_MINIMUM_SHARE, f"the leading answer has {share:.1%} of the cast weight, {least:.1%} is needed"
        return None

    def _break(self, tied: Sequence[Candidate], extra: Mapping[str, Any]) -> Answer:
        """What becomes of a tie."""
        if self._rule.terms.ties_first:
            return self._answer(tied[0], extra)
        if self._rule.tiebreaker is None:
            return Failure(TIE, f"{len(tied)} answers are level in first place", {**self._report(), **extra})
        return self._rule.tiebreaker.ask(
            self._roster.question,
            # A question to an agent has to have an end.
            tied[:MAX_LISTED],
            self._voters(),
            lambda winner, report: self._answer(winner, {**extra, "tiebreaker": report}),
        )

    def _answer(self, winner: Candidate, extra: Mapping[str, Any]) -> Payload:
        self._winner = winner
        figures = json.dumps({**self._report(winner), **extra}, ensure_ascii=False, separators=(",", ":"))
        # Joined as text: the answer may be nested as deep as it likes.
        return Payload("json", f'{{"answer":{winner.form.json},{json_text(Payload("json", figures))[1:]}')

    def _report(self, winner: Candidate | None = None) -> dict[str, Any]:
        """The figures; without a winner those of the leader."""
        winner = winner or self._race.leader
        listed = sorted(self._candidates.values(), key=_rank)[:MAX_ANSWERS]
        labels = dict(zip(labels_of(candidate.form for candidate in listed), listed, strict=True))
        voters, names = self._voters(), self._roster.names
        cast, score = self._standing.cast, winner.score if winner else 0
        report: dict[str, Any] = {
            "confidence": score / cast if cast else 0.0,
            "votes": {label: candidate.votes for label, candidate in labels.items()},
            "weighted_scores": {label: as_float(candidate.score, self._scale) for label, candidate in labels.items()},
            "total_agents": len(names),
            **conflict(score, cast, len(self._candidates)),
            "members": {label: voters[candidate.form.key] for label, candidate in labels.items()},
            "abstained": [names[index] for index in sorted(self._abstained)[:MAX_LISTED]],
        }
        if len(listed) < len(self._candidates):
            report["answers_total"] = len(self._candidates)
        if self._spoiled:
            spoiled = sorted(self._spoiled.items())[:MAX_LISTED]
            report["spoiled"] = [{"member": names[index], "problem": problem} for index, problem in spoiled]
        return report

    def _voters(self) -> dict[str, list[str]]:
        """The members that voted for each answer, by its key, in declared order, as many as a report lists."""
        voters: dict[str, list[str]] = {key: [] for key in self._candidates}
        for index, candidate in enumerate(self._ballots):
            if candidate is not None and len(voters[candidate.form.key]) < MAX_LISTED:
                voters[candidate.form.key].append(self._roster.names[index])
        return voters

    def _statistics(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """What to say of a statistical stop: it was used when members were stopped after it."""
        if self._sampler is None or self._sampler.reached is None:
            return {}
        used = any(outcome.failure is not None and outcome.failure.reason == reason.DECIDED for outcome in outcomes)
        return {"stopped_statistically": True, "stopped_at_probability": self._sampler.reached} if used else {}


def _first(candidate: Candidate) -> int:
    return candidate.first


def _rank(candidate: Candidate) -> tuple[int, int]:
    return -candidate.score, candidate.first


def labels_of(forms: Iterable[Canonical]) -> dict[str, Canonical]:
    """A name for each answer, in the order given. Text that reads like another answer's JSON is put in quotes."""
    forms = list(forms)
    taken = {form.label for form in forms if form.text is None}
    labels = {}
    for form in forms:
        label = form.label
        if form.text is not None:
            while label in taken:
                label = json.dumps(label, ensure_ascii=False)
            taken.add(label)
        labels[label] = form
    return labels


# ------------------------------------------------------------------------------------------------------- the options


def _model() -> "type[BaseModel]":
    from motet.aggregate._vote_options import VoteOptions  # noqa: PLC0415 - pydantic is paid for by those who use it

    return VoteOptions


def _build(options: "VoteOptions", book: RuleBook) -> Aggregator:
    select = make_selector(book, field=options.field, expression=options.expression, function=options.function)
    normaliser = options.normalise.normaliser()
    tiebreaker = None
    if options.tiebreaker is not None:
        tiebreaker = Tiebreaker(
            agent=options.tiebreaker, timeout=options.tiebreaker_timeout, normaliser=normaliser, select=select
        )
    return _Vote(
        select=select,
        normaliser=normaliser,
        abstain=frozenset(abstentions(options.abstain, normaliser)),
        terms=Terms(
            majority=options.method == "majority",
            minimum_share=Fraction(repr(options.minimum_share or 0)),
            ties_first=options.ties == "first",
            keeps_form=normaliser.keeps_form,
        ),
        tiebreaker=tiebreaker,
        weighted=options.weighted,
        confidence=options.confidence,
    )


def abstentions(values: Sequence[Any], normaliser: Normaliser) -> list[str]:
    """The keys of the answers that are no vote, null's among them. Raises ValueError for what is not a JSON value."""
    keys = [normaliser.canonical(None).key]
    for place, value in enumerate(values):
        try:
            keys.append(normaliser.canonical(value).key)
        except ValueError as error:
            raise ValueError(f"abstain[{place}]: {error}") from None
    return keys


VOTE: Final = OptionRule(
    name="vote",
    description="The most common answer, weighted, with the votes, its share and how far the members agreed.",
    decides_early=True,
    model=_model,
    build=_build,
)
