"""merge, summarize, custom and chain: whatever members say and in whatever order they end, bounds hold, nothing is lost
or changed, and a failure stays one."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.aggregate import BUILTIN
from motet.aggregate._reducing import CUT, Said, cut_fairly
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Member
from motet.ports import Aggregator
from motet.testing.contracts_aggregator import BOOK, answer_with, decide, failed, stopped, succeeded


def count(outcomes: list[Outcome]) -> int:
    return len(outcomes)


OPTIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "merge": ("merge", {}),
    "merge a field": ("merge", {"field": "/a"}),
    "merge within bounds": ("merge", {"max_length": 9, "max_total_length": 30}),
    "summarize": ("summarize", {"agent": "writer"}),
    "summarize within bounds": ("summarize", {"agent": "writer", "max_input_length": 20, "expression": "output"}),
    "summarize that falls back": ("summarize", {"agent": "broken", "fallback": "merge"}),
    "a function": ("custom", {"function": count}),
    "an expression": ("custom", {"expression": "outputs"}),
    "an agent": ("custom", {"agent": "writer"}),
    "combine, then merge": ("chain", {"steps": ["combine", "merge"]}),
    "majority, then summarize": ("chain", {"steps": ["majority", {"name": "summarize", "agent": "writer"}]}),
    "merge, then an expression": ("chain", {"steps": ["merge", {"name": "custom", "expression": "outputs[0]"}]}),
}
RULES: Mapping[str, Aggregator] = {title: BUILTIN[name].make(given, BOOK) for title, (name, given) in OPTIONS.items()}
STRICT = [title for title in RULES if not title.startswith(("a ", "an "))]
"""A custom rule may answer when nobody succeeded."""

hostile_text = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["", "\ud800", "\udfff\ud800", "\x00", "null", '"']
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | hostile_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)
documents = st.sampled_from(["", " ", "[" * 5000 + "]" * 5000, "9" * 5000, "1e999", "-0.0", '"\ud800"', "{}", '"open'])
payloads = (
    st.builds(Payload.from_text, hostile_text)
    | st.builds(Payload.from_bytes, st.binary(max_size=8))
    | st.builds(Payload.from_json, values)
    | st.builds(lambda document: Payload("json", document), documents)
)


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Outcome], list[int]]:
    """Outcomes in declared order, and the order in which the members end."""
    outputs = draw(st.lists(st.none() | payloads, min_size=1, max_size=7))
    outcomes = [failed(f"m{n}") if out is None else succeeded(f"m{n}", out) for n, out in enumerate(outputs)]
    return outcomes, draw(st.permutations(range(len(outcomes))))


def reply(question: Member) -> Outcome:
    """A writer who repeats what it is given, so that a difference in the question is one in the answer."""
    name = str(question.agent)
    return failed(name) if name == "broken" or question.input is None else succeeded(name, question.input)


def final(rule: str, outcomes: list[Outcome], order: Any = None, *, early_stop: bool = True) -> Payload | Failure:
    order = range(len(outcomes)) if order is None else order
    answer, _ = decide(RULES[rule], outcomes, order, early_stop=early_stop)
    return answer_with(answer, reply)


def same(one: Payload | Failure, other: Payload | Failure) -> bool:
    return one == other or (isinstance(one, Failure) and isinstance(other, Failure))


@pytest.mark.parametrize("rule", RULES)
@given(group=groups(), data=st.data())
def test_the_order_of_completion_never_changes_the_answer(
    rule: str, group: tuple[list[Outcome], list[int]], data: st.DataObject
) -> None:
    outcomes, order = group
    assert same(final(rule, outcomes, order), final(rule, outcomes, data.draw(st.permutations(order))))


@pytest.mark.parametrize("rule", RULES)
@given(group=groups())
def test_stopping_early_never_changes_the_answer(rule: str, group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    assert same(final(rule, outcomes, order), final(rule, outcomes, order, early_stop=False))


@pytest.mark.parametrize("rule", STRICT)
@given(group=groups(), where=st.integers(0, 7))
def test_another_member_that_fails_never_turns_a_failure_into_a_success(
    rule: str, group: tuple[list[Outcome], list[int]], where: int
) -> None:
    outcomes, _ = group
    before = final(rule, outcomes)
    for loser in (failed("loser"), stopped("loser")):
        after = final(rule, [*outcomes[:where], loser, *outcomes[where:]])
        assert isinstance(before, Payload) or isinstance(after, Failure)


@pytest.mark.parametrize("rule", RULES)
@given(group=groups())
def test_outcomes_are_never_changed(rule: str, group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    before = repr(outcomes)
    final(rule, outcomes, order)
    assert repr(outcomes) == before


@pytest.mark.parametrize("rule", [title for title in RULES if title != "majority, then summarize"])
@given(group=groups())
def test_an_answer_and_a_question_can_always_be_sent_as_utf8(rule: str, group: tuple[list[Outcome], list[int]]) -> None:
    outcomes, order = group
    answer = final(rule, outcomes, order)
    assert isinstance(answer, Failure) or answer.data.decode() == answer.text


@given(
    group=groups(),
    each=st.none() | st.integers(1, 40),
    total=st.none() | st.integers(1, 120),
    attribution=st.booleans(),
    separator=st.sampled_from(["\n\n", "", " | "]),
)
def test_merge_keeps_its_bounds_whatever_is_merged(
    group: tuple[list[Outcome], list[int]],
    each: int | None,
    total: int | None,
    attribution: bool,
    separator: str,
) -> None:
    outcomes, _ = group
    options = {"max_length": each, "max_total_length": total, "attribution": attribution, "separator": separator}
    answer, _ = decide(BUILTIN["merge"].make(options, BOOK), outcomes, range(len(outcomes)), early_stop=True)
    if not isinstance(answer, Payload):
        assert not any(outcome.succeeded for outcome in outcomes)
        return
    said = answer.value
    assert said["total_length"] == len(said["merged_text"])
    assert total is None or len(said["merged_text"]) <= total
    assert said["source_count"] == sum(outcome.succeeded for outcome in outcomes)
    if each is not None:
        names = sum(len(f"[{outcome.member}] ") for outcome in outcomes) if attribution else 0
        assert len(said["merged_text"]) <= names + len(outcomes) * (each + len(separator))
    if each is None and total is None:
        assert said["cut"] == []


texts = st.lists(st.integers(0, 60).map(lambda length: Said("m", "x" * length)), max_size=8)


@given(said=texts, total=st.integers(0, 200))
def test_a_fair_cut_fills_the_room_and_cuts_no_text_below_a_longer_one(said: list[Said], total: int) -> None:
    cut = cut_fairly(said, total=total)
    assert sum(len(one.text) for one in cut) <= total
    assert [one.cut for one in cut] == [one.text != before.text for one, before in zip(cut, said, strict=True)]
    shares = [len(one.text) for one in cut if one.cut]
    if shares and min(shares) >= len(CUT):
        assert sum(len(one.text) for one in cut) == total
        # A character that does not divide goes to the longest.
        assert all(len(one.text) <= min(shares) + 1 for one in cut)


@given(said=texts, total=st.integers(0, 200))
def test_a_fair_cut_leaves_texts_that_fit_as_they_are(said: list[Said], total: int) -> None:
    fits = sum(len(one.text) for one in said) <= total
    assert (cut_fairly(said, total=total) == said) is fits
