"""What is shown when a run has ended: the answer, a line for each member, and what was stopped."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from motet_server.cli import attempts, inner, tables
from motet_server.cli.text import count, cut, early, many_lines, one_line, payload_text, reason, receipt, seconds

MAX_ROWS = 200
"""Members listed of one group; a longer table is not read, and `--json` has them all."""
MAX_GROUPS = 50
"""Tables printed of one run, nested groups included."""
_NUMBERS = ("queued", "ran", "attempts")


def whole(result: Any, *, terminal: bool) -> str:
    """The answer, the outcomes and how the run ended."""
    last = "\n" + ending(result, terminal=terminal)
    return answer(result, terminal=terminal) + outcomes(result, terminal=terminal) + last


def answer(result: Any, *, terminal: bool) -> str:
    """The answer, whole. JSON is indented for a terminal and left as it is for a pipe."""
    payload = result.output
    if payload is None:
        return ""
    text = payload_text(payload)
    if terminal and payload.kind == "json":
        text = json.dumps(payload.json(), indent=2, ensure_ascii=False)
    return _titled("answer", many_lines(text), terminal=terminal)


def outcomes(result: Any, *, terminal: bool) -> str:
    """A table for each group: how each member ended, how long it waited and ran, and its stop receipt. Turns and tools of model
    agents have none: the agent's own line says how they came out, and `--json` has them all."""
    groups = [group for group in _groups(result.groups) if not inner.sort(group.parent, group.name)]
    shown = "".join(
        _titled(_title(group), _outcomes(group, terminal), terminal=terminal) for group in groups[:MAX_GROUPS]
    )
    left = len(groups) - MAX_GROUPS
    return shown + (f"... and {count(left, 'more group')}\n" if left > 0 else "")


def ending(result: Any, *, terminal: bool) -> str:
    """One line: how the run ended, how long it took, and how long its members take one after another."""
    line = f"{result.state!s} in {seconds(result.elapsed)}"
    if result.stats.ran > result.elapsed > 0:
        line += f"; one after another the members take {seconds(result.stats.ran)}"
    if result.failure is not None:
        line += f"; {reason(result.failure)}"
    return tables.render(tables.styled(line), terminal=True) if terminal else line + "\n"


def stopped(result: Any) -> list[str]:
    """A line for each member that was stopped, nested ones included: its name, STOPPED or DETACHED, how long it took."""
    return [
        f"{one_line(f'{group.name}/{name}')}: {receipt(outcome.stop)}"
        for group in _groups(result.groups)
        for name, outcome in _seats(group)
        if outcome.stop is not None
    ]


def _groups(groups: Any) -> Iterator[Any]:
    for group in groups:
        yield group
        for _, outcome in _seats(group):
            yield from _groups(outcome.nested)


def _seats(group: Any) -> Iterator[tuple[str, Any]]:
    """The outcomes of a group by name: its members', then those of what its aggregation asked, as `@purpose/name`."""
    for outcome in group.outcomes:
        yield outcome.member, outcome
    for asked in group.asked:
        for outcome in asked.outcomes:
            yield f"@{asked.name}/{outcome.member}", outcome


def _title(group: Any) -> str:
    name = f"{group.parent}/{group.name}" if group.parent else group.name
    limits = attempts.stopped_by(Counter(filter(None, map(attempts.limit_of, group.outcomes))))
    notes = "".join(f", {note}" for note in (early(group), limits) if note)
    why = f": {reason(group.failure)}" if group.failure is not None else ""
    return one_line(f"{name} {group.state!s} in {seconds(group.elapsed)}{notes}{why}")


def _outcomes(group: Any, terminal: bool) -> str:
    shown = list(_seats(group))
    left = ""
    if len(shown) > MAX_ROWS:
        # Those that went wrong are what a long table is read for; then comes what was asked.
        ordered = sorted(shown, key=lambda seat: (str(seat[1].state) == "SUCCEEDED", not seat[0].startswith("@")))
        shown, rest = ordered[:MAX_ROWS], Counter(str(outcome.state) for _, outcome in ordered[MAX_ROWS:])
        left = f"... and {', '.join(f'{number:,} {state}' for state, number in rest.items())}\n"
    columns = ("member", "agent", "state", "queued", "ran", "attempts", "output", "stop")
    return tables.render(tables.table(columns, map(_row, shown), numbers=_NUMBERS), terminal=terminal) + left


def _row(seat: tuple[str, Any]) -> tuple[str, ...]:
    name, outcome = seat
    said = cut(payload_text(outcome.output)) if outcome.failure is None else reason(outcome.failure)
    return (
        name,
        outcome.agent if outcome.agent != outcome.member else "",
        str(outcome.state) + (" (cached)" if outcome.cached else ""),
        seconds(outcome.queued),
        seconds(outcome.ran) if outcome.attempts else "",
        attempts.made(outcome),
        said,
        receipt(outcome.stop),
    )


def _titled(title: str, body: str, *, terminal: bool) -> str:
    heading = tables.render(Text(title, style="bold"), terminal=True) if terminal else title + "\n"
    return f"\n{heading}{body.rstrip()}\n"
