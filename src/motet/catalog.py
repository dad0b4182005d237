"""The agents, groups, aggregations and bounds that a server or program knows by name. Made in Python, or loaded from a
TOML file: both give the same objects. Must not know the engine, nor how any agent works."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from motet._catalog_check import BAD_NAME, find_problems
from motet._catalog_rules import Preset
from motet.engine.seats import NAME
from motet.errors import CatalogError, CatalogProblem
from motet.model.bounds import ProviderBounds, TenantBounds
from motet.model.outcome import Outcome
from motet.model.plan import Group, Limits
from motet.model.rate import Breaker, Rate
from motet.model.session import SessionSettings
from motet.ports import Agent, AggregatorType, Provider

if TYPE_CHECKING:
    from motet.agents.function import FunctionAgent
    from motet.agents.mcp.server import McpServer
    from motet.model.plan import Member, Named

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class CatalogGroup:
    """A group that a catalog knows."""

    group: Group
    """Its members are `Member` objects and its aggregation is an `Aggregation`, whatever it was given with."""
    description: str = ""
    """For people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Bounds of the engine that serves a catalog: the `[engine]` table."""

    max_parallel: int | None = None
    """Most members that run at once, over all runs; None means no bound."""
    max_depth: int = 8
    """Deepest nesting of runs; 0 means that members may not run groups."""
    max_members: int = 1_000_000
    """Most members in one run, replicas counted."""
    stop_grace: float = 10.0
    """Seconds that a cancelled member has to stop before it is reported as DETACHED."""
    retry_share: float = 0.2
    """Retries that each first call of an agent earns it, beside the few that it begins with: an outage must not be
    amplified. 0 to 100."""
    hedge_share: float = 0.1
    """Hedges that each first call of an agent earns it, beside the few that it begins with. 0 to 100."""


class Catalog:
    """What is known by name. Agents and groups are separate name spaces.

    Adding refuses a name that is taken; everything else is looked at by `check`, which an engine calls when it opens,
    so that things may be added in any order.
    """

    def __init__(
        self,
        *,
        settings: EngineSettings | None = None,
        limits: Limits | None = None,
        sessions: SessionSettings | None = None,
    ) -> None:
        from motet.aggregate import BUILTIN  # noqa: PLC0415 - `import motet` stays quick

        self.settings = settings or EngineSettings()
        self.limits = limits
        """Of every run; requests, groups and tenants can only tighten them. None is no bound."""
        self.sessions = sessions or SessionSettings()
        self._agents: dict[str, Agent] = {}
        self._groups: dict[str, CatalogGroup] = {}
        self._aggregations: dict[str, AggregatorType] = dict(BUILTIN)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._providers: dict[str, ProviderBounds] = {}
        self._model_providers: dict[str, Provider] = {}
        self._mcp_servers: dict[str, McpServer] = {}
        self._tenants: dict[str, TenantBounds] = {}

    @property
    def agents(self) -> Mapping[str, Agent]:
        """By name, in the order in which they were added. A live view."""
        return MappingProxyType(self._agents)

    @property
    def groups(self) -> Mapping[str, CatalogGroup]:
        """By name, in the order in which they were added. A live view."""
        return MappingProxyType(self._groups)

    @property
    def aggregations(self) -> Mapping[str, AggregatorType]:
        """By name, the built-in ones first. A live view."""
        return MappingProxyType(self._aggregations)

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Python functions that the options of aggregations may name. A live view."""
        return MappingProxyType(self._functions)

    @property
    def providers(self) -> Mapping[str, ProviderBounds]:
        """What all agents of a provider share, by its name. A live view."""
        return MappingProxyType(self._providers)

    @property
    def model_providers(self) -> Mapping[str, Provider]:
        """The providers that serve models, by name: for model agents that are made in Python. A live view."""
        return MappingProxyType(self._model_providers)

    @property
    def mcp_servers(self) -> "Mapping[str, McpServer]":
        """Servers of tools, by name. A live view."""
        return MappingProxyType(self._mcp_servers)

    @property
    def tenants(self) -> Mapping[str, TenantBounds]:
        """What a tenant may use, by its name; under `*` the bounds of each that has none of its own. A live view."""
        return MappingProxyType(self._tenants)

    def add(self, *agents: Agent) -> None:
        """Add agents under their own names. Raises CatalogError, and adds none of them, when a name is taken."""
        fresh: dict[str, Agent] = {}
        for agent in agents:
            info = getattr(agent, "info", None)
            if info is None:
                raise _error("", "", f"{type(agent).__name__} is not an agent; wrap a function with catalog.agent")
            if info.name in self._agents or info.name in fresh:
                raise _error(f"agents.{info.name}", "", "there is already an agent of this name")
            fresh[info.name] = agent
        self._agents.update(fresh)

    @overload
    def agent(self, fn: Callable[P, R], /, **options: Any) -> "FunctionAgent[P, R]": ...
    @overload
    def agent(self, fn: None = None, /, **options: Any) -> "Callable[[Callable[P, R]], FunctionAgent[P, R]]": ...
    def agent(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Make a function an agent of the catalog: `@catalog.agent`, or `@catalog.agent(name=..., ...)`.

        Takes the options of FunctionAgent and returns the FunctionAgent, which can still be called as the function; one
        that is an agent already is added as it is. Raises ValueError for a wrong option, CatalogError for a taken name.
        """
        if fn is None:
            return lambda function: self.agent(function, **options)
        from motet.agents.function import FunctionAgent  # noqa: PLC0415 - `import motet` stays quick

        if isinstance(fn, FunctionAgent) and options:
            raise ValueError(f"{fn.info.name} is an agent already; give it its options where it is made")
        made = fn if isinstance(fn, FunctionAgent) else FunctionAgent(fn, **options)
        self.add(made)
        return made

    def add_group(self, group: Group, description: str = "") -> None:
        """Add a group under its own name. Raises CatalogError when the name is taken."""
        if group.name in self._groups:
            raise _error(f"groups.{group.name}", "", "there is already a group of this name")
        if isinstance(group.members, str):
            raise _error(f"groups.{group.name}", "members", "is one text; give a list of members")
        self._groups[group.name] = CatalogGroup(_settled(group), description)

    def group(
        self, name: str, members: "Sequence[Member | str | Named]", *, description: str = "", **options: Any
    ) -> Group:
        """Make a group, add it and return it as the catalog keeps it. Takes the options of Group.

        Raises CatalogError when the name is taken.
        """
        self.add_group(Group(name, members, **options), description)
        return self._groups[name].group

    def add_aggregation(self, kind: AggregatorType) -> None:
        """Add a rule that groups may name. Raises CatalogError when the name is taken, also by a built-in one."""
        if kind.name in self._aggregations:
            raise _error("", "", f"there is already an aggregation {kind.name!r}")
        self._aggregations[kind.name] = kind

    @overload
    def aggregation(self, fn: F, /) -> F: ...
    @overload
    def aggregation(
        self,
        fn: None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        decided: Callable[[Sequence[Outcome | None]], object] | None = None,
    ) -> Callable[[F], F]: ...
    def aggregation(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        decided: Callable[[Sequence[Outcome | None]], object] | None = None,
    ) -> Any:
        """Make a function, sync or async, a rule that groups may name: `@catalog.aggregation`, or with a name.

        The function gets the list of all outcomes, in declared order, also when no member succeeded, and returns the
        answer. Name and description are by default the function's own and the first paragraph of its docstring.
        `decided` gets the outcomes so far, None for members still out, and says whether the answer can no longer change.
        Returns the function. Raises CatalogError for a name that is taken and for what is no function.
        """
        if fn is None:
            return lambda function: self.aggregation(function, name=name, description=description, decided=decided)
        from motet.aggregate.custom import FunctionRule  # noqa: PLC0415 - only when a catalog has such a rule

        named = _function_name(fn, name, "aggregations")
        text = _first_paragraph(fn) if description is None else description
        self.add_aggregation(FunctionRule(named, fn, description=text, decided=decided))
        return fn

    def add_preset(self, name: str, rule: str, options: Mapping[str, Any], description: str = "") -> None:
        """Add a rule with its options under a name of its own; `rule` may be added later.

        Options may hold agents and functions where the rule takes them. Raises CatalogError when the name is taken.
        """
        self.add_aggregation(Preset(name, rule, dict(options), description, self.aggregations))

    @overload
    def function(self, fn: F, /) -> F: ...
    @overload
    def function(self, fn: None = None, /, *, name: str | None = None) -> Callable[[F], F]: ...
    def function(self, fn: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
        """Let the options of aggregations name a function: `@catalog.function`, or `@catalog.function(name=...)`.

        Returns the function. Raises CatalogError for a name that is taken and for what is no function.
        """
        if fn is None:
            return lambda function: self.function(function, name=name)
        self.add_function(_function_name(fn, name, "functions"), fn)
        return fn

    def add_function(self, name: str, fn: Callable[..., Any]) -> None:
        """Let the options of aggregations name a function. Raises CatalogError when the name is taken."""
        if not callable(fn):
            raise _error(f"functions.{name}", "", f"{type(fn).__name__} is not a function")
        if name in self._functions:
            raise _error(f"functions.{name}", "", "there is already a function of this name")
        self._functions[name] = fn

    def add_provider(
        self,
        name: str,
        max_parallel: int | None = None,
        *,
        rate: Rate | None = None,
        breaker: Breaker | None = None,
        provider: Provider | None = None,
    ) -> None:
        """Add a provider, whose agents together have at most `max_parallel` calls at once and `rate` of them, and which is
        left alone as `breaker` says; None means no bound.

        `provider` is what serves models under this name, which is its own name too: it is then found in
        `model_providers`. The bounds hold for it wherever agents use it. Raises CatalogError when the name is taken, and
        when it is not the provider's.
        """
        if name in self._providers:
            raise _error(f"providers.{name}", "", "there is already a provider of this name")
        if provider is not None:
            own = getattr(provider, "name", None)
            if own != name:
                raise _error(f"providers.{name}", "provider", f"is named {own!r}; add it under its own name")
            self._model_providers[name] = provider
        self._providers[name] = ProviderBounds(max_parallel=max_parallel, rate=rate, breaker=breaker)

    def add_mcp_server(self, server: "McpServer") -> None:
        """Add a server of tools under its own name. Raises CatalogError when the name is taken.

        Agents hold the server itself: it starts when one of them needs a tool of it, and ends with the engine.
        """
        if server.name in self._mcp_servers:
            raise _error(f"mcp.{server.name}", "", "there is already an MCP server of this name")
        self._mcp_servers[server.name] = server

    def add_tenant(self, name: str, bounds: TenantBounds) -> None:
        """Bound what a tenant may use; `*` stands for each tenant that has no bounds of its own, with a count of its own.

        Raises CatalogError when the name is taken.
        """
        if not isinstance(bounds, TenantBounds):
            raise _error(
                f"tenants.{name}", "", f"{type(bounds).__name__} is not what a tenant may use; give TenantBounds"
            )
        if name in self._tenants:
            raise _error(f"tenants.{name}", "", "there is already a tenant of this name")
        self._tenants[name] = bounds

    def check(self) -> None:
        """Raises CatalogError with every mistake: names, references, cycles, options and bounds. Starts nothing."""
        problems = find_problems(self)
        if problems:
            raise CatalogError(problems)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Catalog":
        """The checked catalog of a TOML file, or the Catalog that `module:attr` or `file.py:attr` names.

        Imports the Python files that the catalog refers to. Raises CatalogError with every mistake.
        """
        from motet._catalog_file import load  # noqa: PLC0415 - brings pydantic

        return load(fspath(path))


def _function_name(fn: Callable[..., Any], name: str | None, table: str) -> str:
    if not callable(fn):
        raise _error(table, "", f"{type(fn).__name__} is not a function")
    found = getattr(fn, "__name__", None) if name is None else name
    if not isinstance(found, str) or NAME.fullmatch(found) is None:
        raise _error(table, "", f"{found!r} {BAD_NAME}; give name=")
    return found


def _first_paragraph(fn: Callable[..., Any]) -> str:
    text = inspect.getdoc(fn) if inspect.isroutine(fn) else None
    return " ".join((text or "").strip().split("\n\n")[0].split())


def _settled(group: Group) -> Group:
    return replace(group, members=group.seats, aggregation=group.rule)


def _error(table: str, key: str, message: str) -> CatalogError:
    return CatalogError([CatalogProblem("", table, key, message)])
