"""`motet agents`, `groups` and `check`: what a catalog holds, and whether it is right."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from motet.errors import CatalogError
from motet_server.cli import cards, common, exits, jsonform, policies, tables
from motet_server.cli.access import NO_ACCESS, AccessOptions
from motet_server.cli.common import CatalogOption, JsonOption, ServerOption, load_catalog, open_client
from motet_server.cli.output import Output
from motet_server.cli.text import count, cut, one_line, seconds, usd


async def agents(
    *,
    catalog: CatalogOption = None,
    server: ServerOption = None,
    json: JsonOption = False,
    access: AccessOptions = NO_ACCESS,
) -> int:
    """List the agents of a catalog file or a server, by name."""
    common.one_place(catalog, server)
    found: list[cards.Shown]
    if catalog is not None:
        found = [cards.shown(agent) for agent in (await load_catalog(catalog)).agents.values()]
    else:
        async with open_client(str(server), access) as client:
            found = [cards.Shown(info, info.provider) for info in await client.agents()]
    found.sort(key=lambda each: each.info.name)
    limits = ("timeout", "parallel", "provider", "rate", "breaker")
    columns = ("agent", "kind", "model", "tools", *limits, "replay safe", "cost", "tokens", "description")
    return await _print(found, columns, map(_agent, found), "no agents", json=json)


async def groups(
    *,
    catalog: CatalogOption = None,
    server: ServerOption = None,
    json: JsonOption = False,
    access: AccessOptions = NO_ACCESS,
) -> int:
    """List the groups of a catalog file or a server, by name."""
    common.one_place(catalog, server)
    found: list[Any]
    if catalog is not None:
        found = list((await load_catalog(catalog)).groups.values())
    else:
        async with open_client(str(server), access) as client:
            found = list(await client.groups())
    found.sort(key=lambda entry: entry.group.name)
    guards = ("limits", "retry", "hedge", "idempotency")
    columns = ("group", "aggregation", "members", "timeout", "parallel", *guards, "description")
    return await _print(found, columns, map(_group, found), "no groups", json=json)


async def check(file: str, /) -> int:
    """Check a catalog file and print every mistake in it, one a line.

    Parameters
    ----------
    file
        Catalog file in TOML.
    """
    output = Output()
    try:
        catalog = await load_catalog(file)
    except CatalogError as error:
        output.write("".join(one_line(str(problem)) + "\n" for problem in error.problems))
        await output.flush()
        return exits.USAGE
    output.write(f"ok: {count(len(catalog.agents), 'agent')}, {count(len(catalog.groups), 'group')}\n")
    await output.flush()
    return exits.OK


async def _print(
    found: Collection[Any], columns: Sequence[str], rows: Iterable[Sequence[str]], nothing: str, *, json: bool
) -> int:
    output = Output()
    if json:
        for item in found:
            output.write(jsonform.line(item.value() if isinstance(item, cards.Shown) else item))
    elif found:
        made = tables.table(columns, rows, numbers=("timeout", "parallel", "cost", "tokens"))
        output.write(tables.render(made, terminal=output.is_terminal))
    else:
        output.write(nothing + "\n")
    await output.flush()
    return exits.OK


def _bound(value: float | None) -> str:
    return "" if value is None else seconds(value)


def _agent(shown: cards.Shown) -> tuple[str, ...]:
    info = shown.info
    return (
        info.name,
        str(info.kind),
        shown.model,
        cut(shown.tools, 100),
        _bound(info.timeout),
        str(info.max_parallel or ""),
        shown.provider,
        policies.rate(info),
        policies.breaker(info.breaker),
        policies.replay_safe(info.replay_safe),
        "" if info.estimated_cost_nanos is None else usd(info.estimated_cost_nanos),
        "" if info.estimated_tokens is None else f"{info.estimated_tokens:,}",
        cut(info.description, 100),
    )


def _group(entry: Any) -> tuple[str, ...]:
    group = entry.group
    return (
        group.name,
        group.aggregation.name,
        cut(", ".join(map(_member, group.members)), 100),
        _bound(group.timeout),
        str(group.max_parallel or ""),
        policies.limits(group.limits),
        policies.retry(group.retry),
        policies.hedge(group.hedge),
        policies.idempotency(group.idempotency),
        cut(entry.description, 100),
    )


def _member(member: Any) -> str:
    name = member.name or (member.agent if isinstance(member.agent, str) else member.agent.info.name)
    return f"{name} x{member.replicas}" if member.replicas is not None else str(name)
