"""Each mistake that the table of a model agent can hold, with the key and the sentence it gets; and agents that ask themselves."""

from pathlib import Path
from typing import Any

import pytest

from motet.agents.model.agent import ModelAgent
from motet.agents.model.as_tool import as_tool
from motet.catalog import Catalog
from motet.errors import CatalogError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.ports import Call

CODE = """
def look(city: str) -> str:
    return city

number = 3
"""
P = '[providers.p]\nkind = "scripted"\nscript = "s.toml"\n'
M = P + '[agents.m]\nkind = "model"\nprovider = "p"\nmodel = "x"\n'
ALL = """
[agents.shout]
kind = "command"
argv = ["tr", "a-z", "A-Z"]
description = "Says it loud"

[agents.worker]
kind = "model"
provider = "p"
model = "x"

[groups.panel]
description = "Several looks"
members = ["worker"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "models_code.py").write_text(CODE)
    (tmp_path / "s.toml").write_text('[[reply]]\ntext = "hello"\n')
    return tmp_path


def load(folder: Path, text: str) -> Catalog:
    (folder / "c.toml").write_text(text)
    return Catalog.load(folder / "c.toml")


def mistakes(folder: Path, text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(CatalogError) as caught:
        load(folder, text)
    return [(problem.table, problem.key, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ('provider = "q"\nmodel = "x"', "provider", "there is no provider 'q'"),
        ('provider = "bare"\nmodel = "x"', "provider", "provider 'bare' has no kind, so that no model can be asked; give it one in [providers.bare]"),
        ('provider = "p"', "model", "is missing; name the model that the provider is to answer with"),
        ('fallbacks = [{ provider = "pp", model = "x" }]', "fallbacks[0].provider", "there is no provider 'pp'; did you mean 'p'?"),
        ('fallbacks = [{ provider = "p", model = "" }]', "fallbacks[0].model", "must not be empty"),
        ('fallbacks = [{ provider = "p" }]', "fallbacks[0].model", "is missing"),
        ("estimated_cost = 1", "estimated_cost", "is not a known key"),
        ("max_turns = 0", "max_turns", "must be 1 or more"),
        ("temperature = -1", "temperature", "must be 0 or more"),
        ("temperature = nan", "temperature", "must be a finite number"),
        ("top_p = 1.5", "top_p", "must be 1 or less"),
        ("presence_penalty = inf", "presence_penalty", "must be a finite number"),
        ('history = "some"', "history", "must be 'own', 'all' or 'none'"),
        ("limits = { min_successes = 1 }", "limits.min_successes", "is for groups; a model agent is told of tools that failed, and goes on"),
        ("limits = { max_calls = -1 }", "limits.max_calls", "must be 0 or more, not -1"),
        ("retry = { max_attempts = 0 }", "retry.max_attempts", "must be 1 or more, not 0"),
        ("weight = 0", "weight", "must be a finite number above 0"),
        ('instructions = "a"\ninstructions_file = "b"', "instructions_file", "give either instructions or instructions_file, not both"),
        ('instructions_file = "b"', "instructions_file", "{folder}/b cannot be read: No such file or directory"),
        ('instructions_function = "models_code.py:number"', "instructions_function", "'models_code.py:number' names a int; it must name a function"),
        ('output_schema = "gone.json"', "output_schema", "{folder}/gone.json cannot be read: No such file or directory"),
        ("output_schema = 3", "output_schema", "must be a JSON Schema as a table, or the name of a file that holds one"),
        ('output_type = "models_code.py:number"\noutput_schema = {}', "output_type", "give either output_schema or output_type, not both"),
        ('tools = "look"', "tools", "must be a list"),
        ("tools = [3]", "tools[0]", "must be the name of an agent or group, an import string, or a table"),
        ('tools = ["shot"]', "tools[0]", "there is no agent or group 'shot'; did you mean 'shout'?"),
        ('tools = [{ agent = "shot" }]', "tools[0]", "there is no agent 'shot'; did you mean 'shout'?"),
        ('tools = [{ group = "panl" }]', "tools[0]", "there is no group 'panl'; did you mean 'panel'?"),
        ('tools = [{ grop = "panel" }]', "tools[0].grop", "is not a known key; did you mean 'group'?"),
        ("tools = [{}]", "tools[0]", "give one of agent, group, function, mcp"),
        ('tools = [{ agent = "shout", group = "panel" }]', "tools[0]", "give one of agent, group, function, mcp, not agent and group"),
        ('tools = ["models_code.py:lok"]', "tools[0]", "models_code.py has no attribute 'lok'; did you mean 'look'?"),
        ('tools = ["models_code.py:number"]', "tools[0]", "int cannot be a tool; give a function, an agent, a group, a plan, a Tool or a source of tools"),
        ('tools = ["shout", { group = "panel", name = "shout" }]', "tools", "tools[0] and tools[1] are both named 'shout'; give one another name, name=..."),
        ('tools = [{ agent = "shout", name = "no name" }]', "tools[0]", "'no name' cannot name a tool; give name= of at most 64 letters, digits, '_' and '-', not starting with '-'"),
        ('tools = [{ agent = "shout", tools = ["x"] }]', "tools[0]", "tools are chosen of an MCP server only; give mcp, or take tools out"),
        ('tools = [{ mcp = "files" }]', "tools[0]", "there is no MCP server 'files'"),
        ('handoffs = ["worke"]', "handoffs[0]", "there is no agent 'worke'; did you mean 'worker'?"),
        ('handoffs = ["shout"]', "handoffs[0]", "agent 'shout' is a command agent; only model agents can be handed to"),
        ('handoffs = ["m"]', "handoffs", "it hands to itself; take it out"),
        ('handoffs = ["worker", "worker"]', "handoffs", "'worker' and 'worker' would both be transfer_to_worker; rename one"),
        ('input_guardrails = ["gard"]', "input_guardrails[0]", "there is no agent 'gard'"),
        ('input_guardrails = ["models_code.py:number"]', "input_guardrails[0]", "a guardrail is made of a function, not of int"),
        ('output_guardrails = [{ agent = "shout", thread = true }]', "output_guardrails[0]", "an agent needs no thread; take thread out"),
        ('instructions = "${env:HOME}"', "instructions", "${env:NAME} is replaced in headers and env only; write the value itself here"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_model_agent_is_named_by_key(folder: Path, text: str, key: str, message: str) -> None:
    found = mistakes(folder, P + "[providers.bare]\nmax_parallel = 2\n[agents.m]\nkind = 'model'\n" + text + "\n" + ALL)
    assert len(found) == 1
    table, at, said = found[0]
    assert (table, at) == ("agents.m", key)
    assert said.startswith(message.replace("{folder}", str(folder)))


def test_a_template_with_a_mistake_names_its_line(folder: Path) -> None:
    found = mistakes(folder, M + 'instructions_template = "{% if %}"')
    assert [(table, key) for table, key, _ in found] == [("agents.m", "instructions_template")]
    assert "line 1" in found[0][2]


def test_what_refers_to_a_broken_table_is_not_blamed(folder: Path) -> None:
    text = (
        '[providers.p]\nkind = "scripted"\n'
        '[agents.m]\nkind = "model"\nprovider = "p"\nmodel = "x"\ntools = ["n", "bad"]\n'
        '[agents.n]\nkind = "model"\ntools = ["m", "bad", "panel"]\nhandoffs = ["m"]\n'
        '[agents.bad]\nkind = "command"\nargv = []\n'
        "[groups.panel]\n"
    )
    assert [(table, key) for table, key, _ in mistakes(folder, text)] == [
        ("providers.p", "script"),
        ("agents.bad", "argv"),
        ("groups.panel", "members"),
    ]


def test_a_group_agent_that_is_a_tool_is_blamed_once(folder: Path) -> None:
    text = M + 'tools = ["g"]\n[agents.g]\nkind = "group"\ngroup = "gone"\n'
    assert mistakes(folder, text) == [("agents.g", "group", "there is no group 'gone'")]


def test_a_name_of_an_agent_and_a_group_has_to_be_told_apart(folder: Path) -> None:
    both = ALL.replace("groups.panel", "groups.worker")
    assert mistakes(folder, M + 'tools = ["worker"]\n' + both) == [
        (
            "agents.m",
            "tools[0]",
            'there is an agent and a group \'worker\'; write { agent = "worker" } or { group = "worker" }',
        )
    ]
    agent: Any = load(folder, M + 'tools = [{ group = "worker" }]\n' + both).agents["m"]
    assert agent.tools[0].agent.target == "worker"


def test_agents_that_are_tools_of_each_other_are_refused_with_the_whole_circle(folder: Path) -> None:
    text = (
        M
        + 'tools = ["n"]\n[agents.n]\nkind = "model"\nhandoffs = ["o"]\n[agents.o]\nkind = "model"\ninput_guardrails = ["m"]\n'
    )
    ((table, key, message),) = mistakes(folder, text)
    assert (table, key) == ("agents.m", "tools")
    assert "it would ask itself: agent 'm' -> agent 'n' -> agent 'o' -> agent 'm'" in message


def test_a_circle_made_in_python_is_found_too() -> None:
    worker = ModelAgent("worker")
    boss = ModelAgent("boss", tools=[worker])
    worker.add_handoffs(boss)
    catalog = Catalog()
    catalog.add(boss, worker)
    with pytest.raises(CatalogError, match="agent 'boss' -> agent 'worker' -> agent 'boss'"):
        catalog.check()


def test_a_group_tool_of_python_must_be_in_the_catalog() -> None:
    catalog = Catalog()
    catalog.add(ModelAgent("m", tools=[as_tool("panl")]))
    with pytest.raises(CatalogError, match=r"\[agents.m\] tools\[0\].group: there is no group 'panl'"):
        catalog.check()


def test_an_agent_of_the_authors_own_may_call_anything_tools() -> None:
    class Own:
        info = AgentInfo(name="own", kind=AgentKind.MODEL)
        handoffs = 3

        def tools(self) -> None: ...

        async def call(self, call: Call, /) -> Reply:
            return Reply(call.input)

    catalog = Catalog()
    catalog.add(Own())
    catalog.check()
