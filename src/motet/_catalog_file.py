"""Loads a catalog from a TOML file, or from the Python that an import string names. Collects every mistake before it
raises. Builds through `_catalog_agents`; must not know how an agent is made."""

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from motet._catalog_agents import AGENT_TABLES, Site, build_agent
from motet._catalog_bounds import LimitsTable, ProviderTable, TenantTable
from motet._catalog_build import BuildError, load_callable
from motet._catalog_check import BAD_NAME, Broken, Everything, find_problems, suggestion
from motet._catalog_messages import problems_of, unknown_key
from motet._catalog_models import ModelTable
from motet._catalog_rules import Absent, absent
from motet._catalog_schema import (
    AgentTable,
    EngineTable,
    GroupTable,
    MemberTable,
    NamedFunctionTable,
    OverrideTable,
    RuleTable,
)
from motet._catalog_services import (
    NAME_KEYS,
    PROVIDER_TABLES,
    McpTable,
    ServiceTable,
    SessionsTable,
    build_provider,
    build_server,
    kindless,
)
from motet._catalog_values import Table
from motet._reference import BadReference, is_reference, load_reference
from motet.catalog import Catalog, EngineSettings
from motet.engine.seats import NAME
from motet.errors import CatalogError, CatalogProblem
from motet.model.plan import Aggregation, Group, Member, ReplicaOverride

TABLES: Final = (
    *("engine", "limits", "sessions", "providers", "mcp", "tenants"),
    *("functions", "aggregations", "agents", "groups"),
)
T = TypeVar("T", bound=Table)
U = TypeVar("U")


def load(text: str) -> Catalog:
    """The checked catalog that a path or an import string names. Raises CatalogError with every mistake."""
    if is_reference(text) and not _exists(text):
        return _load_python(text)
    return load_tables(_read(text), file=text, folder=Path(text).parent)


def load_tables(tables: Mapping[str, Any], *, file: str = "", folder: Path | None = None) -> Catalog:
    """The checked catalog of a parsed file. Raises CatalogError with every mistake."""
    loader = _Loader(file, (folder or Path()).absolute())
    loader.load(tables)
    if loader.problems:
        raise CatalogError(loader.in_order())
    return loader.catalog


def _load_python(text: str) -> Catalog:
    try:
        found = load_reference(text)
    except BadReference as error:
        raise _unreadable(text, str(error)) from error
    if not isinstance(found, Catalog):
        raise _unreadable(text, f"names a {type(found).__name__}; it must name a motet.Catalog")
    problems = find_problems(found, file=text)
    if problems:
        raise CatalogError(problems)
    return found


def _read(file: str) -> dict[str, Any]:
    if file.endswith(".py"):
        raise _unreadable(file, f"is Python; name the catalog in it, such as {file}:catalog")
    try:
        return tomllib.loads(Path(file).read_bytes().decode())
    except FileNotFoundError:
        raise _unreadable(file, "there is no such file") from None
    except OSError as error:
        raise _unreadable(file, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise _unreadable(file, f"is not UTF-8, at byte {error.start}") from None
    except RecursionError:
        raise _unreadable(file, "is nested too deep") from None
    except ValueError as error:  # a syntax error, with line and column; or a path or number that Python cannot take
        raise _unreadable(file, f"is not TOML: {error}") from None


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def _unreadable(file: str, message: str) -> CatalogError:
    return CatalogError([CatalogProblem(file, "", "", message)])


@dataclass(slots=True)
class _Loader:
    file: str
    folder: Path
    catalog: Catalog = field(default_factory=Catalog)
    problems: list[CatalogProblem] = field(default_factory=list)
    visited: dict[str, int] = field(default_factory=dict)
    models: list[tuple[Any, str, ModelTable]] = field(default_factory=list)
    """Model agents that wait for what they refer to: each with its table, and what that says."""

    def load(self, tables: Mapping[str, Any]) -> None:
        for key in tables:
            if key not in TABLES:
                self.wrong("", key, unknown_key(key, TABLES))
        engine = self.parse(EngineTable, "engine", tables.get("engine", {}))
        if engine is not None:
            self.catalog.settings = EngineSettings(**engine.given())
        limits = self.parse(LimitsTable, "limits", tables["limits"]) if "limits" in tables else None
        if limits is not None:
            self.catalog.limits = limits.made()
        sessions = self.parse(SessionsTable, "sessions", tables["sessions"]) if "sessions" in tables else None
        if sessions is not None:
            self.catalog.sessions = sessions.made()
        providers = self.each("providers", tables, self.provider)
        servers = self.each("mcp", tables, self.server)
        self.each("tenants", tables, self.tenant)
        site = Site(self.catalog, self.folder, providers, servers)
        broken = Broken(
            providers=providers,
            aggregations=self.rules(tables),
            agents=self.each("agents", tables, partial(self.agent, site)),
            groups=self.each("groups", tables, self.group),
        )
        self.join(broken, servers)
        self.problems += find_problems(self.catalog, file=self.file, broken=broken)

    def join(self, broken: Broken, servers: Collection[str]) -> None:
        """Give model agents what they refer to."""
        if not self.models:
            return
        from motet._catalog_tools import References  # noqa: PLC0415 - only when a file has such an agent

        known = References(self.catalog, self.folder, broken.agents, broken.groups, servers)
        for agent, table, parsed in self.models:
            for key, message in known.add_to(agent, parsed):
                self.wrong(table, key, message)

    def in_order(self) -> list[CatalogProblem]:
        """The mistakes, table by table."""
        return sorted(self.problems, key=lambda problem: self.visited.get(problem.table, -1))

    def wrong(self, table: str, key: str, message: str) -> None:
        self.problems.append(CatalogProblem(self.file, table, key, message))

    def each(self, kind: str, tables: Mapping[str, Any], build: Any) -> Collection[str]:
        """Build every table of a kind; returns the names of those that could not be built."""
        named = tables.get(kind, {})
        if not isinstance(named, dict):
            self.wrong(kind, "", f"must be a table of tables: write [{kind}.NAME]")
            return Everything()
        return {name for name, table in named.items() if not build(name, f"{kind}.{name}", table)}

    def parse(self, model: type[T], table: str, value: object) -> T | None:
        """The table in its shape; None after noting what is wrong with it."""
        self.visited[table] = len(self.visited)
        if not isinstance(value, dict):
            self.wrong(table, "", "must be a table")
            return None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            for key, message in problems_of(error, model):
                self.wrong(table, key, message)
            return None

    def provider(self, name: str, table: str, value: object) -> bool:
        model = self.provider_model(table, value)
        parsed = self.parse(model, table, value) if model is not None else None
        if parsed is None:
            return False
        made = None
        if isinstance(parsed, ServiceTable):
            made = self.built(table, partial(build_provider, name, parsed, self.folder))
            if made is None:
                return False
        bounds = parsed.made()
        self.catalog.add_provider(name, bounds.max_parallel, rate=bounds.rate, breaker=bounds.breaker, provider=made)
        return True

    def provider_model(self, table: str, value: object) -> type[ProviderTable] | None:
        self.visited[table] = len(self.visited)
        if not isinstance(value, dict) or ("kind" not in value and not kindless(value)):
            return ProviderTable
        kind = value.get("kind")
        kinds = ", ".join(PROVIDER_TABLES)
        if "api_key" in value:
            self.wrong(table, "api_key", NAME_KEYS)
        elif "kind" not in value:
            self.wrong(table, kindless(value), f"needs kind, which says what the provider is: give one of {kinds}")
        elif isinstance(kind, str) and kind in PROVIDER_TABLES:
            return PROVIDER_TABLES[kind]
        else:
            self.wrong(table, "kind", f"must be one of {kinds}" + suggestion(str(kind), PROVIDER_TABLES))
        return None

    def server(self, name: str, table: str, value: object) -> bool:
        parsed = self.parse(McpTable, table, value)
        if parsed is None:
            return False
        if NAME.fullmatch(name) is None:
            self.wrong(table, "", BAD_NAME)
            return False
        made = self.built(table, partial(build_server, name, parsed, self.folder))
        if made is not None:
            self.catalog.add_mcp_server(made)
        return made is not None

    def built(self, table: str, build: Callable[[], U]) -> U | None:
        """What is built of a table; None after noting why it cannot be."""
        try:
            return build()
        except BuildError as error:
            for key, message in error.problems:
                self.wrong(table, key, message)
            return None

    def tenant(self, name: str, table: str, value: object) -> bool:
        parsed = self.parse(TenantTable, table, value)
        if parsed is not None:
            self.catalog.add_tenant(name, parsed.made())
        return parsed is not None

    def rules(self, tables: Mapping[str, Any]) -> Collection[str]:
        """Functions first, then the rules; returns the names of the rules that could not be built."""
        self.each("functions", tables, self.function)
        broken = self.each("aggregations", tables, self.rule)
        for name in broken:
            if name not in self.catalog.aggregations:
                self.catalog.add_aggregation(Absent(name))
        return broken

    def function(self, name: str, table: str, value: object) -> bool:
        parsed = self.parse(NamedFunctionTable, table, value)
        found = self.callable(table, parsed.function) if parsed is not None else None
        self.catalog.add_function(name, found if found is not None else absent)
        return found is not None

    def rule(self, name: str, table: str, value: object) -> bool:
        parsed = self.parse(RuleTable, table, value)
        if parsed is None:
            return False
        if NAME.fullmatch(name) is None or name in self.catalog.aggregations:
            taken = f"there is a built-in aggregation {name!r}; take another name"
            self.wrong(table, "", taken if name in self.catalog.aggregations else BAD_NAME)
            return False
        if parsed.rule is None:
            return self.function_rule(name, table, parsed)
        options = dict(parsed.__pydantic_extra__)
        if parsed.function is not None:
            options["function"] = parsed.function
        self.catalog.add_preset(name, parsed.rule, options, parsed.description)
        return True

    def function_rule(self, name: str, table: str, parsed: RuleTable) -> bool:
        before = len(self.problems)
        for key in parsed.__pydantic_extra__:
            self.wrong(table, key, "is an option, and there is no rule to take it; give rule, or take it out")
        if parsed.function is None:
            self.wrong(table, "function", "is missing; give function or rule")
        elif not isinstance(parsed.function, str):
            self.wrong(table, "function", "must be text")
        else:
            found = self.callable(table, parsed.function)
            if len(self.problems) == before:
                try:
                    self.catalog.aggregation(name=name, description=parsed.description or None)(found)
                except (ValueError, TypeError) as error:
                    self.wrong(table, "function", str(error))
        return len(self.problems) == before

    def callable(self, table: str, text: str) -> Any:
        problems: list[tuple[str, str]] = []
        found = load_callable("function", text, self.folder, problems)
        for key, message in problems:
            self.wrong(table, key, message)
        return None if problems else found

    def agent(self, site: Site, name: str, table: str, value: object) -> bool:
        before = len(self.problems)
        self.visited[table] = len(self.visited)
        if NAME.fullmatch(name) is None:
            self.wrong(table, "", BAD_NAME)
        model = self.agent_model(table, value)
        parsed = self.parse(model, table, value) if model is not None else None
        if parsed is None or len(self.problems) > before:
            return False
        made = self.built(table, partial(build_agent, name, parsed, site))
        if made is None:
            return False
        self.catalog.add(made)
        if isinstance(parsed, ModelTable):
            self.models.append((made, table, parsed))
        return True

    def agent_model(self, table: str, value: object) -> type[AgentTable] | None:
        if not isinstance(value, dict):
            self.wrong(table, "", "must be a table")
            return None
        kind = value.get("kind")
        if isinstance(kind, str) and kind in AGENT_TABLES:
            return AGENT_TABLES[kind]
        kinds = ", ".join(AGENT_TABLES)
        if kind is None:
            self.wrong(table, "kind", f"is missing; give one of {kinds}")
        else:
            self.wrong(table, "kind", f"must be one of {kinds}" + suggestion(str(kind), AGENT_TABLES))
        return None

    def group(self, name: str, table: str, value: object) -> bool:
        parsed = self.parse(GroupTable, table, value)
        if parsed is None:
            return False
        twice = list(_given_twice(parsed))
        for key in twice:
            self.wrong(table, key, "give either input or input_json, not both")
        if not twice:
            self.catalog.add_group(_group(name, parsed), parsed.description)
        return not twice


def _given_twice(table: GroupTable) -> Iterator[str]:
    for index, member in enumerate(table.members):
        places: list[tuple[str, MemberTable | OverrideTable]] = [(f"members[{index}]", member)]
        places += [(f"members[{index}].overrides[{at}]", override) for at, override in enumerate(member.overrides)]
        for place, part in places:
            if {"input", "input_json"} <= part.model_fields_set:
                yield f"{place}.input_json"


def _group(name: str, table: GroupTable) -> Group:
    given = table.given()
    given.pop("description", None)
    if table.aggregation is not None:
        rule = table.aggregation
        given["aggregation"] = Aggregation(rule.name, dict(rule.__pydantic_extra__), rule.early_stop)
    return Group(name, **{**given, "members": [_member(member) for member in table.members]})


def _member(table: MemberTable) -> Member:
    given = _with_input(table)
    return Member(**{**given, "overrides": tuple(ReplicaOverride(**_with_input(o)) for o in table.overrides)})


def _with_input(table: MemberTable | OverrideTable) -> dict[str, Any]:
    given = table.given()
    if "input_json" in given:
        given["input"] = given.pop("input_json")
    return given
