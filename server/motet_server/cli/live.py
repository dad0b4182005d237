"""The live picture of a run on a terminal: a bar for the whole, a line for each member, the newest events."""

from collections import deque
from typing import Any, cast

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from motet_server.cli import attempts, summary
from motet_server.cli.board import QUEUED, RUNNING, Board, GroupBoard, Row
from motet_server.cli.output import Output
from motet_server.cli.render import Lines
from motet_server.cli.tables import STYLES, styled
from motet_server.cli.text import cut, one_line, payload_text, reason, receipt, seconds

EVENTS = 4
"""Newest events shown below the members."""
_SAID = 60
"""Characters of what a model says that are shown, the newest: as many as most screens have room for."""
_TALL = 16
"""Lines of a screen from which on there is room for events."""


class Live:
    """Draws at each tick; a run of a hundred thousand events costs ten drawings a second, no more."""

    def __init__(self, output: Output, *, whole: bool = True) -> None:
        self.output = output
        self.whole = whole
        self.board = Board()
        self._recent: deque[str] = deque(maxlen=EVENTS)
        self._offset = float("inf")
        self._closed = False
        self._lines = Lines()
        self._live = screen(output)
        self.console = self._live.console

    def event(self, event: Any) -> None:
        self.board.apply(event)
        line = self._lines.line(event)
        if line:
            self._recent.append(line)
        # The event that came with the least delay tells best when the run began on this side's clock.
        self._offset = min(self._offset, trio.current_time() - event.elapsed)

    def tick(self) -> None:
        if self._closed:
            return
        if not self._live.is_started:
            self._live.start()
        elapsed = max(self.board.elapsed, trio.current_time() - self._offset) if self.board.groups else 0.0
        size = self.console.size
        self._live.update(frame(self.board, elapsed, size.height - 1, self._recent), refresh=True)

    def note(self, text: str) -> None:
        self.console.print(Text(one_line(text), style="bold"))

    def close(self) -> None:
        self._closed = True
        self._live.stop()

    def result(self, result: Any) -> None:
        if self.whole:
            self.output.write(summary.whole(result, terminal=True))


def screen(output: Output, *, transient: bool = True) -> RichLive:
    """A picture that is drawn again and again over an output; what is not transient stays when it stops."""
    # The console writes into the output, so that a terminal held by Ctrl-S stops a thread and not the run.
    console = Console(file=cast("Any", _Sink(output)), force_terminal=True, highlight=False)
    return RichLive(
        console=console, auto_refresh=False, transient=transient, redirect_stdout=False, redirect_stderr=False
    )


class _Sink:
    """The part of a file that rich asks for, over an output."""

    encoding = "utf-8"

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, text: str) -> int:
        self._output.write(text)
        return len(text)

    def flush(self) -> None:
        """The output is flushed by who owns it."""

    def isatty(self) -> bool:
        return True


def frame(board: Board, elapsed: float, height: int, recent: deque[str]) -> RenderableType:
    """The picture for a screen of `height` lines. Groups that do not fit are summed up, their running members listed."""
    events = list(recent) if height >= _TALL else []
    room = height - 1 - (len(events) + 1 if events else 0)
    groups = list(board.groups.values())
    whole = all(group.small for group in groups) and sum(1 + len(group.rows) for group in groups) <= room
    if not whole:
        running = [group for group in groups if group.state == RUNNING] or groups[-1:]
        groups = running[: max(1, room // 2)]
    parts: list[RenderableType] = [_bar(board, elapsed)]
    share = room // max(1, len(groups))
    for group in groups:
        parts.append(_heading(group))
        if whole:
            parts.append(_rows(group, list(group.rows.values()), elapsed))
            continue
        active = [row for row in group.rows.values() if row.state == RUNNING]
        parts.append(_rows(group, active[: max(0, share - 1)], elapsed))
    if events:
        parts.append(Text(""))
        parts.extend(Text(text, style="dim", no_wrap=True, overflow="ellipsis") for text in events)
    return Group(*parts)


def _bar(board: Board, elapsed: float) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_row(
        styled(board.state),
        ProgressBar(total=max(1, board.members), completed=board.ended),
        Text(f"{board.ended:,} of {board.members:,}  {seconds(elapsed)}"),
    )
    return grid


def _heading(group: GroupBoard) -> Text:
    name = f"{group.parent}/{group.name}" if group.parent else group.name
    heading = Text(one_line(name), style="bold", no_wrap=True, overflow="ellipsis")
    counts = {**group.states, QUEUED: group.waiting}
    for state, number in counts.items():
        if number:
            heading.append(f"  {number:,} {state}", style=STYLES.get(state, ""))
    if group.limits:
        heading.append(f"  {attempts.stopped_by(group.limits)}", style="yellow")
    return heading


def _rows(group: GroupBoard, rows: list[Row], elapsed: float) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for _ in range(2):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    for _ in range(2):
        grid.add_column(no_wrap=True, justify="right", min_width=7)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        queued = elapsed - group.started if row.state == QUEUED else row.queued
        ran = elapsed - row.started if row.state == RUNNING else row.ran
        name = row.member if row.agent in ("", row.member) else f"{row.member} ({row.agent})"
        never = row.state in (QUEUED, "SKIPPED") or _cached(row)
        grid.add_row(
            Text("  " + cut(name, 40)),
            styled(row.state),
            Text(f"q {seconds(max(0.0, queued))}", style="dim"),
            Text("" if never else seconds(max(0.0, ran))),
            Text(_note(row, elapsed), style="dim"),
        )
    return grid


def _cached(row: Row) -> bool:
    return row.state not in (QUEUED, RUNNING) and bool(row.note.cached)


def _note(row: Row, elapsed: float) -> str:
    if row.state in (QUEUED, RUNNING):
        report = _now(row) or cut(payload_text(row.note), 200)
        return "; ".join(filter(None, (_attempt(row, elapsed), report)))
    outcome = row.note
    said = cut(payload_text(outcome.output), 200) if outcome.failure is None else reason(outcome.failure)
    tries = attempts.made(outcome)
    parts = ("cached" if outcome.cached else "", f"attempts {tries}" if tries else "", receipt(outcome.stop), said)
    return "; ".join(filter(None, parts))


def _now(row: Row) -> str:
    """What a model agent is at: its turn, and the end of the last line that its model has written."""
    lines = [stripped for text in row.said.splitlines() if (stripped := one_line(text).strip())]
    last = lines[-1] if lines else ""
    last = last if len(last) <= _SAID else f"...{last[-_SAID:]}"
    return ": ".join(filter(None, (row.doing, last)))


def _attempt(row: Row, elapsed: float) -> str:
    """Where a member stands that makes several attempts; empty for the first."""
    if row.due is not None:
        return one_line(f"attempt {row.attempt + 1} in {seconds(max(0.0, row.due - elapsed))} after {row.failed}")
    match row.kind:
        case "":
            return ""
        case "HEDGE":
            return f"attempt {row.attempt}, beside a slow one"
        case "RESUME":
            return f"attempt {row.attempt}, resumed"
        case _:
            return f"attempt {row.attempt}"
