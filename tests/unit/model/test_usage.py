"""Usage adds up, and what has no price stays apart."""

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from motet.model.usage import NONE, UNPRICED_CALL, Usage

usages = st.builds(Usage, **{field.name: st.integers(0, 2**60) for field in fields(Usage)})


@given(usages, usages)
def test_every_field_is_added(one: Usage, other: Usage) -> None:
    total = one + other
    for field in fields(Usage):
        assert getattr(total, field.name) == getattr(one, field.name) + getattr(other, field.name)


@given(usages, usages, usages)
def test_the_order_of_adding_does_not_matter(one: Usage, two: Usage, three: Usage) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)


@given(usages)
def test_nothing_changes_nothing(usage: Usage) -> None:
    assert usage + NONE == NONE + usage == usage
    assert sum([usage], NONE) == usage


def test_a_call_of_unknown_price_is_counted_apart_and_costs_nothing_known() -> None:
    assert (UNPRICED_CALL.calls, UNPRICED_CALL.unpriced_calls, UNPRICED_CALL.cost_nanos) == (1, 1, 0)
