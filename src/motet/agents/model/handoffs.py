"""Handing a conversation to another model agent: offered to the model as a tool for each agent that it may hand to. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from motet.agents.model.tool import ToolStatus
from motet.agents.model.turns import Told
from motet.model.chat import ToolCall, ToolSpec

if TYPE_CHECKING:
    from motet.agents.model.agent import ModelAgent

PREFIX: Final = "transfer_to_"
TAKEN: Final = "HANDED_OVER"
"""Why a second handoff of a turn did not happen."""
_LONGEST: Final = 64
"""Characters of a tool's name."""


def handoffs_of(agents: "Sequence[ModelAgent]", tools: Sequence[str] = ()) -> "dict[str, ModelAgent]":
    """The agents by the names of the tools that hand to them. Raises ValueError when two have one name."""
    offered: dict[str, ModelAgent] = {}
    for agent in agents:
        name = handoff_name(agent.info.name)
        if name in offered:
            raise ValueError(
                f"handoffs: {offered[name].info.name!r} and {agent.info.name!r} would both be {name}; rename one"
            )
        if name in tools:
            raise ValueError(f"handoffs: {name} is the name of a tool too; rename the tool, or {agent.info.name!r}")
        offered[name] = agent
    return offered


def handoff_name(agent: str) -> str:
    """The name of the tool that hands to the agent of this name."""
    return (PREFIX + re.sub(r"[^A-Za-z0-9_-]", "_", agent))[:_LONGEST]


def specs_of(handoffs: "Mapping[str, ModelAgent]") -> list[ToolSpec]:
    """As the model sees them."""
    return [
        ToolSpec(
            name=name, description=f"Hand the conversation over to {agent.info.name}. {agent.info.description}".strip()
        )
        for name, agent in handoffs.items()
    ]


def handed(call: ToolCall, agent: str) -> Told:
    """What the model is told of the handoff that counts."""
    return Told(call, f"The conversation is now with {agent}.", ToolStatus.EXECUTED, handoff=True)


def refused(call: ToolCall, agent: str) -> Told:
    """What the model is told of any other handoff of that turn."""
    text = f"Not handed over: the conversation went to {agent}, the first handoff of this turn."
    return Told(call, text, ToolStatus.FAILED, TAKEN)
