"""Finds groups that contain themselves, through agents that are groups. Pure; works on a stack of its own, so that a long
chain of groups is no trouble."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from motet._catalog_rules import agents_in, preset_options
from motet.model.agent import AgentInfo, AgentKind
from motet.model.plan import Group, Parallel, Sequence

if TYPE_CHECKING:
    from motet.catalog import Catalog


def groups_of(plan: object) -> Iterator[Group]:
    """The groups of a plan, in declared order; what is no plan has none."""
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Group):
            yield node
        elif isinstance(node, Sequence):
            waiting.extend(reversed(node.steps))
        elif isinstance(node, Parallel):
            waiting.extend(reversed(node.branches))


def find_cycles(catalog: "Catalog") -> Iterator[tuple[str, str, str]]:
    """A (table, key, message) for each cycle found by a walk over all agents and groups; the message names all of it."""
    done: set[int] = set()
    agents = [agent for agent in catalog.agents.values() if _is_group(agent)]
    for start in [*agents, *(entry.group for entry in catalog.groups.values())]:
        if id(start) not in done:
            yield from _walk(catalog, start, done)


def _walk(catalog: "Catalog", start: object, done: set[int]) -> Iterator[tuple[str, str, str]]:
    path: list[object] = [start]
    places = {id(start): 0}
    branches = [_next(catalog, start)]
    while path:
        following = next(branches[-1], None)
        if following is None:
            branches.pop()
            last = path.pop()
            del places[id(last)]
            done.add(id(last))
        elif id(following) in places:
            yield _described(catalog, path[places[id(following)] :])
        elif id(following) not in done:
            places[id(following)] = len(path)
            path.append(following)
            branches.append(_next(catalog, following))


def _next(catalog: "Catalog", node: object) -> Iterator[object]:
    """The groups of an agent, or the agents of a group."""
    if isinstance(node, Group):
        for seat in node.seats:
            agent = catalog.agents.get(seat.agent) if isinstance(seat.agent, str) else seat.agent
            if _is_group(agent):
                yield agent
        yield from filter(_is_group, _asked(catalog, node))
        return
    target: Any = getattr(node, "target", None)
    if isinstance(target, str):
        if target in catalog.groups:
            yield catalog.groups[target].group
    else:
        yield from groups_of(target)


def _asked(catalog: "Catalog", group: Group) -> Iterator[object]:
    """The agents that the aggregation of a group may ask."""
    rule = group.rule
    yield from agents_in(rule.options)
    kind = catalog.aggregations.get(rule.name)
    yield from agents_in(list(preset_options(kind)))
    try:
        names = kind.make(rule.options, catalog).agents if kind is not None else ()
    except Exception:  # noqa: BLE001 - that the options are wrong has been reported
        return
    for name in names:
        if name in catalog.agents:
            yield catalog.agents[name]


def _is_group(agent: object) -> bool:
    info = getattr(agent, "info", None)
    return isinstance(info, AgentInfo) and info.kind is AgentKind.GROUP


def _described(catalog: "Catalog", cycle: list[Any]) -> tuple[str, str, str]:
    first = next((i for i, node in enumerate(cycle) if any(node is agent for agent in catalog.agents.values())), 0)
    turned = [*cycle[first:], *cycle[:first]]
    named = [f"group {node.name!r}" if isinstance(node, Group) else f"agent {node.info.name!r}" for node in turned]
    chain = " -> ".join([*named, named[0]])
    message = f"it contains itself: {chain}; take one of them out"
    if isinstance(turned[0], Group):
        return f"groups.{turned[0].name}", "members", message
    return f"agents.{turned[0].info.name}", "group", message
