"""What model agents of a catalog file refer to: tools, agents that they hand to, guardrails. Found by name once all tables are
read, so that they may stand in any order. Must not know how an agent is built."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from motet._catalog_check import suggestion
from motet._catalog_models import GuardrailTable, ModelTable, ToolTable
from motet._reference import BadReference, is_reference, load_reference
from motet.agents.model.agent import ModelAgent
from motet.agents.model.as_tool import as_tool
from motet.agents.model.guardrails import AgentGuardrail, Guardrail
from motet.agents.model.tool import Tool, ToolSource
from motet.agents.model.tool_function import tool
from motet.agents.model.tool_of import tools_of
from motet.ports import Agent, Call

if TYPE_CHECKING:
    from motet.catalog import Catalog

_TARGETS: Final = ("agent", "group", "function", "mcp")
_Problems = list[tuple[str, str]]


class _Mistake(Exception):
    """What a reference says is wrong; empty when it is not the reference's fault."""


@dataclass(frozen=True, slots=True)
class SomeTools:
    """Some tools of an MCP server, by the server's names."""

    server: Any
    names: frozenset[str]

    @property
    def settings(self) -> object:
        """What the answers of the tools depend on, beside their arguments."""
        return {**self.server.settings, "tools": sorted(self.names)}

    async def tools(self, call: Call, /) -> Sequence[Tool]:
        offered: Sequence[Tool] = await self.server.tools(call)
        return [each for each in offered if getattr(each.agent, "tool", None) in self.names]


@dataclass(frozen=True, slots=True)
class References:
    """The names that model agents may refer to."""

    catalog: "Catalog"
    folder: Path
    broken_agents: Collection[str] = ()
    broken_groups: Collection[str] = ()
    broken_servers: Collection[str] = ()

    def add_to(self, agent: ModelAgent, table: ModelTable) -> _Problems:
        """Give the agent what its table refers to; returns what is wrong, as (key, message)."""
        problems: _Problems = []
        if agent.info.name in table.handoffs:
            problems.append(("handoffs", "it hands to itself; take it out"))
        agent.tools = self._tools(table, problems)
        agent.input_guardrails = self._guardrails("input_guardrails", table.input_guardrails, problems)
        agent.output_guardrails = self._guardrails("output_guardrails", table.output_guardrails, problems)
        targets = self._each("handoffs", table.handoffs, self._handoff, problems)
        if not problems:
            try:
                agent.add_handoffs(*targets)
            except ValueError as error:
                problems.append(("handoffs", str(error).removeprefix("handoffs: ")))
        return problems

    def _each(self, key: str, entries: Sequence[Any], find: Callable[[Any], Any], problems: _Problems) -> list[Any]:
        found = []
        for at, entry in enumerate(entries):
            try:
                found.append(find(entry))
            except _Mistake as mistake:
                if str(mistake):
                    problems.append((f"{key}[{at}]", str(mistake)))
            except (ValueError, TypeError) as error:
                problems.append((f"{key}[{at}]", str(error).removeprefix("tools[0]: ")))
        return found

    # ---------------------------------------------------------------------------------------------------------- tools

    def _tools(self, table: ModelTable, problems: _Problems) -> tuple[Tool | ToolSource, ...]:
        before = len(problems)
        found = self._each("tools", table.tools, self._tool, problems)
        if len(problems) > before or len(found) < len(table.tools):
            return ()
        try:
            return tools_of(found)
        except (ValueError, TypeError) as error:
            problems.append(("tools", str(error)))
            return ()

    def _tool(self, entry: str | ToolTable) -> Tool | ToolSource:
        said = entry if isinstance(entry, ToolTable) else ToolTable.model_validate({self._sort(entry): entry})
        target = _only(_TARGETS, said)
        if said.tools is not None and target != "mcp":
            raise _Mistake("tools are chosen of an MCP server only; give mcp, or take tools out")
        if target == "mcp":
            return self._of_server(said)
        if target == "function":
            return self._of_function(said)
        if target == "agent":
            return as_tool(self._agent(said.agent), **_options(said))
        if said.group not in self.catalog.groups:
            raise self._unknown("group", said.group, self.catalog.groups, self.broken_groups)
        options = _options(said)
        options.setdefault("description", self.catalog.groups[said.group].description)
        return as_tool(said.group, **options)

    def _sort(self, name: str) -> str:
        """Whether a text names an agent, a group or a function."""
        known = [
            sort for sort, names in (("agent", self.catalog.agents), ("group", self.catalog.groups)) if name in names
        ]
        if len(known) > 1:
            raise _Mistake(
                f'there is an agent and a group {name!r}; write {{ agent = "{name}" }} or {{ group = "{name}" }}'
            )
        if known:
            return known[0]
        if is_reference(name):
            return "function"
        if name in self.catalog.mcp_servers:
            raise _Mistake(f'is an MCP server; write {{ mcp = "{name}" }}')
        near = suggestion(name, [*self.catalog.agents, *self.catalog.groups])
        if name in self.broken_agents or name in self.broken_groups:
            raise _Mistake
        raise _Mistake(f"there is no agent or group {name!r}{near}")

    def _of_function(self, said: ToolTable) -> Tool | ToolSource:
        thing = _loaded(said.function, self.folder)
        options = _options(said)
        if "input_schema" in options:
            raise _Mistake("a function's parameters are its own; take input_schema out")
        if not options:
            (made,) = tools_of([thing])
            return made
        if isinstance(thing, Tool):
            spec = {key: options[key] for key in ("name", "description") if key in options}
            own = {"timeout": options["timeout"]} if "timeout" in options else {}
            return replace(thing, spec=replace(thing.spec, **spec), **own)
        return as_tool(thing, **options) if isinstance(thing, Agent) else tool(thing, **options)

    def _of_server(self, said: ToolTable) -> ToolSource:
        server = self.catalog.mcp_servers.get(said.mcp)
        if server is None:
            raise self._unknown("MCP server", said.mcp, self.catalog.mcp_servers, self.broken_servers)
        if _options(said):
            raise _Mistake("the server names and describes its tools; give mcp and tools, and nothing else")
        return server if said.tools is None else SomeTools(server, frozenset(said.tools))

    # --------------------------------------------------------------------------------------------------------- others

    def _agent(self, name: str) -> Agent:
        found = self.catalog.agents.get(name)
        if found is None:
            raise self._unknown("agent", name, self.catalog.agents, self.broken_agents)
        return found

    def _handoff(self, name: str) -> ModelAgent:
        found = self._agent(name)
        if not isinstance(found, ModelAgent):
            raise _Mistake(f"agent {name!r} is a {found.info.kind} agent; only model agents can be handed to")
        return found

    def _guardrails(
        self, key: str, entries: Sequence[str | GuardrailTable], problems: _Problems
    ) -> tuple[Guardrail, ...]:
        return tuple(self._each(key, entries, self._guardrail, problems))

    def _guardrail(self, entry: str | GuardrailTable) -> Guardrail:
        if isinstance(entry, str):
            is_function = entry not in self.catalog.agents and is_reference(entry)
            entry = GuardrailTable(function=entry) if is_function else GuardrailTable(agent=entry)
        given = entry.given()
        if _only(("agent", "function"), entry) == "agent":
            if entry.thread:
                raise _Mistake("an agent needs no thread; take thread out")
            return AgentGuardrail(self._agent(given.pop("agent")), **given)
        found = _loaded(given.pop("function"), self.folder)
        if isinstance(found, Guardrail):
            if given:
                raise _Mistake("is a guardrail already; give it its options where it is made")
            return found
        return Guardrail(found, **given)

    def _unknown(self, sort: str, name: str, known: Collection[str], broken: Collection[str]) -> _Mistake:
        return _Mistake("" if name in broken else f"there is no {sort} {name!r}{suggestion(name, known)}")


def _only(keys: Sequence[str], said: ToolTable | GuardrailTable) -> str:
    given = [key for key in keys if getattr(said, key)]
    if len(given) != 1:
        raise _Mistake(f"give one of {', '.join(keys)}" + (f", not {' and '.join(given)}" if given else ""))
    return given[0]


def _options(said: ToolTable) -> dict[str, Any]:
    given = said.given()
    return {key: given[key] for key in ("name", "description", "timeout", "input_schema") if key in given}


def _loaded(text: str, folder: Path) -> Any:
    try:
        return load_reference(text, folder)
    except BadReference as error:
        raise _Mistake(str(error)) from None
