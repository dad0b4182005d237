"""Fixtures for the tests of MCP: servers on the other end of real pipes, and what tells of them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet.agents.mcp.server import McpServer

MakeServer = Callable[..., McpServer]


@pytest.fixture
def peer(tmp_path: Path) -> MakeServer:
    """Makes a server that keeps the rules; it writes its marks to `tmp_path`."""
    return lambda **options: McpServer("peer", command=_python("mcp_peer.py", str(tmp_path)), **options)


@pytest.fixture
def rude() -> MakeServer:
    """Makes a server that breaks them in the way that is named."""

    def make(how: str, **options: Any) -> McpServer:
        return McpServer("rude", command=_python("mcp_rude.py", how), **options)

    return make


def _python(file: str, *arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(file)), *arguments]
