"""The question to a tiebreaker, and what its reply decides. Pure; the engine asks."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet.aggregate._common import json_text, json_value
from motet.aggregate._normalise import Normaliser
from motet.aggregate._select import Selected
from motet.aggregate._stopping import Candidate
from motet.model.outcome import Outcome
from motet.model.payload import EMPTY, Payload, parse_json
from motet.model.plan import Member, Named
from motet.ports import Answer, Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiebreaker:
    """The agent that decides between tied answers."""

    agent: "str | Named"
    timeout: float | None
    normaliser: Normaliser
    select: Callable[[Outcome], Selected]
    """Reads a reply as a member's output is read; tried after the whole reply."""

    def ask(
        self,
        question: Payload,
        tied: Sequence[Candidate],
        voters: Mapping[str, Sequence[str]],
        decide: Callable[[Candidate, Mapping[str, Any]], Answer],
    ) -> Ask:
        """The question. `tied` in declared order; `voters` names members by answer key; `decide` gets the winner and
        what to report of the tiebreak. A reply that names none of the tied answers, and a tiebreaker that fails, leave
        it to the first."""
        member = Member(self.agent, name="tiebreaker", input=_question(question, tied, voters), timeout=self.timeout)

        def then(outcomes: Sequence[Outcome]) -> Answer:
            winner, report = self._read(outcomes[0], tied)
            return decide(winner or tied[0], {"asked": member.agent_name, **report, "used": winner is not None})

        return Ask(purpose="tiebreaker", members=(member,), then=then)

    def _read(self, outcome: Outcome, tied: Sequence[Candidate]) -> tuple[Candidate | None, Mapping[str, Any]]:
        if not outcome.succeeded or outcome.output is None:
            failure = outcome.failure
            return None, {"said": None, "problem": str(failure) if failure else outcome.state.value}
        said = {"said": json_value(outcome.output)}
        by_key = {candidate.form.key: candidate for candidate in tied}
        readings = _readings(outcome.output, self.select(outcome))
        for value in readings:
            try:
                winner = by_key.get(self.normaliser.canonical(value).key)
            except Exception:  # noqa: BLE001, S112 - a reading that is no answer is not the one; there are others
                continue
            if winner is not None:
                return winner, said
        for value in readings:
            if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(tied):
                return tied[value - 1], said
        return None, {**said, "problem": "it named none of the tied answers"}


def _readings(output: Payload, selected: Selected) -> list[Any]:
    """What a reply may mean: itself, what members' outputs are read for, and the JSON that its text holds."""
    readings: list[Any] = [] if selected.problem else [selected.value]
    try:
        readings.insert(0, output.value)
        readings.append(parse_json(output.text))
    except ValueError:
        # Text that is no JSON, or a document that Python cannot hold: what was read before stands.
        pass
    return readings


def _question(question: Payload, tied: Sequence[Candidate], voters: Mapping[str, Sequence[str]]) -> Payload:
    # Joined as text: the answers' own text is known to be sendable, however deep or long it is.
    answers = ",".join(
        f'{{"answer":{candidate.form.json},"votes":{candidate.votes},"members":{_names(voters[candidate.form.key])}}}'
        for candidate in tied
    )
    asked = "" if question == EMPTY else f'"question":{json_text(question)},'
    return Payload("json", f'{{{asked}"tied":[{answers}]}}')


def _names(names: Sequence[str]) -> str:
    return json_text(Payload("json", json.dumps(list(names), ensure_ascii=False, separators=(",", ":"))))
