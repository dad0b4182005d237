"""ranked_vote: members order candidates, and the orders are made into one: Borda count or instant runoff. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.aggregate._common import MAX_LISTED, json_text, no_success
from motet.aggregate._conflict import as_float, whole_weights
from motet.aggregate._normalise import Canonical, Normaliser
from motet.aggregate._options import OptionRule
from motet.aggregate._runoff import Ballot, Standings, borda, instant_runoff
from motet.aggregate._select import Selected, make_selector, problem_of
from motet.aggregate.vote import MAX_ANSWERS, NO_VOTES, TIE, labels_of
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload, parse_json
from motet.ports import Aggregator, Answer, Roster, RuleBook, Tally

if TYPE_CHECKING:
    from pydantic import BaseModel

    from motet.aggregate._vote_options import RankedVoteOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class _RankedVote:
    """The rule with its options. A ballot is a JSON array of candidates, best first, or `{"ranking": [...]}`; text that
    holds one counts too. It may leave candidates out; one that names a candidate twice, or is no array, is spoiled; null
    and an empty array abstain. All candidates are those that any ballot names.

    Reports `answer`, `ranking` (all candidates, best first, at most `MAX_ANSWERS`), `total_agents`, `abstained`,
    `spoiled`, `tie` where level candidates were told apart by order, and by method:
    - borda: `scores`. Of n candidates a ballot gives n - 1 points to its first, n - 2 to the next, and so on; those left
      out share what is left equally (the mean of the places they could have had), times the member's weight.
    - instant_runoff: `rounds`, each with the `scores` counted and who was `eliminated` after it. Needs more than half of
      the ballots that still name somebody.

    Never decides early: until the last ballot is in, a candidate may appear that nobody has named yet.
    """

    select: Callable[[Outcome], Selected]
    normaliser: Normaliser
    runoff: bool
    ties_first: bool
    weighted: bool

    @property
    def agents(self) -> Sequence[str]:
        return ()

    def begin(self, roster: Roster) -> Tally:
        return _Election(self, roster)


class _Election:
    """One group's ballots, read when all have ended."""

    def __init__(self, rule: _RankedVote, roster: Roster) -> None:
        self._rule = rule
        self._roster = roster

    def add(self, _index: int, _outcome: Outcome, /) -> bool:
        return False

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        if not any(outcome.succeeded for outcome in outcomes):
            return no_success(outcomes)
        rule = self._rule
        weights, scale = whole_weights(self._roster.weights if rule.weighted else [1.0] * len(outcomes))
        report: dict[str, Any] = {"total_agents": len(outcomes), "abstained": [], "spoiled": []}
        forms: dict[str, Canonical] = {}
        read: list[tuple[int, list[Canonical]]] = []
        for outcome, weight in zip(outcomes, weights, strict=True):
            if not (outcome.succeeded and weight):
                continue
            ranking = self._read(outcome)
            if isinstance(ranking, str):
                report["spoiled"].append({"member": outcome.member, "problem": ranking})
            elif not ranking:
                report["abstained"].append(outcome.member)
            else:
                for form in ranking:
                    forms.setdefault(form.key, form)
                read.append((weight, ranking))
        report["abstained"] = report["abstained"][:MAX_LISTED]
        report["spoiled"] = report["spoiled"][:MAX_LISTED]
        if not read:
            return Failure(NO_VOTES, "members succeeded, but none of them cast a ballot that counts", report)
        # In the order in which they are first named, which is the one that settles ties.
        numbers = {key: number for number, key in enumerate(forms)}
        ballots = [Ballot(weight, [numbers[form.key] for form in ranking]) for weight, ranking in read]
        standings = (instant_runoff if rule.runoff else borda)(ballots, len(forms))
        return self._answer(standings, list(forms.values()), scale, report)

    def _read(self, outcome: Outcome) -> list[Canonical] | str:
        """The candidates on a ballot, best first; empty when it abstains; what is wrong with it, when it is spoiled."""
        selected = self._rule.select(outcome)
        if selected.problem:
            return selected.problem
        try:
            named = _candidates(selected.value)
            forms = [self._rule.normaliser.canonical(candidate) for candidate in named]
        except Exception as error:  # noqa: BLE001 - the value is foreign; what it does is reported
            return problem_of(error)
        if len({form.key for form in forms}) < len(forms):
            return "names a candidate twice"
        return forms

    def _answer(
        self, standings: Standings, forms: Sequence[Canonical], scale: int, report: Mapping[str, Any]
    ) -> Payload | Failure:
        best = [forms[candidate] for candidate in standings.ranking[:MAX_ANSWERS]]
        names = {form.key: label for label, form in labels_of(best).items()}

        def name(candidate: int) -> str:
            return names.get(forms[candidate].key, forms[candidate].label)

        figures: dict[str, Any] = {}
        if self._rule.runoff:
            figures["rounds"] = [
                {
                    "scores": {name(candidate): as_float(score, scale) for candidate, score in count.scores},
                    "eliminated": [name(candidate) for candidate in count.eliminated[:MAX_LISTED]],
                }
                for count in standings.rounds
            ]
            if standings.rounds_total > len(standings.rounds):
                figures["rounds_total"] = standings.rounds_total
        else:
            points = {
                candidate: as_float(standings.scores[candidate], 2 * scale)
                for candidate in standings.ranking[:MAX_ANSWERS]
            }
            figures["scores"] = {name(candidate): score for candidate, score in points.items()}
        figures |= report
        if len(forms) > len(best):
            figures["candidates_total"] = len(forms)
        if standings.tie:
            figures["tie"] = True
            if not self._rule.ties_first:
                return Failure(TIE, "candidates are level, and only their order could tell them apart", figures)
        text = json_text(Payload("json", json.dumps(figures, ensure_ascii=False, separators=(",", ":"))))
        # Joined as text: candidates may be nested as deep as they like.
        ranking = ",".join(form.json for form in best)
        return Payload("json", f'{{"answer":{best[0].json},"ranking":[{ranking}],{text[1:]}')


def _candidates(value: Any) -> Sequence[Any]:
    """The candidates that an output names. Raises ValueError when it is no ballot."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            raise ValueError("is not a JSON array of candidates") from None
    if isinstance(value, Mapping) and "ranking" in value:
        value = value["ranking"]
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ValueError("is not a JSON array of candidates")  # noqa: TRY004 - wrong is the value, which is data
    return value


def _model() -> "type[BaseModel]":
    from motet.aggregate._vote_options import RankedVoteOptions  # noqa: PLC0415 - pydantic is paid for by its users

    return RankedVoteOptions


def _build(options: "RankedVoteOptions", book: RuleBook) -> Aggregator:
    return _RankedVote(
        select=make_selector(book, field=options.field, expression=options.expression, function=options.function),
        normaliser=options.normalise.normaliser(),
        runoff=options.method == "instant_runoff",
        ties_first=options.ties == "first",
        weighted=options.weighted,
    )


RANKED_VOTE: Final = OptionRule(
    name="ranked_vote",
    description="The order that the members' orders of candidates come to: Borda count or instant runoff.",
    decides_early=False,
    model=_model,
    build=_build,
)
