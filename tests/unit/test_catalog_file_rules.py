"""Functions, aggregations and costs in a catalog file: they give what Python gives, and each mistake is named."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import motet
from motet._catalog_file import load_tables
from motet.catalog import Catalog
from motet.errors import CatalogError
from motet.model.plan import Aggregation, Member

RULES = '''
def size(value):
    return len(value)

def shortest(outcomes):
    """The shortest answer."""
    return min((o.output.text for o in outcomes if o.succeeded), key=len, default=None)

async def number(outcomes):
    return len(outcomes)

def echo(text: str) -> str:
    return text

number_of = 3
'''

CATALOG = """
[functions.size]
function = "file_rules.py:size"
[aggregations.shortest]
function = "file_rules.py:shortest"
[aggregations.number]
function = "file_rules.py:number"
description = "How many."
[aggregations.sized]
rule = "vote"
function = "size"
minimum_share = 0.5
normalise = { numbers = true }
description = "By size."
[agents.echo]
kind = "function"
function = "file_rules.py:echo"
estimated_cost = "0.0021"
[groups.sc]
members = { agent = "echo", replicas = 5 }
aggregation = "sized"
[groups.nested]
members = ["echo"]
aggregation = { name = "vote", field = "", early_stop = false, normalise = { numbers = true } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "file_rules.py").write_text(RULES)
    yield tmp_path
    sys.modules.pop("file_rules", None)


def load(folder: Path, text: str) -> Catalog:
    path = folder / "catalog.toml"
    path.write_text(text)
    return Catalog.load(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(folder, text)
    return [str(problem).removeprefix(f"{folder}/catalog.toml: ") for problem in caught.value.problems]


async def test_rules_and_functions_of_a_file_serve_groups(folder: Path) -> None:
    catalog = load(folder, CATALOG)
    assert list(catalog.functions) == ["size"]
    described = {name: catalog.aggregations[name].description for name in ("shortest", "number", "sized")}
    assert described == {"shortest": "The shortest answer.", "number": "How many.", "sized": "By size."}
    async with motet.open_engine(catalog) as engine:
        assert (await engine.run("sc", "four")).unwrap()["answer"] == 4
        for rule, answer in (("shortest", "four"), ("number", 1)):
            assert (await engine.run(motet.Group("g", ["echo"], rule), "four")).unwrap() == answer


def test_one_member_table_needs_no_list(folder: Path) -> None:
    assert load(folder, CATALOG).groups["sc"].group.members == (Member("echo", replicas=5),)


def test_options_may_be_tables(folder: Path) -> None:
    rule = load(folder, CATALOG).groups["nested"].group.rule
    assert rule == Aggregation("vote", {"field": "", "normalise": {"numbers": True}}, early_stop=False)


@pytest.mark.parametrize(
    ("written", "nanos"),
    [
        ("0", 0),
        ("0.0021", 2_100_000),
        ('"0.0021"', 2_100_000),
        ("1e-9", 1),
        ('"0.100000000"', 100_000_000),
        ('"12.345678901"', 12_345_678_901),
        ("3", 3_000_000_000),
    ],
)
@pytest.mark.parametrize(
    "kind",
    [
        'kind = "function"\nfunction = "json:dumps"',
        'kind = "command"\nargv = ["true"]',
        'kind = "http"\nurl = "http://127.0.0.1/"',
        'kind = "group"\ngroup = "g"',
    ],
)
def test_a_cost_in_dollars_becomes_exact_billionths_on_every_kind_of_agent(
    kind: str, written: str, nanos: int, folder: Path
) -> None:
    catalog = load(folder, f'[agents.a]\n{kind}\nestimated_cost = {written}\n[groups.g]\nmembers = ["b"]\n[agents.b]\n'
                           'kind = "command"\nargv = ["true"]')  # fmt: skip
    assert catalog.agents["a"].info.estimated_cost_nanos == nanos
    assert catalog.agents["b"].info.estimated_cost_nanos is None


AGENT = '[agents.ok]\nkind = "command"\nargv = ["true"]\n'
GROUP = AGENT + '[groups.g]\nmembers = ["ok"]\n'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[functions.f]", "[functions.f] function: is missing"),
        ("functions = 1", "[functions]: must be a table of tables: write [functions.NAME]"),
        ('[functions.f]\nfunction = "file_rules.py:szie"', "[functions.f] function: file_rules.py has no attribute 'szie'; did you mean 'size'?"),
        ('[functions.f]\nfunction = "file_rules.py:number_of"', "[functions.f] function: 'file_rules.py:number_of' names a int; it must name a function"),
        ('[functions."a b"]\nfunction = "json:dumps"', "[functions.a b]: is not a name; use letters, digits, _ . : and -, at most 128, not starting with . : or -"),
        ("[aggregations.a]", "[aggregations.a] function: is missing; give function or rule"),
        ("[aggregations.a]\nfunction = 1", "[aggregations.a] function: must be text"),
        ("[aggregations.a]\nrule = 1", "[aggregations.a] rule: must be text"),
        ("[aggregations]\na = 1", "[aggregations.a]: must be a table"),
        ('[aggregations.a]\nfunction = "gone.py:x"', "[aggregations.a] function: there is no file 'gone.py' in "),
        ('[aggregations.a]\nfunction = "json:dumps"\nfield = "/a"', "[aggregations.a] field: is an option, and there is no rule to take it; give rule, or take it out"),
        ('[aggregations.first]\nrule = "vote"', "[aggregations.first]: there is a built-in aggregation 'first'; take another name"),
        ('[aggregations."a b"]\nrule = "vote"', "[aggregations.a b]: is not a name; use letters, digits, _ . : and -, at most 128, not starting with . : or -"),
        ('[aggregations.a]\nrule = "vot"', "[aggregations.a] rule: there is no aggregation 'vot'; did you mean 'vote'?"),
        ('[aggregations.a]\nrule = "vote"\nminimum_share = 2', "[aggregations.a] minimum_share: must be 1"),
        ('[aggregations.a]\nrule = "vote"\nnormalise = { cas = true }', "[aggregations.a] normalise.cas: is not an option"),
        ('[aggregations.a]\nrule = "vote"\nfield = "a"', "[aggregations.a] field: "),
        ('[aggregations.a]\nrule = "vote"\nfunction = "size"', "[aggregations.a] function: "),
        ('[aggregations.a]\nrule = "custom"\nexpression = "total +"', "[aggregations.a] expression: "),
        ('[aggregations.a]\nrule = "summarize"\nagent = "x"', "[aggregations.a]: there is no agent 'x'"),
        (GROUP + 'aggregation = { name = "vote", minimum_share = 2 }', "[groups.g] aggregation: minimum_share: must be 1"),
        (GROUP + 'aggregation = { name = "custom", expression = "outcome.size()" }', "[groups.g] aggregation: expression: "),
        (GROUP + 'aggregation = { name = "summarize", agent = "k" }', "[groups.g] aggregation: there is no agent 'k'; did you mean 'ok'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_rule_is_named_by_table_and_key(text: str, found: str, folder: Path) -> None:
    [mistake] = mistakes(folder, text)
    assert mistake.startswith(found)


def test_what_refers_to_a_rule_or_function_that_is_wrong_itself_is_not_blamed(folder: Path) -> None:
    tables = (
        '[functions.f]\nfunction = "gone.py:f"\n[aggregations.a]\nfunction = "gone.py:a"\n'
        '[aggregations.b]\nrule = "vote"\nfunction = "f"\n[aggregations.c]\nrule = "a"\n'
        + GROUP
        + 'aggregation = { name = "a", k = 1 }\n[groups.h]\nmembers = ["ok"]\naggregation = "b"\n'
    )
    assert [text.partition("]")[0] for text in mistakes(folder, tables)] == ["[functions.f", "[aggregations.a"]
    whole = {"aggregations": 3, "agents": {"ok": {"kind": "command", "argv": ["true"]}}}
    with pytest.raises(CatalogError) as caught:
        load_tables({**whole, "groups": {"g": {"members": ["ok"], "aggregation": "mine"}}})
    assert len(caught.value.problems) == 1


def test_presets_that_contain_each_other_are_mistakes(folder: Path) -> None:
    found = mistakes(folder, '[aggregations.a]\nrule = "b"\n[aggregations.b]\nrule = "a"\n')
    assert ["a -> b -> a" in found[0], "b -> a -> b" in found[1]] == [True, True]


def test_an_agent_that_a_broken_table_would_make_may_be_named_by_options(folder: Path) -> None:
    tables = GROUP + 'aggregation = { name = "summarize", agent = "bad" }\n[agents.bad]\nkind = "command"\n'
    assert mistakes(folder, tables) == ["[agents.bad] argv: is missing"]


def test_the_rules_of_the_reference_page_load_and_its_example_agrees(folder: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "catalog.md").read_text()
    blocks = page.split("```")
    toml = next(block for block in blocks if block.startswith("toml\n[functions.total]"))
    python = next(block for block in blocks if block.startswith("python\ndef reader("))
    (folder / "rules.py").write_text(python.removeprefix("python\n"))
    catalog = load(folder, toml.removeprefix("toml\n"))
    assert catalog.aggregations["shortest"].description == "The shortest answer."
    assert catalog.agents["reader"].info.estimated_cost_nanos == 2_100_000
    assert catalog.groups["totals"].group.members == (Member("reader", replicas=3),)
    sys.modules.pop("rules", None)
