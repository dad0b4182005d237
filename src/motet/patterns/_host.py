"""Where a pattern runs: in the run that it is called from, in the engine that it is given, or in one of its own. Knows no
pattern."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import uuid4
from weakref import WeakKeyDictionary

import motet
from motet.agents._card import place_of
from motet.engine import causes
from motet.engine.attempt import CURRENT, RunningAttempt
from motet.engine.engine import Engine
from motet.model.plan import Plan
from motet.model.result import RunResult
from motet.ports import Store

OWN_DEADLINE: Final = causes.deadline_exceeded(0, "member").message
"""What the engine says of a member that was slower than its own time, not its group's."""

_TOKENS: "WeakKeyDictionary[Any, str]" = WeakKeyDictionary()
"""Of functions that have no name of their own: what tells them apart, for as long as they live."""


async def run_here(
    plan: Plan,
    input: object = "",
    *,
    engine: Engine | None = None,
    session_id: str = "",
    store: Store | None = None,
) -> RunResult:
    """Run to the end, one level deeper where an agent of the same engine asks, within its deadline and limits.

    `session_id` is for a run that no other started, `store` for an engine that is opened here. Raises what `Engine.run` raises.
    """
    attempt = _attempt(engine)
    if attempt is not None:
        attempt.check_alive()
        return await attempt.call.run(plan, input, variables={})
    if engine is not None:
        return await engine.run(plan, input, session_id=session_id)
    async with motet.open_engine(store=store) as own:
        return await own.run(plan, input, session_id=session_id)


def groups_around(engine: Engine | None) -> Iterator[motet.Group]:
    """The groups of the members that the running code belongs to, the nearest first."""
    attempt = _attempt(engine)
    while attempt is not None:
        yield attempt.member.group.node.group
        attempt = attempt.member.group.run.caller


def has_place(engine: Engine | None) -> bool:
    """There is an engine to run in; None has to be opened."""
    return engine is not None or _attempt(engine) is not None


def is_list(thing: object) -> bool:
    """A list of something, and not one text."""
    return isinstance(thing, Sequence) and not isinstance(thing, str | bytes) and len(thing) > 0


def identity(function: object) -> str:
    """Tells a function, or another thing, from others: by its place where that is its own, else for as long as it lives."""
    name = getattr(function, "__qualname__", "")
    if name and "<" not in name and getattr(function, "__self__", None) is None:
        return place_of(function)
    try:
        return f"{place_of(function)}#{_TOKENS.setdefault(function, uuid4().hex)}"
    except TypeError:
        return f"{place_of(function)}#{uuid4().hex}"


def _attempt(engine: Engine | None) -> RunningAttempt | None:
    attempt = CURRENT.get()
    if attempt is None or (engine is not None and attempt.member.group.run.engine is not engine):
        return None
    return attempt
