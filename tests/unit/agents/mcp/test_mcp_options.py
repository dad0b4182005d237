"""Wrong options are refused where a server is made, by name; `mcp` is not imported for that."""

import subprocess
import sys
from typing import Any

import pytest

from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.server import McpServer

PROGRAM = {"command": ["x"]}
WEB = {"url": "http://127.0.0.1/mcp"}


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({}, "command"),
        ({**PROGRAM, **WEB}, "command"),
        ({"command": "npx server"}, "command"),
        ({"command": []}, "command"),
        ({"command": ["x", "\0"]}, "command"),
        ({**PROGRAM, "env": {"A=B": "c"}}, "env"),
        ({**PROGRAM, "headers": {"a": "b"}}, "headers"),
        ({**WEB, "env": {}}, "env"),
        ({"url": "ftp://x"}, "url"),
        ({**WEB, "headers": {"a": "b\n"}}, "headers"),
        ({**PROGRAM, "tools": "all"}, "tools"),
        ({**PROGRAM, "prefix": "a b"}, "prefix"),
        ({**PROGRAM, "prefix": "a" * 64}, "prefix"),
        ({**PROGRAM, "start_timeout": 0}, "start_timeout"),
        ({**PROGRAM, "restart_backoff": float("inf")}, "restart_backoff"),
        ({**PROGRAM, "max_parallel": 0}, "max_parallel"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], option: str) -> None:
    with pytest.raises(ValueError, match=f"^{option}: "):
        McpServer("s", **options)


def test_a_server_has_a_name_and_an_agent_a_tool() -> None:
    with pytest.raises(ValueError, match=r"^name: "):
        McpServer("", command=["x"])
    with pytest.raises(ValueError, match=r"^tool: "):
        McpAgent("a", McpServer("s", command=["x"]), "")


def test_settings_tell_servers_apart_and_keep_secrets() -> None:
    agents = [
        McpAgent("a", McpServer("s", command=["x"], env=env), tool)
        for env, tool in [({"KEY": "1"}, "t"), ({"KEY": "2"}, "t"), ({"KEY": "1"}, "u")]
    ]
    settings = [repr(agent.settings) for agent in agents]
    assert len(set(settings)) == 3
    assert "KEY" not in settings[0]


def test_a_server_is_made_without_importing_mcp() -> None:
    code = "import sys; import motet.agents.mcp.server; sys.exit('mcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
