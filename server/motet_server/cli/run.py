"""`motet run`: one run, in this process or on a server, shown to its end."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import trio
from cyclopts import Parameter

from motet_server.cli import bounds, common, exits, jsonform, values
from motet_server.cli.access import NO_ACCESS, AccessOptions
from motet_server.cli.bounds import LimitOptions
from motet_server.cli.common import CatalogOption, Flag, JsonOption, LabelOption, ServerOption, open_client, open_engine
from motet_server.cli.follow import SIGNALS, choose_renderer, follow
from motet_server.cli.output import Output
from motet_server.cli.render import Renderer
from motet_server.cli.values import Asked

_UNBOUNDED = LimitOptions()
Opened = tuple[Any, Callable[[], Awaitable[bool]]]
"""A stream of events, and how to ask for the run's end."""


async def run(
    group: str,
    input: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    catalog: CatalogOption = None,
    server: ServerOption = None,
    input_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    json_input: Annotated[bool, Flag] = False,
    var: Annotated[list[str] | None, Parameter(negative="")] = None,
    timeout: str | None = None,  # an option's name, and words
    tenant: str | None = None,
    session: str | None = None,
    limits: LimitOptions = _UNBOUNDED,
    label: LabelOption = None,
    json: JsonOption = False,
    detach: Annotated[bool, Flag] = False,
    access: AccessOptions = NO_ACCESS,
) -> int:
    """Run a group and show it to its end. Ctrl-C stops it and says what was stopped.

    Parameters
    ----------
    group
        Name of a group in the catalog.
    input
        What every member receives; - reads standard input.
    input_file
        File to read the input from; - is standard input.
    json_input
        The input is a JSON document, not text.
    var
        name=value that members see as a variable; may be given more than once.
    timeout
        Bound on the whole run, such as 90, 30s or 1m30s.
    tenant
        On whose account the run is: its quotas and limits hold.
    session
        Id of the conversation that the run continues, in groups with preserve_session.
    detach
        Start the run in the background of the server, print its id and leave.
    """
    common.one_place(catalog, server)
    if detach and server is None:
        raise exits.UsageError("--detach needs --server: a run in this process ends with it")
    asked = Asked(
        group=group,
        input=await values.read_input(input, input_file, json=json_input),
        variables=values.pairs("--var", var),
        labels=values.pairs("--label", label),
        timeout=values.duration("--timeout", timeout),
        tenant=bounds.tenant(tenant),
        limits=limits.made(),
        session=values.session(session),
    )
    if detach and server is not None:
        return await _detach(server, access, asked, json=json)
    renderer = choose_renderer(json=json)
    # The signals are held from before the first member starts: from there on none may end the program without receipts.
    with trio.open_signal_receiver(*SIGNALS) as signals:
        opened = (
            _local(catalog, asked, renderer) if catalog is not None else _remote(str(server), access, asked, renderer)
        )
        async with opened as (stream, stop):
            followed = await follow(stream, renderer, signals, stop)
    return followed.exit_code


@asynccontextmanager
async def _local(path: str, asked: Asked, renderer: Renderer) -> AsyncIterator[Opened]:
    from motet.model.payload import Payload  # noqa: PLC0415
    from motet.model.run import RunRequest  # noqa: PLC0415

    request = RunRequest(
        target=asked.group,
        input=asked.input,
        variables={name: Payload.from_text(value) for name, value in asked.variables.items()},
        timeout=asked.timeout,
        tenant=asked.tenant,
        limits=asked.limits,
        labels=asked.labels,
        session_id=asked.session,
        depth=values.depth(),
    )
    async with open_engine(path) as engine, engine.stream(request) as stream:

        async def stop() -> bool:
            renderer.note("stopping; once more to leave at once")
            stream.cancel()
            await trio.lowlevel.checkpoint()
            return True

        yield stream, stop


@asynccontextmanager
async def _remote(address: str, access: AccessOptions, asked: Asked, renderer: Renderer) -> AsyncIterator[Opened]:
    options = {**_arguments(asked), "request_id": own_request_id()}
    async with open_client(address, access) as client, client.stream(asked.group, **options) as stream:
        yield stream, remote_stop(client, stream, renderer)


def own_request_id() -> str:
    """A key that nobody else has. A run with a key can be cancelled by id while its stream goes on, which brings the
    receipts; it still ends when its caller goes away."""
    return f"cli-{uuid.uuid4().hex}"


def remote_stop(client: Any, stream: Any, renderer: Renderer) -> Callable[[], Awaitable[bool]]:
    """Stops a streamed run on the server through its id, so that the stream still brings the receipts."""
    from motet_client import MotetClientError  # noqa: PLC0415

    async def stop() -> bool:
        renderer.note("stopping; once more to leave at once")
        try:
            await client.cancel(stream.run_id)
        except MotetClientError as error:
            renderer.note(f"the run is left to the server, which stops it: {error.message}")
            return False
        return True

    return stop


async def _detach(address: str, access: AccessOptions, asked: Asked, *, json: bool) -> int:
    async with open_client(address, access) as client:
        started = await client.start(asked.group, **_arguments(asked))
    output = Output()
    output.write(jsonform.line(started) if json else started.run_id + "\n")
    await output.flush()
    return exits.OK


def _arguments(asked: Asked) -> dict[str, Any]:
    from motet_client import Limits, Payload  # noqa: PLC0415

    return {
        "input": Payload(asked.input.kind, asked.input.content),
        "variables": asked.variables,
        "timeout": asked.timeout,
        "tenant": asked.tenant,
        "limits": None if asked.limits is None else Limits(**bounds.said(asked.limits)),
        "labels": asked.labels,
        "session_id": asked.session,
    }
