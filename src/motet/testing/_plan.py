"""Tells where a run did something else than its plan says: groups, members, widths, order of steps. Knows no engine."""

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Final

from motet.model.event import Event, GroupStarted, MemberEnded, MemberStarted
from motet.model.outcome import AttemptKind
from motet.model.payload import Payload
from motet.model.plan import Group, Member, OnFailure, Plan, Sequence
from motet.model.result import GroupResult, RunResult
from motet.model.state import State
from motet.testing._history import History, Scope, Seat

MIN_SAMPLES: Final = 5
"""Ended members before a failure rate is looked at, where limits do not say."""


def groups_of(plan: Plan) -> list[Group]:
    """The groups of a plan, in declared order."""
    if isinstance(plan, Group):
        return [plan]
    children = plan.steps if isinstance(plan, Sequence) else plan.branches
    return [group for child in children for group in groups_of(child)]


def plan_problems(plan: Plan, history: History, result: RunResult) -> Iterator[str]:
    """What is wrong with a run of this plan."""
    declared = groups_of(plan)
    expected, found = [group.name for group in declared], [group.name for group in result.groups]
    if expected != found:
        yield f"run: its groups are {', '.join(found)}; the plan says {', '.join(expected)}"
    results = {group.name: group for group in result.groups}
    scopes = {scope.name: scope for scope in history.of("")}
    for group in declared:
        if group.name in results:
            yield from _member_problems(group, results[group.name], scopes.get(group.name))
            yield from _limit_problems(group, results[group.name])
    yield from _width_problems({group.name: group for group in declared}, history.events)
    yield from _order_problems(plan, history, results)
    known, output = _output(plan, results)
    if known and output != result.output:
        yield "run: its output is not the answer of the group that the plan says"


def _member_problems(group: Group, result: GroupResult, scope: Scope | None) -> Iterator[str]:
    label = f"group {group.name}"
    seats = [(seat, replica) for seat in group.seats for replica in _replicas(seat)]
    if len(seats) != len(result.outcomes):
        yield f"{label}: {len(result.outcomes)} members ended, the plan has {len(seats)}"
        return
    bases = Counter(seat.name for seat in group.seats)
    for (seat, replica), outcome in zip(seats, result.outcomes, strict=True):
        if outcome.agent != seat.agent_name:
            yield f"{label}: {outcome.member} is agent {outcome.agent}, the plan has {seat.agent_name} in its place"
        if seat.name and bases[seat.name] == 1:
            name = f"{seat.name}_{replica}" if replica else seat.name
            if outcome.member != name:
                yield f"{label}: {outcome.member} stands where the plan has {name}"
        if seat.timeout == 0 and not seat.overrides and outcome.state is not State.SKIPPED:
            yield f"{label}: {outcome.member} has the timeout 0 and is {outcome.state}"
        if outcome.cached and seat.idempotency is None and group.idempotency is None:
            yield f"{label}: {outcome.member} is from an earlier call, and the plan does not ask for that"
        if scope is not None and outcome.member in scope.seats:
            yield from _attempt_problems(f"{label}: {outcome.member}", group, seat, scope.seats[outcome.member])
    if dict(result.metadata) != dict(group.metadata):
        yield f"{label}: its metadata are not those of the plan"


def _attempt_problems(label: str, group: Group, member: Member, seat: Seat) -> Iterator[str]:
    kinds = Counter(seat.started.values())
    retry = member.retry if member.retry is not None else group.retry
    most = retry.max_attempts if retry is not None else 1
    if kinds[AttemptKind.RETRY] >= most:
        yield f"{label} is tried again {kinds[AttemptKind.RETRY]} times, its policy allows {most - 1}"
    safe = isinstance(member.agent, str) or member.agent.info.replay_safe is True
    if kinds[AttemptKind.HEDGE] and (group.hedge is None or not safe):
        yield f"{label} is hedged, and {'its agent is not replay_safe' if group.hedge else 'its group has no policy'}"
    elif group.hedge is not None and seat.widest > group.hedge.max_attempts:
        yield f"{label} makes {seat.widest} attempts at once, its policy allows {group.hedge.max_attempts}"


def _limit_problems(group: Group, result: GroupResult) -> Iterator[str]:
    """A group that has an answer is within what its limits ask of its members."""
    limits, stats = group.limits, result.stats
    if limits is None or result.state is not State.SUCCEEDED:
        return
    if limits.min_successes is not None and stats.succeeded < limits.min_successes:
        yield f"group {group.name}: it is SUCCEEDED with {stats.succeeded} successes of {limits.min_successes}"
    failed = stats.failed + stats.timed_out
    ended = stats.succeeded + failed
    least = MIN_SAMPLES if limits.min_samples is None else limits.min_samples
    # What was decided early is not undone by members that fail while they are stopped.
    whole = group.rule.name == "combine" or not group.rule.early_stop
    rate = limits.max_failure_rate if whole else None
    if rate is not None and ended >= least and failed > rate * ended + 1e-6:
        share = f"{failed} of {ended} members failed, max_failure_rate is {limits.max_failure_rate}"
        yield f"group {group.name}: it is SUCCEEDED, and {share}"


def _replicas(seat: Member) -> range:
    """The replica numbers of a seat; a lone 0 when it is not replicated."""
    return range(1) if seat.replicas is None else range(1, seat.replicas + 1)


def _width_problems(declared: dict[str, Group], events: list[Event]) -> Iterator[str]:
    running: dict[str, set[str]] = {}
    for event in events:
        if event.parent:
            continue
        if isinstance(event.detail, GroupStarted):
            running[event.group] = set()
        elif isinstance(event.detail, MemberEnded):
            running.get(event.group, set()).discard(event.member)
        elif isinstance(event.detail, MemberStarted):
            members = running.setdefault(event.group, set())
            members.add(event.member)
            group = declared.get(event.group)
            if group is not None and group.max_parallel is not None and len(members) > group.max_parallel:
                yield (
                    f"event {event.sequence}: {len(members)} members of group {event.group} run, "
                    f"max_parallel is {group.max_parallel}"
                )


def _order_problems(plan: Plan, history: History, results: dict[str, GroupResult]) -> Iterator[str]:
    started = {scope.name: scope for scope in history.of("")}
    for sequence in _sequences_of(plan):
        for before, after in pairwise([groups_of(step) for step in sequence.steps]):
            end = max((started[group.name].last for group in before if group.name in started), default=0)
            for group in after:
                if group.name in started and started[group.name].first < end:
                    yield f"group {group.name}: it starts before the step before it has ended"
        if sequence.on_failure is OnFailure.STOP or (sequence.on_failure is None and sequence.feed_forward):
            yield from _stop_problems(sequence, started.keys(), results)


def _sequences_of(plan: Plan) -> Iterator[Sequence]:
    if isinstance(plan, Sequence):
        yield plan
    if not isinstance(plan, Group):
        for child in plan.steps if isinstance(plan, Sequence) else plan.branches:
            yield from _sequences_of(child)


def _stop_problems(sequence: Sequence, started: AbstractSet[str], results: dict[str, GroupResult]) -> Iterator[str]:
    failed = ""
    for step in sequence.steps:
        late = [group.name for group in groups_of(step) if failed and group.name in started]
        yield from (f"group {name}: it starts after {failed}, a step that has no answer" for name in late)
        if isinstance(step, Group) and step.name in results and results[step.name].state is not State.SUCCEEDED:
            failed = failed or step.name


def _output(plan: Plan, results: dict[str, GroupResult]) -> tuple[bool, Payload | None]:
    """(whether the output can be told from the groups' answers to the letter, the output)."""
    while isinstance(plan, Sequence) and plan.steps:
        plan = plan.steps[-1]
    if isinstance(plan, Group) and plan.name in results:
        return True, results[plan.name].aggregate
    return False, None
