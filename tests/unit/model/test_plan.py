"""Plans are values: short forms mean the same as long ones."""

from dataclasses import FrozenInstanceError

import pytest

from motet.model.plan import Aggregation, Group, Member, Parallel, Sequence
from motet.testing import ScriptedAgent
from motet.testing._plan import groups_of


def test_a_name_and_an_agent_stand_for_a_plain_member() -> None:
    agent = ScriptedAgent("own")
    member = Member("b", weight=2.0)
    assert Group("g", ["a", agent, member]).seats == (Member("a"), Member(agent), member)


def test_the_agent_of_a_member_has_a_name_however_it_is_given() -> None:
    assert Member("a").agent_name == "a"
    assert Member(ScriptedAgent("own"), "seat").agent_name == "own"


def test_a_name_stands_for_an_aggregation_with_its_defaults() -> None:
    assert Group("g", ["a"], "first").rule == Aggregation("first")
    assert Group("g", ["a"]).rule == Aggregation("combine")
    rule = Aggregation("first", early_stop=False)
    assert Group("g", ["a"], rule).rule is rule


def test_equal_plans_are_equal() -> None:
    assert Sequence([Group("g", ["a"])]) == Sequence([Group("g", ["a"])])
    assert Sequence([Group("g", ["a"])]) != Sequence([Group("g", ["b"])])


def test_a_plan_cannot_be_changed() -> None:
    group = Group("g", ["a"])
    with pytest.raises(FrozenInstanceError):
        group.timeout = 1.0  # type: ignore[misc]


def test_the_groups_of_a_plan_stand_in_declared_order() -> None:
    a, b, c = (Group(name, ["x"]) for name in "abc")
    assert groups_of(Sequence([Parallel([a, Sequence([b])]), c])) == [a, b, c]
