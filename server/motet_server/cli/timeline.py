"""The tree of calls of a run as lines of text: names indented, a bar over the run's time, what each took and used, and why
it failed. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from motet_server.cli.tables import STYLES
from motet_server.cli.text import count, one_line, seconds, usd

MAX_MEMBERS: Final = 50
"""Members shown of one group; those that did not succeed come first, then those that took longest."""
MAX_ROWS: Final = 1_000
"""Lines of a timeline."""
ASCII: Final = {"queued": ".", "run": "#", "wait": "=", "span": "-"}
BLOCKS: Final = {"queued": "\u2591", "run": "\u2588", "wait": "\u2592", "span": "\u2500"}
UNPRICED: Final = "unpriced"
_LEAST_NAME, _LEAST_BAR, _MOST_BAR, _LEAST_WHY = 12, 10, 60, 12
_COLUMNS: Final = ("took", "state", "attempts", "tokens", "cost", "why")
_LEFT: Final = {"state", "why"}
"""Columns that are set to the left."""
_DISPENSABLE: Final = ("tokens", "attempts", "cost", "why")
"""Columns that a narrow screen goes without, in this order."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a node, or what was left out."""

    depth: int
    name: str
    node: Any = None
    """None for what was left out."""


def rows(run: Any, depth: int | None = None, most: int = MAX_ROWS) -> list[Row]:
    """The lines of a tree, at most so many; `depth` is the number of levels below the run, None shows all."""
    made = list(islice(_walk(run, 0, depth), most + 1))
    if len(made) > most:
        made[most - 1 :] = [Row(0, "+ more; see --depth and --json")]
    return made


def _walk(node: Any, level: int, depth: int | None) -> Iterator[Row]:
    yield Row(level, _name(node), node)
    below = len(node.children)
    if depth is not None and level >= depth:
        if below:
            yield Row(level + 1, f"+ {below:,} below")
        return
    shown, left = _chosen(node.children)
    for child in shown:
        yield from _walk(child, level + 1, depth)
    if left:
        states = ", ".join(f"{number:,} {state}" for state, number in left.items())
        yield Row(level + 1, f"+ {left.total():,} more: {states}")
    for use in node.tools:
        if use.status in {"tool_not_found", "validation_error"}:
            yield Row(level + 1, one_line(f"tool {use.tool}: {use.status}"))


def _chosen(children: Sequence[Any]) -> tuple[list[Any], Counter[str]]:
    """Those that are shown, in their order, and how many of the others ended in which way."""
    members = [child for child in children if child.kind == "member"]
    if len(members) <= MAX_MEMBERS:
        return list(children), Counter()

    def rank(member: Any) -> tuple[int, float]:
        dull = {"SUCCEEDED": 1, "QUEUED": 2, "SKIPPED": 3}.get(str(member.state), 0)
        return dull, -(member.end - member.start) if member.start is not None and member.end is not None else 0.0

    kept = {id(member) for member in sorted(members, key=rank)[:MAX_MEMBERS]}
    left = Counter(str(member.state) for member in members if id(member) not in kept)
    return [child for child in children if child.kind != "member" or id(child) in kept], left


def _name(node: Any) -> str:
    if node.kind == "run":
        return "run"
    if node.kind == "attempt":
        return one_line(f"attempt {node.name}" + (f" ({node.why.lower()})" if node.why != "FIRST" else ""))
    if node.role == "question":
        return one_line(f"@{node.name}")
    return one_line(node.name if node.agent in ("", node.name) else f"{node.name} ({node.agent})")


def lines(
    run: Any,
    *,
    now: float,
    width: int | None = None,
    depth: int | None = None,
    most: int = MAX_ROWS,
    marks: dict[str, str] = ASCII,
) -> list[Text]:
    """The timeline. `now` is the end of its axis, in seconds since the run's start; `width` is in columns, None cuts
    nothing; `marks` is what bars are made of."""
    shown = rows(run, depth, most)
    cells = [_cells(row.node, now) for row in shown]
    priced = any(cell["cost"] not in ("", UNPRICED) for cell in cells)
    columns = [name for name in _COLUMNS if any(cell[name] for cell in cells) and (priced or name != "cost")]
    wide = {name: max(cell_len(cell[name]) for cell in cells) for name in columns}
    name_width = max(_LEAST_NAME, *(2 * row.depth + cell_len(row.name) for row in shown if row.node is not None))
    bar_width = 40
    if width is not None:
        wide, name_width, bar_width = _fit(wide, name_width, width)
    made = [_heading(run, now)]
    for row, cell in zip(shown, cells, strict=True):
        # However deep it is, half of the column is for the name.
        name = " " * min(2 * row.depth, name_width // 2) + row.name
        if row.node is None:
            made.append(Text(name if width is None else _cut(name, width), style="dim", no_wrap=True))
            continue
        style = STYLES.get(str(row.node.state), "")
        line = Text(_cut(name, name_width) + " ", no_wrap=True)
        line.append(bar(row.node, now, bar_width, marks), style=style)
        for column, room in wide.items():
            text = cell[column]
            pad = "" if column in _LEFT else " " * (room - cell_len(text))
            line.append(f"  {pad}")
            line.append(_cut(text, room - len(pad)), style=style if column == "state" else "")
        line.rstrip()
        made.append(line)
    made.append(Text(_legend(marks), style="dim", no_wrap=True))
    if width is not None:
        for line in made:
            line.truncate(width)
    return made


def _fit(wide: dict[str, int], name_width: int, width: int) -> tuple[dict[str, int], int, int]:
    """What fits: the columns with their widths, that of the names and that of the bar."""
    name_width = min(name_width, max(_LEAST_NAME, width * 35 // 100))
    wide = {name: min(each, _LEAST_WHY) if name == "why" else each for name, each in wide.items()}
    left = [name for name in _DISPENSABLE if name in wide]

    def rest() -> int:
        return width - name_width - 1 - sum(each + 2 for each in wide.values())

    while rest() < _LEAST_BAR and left:
        del wide[left.pop(0)]
    if rest() < _LEAST_BAR:
        return wide, max(1, name_width + rest() - _LEAST_BAR), _LEAST_BAR
    room = rest()
    if "why" not in wide:
        return wide, name_width, min(room, _MOST_BAR)
    bar_width = min(_MOST_BAR, max(_LEAST_BAR, room * 55 // 100))
    wide["why"] += room - bar_width
    return wide, name_width, bar_width


def _cells(node: Any, now: float) -> dict[str, str]:
    if node is None:
        return dict.fromkeys(_COLUMNS, "")
    end = now if node.end is None else node.end
    used = node.usage
    tokens = used is not None and (used.input_tokens or used.output_tokens)
    return {
        "took": "" if node.start is None else seconds(max(0.0, end - node.start)),
        "state": f"{node.state!s}{' (cached)' if node.cached else ''}",
        "attempts": f"x{node.attempts}" if node.attempts > 1 else "",
        "tokens": f"{used.input_tokens:,}+{used.output_tokens:,} tok" if tokens else "",
        "cost": _cost(used),
        "why": one_line("; ".join(_why(node))),
    }


def _cost(used: Any) -> str:
    """What it cost; calls whose price is not known are told apart, and never as 0."""
    if used is None or not used.calls:
        return ""
    if used.calls <= used.unpriced_calls and not used.cost_nanos:
        return UNPRICED
    return usd(used.cost_nanos) + (f" + {used.unpriced_calls:,} unpriced" if used.unpriced_calls else "")


def _why(node: Any) -> Iterator[str]:
    if node.reason:
        yield f"{node.reason}: {node.message}" if node.message else node.reason
    if node.stop:
        yield f"{node.stop} in {seconds(node.stop_took)}" + (f": {node.stop_detail}" if node.stop_detail else "")
    if node.tools:
        states = Counter(use.status for use in node.tools)
        yield f"tools: {', '.join(f'{number} {status}' for status, number in states.items())}"


def bar(node: Any, now: float, width: int, marks: dict[str, str]) -> str:
    """The bar of a node over the time from the run's start to `now`: it queued, it ran, or it waited for what it had
    started. Between two attempts it waits in a queue again."""
    whole = now or 1.0
    drawn = [" "] * width

    def draw(start: float, end: float, mark: str) -> None:
        first = min(width - 1, max(0, int(start / whole * width)))
        last = min(width, max(first + 1, round(end / whole * width)))
        drawn[first:last] = marks[mark] * (last - first)

    if node.kind in {"run", "group"}:
        draw(node.start or 0.0, now if node.end is None else node.end, "span")
        return "".join(drawn)
    end = now if node.end is None else node.end
    if node.start is None:
        if end > node.queued_at or node.is_open:
            draw(node.queued_at, end, "queued")
        return "".join(drawn)
    if node.start > node.queued_at:
        draw(node.queued_at, node.start, "queued")
    attempts = [child for child in node.children if child.kind == "attempt"]
    draw(node.start, end, "queued" if attempts else "run")
    for part in attempts:
        draw(part.start, end if part.end is None else part.end, "run")
    for child in (*node.children, *(each for part in attempts for each in part.children)):
        if child.kind == "group":
            draw(child.start, end if child.end is None else child.end, "wait")
    return "".join(drawn)


def _heading(run: Any, now: float) -> Text:
    noun = count(run.members, "member")
    heading = Text(one_line(f"{run.name}: {noun}, "), style="bold", no_wrap=True)
    heading.append(str(run.state), style=STYLES.get(str(run.state), ""))
    heading.append(f", {seconds(now)} so far" if run.is_open else f" in {seconds(now)}")
    cost = _cost(run.usage)
    if cost:
        heading.append(", cost unpriced" if cost == UNPRICED else f", {cost}")
    return heading


def _legend(marks: dict[str, str]) -> str:
    return f"{marks['queued']} queued   {marks['run']} running   {marks['wait']} waiting for what it started"


def _cut(text: str, width: int) -> str:
    """The text in exactly so many columns; names in scripts with wide characters are measured as they are shown."""
    if cell_len(text) <= width:
        return set_cell_size(text, width) if width else ""
    return set_cell_size(text, max(0, width - 3)) + "..."[: min(3, width)]
