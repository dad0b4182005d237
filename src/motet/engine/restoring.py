"""A group that goes on after a crash: what had ended stays, what had not started starts, what was running runs again."""

from typing import TYPE_CHECKING

import trio

from motet.engine import settle
from motet.engine.history import GroupHistory, MemberHistory
from motet.engine.member import MAX_RESUMES
from motet.engine.tickets import ticket_of
from motet.model import reason
from motet.model.outcome import AttemptKind, Failure
from motet.model.usage import Usage
from motet.ports import End, Guard, Start, Ticket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motet.engine.group import GroupExecution


def restore(group: "GroupExecution", past: GroupHistory) -> None:
    """Put a group that has just been made where its events say that it stood."""
    history = group.run.history
    elapsed = history.elapsed if history is not None else past.started
    seats = group.node.seats
    places = {name: place for place, name in enumerate(seats.names)}
    # Not after now, not even by a rounding: what ends in this moment has taken no time, never less.
    group.started = min(group.started, group.run.root.started + past.started)
    group.running_now, group.peak = len(past.running), past.peak
    outcomes = {places[name]: outcome for name, outcome in past.outcomes.items() if name in places}
    group.restored = {places[name]: member for name, member in past.running.items() if name in places}
    group.queue.without({*outcomes, *group.restored})
    for place, outcome in outcomes.items():
        group.keep(place, outcome)
    # From here on a limit may turn out to be broken, which ends all that has not ended.
    for place, outcome in outcomes.items():
        charge(group.scopes, ticket_of(group, place), outcome.usage, outcome.ran)
        for guard in group.guards:
            guard.member_ended(outcome)
    for place, member in list(group.restored.items()):
        attempts = [*member.attempts, *member.interrupted(elapsed)]
        usage = settle.total_usage(attempt.usage for attempt in attempts)
        charge(group.scopes, ticket_of(group, place), usage, sum(attempt.ran for attempt in attempts))
    now = trio.current_time()
    for place, member in list(group.restored.items()):
        failure = why_lost(member, seats.spec(place).info.replay_safe)
        if failure is not None and place in group.restored:
            group.skip(place, failure, now)
    group.decide()


def charge(scopes: "Sequence[Guard]", ticket: Ticket, usage: Usage, ran: float) -> None:
    """What was used before the crash counts against the budgets."""
    start = Start(ticket)
    end = End(usage, ran)
    now = trio.current_time()
    for guard in scopes:
        guard.started(start, now)
        guard.settled(start, end, now)


def why_lost(member: MemberHistory, replay_safe: bool | None) -> Failure | None:
    """Why a member that had started is not called again; None when it is."""
    if member.was_called and replay_safe is False:
        return Failure(
            reason.INTERRUPTED, "the process that ran it ended, and its agent says that a call is not to be made twice"
        )
    kinds = [*(attempt.kind for attempt in member.attempts), *(kind for kind, _ in member.open.values())]
    if kinds.count(AttemptKind.RESUME) >= MAX_RESUMES:
        return Failure(reason.INTERRUPTED, f"processes that ran it ended {MAX_RESUMES} times; it is not tried again")
    return None
