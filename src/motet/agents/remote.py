"""Agents that live in workers, which dial in: a call waits at its agent's desk until a worker takes it as a lease.

Knows nothing of how workers are spoken to; whoever does that uses the `Workers` of this module.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from motet.agents._card import checked
from motet.agents._remote_book import MAX_DELIVERIES, Connection, Desk
from motet.agents._remote_lease import (
    Answer,
    CancelOrder,
    DrainOrder,
    Failed,
    Hello,
    Lease,
    Lost,
    OfferedAgent,
    Order,
    Replied,
    Stopped,
    Ticket,
    WorkerStatistics,
)
from motet.agents._remote_workers import Workers
from motet.errors import AgentError, Exhausted
from motet.model import reason
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.outcome import StopKind
from motet.model.payload import Payload
from motet.model.rate import Breaker, Rate
from motet.model.usage import Usage
from motet.ports import Agent, Call

__all__ = [
    "Answer",
    "CancelOrder",
    "Connection",
    "DrainOrder",
    "Failed",
    "Hello",
    "Lease",
    "OfferedAgent",
    "Order",
    "RemoteAgent",
    "Replied",
    "Stopped",
    "WorkerStatistics",
    "Workers",
    "workers_for",
]

WORKER_LOST: Final = "WORKER_LOST"
"""The worker that had the call went away, and the call may not be made twice, or was lost too often."""
WORKER_UNAVAILABLE: Final = "WORKER_UNAVAILABLE"
"""No worker that offers the agent was there for as long as a call waits for one."""
QUEUE_TIMEOUT: Final = 30.0
"""Seconds: a worker that is started anew is back within them."""
STOP_TIMEOUT: Final = 10.0
"""Seconds, as the engine's own grace."""
MAX_REGISTERED: Final = 1000
"""Agents that workers may add to a catalog."""


class RemoteAgent:
    """Gives each call to one of the workers that offer an agent of its name, the least loaded first.

    Calls wait in order while all workers are busy. While no worker is there at all, a call waits `queue_timeout` seconds
    and then fails with WORKER_UNAVAILABLE. A call whose worker is lost goes to another one, up to three, when it may be
    made twice: `replay_safe` says so, or where that is None each worker for itself; else it fails with WORKER_LOST. A
    cancelled call asks its worker to stop and waits `stop_timeout` seconds for the receipt; without one it is reported
    as detached. Only workers whose agent has all of `worker_labels` are let in.

    What is not named here goes on the card as it is: `AgentInfo` says what it means. A description and an input
    schema that are empty are those of the worker that came last; its version stands in the metadata of its outcomes alone.
    Raises ValueError, which names the parameter, when one is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        queue_timeout: float = QUEUE_TIMEOUT,
        stop_timeout: float = STOP_TIMEOUT,
        worker_labels: Mapping[str, str] | None = None,
        max_parallel: int | None = None,
        provider: str = "",
        timeout: float | None = None,
        description: str = "",
        version: str = "",
        input_schema: Mapping[str, Any] | None = None,
        replay_safe: bool | None = None,
        labels: Mapping[str, str] | None = None,
        estimated_cost_nanos: int | None = None,
        estimated_tokens: int | None = None,
        rate: Rate | None = None,
        weight: float = 1.0,
        breaker: Breaker | None = None,
    ) -> None:
        if not queue_timeout >= 0:
            raise ValueError("queue_timeout: must be a number of seconds, 0 or more")
        if not (stop_timeout >= 0 and math.isfinite(stop_timeout)):
            raise ValueError("stop_timeout: must be a finite number of seconds, 0 or more")
        if max_parallel is not None and max_parallel < 1:
            raise ValueError("max_parallel: must be at least 1, or None for no bound of its own")
        self._stop_timeout = stop_timeout
        self._worker_labels = dict(worker_labels or {})
        self._info = checked(
            AgentInfo(
                name=name,
                kind=AgentKind.REMOTE,
                description=description,
                version=version,
                input_schema=Payload.from_json(dict(input_schema)).text if input_schema is not None else "",
                max_parallel=max_parallel,
                provider=provider,
                timeout=timeout,
                replay_safe=replay_safe,
                labels=dict(labels or {}),
                estimated_cost_nanos=estimated_cost_nanos,
                estimated_tokens=estimated_tokens,
                rate=rate,
                weight=weight,
                breaker=breaker,
            )
        )
        self._declared = self._info
        self._desk = Desk(name, queue_timeout, replay_safe=replay_safe, on_arrival=self._introduce)

    def __repr__(self) -> str:
        return f"<RemoteAgent {self._info.name}>"

    @property
    def info(self) -> AgentInfo:
        return self._info

    @property
    def desk(self) -> Desk:
        """Where its calls wait."""
        return self._desk

    @property
    def worker_labels(self) -> Mapping[str, str]:
        """Those that the agent of a worker must have."""
        return self._worker_labels

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {"worker_labels": self._worker_labels}

    async def call(self, call: Call, /) -> Reply:
        ticket = self._desk.enter(call)
        try:
            with ticket.patience:
                await ticket.ended.wait()
        except trio.Cancelled:
            await self._stop(ticket)  # noqa: ASYNC102 - it shields and bounds what it waits for
            raise
        match ticket.end:
            case None:
                self._desk.leave(ticket)
                raise self._unavailable()
            case Replied(output, usage, metadata):
                return Reply(output, usage, {**metadata, **_server_of(ticket)})
            case Failed() as failed:
                raise _error_of(failed, ticket)
            case Stopped(_, usage):
                _spend(call, usage)
                raise AgentError(
                    f"agent '{self._info.name}': its worker stopped the call though nobody had asked for it",
                    reason=WORKER_LOST,
                    details=_server_of(ticket),
                )
            case Lost() as lost:
                raise self._lost(ticket, lost)

    async def _stop(self, ticket: Ticket) -> None:
        """The call was cancelled: have its worker stop it, and say on the call what became of it."""
        call, lease = ticket.call, ticket.lease
        if lease is None:
            self._desk.leave(ticket)
            return
        if ticket.end is None:
            over = call.deadline <= trio.current_time()
            if not lease.connection.stop(lease, reason.DEADLINE_EXCEEDED if over else reason.CANCELLED):
                return
            worker = lease.connection.worker_id
            # The engine may lose patience before this does; it then finds here what to say.
            call.detached = f"worker {worker} has not said that lease {lease.id} stopped"
            with trio.move_on_after(self._stop_timeout, shield=True):
                await ticket.ended.wait()
        end = ticket.end
        if isinstance(end, Lost):
            call.detached = f"worker {end.worker_id}, which had the call, is gone ({end.why})"
        elif end is not None:
            call.detached, call.stop_detail = "", "the worker had answered"
            if isinstance(end, Stopped):
                detached = end.receipt.kind is StopKind.DETACHED
                call.detached = (end.receipt.detail or f"worker {lease.connection.worker_id}") if detached else ""
                call.stop_detail = end.receipt.detail
            _spend(call, end.usage)

    def _introduce(self, agent: OfferedAgent) -> None:
        """A worker came: it says of the agent what the catalog leaves out."""
        # Not the version: what makes two calls the same must not depend on which worker came last.
        self._info = dataclasses.replace(
            self._declared,
            description=self._declared.description or agent.description,
            input_schema=self._declared.input_schema or agent.input_schema,
        )

    def _unavailable(self) -> AgentError:
        waited = self._desk.queue_timeout
        return AgentError(
            f"no worker offers agent '{self._info.name}', and none has come within {waited:g} s; start one, or look at "
            "why it is away",
            reason=WORKER_UNAVAILABLE,
            details={"agent": self._info.name, "queue_timeout": waited},
            retryable=True,
        )

    def _lost(self, ticket: Ticket, lost: Lost) -> AgentError:
        often = ticket.deliveries >= MAX_DELIVERIES
        text = (
            f"{ticket.deliveries} workers were lost over it"
            if often
            else "it may not be made twice, so it was not given again"
        )
        return AgentError(
            f"worker '{lost.worker_id}', which had the call, is gone ({lost.why}); {text}",
            reason=WORKER_LOST,
            details={"worker": lost.worker_id, "deliveries": ticket.deliveries},
            # Made again it would be made twice: only whoever asks for that by reason gets it.
            retryable=often,
        )


def workers_for(agents: Mapping[str, Agent], add: Callable[[RemoteAgent], None] | None = None) -> Workers:
    """The workers of an engine with these agents. `add` takes agents that workers bring and nobody has declared; None
    refuses them."""
    registered = 0

    def find(name: str) -> tuple[Desk | None, Mapping[str, str]] | None:
        agent = agents.get(name)
        if agent is None:
            return None
        return (agent.desk, agent.worker_labels) if isinstance(agent, RemoteAgent) else (None, {})

    def register(offered: OfferedAgent) -> Desk:
        nonlocal registered
        if registered >= MAX_REGISTERED:
            raise Exhausted(
                f"workers have registered {MAX_REGISTERED} agents, the most that this engine takes; declare them in the "
                "catalog",
                reason="TOO_MANY_AGENTS",
            )
        agent = RemoteAgent(offered.name, labels=offered.labels, replay_safe=offered.replay_safe)
        # Each worker speaks for itself, save that none can undo what the first has said of harm.
        agent.desk.replay_safe = None if offered.replay_safe else False
        if add is None:
            raise RuntimeError("workers may not register agents here")
        add(agent)
        registered += 1
        return agent.desk

    return Workers(find, register if add is not None else None)


def _server_of(ticket: Ticket) -> dict[str, Any]:
    """Who answered, and after how many were lost: it stands with the outcome."""
    lease = ticket.lease
    if lease is None:
        return {}
    told: dict[str, Any] = {"worker": lease.connection.worker_id}
    if lease.version:
        told["worker_version"] = lease.version
    if ticket.deliveries > 1:
        told["deliveries"] = ticket.deliveries
    return told


def _error_of(failed: Failed, ticket: Ticket) -> AgentError:
    _spend(ticket.call, failed.usage)
    failure = failed.failure
    details = {**failure.details, **_server_of(ticket)}
    after = details.get("retry_after_seconds")
    return AgentError(
        failure.message or "the worker gave no message",
        reason=failure.reason or None,
        details=details,
        retryable=failed.retryable,
        retry_after=float(after) if isinstance(after, int | float) else None,
    )


def _spend(call: Call, usage: Usage | None) -> None:
    if usage is not None:
        call.spend(usage)
