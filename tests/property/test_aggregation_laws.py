"""The laws that every built-in rule keeps, whatever its members say, in whatever order they end and with what weights."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Aggregation, Group, Member
from motet.aggregate import BUILTIN
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Aggregator, Roster
from motet.testing import ScriptedAgent, check_run
from motet.testing.contracts_aggregator import Book, answer_with, decide, failed, roster_of, stopped, succeeded

DEPTH = 3000
"""Deeper than Python's own limit."""


@dataclass(frozen=True)
class Case:
    """One rule with its options."""

    rule: str
    options: Mapping[str, Any]
    essence: tuple[str, ...] = ()
    """The keys of the answer that an early decision may not change, the others being a report of what was seen; none
    means all of it."""
    statistical: bool = False
    """It may stop before the answer is certain."""

    @property
    def by_time(self) -> bool:
        """The answer is who came first, by definition."""
        return self.rule == "first"


def _raise(value: object) -> float:
    raise ArithmeticError(value)


def _joined(outcomes: Sequence[Outcome]) -> str | None:
    """A reducer: what the members that succeeded said, in declared order."""
    said = [outcome.output for outcome in outcomes if outcome.output is not None]
    return " ".join(str(payload.content) for payload in said).encode(errors="replace").decode() if said else None


BOOK = Book(functions={"length": lambda value: len(str(value)), "raise": _raise, "joined": _joined})

ANSWER = ("answer",)
SCORE: Mapping[str, Any] = {"score": {"field": "/score"}}
NORMALISE = {"case": True, "whitespace": True, "numbers": True}
OPTIONS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "combine": [{}],
    "first": [{}],
    "majority": [{}],
    "vote": [
        {},
        {"method": "majority"},
        {"minimum_share": 0.6},
        {"minimum_share": 0.5, "method": "majority", "ties": "error"},
        {"ties": "error", "weighted": False},
        {"field": "/answer"},
        {"expression": "output.answer"},
        {"function": "length"},
        {"function": "raise"},
        {"normalise": NORMALISE, "abstain": ["a", ""]},
        {"ties": "tiebreaker", "tiebreaker": "judge"},
        {"confidence": 0.9},
    ],
    "ranked_vote": [
        {},
        {"method": "instant_runoff"},
        {"field": "/ranking", "normalise": NORMALISE},
        {"method": "instant_runoff", "ties": "error", "weighted": False},
    ],
    "rank": [
        SCORE,
        {**SCORE, "order": "ascending", "limit": 2},
        {"score": {"function": "length"}},
        {"score": {"expression": "output.score * 2.0"}, "numbers_in_text": True},
        {"score": {"agent": "judge", "max_parallel": 2}},
    ],
    "best": [
        SCORE,
        {**SCORE, "order": "ascending", "numbers_in_text": True},
        {**SCORE, "good_enough": 2},
        {"score": {"function": "length"}, "good_enough": 1},
        {"score": {"function": "raise"}},
        {"criteria": [{"name": "s", "weight": 2, "field": "/score"}, {"name": "l", "weight": 1, "function": "length"}]},
        {"score": {"agent": "judge"}},
    ],
    "ensemble": [
        {},
        {"field": "/score", "outliers": "mad"},
        {"outliers": "iqr", "weighted": True},
        {"outliers": "mad", "threshold": 1.0, "numbers_in_text": True},
        {"function": "length"},
    ],
    "merge": [{}, {"max_total_length": 20}, {"max_length": 7, "attribution": False}, {"field": "/answer"}],
    "summarize": [{"agent": "judge"}, {"agent": "judge", "fallback": "combine", "max_input_length": 10}],
    "custom": [
        {"function": "joined"},
        {"expression": "succeeded > 0 ? outputs : null"},
        {"agent": "judge", "fallback": "vote"},
    ],
    "chain": [
        {"steps": ["vote", {"name": "merge", "max_total_length": 50}]},
        {"steps": [{"name": "best", **SCORE}, {"name": "summarize", "agent": "judge"}]},
        {"steps": ["majority", "ensemble"]},
    ],
}
ESSENCE = {"vote": ANSWER, "ranked_vote": ANSWER, "best": ("answer", "member", "score")}
CASES = {
    rule: [Case(rule, options, ESSENCE.get(rule, ()), "confidence" in options) for options in every]
    for rule, every in OPTIONS.items()
}


def make(case: Case) -> Aggregator:
    """The rule of the case, made once."""
    return _make(case.rule, CASES[case.rule].index(case))


@cache
def _make(rule: str, number: int) -> Aggregator:
    return BUILTIN[rule].make(CASES[rule][number].options, BOOK)


WORDS = ["a", "b", "A ", "1", "1.0", " 1,000", "", "null", "\ud800", "\x00"]
SCORES = [0, 1, 1.0, 2.5, -3, -0.0, 1e308, -1e308, 5e-324, 10**400, 2**63, True, None, "1", "NaN", "x", [], {"n": 1}]
DOCUMENTS = [
    *("NaN", "1e999", "-1e999", "9" * 5000, "0." + "9" * 5000, "-0.0", '"\ud800"', '{"score":1e400}', "{", ""),
    *("[" * DEPTH + "]" * DEPTH, '{"answer":' * DEPTH + "1" + "}" * DEPTH, '{"a":1,"a":2}', " [1 , 2] "),
]
RANKINGS = [["a", "b"], ["b", "a"], ["b", "c", "a"], ["c"], [], ["a", "a"], [["a"], {"a": 1}], [1, 1.0, "1"], ["A "]]

_hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_records = st.fixed_dictionaries(
    {},
    optional={"score": st.sampled_from(SCORES), "answer": st.sampled_from(WORDS), "ranking": st.sampled_from(RANKINGS)},
)
payloads = st.one_of(
    st.sampled_from(WORDS).map(Payload.from_text),
    st.sampled_from(SCORES).map(Payload.from_json),
    st.sampled_from(RANKINGS).map(Payload.from_json),
    st.sampled_from(DOCUMENTS).map(lambda document: Payload("json", document)),
    st.sampled_from(DOCUMENTS).map(Payload.from_text),
    _records.map(Payload.from_json),
    _records.map(Payload.from_json),
    _hostile.map(Payload.from_json),
    st.sampled_from([b"", b"a", b"\xff\xfe", b"1"]).map(Payload.from_bytes),
    st.text(st.characters(), max_size=6).map(Payload.from_text),
)
weights = st.sampled_from([1.0, 1.0, 1.0, 2.0, 0.1, 0.0, 1e308, 5e-324])


@dataclass(frozen=True)
class Players:
    """A group: what its members said and weigh, and the order in which they ended."""

    outcomes: list[Outcome]
    weights: list[float]
    order: list[int]
    reply: Payload | None
    """What every agent that is asked says; None when it fails."""

    @property
    def outputs(self) -> list[Payload]:
        return [outcome.output for outcome in self.outcomes if outcome.output is not None]

    @property
    def roster(self) -> Roster:
        return roster_of(self.outcomes, self.weights, Payload.from_text("question"))

    def with_another(self, where: int, outcome: Outcome, weight: float) -> "Players":
        """The group with one member more, which ends last."""
        where = min(where, len(self.outcomes))
        return Players(
            [*self.outcomes[:where], outcome, *self.outcomes[where:]],
            [*self.weights[:where], weight, *self.weights[where:]],
            [*(index + (index >= where) for index in self.order), where],
            self.reply,
        )

    def hear(self, question: Member) -> Outcome:
        return failed(question.name) if self.reply is None else succeeded(question.name, self.reply)

    def answer(
        self, aggregator: Aggregator, *, early: bool = False, order: Sequence[int] | None = None
    ) -> Payload | Failure:
        """What the rule says in the end."""
        order = self.order if order is None else order
        said, _ = decide(aggregator, self.outcomes, order, early_stop=early, weights=self.weights)
        return answer_with(said, self.hear)


@st.composite
def players(draw: st.DrawFn) -> Players:
    pool = draw(st.lists(payloads, min_size=1, max_size=3))
    said = draw(st.lists(st.none() | st.sampled_from(pool) | payloads, min_size=1, max_size=7))
    outcomes = [failed(f"m{n}") if out is None else succeeded(f"m{n}", out) for n, out in enumerate(said)]
    return Players(
        outcomes,
        draw(st.lists(weights, min_size=len(said), max_size=len(said))),
        draw(st.permutations(range(len(said)))),
        draw(
            st.none()
            | st.sampled_from([Payload.from_text("1"), Payload.from_json({"score": 2}), Payload.from_text("a")])
        ),
    )


@contextmanager
def _deep() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 4 * DEPTH)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def document_of(payload: Payload) -> Any:
    """The JSON document, however deep and long, with numbers as their digits."""
    with _deep():
        return json.loads(payload.text, parse_int=str, parse_float=str, parse_constant=_raise)


def is_json(payload: Payload) -> bool:
    """False only for what says that it is JSON, and is not."""
    try:
        return payload.kind != "json" or document_of(payload) is not Ellipsis
    except (ValueError, ArithmeticError):
        return False


def essence(case: Case, answer: Payload | Failure) -> object:
    """What an early decision must leave as it is: that there is no answer, or the answer without its report."""
    if isinstance(answer, Failure):
        return Failure
    if not case.essence:
        return answer
    with _deep():
        found = document_of(answer)
        return json.dumps([found[key] for key in case.essence], sort_keys=True)


# --------------------------------------------------------------------------------------------------------------- laws

each_rule = pytest.mark.parametrize("rule", CASES)
a_few = settings(max_examples=60, deadline=None)


def case_of(rule: str, data: st.DataObject) -> Case:
    return data.draw(st.sampled_from(CASES[rule]), label="case")


def test_every_rule_that_is_built_in_is_tried() -> None:
    assert CASES.keys() == BUILTIN.keys()


@each_rule
@a_few
@given(data=st.data(), group=players())
def test_the_order_of_completion_never_changes_an_answer(rule: str, data: st.DataObject, group: Players) -> None:
    case = case_of(rule, data)
    other = data.draw(st.permutations(group.order))
    if case.by_time:
        return
    assert group.answer(make(case)) == group.answer(make(case), order=other)
    if not case.statistical:
        one, two = group.answer(make(case), early=True), group.answer(make(case), early=True, order=other)
        assert essence(case, one) == essence(case, two)


@each_rule
@a_few
@given(data=st.data(), group=players())
def test_stopping_early_never_changes_the_answer(rule: str, data: st.DataObject, group: Players) -> None:
    case = case_of(rule, data)
    if case.statistical:
        return
    early, full = group.answer(make(case), early=True), group.answer(make(case))
    assert essence(case, early) == essence(case, full)


@each_rule
@a_few
@given(data=st.data(), group=players(), where=st.integers(0, 7), early=st.booleans())
def test_another_member_that_fails_never_turns_a_failure_into_a_success(
    rule: str, data: st.DataObject, group: Players, where: int, early: bool
) -> None:
    case = case_of(rule, data)
    if isinstance(group.answer(make(case), early=early), Failure):
        for loser in (failed("loser"), stopped("loser")):
            for weight in (0.0, 1.0, 3.0):
                more = group.with_another(where, loser, weight)
                assert isinstance(more.answer(make(case), early=early), Failure)


@each_rule
@a_few
@given(data=st.data(), group=players())
def test_outcomes_are_never_changed_and_a_tally_that_is_asked_again_says_the_same(
    rule: str, data: st.DataObject, group: Players
) -> None:
    before = repr(group.outcomes)
    tally = make(case_of(rule, data)).begin(group.roster)
    for index in group.order:
        tally.add(index, group.outcomes[index])
    one, two = (answer_with(tally.answer(tuple(group.outcomes)), group.hear) for _ in range(2))
    assert one == two
    assert repr(group.outcomes) == before


@each_rule
@settings(max_examples=100, deadline=None)
@given(data=st.data(), group=players(), early=st.booleans())
def test_whatever_members_say_there_is_an_answer_or_a_failure_that_can_be_sent(
    rule: str, data: st.DataObject, group: Players, early: bool
) -> None:
    answer = group.answer(make(case_of(rule, data)), early=early)
    if isinstance(answer, Failure):
        assert answer.reason
        assert answer.reason == answer.reason.upper()
        assert answer.message
        json.dumps(answer.details, allow_nan=False)
    elif answer not in (group.reply, *group.outputs):
        # What a member or an agent said is handed on to the letter; what a rule makes of it is sound whatever they said.
        assert answer.data.decode() == answer.text
        assert answer.kind == "text" or is_json(answer) or not all(map(is_json, group.outputs))


@each_rule
@a_few
@given(data=st.data(), group=players(), early=st.booleans())
def test_only_a_rule_that_says_so_decides_early_and_what_is_decided_stays_so(
    rule: str, data: st.DataObject, group: Players, early: bool
) -> None:
    tally = make(case_of(rule, data)).begin(group.roster)
    decided = False
    for ended, index in enumerate(group.order, 1):
        # With `early` the members after the decision are stopped, as they are when it is acted on.
        now = tally.add(index, stopped(f"m{index}") if early and decided else group.outcomes[index])
        assert now or not decided
        assert BUILTIN[rule].decides_early or not now or ended == len(group.order)
        decided = now


@each_rule
@settings(max_examples=10, deadline=None)
@given(data=st.data(), group=players(), early=st.booleans())
def test_no_outcome_is_lost_in_a_run(rule: str, data: st.DataObject, group: Players, early: bool) -> None:
    case = case_of(rule, data)
    members = [
        Member(
            ScriptedAgent(
                o.member, reply=o.output, delay=group.order.index(n) + 1, error=None if o.output else OSError()
            ),
            weight=weight,
        )
        for n, (o, weight) in enumerate(zip(group.outcomes, group.weights, strict=True))
    ]
    plan = Group("g", members, Aggregation(rule, case.options, early_stop=early))

    async def main() -> None:
        catalog = motet.Catalog()
        for name, function in BOOK.functions.items():
            catalog.add_function(name, function)
        catalog.add(ScriptedAgent("judge", reply=group.reply, error=None if group.reply else OSError()))
        async with motet.open_engine(catalog) as engine, engine.stream(plan, "question") as run:
            events = [event async for event in run]
        result = run.result
        assert result is not None
        check_run(events, result, plan=plan)
        found = result["g"].outcomes
        assert [outcome.member for outcome in found] == [outcome.member for outcome in group.outcomes]
        for outcome, given_ in zip(found, group.outcomes, strict=True):
            spared = outcome.failure is not None and outcome.failure.reason == "DECIDED"
            assert spared or outcome.output == given_.output
        assert result.failure is None or result.failure.reason != "AGGREGATION_FAILED"

    if any(group.weights):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
