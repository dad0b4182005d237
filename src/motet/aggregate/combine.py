"""combine: every success in declared order, as one JSON object. Pure."""

from collections.abc import Sequence
from typing import Final

from motet.aggregate._common import Rule, json_text, no_success, outputs
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Roster


class _Combine:
    __slots__ = ()

    def __init__(self, _roster: Roster) -> None:
        return None

    def add(self, _index: int, _outcome: Outcome, /) -> bool:
        return False

    def answer(self, outcomes: Sequence[Outcome]) -> Payload | Failure:
        successes = outputs(outcomes)
        if not successes:
            return no_success(outcomes)
        # Joined as text: to parse and write again would round numbers that a float cannot hold.
        results = ",".join(map(json_text, successes))
        return Payload("json", f'{{"combined_results":[{results}],"result_count":{len(successes)}}}')


COMBINE: Final = Rule(
    name="combine",
    description="Every success in declared order, as {combined_results, result_count}.",
    decides_early=False,
    tally=_Combine,
)
