"""Model agents and providers of a catalog file: they give what Python gives, and every mistake has its place."""

from pathlib import Path
from typing import Any

import pytest

import motet
from motet.agents.model.agent import ModelAgent
from motet.agents.model.choice import ModelChoice
from motet.agents.model.guardrails import AgentGuardrail
from motet.agents.model.instructions import Template
from motet.agents.model.tool import Tool
from motet.catalog import Catalog
from motet.errors import CatalogError
from motet.model.chat import Role, Sampling
from motet.model.plan import Limits, RetryPolicy

CODE = '''
from pydantic import BaseModel

class Receipt(BaseModel):
    total: float

def look(city: str) -> str:
    """Look a city up."""
    return f"{city}: 21 degrees"

def by_turn(state):
    return f"turn {state.turn}"

def no_digits(text, state):
    return "digits" if any(letter.isdigit() for letter in text) else None

number = 3
'''
SCRIPT = """
[[reply]]
when_result = "21 degrees"
text = "It is warm."

[[reply]]
when_user = "weather"
tool = "look"
arguments = { city = "Rome" }

[[reply]]
when_user = "pass me on"
when_instructions = "front"
tool = "transfer_to_back"

[[reply]]
when_user = "ask the panel"
times = 1
tool = "panel"
arguments = { input = "what do you say?" }

[[reply]]
text = "hello"
"""
P = '[providers.p]\nkind = "scripted"\nscript = "s.toml"\n'
M = P + '[agents.m]\nkind = "model"\nprovider = "p"\nmodel = "x"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "models_code.py").write_text(CODE)
    (tmp_path / "s.toml").write_text(SCRIPT)
    return tmp_path


def load(folder: Path, text: str) -> Catalog:
    (folder / "c.toml").write_text(text)
    return Catalog.load(folder / "c.toml")


def mistakes(folder: Path, text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(CatalogError) as caught:
        load(folder, text)
    return [(problem.table, problem.key, problem.message) for problem in caught.value.problems]


def model(catalog: Catalog, name: str = "m") -> Any:
    agent = catalog.agents[name]
    assert isinstance(agent, ModelAgent)
    return agent


async def ask(catalog: Catalog, agent: str, text: str) -> motet.Outcome:
    async with motet.open_engine(catalog) as engine:
        return (await engine.run(motet.Group("g", [agent]), text))["g"].outcomes[0]


def test_a_model_agent_of_a_file_has_what_its_table_says(folder: Path) -> None:
    catalog = load(
        folder,
        M
        + """
description = "Tells the weather"
instructions = "Be brief."
tools = ["models_code.py:look"]
output_type = "models_code.py:Receipt"
max_turns = 4
temperature = 0.2
top_p = 0.9
max_output_tokens = 300
stop = ["END"]
seed = 7
tool_choice = "auto"
extra = { logit = 1 }
fallbacks = [{ provider = "q", model = "y" }, { provider = "p", model = "z", temperature = 0 }]
limits = { max_cost = 0.5, max_calls = 9 }
retry = { max_attempts = 2 }
turn_timeout = "30s"
tool_timeout = 5
max_parallel_tools = 2
stream = false
history = "all"
timeout = "1m"
max_parallel = 4
version = "2"
labels = { team = "red" }
replay_safe = true

[providers.q]
kind = "scripted"
script = "s.toml"
""",
    )
    agent, providers = model(catalog), catalog.model_providers
    expected = ModelAgent(
        "m",
        description="Tells the weather",
        instructions="Be brief.",
        provider=providers["p"],
        model="x",
        tools=agent.tools,
        output_type=agent.output,
        max_turns=4,
        sampling=Sampling(temperature=0.2, top_p=0.9, max_output_tokens=300, stop=("END",), seed=7, tool_choice="auto", extra={"logit": 1}),
        fallbacks=[ModelChoice(providers["q"], "y"), ModelChoice(providers["p"], "z", Sampling(temperature=0))],
        limits=Limits(max_cost_nanos=500_000_000, max_calls=9),
        retry=RetryPolicy(max_attempts=2),
        turn_timeout=30,
        tool_timeout=5,
        max_parallel_tools=2,
        stream=False,
        history="all",
        timeout=60,
        max_parallel=4,
        version="2",
        labels={"team": "red"},
        replay_safe=True,
    )  # fmt: skip
    made, wanted = dict(vars(agent)), dict(vars(expected))
    assert made == wanted
    assert [tool.spec.name for tool in agent.tools] == ["look"]
    assert agent.output.name == "Receipt"


def test_without_options_a_model_agent_is_what_python_makes_without_options(folder: Path) -> None:
    catalog = load(folder, '[agents.m]\nkind = "model"\n')
    assert vars(model(catalog)) == vars(ModelAgent("m"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('instructions = "a {{ b }}"', "a {{ b }}"),
        ('instructions_file = "i.txt"', "literal {{ b }}"),
        ('instructions_template = "a {{ b }}"', Template("a {{ b }}")),
        ('instructions_file = "i.j2"', Template("from {{ a }}")),
    ],
)
def test_instructions_are_literal_unless_a_template_is_asked_for(folder: Path, said: str, expected: object) -> None:
    (folder / "i.txt").write_text("literal {{ b }}")
    (folder / "i.j2").write_text("from {{ a }}")
    made = model(load(folder, M + said)).instructions
    assert type(made) is type(expected)
    assert getattr(made, "text", made) == getattr(expected, "text", expected)


def test_instructions_may_be_a_function_and_an_output_schema_a_table_or_a_file(folder: Path) -> None:
    (folder / "o.json").write_text('{"type": "object", "title": "out"}')
    function = model(load(folder, M + 'instructions_function = "models_code.py:by_turn"\noutput_schema = "o.json"'))
    assert function.instructions.__name__ == "by_turn"
    assert function.output.name == "out"
    table = model(load(folder, M + 'output_schema = { type = "object", properties = { n = { type = "integer" } } }'))
    assert table.output.schema["properties"] == {"n": {"type": "integer"}}


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


def test_tools_may_be_agents_groups_functions_and_tables_in_any_order(folder: Path) -> None:
    catalog = load(
        folder,
        M
        + """
tools = [
  "shout",
  "panel",
  "worker",
  "models_code.py:look",
  { agent = "shout", name = "loud", description = "Louder", timeout = "3s" },
  { group = "panel", name = "ask", input_schema = { type = "object", properties = { q = { type = "string" } } } },
  { function = "models_code.py:look", name = "look_up", timeout = 2 },
]
"""
        + ALL,
    )
    tools = model(catalog).tools
    assert [(tool.spec.name, tool.spec.description) for tool in tools] == [
        ("shout", "Says it loud"),
        ("panel", "Several looks"),
        ("worker", ""),
        ("look", "Look a city up."),
        ("loud", "Louder"),
        ("ask", "Several looks"),
        ("look_up", "Look a city up."),
    ]
    assert all(isinstance(tool, Tool) for tool in tools)
    assert (tools[4].timeout, tools[6].timeout) == (3.0, 2.0)
    assert "q" in tools[5].spec.parameters["properties"]


def test_handoffs_may_be_cyclic(folder: Path) -> None:
    other = '[agents.n]\nkind = "model"\nprovider = "p"\nmodel = "x"\nhandoffs = ["m"]\n'
    catalog = load(folder, M + 'handoffs = ["n"]\n' + other)
    assert model(catalog, "m").handoffs == {"transfer_to_n": model(catalog, "n")}
    assert model(catalog, "n").handoffs == {"transfer_to_m": model(catalog, "m")}


def test_guardrails_are_functions_and_agents(folder: Path) -> None:
    text = (
        'input_guardrails = ["models_code.py:no_digits", "shout", { agent = "worker", timeout = 2, name = "judge" }]\n'
        'output_guardrails = [{ function = "models_code.py:no_digits", timeout = 1, thread = true }]\n'
    )
    agent = model(load(folder, M + text + ALL))
    assert [guardrail.name for guardrail in agent.input_guardrails] == ["no_digits", "shout", "judge"]
    assert [isinstance(guardrail, AgentGuardrail) for guardrail in agent.input_guardrails] == [False, True, True]
    assert (agent.output_guardrails[0].timeout, agent.output_guardrails[0].thread) == (1.0, True)


async def test_a_loaded_agent_calls_its_tools_and_hands_over(folder: Path) -> None:
    back = '[agents.back]\nkind = "model"\nprovider = "p"\nmodel = "x"\ninstructions = "back"\n'
    catalog = load(folder, M + 'instructions = "front"\ntools = ["models_code.py:look"]\nhandoffs = ["back"]\n' + back)
    assert (await ask(catalog, "m", "the weather?")).output == motet.Payload.from_text("It is warm.")
    outcome = await ask(catalog, "m", "pass me on")
    assert outcome.output == motet.Payload.from_text("hello")
    assert (outcome.metadata or {})["agent"] == "back"
    assert catalog.model_providers["p"].closed > 0  # type: ignore[attr-defined]  # it is scripted


async def test_a_group_as_a_tool_may_run_the_agent_again_until_the_depth_is_used_up(folder: Path) -> None:
    text = M + 'tools = ["panel"]\n[groups.panel]\nmembers = ["m"]\n'
    (folder / "s.toml").write_text(
        '[[reply]]\nwhen_result = "."\ntext = "enough"\n[[reply]]\ntool = "panel"\narguments = { input = "again" }\n'
    )
    catalog = load(folder, "[engine]\nmax_depth = 2\n" + text)
    outcome = await ask(catalog, "m", "go")
    assert outcome.output == motet.Payload.from_text("enough")
    asked = catalog.model_providers["p"].requests  # type: ignore[attr-defined]  # it is scripted
    assert any(
        "DEPTH" in message.text for request in asked for message in request.messages if message.role is Role.TOOL
    )


def test_the_example_of_the_reference_page_loads(folder: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "catalog.md").read_text()
    (example,) = [block for block in page.split("```") if block.startswith("toml") and 'kind = "model"' in block]
    (folder / "orders.py").write_text('def find_order(number: int) -> str:\n    """Finds an order."""\n    return ""\n')
    (folder / "complaints.j2").write_text("You settle complaints.")
    catalog = load(folder, example.removeprefix("toml\n"))
    assert [tool.spec.name for tool in model(catalog, "front").tools] == ["find_order", "panel", "count_words"]
    assert isinstance(model(catalog, "complaints").instructions, Template)


async def test_the_bounds_of_a_provider_hold_for_all_agents_that_ask_it(folder: Path) -> None:
    agents = "".join(f'[agents.a{at}]\nkind = "model"\nprovider = "p"\nmodel = "x"\n' for at in range(4))
    (folder / "s.toml").write_text('[[reply]]\ntext = "hello"\ndelay = 0.01\n')
    catalog = load(folder, P + "max_parallel = 2\n" + agents)
    async with motet.open_engine(catalog) as engine:
        result = await engine.run(motet.Group("g", [f"a{at}" for at in range(4)]), "go")
    assert all(outcome.succeeded for outcome in result["g"].outcomes)
    assert catalog.model_providers["p"].peak == 2  # type: ignore[attr-defined]  # it is scripted
