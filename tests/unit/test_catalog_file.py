"""Catalog files: they give what Python gives, and name every mistake with file, table and key."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from motet._catalog_agents import AGENT_TABLES
from motet._catalog_bounds import (
    BreakerTable,
    HedgeTable,
    IdempotencyTable,
    LimitsTable,
    ProviderTable,
    QuotaTable,
    RateTable,
    RetryTable,
    TenantTable,
)
from motet._catalog_models import FallbackTable, GuardrailTable, ToolTable
from motet._catalog_schema import (
    EngineTable,
    GroupTable,
    MemberTable,
    NamedFunctionTable,
    OverrideTable,
    RuleTable,
)
from motet._catalog_services import PROVIDER_TABLES, McpTable, PriceTable, SessionsTable
from motet.agents.command import CommandAgent
from motet.agents.function import FunctionAgent
from motet.agents.group import GroupAgent
from motet.agents.http import HttpAgent
from motet.catalog import Catalog, EngineSettings
from motet.errors import CatalogError
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Limits, Member, ReplicaOverride

if TYPE_CHECKING:
    from motet._catalog_values import Table

AGENTS = '''
from motet.agents.function import agent
from motet.catalog import Catalog

def shout(text: str) -> str:
    """Say it loud."""
    return text.upper()

@agent(name="other", version="7", timeout=9, isolation="process", description="From Python")
def whisper(text: str) -> str:
    return text.lower()

def ruff(result): return []

number = 3
catalog = Catalog()
catalog.add(whisper)
wrong = Catalog()
wrong.group("g", ["nobody"])
'''

CATALOG = """
[engine]
max_parallel = 64
stop_grace = "2s"
[providers.local]
max_parallel = 4
[providers.free]
[agents.ruff]
kind = "command"
argv = ["ruff", "check", "{input}"]
input = "argument"
output = "json"
parse = "file_agents.py:ruff"
ok_exit_codes = [0, 1]
timeout = "1m"
provider = "local"
env = { TOKEN = "${env:MOTET_TEST_TOKEN}" }
cwd = "sub"
[agents.shout]
kind = "function"
function = "file_agents.py:shout"
labels = { team = "a" }
[agents.echo]
kind = "http"
url = "http://127.0.0.1:9/echo"
headers = { authorization = "Bearer ${env:MOTET_TEST_TOKEN}" }
replay_safe = true
[agents.panel]
kind = "group"
group = "review"
description = "All of them"
[groups.review]
description = "Looks at one tree"
timeout = 120
max_parallel = 4
limits = { max_members = 10, max_depth = 2 }
aggregation = { name = "majority", early_stop = false }
[[groups.review.members]]
agent = "ruff"
[[groups.review.members]]
agent = "shout"
name = "loud"
timeout = "2s"
weight = 2
replicas = 3
input = "hey"
variables = { a = 1, b = "x" }
overrides = [{ replica = 1, input_json = [1], weight = 0, variables = { a = 2 } }]
[[groups.review.members]]
agent = "echo"
input_json = { q = 0.5 }
[groups.review.metadata]
owner = "x"
[groups.plain]
members = ["shout"]
aggregation = "first"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MOTET_TEST_TOKEN", "s3cret")
    (tmp_path / "file_agents.py").write_text(AGENTS)
    yield tmp_path
    sys.modules.pop("file_agents", None)


def load(folder: Path, text: str) -> Catalog:
    path = folder / "catalog.toml"
    path.write_text(text)
    return Catalog.load(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(folder, text)
    assert {problem.file for problem in caught.value.problems} == {str(folder / "catalog.toml")}
    return [f"[{problem.table}] {problem.key}: {problem.message}" for problem in caught.value.problems]


def twin(module: ModuleType) -> Catalog:
    catalog = Catalog(settings=EngineSettings(max_parallel=64, stop_grace=2.0))
    catalog.add_provider("local", 4)
    catalog.add_provider("free")
    command = CommandAgent("ruff", ["ruff", "check", "{input}"], input="argument", timeout=60, provider="local")
    catalog.add(command, FunctionAgent(module.shout, labels={"team": "a"}))
    catalog.add(HttpAgent("echo", "http://127.0.0.1:9/echo", replay_safe=True))
    catalog.add(GroupAgent("panel", "review", description="All of them"))
    a = {"a": Payload.of(1), "b": Payload.of("x")}
    override = ReplicaOverride(replica=1, input=Payload.of([1]), weight=0, variables={"a": Payload.of(2)})
    loud = Member("shout", "loud", Payload.of("hey"), a, 2, 2.0, 3, (override,))
    members: list[Member | str] = ["ruff", loud, Member("echo", input=Payload.of({"q": 0.5}))]
    catalog.group(
        "review",
        members,
        aggregation=Aggregation("majority", early_stop=False),
        timeout=120,
        max_parallel=4,
        limits=Limits(max_members=10, max_depth=2),
        metadata={"owner": "x"},
        description="Looks at one tree",
    )
    catalog.group("plain", ["shout"], aggregation="first")
    return catalog


def test_a_file_and_python_give_the_same_catalog(folder: Path) -> None:
    loaded = load(folder, CATALOG)
    made = twin(sys.modules["file_agents"])
    made.check()
    assert loaded.settings == made.settings
    assert loaded.providers == made.providers
    assert loaded.groups == made.groups
    assert {name: agent.info for name, agent in loaded.agents.items()} == {n: a.info for n, a in made.agents.items()}
    assert [type(agent) for agent in loaded.agents.values()] == [type(agent) for agent in made.agents.values()]


def test_an_empty_file_is_an_empty_catalog(folder: Path) -> None:
    catalog = load(folder, "")
    assert not catalog.agents
    assert not catalog.groups
    assert catalog.settings == EngineSettings()


def test_a_function_agent_keeps_its_own_settings_under_the_tables_name(folder: Path) -> None:
    tables = '[agents.quiet]\nkind = "function"\nfunction = "file_agents.py:whisper"\ntimeout = 3\n'
    info = load(folder, tables).agents["quiet"].info
    assert (info.name, info.version, info.timeout, info.description) == ("quiet", "7", 3, "From Python")
    assert mistakes(folder, tables + 'stop_grace = 1\ncpu_seconds = 1\nisolation = "thread"\n') == [
        "[agents.quiet] cpu_seconds: needs isolation='process': a thread cannot be bounded"
    ]


def test_an_import_string_names_a_catalog_made_in_python(folder: Path) -> None:
    assert list(Catalog.load(f"{folder}/file_agents.py:catalog").agents) == ["other"]


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (":number", "names a int; it must name a motet.Catalog"),
        (":nothing", "has no attribute 'nothing'"),
        ("", "is Python; name the catalog in it, such as"),
        (":wrong", "there is no agent 'nobody'"),
    ],
)
def test_an_import_string_of_anything_else_is_one_mistake(attribute: str, message: str, folder: Path) -> None:
    with pytest.raises(CatalogError, match=message) as caught:
        Catalog.load(f"{folder}/file_agents.py{attribute}")
    assert [problem.file for problem in caught.value.problems] == [f"{folder}/file_agents.py{attribute}"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"a = [", r"is not TOML: .*at (line 1, column|end of document)"),
        (b"\n\nx = = 1", r"is not TOML: .*line 3, column 5"),
        (b"a = '\xff'", "is not UTF-8, at byte 5"),
        (b"a = " + b"[" * 50_000, "is nested too deep"),
        (b"a = " + b"1" * 5_000, "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_mistake(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CatalogError, match=message) as caught:
        Catalog.load(path)
    assert [(problem.file, problem.table) for problem in caught.value.problems] == [(str(path), "")]


def test_a_folder_or_a_path_that_no_system_takes_is_one_mistake(tmp_path: Path) -> None:
    for path in (str(tmp_path), "a\0b", "x" * 5000):
        with pytest.raises(CatalogError) as caught:
            Catalog.load(path)
        assert len(caught.value.problems) == 1


def test_all_mistakes_come_in_one_pass_in_the_order_of_the_tables(folder: Path) -> None:
    tables = """
    agent = 1
    [engine]
    max_depth = -1
    [providers.p]
    max_paralel = 1
    [agents.a]
    kind = "command"
    [agents.b]
    kind = "function"
    function = "file_agents.py:shuot"
    [agents.c]
    kind = "http"
    url = "http://127.0.0.1/"
    provider = "p"
    [groups.g]
    members = ["a", "b", "c", "d"]
    timeout = -1
    """
    assert mistakes(folder, tables) == [
        "[] agent: is not a known key; did you mean 'agents'?",
        "[engine] max_depth: must be 0 or more, not -1",
        "[providers.p] max_paralel: is not a known key; did you mean 'max_parallel'?",
        "[agents.a] argv: is missing",
        "[agents.b] function: file_agents.py has no attribute 'shuot'; did you mean 'shout'?",
        "[groups.g] timeout: must be a finite number of seconds, 0 or more; leave it out to have no bound",
        "[groups.g] members[3]: there is no agent 'd'",
    ]


def test_a_section_that_is_no_table_blames_nothing_that_refers_to_it(folder: Path) -> None:
    tables = 'agents = 1\nproviders = []\n[groups.g]\nmembers = ["a"]\n'
    assert mistakes(folder, tables) == [
        "[providers] : must be a table of tables: write [providers.NAME]",
        "[agents] : must be a table of tables: write [agents.NAME]",
    ]


def test_the_reference_page_has_every_key_and_its_example_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "catalog.md").read_text()
    tables: list[type[Table]] = [
        EngineTable,
        LimitsTable,
        ProviderTable,
        RateTable,
        BreakerTable,
        TenantTable,
        QuotaTable,
        *AGENT_TABLES.values(),
        GroupTable,
        MemberTable,
        OverrideTable,
        RetryTable,
        HedgeTable,
        IdempotencyTable,
        NamedFunctionTable,
        RuleTable,
        *PROVIDER_TABLES.values(),
        PriceTable,
        McpTable,
        SessionsTable,
        ToolTable,
        GuardrailTable,
        FallbackTable,
    ]
    keys = {key for table in tables for key in table.model_fields}
    assert not {key for key in keys if f"`{key}`" not in page}
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("ECHO_TOKEN", "t")
    blocks = page.split("```")
    (tmp_path / "agents.py").write_text(blocks[3].removeprefix("python\n"))
    catalog = load(tmp_path, blocks[1].removeprefix("toml\n"))
    assert list(catalog.agents) == ["count", "shout", "echo", "panel"]
    assert [member.name for member in catalog.groups["review"].group.seats] == ["", "loud", ""]
