"""A program that leads a process group of its own: started, fed, read within bounds, asked to stop, then forced.

Knows trio and the operating system; knows neither agents nor calls.
"""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from subprocess import DEVNULL, PIPE
from typing import Final

import trio
from trio.lowlevel import FdStream

REAP_SECONDS: Final = 5.0
"""How long SIGKILL is given. Only a process stuck inside the kernel outlives it."""
_CHUNK: Final = 64 * 1024
"""A Linux pipe's default capacity: one read empties it."""
_PIPE_MOST: Final = 1024 * 1024
"""A Linux pipe's greatest capacity without privileges: what can be waiting once the program has ended."""


class Capture:
    """What a program writes to one pipe: all of it up to `limit` bytes, or, with `tail`, the last `limit` bytes."""

    def __init__(self, limit: int, *, tail: bool = False) -> None:
        self.limit = limit
        self.tail = tail
        self.overflowed = False
        """More than `limit` bytes came to a capture that is not a tail."""
        self._buffer = bytearray()

    def add(self, chunk: bytes) -> None:
        self._buffer += chunk
        if self.tail:
            # Trimmed at twice the limit, not at each chunk, so that a byte is moved at most once on average.
            if len(self._buffer) > 2 * self.limit:
                del self._buffer[: -self.limit]
        elif len(self._buffer) > self.limit:
            self.overflowed = True
            del self._buffer[self.limit :]

    @property
    def content(self) -> bytes:
        return bytes(self._buffer[-self.limit :])


class ProcessGroup:
    """A started program and everything it starts that does not leave its group.

    The leader is watched without being reaped, because its id names the group: reaped first, the id could already be
    another's when the group is signalled. (Where there is no pidfd, trio reaps first and that gap is accepted.)
    """

    def __init__(self, process: trio.Process, stdout: Capture, stderr: Capture) -> None:
        self.pid = process.pid
        self.stdout = stdout
        self.stderr = stderr
        self.ended = False
        """The leader has ended."""
        self._process = process
        self._pipes = [(_fd_stream(process.stdout), stdout), (_fd_stream(process.stderr), stderr)]
        self._stdin = _fd_stream(process.stdin) if process.stdin is not None else None
        self._pidfd: int | None = None
        with contextlib.suppress(OSError, AttributeError):  # an old kernel, another system, or no descriptor left
            self._pidfd = os.pidfd_open(self.pid)

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None,
        feeds: bool,
        stdout: Capture,
        stderr: Capture,
    ) -> "ProcessGroup":
        """Start argv[0], a path. Raises OSError when that fails. The caller calls `close` whatever happens after.

        A cancellation while it starts takes effect afterwards, so that no process is lost.
        """
        process = await trio.lowlevel.open_process(
            [argument.encode() for argument in argv],
            stdin=PIPE if feeds else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
        return cls(process, stdout, stderr)

    async def communicate(self, data: bytes) -> None:
        """Feed, read and wait, until the leader has ended or stdout has overflowed (then it still runs).

        What the leader leaves in its group is killed at once. The end of the pipes is not awaited: a process that left
        the group may hold them for ever, and everything the leader wrote is in them when it has ended.
        """
        async with trio.open_nursery() as nursery:
            if self._stdin is not None:
                nursery.start_soon(self._feed, self._stdin, data)
            for stream, capture in self._pipes:
                nursery.start_soon(self._read, stream, capture, nursery.cancel_scope)
            await self._wait_ended()
            self.send(signal.SIGKILL)  # here, where no cancellation can come between
            nursery.cancel_scope.cancel()
        if self.ended:
            for stream, capture in self._pipes:
                _drain(stream, capture)

    async def stop(self, grace: float) -> str:
        """SIGTERM to the group, `grace` seconds for the leader to end, then SIGKILL to the group.

        Says what was needed; empty when the leader runs on even so. Takes at most `grace` + REAP_SECONDS. The caller
        shields it: cancelled in the middle it would leave the group running.
        """
        async with trio.open_nursery() as nursery:
            for stream, capture in self._pipes:  # a program whose last words nobody reads would block on them
                nursery.start_soon(self._read, stream, capture, None)
            said = await self._stop(grace)
            nursery.cancel_scope.cancel()
        return said

    async def _stop(self, grace: float) -> str:
        began = trio.current_time()
        if self.ended or self._has_ended():
            self.send(signal.SIGKILL)
            return "had already ended"
        self.send(signal.SIGTERM)
        with trio.move_on_after(grace):
            await self._wait_ended()
        self.send(signal.SIGKILL)  # also after a leader that obeyed: the rest of its group goes with it
        if self.ended:
            return "ended on SIGTERM"
        took = trio.current_time() - began
        with trio.move_on_after(REAP_SECONDS):
            await self._wait_ended()
        return f"killed by SIGKILL after {took:.1f} s" if self.ended else ""

    def send(self, number: signal.Signals) -> None:
        """Signal the whole group; nothing when nobody in it is left or may be signalled."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def close(self) -> int | None:
        """Close the pipes and reap the leader. Its exit code, negative for a signal; None when it still runs."""
        for stream, _ in self._pipes:
            stream.close()
        if self._stdin is not None:
            self._stdin.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        return self._process.returncode

    async def _wait_ended(self) -> None:
        if self._pidfd is None:
            await self._process.wait()
        else:
            await trio.lowlevel.wait_readable(self._pidfd)
        self.ended = True

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):
            return False
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    async def _feed(self, stream: FdStream, data: bytes) -> None:
        try:
            await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # the program closed its input early: it needs no more, which is no failure
        finally:
            stream.close()

    async def _read(self, stream: FdStream, capture: Capture, on_overflow: trio.CancelScope | None) -> None:
        while chunk := await stream.receive_some(_CHUNK):
            capture.add(chunk)
            if on_overflow is not None and capture.overflowed:
                on_overflow.cancel()


def _drain(stream: FdStream, capture: Capture) -> None:
    """Take what waits in a pipe, without waiting. Bounded, for a process outside the group may write on and on."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(_PIPE_MOST // _CHUNK):
            chunk = os.read(stream.fileno(), _CHUNK)
            if not chunk:
                return
            capture.add(chunk)


def _fd_stream(stream: object) -> FdStream:
    if not isinstance(stream, FdStream):  # trio promises it on POSIX, the only systems with process groups
        raise TypeError("commands need a POSIX system")
    return stream
