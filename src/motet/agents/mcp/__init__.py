"""Tools of MCP servers. The library `mcp`, slow to import, is imported when the first session starts."""

from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.server import McpServer

__all__ = ["McpAgent", "McpServer"]
