"""Tells where a result breaks a promise by itself: states, answers, failures, receipts, counts, usage. Knows no events."""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from motet.model import reason
from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome, StopKind
from motet.model.result import GroupResult, RunResult, Saved, Stats
from motet.model.state import ENDS, State
from motet.model.usage import NONE, Usage
from motet.testing._history import group_path, questions_path, runner, seat_path

TOLERANCE: Final = 1e-3
"""Seconds by which sums of times may differ from what they are compared with."""

_OF_STARTED_MEMBERS: Final = frozenset(
    {
        reason.AGENT_FAILED,
        reason.OUTPUT_INVALID,
        reason.NO_SUCCESSFUL_RESULTS,
        reason.NO_MAJORITY,
        reason.AGGREGATION_FAILED,
        reason.GROUP_FAILED,
    }
)
"""A skipped member cannot have these; every other reason is the engine's or a guard's."""

_OF_STOPS: Final = frozenset({reason.CANCELLED, reason.ENGINE_CLOSED, reason.DEADLINE_EXCEEDED})
"""Reasons of a group that was stopped; one that FAILED has another."""

_COUNTED: Final = {
    "succeeded": State.SUCCEEDED,
    "failed": State.FAILED,
    "timed_out": State.TIMED_OUT,
    "cancelled": State.CANCELLED,
    "skipped": State.SKIPPED,
}


def result_problems(result: RunResult) -> Iterator[str]:
    """What is wrong with the result of a run."""
    for group in result.groups:
        yield from group_problems(group, "")
    if result.state not in ENDS or result.state is State.SKIPPED:
        yield f"run: its state is {result.state}, which is no end of a run"
    kept = result.failure is None or result.failure.reason != reason.SESSION_NOT_KEPT
    if kept and result.succeeded is not all(group.state is State.SUCCEEDED for group in result.groups):
        yield f"run: it is {result.state}, its groups are {', '.join(group.state for group in result.groups)}"
    if result.succeeded and result.output is None:
        yield "run: it is SUCCEEDED and has no output"
    yield from _failure_problems("run", result.state, result.failure)
    yield from _times("run", elapsed=result.elapsed)
    names = [group.name for group in result.groups]
    if len(set(names)) != len(names):
        yield f"run: group names repeat: {', '.join(names)}"
    if result.usage != _sum(group.usage for group in result.groups):
        yield "run: its usage is not the sum over its groups"
    yield from _stats_problems("run", result.stats, [o for group in result.groups for o in group.outcomes])
    dropped = sum(group.stats.progress_dropped for group in result.groups)
    if result.stats.progress_dropped != dropped:
        yield f"run: stats.progress_dropped is {result.stats.progress_dropped}, its groups' add up to {dropped}"


def group_problems(group: GroupResult, parent: str, *, decided_around: bool = False) -> Iterator[str]:
    """What is wrong with the result of a group that was run at `parent`, nested ones and questions included: by the
    member that has its seat there, or for the group whose questions stand there. `decided_around`: a group around it
    was decided, which stops its members too."""
    label = f"group {group_path(parent, group.name)}"
    if runner(group.parent) != parent:
        yield f"{label}: its parent is {group.parent!r}"
    if group.state not in ENDS:
        yield f"{label}: its state is {group.state}, which is no end"
    if (group.state is State.SUCCEEDED) is not (group.aggregate is not None):
        yield f"{label}: it is {group.state} and has {'no' if group.aggregate is None else 'an'} aggregate"
    yield from _failure_problems(label, group.state, group.failure)
    yield from _times(label, elapsed=group.elapsed)
    names = [outcome.member for outcome in group.outcomes]
    if len(set(names)) != len(names):
        yield f"{label}: member names repeat"
    for outcome in group.outcomes:
        yield from _outcome_problems(outcome, group, decided_around=decided_around)
    if group.usage != _sum([*(o.usage for o in group.outcomes), *(asked.usage for asked in group.asked)]):
        yield f"{label}: its usage is not the sum over its members and questions"
    yield from _stats_problems(label, group.stats, group.outcomes)
    yield from _decision_problems(label, group, decided_around=decided_around)
    yield from _stop_problems(label, group, decided_around=decided_around)
    yield from _asked_problems(label, group, decided_around=decided_around)
    if group.state is State.SKIPPED:
        yield from _skipped_group_problems(label, group)


def _skipped_group_problems(label: str, group: GroupResult) -> Iterator[str]:
    if any(outcome.state is not State.SKIPPED for outcome in group.outcomes):
        yield f"{label}: it is SKIPPED and a member is not"
    if group.elapsed:
        yield f"{label}: it is SKIPPED and has an elapsed time"
    if group.asked:
        yield f"{label}: it is SKIPPED and has asked"


def _asked_problems(label: str, group: GroupResult, *, decided_around: bool) -> Iterator[str]:
    path = questions_path(group.parent, group.name)
    for number, asked in enumerate(group.asked, 1):
        parent = path if number == 1 else f"{path}#{number}"
        if asked.parent != parent:
            yield f"{label}: the parent of its question {number} is {asked.parent!r}, {parent!r} is right"
        if not asked.outcomes:
            yield f"{label}: its question {number} was put to nobody"
        # Questions are put after the decision; only that of a group around the one that asks can stop them.
        yield from group_problems(asked, path, decided_around=decided_around)
    spent = sum(asked.elapsed for asked in group.asked)
    if spent > group.elapsed + TOLERANCE:
        yield f"{label}: its questions took {spent} s in a group of {group.elapsed} s"


def _stop_problems(label: str, group: GroupResult, *, decided_around: bool) -> Iterator[str]:
    """A group that was stopped says so, and can show who was stopped: a member, or a question."""
    if group.failure is None:
        return
    why = group.failure.reason
    outcomes = [*group.outcomes, *(outcome for asked in group.asked for outcome in asked.outcomes)]
    shown = any(outcome.failure is not None and outcome.failure.reason == why for outcome in outcomes)
    # A group that was cancelled between its last member and its answer, when nothing ran, stopped nobody, and says so.
    shown = shown or group.failure.details.get("unsettled") is True
    if group.state in {State.CANCELLED, State.TIMED_OUT} and not shown:
        yield f"{label}: it is {group.state}, and no member or question has the reason {why}"
    if group.state is State.FAILED and why in _OF_STOPS and not decided_around:
        yield f"{label}: it is FAILED with the reason {why}"


def _decision_problems(label: str, group: GroupResult, *, decided_around: bool) -> Iterator[str]:
    decided = [o for o in group.outcomes if o.failure is not None and o.failure.reason == reason.DECIDED]
    stopped = [outcome for outcome in decided if outcome.state in {State.CANCELLED, State.SKIPPED}]
    if group.decided_early and not stopped:
        yield f"{label}: it was decided early and no member is CANCELLED or SKIPPED because of it"
    if stopped and not group.decided_early and not decided_around:
        yield f"{label}: members were stopped because it was decided, and decided_early is not set"
    if group.decided_early is not (group.saved is not None):
        yield f"{label}: decided_early is {group.decided_early} and saved is {'not ' * (group.saved is None)}set"
    if group.saved is not None:
        yield from _saved_problems(label, group.saved, decided)


def _saved_problems(label: str, saved: Saved, decided: list[Outcome]) -> Iterator[str]:
    calls = sum(outcome.state is State.SKIPPED for outcome in decided)
    for name, count in (("members", len(decided)), ("calls", calls)):
        if getattr(saved, name) != count:
            yield f"{label}: saved.{name} is {getattr(saved, name)}, the outcomes say {count}"
    # What the calls would have cost is on the agents' cards, which are not part of a result.
    if not 0 <= saved.unpriced_calls <= saved.calls:
        yield f"{label}: saved.unpriced_calls is {saved.unpriced_calls} of {saved.calls} calls"
    if saved.cost_nanos < 0 or (saved.cost_nanos and saved.unpriced_calls == saved.calls):
        priced = saved.calls - saved.unpriced_calls
        yield f"{label}: saved.cost_nanos is {saved.cost_nanos} for {priced} calls with a price"


def _outcome_problems(outcome: Outcome, group: GroupResult, *, decided_around: bool) -> Iterator[str]:
    path = seat_path(group.parent, group.name, outcome.member)
    label = f"member {path}"
    state = outcome.state
    if state not in ENDS:
        yield f"{label}: its state is {state}, which is no end"
    if outcome.succeeded is not (outcome.output is not None):
        yield f"{label}: it is {state} and has {'no' if outcome.output is None else 'an'} output"
    yield from _failure_problems(label, state, outcome.failure)
    if (state in {State.CANCELLED, State.TIMED_OUT}) is not (outcome.stop is not None):
        yield f"{label}: it is {state} and has {'no' if outcome.stop is None else 'a'} stop receipt"
    if (state is State.SKIPPED or outcome.cached) is not (outcome.attempts == 0) or outcome.attempts < 0:
        how = f"{state}, from an earlier call," if outcome.cached else str(state)
        yield f"{label}: it is {how} after {outcome.attempts} attempts"
    yield from _times(label, queued=outcome.queued, ran=outcome.ran, took=outcome.stop.took if outcome.stop else 0.0)
    if outcome.queued + outcome.ran > group.elapsed + TOLERANCE:
        yield f"{label}: it queued {outcome.queued} s and ran {outcome.ran} s in a group of {group.elapsed} s"
    if state is State.SKIPPED:
        yield from _skipped_problems(label, outcome)
    if outcome.cached:
        yield from _cached_problems(label, outcome)
    yield from _log_problems(label, outcome)
    # A member that swallows the stop may be the only one that the decision reached: then nothing else tells of it.
    plainly = outcome.failure is not None and outcome.failure.reason in {reason.CANCELLED, reason.ENGINE_CLOSED}
    for nested in outcome.nested:
        yield from group_problems(nested, path, decided_around=decided_around or group.decided_early or not plainly)


def _skipped_problems(label: str, outcome: Outcome) -> Iterator[str]:
    if outcome.ran:
        yield f"{label}: it is SKIPPED and has run"
    if outcome.usage != NONE:
        yield f"{label}: it is SKIPPED and has used something"
    if outcome.nested:
        yield f"{label}: it is SKIPPED and has run groups"
    if outcome.failure is not None and outcome.failure.reason in _OF_STARTED_MEMBERS:
        yield f"{label}: it is SKIPPED with the reason {outcome.failure.reason}"


def _cached_problems(label: str, outcome: Outcome) -> Iterator[str]:
    if not outcome.succeeded:
        yield f"{label}: it is {outcome.state} and from an earlier call; only successes are kept"
    if outcome.ran:
        yield f"{label}: it is from an earlier call and has run"
    if outcome.usage != NONE:
        yield f"{label}: it is from an earlier call and has used something"
    if outcome.nested:
        yield f"{label}: it is from an earlier call and has run groups"


def _log_problems(label: str, outcome: Outcome) -> Iterator[str]:
    """Of the attempts, and of what they and the groups that the member ran have used."""
    log = outcome.attempt_log
    nested = _sum(nested.usage for nested in outcome.nested)
    if _exceeds(nested, outcome.usage):
        yield f"{label}: its usage is less than that of the groups it ran"
    numbers = [attempt.number for attempt in log]
    if numbers != (list(range(1, outcome.attempts + 1)) if outcome.attempts > 1 else []):
        yield f"{label}: it made {outcome.attempts} attempts, its log has those numbered {numbers}"
    if not log:
        return
    if outcome.usage != _sum(attempt.usage for attempt in log) + nested:
        yield f"{label}: its usage is not the sum over its attempts and the groups it ran"
    yield from _answer_problems(label, outcome)
    before = 0.0
    for attempt in log:
        yield from _attempt_problems(f"{label}, attempt {attempt.number}", attempt)
        if attempt.number == 1 and attempt.started > TOLERANCE:
            yield f"{label}, attempt 1: it started {attempt.started} s after its member"
        if attempt.started < before - TOLERANCE or attempt.started > outcome.ran + TOLERANCE:
            since = f"attempt before it started at {before} s"
            yield f"{label}, attempt {attempt.number}: it started at {attempt.started} s of {outcome.ran} s, the {since}"
        before = attempt.started


def _answer_problems(label: str, outcome: Outcome) -> Iterator[str]:
    log = outcome.attempt_log
    # An answer that was told and not kept when the process ended is lost: the member is asked again, or interrupted.
    if outcome.failure is None or outcome.failure.reason != reason.INTERRUPTED:
        resumed = max((attempt.number for attempt in log if attempt.kind is AttemptKind.RESUME), default=0)
        answered = any(attempt.state is State.SUCCEEDED and attempt.number >= resumed for attempt in log)
        if answered is not outcome.succeeded and (outcome.succeeded or not resumed):
            yield f"{label}: it is {outcome.state} and {'an' if answered else 'no'} attempt is SUCCEEDED"
        if outcome.state is State.FAILED and not any(attempt.state is State.FAILED for attempt in log):
            yield f"{label}: it is FAILED and no attempt is FAILED"
    for before, attempt in pairwise(log):
        if attempt.kind is AttemptKind.RETRY and before.state is State.SUCCEEDED:
            yield f"{label}, attempt {attempt.number}: it is a RETRY of one that is SUCCEEDED"


def _attempt_problems(label: str, attempt: Attempt) -> Iterator[str]:
    state = attempt.state
    if state not in ENDS or state is State.SKIPPED:
        yield f"{label}: its state is {state}, which is no end of an attempt"
    if (attempt.kind is AttemptKind.FIRST) is not (attempt.number == 1):
        yield f"{label}: its kind is {attempt.kind}"
    yield from _failure_problems(label, state, attempt.failure)
    if (state in {State.CANCELLED, State.TIMED_OUT}) is not (attempt.stop is not None):
        yield f"{label}: it is {state} and has {'no' if attempt.stop is None else 'a'} stop receipt"
    took = attempt.stop.took if attempt.stop else 0.0
    yield from _times(label, started=attempt.started, ran=attempt.ran, took=took)


def _failure_problems(label: str, state: State, failure: Failure | None) -> Iterator[str]:
    if (state is State.SUCCEEDED) is not (failure is None):
        yield f"{label}: it is {state} and has {'no' if failure is None else 'a'} failure"
    if failure is not None and (not failure.reason or failure.reason != failure.reason.upper()):
        yield f"{label}: the failure's reason {failure.reason!r} is not upper case"
    if failure is not None and not failure.message:
        yield f"{label}: the failure has no message"


def _times(label: str, **times: float) -> Iterator[str]:
    for name, seconds in times.items():
        if not 0 <= seconds < math.inf:
            yield f"{label}: {name} is {seconds}"


def _stats_problems(label: str, stats: Stats, outcomes: Iterable[Outcome]) -> Iterator[str]:
    outcomes = list(outcomes)
    counts = {
        "members": len(outcomes),
        **{name: sum(o.state is state for o in outcomes) for name, state in _COUNTED.items()},
        "detached": sum(o.stop is not None and o.stop.kind is StopKind.DETACHED for o in outcomes),
    }
    for name, count in counts.items():
        if getattr(stats, name) != count:
            yield f"{label}: stats.{name} is {getattr(stats, name)}, the outcomes say {count}"
    for name, total in (("ran", sum(o.ran for o in outcomes)), ("queued", sum(o.queued for o in outcomes))):
        if not math.isclose(getattr(stats, name), total, rel_tol=1e-6, abs_tol=TOLERANCE):
            yield f"{label}: stats.{name} is {getattr(stats, name)}, the outcomes add up to {total}"
    if stats.progress_dropped < 0:
        yield f"{label}: stats.progress_dropped is {stats.progress_dropped}"


def _sum(usages: Iterable[Usage]) -> Usage:
    return sum(usages, NONE)


def _exceeds(part: Usage, whole: Usage) -> bool:
    return any(
        getattr(part, name) > getattr(whole, name)
        for name in ("calls", "input_tokens", "output_tokens", "cost_nanos", "unpriced_calls")
    )
