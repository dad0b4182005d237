"""MCP servers of a catalog file: as tools of model agents and as agents, with a real server on the other end of a pipe."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import motet
from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.server import McpServer
from motet.catalog import Catalog
from motet.errors import CatalogError

PEER = Path(__file__).parent / "agents" / "mcp" / "mcp_peer.py"
SERVER = '[mcp.files]\ncommand = ["files-server"]\n'
SCRIPT = """
[[reply]]
when_result = "HELLO"
text = "it says HELLO"

[[reply]]
tool = "shout"
arguments = { text = "hello" }
"""


def load(folder: Path, text: str) -> Catalog:
    (folder / "c.toml").write_text(text)
    (folder / "s.toml").write_text(SCRIPT)
    return Catalog.load(folder / "c.toml")


def test_a_server_has_what_its_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILES_TOKEN", "t0ken")
    catalog = load(
        tmp_path,
        """
[mcp.files]
command = ["files-server", "--all"]
env = { TOKEN = "${env:FILES_TOKEN}" }
inherit_env = ["LOCALE"]
cwd = "work"
tools = ["read", "list"]
prefix = "files_"
start_timeout = "5s"
call_timeout = "1m"
max_parallel = 2
restart = false
restart_backoff = 1

[mcp.web]
url = "http://127.0.0.1:9/mcp"
headers = { Authorization = "Bearer ${env:FILES_TOKEN}" }
""",
    )
    options: dict[str, Any] = {
        "command": ["files-server", "--all"],
        "env": {"TOKEN": "t0ken"},
        "inherit_env": ["LOCALE"],
        "cwd": tmp_path / "work",
        "tools": ["read", "list"],
        "prefix": "files_",
        "start_timeout": 5.0,
        "call_timeout": 60.0,
        "max_parallel": 2,
        "restart": False,
        "restart_backoff": 1.0,
    }
    web = McpServer("web", url="http://127.0.0.1:9/mcp", headers={"authorization": "Bearer t0ken"})
    for name, expected in (("files", McpServer("files", **options)), ("web", web)):
        made, wanted = vars(catalog.mcp_servers[name]), vars(expected)
        assert {key: made[key] for key in made if key != "_state"} == {
            key: wanted[key] for key in made if key != "_state"
        }


def test_an_agent_is_one_tool_of_a_server(tmp_path: Path) -> None:
    catalog = load(
        tmp_path,
        SERVER
        + """
[providers.disk]
max_parallel = 1

[agents.read]
kind = "mcp"
server = "files"
tool = "read"
input_schema = { type = "object" }
description = "Reads a file"
provider = "disk"
timeout = 3
estimated_cost = 0
replay_safe = true
""",
    )
    agent: Any = catalog.agents["read"]
    expected = McpAgent(
        "read",
        catalog.mcp_servers["files"],
        "read",
        input_schema={"type": "object"},
        description="Reads a file",
        provider="disk",
        timeout=3,
        estimated_cost_nanos=0,
        replay_safe=True,
    )
    assert vars(agent) == vars(expected)


async def test_a_model_calls_a_tool_of_a_server_and_an_agent_is_one(tmp_path: Path) -> None:
    command = json.dumps([sys.executable, str(PEER), str(tmp_path)])
    catalog = load(
        tmp_path,
        f"[mcp.peer]\ncommand = {command}\n"
        """
[providers.p]
kind = "scripted"
script = "s.toml"

[agents.m]
kind = "model"
provider = "p"
model = "x"
tools = [{ mcp = "peer", tools = ["shout"] }]

[agents.all]
kind = "model"
provider = "p"
model = "x"
tools = [{ mcp = "peer" }]

[agents.shout]
kind = "mcp"
server = "peer"
tool = "shout"
""",
    )
    async with motet.open_engine(catalog) as engine:
        result = await engine.run(motet.Group("g", ["m", "all"]), "go")
        assert [outcome.output for outcome in result["g"].outcomes] == [motet.Payload.from_text("it says HELLO")] * 2
        alone = await engine.run(motet.Group("g", ["shout"]), {"text": "hi"})
        assert alone["g"]["shout"].output == motet.Payload.from_text("HI")
    provider: Any = catalog.model_providers["p"]
    offered = [sorted(tool.name for tool in request.tools) for request in provider.requests]
    assert ["shout"] in offered
    assert any(len(names) > 3 for names in offered)


@pytest.mark.parametrize(
    ("text", "table", "key", "message"),
    [
        ("[mcp.files]", "mcp.files", "command", "give either command, to start a program, or url, to reach a server"),
        ("[mcp]\nfiles = 3", "mcp.files", "", "must be a table"),
        ('[mcp."a b"]\ncommand = ["x"]', "mcp.a b", "", "is not a name; use letters"),
        ("[mcp.files]\ncommand = []", "mcp.files", "command", "must be a list, the program first and then its arguments"),
        ('[mcp.files]\ncommand = "x"', "mcp.files", "command", "must be a list"),
        ('[mcp.files]\nurl = "h"', "mcp.files", "url", "must be absolute and begin with http:// or https://"),
        ('[mcp.files]\nurl = "http://h/"\nenv = { A = "b" }', "mcp.files", "env", "env, inherit_env and cwd belong to a program"),
        ('[mcp.files]\ncommand = ["x"]\nheaders = { a = "b" }', "mcp.files", "headers", "belong to a url; a program gets none"),
        (SERVER + "start_timeout = 0", "mcp.files", "start_timeout", "must be a number of seconds above 0"),
        (SERVER + 'tools = "read"', "mcp.files", "tools", "must be a list"),
        (SERVER + 'prefix = "a b"', "mcp.files", "prefix", "use letters, digits, _ and -"),
        (SERVER + 'env = { A = "${env:MOTET_UNSET}" }', "mcp.files", "env.A", "the environment variable MOTET_UNSET is not set"),
        (SERVER + 'cmd = "x"', "mcp.files", "cmd", "is not a known key; did you mean 'cwd'?"),
        (SERVER + '[agents.a]\nkind = "mcp"\nserver = "file"\ntool = "x"', "agents.a", "server", "there is no MCP server 'file'; did you mean 'files'?"),
        (SERVER + '[agents.a]\nkind = "mcp"\nserver = "files"', "agents.a", "tool", "is missing"),
        (SERVER + '[agents.a]\nkind = "mcp"\nserver = "files"\ntool = ""', "agents.a", "tool", "must name a tool of the server"),
        (SERVER + '[agents.a]\nkind = "mcp"\nserver = "files"\ntool = "x"\nprovider = "p"', "agents.a", "provider", "there is no provider 'p'"),
        (SERVER + '[agents.a]\nkind = "model"\ntools = ["files"]', "agents.a", "tools[0]", 'is an MCP server; write { mcp = "files" }'),
        (SERVER + '[agents.a]\nkind = "model"\ntools = [{ mcp = "files", name = "x" }]', "agents.a", "tools[0]", "the server names and describes its tools"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_table_and_key(tmp_path: Path, text: str, table: str, key: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text)
    (problem,) = caught.value.problems
    assert (problem.table, problem.key) == (table, key)
    assert problem.message.startswith(message)


def test_what_refers_to_a_broken_server_is_not_blamed(tmp_path: Path) -> None:
    text = (
        '[mcp.files]\n[agents.a]\nkind = "mcp"\nserver = "files"\ntool = "x"\n'
        '[agents.b]\nkind = "model"\ntools = [{ mcp = "files" }, "a"]\n'
    )
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text)
    assert [problem.table for problem in caught.value.problems] == ["mcp.files"]


def test_a_server_of_python_is_added_once() -> None:
    catalog = Catalog()
    server = McpServer("files", command=["files-server"])
    catalog.add_mcp_server(server)
    assert catalog.mcp_servers == {"files": server}
    with pytest.raises(CatalogError, match="there is already an MCP server of this name"):
        catalog.add_mcp_server(server)
