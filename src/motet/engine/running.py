"""A member that runs: what stands behind its call, and the way from how the agent ended to an outcome."""

import math
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import trio

from motet.engine import causes
from motet.engine.away import Width
from motet.engine.causes import StopCause
from motet.engine.journal import MAX_PROGRESS_PER_MEMBER, MAX_PROGRESS_PER_RUN
from motet.errors import AgentError, MotetError, Unavailable
from motet.model import reason
from motet.model import usage as usage_module
from motet.model.agent import Reply
from motet.model.event import MemberProgress
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import Plan
from motet.model.result import GroupResult, RunResult
from motet.model.state import State
from motet.ports import Agent, Call, Ticket

if TYPE_CHECKING:
    from motet.engine.group import GroupExecution
    from motet.engine.run import RunExecution

MAX_REPORT_BYTES: Final = 64 * 1024
"""Of one progress report; larger things are outputs."""

CURRENT: "ContextVar[RunningMember | None]" = ContextVar("motet_current_member", default=None)
"""The member that the running code belongs to. It goes along into threads and child tasks, which is how the depth of
runs that a member starts is known without its help."""


class RunningMember:
    """One member from its start to its end. It is the host of the member's call."""

    __slots__ = (
        "_width",
        "agent",
        "call",
        "deadline",
        "detached",
        "ended",
        "group",
        "index",
        "nested_active",
        "nested_count",
        "nested_ended",
        "nested_runs",
        "progress",
        "started",
        "ticket",
        "timed",
    )

    def __init__(self, group: "GroupExecution", index: int, agent: Agent, ticket: Ticket, started: float) -> None:
        self.group = group
        self.index = index
        self.agent = agent
        self.ticket = ticket
        self.started = started
        self.deadline = group.deadline
        """The nearest of its own and the group's."""
        self.timed = False
        """Its own deadline is the nearer one."""
        self.call: Call
        self.ended = False
        """Its outcome is known."""
        self.detached = False
        """It was given up, and its task still runs."""
        self._width: Width | None = None
        self.progress = 0
        self.nested_runs: list[RunExecution] = []
        """In the order in which they started."""
        self.nested_active = 0
        self.nested_count = 0
        self.nested_ended = -math.inf

    async def live(self) -> None:
        """Call the agent, tell the group how that ended, and leave."""
        CURRENT.set(self)
        group = self.group
        try:
            if self.timed:
                with trio.CancelScope(deadline=self.deadline) as scope:
                    reply = await self.agent.call(self.call)
                if scope.cancelled_caught:
                    self._end_stopped(causes.deadline_exceeded(self.deadline, "member"))
                    return
            else:
                reply = await self.agent.call(self.call)
        except trio.Cancelled:
            self._end_stopped(group.stop_cause(trio.current_time()))
            raise
        except BaseException as error:  # noqa: BLE001 - every way to end has an outcome; what is beyond it goes on below
            self._end_raised(error)
            beyond = _beyond_failure(error)
            if beyond is not None:
                # Its own failure is in the outcome; a cancellation has to reach the scope that it belongs to, and an
                # exit or an interrupt the program.
                raise beyond from None
        else:
            self._end_replied(reply)
        finally:
            group.leave(self)

    def _end_replied(self, reply: Reply) -> None:
        now = trio.current_time()
        if now >= self.deadline:
            # The answer came, but not in time: the agent held back a cancellation.
            own = causes.deadline_exceeded(self.deadline, "member") if self.timed else None
            self._end_stopped(own or self.group.stop_cause(now))
        elif isinstance(reply, Reply) and isinstance(reply.output, Payload):
            self.group.record(self, self.succeeded(reply, now))
        else:
            message = f"the agent returned {type(reply).__name__}; an agent returns a Reply with a Payload"
            self.group.record(self, self.failed(Failure(reason.OUTPUT_INVALID, message), now))

    def _end_raised(self, error: BaseException) -> None:
        now = trio.current_time()
        failure = failure_of(error)
        if self.timed and now >= self.deadline:
            self._end_stopped(causes.deadline_exceeded(self.deadline, "member"), str(failure))
        elif self.group.cause is not None or now >= self.group.deadline:
            self._end_stopped(self.group.stop_cause(now), str(failure))
        else:
            self.group.record(self, self.failed(failure, now))

    def _end_stopped(self, cause: StopCause, error: str = "") -> None:
        self.group.record(self, self.stopped(cause, trio.current_time(), error=error))

    # ------------------------------------------------------------------------------------------ ports.CallHost

    def report(self, call: Call, report: Payload) -> None:
        if self.ended:
            return
        if report.size > MAX_REPORT_BYTES:
            message = f"a progress report has at most {MAX_REPORT_BYTES} bytes; return large things as output"
            raise ValueError(message)
        journal = self.group.run.journal
        if self.progress >= MAX_PROGRESS_PER_MEMBER or journal.progress >= MAX_PROGRESS_PER_RUN:
            self.group.progress_dropped += 1
            return
        self.progress += 1
        journal.progress += 1
        journal.emit(MemberProgress(report), self.group.name, call.member, self.group.parent)

    async def run(
        self,
        call: Call,
        target: Plan | str,
        input: Payload | None,
        variables: Mapping[str, Payload],
        timeout: float | None,
    ) -> RunResult:
        return await self.group.run.run_nested(self, target, input or call.input, variables, timeout)

    # ------------------------------------------------------------------------------------------------- nesting

    def check_alive(self) -> None:
        """Raises Unavailable once the member's outcome is known: whoever was given up must not start anything more."""
        if self.ended:
            message = f"member {self.group.name}/{self.call.member} was stopped and given up; it can start no runs"
            raise Unavailable(message, reason="MEMBER_ENDED")

    @property
    def own_width(self) -> Width:
        """Made when the member first waits for a run: most never do."""
        if self._width is None:
            self._width = Width(self.group.run.engine.admission, self.ticket)
        return self._width

    @property
    def paused(self) -> bool:
        """Its width was given back and not taken again."""
        return self._width is not None and self._width.given

    def nested_path(self) -> str:
        """Where the next nested run stands in events and results."""
        self.nested_count += 1
        own = f"{self.group.name}/{self.call.member}"
        path = f"{self.group.parent}/{own}" if self.group.parent else own
        return path if self.nested_count == 1 else f"{path}#{self.nested_count}"

    # ------------------------------------------------------------------------------------------------ outcomes

    def succeeded(self, reply: Reply, now: float) -> Outcome:
        usage = reply.usage if reply.usage is not None else usage_module.UNPRICED_CALL
        return self._outcome(now, State.SUCCEEDED, output=reply.output, usage=usage, metadata=reply.metadata)

    def failed(self, failure: Failure, now: float) -> Outcome:
        return self._outcome(now, State.FAILED, failure=failure)

    def stopped(self, cause: StopCause, now: float, *, detached: str = "", error: str = "") -> Outcome:
        """The outcome of a member that was asked to stop; `detached` names what still runs."""
        left = detached or self.call.detached
        kind = StopKind.DETACHED if left else StopKind.STOPPED
        receipt = StopReceipt(kind, max(0.0, now - cause.at), left or self.call.stop_detail)
        failure = Failure(cause.reason, cause.message, {"error": error}) if error else cause.failure
        return self._outcome(now, cause.state, failure=failure, stop=receipt)

    def _outcome(
        self,
        now: float,
        state: State,
        *,
        output: Payload | None = None,
        failure: Failure | None = None,
        usage: usage_module.Usage = usage_module.UNPRICED_CALL,
        metadata: Mapping[str, Any] | None = None,
        stop: StopReceipt | None = None,
    ) -> Outcome:
        nested: tuple[GroupResult, ...] = ()
        for run in self.nested_runs:
            if run.result is not None:
                nested += run.result.groups
                usage = usage + run.result.usage
        return Outcome(
            member=self.call.member,
            agent=self.ticket.agent.name,
            state=state,
            output=output,
            failure=failure,
            queued=self.started - self.group.started,
            ran=now - self.started,
            usage=usage,
            stop=stop,
            metadata={} if metadata is None else metadata,
            nested=nested,
        )


def _beyond_failure(error: BaseException) -> BaseException | None:
    """The part of what an agent raised that is not the member's failure; None when there is none."""
    if isinstance(error, Exception):
        return None
    if isinstance(error, BaseExceptionGroup):
        cancelled, rest = error.split(trio.Cancelled)
        if cancelled is not None and (rest is None or isinstance(rest, Exception)):
            return cancelled
    return error


def failure_of(error: BaseException) -> Failure:
    """What an exception of an agent says, in the words of a failure."""
    if isinstance(error, BaseExceptionGroup):
        leaf: BaseException = error
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        return failure_of(leaf)
    if isinstance(error, MotetError):
        details = dict(error.details)
        after = getattr(error, "retry_after", None)
        if after is not None:
            details.setdefault("retry_after_seconds", after)
        if isinstance(error, AgentError) and error.retryable:
            details.setdefault("retryable", True)
        return Failure(error.reason, error.message, details)
    name = type(error).__name__
    text = str(error)
    return Failure(reason.AGENT_FAILED, f"{name}: {text}" if text else name, {"type": name})
