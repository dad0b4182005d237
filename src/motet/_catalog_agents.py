"""From the table of an agent to the agent: one function for each kind. The only part of the catalog that knows how agents
are made; it imports an agent's module when a file asks for that kind."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from motet._catalog_build import WITH_VARIABLES, BuildError, filled, load_callable, misplaced, placed
from motet._catalog_check import suggestion
from motet._catalog_models import ModelTable, build_model
from motet._catalog_schema import (
    AgentTable,
    CommandTable,
    FunctionTable,
    GroupAgentTable,
    HttpTable,
    McpAgentTable,
    RemoteTable,
)
from motet.model.agent import AgentInfo, AgentKind
from motet.model.checks import card_problems
from motet.ports import Agent, Provider

if TYPE_CHECKING:
    from motet.agents.mcp.server import McpServer
    from motet.catalog import Catalog

AGENT_TABLES: Final[dict[str, type[AgentTable]]] = {
    "function": FunctionTable,
    "command": CommandTable,
    "http": HttpTable,
    "model": ModelTable,
    "mcp": McpAgentTable,
    "remote": RemoteTable,
    "group": GroupAgentTable,
}
_GUARDED: Final = ("replay_safe", "estimated_tokens", "rate", "weight", "breaker")


@dataclass(frozen=True, slots=True)
class Site:
    """Where agents are built: the catalog's folder, and the services that it names.

    In place of a service that cannot be used stands a sentence for the agent that names it, empty when it is not to blame.
    """

    catalog: "Catalog"
    folder: Path
    """References and files in tables are relative to it."""
    broken_providers: Collection[str] = ()
    broken_servers: Collection[str] = ()

    def provider(self, name: str) -> Provider | str:
        """What serves models under this name."""
        if name in self.catalog.model_providers:
            return self.catalog.model_providers[name]
        if name in self.catalog.providers:
            return f"provider {name!r} has no kind, so that no model can be asked; give it one in [providers.{name}]"
        known = self.catalog.model_providers
        return "" if name in self.broken_providers else f"there is no provider {name!r}{suggestion(name, known)}"

    def server(self, name: str) -> "McpServer | str":
        """The MCP server of this name."""
        found = self.catalog.mcp_servers.get(name)
        if found is not None:
            return found
        known = self.catalog.mcp_servers
        return "" if name in self.broken_servers else f"there is no MCP server {name!r}{suggestion(name, known)}"


def build_agent(name: str, table: AgentTable, site: Site) -> Agent:
    """The agent of a table. Raises BuildError."""
    given = table.given()
    del given["kind"]
    problems = list(misplaced(given))
    for key in sorted(WITH_VARIABLES & given.keys()):
        given[key] = filled(key, given[key], problems)
    for key in ("function", "parse"):
        if key in given:
            given[key] = load_callable(key, given[key], site.folder, problems)
    if "estimated_cost" in given:
        given["estimated_cost_nanos"] = given.pop("estimated_cost")
    problems += card_problems(AgentInfo(name=name, kind=AgentKind(table.kind), **_on_card(given)))
    if problems:
        raise BuildError(problems)
    try:
        return _BUILDERS[type(table)](name, given, site)
    except (ValueError, TypeError) as error:
        raise BuildError([placed(str(error), type(table))]) from error


def _on_card(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in _GUARDED if key in given}


def _function(name: str, given: dict[str, Any], _site: Site) -> Agent:
    from motet.agents.function import FunctionAgent  # noqa: PLC0415 - only when a file has such an agent

    fn = given.pop("function")
    if isinstance(fn, FunctionAgent):
        return FunctionAgent(fn.fn, name=name, **{**fn.options, **given})
    return FunctionAgent(fn, name=name, **given)


def _command(name: str, given: dict[str, Any], site: Site) -> Agent:
    from motet.agents.command import CommandAgent  # noqa: PLC0415 - only when a file has such an agent

    if "cwd" in given:
        given["cwd"] = str(site.folder / given["cwd"])
    return CommandAgent(name, **given)


def _http(name: str, given: dict[str, Any], _site: Site) -> Agent:
    from motet.agents.http import HttpAgent  # noqa: PLC0415 - only when a file has such an agent

    return HttpAgent(name, **given)


def _group(name: str, given: dict[str, Any], _site: Site) -> Agent:
    from motet.agents.group import GroupAgent  # noqa: PLC0415 - only when a file has such an agent

    return GroupAgent(name, given.pop("group"), **given)


def _model(name: str, given: dict[str, Any], site: Site) -> Agent:
    problems: list[tuple[str, str]] = []
    made = build_model(name, given, site.folder, site.provider, problems)
    if made is None:
        raise BuildError(problems)
    return made


def _mcp(name: str, given: dict[str, Any], site: Site) -> Agent:
    from motet.agents.mcp.agent import McpAgent  # noqa: PLC0415 - only when a file has such an agent

    server = site.server(given.pop("server"))
    if isinstance(server, str):
        raise BuildError([("server", server)] if server else [])
    return McpAgent(name, server, given.pop("tool"), **given)


def _remote(name: str, given: dict[str, Any], _site: Site) -> Agent:
    from motet.agents.remote import RemoteAgent  # noqa: PLC0415 - only when a file has such an agent

    return RemoteAgent(name, **given)


_BUILDERS: Final[Mapping[type[AgentTable], Callable[[str, dict[str, Any], Site], Agent]]] = {
    FunctionTable: _function,
    CommandTable: _command,
    HttpTable: _http,
    ModelTable: _model,
    McpAgentTable: _mcp,
    RemoteTable: _remote,
    GroupAgentTable: _group,
}
