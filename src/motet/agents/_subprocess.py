"""A child process that leads a group of its own: started, killed with all its group, reaped. Knows nothing of agents."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

REAP_BOUND: Final = 5.0
"""Seconds to wait for a killed process to be gone. The kernel takes microseconds; only one stuck in the kernel is late."""


class Child:
    """Made by `spawn`; whoever made it calls `kill` and `reap` in a `finally`."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.stdin = _pipe(process.stdin)
        self.stdout = _pipe(process.stdout)
        self.stderr = _pipe(process.stderr)
        self.pid = process.pid
        self._reaped = False

    async def exited(self) -> None:
        """Wait for the leader's end, without reaping it where the system allows: until it is reaped its number, which
        is the group's too, cannot become another's."""
        if not hasattr(os, "pidfd_open"):
            await self.reap_status()
            return
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:  # no descriptor left, or a kernel without them
            await self.reap_status()
            return
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)

    def kill(self) -> None:
        """SIGKILL to every process of the group. Does nothing once the leader is reaped."""
        if self._reaped:
            return
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            os.killpg(self.pid, signal.SIGKILL)

    async def reap_status(self) -> int:
        """Wait for the end; the exit code, or minus the signal's number."""
        status = await self._process.wait()
        self._reaped = True
        return status

    async def reap(self) -> int:
        """After `kill`, under a shield bounded by REAP_BOUND: close the pipes, collect the process, return its status."""
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
        return await self.reap_status()


async def spawn(argv: Sequence[str]) -> Child:
    """Start a program in a session and process group of its own, with pipes on its three streams. Raises OSError.

    A cancel while it starts is seen before the start or after this returned, never between.
    """
    process = await trio.lowlevel.open_process(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    return Child(process)


def _pipe(stream: object) -> trio.lowlevel.FdStream:
    if not isinstance(stream, trio.lowlevel.FdStream):  # what trio makes of pipes wherever there are process groups
        raise TypeError(f"{stream!r} is not a pipe")
    return stream


class Tail:
    """The last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.ended = trio.Event()
        """The stream has ended: nothing more will come."""

    async def read(self, stream: trio.lowlevel.FdStream) -> None:
        """Read the stream to its end, so that the child never waits for us."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while chunk := await stream.receive_some():
                self._kept += chunk
                if len(self._kept) > self._limit:
                    del self._kept[: -self._limit]
        self.ended.set()

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace")
