"""Tables and coloured words. Cells are plain text, never markup, so nothing in them is interpreted."""

import io
from collections.abc import Iterable, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from motet_server.cli.text import one_line

STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "TIMED_OUT": "yellow",
    "CANCELLED": "magenta",
    "SKIPPED": "dim",
    "RUNNING": "cyan",
    "QUEUED": "dim",
    "DETACHED": "bold red",
    "open": "red",
    "half_open": "yellow",
    "closed": "green",
    "breached": "red",
}
"""Colour of each state: of runs and members, of circuit breakers, of budgets."""

_WIDE = 10_000
_NAME = 40
"""Characters of a name that a narrow terminal keeps."""
_GAP = 2
"""Spaces between two columns."""
_ELASTIC = {
    "name",
    "output",
    "stop",
    "description",
    "members",
    "labels",
    "tools",
    "rate",
    "breaker",
    "retry",
    "hedge",
    "idempotency",
    "limits",
}


def styled(word: str) -> Text:
    """A word, in the colour of the state that it begins with."""
    return Text(word, style=STYLES.get(word.split(" ", 1)[0].rstrip(":"), ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[str] = ()) -> Table:
    """A table without lines. Columns that are empty in every row are left out; `numbers` are set to the right."""
    kept = [[one_line(cell) for cell in row] for row in rows]
    shown = [index for index in range(len(columns)) if any(row[index] for row in kept)]
    right = set(numbers)
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for index in shown:
        name = columns[index]
        # A narrow terminal cuts long texts before it cuts names, states and times.
        width = max(len(name), *(len(row[index]) for row in kept))
        least = 8 if name in _ELASTIC else min(width, _NAME)
        justify: Literal["right", "left"] = "right" if name in right else "left"
        made.add_column(name, justify=justify, overflow="ellipsis", no_wrap=True, min_width=least)
    for row in kept:
        made.add_row(*(styled(row[index]) for index in shown))
    return made


def narrowest(made: Table) -> int:
    """Columns of a screen that a table takes when its texts are cut as far as they may be."""
    return _gaps(made) + sum(column.min_width or 0 for column in made.columns)


def fit(made: Table, width: int) -> Table:
    """Cut the columns of a table until it fits a screen: first long texts, then long names, the widest first. By itself
    rich would shorten all alike and lose the columns at the edge."""
    wide = [max(cell_len(str(cell)) for cell in (column.header, *column.cells)) for column in made.columns]
    excess = sum(wide) + _gaps(made) - width
    elastic = [index for index, column in enumerate(made.columns) if column.header in _ELASTIC]
    for indices in (elastic, range(len(wide))):
        while excess > 0:
            index = max(indices, key=lambda index: wide[index] - (made.columns[index].min_width or 0), default=None)
            if index is None or wide[index] <= (made.columns[index].min_width or 0):
                break
            wide[index] -= 1
            excess -= 1
    for column, cells in zip(made.columns, wide, strict=True):
        # Not `width`, which rich would narrow for names and ids too where even this does not fit.
        column.min_width = column.max_width = cells
    return made


def _gaps(made: Table) -> int:
    return _GAP * max(0, len(made.columns) - 1)


def render(what: RenderableType, *, terminal: bool) -> str:
    """As text: in the terminal's width and colours, or plain, uncut and without trailing spaces."""
    buffer = io.StringIO()
    if terminal:
        console = Console(file=buffer, force_terminal=True, width=Console().width, highlight=False)
        if isinstance(what, Table):
            fit(what, console.width)
    else:
        console = Console(file=buffer, width=_WIDE, color_system=None, highlight=False)
    console.print(what)
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())
