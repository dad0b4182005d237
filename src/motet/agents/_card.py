"""Looks at an agent's card where the agent is made, so that a wrong option is refused there; and what `settings` of agents
are made with. Knows no kind of agent."""

import hashlib
from collections.abc import Mapping

from motet.model.agent import AgentInfo
from motet.model.checks import card_problems


def checked(info: AgentInfo) -> AgentInfo:
    """The card itself. Raises ValueError, which names each wrong option."""
    problems = card_problems(info)
    if problems:
        raise ValueError("; ".join(f"{option}: {message}" for option, message in problems))
    return info


def digest(values: Mapping[str, str]) -> str:
    """Tells values apart that may be secrets, without naming them."""
    return hashlib.sha256(repr(sorted(values.items())).encode(errors="surrogatepass")).hexdigest()


def place_of(fn: object) -> str:
    """Module and name of a function, the same in every process; the type's where a thing has none."""
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{getattr(named, '__module__', '')}:{getattr(named, '__qualname__', '')}"
