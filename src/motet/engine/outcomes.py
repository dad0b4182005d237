"""What becomes of a member: from how its attempts ended to its outcome."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from motet.engine import causes, settle
from motet.engine.attempt import Finding
from motet.engine.causes import StopCause
from motet.engine.history import INTERRUPTED
from motet.model import reason
from motet.model import usage as usage_module
from motet.model.agent import AgentKind
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.quick import quick
from motet.model.state import State

_make: Callable[..., Outcome] = quick(Outcome)

if TYPE_CHECKING:
    from motet.engine.group import GroupExecution
    from motet.engine.member import RunningMember
    from motet.model.result import GroupResult


def skipped(group: "GroupExecution", index: int, failure: Failure, now: float) -> Outcome:
    """Of a member that never started."""
    seats = group.node.seats
    return Outcome(
        member=seats.name(index),
        agent=seats.spec(index).info.name,
        state=State.SKIPPED,
        failure=failure,
        attempts=0,
        queued=now - group.started,
    )


def outcome(member: "RunningMember", finding: Finding, now: float) -> Outcome:
    """What the attempt that decides makes of the member."""
    if member.history is not None:
        member.close_nested()
    nested = member.nested_closed
    usage = finding.usage
    if member.made > 1:
        usage = usage_module.NONE
        for attempt in member.log:
            usage = usage + attempt.usage
    for group in member.nested_closed:
        usage = usage + group.usage
    for run in member.nested_runs:
        if run.result is not None:
            nested += run.result.groups
            usage = usage + run.result.usage
    if member.history is not None:
        # Several that ran at once are taken up again in any order.
        nested = tuple(sorted(nested, key=_number))
    reply = finding.reply
    return _make(
        member.name,
        member.ticket.agent.name,
        finding.state,
        reply.output if reply is not None else None,
        finding.failure,
        member.made,
        member.queued,
        now - member.started,
        usage,
        False,
        finding.stop,
        {} if reply is None or reply.metadata is None else reply.metadata,
        nested,
        member.log if member.made > 1 else (),
    )


def stopped_between(member: "RunningMember", cause: StopCause) -> Outcome:
    """Its outcome when a cancellation from outside passes through."""
    now = trio.current_time()
    if member.winner is not None and member.winner.finding is not None:
        return outcome(member, member.winner.finding, member.winner.ended_at)
    last = member.log[-1] if member.log else None
    if member.made == 0:
        return not_started(member, cause.failure)
    if last is not None and last.number == member.made and last.stop is not None and last.state is cause.state:
        # It was stopped in a call, which says how long that took.
        return outcome(member, Finding(last.state, last.usage, failure=last.failure, stop=last.stop), now)
    failure = cause.failure
    if last is not None and last.failure is not None:
        failure = Failure(cause.reason, cause.message, {**cause.details, "last_failure": str(last.failure)})
    receipt = StopReceipt(StopKind.STOPPED, max(0.0, now - cause.at), "between two attempts")
    usage = last.usage if last is not None else usage_module.NONE
    return outcome(member, Finding(cause.state, usage, failure=failure, stop=receipt), now)


def not_continued(member: "RunningMember", failure: Failure) -> Outcome:
    """Its outcome when it had started before a crash and is not called again."""
    states = {
        reason.DEADLINE_EXCEEDED: State.TIMED_OUT,
        reason.CANCELLED: State.CANCELLED,
        reason.ENGINE_CLOSED: State.CANCELLED,
        reason.DECIDED: State.CANCELLED,
    }
    state = states.get(failure.reason, State.FAILED)
    member.tell_rest()
    stop = None
    if state is not State.FAILED:
        stop = StopReceipt(StopKind.STOPPED, 0.0, "it had ended with its process")
        if member.ticket.agent.kind is AgentKind.COMMAND:
            stop = StopReceipt(StopKind.DETACHED, 0.0, "its program may have outlived the process that ran it")
    usage = usage_module.UNPRICED_CALL
    return outcome(member, Finding(state, usage, failure=failure, stop=stop), trio.current_time())


def not_started(member: "RunningMember", failure: Failure) -> Outcome:
    member.started = trio.current_time()
    return Outcome(
        member=member.name,
        agent=member.ticket.agent.name,
        state=State.SKIPPED,
        failure=failure,
        attempts=0,
        queued=member.started - member.group.started,
    )


def refused(member: "RunningMember", failure: Failure) -> Outcome:
    if member.made == 0:
        return not_started(member, failure)
    return last_outcome(member, failure)


def overtaken(member: "RunningMember") -> Outcome:
    """Its own bound passed between two attempts: how the last one ended is how it ends, unless that was with its process."""
    if member.history is not None and member.log[-1].failure == INTERRUPTED:
        return not_continued(member, causes.deadline_exceeded(trio.current_time(), "member").failure)
    return last_outcome(member)


def last_outcome(member: "RunningMember", refusal: Failure | None = None) -> Outcome:
    """How its last attempt ended is how the member ends: no further one was made."""
    last = member.log[-1]
    if last.state is State.SUCCEEDED and member.history is not None:
        # What it had answered was not recorded.
        return outcome(member, Finding(State.FAILED, last.usage, failure=INTERRUPTED), trio.current_time())
    failure = last.failure
    if failure is not None and refusal is not None:
        failure = Failure(failure.reason, failure.message, {**failure.details, "no_retry": str(refusal)})
    return outcome(member, Finding(last.state, last.usage, failure=failure, stop=last.stop), trio.current_time())


def replayed(member: "RunningMember", kept: Outcome) -> Outcome:
    now = trio.current_time()
    metadata: dict[str, Any] = dict(kept.metadata)
    return Outcome(
        member=member.name,
        agent=member.ticket.agent.name,
        state=State.SUCCEEDED,
        output=kept.output,
        attempts=member.made,
        queued=now - member.group.started,
        usage=settle.total_usage(attempt.usage for attempt in member.log),
        cached=True,
        metadata=metadata,
        attempt_log=member.log if member.made > 1 else (),
    )


def _number(group: "GroupResult") -> int:
    """Which of its member's nested runs a group belongs to."""
    number = group.parent.rpartition("/")[2].partition("#")[2]
    return int(number) if number else 1
