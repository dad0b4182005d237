"""`motet limits`: what is in use of every limit of a server, once or each second."""

import os
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import trio
from cyclopts import Parameter
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from motet_server.cli import bounds, exits, jsonform, tables
from motet_server.cli.access import NO_ACCESS, AccessOptions
from motet_server.cli.common import Flag, JsonOption, open_client
from motet_server.cli.follow import SIGNALS
from motet_server.cli.output import Output
from motet_server.cli.text import figure, percent, seconds, usd

EVERY = 1.0
"""Seconds between two looks."""
_COLUMNS = ("scope", "name", "guard", "what", "used", "limit", "reserved", "share", "window", "state")
_NUMBERS = ("used", "limit", "reserved", "share")
_WINDOWS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}
_DISPENSABLE = ("share", "guard", "reserved")
"""Columns that a narrow terminal goes without, the first first: a table that is cut at its edge hides what matters most."""
_SHARES = {"failure_rate"}
"""Guards whose figures are shares of a whole."""


async def limits(
    *,
    server: Annotated[
        str, Parameter(name=["--server", "--address"], help="Address of the server.")
    ] = "127.0.0.1:50061",
    tenant: str | None = None,
    follow: Annotated[bool, Flag] = False,
    json: JsonOption = False,
    access: AccessOptions = NO_ACCESS,
) -> int:
    """Show what is in use of every limit of a server, and how many members wait for one.

    Parameters
    ----------
    tenant
        Only the limits of this tenant and of its runs.
    follow
        Show it anew each second, until Ctrl-C.
    """
    whose = bounds.tenant(tenant)
    output = Output()
    if not follow:
        async with open_client(server, access) as client:
            output.write(shown(await client.limits(whose), whose, json=json, terminal=output.is_terminal))
        await output.flush()
        return exits.OK
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with open_client(server, access) as client:
            return exits.SIGNALLED + await _follow(client, whose, output, signals, json=json)


async def _follow(client: Any, tenant: str, output: Output, signals: AsyncIterator[int], *, json: bool) -> int:
    """Show it until a signal comes. Returns its number."""
    number = 0

    async def listen() -> None:
        nonlocal number
        number = await anext(signals)
        nursery.cancel_scope.cancel()

    on_screen = not json and output.is_terminal and os.environ.get("TERM", "") != "dumb"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await (_draw(client, tenant, output) if on_screen else _print(client, tenant, output, json=json))
    return number


async def _draw(client: Any, tenant: str, output: Output) -> None:
    from motet_server.cli.live import screen  # noqa: PLC0415 - pipes do not wait for what only terminals need

    live = screen(output, transient=False)
    try:
        while True:
            found = await client.limits(tenant)
            if not live.is_started:
                live.start()
            parts = [_table(found.uses, live.console.width)] if found.uses else []
            live.update(Group(*parts, Text(_waiting(found, tenant))), refresh=True)
            await output.flush()
            await trio.sleep(EVERY)
    finally:
        live.stop()
        output.flush_now()


async def _print(client: Any, tenant: str, output: Output, *, json: bool) -> None:
    first = True
    while True:
        found = await client.limits(tenant)
        gap = "" if first or json else "\n"
        first = False
        output.write(gap + shown(found, tenant, json=json, terminal=output.is_terminal))
        await output.flush()
        await trio.sleep(EVERY)


def shown(found: Any, tenant: str = "", *, json: bool, terminal: bool) -> str:
    """What is in use, as a table and a line of how many wait; with `json` as one JSON object."""
    if json:
        return jsonform.line(found)
    table = "no limit is in use\n"
    if found.uses:
        table = tables.render(_table(found.uses, Console().width if terminal else None), terminal=terminal)
    return f"{table}{_waiting(found, tenant)}\n"


def _waiting(found: Any, tenant: str) -> str:
    return f"waiting: {found.waiting:,}{' of all tenants' if tenant else ''}"


def _table(uses: Sequence[Any], width: int | None) -> Table:
    """Sorted by scope and name; without what is dispensable where it does not fit the `width`. None means any width."""
    ordered = sorted(uses, key=lambda use: (use.scope, use.name, use.guard, use.what))
    rows = [dict(zip(_COLUMNS, row(use), strict=True)) for use in ordered]
    made = Table()
    for dropped in range(len(_DISPENSABLE) + 1):
        columns = [column for column in _COLUMNS if column not in _DISPENSABLE[:dropped]]
        made = tables.table(columns, ([cells[column] for column in columns] for cells in rows), numbers=_NUMBERS)
        if width is None or tables.narrowest(made) <= width:
            break
    return made if width is None else tables.fit(made, width)


def row(use: Any) -> tuple[str, ...]:
    """One limit as the cells of the table."""
    return (
        use.scope,
        use.name,
        use.guard,
        "cost" if use.what == "cost_nanos" else use.what,
        _amount(use, use.used),
        "" if use.limit is None else _amount(use, use.limit),
        _amount(use, use.reserved) if use.reserved else "",
        percent((use.used + use.reserved) / use.limit) if use.limit and use.guard not in _SHARES else "",
        "" if use.window is None else _WINDOWS.get(use.window, seconds(use.window)),
        use.state,
    )


def _amount(use: Any, value: float) -> str:
    if use.guard in _SHARES:
        return percent(value)
    if use.what == "cost_nanos":
        return usd(round(value))
    return seconds(value) if use.what == "seconds" else figure(value)
