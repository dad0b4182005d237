"""Is aggregation linear in the members, and what does it cost? CPU time of feeding every outcome (`add`, which also tells
whether the answer is decided) and of the answer at the end, for each rule that asks no agent.

Run: python benches/aggregation_cost.py
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from _harness import record
from motet.aggregate import BUILTIN
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.state import State
from motet.ports import Aggregator, Ask, Roster
from motet.testing.contracts_aggregator import BOOK

SIZES: Final = (10, 1_000, 100_000)
ROUNDS: Final = {10: 200, 1_000: 7, 100_000: 1}
"""Times that each size is measured; the best is shown, as the one that others disturbed least."""


@dataclass(frozen=True)
class Case:
    """A rule with options, and what its members say."""

    rule: str
    options: Mapping[str, Any]
    says: Callable[[int], object]
    note: str = ""


def _one_of_five(number: int) -> str:
    return f"answer {number % 5}"


def _own(number: int) -> str:
    return f"answer {number}"


def _number(number: int) -> int:
    return number * 7919 % 10_007


def _scored(number: int) -> dict[str, object]:
    return {"score": _number(number), "text": "an answer"}


def _ballot(number: int) -> list[str]:
    return ["red", "green", "blue"] if number % 3 else ["blue", "red"]


CASES: Final = (
    Case("combine", {}, _own),
    Case("first", {}, _own),
    Case("majority", {}, _own),
    Case("vote", {}, _one_of_five, "5 answers"),
    Case("vote", {}, _own, "all differ"),
    Case("vote", {"field": "/score"}, _scored, "a field"),
    Case("vote", {"method": "majority", "minimum_share": 0.6}, _one_of_five, "majority, share"),
    Case("ranked_vote", {}, _ballot, "borda"),
    Case("ranked_vote", {"method": "instant_runoff"}, _ballot, "instant runoff"),
    Case("rank", {"score": {"field": "/score"}}, _scored),
    Case("best", {"score": {"field": "/score"}}, _scored),
    Case("best", {"score": {"field": "/score"}, "good_enough": 20_000}, _scored, "good_enough"),
    Case("ensemble", {}, _number),
    Case("ensemble", {"outliers": "mad"}, _number, "mad"),
    Case("merge", {"max_total_length": 10_000}, _own, "bounded"),
    Case("custom", {"expression": "succeeded"}, _own, "CEL"),
    Case("chain", {"steps": [{"name": "vote"}, {"name": "merge"}]}, _one_of_five, "vote, merge"),
)
"""The rules as a group would use them. Outcomes hold their output as a payload, as the engine's do."""


@cache
def group(says: Callable[[int], object], size: int) -> tuple[list[Outcome], Roster]:
    """The outcomes of a group whose members all succeed."""
    names = [f"m{number}" for number in range(size)]
    payloads = [Payload.of(says(number)) for number in range(size)]
    outcomes = [
        Outcome(member=name, agent="agent", state=State.SUCCEEDED, output=payload)
        for name, payload in zip(names, payloads, strict=True)
    ]
    return outcomes, Roster(names, [1.0] * size)


def seconds(rule: Aggregator, outcomes: list[Outcome], roster: Roster) -> tuple[float, float]:
    """CPU seconds of one group: feeding all outcomes, as if nobody were stopped, and the answer."""
    tally = rule.begin(roster)
    begin = time.process_time()
    for index, outcome in enumerate(outcomes):
        tally.add(index, outcome)
    fed = time.process_time()
    answer = tally.answer(outcomes)
    end = time.process_time()
    if isinstance(answer, Ask):
        raise TypeError("a rule that asks is measured by the agents it asks, not here")
    return fed - begin, end - fed


def measured(case: Case) -> Iterator[str]:
    """Microseconds for each outcome: `add` at each size, the answer at each size, and how the whole grows."""
    rule = BUILTIN[case.rule].make(case.options, BOOK)
    costs = []
    for size in SIZES:
        outcomes, roster = group(case.says, size)
        # What the engine holds is not the rule's: only what the rule makes itself is the collector's to look at.
        gc.collect()
        gc.freeze()
        rounds = [seconds(rule, outcomes, roster) for _ in range(ROUNDS[size])]
        costs.append((min(add for add, _ in rounds) / size * 1e6, min(end for _, end in rounds) / size * 1e6))
    yield f"{case.rule}{f' ({case.note})' if case.note else ''}"
    yield from (f"{add:.2f}" for add, _ in costs)
    yield from (f"{end:.2f}" for _, end in costs)
    yield f"{sum(costs[-1]) / sum(costs[-2]):.1f}"


def main() -> None:
    head = [f"{what} at {size:,}" for what in ("add", "answer") for size in SIZES]
    rows = [list(measured(case)) for case in CASES]
    record(
        "aggregation_cost",
        "Is aggregation linear in the members, and what does it cost?",
        ["rule, us per outcome", *head, "100,000 to 1,000"],
        rows,
        note="CPU time of each rule that asks no agent, in microseconds for each outcome: `add` feeds one and tells whether "
        "the answer is decided, `answer` is at the end. The last column is the cost for each outcome at 100,000 members over "
        "that at 1,000: about 1 is linear; sorting and the garbage collector, which walks what a rule has made, add the rest.",
    )


if __name__ == "__main__":
    main()
