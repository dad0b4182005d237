"""The process of an MCP server that is spoken to over its standard streams: lines of bounded length, and a sure end.

Knows JSON-RPC messages by their lines; knows neither tools nor calls. In the place of mcp's own transport, which reads lines
without bound and keeps nothing of how a server ended.
"""

import logging
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, cast

import anyio
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from motet.agents._processgroup import REAP_SECONDS, Capture, ProcessGroup
from motet.agents.mcp.convert import RESULT_MOST, TOO_LARGE, Trouble

Inbound: TypeAlias = MemoryObjectReceiveStream[SessionMessage | Exception]
Outbound: TypeAlias = MemoryObjectSendStream[SessionMessage]

LEAVE_SECONDS: Final = 1.0
"""How long a server has to end by itself once its input is closed, which is how the protocol says goodbye."""
TERM_SECONDS: Final = 2.0
"""How long it has after SIGTERM."""
_CHUNK: Final = 64 * 1024
_INLINE: Final = 256 * 1024
"""A message up to this size is decoded at once (about 2 ms); a larger one in a thread."""
_GARBAGE_MOST: Final = 100
"""Lines in a row that are no messages: a banner is borne, a stream of something else is not."""
_WAITING_MOST: Final = 1000
"""Messages that wait for the server to read them: its own requests are answered too, and it may send them without end."""
_LINES_TOLD: Final = 1000
"""Lines of standard error that one session may put into the log."""
_LINE_TOLD: Final = 500
_TAIL: Final = 4096
_ID: Final = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\s*,')
_log = logging.getLogger("motet.agents.mcp")


@dataclass(frozen=True, slots=True)
class Program:
    """What to start."""

    server: str
    """Name of the server, for the log."""
    command: Sequence[str]
    env: Mapping[str, str]
    """All of it: nothing else is inherited."""
    cwd: str | None


def find_program(program: Program) -> str:
    """Path of command[0], looked up in PATH of the program's environment and beside this Python. Raises FileNotFoundError."""
    name = program.command[0]
    if os.sep in name:
        path = Path(program.cwd or "", name).absolute()
        if path.exists():
            return str(path)
    else:
        folders = [one for one in program.env.get("PATH", os.defpath).split(os.pathsep) if Path(one).is_absolute()]
        folders.append(str(Path(sys.executable).parent))
        if found := shutil.which(name, path=os.pathsep.join(folders)):
            return found
    raise FileNotFoundError(f"the program '{name}' was not found; install it, or give its path in command")


@asynccontextmanager
async def connected(program: Program, trouble: Trouble) -> AsyncIterator[tuple[Inbound, Outbound]]:
    """A started server and the two ways to it. On the way out it ends: asked, then terminated, then killed with its group.

    Entered and left in one task. `trouble` is told when the server ends by itself, and how.
    """
    out = Capture(_TAIL, tail=True)
    argv = [find_program(program), *program.command[1:]]
    group = await _ServerProcess.start(
        argv, env=program.env, cwd=program.cwd, feeds=True, stdout=out, stderr=Capture(_TAIL, tail=True)
    )
    process = cast("_ServerProcess", group)
    by_itself = False
    try:
        process.begin(program.server, trouble)
        async with trio.open_nursery() as nursery:
            for task in (process.take, process.give, process.listen, process.watch):
                nursery.start_soon(task)
            try:
                yield process.inbound, process.outbound
            finally:
                by_itself = process.has_stopped_speaking
                nursery.cancel_scope.cancel()
    finally:
        if by_itself:
            with trio.move_on_after(LEAVE_SECONDS, shield=True):
                await process.wait()
        by_itself = process.ended
        with trio.move_on_after(LEAVE_SECONDS + TERM_SECONDS + 2 * REAP_SECONDS, shield=True):
            await process.finish()
        code = process.close()
        if code is None:
            _log.error("process %d of MCP server '%s' did not end on SIGKILL", process.pid, program.server)
        elif by_itself:
            trouble.say(_ending(code, process.last_words))


class _ServerProcess(ProcessGroup):
    """Made by ProcessGroup.start, which knows nothing of streams of messages: `begin` adds them."""

    def begin(self, server: str, trouble: Trouble) -> None:
        self.server = server
        self.trouble = trouble
        self._deliver, self.inbound = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self.outbound, self._requests = anyio.create_memory_object_stream[SessionMessage](0)
        self._taken = trio.Event()
        self._garbage = 0

    @property
    def has_stopped_speaking(self) -> bool:
        """It has closed its output, which is the first that is seen of its end."""
        return self.ended or self._taken.is_set()

    async def wait(self) -> None:
        """Wait for its end."""
        await self._wait_ended()

    @property
    def last_words(self) -> str:
        lines = self.stderr.content.decode(errors="replace").strip().splitlines()
        return lines[-1][:_LINE_TOLD] if lines else ""

    async def take(self) -> None:
        """What the server writes, message by message, until it closes its output or writes what cannot be borne."""
        line, skips = bytearray(), False
        try:
            while chunk := await self._pipes[0][0].receive_some(_CHUNK):
                *ended, rest = chunk.split(b"\n")
                for number, part in enumerate([*ended, rest]):
                    if not skips:
                        line += part
                        if len(line) > RESULT_MOST:
                            await self._refuse(bytes(line[:200]))
                            line, skips = bytearray(), True
                    if number < len(ended):
                        if not skips:
                            await self._message(bytes(line))
                        line, skips = bytearray(), False
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # the session is gone
        except _UnbearableError as error:
            self.trouble.say(str(error))
        finally:
            self._deliver.close()
            self._taken.set()

    async def give(self) -> None:
        """What is sent to the server."""
        assert self._stdin is not None  # noqa: S101 - it is started with a pipe
        try:
            async for message in self._requests:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await self._stdin.send_all(text.encode() + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._deliver.close()  # it takes no more: whoever waits for an answer has to know
        finally:
            self._requests.close()

    async def listen(self) -> None:
        """What it writes to standard error, into the log: bounded, for nothing bounds what a server says."""
        stream, capture = self._pipes[1]
        rest, told = b"", 0
        while chunk := await stream.receive_some(_CHUNK):
            capture.add(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:_LINE_TOLD]
            for line in lines:
                if told < _LINES_TOLD:
                    _log.info("%s: %s", self.server, line[:_LINE_TOLD].decode(errors="replace"))
                elif told == _LINES_TOLD:
                    _log.info("%s: (no more of its standard error is logged)", self.server)
                told += 1

    async def watch(self) -> None:
        """Sees to it that the end of the server is noticed even when something that it started holds its output open."""
        await self._wait_ended()
        with trio.move_on_after(LEAVE_SECONDS):
            await self._taken.wait()
        self._deliver.close()

    async def finish(self) -> None:
        """Ends the server and all of its group. Takes at most LEAVE_SECONDS + TERM_SECONDS + REAP_SECONDS."""
        for stream in (self._deliver, self.inbound, self._requests, self.outbound):
            stream.close()
        if not self.ended:
            assert self._stdin is not None  # noqa: S101 - it is started with a pipe
            self._stdin.close()
            async with trio.open_nursery() as nursery:
                for pipe, capture in self._pipes:  # a server whose last words nobody reads would block on them
                    nursery.start_soon(self._read, pipe, capture, None)
                with trio.move_on_after(LEAVE_SECONDS):
                    await self._wait_ended()
                nursery.cancel_scope.cancel()
        await self.stop(TERM_SECONDS)

    async def _message(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            if len(line) <= _INLINE:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            else:
                message = await trio.to_thread.run_sync(
                    lambda: jsonrpc_message_adapter.validate_json(line, by_name=False)
                )
        except ValueError:
            self._garbage += 1
            if self._garbage >= _GARBAGE_MOST:
                raise _UnbearableError("it writes what is no MCP message to its standard output") from None
            if self._garbage == 1:
                shown = line[:_LINE_TOLD].decode(errors="replace")
                _log.warning("MCP server '%s' wrote what is no message: %s", self.server, shown)
            return
        self._garbage = 0
        if self._requests.statistics().tasks_waiting_send > _WAITING_MOST:
            raise _UnbearableError("it asks and asks, and reads no answer")
        await self._deliver.send(SessionMessage(message))

    async def _refuse(self, head: bytes) -> None:
        """A message that is too large: whoever waits for it is told. Where that cannot be seen, the session ends."""
        found = _ID.match(head)
        if found is None:
            raise _UnbearableError(f"it wrote a message of more than {RESULT_MOST} bytes")
        error = ErrorData(code=INTERNAL_ERROR, message=TOO_LARGE)
        await self._deliver.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error)))


class _UnbearableError(Exception):
    """The server writes what nobody can go on reading."""


def _ending(code: int, last_words: str) -> str:
    how = f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
    return f"{how}: {last_words}" if last_words else how
