"""From a request to what will run: names become things, and every mistake is found before anything starts. Pure."""

import math
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, cast

from motet.engine.seats import NAME, NO_OVERRIDES, Seats, SeatSpec, instance_names
from motet.errors import InvalidRequest, NotFound, Violation
from motet.model import reason
from motet.model.agent import AgentInfo
from motet.model.checks import (
    TENANT,
    Problem,
    card_problems,
    hedge_problems,
    idempotency_problems,
    limits_problems,
    retry_problems,
)
from motet.model.payload import Payload
from motet.model.plan import Group, Limits, Member, OnFailure, Parallel, Plan, Sequence
from motet.model.quick import quick
from motet.model.run import RunRequest
from motet.ports import Agent, Aggregator, AggregatorType

MAX_PLAN_DEPTH: Final = 32
"""Nesting of sequences and parallels. Nobody writes such a tree by hand; the bound keeps recursion harmless."""


class NamedGroup(Protocol):
    """A group that a catalog knows."""

    @property
    def group(self) -> Group: ...


class Names(Protocol):
    """What a catalog offers to look names up in."""

    @property
    def agents(self) -> Mapping[str, Agent]: ...
    @property
    def aggregations(self) -> Mapping[str, AggregatorType]: ...
    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]: ...

    @property
    def groups(self) -> Mapping[str, "NamedGroup"]: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one run may ask for."""

    max_members: int
    max_depth: int
    max_payload_bytes: int

    def tightened(self, limits: Limits | None, depth: int) -> "Bounds":
        """With a caller's limits, which can only lower them. `max_depth` counts from the caller's own `depth`."""
        if limits is None:
            return self
        members = self.max_members if limits.max_members is None else min(self.max_members, limits.max_members)
        deepest = self.max_depth if limits.max_depth is None else min(self.max_depth, depth + limits.max_depth)
        return Bounds(members, deepest, self.max_payload_bytes)


@dataclass(frozen=True, slots=True)
class GroupNode:
    """A group, ready to run."""

    group: Group
    seats: Seats
    aggregator: Aggregator
    early_stop: bool
    width: int
    max_depth: int | None

    @property
    def timeout(self) -> float | None:
        return self.group.timeout


_node: Callable[..., GroupNode] = quick(GroupNode)


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A sequence, ready to run."""

    steps: "tuple[Node, ...]"
    feed_forward: bool
    stop_on_failure: bool
    timeout: float | None


@dataclass(frozen=True, slots=True)
class ParallelNode:
    """A parallel, ready to run."""

    branches: "tuple[Node, ...]"
    timeout: float | None


Node: TypeAlias = GroupNode | SequenceNode | ParallelNode


def groups_of(node: Node) -> list[GroupNode]:
    """All groups under a node, in declared order."""
    match node:
        case GroupNode():
            return [node]
        case SequenceNode():
            return [group for step in node.steps for group in groups_of(step)]
        case ParallelNode():
            return [group for branch in node.branches for group in groups_of(branch)]


def resolve(request: RunRequest, names: Names, bounds: Bounds, known: Node | None = None) -> Node:
    """The plan of a request, ready to run. Raises InvalidRequest naming every wrong field, NotFound for an unknown group.

    `known` is the plan of an earlier request for the same, within the same bounds and without limits of its own: only the
    rest of the request is looked at.
    """
    if isinstance(request.target, str):
        named = names.groups.get(request.target)
        if named is None:
            raise NotFound(f"there is no group {request.target!r} in the catalog", reason="GROUP_NOT_FOUND")
        plan: Plan = named.group
        path = "group_name"
    else:
        plan, path = request.target, "plan"
    checker = _Resolver(names, bounds, request.limits)
    checker.seconds(request.timeout, "timeout")
    checker.payload(request.input, "input")
    checker.payloads(request.variables, "variables")
    if request.limits is not None:
        checker.problems(limits_problems(request.limits), "limits")
    if request.tenant and TENANT.fullmatch(request.tenant) is None:
        checker.wrong(
            "tenant", f"{request.tenant!r} is not a tenant's name; use letters, digits and _ . : @ - (at most 128)"
        )
    if known is not None and not checker.violations:
        return known
    node = checker.node(plan, path, 1)
    total = sum(group.seats.total for group in groups_of(node)) if node is not None else 0
    if not checker.violations and total > bounds.max_members:
        raise InvalidRequest(
            [Violation(path, f"the plan has {total} members, the limit is {bounds.max_members}; ask for fewer")],
            reason=reason.MEMBERS_EXCEEDED,
        )
    if checker.violations or node is None:
        raise InvalidRequest(checker.violations)
    return node


class _Resolver:
    """Walks a plan once and collects what is wrong."""

    def __init__(self, names: Names, bounds: Bounds, limits: Limits | None) -> None:
        self.names = names
        self.bounds = bounds
        self.run_limits = limits
        self.violations: list[Violation] = []
        self.group_names: set[str] = set()

    def wrong(self, field: str, message: str) -> None:
        self.violations.append(Violation(field, message))

    def seconds(self, value: float | None, field: str) -> None:
        if value is not None and (math.isnan(value) or value < 0):
            self.wrong(field, f"{value} is not a time; give seconds, 0 for already over, or leave it out for no bound")

    def payload(self, payload: Payload | None, field: str) -> None:
        if payload is not None and payload.size > self.bounds.max_payload_bytes:
            limit = self.bounds.max_payload_bytes
            self.wrong(field, f"the payload has {payload.size} bytes, the limit is {limit}; send less or a reference")

    def payloads(self, payloads: Mapping[str, Payload], field: str) -> None:
        for name, payload in payloads.items():
            self.payload(payload, f'{field}["{name}"]')

    def problems(self, problems: Items[Problem], field: str) -> None:
        for name, message in problems:
            self.wrong(f"{field}.{name}" if name else field, message)

    def node(self, plan: Plan, path: str, depth: int) -> Node | None:
        if depth > MAX_PLAN_DEPTH:
            self.wrong(path, f"the plan nests deeper than {MAX_PLAN_DEPTH} levels; flatten it")
            return None
        if isinstance(plan, Group):
            return self.group(plan, path if path == "group_name" else f"{path}.group")
        if isinstance(plan, Sequence):
            steps = self.children(plan.steps, f"{path}.sequence.steps", depth)
            self.seconds(plan.timeout, f"{path}.timeout")
            stop = plan.feed_forward if plan.on_failure is None else plan.on_failure is OnFailure.STOP
            return SequenceNode(steps, plan.feed_forward, stop, plan.timeout)
        if isinstance(plan, Parallel):
            branches = self.children(plan.branches, f"{path}.parallel.branches", depth)
            self.seconds(plan.timeout, f"{path}.timeout")
            return ParallelNode(branches, plan.timeout)
        self.wrong(path, f"{type(plan).__name__} is not a plan; give a Group, a Sequence or a Parallel")
        return None

    def children(self, plans: Items[Plan], path: str, depth: int) -> tuple[Node, ...]:
        if not plans:
            self.wrong(path, "is empty; give at least one")
        nodes = [self.node(plan, f"{path}[{place}]", depth + 1) for place, plan in enumerate(plans)]
        return tuple(node for node in nodes if node is not None)

    def group(self, group: Group, path: str) -> GroupNode | None:
        before = len(self.violations)
        if not NAME.fullmatch(group.name):
            self.wrong(f"{path}.name", f"{group.name!r} is not a name; use letters, digits and _ . : - (at most 128)")
        elif group.name in self.group_names:
            self.wrong(f"{path}.name", f"{group.name} names another group too; group names are unique in a plan")
        self.group_names.add(group.name)
        self.seconds(group.timeout, f"{path}.timeout")
        if group.max_parallel is not None and group.max_parallel < 1:
            self.wrong(
                f"{path}.max_parallel", f"{group.max_parallel} lets nothing run; give at least 1 or leave it out"
            )
        if group.retry is not None:
            self.problems(retry_problems(group.retry), f"{path}.retry")
        if group.idempotency is not None:
            self.problems(idempotency_problems(group.idempotency), f"{path}.idempotency")
        aggregator = self.aggregator(group, path)
        specs = self.specs(group, f"{path}.members")
        if specs and group.hedge is not None:
            safe = any(spec.info.replay_safe for spec in specs)
            self.problems(hedge_problems(group.hedge, replay_safe=safe), f"{path}.hedge")
        total = sum(spec.count for spec in specs)
        if group.limits is not None:
            self.problems(limits_problems(group.limits, total or None), f"{path}.limits")
        self.successes(total, group.name)
        if len(self.violations) > before or aggregator is None:
            return None
        seats = Seats(specs)
        limits = group.limits
        if limits is not None and limits.max_members is not None and seats.total > limits.max_members:
            self.wrong(f"{path}.members", f"{seats.total} members are above the group's limit of {limits.max_members}")
        return _node(
            group,
            seats,
            aggregator,
            group.rule.early_stop,
            min(group.max_parallel or seats.total, seats.total),
            limits.max_depth if limits is not None else None,
        )

    def aggregator(self, group: Group, path: str) -> Aggregator | None:
        rule = group.rule
        kind = self.names.aggregations.get(rule.name or "combine")
        if kind is None:
            known = ", ".join(sorted(self.names.aggregations))
            self.wrong(f"{path}.aggregation.name", f"there is no aggregation {rule.name!r}; there are: {known}")
            return None
        try:
            aggregator = kind.make(rule.options, self.names)
        except ValueError as error:
            self.wrong(f"{path}.aggregation.options", str(error))
            return None
        for name in aggregator.agents:
            if name not in self.names.agents:
                self.wrong(f"{path}.aggregation.options", f"there is no agent {name!r} in the catalog")
        return aggregator

    def successes(self, total: int, name: str) -> None:
        """What a run asks of each of its groups must be possible in this one."""
        least = self.run_limits.min_successes if self.run_limits is not None else None
        if total and least is not None and least > total:
            self.wrong("limits.min_successes", f"{least} successes are more than the {total} members of group {name}")

    def specs(self, group: Group, path: str) -> list[SeatSpec]:
        members = group.seats
        if not members:
            self.wrong(path, "is empty; a group has at least one member")
            return []
        strangers = [p for p, m in enumerate(members) if not (isinstance(m.agent, str) or _is_agent(m.agent))]
        for place in strangers:
            kind = type(members[place].agent).__name__
            self.wrong(f"{path}[{place}].agent", f"{kind} is not an agent; give a name or an agent")
        if strangers:
            return []
        names, clashes = instance_names(members)
        specs: list[SeatSpec] = []
        first = 0
        for place, member in enumerate(members):
            field = f"{path}[{place}]"
            if place in clashes:
                self.wrong(f"{field}.name", clashes[place])
            agent = self.agent(member, field)
            self.member(member, field)
            if agent is not None:
                overrides = {each.replica: each for each in member.overrides} if member.overrides else NO_OVERRIDES
                retry = member.retry if member.retry is not None else group.retry
                specs.append(
                    SeatSpec(
                        member,
                        agent,
                        agent.info,
                        names[place],
                        first,
                        overrides,
                        retry if retry is not None and retry.max_attempts > 1 else None,
                        group.hedge if agent.info.replay_safe else None,
                        member.idempotency if member.idempotency is not None else group.idempotency,
                    )
                )
                first += max(1, member.replicas or 1)
        weights = [member.weight for member in members] + [
            override.weight for member in members for override in member.overrides if override.weight is not None
        ]
        if all(weight == 0 for weight in weights):
            self.wrong(path, "all weights are 0, so nothing would count; give at least one member a weight above 0")
        return specs

    def agent(self, member: Member, field: str) -> Agent | None:
        if isinstance(member.agent, str):
            agent = self.names.agents.get(member.agent)
            if agent is None:
                self.wrong(f"{field}.agent", f"there is no agent {member.agent!r} in the catalog")
            return agent
        # `specs` has looked at it: an object is an agent here.
        agent = cast("Agent", member.agent)
        info = agent.info
        if info.rate is not None or info.breaker is not None or info.weight != 1.0:
            self.problems(card_problems(info), f"{field}.agent")
        return agent

    def member(self, member: Member, field: str) -> None:
        if member.name and not NAME.fullmatch(member.name):
            self.wrong(f"{field}.name", f"{member.name!r} is not a name; use letters, digits and _ . : - (at most 128)")
        self.payload(member.input, f"{field}.input")
        self.payloads(member.variables, f"{field}.variables")
        self.weight(member.weight, f"{field}.weight")
        self.seconds(member.timeout, f"{field}.timeout")
        if member.retry is not None:
            self.problems(retry_problems(member.retry), f"{field}.retry")
        if member.idempotency is not None:
            self.problems(idempotency_problems(member.idempotency), f"{field}.idempotency")
        if not member.overrides and member.replicas is None:
            return
        if member.replicas is not None and not 1 <= member.replicas <= self.bounds.max_members:
            self.wrong(f"{field}.replicas", f"{member.replicas} is not between 1 and {self.bounds.max_members}")
        seen: set[int] = set()
        for place, override in enumerate(member.overrides):
            at = f"{field}.overrides[{place}]"
            if not 1 <= override.replica <= (member.replicas or 0):
                self.wrong(
                    f"{at}.replica", f"{override.replica} is not between 1 and replicas ({member.replicas or 0})"
                )
            elif override.replica in seen:
                self.wrong(f"{at}.replica", f"replica {override.replica} has an override already; put them together")
            seen.add(override.replica)
            self.payload(override.input, f"{at}.input")
            self.payloads(override.variables, f"{at}.variables")
            self.weight(1.0 if override.weight is None else override.weight, f"{at}.weight")
            self.seconds(override.timeout, f"{at}.timeout")

    def weight(self, weight: float, field: str) -> None:
        if not (math.isfinite(weight) and weight >= 0):
            self.wrong(field, f"{weight} is not a weight; give a finite number, 0 or more")


def _is_agent(thing: object) -> bool:
    # Not isinstance with the protocol: that takes 20 microseconds, as long as all else that a member costs.
    return isinstance(getattr(thing, "info", None), AgentInfo) and callable(getattr(thing, "call", None))
