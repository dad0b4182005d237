"""Nouns that are made quickly are the same as those made in the ordinary way."""

from dataclasses import FrozenInstanceError, dataclass, field, fields

import pytest

from motet import Outcome, Payload, State, Usage
from motet.model.quick import quick


@dataclass(frozen=True, slots=True)
class Noun:
    one: int
    two: str = "two"
    three: tuple[int, ...] = field(default_factory=tuple)


def test_it_makes_what_the_constructor_makes() -> None:
    made = quick(Noun)(1, two="two", three=())
    assert type(made) is Noun
    assert made == Noun(1)
    assert hash(made) == hash(Noun(1))
    assert repr(made) == repr(Noun(1))
    with pytest.raises(FrozenInstanceError):
        made.one = 2  # type: ignore[misc]  # that is the test


def test_it_wants_every_field() -> None:
    with pytest.raises(TypeError, match="three"):
        quick(Noun)(1, "two")


def test_an_outcome_made_in_the_order_of_its_fields_is_that_outcome() -> None:
    ordinary = Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of("x"), usage=Usage(calls=1))
    made = quick(Outcome)(*(getattr(ordinary, each.name) for each in fields(Outcome)))
    assert made == ordinary
