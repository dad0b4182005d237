"""Where OxyGent's agents and tools find each other by name. Knows names, and nothing of what stands behind them."""

import weakref
from collections.abc import Mapping
from typing import Any, Final

from motet.agents.function import FunctionAgent
from motet.agents.model.tool import Tool
from motet.ports import Agent


class Space:
    """Agents and tools by name. Of two with one name the newer counts. Agents register themselves when they are made and
    are held no longer than somebody else holds them; what is added here is kept."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}
        self._living: weakref.WeakValueDictionary[str, Agent] = weakref.WeakValueDictionary()

    def add(self, *things: Any, **named: Any) -> None:
        """Keep agents, tools and functions under their own names, or under those that they are given.

        Raises ValueError for a thing without a name.
        """
        for thing in things:
            named.setdefault(_name_of(thing), thing)
        for name, thing in named.items():
            self._living.pop(name, None)
            self._kept[name] = thing

    def know(self, name: str, agent: Agent) -> None:
        """Find this agent by the name as long as it lives."""
        self._kept.pop(name, None)
        self._living[name] = agent

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._living.clear()

    def names(self) -> list[str]:
        """What is known, sorted."""
        return sorted({*self._kept, *self._living.keys()})

    def find(self, name: str) -> Any:
        """What has the name; None when nothing has."""
        return self._kept.get(name, self._living.get(name))

    def agent(self, name: str) -> Agent | None:
        """The agent of the name, a function made one; None when there is none, or a tool that is no function."""
        found = self.find(name)
        if found is None or isinstance(found, Agent):
            return found
        fn = getattr(found, "fn", None) if isinstance(found, Tool) else found
        if not callable(fn):
            return None
        return FunctionAgent(fn, name=name)


oxy_space: Final = Space()
"""The program's own."""


def _name_of(thing: Any) -> str:
    if isinstance(thing, Agent):
        return thing.info.name
    spec = getattr(thing, "spec", None)
    name = spec.name if spec is not None else getattr(thing, "__name__", "")
    if not name or isinstance(thing, Mapping):
        raise ValueError(f"{type(thing).__name__} has no name; give it one: add(name=...)")
    return str(name)
