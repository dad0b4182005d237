"""Finds what is wrong in a catalog, made in Python or loaded: one list of mistakes, nothing started, nothing raised.
Must not know files."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from motet._catalog_circles import find_circles, tools_of
from motet._catalog_cycles import find_cycles, groups_of
from motet._catalog_rules import Absent, Preset, agents_in, as_json, card_of
from motet.engine.seats import NAME, instance_names
from motet.errors import CatalogProblem
from motet.model.agent import AgentInfo, AgentKind
from motet.model.checks import (
    BAD_TENANT,
    card_problems,
    count_problems,
    hedge_problems,
    idempotency_problems,
    is_amount,
    is_tenant,
    limits_problems,
    provider_problems,
    retry_problems,
    seconds_problems,
    share_problems,
    tenant_problems,
)
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group, Member, ReplicaOverride
from motet.model.session import WhenBusy

if TYPE_CHECKING:
    from motet.catalog import Catalog
    from motet.ports import Agent, AggregatorType

BAD_NAME: Final = "is not a name; use letters, digits, _ . : and -, at most 128, not starting with . : or -"
MAX_REPLICAS: Final = 1_000_000  # the contract's bound
MAX_SHARE: Final = 100
"""Retries or hedges for each other call; more bounds nothing that anybody has seen."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Names whose tables could not be built: what refers to them is not blamed."""

    agents: Collection[str] = ()
    groups: Collection[str] = ()
    providers: Collection[str] = ()
    aggregations: Collection[str] = ()


class Everything(Collection[str]):
    """Contains every name: for a table of tables that is broken as a whole."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def find_problems(catalog: "Catalog", *, file: str = "", broken: Broken | None = None) -> list[CatalogProblem]:
    """Every mistake in the catalog: settings, limits, sessions, providers, tenants, functions, aggregations, agents, groups, then
    cycles."""
    checker = _Checker(catalog, broken or Broken())
    return [CatalogProblem(file, table, key, message) for table, key, message in checker.everything()]


def suggestion(name: str, known: Collection[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known name is near."""
    import difflib  # noqa: PLC0415 - needed only for a mistake

    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


_Problem = tuple[str, str, str]
_KeyProblem = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Checker:
    catalog: "Catalog"
    broken: Broken
    wrong_rules: Collection[str] = ()
    """Presets that were found to be wrong."""

    def everything(self) -> Iterator[_Problem]:
        settings = self.catalog.settings
        yield from _placed("engine", count_problems("max_parallel", settings.max_parallel))
        yield from _placed("engine", count_problems("max_depth", settings.max_depth, least=0))
        yield from _placed("engine", count_problems("max_members", settings.max_members))
        yield from _placed("engine", seconds_problems("stop_grace", settings.stop_grace))
        yield from _placed("engine", share_problems("retry_share", settings.retry_share, MAX_SHARE))
        yield from _placed("engine", share_problems("hedge_share", settings.hedge_share, MAX_SHARE))
        yield from _placed("limits", limits_problems(self.catalog.limits))
        yield from _placed("sessions", self.sessions())
        for name, provider in self.catalog.providers.items():
            yield from _placed(f"providers.{name}", _name("", name))
            yield from _placed(f"providers.{name}", provider_problems(provider))
        for name, tenant in self.catalog.tenants.items():
            yield from _placed(f"tenants.{name}", () if is_tenant(name) else [("", BAD_TENANT)])
            yield from _placed(f"tenants.{name}", tenant_problems(tenant))
        for name in self.catalog.functions:
            yield from _placed(f"functions.{name}", _name("", name))
        # What refers to a preset that is wrong itself is not blamed.
        wrong: set[str] = set()
        for name, rule in self.catalog.aggregations.items():
            if isinstance(rule, Absent):
                continue
            problems = [*_name("", name), *(self.preset(rule) if isinstance(rule, Preset) else ())]
            yield from _placed(f"aggregations.{name}", iter(problems))
            if problems:
                wrong.add(name)
        yield from replace(self, wrong_rules=wrong).users()

    def sessions(self) -> Iterator[_KeyProblem]:
        settings = self.catalog.sessions
        if settings.when_busy not in list(WhenBusy):
            yield "when_busy", f"must be one of {', '.join(WhenBusy)}"
        yield from count_problems("max_entries", settings.max_entries, least=2)
        yield from seconds_problems("summary_timeout", settings.summary_timeout)
        asked, known = settings.summary_agent, self.catalog.agents
        if asked and asked not in known and asked not in self.broken.agents:
            yield "summary_agent", f"there is no agent {asked!r}{suggestion(asked, known)}"

    def users(self) -> Iterator[_Problem]:
        """The mistakes of agents and groups, which use the rest."""
        for name, agent in self.catalog.agents.items():
            yield from _placed(f"agents.{name}", self.agent(agent, ""))
        for name in self.catalog.mcp_servers:
            yield from _placed(f"mcp.{name}", _name("", name))
        for name, entry in self.catalog.groups.items():
            yield from _placed(f"groups.{name}", self.group(entry.group, ""))
        yield from find_cycles(self.catalog)
        yield from find_circles(self.catalog)

    def agent(self, agent: "Agent", at: str) -> Iterator[_KeyProblem]:
        info: AgentInfo = agent.info
        yield from _name(at, info.name)
        yield from count_problems(_join(at, "max_parallel"), info.max_parallel)
        yield from seconds_problems(_join(at, "timeout"), info.timeout)
        yield from _within(at, card_problems(info))
        provider = info.provider
        if provider and provider not in self.catalog.providers and provider not in self.broken.providers:
            near = suggestion(provider, self.catalog.providers)
            yield _join(at, "provider"), f"there is no provider {provider!r}{near}"
        for label, value in info.labels.items():
            if not isinstance(label, str) or not isinstance(value, str):
                yield _join(at, "labels"), "must be texts by name"
        if info.kind is AgentKind.GROUP:
            yield from self.target(getattr(agent, "target", None), at)
        for index, tool in enumerate(tools_of(agent)):
            worker = getattr(tool, "agent", None)
            target = getattr(worker, "target", None)
            # An agent of the catalog is looked at by itself.
            if isinstance(target, str) and not any(worker is known for known in self.catalog.agents.values()):
                yield from self.target(target, _join(at, f"tools[{index}]"))

    def target(self, target: object, at: str) -> Iterator[_KeyProblem]:
        key = _join(at, "group")
        if isinstance(target, str):
            if target not in self.catalog.groups and target not in self.broken.groups:
                yield key, f"there is no group {target!r}{suggestion(target, self.catalog.groups)}"
            return
        seen: set[str] = set()
        for group in groups_of(target):
            if group.name in seen:
                yield key, f"the plan has more than one group {group.name!r}; names are unique in a plan"
            seen.add(group.name)
            yield from self.group(group, _join(key, group.name))
        if not seen:
            yield key, "the plan has no group"

    def group(self, group: Group, at: str) -> Iterator[_KeyProblem]:
        yield from _name(at, group.name)
        yield from seconds_problems(_join(at, "timeout"), group.timeout)
        yield from count_problems(_join(at, "max_parallel"), group.max_parallel)
        yield from self.policies(group, at)
        yield from _json(_join(at, "metadata"), group.metadata)
        yield from self.aggregation(_join(at, "aggregation"), group.rule)
        yield from self.members(_join(at, "members"), group)

    def policies(self, group: Group, at: str) -> Iterator[_KeyProblem]:
        counts = [1 if seat.replicas is None else seat.replicas for seat in group.seats]
        countable = counts and all(isinstance(count, int) for count in counts)
        yield from _within(_join(at, "limits"), limits_problems(group.limits, sum(counts) if countable else None))
        yield from _within(_join(at, "retry"), retry_problems(group.retry))
        yield from _within(_join(at, "hedge"), hedge_problems(group.hedge, replay_safe=self.may_hedge(group)))
        yield from _within(_join(at, "idempotency"), idempotency_problems(group.idempotency))

    def may_hedge(self, group: Group) -> bool:
        """One of its agents is declared replay_safe, or may be: what is not there is blamed elsewhere."""
        agents = (self.catalog.agents.get(s.agent) if isinstance(s.agent, str) else s.agent for s in group.seats)
        cards = [card_of(agent) for agent in agents]
        return not cards or any(card is None or card.replay_safe for card in cards)

    def aggregation(self, at: str, rule: Aggregation) -> Iterator[_KeyProblem]:
        if rule.name in self.wrong_rules:
            return
        kind = self.catalog.aggregations.get(rule.name)
        if kind is None and rule.name in self.broken.aggregations:
            return
        if kind is None:
            near = (
                suggestion(rule.name, self.catalog.aggregations) or f"; known are {_listed(self.catalog.aggregations)}"
            )
            yield at, f"there is no aggregation {rule.name!r}{near}"
            return
        yield from self.made(at, kind, rule.options, rule.options)

    def preset(self, preset: Preset) -> Iterator[_KeyProblem]:
        for key, message in self.made("", preset, {}, preset.options):
            option = message.partition(": ")[0]
            placed = option == "rule" or re.split(r"[.\[]", option)[0] in preset.options
            yield (option, message.removeprefix(f"{option}: ")) if placed else (key, message)

    def made(
        self, at: str, kind: "AggregatorType", options: Mapping[str, Any], shown: Mapping[str, Any]
    ) -> Iterator[_KeyProblem]:
        """Whether a rule takes the options, and whether the agents that they name are there. `shown` must be JSON."""
        wrong = list(_options(at, shown))
        yield from wrong
        if wrong:
            return
        try:
            asked = list(kind.make(options, self.catalog).agents)
        except ValueError as error:
            yield at, str(error)
        except Exception as error:  # noqa: BLE001 - a rule of the author's own may raise anything: it is a mistake too
            yield at, f"aggregation {kind.name!r} refused its options: {type(error).__name__}: {error}"
        else:
            for agent in agents_in(shown):
                yield from self.agent(agent, at)  # type: ignore[arg-type]  # it has an agent's card
            known = self.catalog.agents
            for name in asked:
                if name not in known and name not in self.broken.agents:
                    yield at, f"there is no agent {name!r}{suggestion(name, known)}"

    def members(self, at: str, group: Group) -> Iterator[_KeyProblem]:
        seats = group.seats
        if not seats:
            yield at, "is empty; a group has at least one member"
            return
        wrong = False
        for index, seat in enumerate(seats):
            for problem in self.seat(f"{at}[{index}]", seat):
                wrong = True
                yield problem
        if wrong:
            return
        for index, message in sorted(instance_names(seats)[1].items()):
            yield f"{at}[{index}].name", message
        yield from self._total(at, group, sum(seat.replicas or 1 for seat in seats))
        if not any(_weighs(seat) for seat in seats):
            yield at, "the weights sum to 0; give at least one member a weight above 0"

    def _total(self, at: str, group: Group, total: int) -> Iterator[_KeyProblem]:
        bounds = (
            (getattr(group.limits, "max_members", None), "the group's limits"),
            (getattr(self.catalog.limits, "max_members", None), "the catalog's limits"),
            (self.catalog.settings.max_members, "the engine"),
        )
        for bound, owner in bounds:
            if isinstance(bound, int) and 0 < bound < total:
                yield at, f"{total} members, replicas counted, are more than max_members of {owner} ({bound}) allows"
                return

    def seat(self, at: str, seat: Member) -> Iterator[_KeyProblem]:
        if isinstance(seat.agent, str):
            if seat.agent not in self.catalog.agents and seat.agent not in self.broken.agents:
                yield at, f"there is no agent {seat.agent!r}{suggestion(seat.agent, self.catalog.agents)}"
        elif not isinstance(getattr(seat.agent, "info", None), AgentInfo):
            yield at, f"{type(seat.agent).__name__} is neither the name of an agent nor an agent"
            return
        else:
            yield from self.agent(seat.agent, at)  # type: ignore[arg-type]  # what is named may be an agent
        if seat.name:
            yield from _name(_join(at, "name"), seat.name)
        yield from _payloads(at, seat)
        yield from _weight(_join(at, "weight"), seat.weight)
        yield from seconds_problems(_join(at, "timeout"), seat.timeout)
        wrong = list(count_problems(_join(at, "replicas"), seat.replicas, most=MAX_REPLICAS))
        yield from wrong
        yield from _within(_join(at, "retry"), retry_problems(seat.retry))
        yield from _within(_join(at, "idempotency"), idempotency_problems(seat.idempotency))
        if not wrong:
            yield from _overrides(_join(at, "overrides"), seat.overrides, seat.replicas)


def _overrides(at: str, overrides: tuple[ReplicaOverride, ...], replicas: int | None) -> Iterator[_KeyProblem]:
    if overrides and replicas is None:
        yield at, "needs replicas: without them there is no replica to change"
        return
    seen: set[int] = set()
    for index, override in enumerate(overrides):
        place = f"{at}[{index}]"
        wrong = list(count_problems(f"{place}.replica", override.replica, most=replicas or 1))
        yield from wrong
        if not wrong and override.replica in seen:
            yield f"{place}.replica", f"replica {override.replica} has an override already"
        seen.add(override.replica)
        yield from _payloads(place, override)
        if override.weight is not None:
            yield from _weight(f"{place}.weight", override.weight)
        yield from seconds_problems(f"{place}.timeout", override.timeout)


def _payloads(at: str, owner: Member | ReplicaOverride) -> Iterator[_KeyProblem]:
    if not isinstance(owner.input, Payload | None):
        yield _join(at, "input"), "must be a payload; make it with Payload.of"
    for name, value in owner.variables.items():
        if not isinstance(value, Payload):
            yield _join(at, f"variables.{name}"), "must be a payload; make it with Payload.of"


def _weighs(seat: Member) -> bool:
    own = {override.replica: override.weight for override in seat.overrides if override.weight is not None}
    return any(weight > 0 for weight in own.values()) or (seat.weight > 0 and len(own) < (seat.replicas or 1))


def _name(at: str, name: object) -> Iterator[_KeyProblem]:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        yield at, f"{name!r} {BAD_NAME}" if at.endswith("name") else BAD_NAME


def _weight(at: str, value: object) -> Iterator[_KeyProblem]:
    if not is_amount(value):
        yield at, "must be a finite number, 0 or more"


def _json(at: str, value: Mapping[str, Any]) -> Iterator[_KeyProblem]:
    try:
        Payload.from_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        yield at, f"must be JSON values: {error}"


def _options(at: str, value: Mapping[str, Any]) -> Iterator[_KeyProblem]:
    try:
        Payload.from_json(as_json(value))
    except (TypeError, ValueError, RecursionError) as error:
        yield at, f"must be JSON values: {error}"


def _placed(table: str, problems: Iterable[_KeyProblem]) -> Iterator[_Problem]:
    for key, message in problems:
        yield table, key, message


def _within(at: str, problems: Iterable[_KeyProblem]) -> Iterator[_KeyProblem]:
    for key, message in problems:
        yield _join(at, key) if key else at, message


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
