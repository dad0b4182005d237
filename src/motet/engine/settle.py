"""From outcomes to results: the pure decisions at the end of groups and runs."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from motet.engine.causes import StopCause
from motet.model import reason
from motet.model import usage as usage_module
from motet.model.outcome import Failure, Outcome, StopKind
from motet.model.payload import Payload
from motet.model.plan import Limits
from motet.model.quick import quick
from motet.model.result import GroupResult, Saved, Stats
from motet.model.state import State
from motet.model.usage import Usage

_stats: Callable[..., Stats] = quick(Stats)
_usage: Callable[..., Usage] = quick(Usage)


def known(outcomes: Iterable[Outcome | None]) -> tuple[Outcome, ...]:
    """Those of the members that have one."""
    return tuple(outcome for outcome in outcomes if outcome is not None)


def total_usage(usages: Iterable[Usage]) -> Usage:
    """Their sum, in one pass."""
    calls = tokens_in = tokens_out = cost = unpriced = 0
    for usage in usages:
        calls += usage.calls
        tokens_in += usage.input_tokens
        tokens_out += usage.output_tokens
        cost += usage.cost_nanos
        unpriced += usage.unpriced_calls
    if not (calls or tokens_in or tokens_out or cost or unpriced):
        return usage_module.NONE
    return _usage(
        calls=calls, input_tokens=tokens_in, output_tokens=tokens_out, cost_nanos=cost, unpriced_calls=unpriced
    )


def count(outcomes: Sequence[Outcome], peak_running: int = 0, progress_dropped: int = 0) -> Stats:
    """The statistics of a group."""
    states: dict[State, int] = {}
    detached = 0
    ran = queued = 0.0
    for outcome in outcomes:
        states[outcome.state] = states.get(outcome.state, 0) + 1
        ran += outcome.ran
        queued += outcome.queued
        if outcome.stop is not None and outcome.stop.kind is StopKind.DETACHED:
            detached += 1
    return _stats(
        members=len(outcomes),
        succeeded=states.get(State.SUCCEEDED, 0),
        failed=states.get(State.FAILED, 0),
        timed_out=states.get(State.TIMED_OUT, 0),
        cancelled=states.get(State.CANCELLED, 0),
        skipped=states.get(State.SKIPPED, 0),
        detached=detached,
        peak_running=peak_running,
        ran=ran,
        queued=queued,
        progress_dropped=progress_dropped,
    )


def add_up(parts: Sequence[Stats], peak_running: int) -> Stats:
    """The statistics of a run from those of its groups."""
    if len(parts) == 1 and parts[0].peak_running == peak_running:
        return parts[0]
    return Stats(
        peak_running=peak_running,
        **{
            field.name: sum(getattr(part, field.name) for part in parts)
            for field in dataclasses.fields(Stats)
            if field.name != "peak_running"
        },
    )


def saved(outcomes: Sequence[Outcome], cost_of: Callable[[int], int | None]) -> Saved:
    """What an early decision spared; `cost_of` is what the member at a place was expected to cost."""
    members = calls = cost = unpriced = 0
    for index, outcome in enumerate(outcomes):
        if outcome.failure is None or outcome.failure.reason != reason.DECIDED:
            continue
        members += 1
        if outcome.state is State.SKIPPED:
            calls += 1
            expected = cost_of(index)
            unpriced += expected is None
            cost += expected or 0
    return Saved(members=members, calls=calls, cost_nanos=cost, unpriced_calls=unpriced)


def limited(answer: Payload | Failure, succeeded: int, limits: Limits, breach: Failure | None) -> Payload | Failure:
    """The answer of a group within its limits; `breach` is the limit that stopped it.

    A group that too many members failed, or too few succeeded, in has no answer; one that a budget stopped has the
    answer that its outcomes give, if they give one.
    """
    if breach is not None and breach.reason in (reason.FAILURE_RATE_EXCEEDED, reason.TOO_FEW_SUCCESSES):
        return breach
    least = limits.min_successes
    if least is not None and succeeded < least:
        message = f"{succeeded} members succeeded; the limit asks for {least}"
        details: dict[str, object] = {"succeeded": succeeded, "min_successes": least}
        if breach is not None:
            message, details = f"{message}; {breach.message}", {**details, "breach": breach.reason}
        return Failure(reason.TOO_FEW_SUCCESSES, message, details)
    if breach is not None and isinstance(answer, Failure):
        details = {**breach.details, "aggregation_reason": answer.reason}
        return Failure(breach.reason, f"{breach.message}; {answer.message}", details)
    return answer


def group_state(
    answer: Payload | Failure, cause: StopCause | None, outcomes: Sequence[Outcome], *, unsettled: bool = False
) -> tuple[State, Payload | None, Failure | None]:
    """State, aggregate and failure of a group that has ended.

    A group that was cancelled has no answer, even if what had ended by then would give one: the caller no longer asked.
    `unsettled` says that the cancel came while the aggregation had still to ask, or to hear, agents.
    One whose deadline passed has the answer that its finished members give, if they give one.
    """
    if cause is not None and cause.reason in (reason.CANCELLED, reason.ENGINE_CLOSED, reason.INTERRUPTED):
        if unsettled:
            return State.CANCELLED, None, Failure(cause.reason, cause.message, {"unsettled": True})
        if any(o.failure is not None and o.failure.reason == cause.reason for o in outcomes):
            return State.CANCELLED, None, cause.failure
    if isinstance(answer, Payload):
        return State.SUCCEEDED, answer, None
    decided = answer.reason in (reason.AGGREGATION_FAILED, reason.FAILURE_RATE_EXCEEDED)
    if cause is not None and cause.reason == reason.DEADLINE_EXCEEDED and not decided:
        details = {**answer.details, "aggregation_reason": answer.reason}
        return State.TIMED_OUT, None, Failure(cause.reason, f"{cause.message}; {answer.message}", details)
    return State.FAILED, None, answer


def run_end(groups: Sequence[GroupResult], cause: StopCause | None) -> tuple[State, Failure | None]:
    """State and failure of a run: those of its first group, in declared order, that has no answer."""
    for group in groups:
        if group.failure is None:
            continue
        failure = Failure(group.failure.reason, f"group {group.name}: {group.failure.message}", {"group": group.name})
        if cause is not None:
            return State.CANCELLED, Failure(cause.reason, cause.message)
        if group.state is not State.SKIPPED:
            return group.state, failure
        match group.failure.reason:
            case reason.DEADLINE_EXCEEDED:
                return State.TIMED_OUT, failure
            case reason.CANCELLED | reason.ENGINE_CLOSED | reason.INTERRUPTED:
                return State.CANCELLED, failure
            case _:
                return State.FAILED, failure
    return State.SUCCEEDED, None


def answers_object(answers: Sequence[tuple[str, Payload]]) -> Payload:
    """A JSON object from group name to answer, put together as text so that numbers keep their precision."""
    members = ",".join(f"{Payload.from_json(name).text}:{answer.fragment}" for name, answer in answers)
    return Payload("json", f"{{{members}}}")
