"""`motet show`: the tree of calls of a run as a timeline, from a server, a store's file, or events that were saved."""

import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter, validators
from rich.console import Console, Group

from motet.errors import NotFound
from motet.instrument.tree import Tree
from motet_server.cli import eventfile, exits, jsonform, timeline
from motet_server.cli.access import NO_ACCESS, AccessOptions
from motet_server.cli.common import Flag, JsonOption, ServerOption, open_client
from motet_server.cli.exits import UsageError
from motet_server.cli.follow import SIGNALS
from motet_server.cli.output import Output
from motet_server.cli.text import one_line

_LOOK_EVERY = 0.5
"""Seconds between two looks at a store that is followed."""
_DRAW_EVERY = 0.2
_BATCH = 1_000
"""Events read from a store at once."""
_CLOSING = 10.0
"""Seconds that a store may take to close."""


async def show(
    run_id: str | None = None,
    /,
    *,
    server: ServerOption = None,
    store: Annotated[str | None, Parameter(name="--store")] = None,
    file: Annotated[str | None, Parameter(name="--file")] = None,
    width: Annotated[int | None, Parameter(validator=validators.Number(gte=40, lte=1000))] = None,
    depth: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    follow: Annotated[bool, Flag] = False,
    json: JsonOption = False,
    access: AccessOptions = NO_ACCESS,
) -> int:
    """Show what a run did: every group, member and attempt, when each waited and ran, what it used and why it failed.

    Parameters
    ----------
    run_id
        Id of the run; with --file the one that the file has, if it has one only.
    store
        SQLite file of a server; the server may be running.
    file
        File of what motet run --json or motet watch --json printed.
    width
        Columns of the timeline. Default: the terminal's; in a pipe nothing is cut.
    depth
        Levels below the run. Default: all.
    follow
        Go on to the run's end, redrawn on a terminal; Ctrl-C stops the following, not the run.
    """
    _check(run_id, {"--server": server, "--store": store, "--file": file}, follow=follow)
    output = Output()
    tree = Tree(run_id or "")
    if file is not None:
        read = partial(_from_file, tree, file, run_id)
    elif store is not None:
        read = partial(_from_store, tree, store, str(run_id), follow=follow)
    else:
        read = partial(_from_server, tree, str(server), access, str(run_id), follow=follow)
    number = 0
    if follow:
        live = not json and output.is_terminal
        with trio.open_signal_receiver(*SIGNALS) as signals:
            number = await _follow(tree, read, signals, output if live else None, depth)
    else:
        await read()
    output.write(jsonform.line(tree.snapshot()) if json else shown(tree, output, width=width, depth=depth))
    await output.flush()
    return exits.SIGNALLED + number if number else exits.OK


def _check(run_id: str | None, places: dict[str, str | None], *, follow: bool) -> None:
    given = [name for name, value in places.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{', '.join(given)}: give one of them, not several")
    if not given:
        raise UsageError("--server, --store, --file: say where the run is: one of the three")
    if run_id is None and given != ["--file"]:
        raise UsageError(f"RUN_ID: say which run; `motet runs` lists them, and {given[0]} may have many")
    if follow and given == ["--file"]:
        raise UsageError("--follow: a file does not go on; give --server or --store")


def shown(tree: Tree, output: Output, *, width: int | None, depth: int | None) -> str:
    """The timeline as text: in colours for a terminal, plain for all else."""
    terminal = output.is_terminal
    across = width if width is not None or not terminal else Console().width
    marks = timeline.BLOCKS if terminal and _draws_blocks() else timeline.ASCII
    made = timeline.lines(tree.snapshot(), now=tree.elapsed, width=across, depth=depth, marks=marks)
    if not terminal:
        return "".join(f"{line.plain.rstrip()}\n" for line in made)
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=True, width=across, highlight=False)
    for line in made:
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    return buffer.getvalue()


def _draws_blocks() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


async def _follow(
    tree: Tree,
    read: Callable[[], Awaitable[None]],
    signals: AsyncIterator[int],
    screen: Output | None,
    depth: int | None,
) -> int:
    """Read every event to the end, drawn on a screen if there is one. Returns the number of the signal that ended it."""
    number = 0

    async def listen() -> None:
        nonlocal number
        number = await anext(signals)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        if screen is not None:
            nursery.start_soon(_draw, tree, screen, depth)
        await read()
        nursery.cancel_scope.cancel()
    return number


async def _draw(tree: Tree, output: Output, depth: int | None) -> None:
    """Draw the tree again and again as far as the screen has room. It leaves nothing on the screen."""
    from motet_server.cli.live import screen  # noqa: PLC0415 - only for what is followed on a terminal

    live = screen(output)
    marks = timeline.BLOCKS if _draws_blocks() else timeline.ASCII
    seen, since = -1, 0.0
    try:
        live.start()
        while True:
            if tree.sequence != seen:
                seen, since = tree.sequence, trio.current_time()
            size = live.console.size
            # The run's own clock is where its newest event was, and has gone on since.
            now = tree.elapsed + (0.0 if tree.ended else trio.current_time() - since)
            most = max(1, size.height - 3)
            drawn = timeline.lines(tree.snapshot(), now=now, width=size.width, depth=depth, most=most, marks=marks)
            live.update(Group(*drawn), refresh=True)
            await output.flush()
            await trio.sleep(_DRAW_EVERY)
    finally:
        live.stop()
        output.flush_now()


async def _from_server(tree: Tree, address: str, access: AccessOptions, run_id: str, *, follow: bool) -> None:
    """The events so far of a run in the background of a server; all of them when it is followed."""
    async with open_client(address, access) as client:
        info = await client.get(run_id)
        last = None if follow or info.state.ended else info.last_sequence
        if last == 0:
            return
        async with client.watch(run_id) as stream:
            async for event in stream:
                tree.apply(event)
                if last is not None and event.sequence >= last:
                    return


async def _from_store(tree: Tree, path: str, run_id: str, *, follow: bool) -> None:
    """The events of a run in a store's file, which is only read."""
    from motet.store.sqlite import SqliteStore  # noqa: PLC0415 - a command loads what it needs

    # Opened for writing it would be made.
    if not await trio.Path(path).is_file():
        raise UsageError(f"--store: there is no file {one_line(path)}")
    opened = await SqliteStore.open(path, max_age=None)
    try:
        while True:
            record = await opened.get(run_id)
            if record is None:
                raise NotFound(f"there is no run {run_id!r} in {path}")
            while batch := await opened.events(run_id, tree.sequence, _BATCH):
                for event in batch:
                    tree.apply(event)
            if record.state.ended or not follow:
                return
            await trio.sleep(_LOOK_EVERY)
    finally:
        with trio.move_on_after(_CLOSING, shield=True):
            await opened.aclose()


async def _from_file(tree: Tree, path: str, run_id: str | None) -> None:
    """The events of a run in a file of JSON lines."""
    try:
        text = await trio.to_thread.run_sync(lambda: Path(path).read_text(encoding="utf-8"), abandon_on_cancel=True)
    except OSError as error:
        raise UsageError(f"--file: cannot read {path!r}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"--file: {path!r} is not text in UTF-8") from None
    current, found = "", False
    for event in eventfile.read(text.splitlines(), path):
        if type(event.detail).__name__ == "RunStarted":
            current = event.detail.run_id
            if run_id is None and found:
                raise UsageError(f"RUN_ID: {path!r} has several runs; say which")
        if run_id is None or current in ("", run_id):
            found = True
            tree.apply(event)
    if not found:
        raise UsageError(f"--file: {path!r} has no events" + (f" of the run {run_id!r}" if run_id else ""))
