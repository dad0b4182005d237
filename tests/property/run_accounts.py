"""What a run has used, counted beside the guards, and found again in results and agents."""

from collections.abc import Iterator

from run_strategies import PRICES

import motet
from motet import Group, Sequence, StopKind, Usage
from motet.guards.budget import Budget
from motet.model.usage import NONE
from motet.ports import End, Guard, Start
from motet.testing import AskingRule, ScriptedAgent


class Accountant(Guard):
    """Sees every start and every end beside the guards that count them."""

    name = "accountant"

    def __init__(self) -> None:
        self.open: set[Start] = set()
        self.budgets: dict[Guard, Usage] = {}
        """What was settled with each budget."""
        self.settlements: list[Usage] = []
        """One for each call, in the order in which they ended."""

    def started(self, start: Start, now: float) -> None:
        self.open.add(start)

    def settled(self, start: Start, end: End, now: float) -> tuple[()]:
        self.open.remove(start)
        # One that was granted and withdrawn in the same moment was no call.
        if end.usage != NONE:
            self.settlements.append(end.usage)
        for guard in start.ticket.scopes:
            if isinstance(guard, Budget):
                self.budgets[guard] = self.budgets.get(guard, NONE) + end.usage
        return ()

    def check_budgets(self) -> None:
        for budget, usage in self.budgets.items():
            spent = {"calls": usage.calls, "cost_nanos": usage.cost_nanos, "tokens": usage.input_tokens}
            for row in budget.uses():
                assert row.reserved == 0
                assert row.used == spent.get(row.what, row.used)
                # Each call is 1, and the first of an agent that nothing is known of goes alone.
                beyond = {"calls": 0, "cost_nanos": max(PRICES.values()), "tokens": 3}.get(row.what)
                assert row.limit is not None
                assert beyond is None or row.used <= row.limit + beyond


def used(rows: tuple[motet.LimitUse, ...], guard: str, scope: str) -> float:
    return sum(row.used for row in rows if (row.guard, row.scope) == (guard, scope))


def is_detached(outcome: motet.Outcome) -> bool:
    stops = [outcome.stop, *(attempt.stop for attempt in outcome.attempt_log)]
    return any(stop is not None and stop.kind is StopKind.DETACHED for stop in stops)


def every_agent(plan: motet.Plan, rules: list[AskingRule]) -> set[ScriptedAgent]:
    """All that a run may call, those of nested groups and of questions included."""
    found: set[ScriptedAgent] = set()

    def note(agent: object) -> None:
        if isinstance(agent, ScriptedAgent) and agent not in found:
            found.add(agent)
            if agent.nested is not None and not isinstance(agent.nested, str):
                walk(agent.nested)

    def walk(node: motet.Plan) -> None:
        if isinstance(node, Group):
            for seat in node.seats:
                note(seat.agent)
            for value in every_value(node.rule.options):
                note(value)
        else:
            for child in node.steps if isinstance(node, Sequence) else node.branches:
                walk(child)

    walk(plan)
    for rule in rules:
        note(rule.agent)
    return found


def every_value(options: object) -> Iterator[object]:
    if isinstance(options, dict):
        options = list(options.values())
    if isinstance(options, list):
        for value in options:
            yield from every_value(value)
    else:
        yield options


def every_outcome(result: motet.RunResult) -> Iterator[motet.Outcome]:
    waiting = list(result.groups)
    while waiting:
        group = waiting.pop()
        yield from group.outcomes
        waiting.extend(nested for outcome in group.outcomes for nested in outcome.nested)
        waiting.extend(group.asked)
