"""Whatever members say and in whatever order they end, the rules give one answer, and stopping early gives the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.aggregate import BUILTIN
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.testing.contracts_aggregator import decide, failed, stopped, succeeded

RULES = {name: kind.make({}) for name, kind in BUILTIN.items()}

hostile_text = st.text(st.characters(), max_size=8) | st.sampled_from(["", "\ud800", "\udfff\ud800", "\x00", "null"])
documents = st.sampled_from(
    ["", " ", "[" * 5000 + "]" * 5000, "9" * 5000, "1e999", "-0.0", '"\ud800"', "{}"]
) | st.builds(
    lambda value: Payload.from_json(value).text,
    st.recursive(st.none() | st.booleans() | st.integers() | hostile_text, lambda inner: st.lists(inner, max_size=3)),
)
payloads = (
    st.builds(Payload.from_text, hostile_text)
    | st.builds(Payload.from_bytes, st.binary(max_size=8))
    | st.builds(lambda document: Payload("json", document), documents)
)


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Outcome], list[int]]:
    """Outcomes in declared order, and the order in which the members end."""
    outputs = draw(st.lists(st.none() | payloads, min_size=1, max_size=9))
    outcomes = [failed(f"m{n}") if out is None else succeeded(f"m{n}", out) for n, out in enumerate(outputs)]
    return outcomes, draw(st.permutations(range(len(outcomes))))


def same(one: Payload | Failure, other: Payload | Failure) -> bool:
    return one == other or (isinstance(one, Failure) and isinstance(other, Failure))


@pytest.mark.parametrize("rule", RULES)
@given(group=groups())
def test_stopping_early_and_running_all_give_the_same_answer(rule: str, group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    early, _ = decide(RULES[rule], outcomes, order, early_stop=True)
    full, _ = decide(RULES[rule], outcomes, order, early_stop=False)
    assert same(early, full)


@pytest.mark.parametrize("rule", ["combine", "majority"])
@given(group=groups(), data=st.data())
def test_the_answer_does_not_depend_on_the_order_of_completion(
    rule: str, group: tuple[list[Outcome], list[int]], data: st.DataObject
) -> None:
    outcomes, order = group
    other = data.draw(st.permutations(order))
    one, _ = decide(RULES[rule], outcomes, order, early_stop=True)
    assert same(one, decide(RULES[rule], outcomes, other, early_stop=True)[0])


@given(group=groups())
def test_the_answer_of_majority_is_the_same_for_outcomes_that_were_never_fed(
    group: tuple[list[Outcome], list[int]],
) -> None:
    outcomes, order = group
    assert (
        decide(RULES["majority"], outcomes, [], early_stop=False)[0]
        == (decide(RULES["majority"], outcomes, order, early_stop=False)[0])
    )


@pytest.mark.parametrize("rule", RULES)
@given(group=groups(), where=st.integers(0, 9))
def test_another_member_that_fails_never_turns_a_failure_into_a_success(
    rule: str, group: tuple[list[Outcome], list[int]], where: int
) -> None:
    outcomes, _ = group
    before, _ = decide(RULES[rule], outcomes, range(len(outcomes)), early_stop=True)
    for loser in (failed("loser"), stopped("loser")):
        more = [*outcomes[:where], loser, *outcomes[where:]]
        after, _ = decide(RULES[rule], more, range(len(more)), early_stop=True)
        assert isinstance(before, Payload) or isinstance(after, Failure)


@pytest.mark.parametrize("rule", RULES)
@given(group=groups())
def test_a_failed_member_is_never_the_answer_and_a_lone_success_is_never_lost(
    rule: str, group: tuple[list[Outcome], list[int]]
) -> None:
    outcomes, order = group
    answer, _ = decide(RULES[rule], outcomes, order, early_stop=True)
    said: list[Any] = [outcome.output for outcome in outcomes if outcome.succeeded]
    if rule == "combine":
        assert isinstance(answer, Payload) is bool(said)
    elif isinstance(answer, Payload):
        assert answer in said
    else:
        assert not said or rule == "majority"


@pytest.mark.parametrize("rule", RULES)
@given(group=groups())
def test_outcomes_are_never_changed(rule: str, group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    before = repr(outcomes)
    decide(RULES[rule], outcomes, order, early_stop=True)
    assert repr(outcomes) == before


@given(group=groups())
def test_the_answer_of_combine_can_always_be_sent_as_utf8(group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    answer, _ = decide(RULES["combine"], outcomes, order, early_stop=True)
    assert isinstance(answer, Failure) or answer.data.decode() == answer.text
