"""The run-invariant checker: does this history of a run keep every promise that Motet makes about runs?

It knows events, results and plans, and nothing of the engine that made them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from motet.model.event import MAX_SEATS_LISTED, Event
from motet.model.outcome import Outcome
from motet.model.plan import Plan
from motet.model.result import GroupResult, RunResult
from motet.model.state import State
from motet.testing._history import (
    History,
    Scope,
    Seat,
    asker,
    group_path,
    questions_path,
    run_number,
    runner,
    seat_path,
)
from motet.testing._plan import plan_problems
from motet.testing._results import TOLERANCE, result_problems


def check_run(events: Iterable[Event], result: RunResult, *, plan: Plan | None = None) -> None:
    """Check all events of a run and its result against the promises about runs, and against its plan where it is given.

    The events are those from the first to the last, as `engine.stream` or `engine.watch(run_id)` gives them. Raises
    AssertionError that lists every promise that is broken, one to a line. Time and memory are linear in the events.
    """
    history = History(list(events))
    problems = [*history.problems, *result_problems(result), *_run_problems(history, result)]
    by_parent: defaultdict[str, list[Scope]] = defaultdict(list)
    for scope in history.scopes:
        by_parent[runner(scope.parent)].append(scope)
    problems.extend(_groups_problems("", result.groups, by_parent))
    problems.extend(
        f"{scope.label}: no result of a {'group' if asker(scope.parent) else 'member'} tells of it"
        for scopes in by_parent.values()
        for scope in scopes
    )
    if plan is not None:
        problems.extend(plan_problems(plan, history, result))
    if problems:
        head = f"run {result.run_id} breaks {len(problems)} promise{'s' if len(problems) > 1 else ''}:"
        raise AssertionError("\n- ".join([head, *problems]))


def _run_problems(history: History, result: RunResult) -> Iterator[str]:
    started, ended = history.run_started, history.run_ended
    members = sum(len(group.outcomes) for group in result.groups)
    if started is not None:
        if started.run_id != result.run_id:
            yield f"run: RunStarted is of {started.run_id}, the result of {result.run_id}"
        if started.started_at != result.started_at:
            yield "run: RunStarted and the result differ in started_at"
        if started.members != members:
            yield f"run: RunStarted says {started.members} members, {members} have outcomes"
    if ended is not None:
        for name in ("state", "failure", "usage", "stats"):
            if getattr(ended, name) != getattr(result, name):
                yield f"run: RunEnded and the result differ in {name}"
    # Whether nested members count in the run's peak is the one thing about it that is not promised.
    if result.stats.peak_running not in {history.peak, history.peak_with_nested}:
        yield f"run: stats.peak_running is {result.stats.peak_running}, the events say {history.peak}"


def _groups_problems(parent: str, groups: tuple[GroupResult, ...], by_parent: dict[str, list[Scope]]) -> Iterator[str]:
    """Compare results under one parent with what the events say of them."""
    scopes = by_parent.pop(parent, [])
    if parent:
        yield from _order_problems(parent, groups, scopes)
    for group in groups:
        label = f"group {group_path(group.parent, group.name)}"
        scope = next((scope for scope in scopes if (scope.parent, scope.name) == (group.parent, group.name)), None)
        if group.state is State.SKIPPED:
            continue
        if scope is None:
            yield f"{label}: it is {group.state} and has no events"
            continue
        scopes.remove(scope)
        yield from _group_problems(label, group, scope)
        for outcome in group.outcomes:
            path = seat_path(group.parent, group.name, outcome.member)
            yield from _groups_problems(path, outcome.nested, by_parent)
        yield from _groups_problems(questions_path(group.parent, group.name), group.asked, by_parent)
    for scope in scopes:
        yield f"{scope.label}: it has events, and no result of a group that started"


def _order_problems(parent: str, groups: tuple[GroupResult, ...], scopes: list[Scope]) -> Iterator[str]:
    """Groups of one run stand in declared order, runs in the order in which they started."""
    told = [*dict.fromkeys(group.parent for group in groups if group.state is not State.SKIPPED)]
    began: dict[str, float] = {}
    for scope in scopes:
        began.setdefault(scope.parent, scope.began)
    # Of runs that start at one moment, beside each other, either may be the first to start a group.
    numbered = [*told] == sorted(told, key=lambda path: (began.get(path, 0.0), run_number(path)))
    if began.keys() == set(told) and not numbered and told != [*began]:
        yield f"{parent}: the {'questions' if asker(parent) else 'nested runs'} are not in the order in which they started"


def _group_problems(label: str, group: GroupResult, scope: Scope) -> Iterator[str]:
    if scope.started is not None:
        if scope.started.members != len(group.outcomes):
            yield f"{label}: GroupStarted says {scope.started.members} members, {len(group.outcomes)} have outcomes"
        seats = tuple((outcome.member, outcome.agent) for outcome in group.outcomes[:MAX_SEATS_LISTED])
        if scope.started.seats != seats:
            yield f"{label}: the seats in GroupStarted are not its members in declared order"
    if scope.ended is not None and scope.ended.result != replace(group, outcomes=(), asked=()):
        yield f"{label}: GroupEnded and the result differ"
    if group.stats.peak_running != scope.peak:
        yield f"{label}: stats.peak_running is {group.stats.peak_running}, the events say {scope.peak}"
    outcomes = {outcome.member: outcome for outcome in group.outcomes}
    for name in scope.seats.keys() - outcomes.keys():
        yield f"{label}: member {name} has events and no outcome"
    for name, outcome in outcomes.items():
        yield from _member_problems(f"{label}, member {name}", outcome, scope.seats.get(name, Seat()))


def _member_problems(label: str, outcome: Outcome, seat: Seat) -> Iterator[str]:
    if seat.outcome is None:
        yield f"{label}: it has no MemberEnded"
    elif seat.outcome != outcome:
        yield f"{label}: MemberEnded and the result differ"
    if (outcome.state is State.SKIPPED or outcome.cached) is not (seat.attempts == 0):
        how = f"{outcome.state}, from an earlier call," if outcome.cached else str(outcome.state)
        yield f"{label}: it is {how} with {seat.attempts} attempts started"
    elif seat.attempts != outcome.attempts:
        yield f"{label}: {seat.attempts} attempts started, the outcome says {outcome.attempts}"
    for attempt in outcome.attempt_log:
        if attempt.number in seat.ended and seat.ended[attempt.number] != attempt:
            yield f"{label}: AttemptEnded and the log differ in attempt {attempt.number}"
    if seat.attempts and seat.agent != outcome.agent:
        yield f"{label}: agent {seat.agent} started, the outcome is of {outcome.agent}"
    if seat.attempts and abs(seat.queued - outcome.queued) > TOLERANCE:
        yield f"{label}: it queued {seat.queued} s when it started, {outcome.queued} s says the outcome"
