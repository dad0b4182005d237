"""One call of a member's agent: what stands behind the call, and the way from how the agent ended to a finding."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import trio

from motet.engine import causes
from motet.engine.away import Width
from motet.engine.causes import StopCause
from motet.engine.journal import MAX_PROGRESS_PER_MEMBER, MAX_PROGRESS_PER_RUN
from motet.engine.profile import AgentProfile
from motet.errors import AgentError, MotetError, Unavailable
from motet.model import reason
from motet.model import usage as usage_module
from motet.model.agent import Reply
from motet.model.event import MemberProgress
from motet.model.outcome import Attempt, AttemptKind, Failure, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import Plan
from motet.model.quick import quick
from motet.model.result import RunResult
from motet.model.session import SessionEntry
from motet.model.state import State
from motet.model.usage import Usage
from motet.ports import Call, End, Resident, Spendable, Start

if TYPE_CHECKING:
    from motet.engine.hedging import Race
    from motet.engine.member import RunningMember

MAX_REPORT_BYTES: Final = 64 * 1024
"""Of one progress report; larger things are outputs."""

_end: Callable[..., End] = quick(End)

CURRENT: "ContextVar[RunningAttempt | None]" = ContextVar("motet_current_attempt", default=None)
"""The attempt that the running code belongs to. It goes along into threads and child tasks, which is how the depth of
runs that a member starts is known without its help."""


class Finding:
    """How a call ended."""

    __slots__ = ("failure", "fault", "reply", "state", "stop", "usage")

    def __init__(  # noqa: PLR0917 - one is made for every call, and names take their time
        self,
        state: State,
        usage: Usage,
        reply: Reply | None = None,
        fault: bool | None = None,
        failure: Failure | None = None,
        stop: StopReceipt | None = None,
    ) -> None:
        self.state = state
        self.usage = usage
        """Its own, without groups that it ran."""
        self.reply = reply
        self.failure = failure
        self.stop = stop
        self.fault = fault
        """As in `motet.ports.End`."""


class MemberCall(Call):
    """The call of an attempt. One is made for every member: it takes its fields from where they stand."""

    __slots__ = ()

    def __init__(self, attempt: "RunningAttempt", input: Payload, session_id: str) -> None:
        member = attempt.member
        group = member.group
        self.input = input
        self.host = attempt
        self.run_id = group.run.journal.run_id
        self.group = group.name
        self.member = member.name
        self.session_id = session_id
        self.attempt = attempt.number
        self.depth = group.run.depth
        self.deadline = attempt.deadline
        self.spent = usage_module.NONE
        self.stop_detail = self.detached = ""
        self._variables = member.find_variables
        self.key = member.key


class RunningAttempt(Start):
    """One call, from the moment in which it asks to start to its end. It is the host of the call. What most calls never
    have is at the class: one is made for every member."""

    call: Call
    number: int
    """From 1."""
    started: float
    ended_at: float
    timed: bool
    """The deadline is not the group's."""
    finding: Finding | None = None
    """Set once it has ended, or was given up."""
    alone: bool = False
    """Its end is the member's, whatever comes of it."""
    cause: StopCause | None = None
    """Why it alone was stopped."""
    scope: trio.CancelScope | None = None
    """Of its own, when it may be stopped alone."""
    race: "Race | None" = None
    """What it takes part in, when others may run beside it."""
    nested_active: int = 0
    nested_ended: float = -math.inf
    _width: Width | None = None

    def __init__(self, member: "RunningMember", kind: AttemptKind, deadline: float) -> None:
        """`deadline` is on trio's clock: the nearest of its own, the member's and the group's."""
        self.ticket = member.ticket
        self.kind = kind
        self.deadline = deadline
        self.member = member

    async def live(self) -> None:
        """Call the agent. Leaves `finding` set, also when a cancellation from outside passes through."""
        CURRENT.set(self)
        member = self.member
        group = member.group
        try:
            barrier = group.run.journal.barrier
            if barrier is not None and self.ticket.agent.replay_safe is False:
                # One that must not be called twice is called only when a crash would not forget that it was.
                await barrier()
            if self.timed or self.scope is not None:
                with self.scope or trio.CancelScope() as scope:
                    if self.timed:
                        scope.deadline = self.deadline
                    reply = await member.agent.call(self.call)
                if scope.cancelled_caught:
                    self._stopped(self.cause or causes.deadline_exceeded(self.deadline, "member"))
                    return
            else:
                reply = await member.agent.call(self.call)
        except trio.Cancelled:
            self._stopped(group.stop_cause(trio.current_time()))
            raise
        except BaseException as error:  # noqa: BLE001 - every way to end has an outcome; what is beyond it goes on below
            self._raised(error)
            beyond = _beyond_failure(error)
            if beyond is not None:
                # Its own failure is in the outcome; a cancellation has to reach the scope that it belongs to, and an
                # exit or an interrupt the program.
                raise beyond from None
        else:
            self._replied(reply)
        finally:
            if self.alone:
                member.end_alone(self)

    def leave(self) -> None:
        """It is over, whatever came of it: give back what it held, and settle what it used."""
        finding = self.finding
        # A plain member's end is found in this very moment.
        now = trio.current_time() if finding is None or not self.alone else self.ended_at
        usage, fault = (finding.usage, finding.fault) if finding is not None else (self._spent(), None)
        ran = now - self.started
        paused = False
        if self._width is not None:
            # The time of groups that it ran is theirs.
            ran = max(0.0, ran - self._width.away_until(now))
            # Its width was given back and not taken again.
            paused = self._width.given
        end = _end(usage, ran, fault)
        profile = self.ticket.profile
        if isinstance(profile, AgentProfile):
            profile.learn(end)
        self.member.group.run.engine.admission.ended(self, end, now, paused=paused)
        # The call knows its host: apart, both are freed at once and leave nothing to the collector.
        del self.call

    # ------------------------------------------------------------------------------------------------------- findings

    def _replied(self, reply: Reply) -> None:
        now = trio.current_time()
        if now >= self.deadline:
            # The answer came, but not in time: the agent held back a cancellation.
            own = causes.deadline_exceeded(self.deadline, "member") if self.timed else None
            self._stopped(own or self.member.group.stop_cause(now))
        elif isinstance(reply, Reply) and isinstance(reply.output, Payload):
            if self.finding is None:
                usage = reply.usage if reply.usage is not None else self._spent()
                self.finding = Finding(State.SUCCEEDED, usage, reply, False)
                self.ended_at = now
        else:
            message = f"the agent returned {type(reply).__name__}; an agent returns a Reply with a Payload"
            self._failed(Failure(reason.OUTPUT_INVALID, message), now)

    def _raised(self, error: BaseException) -> None:
        now = trio.current_time()
        own = _own_part(error)
        said = "" if own is None else str(failure_of(own))
        group = self.member.group
        if self.cause is not None:
            self._stopped(self.cause, said)
        elif self.timed and now >= self.deadline:
            self._stopped(causes.deadline_exceeded(self.deadline, "member"), said)
        elif group.cause is not None or now >= group.deadline:
            self._stopped(group.stop_cause(now), said)
        else:
            self._failed(failure_of(own or error), now)

    def _failed(self, failure: Failure, now: float) -> None:
        # An input that the agent cannot take is not the agent's fault.
        fault = None if failure.reason == reason.INPUT_INVALID else True
        self._found(Finding(State.FAILED, self._spent(), failure=failure, fault=fault), now)

    def _stopped(self, cause: StopCause, error: str = "") -> None:
        now = trio.current_time()
        self._found(self.stopped(cause, now, error=error), now)

    def _found(self, finding: Finding, now: float) -> None:
        if self.finding is None:
            self.finding = finding
            self.ended_at = now

    def stopped(self, cause: StopCause, now: float, *, detached: str = "", error: str = "") -> Finding:
        """What is found when it was asked to stop; `detached` names what still runs."""
        left = detached or self.call.detached
        kind = StopKind.DETACHED if left else StopKind.STOPPED
        receipt = StopReceipt(kind, max(0.0, now - cause.at), left or self.call.stop_detail)
        failure = cause.failure
        if error:
            failure = Failure(cause.reason, cause.message, {**cause.details, "error": error})
        # Slower than its own timeout is the agent's fault; what others stop says nothing about it.
        fault = True if self.timed and self.cause is None and cause.at == self.deadline else None
        return Finding(cause.state, self._spent(), failure=failure, stop=receipt, fault=fault)

    def give_up(self, cause: StopCause, now: float) -> None:
        """It did not stop in time: say so now, whatever it does later."""
        member = self.member
        what = f"agent {member.ticket.agent.name} did not stop within {member.group.run.engine.stop_grace:g} s"
        self._found(self.stopped(self.cause or cause, now, detached=self.call.detached or what), now)
        if self.race is not None:
            self.race.found(self)
        elif not member.is_plain:
            member.keep(self)

    def lose(self, now: float) -> None:
        """Another attempt has answered: stop this one."""
        if self.finding is None and self.scope is not None:
            self.cause = causes.outrun(now)
            self.scope.cancel()

    def as_attempt(self) -> Attempt:
        """What the outcome and the events say of it, once it has ended."""
        finding = self.finding
        if finding is None:
            raise RuntimeError("the attempt has not ended")
        return Attempt(
            number=self.number,
            kind=self.kind,
            state=finding.state,
            failure=finding.failure,
            started=self.started - self.member.started,
            ran=self.ended_at - self.started,
            usage=finding.usage,
            stop=finding.stop,
        )

    def _spent(self) -> Usage:
        spent = self.call.spent
        if spent is not usage_module.NONE:
            return spent
        free = self.ticket.agent.estimated_cost_nanos == 0
        return usage_module.FREE_CALL if free else usage_module.UNPRICED_CALL

    # ------------------------------------------------------------------------------------------ ports.CallHost

    def report(self, call: Call, report: Payload) -> None:
        member = self.member
        if member.ended or self.finding is not None:
            return
        if report.size > MAX_REPORT_BYTES:
            message = f"a progress report has at most {MAX_REPORT_BYTES} bytes; return large things as output"
            raise ValueError(message)
        group = member.group
        journal = group.run.journal
        if member.progress >= MAX_PROGRESS_PER_MEMBER or journal.progress >= MAX_PROGRESS_PER_RUN:
            group.progress_dropped += 1
            return
        member.progress += 1
        journal.progress += 1
        journal.emit(MemberProgress(report), group.name, call.member, group.parent)

    async def run(
        self,
        call: Call,
        target: Plan | str,
        input: Payload | None,
        variables: Mapping[str, Payload],
        timeout: float | None,
        *,
        deeper: bool = True,
    ) -> RunResult:
        own = call.input if input is None else input
        return await self.member.group.run.run_nested(self, target, own, variables, timeout, deeper=deeper)

    def left(self, what: Spendable) -> int | None:
        uses = (use for guard in self.member.group.scopes if guard.name == "budget" for use in guard.uses())
        rests = [use.limit - use.used for use in uses if use.what == what and use.limit is not None]
        return max(0, int(min(rests))) if rests else None

    def keep(self, resident: Resident) -> None:
        self.check_alive()
        self.member.group.run.engine.residents.keep(resident)

    @property
    def history(self) -> Sequence[SessionEntry]:
        talk = self.member.group.run.root.talk
        return talk.history if talk is not None else ()

    # ------------------------------------------------------------------------------------------------- nesting

    def check_alive(self) -> None:
        """Raises Unavailable once it has ended or was given up: whoever was must not start anything more."""
        if self.member.ended or self.finding is not None:
            member = self.member
            message = f"member {member.group.name}/{member.name} was stopped and given up; it can start no runs"
            raise Unavailable(message, reason="MEMBER_ENDED")

    @property
    def own_width(self) -> Width:
        """Made when it first waits for a run: most never do."""
        if self._width is None:
            self._width = Width(self.member.group.run.engine.admission, self)
        return self._width


def _beyond_failure(error: BaseException) -> BaseException | None:
    """The part of what an agent raised that is not the member's failure; None when there is none."""
    if isinstance(error, Exception):
        return None
    if isinstance(error, BaseExceptionGroup):
        cancelled, rest = error.split(trio.Cancelled)
        if cancelled is not None and (rest is None or isinstance(rest, Exception)):
            return cancelled
    return error


def _own_part(error: BaseException) -> BaseException | None:
    """What of it the agent raised itself; None when all of it is the cancellation, which says nothing to a caller."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    _, rest = error.split(trio.Cancelled)
    return rest


def failure_of(error: BaseException) -> Failure:
    """What an exception of an agent says, in the words of a failure."""
    if isinstance(error, BaseExceptionGroup):
        return failure_of(first_leaf(error))
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


def first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the exceptions that a group is made of."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf
