"""One connection of a worker, from hello to its end: leases in, answers out, heartbeats both ways. One thread decides; the
others only put into its queue."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc

from motet_client._errors import MotetClientError, Unavailable
from motet_client._status import error_from
from motet_client._wire_values import from_duration
from motet_client._worker_call import AgentFailed, WorkerCall
from motet_client._worker_work import AgentSpec, Loop, Work
from motet_proto.v1 import worker_service_pb2 as pb

MISSED: Final = 3
"""Heartbeats without which the engine is taken for gone."""
WELCOME_BOUND: Final = 15.0
"""Seconds that the engine has to answer hello."""
MAX_REPORTS: Final = 256
"""Messages that may wait to go out before reports are dropped; answers always go."""
_log = logging.getLogger("motet.worker")


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream is over; None when it ended well."""

    error: MotetClientError | None


@dataclass(frozen=True, slots=True)
class Done:
    """A function has ended."""

    work: Work
    message: pb.WorkerMessage


@dataclass(frozen=True, slots=True)
class Leave:
    """The worker is to leave: at once, or when its last lease has ended."""

    at_once: bool


class Session:
    """One connection. `run` blocks; `leave` may be called in any thread, also in a signal handler."""

    def __init__(
        self,
        hello: pb.WorkerHello,
        agents: Mapping[str, AgentSpec],
        loop: Loop,
        *,
        stop_grace: float,
        max_message_bytes: int,
        on_ready: Callable[[], None],
    ) -> None:
        self._hello = hello
        self._agents = agents
        self._loop = loop
        self._grace = stop_grace
        self._most = max_message_bytes
        self._on_ready = on_ready
        self._inbox: queue.SimpleQueue[pb.EngineMessage | Ended | Done | Leave] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[pb.WorkerMessage | None] = queue.SimpleQueue()
        self._works: dict[str, Work] = {}
        self._detached: set[Work] = set()
        self._interval = WELCOME_BOUND / MISSED
        self._heard = self._beaten = time.monotonic()
        self._welcome = False
        self._leaving = False
        self._capacity = hello.capacity or sum(spec.capacity for spec in agents.values())

    def leave(self, *, at_once: bool) -> None:
        self._inbox.put(Leave(at_once))

    def run(self, serve: Callable[[Any], Any]) -> MotetClientError | None:
        """Serve until the stream ends, and every function has been asked to stop. `serve` opens the RPC. Returns why it
        ended; None when it ended well."""
        self._outbox.put(pb.WorkerMessage(hello=self._hello))
        call = serve(iter(self._outbox.get, None))
        threading.Thread(target=self._read, args=(call,), name="motet-worker-reader", daemon=True).start()
        try:
            return self._decide()
        finally:
            self._outbox.put(None)
            call.cancel()
            for work in self._works.values():
                work.cancel()

    def settle(self) -> None:
        """After `run`: give the functions their grace to stop, so that a next connection does not run more than fit."""
        end = time.monotonic() + self._grace
        while self._works and (left := end - time.monotonic()) > 0:
            try:
                event = self._inbox.get(timeout=left)
            except queue.Empty:
                return
            if isinstance(event, Done):
                self._forget(event.work)

    # ------------------------------------------------------------------------------------------------ the one that decides

    def _decide(self) -> MotetClientError | None:
        while True:
            try:
                event = self._inbox.get(timeout=max(0.0, self._due() - time.monotonic()))
            except queue.Empty:
                event = None
            match event:
                case Ended(error):
                    return error
                case Leave(at_once):
                    if at_once or not self._welcome:
                        return None
                    self._leave()
                case Done(work, message):
                    self._done(work, message)
                case pb.EngineMessage():
                    self._heard = time.monotonic()
                    self._take(event)
            now = time.monotonic()
            if now - self._heard > MISSED * self._interval:
                return Unavailable("the engine was silent for three heartbeats", reason="ENGINE_SILENT")
            self._beat(now)
            self._give_up(now)

    def _due(self) -> float:
        """When something has to be done though nothing comes."""
        stops = [
            w.cancelled_at + self._grace for w in self._works.values() if w.cancelled_at is not None and not w.detached
        ]
        return min(self._beaten + self._interval, self._heard + MISSED * self._interval, *stops)

    def _take(self, message: pb.EngineMessage) -> None:
        match message.WhichOneof("message"):
            case "welcome":
                self._interval = max(0.01, from_duration(message.welcome.heartbeat_interval))
                self._welcome = True
                self._on_ready()
            case "lease":
                self._lease(message.lease)
            case "cancel":
                work = self._works.get(message.cancel.lease_id)
                if work is not None:  # else its answer is on the way already
                    work.cancel()
            case "drain":
                _log.info("the engine drains and gives no more leases")
            case _:
                pass  # a heartbeat, or what a later engine says

    def _lease(self, lease: pb.Lease) -> None:
        call = WorkerCall(lease, self._report)
        spec = self._agents.get(lease.agent)
        busy = len(self._works) + len(self._detached)
        if spec is None:
            text = f"this worker has no agent {lease.agent!r}"
            self._outbox.put(call.failed(AgentFailed(text, reason="AGENT_NOT_FOUND")))
        elif busy >= 2 * self._capacity:
            # Threads that could not be stopped are no longer the engine's, but they are still here.
            text = f"{len(self._detached)} functions that were cancelled still run, so that this worker takes no more"
            self._outbox.put(call.failed(AgentFailed(text, reason="WORKER_BUSY", retryable=True)))
        else:
            work = Work(spec, call, self._most)
            self._works[lease.lease_id] = work
            work.start(self._loop, lambda message: self._inbox.put(Done(work, message)))

    def _done(self, work: Work, message: pb.WorkerMessage) -> None:
        if not work.detached:
            self._outbox.put(message)
        self._forget(work)

    def _forget(self, work: Work) -> None:
        self._detached.discard(work)
        for lease_id in [key for key, each in self._works.items() if each is work]:
            del self._works[lease_id]

    def _give_up(self, now: float) -> None:
        for lease_id, work in list(self._works.items()):
            if work.cancelled_at is not None and now >= work.cancelled_at + self._grace:
                work.detached = True
                self._detached.add(work)
                del self._works[lease_id]
                text = f"agent {work.spec.name} still runs at worker {self._hello.worker_id}"
                self._outbox.put(work.call.stopped(now - work.cancelled_at, detached=text))

    def _beat(self, now: float) -> None:
        if now >= self._beaten + self._interval:
            self._beaten = now
            # What waits to go out says as much; and on a connection that takes nothing they must not gather.
            if self._welcome and self._outbox.empty():
                self._outbox.put(pb.WorkerMessage(heartbeat=pb.Heartbeat(running=len(self._works))))

    def _leave(self) -> None:
        """The engine ends the stream once it has heard of this and the last lease has ended: one may be on its way now."""
        if not self._leaving:
            self._leaving = True
            self._outbox.put(pb.WorkerMessage(drain=pb.WorkerDrain()))

    # ------------------------------------------------------------------------------------------------------ other threads

    def _report(self, message: pb.WorkerMessage) -> None:
        if self._outbox.qsize() < MAX_REPORTS and message.ByteSize() <= self._most:
            self._outbox.put(message)

    def _read(self, call: Any) -> None:
        error: MotetClientError | None = None
        try:
            for message in call:
                self._inbox.put(message)
        except grpc.RpcError as failed:
            error = error_from(failed)
        self._inbox.put(Ended(error))
