"""What members bring to the guards: their tickets, and the limits of their group with the guards that keep them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from motet.engine.resolve import GroupNode
from motet.model.plan import Limits
from motet.model.quick import quick
from motet.ports import Guard, Scope, Ticket

if TYPE_CHECKING:
    from motet.engine.group import GroupExecution
    from motet.engine.run import RunExecution

_ticket: Callable[..., Ticket] = quick(Ticket)
NO_LIMITS: Final = Limits()


def guards_of(group: "GroupExecution") -> Sequence[Guard]:
    """The group's own."""
    if group.limits is NO_LIMITS:
        return ()
    run = group.run
    scope = Scope("group", group.name, run.journal.run_id, group.node.seats.total)
    return run.engine.guards_of(scope, group.limits, group.breached)


def tickets_of(group: "GroupExecution") -> list[Ticket]:
    """One for each spec, the same object for specs of one agent that ask in the same way."""
    run = group.run
    tickets: dict[tuple[str, bool, bool], Ticket] = {}
    profiles = run.engine.profiles
    made: list[Ticket] = []
    for spec in group.node.seats.specs:
        repeats = spec.retry is not None or spec.hedge is not None
        key = (spec.info.name, spec.idempotency is None, repeats)
        ticket = tickets.get(key)
        if ticket is None:
            ticket = tickets[key] = _ticket(
                spec.info,
                run.journal.run_id,
                group.name,
                run.depth,
                run.request.labels,
                run.tenant,
                profiles.of(spec.info),
                run.engine.admission.course(spec.info, run.tenant, group.scopes, repeats=repeats),
                group.scopes,
            )
        made.append(ticket)
    return made


def ticket_of(group: "GroupExecution", index: int) -> Ticket:
    """Of the member at this place."""
    seats = group.node.seats
    return group.tickets[seats.specs.index(seats.spec(index))]


def limits_of(node: GroupNode, run: "RunExecution") -> Limits:
    """The group's own, with what the run asks of each of its groups. The run's budgets are the run's, not the group's."""
    own = node.group.limits or NO_LIMITS
    of_run = run.limits
    if of_run is None or run.asks:
        return own
    return own.tightened(
        Limits(
            max_failure_rate=of_run.max_failure_rate,
            min_samples=of_run.min_samples,
            min_successes=of_run.min_successes,
            on_breach=of_run.on_breach,
            skip_infeasible=of_run.skip_infeasible,
        )
    )
