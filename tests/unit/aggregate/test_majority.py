"""majority: the quorum, the answer, and the moment at which both are settled."""

import pytest

from motet.aggregate import BUILTIN
from motet.model.outcome import Failure
from motet.model.payload import Payload
from motet.testing.contracts_aggregator import BOOK, decide, failed, roster_of, succeeded

MAJORITY = BUILTIN["majority"].make({}, BOOK)


def test_the_answer_is_the_first_success_in_declared_order() -> None:
    outcomes = [failed("a"), succeeded("b", "x"), succeeded("c", "y")]
    assert decide(MAJORITY, outcomes, [2, 1, 0], early_stop=True)[0] == Payload.of("x")


def test_it_is_decided_at_the_quorum_when_nobody_before_the_answer_is_still_out() -> None:
    outcomes = [succeeded(name, name) for name in "abcde"]
    assert decide(MAJORITY, outcomes, [0, 3, 4, 1, 2], early_stop=True) == (Payload.of("a"), 3)


def test_it_waits_past_the_quorum_for_a_member_declared_before_the_earliest_success() -> None:
    outcomes = [succeeded(name, name) for name in "abcde"]
    assert decide(MAJORITY, outcomes, [4, 3, 2, 1, 0], early_stop=True) == (Payload.of("a"), 5)


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (100, 51)])
def test_the_quorum_is_more_than_half_of_all_members(size: int, needed: int) -> None:
    enough = [succeeded(f"m{n}", n) if n < needed else failed(f"m{n}") for n in range(size)]
    assert decide(MAJORITY, enough, range(size), early_stop=False)[0] == Payload.of(0)
    short = [succeeded(f"m{n}", n) if n < needed - 1 else failed(f"m{n}") for n in range(size)]
    assert isinstance(decide(MAJORITY, short, range(size), early_stop=False)[0], Failure)


def test_it_is_decided_once_the_quorum_is_out_of_reach() -> None:
    outcomes = [succeeded("a", "x"), failed("b"), failed("c"), failed("d"), succeeded("e", "y")]
    answer, ended = decide(MAJORITY, outcomes, range(5), early_stop=True)
    assert ended == 4
    assert isinstance(answer, Failure)
    assert answer.reason == "NO_MAJORITY"
    assert answer.details == {"results": ["x"], "needed": 3, "succeeded": 1}


def test_results_in_the_failure_are_json_values() -> None:
    values = [b"\x00", {"a": 1}, Payload("json", "1e999"), Payload("json", "[" * 100_000 + "]" * 100_000)]
    outcomes = [succeeded(f"m{n}", value) for n, value in enumerate(values)] + [failed(f"f{n}") for n in range(4)]
    answer, _ = decide(MAJORITY, outcomes, range(8), early_stop=False)
    assert isinstance(answer, Failure)
    base64, document, infinite, deep = answer.details["results"]
    assert (base64, document, infinite) == ("AA==", {"a": 1}, "1e999")
    assert deep == values[3].text if isinstance(values[3], Payload) else False


def test_a_hundred_thousand_members_ending_in_reverse_cost_linear_time() -> None:
    size = 100_000
    outcome = succeeded("m", "x")
    tally = MAJORITY.begin(roster_of([outcome] * size))
    decided = [tally.add(index, outcome) for index in reversed(range(size))]
    assert decided.index(True) == size - 1
