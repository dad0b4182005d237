"""A worker: functions of this program as agents of a Motet server, which it dials into. Needs no event loop of its own."""

import inspect
import json
import logging
import os
import queue
import random
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, TypeVar, overload

import grpc

from motet_client import _requests as requests
from motet_client._errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
)
from motet_client._security import Tls
from motet_client._worker_call import AgentFailed, CallCancelled, Reply, WorkerCall
from motet_client._worker_session import Session
from motet_client._worker_work import AgentSpec, Function, Loop
from motet_proto.v1 import worker_service_pb2 as pb
from motet_proto.v1.worker_service_pb2_grpc import WorkerServiceStub

__all__ = ["AgentFailed", "CallCancelled", "Reply", "Worker", "WorkerCall"]

F = TypeVar("F", bound=Function)
MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of one message that servers take, unless they are told otherwise."""
FIRST_DELAY: Final = 0.5
MAX_DELAY: Final = 30.0
"""Seconds between attempts to connect: they double from the first, and are spread so that workers do not come at once."""
CHANNEL: Final = {"grpc.initial_reconnect_backoff_ms": 500, "grpc.max_reconnect_backoff_ms": 10_000}
"""gRPC has pauses of its own between attempts, up to two minutes, however often it is asked."""
LIBRARY: Final = "motet-client-python/0.1.0"
# Trying again as it is cannot help: the offer, the credentials or the name are wrong.
_FINAL: Final = (InvalidArgument, FailedPrecondition, Unauthenticated, PermissionDenied, Aborted)
_log = logging.getLogger("motet.worker")


class Worker:
    """Offers functions as agents and runs the calls that the server leases to it.

    `worker_id` tells this worker from others, also when it dials in again; by default one is made of host, process and
    chance. `capacity` is the most calls at once over all agents; 0 means the sum of the agents' own. `tls` and `token` are
    as those of a client; `credentials` are gRPC's own, in place of `tls`. `stop_grace` is the seconds that a cancelled
    function has to end before it is reported as detached.
    """

    def __init__(
        self,
        target: str,
        *,
        worker_id: str = "",
        capacity: int = 0,
        tls: Tls | bool | None = None,
        token: str | None = None,
        metadata: requests.GivenMetadata | None = None,
        options: Mapping[str, Any] | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        stop_grace: float = 5.0,
        max_message_bytes: int = MAX_MESSAGE,
    ) -> None:
        if capacity < 0:
            raise ValueError("capacity: must be 0 or more")
        channel = {**CHANNEL, **(options or {})}
        self._settings = requests.Settings.make(target, None, metadata, channel, credentials, tls=tls, token=token)
        self._metadata = self._settings.metadata
        self.worker_id = worker_id or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._capacity = capacity
        self._grace = stop_grace
        self._most = max_message_bytes
        self._agents: dict[str, AgentSpec] = {}
        self._session: Session | None = None
        self._ready = threading.Event()
        # Plain values and a queue: a signal handler must not wait for a lock that the code under it may hold.
        self._leaving = False
        self._at_once = False
        self._nudges: queue.SimpleQueue[None] = queue.SimpleQueue()

    @overload
    def agent(
        self,
        fn: F,
        /,
        *,
        name: str | None = None,
        version: str = "",
        description: str | None = None,
        input_schema: Mapping[str, Any] | str = "",
        capacity: int = 1,
        replay_safe: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> F: ...
    @overload
    def agent(
        self,
        fn: None = None,
        /,
        *,
        name: str | None = None,
        version: str = "",
        description: str | None = None,
        input_schema: Mapping[str, Any] | str = "",
        capacity: int = 1,
        replay_safe: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> Callable[[F], F]: ...
    def agent(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        version: str = "",
        description: str | None = None,
        input_schema: Mapping[str, Any] | str = "",
        capacity: int = 1,
        replay_safe: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> Any:
        """Offer a function as an agent: `@worker.agent`, or `@worker.agent(name=..., capacity=4)`.

        It is called with a `WorkerCall` and returns a `Reply`, or text, bytes, a Payload or any JSON value. A blocking one
        runs in a thread for each call and looks at `call.cancelled`; a coroutine function runs as an asyncio task, which
        a cancel cancels. `replay_safe` lets the engine give a call that was lost to another worker.
        """
        if fn is None:
            return lambda function: self.agent(
                function,
                name=name,
                version=version,
                description=description,
                input_schema=input_schema,
                capacity=capacity,
                replay_safe=replay_safe,
                labels=labels,
            )
        found = name or getattr(fn, "__name__", "")
        if not found:
            raise ValueError("name: give one, since this object has none of its own")
        if found in self._agents:
            raise ValueError(f"name: there is already an agent {found!r}")
        if capacity < 1:
            raise ValueError("capacity: must be 1 or more")
        self._agents[found] = AgentSpec(
            name=found,
            fn=fn,
            version=version,
            description=_first_paragraph(fn) if description is None else description,
            input_schema=input_schema if isinstance(input_schema, str) else json.dumps(dict(input_schema)),
            capacity=capacity,
            replay_safe=replay_safe,
            labels=dict(labels or {}),
        )
        return fn

    def run(self, *, handle_signals: bool = True) -> None:
        """Serve until the worker is drained or closed, dialling in again whenever the connection breaks. Blocks.

        In the main thread SIGTERM and SIGINT drain it, a second one closes it, unless `handle_signals` is False. Raises
        MotetClientError for what no new attempt can help: the server refuses the offer or the credentials, or another
        worker has taken this one's id.
        """
        if not self._agents:
            raise ValueError("a worker offers at least one agent: give it one with @worker.agent")
        channel = self._channel()
        loop = Loop()
        try:
            with self._signals(handle_signals and threading.current_thread() is threading.main_thread()):
                self._serve(WorkerServiceStub(channel), loop)
        finally:
            self._ready.clear()
            loop.close(self._grace)
            channel.close()

    def drain(self) -> None:
        """Take no more calls, and have `run` return when those that run have ended, for good. From any thread."""
        self._go(at_once=False)

    def close(self) -> None:
        """Have `run` return at once: what runs is cancelled, and lost to the engine. From any thread."""
        self._go(at_once=True)

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until the server has welcomed the worker; False when it has not within `timeout` seconds."""
        return self._ready.wait(timeout)

    def _go(self, *, at_once: bool) -> None:
        self._at_once = self._at_once or at_once
        self._leaving = True
        self._nudges.put(None)
        session = self._session
        if session is not None:
            session.leave(at_once=self._at_once)

    def _serve(self, stub: Any, loop: Loop) -> None:
        failures = 0
        while True:
            session = self._session = self._new_session(loop)
            if self._is_leaving():  # looked at after the session can be told
                return
            error = session.run(lambda messages: stub.Serve(messages, metadata=self._metadata))
            failures = 0 if self._ready.is_set() else failures + 1
            self._ready.clear()
            if not self._at_once:
                session.settle()
            if isinstance(error, _FINAL):
                raise error
            if self._is_leaving():
                return
            delay = min(MAX_DELAY, FIRST_DELAY * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            _log.warning("worker %s lost its server (%s); again in %.1f s", self.worker_id, error or "it drains", delay)
            with suppress(queue.Empty):
                self._nudges.get(timeout=delay)

    def _is_leaving(self) -> bool:
        return self._leaving

    def _new_session(self, loop: Loop) -> Session:
        hello = pb.WorkerHello(
            worker_id=self.worker_id,
            agents=[spec.to_pb() for spec in self._agents.values()],
            capacity=self._capacity,
            library=LIBRARY,
        )
        return Session(
            hello,
            self._agents,
            loop,
            stop_grace=self._grace,
            max_message_bytes=self._most,
            on_ready=self._ready.set,
        )

    def _channel(self) -> grpc.Channel:
        given = self._settings
        if given.credentials is None:
            return grpc.insecure_channel(given.target, given.options)
        return grpc.secure_channel(given.target, given.credentials, given.options)

    @contextmanager
    def _signals(self, wanted: bool) -> Iterator[None]:
        if not wanted:
            yield
            return

        def heard(_number: int, _frame: FrameType | None) -> None:
            self._go(at_once=self._leaving)

        before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _first_paragraph(fn: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(fn) or "").strip().split("\n\n")[0].split())
