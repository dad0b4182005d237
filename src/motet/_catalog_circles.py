"""Finds model agents that would ask themselves, through agents that are their tools or guardrails. Knows them by what they
show, and no more: a tool that is a group by name may run them again, one level deeper each time, so `max_depth` ends that."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from motet._catalog_cycles import groups_of
from motet._catalog_rules import card_of
from motet.model.agent import AgentKind

if TYPE_CHECKING:
    from motet.catalog import Catalog


def tools_of(agent: object) -> Sequence[Any]:
    """The tools of a model agent; other agents have none."""
    card = card_of(agent)
    if card is None or card.kind is not AgentKind.MODEL:
        return ()
    return _listed(agent, "tools")


def find_circles(catalog: "Catalog") -> Iterator[tuple[str, str, str]]:
    """A (table, key, message) for each model agent of the catalog that asks itself, unless another of the same circle was
    named. Circles of handoffs alone are no mistake: turns end them."""
    named: set[int] = set()
    for agent in catalog.agents.values():
        if id(agent) in named:
            continue
        circle = next((path for asked in _asked(agent) if (path := _way(asked, agent))), None)
        if circle is not None:
            named.update(map(id, circle))
            chain = " -> ".join(f"agent {each.info.name!r}" for each in [agent, *circle])
            message = f"it would ask itself: {chain}; hand over with handoffs alone, or take one of them out"
            yield f"agents.{agent.info.name}", "tools", message


def _way(start: Any, goal: Any) -> list[Any] | None:
    """The agents from one to another, both named; None when there is no way."""
    before: dict[int, Any] = {id(start): None}
    waiting = [start]
    while waiting:
        agent = waiting.pop()
        if agent is goal:
            way = [agent]
            while (last := before[id(way[-1])]) is not None:
                way.append(last)
            return way[::-1]
        for following in (*_asked(agent), *_handed(agent)):
            if id(following) not in before:
                before[id(following)] = agent
                waiting.append(following)
    return None


def _asked(agent: object) -> Iterator[Any]:
    """The agents that it asks itself: as tools, also in plans of its own, and as guardrails."""
    for tool in tools_of(agent):
        worker = getattr(tool, "agent", None)
        seats = [seat for group in groups_of(getattr(worker, "target", None)) for seat in group.seats]
        yield from (each for each in (worker, *(seat.agent for seat in seats)) if card_of(each) is not None)
    for guardrail in (*_listed(agent, "input_guardrails"), *_listed(agent, "output_guardrails")):
        judge = getattr(guardrail, "agent", None)
        if card_of(judge) is not None:
            yield judge


def _handed(agent: object) -> Iterator[Any]:
    """The agents that it hands to."""
    handoffs = getattr(agent, "handoffs", {})
    yield from handoffs.values() if isinstance(handoffs, dict) else ()


def _listed(agent: object, name: str) -> Sequence[Any]:
    """What an agent shows under a name; an agent of the author's own may call anything so."""
    found = getattr(agent, name, ())
    return found if isinstance(found, tuple | list) else ()
