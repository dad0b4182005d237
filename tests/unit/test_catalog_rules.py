"""Rules and functions that a catalog made in Python adds: presets, functions as rules, agents and functions in options."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import motet
from motet.agents.function import FunctionAgent
from motet.catalog import Catalog
from motet.errors import CatalogError
from motet.model.outcome import Outcome
from motet.model.plan import Aggregation, Group, Member
from motet.testing.contracts_aggregator import BOOK


def echo(text: str) -> str:
    return text


async def judge(call: motet.Call) -> str:
    return "judged"


def shortest(outcomes: Sequence[Outcome]) -> str | None:
    """The shortest answer.

    Ties go to the first.
    """
    return min((o.output.text for o in outcomes if o.output is not None), key=len, default=None)


def catalog_with(*groups: Group) -> Catalog:
    catalog = Catalog()
    catalog.agent(echo)
    for group in groups:
        catalog.add_group(group)
    return catalog


def problems(catalog: Catalog) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        catalog.check()
    return [str(problem) for problem in caught.value.problems]


def texts(*texts: str) -> list[Member]:
    return [Member("echo", f"m{place}", motet.Payload.from_text(text)) for place, text in enumerate(texts)]


async def answer_of(catalog: Catalog, target: Group | str) -> Any:
    async with motet.open_engine(catalog) as engine:
        return (await engine.run(target, "x")).unwrap()


async def test_a_decorated_function_is_a_rule_that_groups_may_name() -> None:
    catalog = catalog_with(Group("g", texts("long one", "one"), "shortest"))
    assert catalog.aggregation(shortest) is shortest
    rule = catalog.aggregations["shortest"]
    assert (rule.description, rule.decides_early, rule.options_schema) == ("The shortest answer.", False, {})
    assert await answer_of(catalog, "g") == "one"


async def test_a_rule_may_be_async_and_have_a_name_and_description_of_its_own() -> None:
    catalog = catalog_with(Group("g", texts("a", "b"), "count"))

    @catalog.aggregation(name="count", description="How many.")
    async def number(outcomes: Sequence[Outcome]) -> int:
        return len(outcomes)

    assert catalog.aggregations["count"].description == "How many."
    assert await answer_of(catalog, "g") == 2


def test_a_rule_that_says_when_it_is_decided_decides_early() -> None:
    catalog = Catalog()
    catalog.aggregation(name="quick", decided=any)(shortest)
    assert catalog.aggregations["quick"].decides_early


def test_what_is_no_function_or_has_no_name_is_refused_at_once() -> None:
    catalog = Catalog()
    for register in (catalog.aggregation, catalog.function):
        with pytest.raises(CatalogError, match="int is not a function"):
            register(3)  # type: ignore[call-overload]  # as from untyped code
        with pytest.raises(CatalogError, match=r"'<lambda>' is not a name.*give name="):
            register(lambda value: value)
        with pytest.raises(CatalogError, match="'a b' is not a name"):
            register(name="a b")(echo)
    with pytest.raises(CatalogError, match="there is already an aggregation 'vote'"):
        catalog.aggregation(name="vote")(shortest)
    with pytest.raises(CatalogError, match=r"\[functions\.f\]: str is not a function"):
        catalog.add_function("f", "json:dumps")  # type: ignore[arg-type]


def test_functions_are_known_by_name_and_a_taken_name_is_refused() -> None:
    catalog = Catalog()
    assert catalog.function(echo) is echo
    catalog.function(name="size")(len)
    catalog.add_function("upper", str.upper)
    assert dict(catalog.functions) == {"echo": echo, "size": len, "upper": str.upper}
    with pytest.raises(CatalogError, match=r"\[functions\.size\]: there is already a function"):
        catalog.add_function("size", len)


async def test_a_preset_is_a_rule_with_its_options_under_a_name_of_its_own() -> None:
    catalog = catalog_with(Group("g", texts("a", "bcd", "efg"), "same_size"))
    catalog.add_preset("same_size", "vote", {"function": "size"})
    catalog.function(name="size")(len)
    preset, vote = catalog.aggregations["same_size"], catalog.aggregations["vote"]
    assert (preset.description, preset.decides_early, preset.options_schema) == (vote.description, True, {})
    assert (await answer_of(catalog, "g"))["answer"] == 3


def test_a_preset_of_a_preset_is_made_of_the_rule_at_its_end() -> None:
    catalog = catalog_with(Group("g", ["echo"], "outer"))
    catalog.add_preset("outer", "inner", {}, "Mine")
    catalog.add_preset("inner", "first", {})
    catalog.check()
    rules = catalog.aggregations
    assert (rules["outer"].description, rules["inner"].description) == ("Mine", rules["first"].description)
    assert rules["outer"].decides_early


def test_a_preset_with_wrong_options_is_one_mistake_of_its_own() -> None:
    catalog = catalog_with(Group("g", ["echo"], "strict"), Group("h", ["echo"], Aggregation("loose", {"k": 1})))
    catalog.add_preset("strict", "vote", {"minimum_share": 2})
    catalog.add_preset("loose", "vote", {})
    catalog.add_preset("gone", "vot", {})
    first, second, third = problems(catalog)
    assert first.startswith("[aggregations.strict] minimum_share: must be 1")
    assert second == "[aggregations.gone] rule: there is no aggregation 'vot'; did you mean 'vote'?"
    assert third == "[groups.h] aggregation: loose takes no options; remove k"


def test_a_preset_that_contains_itself_is_named_with_the_whole_ring() -> None:
    catalog = catalog_with(Group("g", ["echo"], "a"))
    for name, rule in (("a", "b"), ("b", "c"), ("c", "a")):
        catalog.add_preset(name, rule, {})
    catalog.add_preset("chained", "chain", {"steps": ["first", "chained"]})
    found = problems(catalog)
    assert [text.partition("]")[0] for text in found] == [
        f"[aggregations.{name}" for name in ("a", "b", "c", "chained")
    ]
    assert "a -> b -> c -> a" in found[0]
    assert "chained -> chained" in found[3]
    assert catalog.aggregations["a"].description == ""
    assert not catalog.aggregations["a"].decides_early


def test_a_preset_made_outside_its_catalog_names_the_rule_that_is_missing() -> None:
    catalog = Catalog()
    catalog.aggregation(shortest)
    catalog.add_preset("p", "shortest", {})
    with pytest.raises(ValueError, match="there is no aggregation 'shortest'"):
        catalog.aggregations["p"].make({}, BOOK)


def test_bad_options_are_named_with_group_and_option() -> None:
    group = Group("review", ["echo"], Aggregation("vote", {"minimum_share": 2, "expression": "1 +"}))
    [found] = problems(catalog_with(group))
    assert found.startswith("[groups.review] aggregation: minimum_share: must be 1")


def test_an_expression_that_does_not_compile_is_named_with_its_place() -> None:
    [found] = problems(catalog_with(Group("review", ["echo"], Aggregation("custom", {"expression": "total +"}))))
    assert found.startswith("[groups.review] aggregation: expression: ")
    assert "line 1" in found


def test_an_agent_that_options_name_must_be_in_the_catalog() -> None:
    options = {"agent": "ehco"}
    [found] = problems(catalog_with(Group("g", ["echo"], Aggregation("summarize", options))))
    assert found == "[groups.g] aggregation: there is no agent 'ehco'; did you mean 'echo'?"


async def test_options_in_python_may_hold_agents_and_functions() -> None:
    asked = Aggregation("summarize", {"agent": FunctionAgent(judge), "function": str.upper})
    catalog = catalog_with(Group("g", texts("a"), asked))
    catalog.add_preset("sized", "vote", {"function": len})
    assert await answer_of(catalog, "g") == "judged"
    inline = Group("sc", [Member("echo", replicas=3)], Aggregation("vote", {"function": len}))
    assert (await answer_of(catalog, inline))["answer"] == 1


def test_options_that_are_neither_json_nor_agents_nor_functions_are_mistakes() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for wrong in ({1}, endless, float("nan")):
        [found] = problems(catalog_with(Group("g", ["echo"], Aggregation("vote", {"abstain": wrong}))))
        assert found.startswith("[groups.g] aggregation: must be JSON values")


def test_an_agent_that_options_hold_is_looked_at_as_one_of_the_catalog() -> None:
    held = {"agent": FunctionAgent(echo, name="judge", provider="gone")}
    [found] = problems(catalog_with(Group("g", ["echo"], Aggregation("summarize", held))))
    assert found == "[groups.g] aggregation.provider: there is no provider 'gone'"


def test_a_group_that_would_ask_itself_is_a_mistake() -> None:
    by_name = catalog_with(Group("g", ["echo"], Aggregation("summarize", {"agent": "panel"})))
    by_name.add(motet.GroupAgent("panel", "g"))
    assert "it contains itself: agent 'panel' -> group 'g' -> agent 'panel'" in problems(by_name)[0]
    held = {"agent": motet.GroupAgent("held", "g")}
    [found] = problems(catalog_with(Group("g", ["echo"], Aggregation("summarize", held))))
    assert "group 'g' -> agent 'held' -> group 'g'" in found
    preset = catalog_with(Group("g", ["echo"], "outer"))
    preset.add_preset("outer", "inner", {})
    preset.add_preset("inner", "summarize", held)
    [found] = problems(preset)
    assert "group 'g' -> agent 'held' -> group 'g'" in found


def test_an_aggregation_of_somebody_s_own_that_breaks_in_agents_is_a_mistake() -> None:
    class Broken:
        name = "broken"
        description = ""
        decides_early = False
        options_schema: Mapping[str, Any] = {}

        def make(self, options: Any, book: Any, /) -> Any:
            return object()

    catalog = catalog_with(Group("g", ["echo"], "broken"))
    catalog.add_aggregation(Broken())
    assert problems(catalog)[0].startswith("[groups.g] aggregation: aggregation 'broken' refused its options: Attr")
