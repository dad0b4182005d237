"""`motet watch`, `runs` and `cancel`: the runs in the background of a server."""

from datetime import UTC
from typing import Annotated, Any

import trio
from cyclopts import Parameter, validators

from motet.model.state import State
from motet_server.cli import exits, jsonform, summary, tables, values
from motet_server.cli.access import NO_ACCESS, AccessOptions
from motet_server.cli.common import JsonOption, LabelOption, NeededServer, open_client
from motet_server.cli.follow import SIGNALS, choose_renderer, follow
from motet_server.cli.output import Output

_STATES = (State.RUNNING, State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED)


async def watch(
    run_id: str,
    /,
    *,
    server: NeededServer,
    after: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    json: JsonOption = False,
    access: AccessOptions = NO_ACCESS,
) -> int:
    """Show a background run from its first event, or from a cursor, to its end. Ctrl-C stops the watching, not the run.

    Parameters
    ----------
    run_id
        Id of the run.
    after
        Sequence number of the last event seen already.
    """
    renderer = choose_renderer(json=json)

    async def leave() -> bool:
        renderer.note(f"the run goes on; stop it with: motet cancel {run_id} --server {server}")
        await trio.lowlevel.checkpoint()
        return False

    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with open_client(server, access) as client, client.watch(run_id, after_sequence=after) as stream:
            followed = await follow(stream, renderer, signals, leave)
    return followed.exit_code


async def runs(
    *,
    server: NeededServer,
    state: Annotated[list[str] | None, Parameter(negative="")] = None,
    label: LabelOption = None,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 50,
    json: JsonOption = False,
    access: AccessOptions = NO_ACCESS,
) -> int:
    """List the background runs of a server, newest first.

    Parameters
    ----------
    state
        Only runs in this state: running, succeeded, failed, timed_out or cancelled; may be given more than once.
    limit
        Most runs to list.
    """
    states = [_state(word) for word in state or ()]
    found: list[Any] = []
    async with open_client(server, access) as client:
        from motet_client import State as ClientState  # noqa: PLC0415  # the client's own, by the same names

        listed = client.list_runs(
            states=[ClientState(state) for state in states], labels=values.pairs("--label", label), page_size=limit
        )
        async for run in listed:
            found.append(run)
            if len(found) == limit:
                break
    output = Output()
    if json:
        for run in found:
            output.write(jsonform.line(run))
    else:
        columns = ("run", "target", "state", "started", "ended", "events", "tenant", "labels")
        made = tables.table(columns, map(_row, found), numbers=("events",))
        output.write(tables.render(made, terminal=output.is_terminal) if found else "no runs\n")
    await output.flush()
    return exits.OK


async def cancel(
    run_id: str, /, *, server: NeededServer, json: JsonOption = False, access: AccessOptions = NO_ACCESS
) -> int:
    """Stop a background run, wait until it has stopped and say what was stopped.

    Parameters
    ----------
    run_id
        Id of the run.
    """
    async with open_client(server, access) as client:
        run = await client.cancel(run_id)
    output = Output()
    if json:
        output.write(jsonform.line(run))
    elif run.result is None:
        output.write(f"{run.state!s}\n")
    else:
        lines = [f"  {line}\n" for line in summary.stopped(run.result)]
        output.write("".join([summary.ending(run.result, terminal=output.is_terminal), *lines]))
    await output.flush()
    return exits.OK


def _state(word: str) -> State:
    name = word.upper().replace("-", "_")
    if name not in {str(state) for state in _STATES}:
        raise exits.UsageError(f"--state: {word!r} is not one of {', '.join(str(state).lower() for state in _STATES)}")
    return State(name)


def _row(run: Any) -> tuple[str, ...]:
    def when(moment: Any) -> str:
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if moment is not None else ""

    labels = " ".join(f"{name}={value}" for name, value in run.labels.items())
    return (
        run.run_id,
        run.target,
        str(run.state),
        when(run.started_at),
        when(run.ended_at),
        str(run.last_sequence or ""),
        run.tenant,
        labels,
    )
