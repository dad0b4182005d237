"""The process in which one function answers one call. Reads the request from stdin, writes reports, what is spent and the
answer to its first stdout; what the function prints goes to stderr. Ends, with its whole group, when its parent does."""

import inspect
import json
import math
import os
import pickle
import resource
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, BinaryIO, Final, NoReturn

import trio

from motet.agents._binding import Binding, reply_of
from motet.agents._reference import Reference
from motet.agents.function import FunctionAgent
from motet.agents.process import FUNCTION_NOT_LOADED, LARGEST_MESSAGE, MEMORY_EXCEEDED
from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.payload import Payload
from motet.model.plan import Plan
from motet.model.reason import AGENT_FAILED, OUTPUT_INVALID
from motet.model.result import RunResult
from motet.model.session import SessionEntry
from motet.model.usage import Usage
from motet.ports import Call, Resident, Spendable

_HEADER: Final = struct.Struct(">Q")
_RESERVE: Final = 1024 * 1024
"""Bytes kept free under a memory bound to say that it was reached."""
_WATCHER_STACK: Final = 256 * 1024
"""Bytes: little beside the memory bound, which counts it."""


def main() -> NoReturn:
    results = os.dup(1)
    os.dup2(2, 1)  # what the function prints must not mix with the answer
    life = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    request = _read_request(life)
    threading.stack_size(_WATCHER_STACK)
    threading.Thread(target=_die_with_parent, args=(life,), daemon=True).start()
    threading.stack_size(0)
    with os.fdopen(results, "wb") as pipe:
        channel = _Channel(pipe, request["history"], request["left"])
        channel.send(_answer(request, channel))
    # Without the interpreter's own farewell: nothing that the function started may hold up the answer's end.
    os._exit(0)


def _read_request(descriptor: int) -> Mapping[str, Any]:
    with os.fdopen(os.dup(descriptor), "rb") as pipe:
        header = pipe.read(_HEADER.size)
        if len(header) < _HEADER.size:
            os._exit(1)  # the parent is gone
        (size,) = _HEADER.unpack(header)
        request: Mapping[str, Any] = pickle.loads(pipe.read(size))  # noqa: S301 - from the parent process, over a pipe of its own
    return request


def _die_with_parent(descriptor: int) -> None:
    """The parent never writes again, so the pipe ends when the parent does, however it dies."""
    while os.read(descriptor, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Channel:
    """Messages to the parent, whole, from any thread. Stands behind the call as its host."""

    def __init__(
        self, pipe: BinaryIO, history: Sequence[Mapping[str, Any]], left: Mapping[Spendable, int | None]
    ) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._left = left
        """When the process was started."""
        self.history = [SessionEntry(**{**entry, "payload": Payload(*entry["payload"])}) for entry in history]

    def send(self, message: tuple[Any, ...]) -> None:
        body = pickle.dumps(message)
        if len(body) > LARGEST_MESSAGE:
            text = f"the answer is larger than {LARGEST_MESSAGE} bytes"
            body = pickle.dumps(("error", OUTPUT_INVALID, text, {}, False, None))
        with self._lock:
            self._pipe.write(_HEADER.pack(len(body)))
            self._pipe.write(body)
            self._pipe.flush()

    def report(self, call: Call, report: Payload) -> None:  # noqa: ARG002 - the port's signature
        self.send(("report", _plain(report)))

    async def run(
        self,
        call: Call,  # noqa: ARG002 - the port's signature
        target: Plan | str,  # noqa: ARG002 - the port's signature
        input: Payload | None,  # noqa: ARG002 - the port's signature
        variables: Mapping[str, Payload],  # noqa: ARG002 - the port's signature
        timeout: float | None,  # noqa: ARG002 - the port's signature
        *,
        deeper: bool = True,  # noqa: ARG002 - the port's signature
    ) -> RunResult:
        raise AgentError(
            "a function in a process of its own cannot run groups: the engine is in another process; "
            "leave isolation='process' out for this function",
            reason="NESTED_RUN_UNAVAILABLE",
        )

    def left(self, what: Spendable) -> int | None:
        return self._left[what]

    def keep(self, resident: Resident) -> None:
        raise AgentError(
            f"a function in a process of its own cannot keep {resident!r} alive: the engine is in another process; "
            "leave isolation='process' out for this function",
            reason="NESTED_RUN_UNAVAILABLE",
        )


class _ChildCall(Call):
    __slots__ = ("_channel", "_end")

    def __init__(self, request: Mapping[str, Any], host: _Channel) -> None:
        variables = {name: Payload(*plain) for name, plain in request["variables"].items()}
        super().__init__(Payload(*request["input"]), host=host, variables=variables, **request["seat"])
        self._channel = host
        self._end: float = time.monotonic() + request["time_left"]
        self.deadline = self._end

    def spend(self, usage: Usage) -> None:
        # Told at once: it counts also when this process is killed.
        super().spend(usage)
        self._channel.send(("spend", asdict(usage)))

    def time_left(self) -> float:
        return max(0.0, self._end - time.monotonic())


def _answer(request: Mapping[str, Any], channel: _Channel) -> tuple[Any, ...]:
    """The reply, or the failure, as plain values."""
    name = request["name"]
    reserve: bytearray | None = bytearray(_RESERVE)
    try:
        _bound(request["memory_bytes"], request["cpu_seconds"])
        reply = _call(request, channel)
        usage = asdict(reply.usage) if reply.usage is not None else None
        answer = ("reply", _plain(reply.output), usage, _json(reply.metadata))
        sys.stdout.flush()
    except AgentError as error:
        return ("error", error.reason, _sayable(error), _json(error.details), error.retryable, error.retry_after)
    except MemoryError:
        reserve = None  # so that there is room to say it
        bound = request["memory_bytes"]
        message = f"function {name!r} asked for more memory than " + ("there is" if bound is None else f"{bound} bytes")
        return ("error", MEMORY_EXCEEDED, message, {} if bound is None else {"memory_bytes": bound}, False, None)
    except SystemExit as error:
        return ("error", AGENT_FAILED, f"function {name!r} called sys.exit({error.code!r})", {}, False, None)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is goes to the parent
        traceback.print_exc()
        kind = type(error).__name__
        return ("error", AGENT_FAILED, f"{kind}: {_sayable(error)}", {"exception": kind}, False, None)
    del reserve
    return answer


def _call(request: Mapping[str, Any], channel: _Channel) -> Reply:
    name = request["name"]
    sys.argv = request["argv"]
    found = _found(Reference.from_plain(request["reference"]), name)
    binding = found.binding if isinstance(found, FunctionAgent) else Binding(found, name)
    fn = found.fn if isinstance(found, FunctionAgent) else found
    call = _ChildCall(request, channel)
    positional, keywords = binding.arguments(call)
    value = fn(*positional, **keywords)
    if inspect.iscoroutine(value):
        # Made outside the loop and awaited in it: an async function has not begun before it is awaited.
        value = trio.run(partial(_awaited, value, call))
    return reply_of(value, name)


def _found(reference: Reference, name: str) -> Any:
    try:
        return reference.resolve()
    except Exception as error:
        if isinstance(error, MemoryError) or "cannot allocate memory" in str(error).lower():
            raise MemoryError from error
        traceback.print_exc()
        message = f"function {name!r} could not be loaded in its process: {type(error).__name__}: {_sayable(error)}"
        raise AgentError(message, reason=FUNCTION_NOT_LOADED) from error


async def _awaited(value: Any, call: _ChildCall) -> Any:
    left = call.time_left()
    call.deadline = math.inf if left == math.inf else trio.current_time() + left
    return await value


def _bound(memory_bytes: int | None, cpu_seconds: float | None) -> None:
    """Before the function's module is imported: its import counts."""
    _lower(resource.RLIMIT_CORE, 0, 0)
    if cpu_seconds is not None:
        seconds = math.ceil(time.process_time() + cpu_seconds)
        _lower(resource.RLIMIT_CPU, seconds, seconds + 1)
    if memory_bytes is not None:
        _lower(resource.RLIMIT_AS, memory_bytes, memory_bytes)


def _lower(which: int, soft: int, hard: int) -> None:
    _, most = resource.getrlimit(which)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(which, (soft, hard))


def _plain(payload: Payload) -> tuple[str, str | bytes, str]:
    return payload.kind, payload.content, payload.media_type


def _json(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A plain copy: details may hold anything, and what cannot travel is described."""
    if values is None:
        return None
    try:
        copied: dict[str, Any] = json.loads(json.dumps(values, default=repr))
    except (TypeError, ValueError, RecursionError):
        return {"details": repr(values)}
    return copied


def _sayable(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - whatever it is goes to the parent
        text = "(its text cannot be shown)"
    return text.encode(errors="backslashreplace").decode()
