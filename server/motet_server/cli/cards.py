"""What agents of a catalog file show beside their cards: the models, tools and servers that they ask. Never a key. A server tells
cards alone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet.agents.model.agent import ModelAgent
    from motet.agents.model.choice import ModelChoice


@dataclass(frozen=True, slots=True)
class Shown:
    """A card, and what else is known of the agent."""

    info: Any
    provider: str = ""
    model: str = ""
    """Of the model that answers first, and how many stand in for it."""
    tools: str = ""
    more: Mapping[str, Any] | None = None
    """For programs."""

    def value(self) -> Any:
        """As JSON lines have it: the card, with what else is known among its fields."""
        if self.more is None:
            return self.info
        return {**{field.name: getattr(self.info, field.name) for field in fields(self.info)}, **self.more}


def shown(agent: Any) -> Shown:
    """What there is to see of an agent of this process."""
    from motet.agents.mcp.agent import McpAgent  # noqa: PLC0415 - the other commands start without it
    from motet.agents.model.agent import ModelAgent  # noqa: PLC0415 - as above

    if isinstance(agent, ModelAgent):
        return _model(agent)
    if isinstance(agent, McpAgent):
        more = {"server": agent.server.name, "tool": agent.tool}
        return Shown(agent.info, agent.info.provider, tools=f"{agent.server.name}: {agent.tool}", more=more)
    return Shown(agent.info, agent.info.provider)


def _model(agent: "ModelAgent") -> Shown:
    from motet.agents.model.tool import Tool  # noqa: PLC0415 - the other commands start without it

    models = [{"provider": _provider(choice), "model": choice.model} for choice in agent.choices]
    tools = [each.spec.name if isinstance(each, Tool) else _source(each) for each in agent.tools]
    handoffs = [each.info.name for each in agent.handoffs.values()]
    others = f" (+{len(models) - 1})" if len(models) > 1 else ""
    return Shown(
        agent.info,
        models[0]["provider"],
        (models[0]["model"] or "default") + others,
        ", ".join([*tools, *(f"-> {name}" for name in handoffs)]),
        {"models": models, "tools": tools, "handoffs": handoffs},
    )


def _provider(choice: "ModelChoice") -> str:
    return "" if choice.provider is None else choice.provider.name


def _source(source: Any) -> str:
    """A server's tools, all of them or some."""
    server = getattr(source, "server", source)
    name = getattr(server, "name", type(server).__name__)
    names = getattr(source, "names", None)
    return f"{name}: {', '.join(sorted(names))}" if names else f"{name}: *"
