"""Standard output that never stops the event loop: a reader that pauses, as a pager does, blocks a thread only."""

import io
import sys
from contextlib import suppress
from typing import TextIO

import trio

ENOUGH = 1 << 18
"""Characters that may wait before the writer is waited for: a few screens of a pager, far below what matters in memory."""


class Output:
    """Text on its way to a stream. `write` never waits; whoever writes much awaits `flush` or `room`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._waiting: list[str] = []
        self._size = 0
        self._writing = trio.Lock()

    @property
    def is_terminal(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> None:
        self._waiting.append(text)
        self._size += len(text)

    async def flush(self) -> None:
        """Write all that waits. Raises BrokenPipeError when nobody reads any more."""
        async with self._writing:
            text = self._take()
            # A thread that writes cannot be interrupted, so being cancelled here would only lose the text.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._put, text)

    async def room(self) -> None:
        """Wait while too much waits."""
        if self._size > ENOUGH:
            await self.flush()

    def flush_now(self) -> None:
        """Write all that waits from this thread, so that a terminal gets its cursor back. A pipe might block: not written."""
        if self.is_terminal:
            self._put(self._take())

    def _take(self) -> str:
        text = "".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return text

    def _put(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()


def make_tolerant() -> None:
    """Let the standard streams write what their encoding cannot hold as an escape, instead of raising amid an answer."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A sentence for a person on standard error, apart from what the command prints. Lost when nobody reads there any more."""
    with suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
