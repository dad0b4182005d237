"""Groups of agents as JAF's pages write them, and the plan that they are. Knows neither tools nor results."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from motet.engine.seats import NAME, instance_names
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group, Limits, Member, Parallel, Plan, RetryPolicy
from motet.model.plan import Sequence as Steps
from motet.patterns._host import is_list
from motet.patterns._jaf_agent import Agent as JafAgent
from motet.patterns._jaf_agent import Scope
from motet.ports import Agent

STRATEGIES: Final = ("combine", "first", "majority", "custom")
MODES: Final = ("sequential", "parallel")


@dataclass(slots=True)
class ParallelAgentGroup:
    """Agents that run together. Raises ValueError, naming the field, for what is wrong.

    Agents are those of this module, or any other of Motet's. One that is listed twice runs twice: `name`, `name_2`, ...
    `combine` gives every success in declared order; `first` is a race, and its losers are stopped; `majority` is the first
    success in declared order once more than half of the agents have succeeded; `custom` asks `custom_aggregator`.
    """

    name: str
    agents: Sequence[Agent]
    shared_input: bool = True
    """All agents get the tool's input. False: when that is a JSON object with the name of an agent, the agent gets its own
    entry; an agent that it does not name gets the input as it is."""
    result_aggregation: str = "combine"
    custom_aggregator: Callable[[list[str]], Any] | None = None
    """Called with the texts of the successes, in declared order, also when there are none; sync or async. A plain function
    must be quick: the engine waits for it. Returns text or JSON values."""
    timeout: float | None = None
    """Seconds, queueing included; 0 means already over, None no bound of its own."""
    metadata: Mapping[str, Any] | None = None
    """JSON values, returned with the group's result."""
    max_parallel: int | None = None
    """Most agents that run at once; None means all."""
    limits: Limits | None = None

    def __post_init__(self) -> None:
        for field, message in self._problems():
            raise ValueError(f"group {self.name!r}: {field}: {message}")

    def _problems(self) -> "Sequence[tuple[str, str]]":
        found: list[tuple[str, str]] = []
        if not isinstance(self.name, str) or NAME.fullmatch(self.name) is None:
            found.append(("name", "use letters, digits and _ . : - (at most 128)"))
        if not is_list(self.agents):
            found.append(("agents", "give a list of at least one agent"))
        else:
            strangers = [place for place, agent in enumerate(self.agents) if not isinstance(agent, JafAgent | Agent)]
            found += [(f"agents[{p}]", f"{type(self.agents[p]).__name__} is not an agent") for p in strangers]
        if self.result_aggregation not in STRATEGIES:
            found.append(("result_aggregation", f"{self.result_aggregation!r} is none of {', '.join(STRATEGIES)}"))
        elif (self.result_aggregation == "custom") != (self.custom_aggregator is not None):
            found.append(("custom_aggregator", "belongs to result_aggregation='custom', and that needs one"))
        function: object = self.custom_aggregator
        if function is not None and not callable(function):
            found.append(("custom_aggregator", f"{type(function).__name__} is not a function"))
        if not _is_time(self.timeout):
            found.append(("timeout", f"{self.timeout!r} is not a time; give seconds, 0 or more, or None"))
        if self.max_parallel is not None and self.max_parallel < 1:
            found.append(("max_parallel", "must be 1 or more; leave it out for no bound"))
        return found

    def names(self) -> list[str]:
        """Of the agents' seats, in declared order."""
        return instance_names([Member(_name_of(agent)) for agent in self.agents])[0]

    def group(self, scope: Scope, input: str) -> Group:
        """The group that it is in one run."""
        agents = [agent.model_agent(scope) if isinstance(agent, JafAgent) else agent for agent in self.agents]
        own = {} if self.shared_input else _entries(input)
        inputs = [
            own.get(name, own.get(_name_of(agent))) for name, agent in zip(self.names(), self.agents, strict=True)
        ]
        return Group(
            self.name,
            [Member(agent, input=given) for agent, given in zip(agents, inputs, strict=True)],
            self._rule(),
            timeout=self.timeout,
            max_parallel=self.max_parallel,
            limits=self.limits,
            metadata=dict(self.metadata or {}),
        )

    def _rule(self) -> Aggregation:
        function = self.custom_aggregator
        if function is None:
            return Aggregation(self.result_aggregation)
        return Aggregation("custom", {"function": _over_outcomes(function)})


@dataclass(slots=True)
class ParallelExecutionConfig:
    """Groups, and how they run beside or after each other. Raises ValueError, naming the field, for what is wrong.

    Groups of one name are numbered: `name`, `name_2`, ... The groups do not depend on each other: one that fails stops none.
    """

    groups: Sequence[ParallelAgentGroup]
    inter_group_execution: str = "sequential"
    """`sequential` or `parallel`."""
    global_timeout: float | None = None
    """Seconds for all groups; 0 means already over, None no bound. What has ended by then is kept."""
    preserve_session: bool = False
    """The agents continue the caller's session, and what they answer is kept in it, in declared order."""
    fallback_to_auto: bool = False
    """A group whose agents gave no answer together is asked once more in the ordinary way, one agent after another, in
    what is left of the global timeout. Not after its time was over, or when the aggregator failed."""
    max_retries: int = 0
    """Further attempts of an agent whose failure says that the same call may work later, with a growing wait."""

    def __post_init__(self) -> None:
        if not is_list(self.groups):
            raise ValueError("groups: give a list of at least one group")
        for place, group in enumerate(self.groups):
            if not isinstance(group, ParallelAgentGroup):
                raise ValueError(f"groups[{place}]: {type(group).__name__} is not a ParallelAgentGroup")  # noqa: TRY004 - wrong input is one kind of error
        if self.inter_group_execution not in MODES:
            raise ValueError(f"inter_group_execution: {self.inter_group_execution!r} is none of {', '.join(MODES)}")
        if not _is_time(self.global_timeout):
            raise ValueError(f"global_timeout: {self.global_timeout!r} is not a time; give seconds, 0 or more, or None")
        if not isinstance(self.max_retries, int) or self.max_retries < 0:
            raise ValueError(f"max_retries: {self.max_retries!r} is not a number of retries; give 0 or more")

    def named(self) -> dict[str, ParallelAgentGroup]:
        """The groups by name, numbered where names repeat."""
        numbered: dict[str, ParallelAgentGroup] = {}
        taken = {group.name for group in self.groups}
        for group in self.groups:
            name, number = group.name, 2
            while name in numbered or (name != group.name and name in taken):
                name, number = f"{group.name}_{number}", number + 1
            numbered[name] = group
        return numbered

    def plan(self, scope: Scope, input: str) -> Plan:
        """The plan that they are in one run."""
        retry = RetryPolicy(max_attempts=self.max_retries + 1) if self.max_retries else None
        groups = [
            replace(group.group(scope, input), name=name, retry=retry, preserve_session=self.preserve_session)
            for name, group in self.named().items()
        ]
        if self.inter_group_execution == "parallel":
            return Parallel(groups, timeout=self.global_timeout)
        return Steps(groups, timeout=self.global_timeout)


def one_by_one(plan: Plan, names: Sequence[str], timeout: float | None) -> Plan:
    """Of a plan of groups those with these names, with one member at a time, one group after another."""
    groups = () if isinstance(plan, Group) else plan.branches if isinstance(plan, Parallel) else plan.steps
    again = [replace(group, max_parallel=1) for group in groups if isinstance(group, Group) and group.name in names]
    return Steps(again, timeout=timeout)


def _name_of(agent: Agent) -> str:
    # An agent of this module may lack what only a run knows: it is not made before there is one.
    return agent.name if isinstance(agent, JafAgent) else agent.info.name


def text_of(payload: Payload) -> str:
    """As an aggregator reads it: JSON as its document."""
    return payload.data.decode(errors="replace") if payload.kind == "data" else payload.text


def _over_outcomes(function: Callable[[list[str]], Any]) -> Callable[[list[Outcome]], Any]:
    def texts(outcomes: Sequence[Outcome]) -> list[str]:
        return [text_of(each.output) for each in outcomes if each.output is not None]

    def answer(value: Any) -> Any:
        # None is a value here, as in every JSON result, and not the lack of one.
        return Payload.from_json(None) if value is None else value

    if _is_async(function):

        async def reduce_async(outcomes: list[Outcome]) -> Any:
            return answer(await function(texts(outcomes)))

        return reduce_async
    return lambda outcomes: answer(function(texts(outcomes)))


def _is_async(function: Callable[..., Any]) -> bool:
    from motet.aggregate._custom_reducers import is_async  # noqa: PLC0415 - as the rule that it is given to sees it

    return is_async(function)


def _entries(input: str) -> dict[str, Payload]:
    try:
        found = json.loads(input)
    except ValueError:
        return {}
    return {name: Payload.of(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _is_time(seconds: object) -> bool:
    return seconds is None or (isinstance(seconds, int | float) and seconds >= 0 and math.isfinite(seconds))
