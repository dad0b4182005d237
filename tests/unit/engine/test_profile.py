"""Profiles: a running quantile of what calls used, what a card says until then, and what tells nothing."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.engine.profile import MAX_PROFILES, MIN_RECENT, RECENT, WINDOW, AgentProfile, Profiles, Window
from motet.model.agent import AgentInfo, AgentKind
from motet.model.usage import UNPRICED_CALL, Usage
from motet.ports import End

CARD = AgentInfo(name="a", kind=AgentKind.FUNCTION)


def answered(ran: float = 1.0, *, cost: int = 0, tokens: int = 0) -> End:
    return End(Usage(calls=1, input_tokens=tokens, cost_nanos=cost), ran, fault=False)


FAILED = End(UNPRICED_CALL, 1.0, fault=True)
STOPPED = End(Usage(calls=1, input_tokens=99, cost_nanos=99), 99.0, fault=None)


def profile(*ends: End, card: AgentInfo = CARD) -> AgentProfile:
    made = AgentProfile(card)
    for end in ends:
        made.learn(end)
    return made


@given(values=st.lists(st.floats(0, 100), max_size=3 * WINDOW), share=st.floats(0, 1, exclude_min=True) | st.just(0.5))
def test_a_quantile_is_the_smallest_value_that_so_many_of_the_last_do_not_exceed(
    values: list[float], share: float
) -> None:
    window = Window()
    for value in values:
        window.add(value)
    last = sorted(values[-WINDOW:])
    assert len(window) == len(last)
    found = window.quantile(share)
    if not last:
        assert found is None
        return
    assert found is not None
    assert sum(value <= found for value in last) >= share * len(last) - 1e-9
    assert sum(value < found for value in last) < share * len(last) or found == last[0]


def test_the_first_quantile_of_a_window_is_its_least_value() -> None:
    window = Window()
    for value in (3.0, 1.0, 2.0):
        window.add(value)
    assert (window.quantile(0), window.quantile(0.5), window.quantile(1)) == (1.0, 2.0, 3.0)


def test_until_a_call_was_seen_the_card_says_what_to_expect() -> None:
    card = replace(CARD, estimated_cost_nanos=5, estimated_tokens=7)
    assert (profile(card=card).cost_nanos, profile(card=card).tokens) == (5, 7)
    assert (profile().cost_nanos, profile().tokens) == (None, None)
    used = profile(answered(cost=50, tokens=70), card=card)
    assert (used.cost_nanos, used.tokens) == (50, 70)


def test_an_estimate_is_enough_for_nine_calls_of_ten() -> None:
    used = profile(*[answered(cost=cost, tokens=2 * cost) for cost in range(1, 11)])
    assert (used.cost_nanos, used.tokens) == (9, 18)


def test_a_call_without_a_price_says_nothing_about_the_price_and_all_the_same_was_seen() -> None:
    used = profile(End(UNPRICED_CALL, 1.0, fault=False))
    assert used.cost_nanos is None
    assert used.tokens == 0
    assert used.seen


@pytest.mark.parametrize("end", [FAILED, STOPPED])
def test_calls_that_failed_or_were_stopped_say_nothing_about_what_answers_use(end: End) -> None:
    used = profile(*[end] * 20)
    assert (used.cost_nanos, used.tokens, used.quantile(0.5), used.seen) == (None, None, None, False)


def test_a_group_agent_counts_as_seen_from_the_first() -> None:
    assert profile(card=replace(CARD, composite=True)).seen
    assert not profile().seen


def test_a_median_needs_three_calls_and_a_high_quantile_ten() -> None:
    few = profile(answered(1), answered(2))
    assert few.quantile(0.5) is None
    few.learn(answered(30))
    assert few.quantile(0.5) == 2
    assert few.quantile(0.95) is None
    for _ in range(7):
        few.learn(answered(1))
    assert few.quantile(0.95) == 30


def test_times_follow_a_change_within_a_window_of_calls() -> None:
    used = profile(*[answered(1)] * WINDOW)
    assert used.quantile(0.95) == 1
    for _ in range(WINDOW):
        used.learn(answered(9))
    assert used.quantile(0) == used.quantile(0.95) == 9


def test_an_agent_fails_while_more_than_half_of_its_last_calls_do() -> None:
    used = profile(*[FAILED] * (MIN_RECENT - 1))
    assert not used.failing
    used.learn(FAILED)
    assert used.failing
    for _ in range(MIN_RECENT):
        used.learn(answered())
    assert not used.failing


def test_calls_that_were_stopped_do_not_count_among_the_last() -> None:
    used = profile(*[FAILED] * MIN_RECENT, *[STOPPED] * 100)
    assert used.failing


@given(faults=st.lists(st.booleans(), max_size=3 * RECENT))
def test_only_the_last_calls_decide_whether_an_agent_fails(faults: list[bool]) -> None:
    used = profile(*[FAILED if fault else answered() for fault in faults])
    last = faults[-RECENT:]
    assert used.failing is (len(last) >= MIN_RECENT and 2 * sum(last) > len(last))


def test_profiles_are_by_name_and_forget_what_another_version_did() -> None:
    profiles = Profiles()
    profiles.of(CARD).learn(answered(cost=5))
    assert profiles.of(replace(CARD, description="the same one")).cost_nanos == 5
    assert profiles.of(replace(CARD, name="b")).cost_nanos is None
    assert profiles.of(replace(CARD, version="2")).cost_nanos is None
    assert profiles.of(CARD).cost_nanos is None


def test_a_card_that_changes_what_it_expects_is_believed() -> None:
    profiles = Profiles()
    first = profiles.of(CARD)
    profiles.of(replace(CARD, estimated_cost_nanos=3))
    assert first.cost_nanos == 3


def test_the_profile_that_was_unused_longest_is_forgotten_first() -> None:
    profiles = Profiles()
    for number in range(MAX_PROFILES):
        profiles.of(replace(CARD, name=f"a{number}")).learn(answered(cost=number))
    profiles.of(replace(CARD, name="a0"))
    profiles.of(replace(CARD, name="one more"))
    assert profiles.of(replace(CARD, name="a0")).cost_nanos == 0
    assert profiles.of(replace(CARD, name="a1")).cost_nanos is None


def test_a_window_without_values_has_no_quantile() -> None:
    assert Window().quantile(0.5) is None
    assert not math.isnan(profile(answered(0.0), answered(0.0), answered(0.0)).quantile(0.5) or 0.0)
