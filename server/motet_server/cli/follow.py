"""Follows a run to its end: shows its events, and turns the first signal into a stop that waits for the receipts."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from motet_server.cli import exits, summary
from motet_server.cli.output import Output, say
from motet_server.cli.render import JsonLines, Plain, Renderer
from motet_server.cli.text import count

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What stops a command: Ctrl-C, a supervisor, and a terminal that closes."""
_TICK = 0.1
"""Seconds between two drawings: as often as rich draws its progress bars."""


class Stream(Protocol):
    """The events of a run, from the engine or from the client."""

    @property
    def run_id(self) -> str: ...

    @property
    def result(self) -> Any: ...

    def __aiter__(self) -> AsyncIterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Followed:
    """How following a run ended."""

    result: Any
    """The run's result; None when the run goes on, or its result was lost."""
    signal: int
    """The signal that came first; 0 means none."""

    @property
    def exit_code(self) -> int:
        if self.signal and (self.result is None or str(self.result.state) != "SUCCEEDED"):
            return exits.SIGNALLED + self.signal
        return exits.of_state(self.result.state) if self.result is not None else exits.FAILED


def choose_renderer(*, json: bool, whole: bool = True) -> Renderer:
    """JSON lines when asked for, the live picture on a terminal, plain lines everywhere else."""
    output = Output()
    if json:
        return JsonLines(output)
    if output.is_terminal and os.environ.get("TERM", "") != "dumb":
        from motet_server.cli.live import Live  # noqa: PLC0415 - pipes do not wait for what only terminals need

        return Live(output, whole=whole)
    return Plain(output, whole=whole)


async def follow(
    stream: Stream,
    renderer: Renderer,
    signals: AsyncIterator[int],
    stop: Callable[[], Awaitable[bool]],
) -> Followed:
    """Show the run to its end. The first signal calls `stop`, which asks for the run's end, or returns False to leave the
    run alone and end here; the second leaves the program at once. Raises BrokenPipeError when the reader has gone.
    """
    first = 0
    over = False

    async def listen() -> None:
        nonlocal first
        async for number in signals:
            if first or over:
                _leave(renderer, number, over=over)
            first = number
            if not await stop():
                nursery.cancel_scope.cancel()

    async def draw() -> None:
        while True:
            renderer.tick()
            await renderer.output.flush()
            await trio.sleep(_TICK)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(draw)
            async for event in stream:
                renderer.event(event)
                await renderer.output.room()
            over = True
            renderer.close()
            if stream.result is not None:
                renderer.result(stream.result)
            await renderer.output.flush()
            nursery.cancel_scope.cancel()
    finally:
        renderer.close()
        renderer.output.flush_now()
    if first and stream.result is not None:
        _say_what_stopped(stream.result)
    return Followed(stream.result, first)


def _say_what_stopped(result: Any) -> None:
    lines = summary.stopped(result)
    heading = f"stopped {count(len(lines), 'member')}" if lines else "nothing had to be stopped"
    say("\n".join([heading, *(f"  {line}" for line in lines)]))


def _leave(renderer: Renderer, number: int, *, over: bool) -> None:
    """End the program without waiting for anything: whoever asks twice wants that."""
    renderer.close()
    renderer.output.flush_now()
    if not over:
        say("left before everything had stopped; members may still run")
    os._exit(exits.SIGNALLED + number)
