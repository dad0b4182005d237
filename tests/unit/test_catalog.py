"""The catalog made in Python: what it keeps, what it refuses at once, and what its check finds."""

import math
import re
from collections.abc import Mapping
from collections.abc import Sequence as Items
from typing import Any

import pytest

from motet.agents.function import FunctionAgent, agent
from motet.agents.group import GroupAgent
from motet.aggregate import BUILTIN
from motet.catalog import Catalog, CatalogGroup, EngineSettings
from motet.errors import CatalogError
from motet.model.bounds import ProviderBounds
from motet.model.payload import Payload
from motet.model.plan import (
    Aggregation,
    Group,
    HedgePolicy,
    Idempotency,
    Limits,
    Member,
    Parallel,
    ReplicaOverride,
    RetryPolicy,
    Sequence,
)
from motet.ports import Aggregator, RuleBook


def echo(text: str) -> str:
    return text


class Exploding:
    """An aggregation of somebody's own that fails in its own way."""

    name = "exploding"
    description = ""
    options_schema: Mapping[str, Any] = {}
    decides_early = False

    def make(self, options: Mapping[str, Any], book: RuleBook, /) -> Aggregator:
        raise KeyError(*options)


def catalog_with(*groups: Group) -> Catalog:
    catalog = Catalog()
    catalog.agent(echo)
    for group in groups:
        catalog.add_group(group)
    return catalog


def problems(catalog: Catalog) -> list[tuple[str, str, str]]:
    with pytest.raises(CatalogError) as caught:
        catalog.check()
    assert all(problem.file == "" for problem in caught.value.problems)
    return [(problem.table, problem.key, problem.message) for problem in caught.value.problems]


def test_a_new_catalog_knows_the_built_in_aggregations_and_nothing_else() -> None:
    catalog = Catalog()
    catalog.check()
    assert dict(catalog.aggregations) == dict(BUILTIN)
    assert {"combine", "first", "majority"} <= set(BUILTIN)
    assert (dict(catalog.agents), dict(catalog.groups), dict(catalog.providers)) == ({}, {}, {})
    assert (catalog.limits, dict(catalog.tenants)) == (None, {})
    assert catalog.settings == EngineSettings(
        max_parallel=None, max_depth=8, max_members=1_000_000, stop_grace=10.0, retry_share=0.2, hedge_share=0.1
    )


def test_the_decorator_adds_the_function_and_leaves_it_callable() -> None:
    catalog = Catalog()

    @catalog.agent
    def shout(text: str) -> str:
        """Say it loud."""
        return text.upper()

    @catalog.agent(name="soft", timeout=3)
    def whisper(text: str) -> str:
        return text.lower()

    assert isinstance(shout, FunctionAgent)
    assert (shout("a"), whisper("A")) == ("A", "a")
    assert list(catalog.agents) == ["shout", "soft"]
    assert catalog.agents["shout"].info.description == "Say it loud."
    assert catalog.agents["soft"].info.timeout == 3


def test_the_decorator_takes_what_is_an_agent_already_as_it_is() -> None:
    catalog = Catalog()
    made = agent(name="loud")(echo)
    assert catalog.agent(made) is made
    with pytest.raises(ValueError, match="is an agent already"):
        Catalog().agent(made, timeout=1)


def test_the_views_follow_the_catalog_and_cannot_be_written() -> None:
    catalog = Catalog()
    agents = catalog.agents
    catalog.agent(echo)
    assert list(agents) == ["echo"]
    with pytest.raises(TypeError):
        agents["x"] = agents["echo"]  # type: ignore[index]


def test_a_group_is_kept_with_members_and_a_rule_however_it_was_given() -> None:
    catalog = Catalog()
    loud = FunctionAgent(echo, name="loud")
    kept = catalog.group("g", ["echo", Member("echo", "two"), loud], aggregation="first", description="Both")
    assert kept.members == (Member("echo"), Member("echo", "two"), Member(loud))
    assert kept.aggregation == Aggregation("first")
    assert catalog.groups == {"g": CatalogGroup(kept, "Both")}


def test_agents_and_groups_are_separate_name_spaces() -> None:
    catalog = Catalog()
    catalog.agent(echo, name="same")
    catalog.group("same", ["same"])
    catalog.check()
    assert (list(catalog.agents), list(catalog.groups)) == (["same"], ["same"])


def test_a_name_that_is_taken_is_refused_at_once_and_nothing_is_added() -> None:
    catalog = catalog_with(Group("g", ["echo"]))
    catalog.add_provider("p", 3)
    with pytest.raises(CatalogError, match=r"\[agents\.echo\]: there is already an agent"):
        catalog.add(FunctionAgent(echo, name="new"), FunctionAgent(echo))
    assert list(catalog.agents) == ["echo"]
    with pytest.raises(CatalogError, match="there is already an agent"):
        catalog.add(FunctionAgent(echo, name="new"), FunctionAgent(echo, name="new"))
    with pytest.raises(CatalogError, match="there is already a group"):
        catalog.group("g", ["echo"])
    with pytest.raises(CatalogError, match="there is already a provider"):
        catalog.add_provider("p")
    with pytest.raises(CatalogError, match="there is already an aggregation 'first'"):
        catalog.add_aggregation(catalog.aggregations["first"])
    assert catalog.providers == {"p": ProviderBounds(max_parallel=3)}


def test_what_is_no_agent_and_members_that_are_one_text_are_refused_at_once() -> None:
    with pytest.raises(CatalogError, match=re.escape("function is not an agent; wrap a function with catalog.agent")):
        Catalog().add(echo)  # type: ignore[arg-type]
    with pytest.raises(CatalogError, match=r"\[groups\.g\] members: is one text"):
        Catalog().group("g", "echo")


MEMBERS_PROBLEMS: list[tuple[Any, str, str]] = [
    (Member(3), "members[0]", "int is neither the name of an agent nor an agent"),  # type: ignore[arg-type]
    (Member("ehco"), "members[0]", "there is no agent 'ehco'; did you mean 'echo'?"),
    (Member("echo", weight=math.nan), "members[0].weight", "must be a finite number, 0 or more"),
    (Member("echo", timeout=-1), "members[0].timeout", "must be a finite number of seconds"),
    (Member("echo", replicas=0), "members[0].replicas", "must be 1 or more, not 0"),
    (Member("echo", replicas=1_000_001), "members[0].replicas", "must be 1000000 or less"),
    (Member("echo", retry=RetryPolicy(max_attempts=0)), "members[0].retry.max_attempts", "must be 1 or more, not 0"),
    (Member("echo", idempotency=Idempotency(ttl=-1)), "members[0].idempotency.ttl", "must be a finite number of sec"),
    (Member("echo", input="x"), "members[0].input", "must be a payload"),  # type: ignore[arg-type]
    (Member("echo", variables={"a": 1}), "members[0].variables.a", "must be a payload"),  # type: ignore[dict-item]
    (Member("echo", weight=0), "members", "the weights sum to 0"),
    (Member("echo", replicas=1, overrides=(ReplicaOverride(replica=1, weight=0),)), "members", "the weights sum to 0"),
    (
        Member("echo", replicas=2, overrides=(ReplicaOverride(replica=1), ReplicaOverride(replica=1))),
        "members[0].overrides[1].replica",
        "replica 1 has an override already",
    ),
    (
        Member("echo", replicas=2, overrides=(ReplicaOverride(replica=2, timeout=math.inf, weight=-1),)),
        "members[0].overrides[0].weight",
        "must be a finite number",
    ),
    (Member(FunctionAgent(echo, provider="gone")), "members[0].provider", "there is no provider 'gone'"),
]


@pytest.mark.parametrize(("member", "key", "message"), MEMBERS_PROBLEMS)
def test_a_wrong_member_is_named_by_its_place(member: Member, key: str, message: str) -> None:
    found = problems(catalog_with(Group("g", [member])))
    assert found[0][:2] == ("groups.g", key)
    assert found[0][2].startswith(message)


@pytest.mark.parametrize(
    ("group", "key", "message"),
    [
        (Group("a b", ["echo"]), "", "is not a name"),
        (Group("g", []), "members", "is empty"),
        (Group("g", ["echo"], timeout=math.inf), "timeout", "must be a finite number of seconds"),
        (Group("g", ["echo"], max_parallel=0), "max_parallel", "must be 1 or more"),
        (Group("g", ["echo"], max_parallel=1.5), "max_parallel", "must be a whole number"),  # type: ignore[arg-type]
        (Group("g", ["echo"], retry=RetryPolicy(jitter=2)), "retry.jitter", "must be a number from 0 to 1"),
        (Group("g", ["echo"], idempotency=Idempotency(key="k" * 257)), "idempotency.key", "has 257 characters"),
        (Group("g", ["echo"], hedge=HedgePolicy()), "hedge", "would never make a second attempt: none of the group's"),
        (Group("g", ["echo"], limits=Limits(max_tokens=-1)), "limits.max_tokens", "must be 0 or more"),
        (
            Group("g", ["echo"], limits=Limits(min_successes=2)),
            "limits.min_successes",
            "must be 1 or less, not 2: 1 mem",
        ),
        (Group("g", ["echo"], limits=Limits(max_depth=-1)), "limits.max_depth", "must be 0 or more"),
        (
            Group("g", ["echo", "echo"], limits=Limits(max_members=1)),
            "members",
            "2 members, replicas counted, are more",
        ),
        (Group("g", [Member("echo", replicas=1_000_000), "echo"]), "members", "1000001 members, replicas counted"),
        (Group("g", ["echo"], metadata={"a": object()}), "metadata", "must be JSON values"),
        (Group("g", ["echo"], aggregation="fist"), "aggregation", "there is no aggregation 'fist'; did you mean"),
        (Group("g", ["echo"], aggregation="zzz"), "aggregation", "there is no aggregation 'zzz'; known are "),
        (Group("g", ["echo"], aggregation=Aggregation("first", {"k": 1})), "aggregation", "first takes no options"),
        (Group("g", ["echo"], aggregation=Aggregation("first", {"k": {1}})), "aggregation", "must be JSON values"),
        (Group("g", [Member("echo", "x"), Member("echo", "x")]), "members[1].name", "x is the name of another member"),
    ],
)
def test_a_wrong_group_is_named_by_its_key(group: Group, key: str, message: str) -> None:
    [(table, found, said)] = problems(catalog_with(group))
    assert (table, found) == (f"groups.{group.name}", key)
    assert said.startswith(message)


def test_an_aggregation_that_raises_anything_at_all_is_a_mistake_of_the_group() -> None:
    catalog = catalog_with(Group("g", ["echo"], aggregation=Aggregation("exploding", {"k": 1})))
    catalog.add_aggregation(Exploding())
    said = "aggregation 'exploding' refused its options: KeyError: 'k'"
    assert problems(catalog) == [("groups.g", "aggregation", said)]


def test_settings_providers_and_agents_are_looked_at_too() -> None:
    catalog = Catalog(settings=EngineSettings(max_parallel=0, max_depth=-1, max_members=0, stop_grace=math.nan))
    catalog.add_provider("a b", 0)
    catalog.agent(echo, timeout=math.inf, provider="locl", labels={"a": 1})
    assert [(table, key) for table, key, _ in problems(catalog)] == [
        ("engine", "max_parallel"),
        ("engine", "max_depth"),
        ("engine", "max_members"),
        ("engine", "stop_grace"),
        ("providers.a b", ""),
        ("providers.a b", "max_parallel"),
        ("agents.echo", "timeout"),
        ("agents.echo", "provider"),
        ("agents.echo", "labels"),
    ]


def test_a_policy_that_changes_nothing_is_no_mistake() -> None:
    catalog_with(Group("g", [Member("echo", retry=RetryPolicy())], retry=RetryPolicy())).check()


def test_a_group_that_contains_itself_is_named_with_the_whole_cycle() -> None:
    catalog = catalog_with(Group("g", ["echo", "second"]), Group("h", ["first"]), Group("outside", ["first"]))
    catalog.add(GroupAgent("first", "g"), GroupAgent("second", "h"))
    [(table, key, said)] = problems(catalog)
    assert (table, key) == ("agents.first", "group")
    assert "agent 'first' -> group 'g' -> agent 'second' -> group 'h' -> agent 'first'" in said


def test_a_cycle_through_agents_and_plans_given_in_place_is_found() -> None:
    inner = GroupAgent("inner", Sequence([Parallel([Group("leaf", ["echo"]), Group("back", [GroupAgent("b", "g")])])]))
    [(table, key, said)] = problems(catalog_with(Group("g", [inner])))
    assert (table, key) == ("groups.g", "members")
    assert "group 'g' -> agent 'inner' -> group 'back' -> agent 'b' -> group 'g'" in said


def test_separate_cycles_are_separate_mistakes_and_a_diamond_is_none() -> None:
    catalog = catalog_with(
        Group("a", ["to_a"]), Group("b", ["to_b"]), Group("c", ["to_d", "to_d"]), Group("d", ["echo"])
    )
    catalog.add(*(GroupAgent(f"to_{name}", name) for name in "abd"))
    assert [table for table, _, _ in problems(catalog)] == ["agents.to_a", "agents.to_b"]


def test_a_chain_of_many_groups_is_walked_without_recursion() -> None:
    catalog = catalog_with(Group("g0", ["echo"]))
    for number in range(1, 3000):
        catalog.add(GroupAgent(f"a{number}", f"g{number - 1}"))
        catalog.group(f"g{number}", [f"a{number}"])
    catalog.check()
    assert len(catalog.groups) == 3000


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gone", "there is no group 'gone'"),
        (Sequence([]), "the plan has no group"),
        (Sequence([Group("a", ["echo"]), Group("a", ["echo"])]), "the plan has more than one group 'a'"),
    ],
)
def test_what_a_group_agent_runs_is_looked_at(target: Any, message: str) -> None:
    catalog = catalog_with()
    catalog.add(GroupAgent("panel", target))
    [(table, key, said)] = problems(catalog)
    assert (table, key) == ("agents.panel", "group")
    assert said.startswith(message)


def test_mistakes_inside_a_plan_are_named_by_group_and_member() -> None:
    members: Items[Member | str] = ["echo", Member("gone", variables={"a": Payload.of(1)})]
    catalog = catalog_with()
    catalog.add(GroupAgent("panel", Parallel([Group("deep", members)])))
    assert problems(catalog) == [("agents.panel", "group.deep.members[1]", "there is no agent 'gone'")]
