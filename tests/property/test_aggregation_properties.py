"""What combine, first and majority promise beyond the laws of every rule, whatever members say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.aggregate import BUILTIN
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.testing.contracts_aggregator import BOOK, decide, failed, succeeded

RULES = {name: BUILTIN[name].make({}, BOOK) for name in ("combine", "first", "majority")}

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


@given(group=groups())
def test_the_answer_of_combine_can_always_be_sent_as_utf8(group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    answer, _ = decide(RULES["combine"], outcomes, order, early_stop=True)
    assert not isinstance(answer, Payload) or answer.data.decode() == answer.text
