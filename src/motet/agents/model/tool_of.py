"""From whatever an author lists under `tools` to tools: functions, agents, groups and plans, sources. Refuses names that
stand for two."""

from collections.abc import Sequence

from motet.agents.model.as_tool import as_tool
from motet.agents.model.tool import Tool, ToolSource, checked_name
from motet.agents.model.tool_function import tool
from motet.model.plan import Group, Parallel
from motet.model.plan import Sequence as Steps
from motet.ports import Agent


def tools_of(things: Sequence[object]) -> tuple[Tool | ToolSource, ...]:
    """A tool, or a source of tools, for each thing, in order: functions as `tool` makes them, agents, groups and plans as
    `as_tool` does. An agent made with `@agent` is asked like any agent; give its `fn` to have its parameters shown.

    Raises ValueError for two tools of one name, naming both places, and TypeError for what cannot be a tool.
    """
    if isinstance(things, str) or not isinstance(things, Sequence):
        raise TypeError(f"tools: give a list, not {type(things).__name__}")
    found: list[Tool | ToolSource] = []
    places: dict[str, int] = {}
    for place, thing in enumerate(things):
        try:
            one = _tool_of(thing)
        except (TypeError, ValueError) as error:
            raise type(error)(f"tools[{place}]: {error}") from error
        found.append(one)
        if isinstance(one, Tool):
            name = one.spec.name
            if name in places:
                raise ValueError(
                    f"tools[{places[name]}] and tools[{place}] are both named {name!r}; give one another name, name=..."
                )
            places[name] = place
    return tuple(found)


def _tool_of(thing: object) -> Tool | ToolSource:
    if isinstance(thing, Tool):
        checked_name(thing.spec.name)
        return thing
    if isinstance(thing, Group | Steps | Parallel):
        return as_tool(thing)
    # Before sources: a model agent may well have tools.
    if isinstance(thing, Agent):
        return as_tool(thing)
    if isinstance(thing, ToolSource) and not isinstance(thing, type):
        return thing
    if callable(thing):
        return tool(thing)
    raise TypeError(
        f"{type(thing).__name__} cannot be a tool; give a function, an agent, a group, a plan, a Tool or a source of tools"
    )
