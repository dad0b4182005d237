"""A function in a process of its own: started for one call, bounded, told what to do, heard out, and always killed.

The parent's half; `motet.agents._child` is the other. Messages are length-framed pickles of plain values: the child's
are read by an unpickler that makes nothing else.
"""

import io
import json
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio

from motet.agents._reference import Reference
from motet.agents._subprocess import REAP_BOUND, Child, Tail, spawn
from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.payload import Payload
from motet.model.usage import Usage
from motet.ports import Call

MEMORY_EXCEEDED: Final = "MEMORY_EXCEEDED"
"""The function asked for more memory than it may have."""
CPU_EXCEEDED: Final = "CPU_EXCEEDED"
"""The function used more processor time than it may."""
PROCESS_DIED: Final = "PROCESS_DIED"
"""The process ended without an answer; details say how: `exit_code` or `signal`."""
PROCESS_NOT_STARTED: Final = "PROCESS_NOT_STARTED"
"""The system could not start a process."""
FUNCTION_NOT_LOADED: Final = "FUNCTION_NOT_LOADED"
"""The module of the function could not be imported in the process, or has no such function."""

STDERR_KEPT: Final = 8 * 1024
"""Bytes of the end of stderr that a failure's details show."""
LARGEST_MESSAGE: Final = 256 * 1024 * 1024
"""Bytes. Well above what an answer may sensibly be; a bound for what a broken child can make the parent keep."""
_PIPE_GRACE: Final = 1.0
"""Seconds to read what a dead child left in its pipes; more only passes when a process that left the group holds them."""
_HEADER: Final = struct.Struct(">Q")
_BOOTSTRAP: Final = (
    "import json,sys;sys.path[:]=json.loads(sys.argv[1]);from motet.agents._child import main;main()"  # as `spawn` does
)


class Processes:
    """Calls of one function, each in a fresh interpreter. Raises ValueError for a function no other process can find.

    `memory_bytes` bounds the address space, `cpu_seconds` the processor time beyond the start of the interpreter.
    """

    def __init__(
        self, fn: Callable[..., Any], name: str, *, memory_bytes: int | None, cpu_seconds: float | None
    ) -> None:
        if os.name != "posix":
            raise ValueError(f"function {name!r}: isolation='process' needs process groups, which this system has not")
        self._name = name
        self._reference = Reference.of(fn, name)
        self._memory_bytes = memory_bytes
        self._cpu_seconds = cpu_seconds

    async def call(self, call: Call) -> Reply:
        Reference.refuse_while_loading()
        # -P: what lies in the working directory must not stand in for a library.
        argv = [sys.executable, "-P", "-c", _BOOTSTRAP, json.dumps(sys.path)]
        try:
            child = await spawn(argv)
        except OSError as error:
            message = f"no process could be started for function {self._name!r}: {error.strerror or error}"
            raise AgentError(message, reason=PROCESS_NOT_STARTED, retryable=True) from error
        stderr = Tail(STDERR_KEPT)
        answer: tuple[Any, ...] | None = None
        status: int | None = None
        hearing = trio.CancelScope()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stderr.read, child.stderr)
                nursery.start_soon(_tell, child, self._request(call))
                nursery.start_soon(_stop_hearing, child, hearing)
                with hearing:
                    answer = await _hear(child, call)
                child.kill()
                if answer is None or answer[0] == "error":
                    with trio.move_on_after(_PIPE_GRACE):
                        await stderr.ended.wait()
                nursery.cancel_scope.cancel()
        finally:
            # Killed at once and without asking: a function has no way to be asked. Also after an answer, for the
            # processes that it started and left behind in its group.
            child.kill()
            with trio.move_on_after(REAP_BOUND, shield=True):
                status = await child.reap()
            if status is None:
                call.detached = f"process {child.pid} of function {self._name!r}"
            else:
                call.stop_detail = "process killed"
        if answer is None:
            raise self._death(status, stderr.text)
        return self._result(answer, stderr.text)

    def _request(self, call: Call) -> bytes:
        left = call.time_left()
        request = {
            "reference": self._reference.plain(),
            "name": self._name,
            "argv": list(sys.argv),
            "input": _plain(call.input),
            "variables": {name: _plain(payload) for name, payload in call.variable_payloads.items()},
            "seat": {
                "run_id": call.run_id,
                "group": call.group,
                "member": call.member,
                "session_id": call.session_id,
                "attempt": call.attempt,
                "depth": call.depth,
                "idempotency_key": call.idempotency_key,
            },
            "history": [
                {field: getattr(entry, field) for field in ("role", "member", "group", "run_id", "at")}
                | {"payload": _plain(entry.payload)}
                for entry in call.history
            ],
            "left": {"cost_nanos": call.left("cost_nanos"), "tokens": call.left("tokens")},
            "time_left": left,
            "memory_bytes": self._memory_bytes,
            "cpu_seconds": self._cpu_seconds,
        }
        return pickle.dumps(request)

    def _result(self, answer: tuple[Any, ...], stderr: str) -> Reply:
        if answer[0] == "reply":
            _, output, usage, metadata = answer
            return Reply(Payload(*output), Usage(**usage) if usage is not None else None, metadata)
        _, reason, message, details, retryable, retry_after = answer
        if stderr:
            details = {**details, "stderr": stderr}
        raise AgentError(message, reason=reason, details=details, retryable=retryable, retry_after=retry_after)

    def _death(self, status: int | None, stderr: str) -> AgentError:
        details: dict[str, Any] = {"stderr": stderr} if stderr else {}
        died_by = -status if status is not None and status < 0 else 0
        # SIGXCPU comes first; SIGKILL a second later, to a function that ignores it.
        if self._cpu_seconds is not None and died_by in (signal.SIGXCPU, signal.SIGKILL):
            message = f"function {self._name!r} used more than its {self._cpu_seconds:g} s of processor time"
            return AgentError(message, reason=CPU_EXCEEDED, details={**details, "cpu_seconds": self._cpu_seconds})
        if self._memory_bytes is not None and "MemoryError" in stderr:
            message = f"function {self._name!r} asked for more than its {self._memory_bytes} bytes of memory"
            return AgentError(message, reason=MEMORY_EXCEEDED, details={**details, "memory_bytes": self._memory_bytes})
        how = "without an answer"
        if died_by:
            details["signal"] = _signal_name(died_by)
            how = f"by {details['signal']}"
        elif status is not None:
            details["exit_code"] = status
            how = f"with exit code {status} and without an answer"
        return AgentError(f"the process of function {self._name!r} ended {how}", reason=PROCESS_DIED, details=details)


async def _tell(child: Child, request: bytes) -> None:
    """Send the request; stdin then stays open: the child takes its end for our death."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await child.stdin.send_all(_HEADER.pack(len(request)) + request)


async def _stop_hearing(child: Child, hearing: trio.CancelScope) -> None:
    """A process that the child forked may hold the pipe open after the child's death."""
    await child.exited()
    child.kill()
    hearing.deadline = trio.current_time() + _PIPE_GRACE


async def _hear(child: Child, call: Call) -> tuple[Any, ...] | None:
    """Pass reports and spending on until the answer, which is returned; None when there is none."""
    buffer = bytearray()
    while header := await _take(child, buffer, _HEADER.size):
        (size,) = _HEADER.unpack(header)
        body = await _take(child, buffer, size) if size <= LARGEST_MESSAGE else b""
        if not body:
            return None
        message: tuple[Any, ...] = _PlainUnpickler(io.BytesIO(body)).load()
        if message[0] == "report":
            call.report(Payload(*message[1]))
        elif message[0] == "spend":
            call.spend(Usage(**message[1]))
        else:
            return message
    return None


async def _take(child: Child, buffer: bytearray, size: int) -> bytes:
    """The next `size` bytes; empty when the pipe ends before."""
    while len(buffer) < size:
        chunk = await child.stdout.receive_some()
        if not chunk:
            return b""
        buffer += chunk
    taken = bytes(buffer[:size])
    del buffer[:size]
    return taken


class _PlainUnpickler(pickle.Unpickler):
    """Makes text, numbers and containers only."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not a plain value")


def _plain(payload: Payload) -> tuple[str, str | bytes, str]:
    return payload.kind, payload.content, payload.media_type


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
