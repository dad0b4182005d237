"""Teams: one question to several members with roles of their own, and one summary of what they answer. Makes a group and
nothing more; knows no engine."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from motet.agents.group import GroupAgent
from motet.agents.model.agent import ModelAgent
from motet.agents.model.choice import ModelChoice
from motet.agents.model.instructions import Instructions, Template
from motet.agents.model.tool import Tool, ToolSource
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group, Limits, Member, ReplicaOverride, RetryPolicy
from motet.ports import Agent, Provider

__all__ = ["GENERAL", "MEMBER", "SUMMARY", "Role", "Team", "summary_agent", "team"]

SIZE: Final = 3
"""Members of a team that names neither a size nor roles."""
MEMBER: Final = "You are member ${member_id} of a team of ${total_members}. Each of you works on the same task alone."
"""What members are told when their author tells them nothing."""
_ROLE: Final = "\n\nYour role: ${role_description}\nFocus on: ${focus_area}"
SUMMARY: Final = (
    "You are given a question and the numbered answers of a team, as JSON. Follow its instruction, and write only the "
    "answer, as a text for the one who asked."
)
"""What the model that writes the summary is told."""


@dataclass(frozen=True, slots=True)
class Role:
    """What one member of a team is there for; what is None is as for the others."""

    role: str = ""
    """The variables `role` and `role_description`."""
    focus: str = ""
    """The variables `focus` and `focus_area`; empty means whatever the role asks for."""
    model: str | None = field(default=None, kw_only=True)
    """Its own model, of `provider`, or of the team's."""
    provider: Provider | None = field(default=None, kw_only=True)
    """With `model` only."""
    instructions: Instructions | None = field(default=None, kw_only=True)
    weight: float = field(default=1.0, kw_only=True)
    """In aggregations that weigh."""
    timeout: float | None = field(default=None, kw_only=True)
    """Seconds of run time."""
    variables: Mapping[str, object] = field(default_factory=dict, kw_only=True)
    """More variables, JSON values; on the same name these win."""

    @property
    def named(self) -> bool:
        """It says something about the member."""
        return bool(self.role or self.focus)

    def values(self, given: Mapping[str, object]) -> dict[str, Payload]:
        """The variables of a member with this role, in a team with these."""
        said: dict[str, object] = {}
        if self.named:
            role, focus = self.role or GENERAL.role, self.focus or "what your role asks for"
            said = {"role": role, "role_description": role, "focus": focus, "focus_area": focus}
        return {name: Payload.of(value) for name, value in {**given, **said, **self.variables}.items()}


GENERAL: Final = Role("General Analyst", "comprehensive analysis")
"""The role of members beyond those that are named."""


def team(
    name: str,
    agent: Agent | str | None = None,
    *,
    model: str = "",
    provider: Provider | None = None,
    instructions: Instructions = "",
    tools: Sequence[Tool | ToolSource | Agent | Callable[..., Any]] = (),
    size: int | None = None,
    roles: Sequence[Role] = (),
    variables: Mapping[str, object] | None = None,
    summary: Agent | str | None = None,
    summary_model: str = "",
    summary_provider: Provider | None = None,
    aggregation: Aggregation | str | None = None,
    max_parallel: int | None = None,
    timeout: float | None = None,
    member_timeout: float | None = None,
    min_successes: int | None = None,
    limits: Limits | None = None,
    retry: RetryPolicy | None = None,
    preserve_session: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Group:
    """A group of `name_1`, `name_2`, ..., and one answer: a summary of what those that succeeded say.

    agent: who the members are: an agent, or the name of one in the catalog. Without one they are model agents made of
        `model`, `provider`, `instructions` and `tools`, see ModelAgent.
    instructions: in a text `${word}` stands for the member's variable of that name, and other `${...}` stay as they are. A
        text without them is followed by the member's role. A model agent whose instructions are a text is told alike.
    size: how many; None means as many as there are roles, or 3.
    roles: of the first members; those beyond them are general analysts.
    variables: of every member, beside `member_id`, `total_members`, `role`, `role_description`, `focus`, `focus_area`.
    summary: the agent that writes the summary, or its name in the catalog. None means a model agent of `summary_model`
        and `summary_provider`, which where they are left out are the members'.
    aggregation: another rule in place of the summary.
    timeout: seconds for the whole team, its summary included; member_timeout: for each member.
    min_successes: fewest members that have to succeed; below it there is no answer and no summary is asked for.

    Raises ValueError for what does not fit together, naming it. What a group checks is checked when it runs.
    """
    count = size if size is not None else len(roles) or SIZE
    if count < max(1, len(roles)):
        raise ValueError(f"size: {count} is too small; a team has at least one member, and one for each of its roles")
    if agent is not None and (model or provider is not None or instructions or tools):
        raise ValueError("agent: it has a model, instructions and tools of its own; give either an agent or these")
    if aggregation is not None and (summary is not None or summary_model or summary_provider is not None):
        raise ValueError("summary: nothing is summarized with an aggregation of your own; give one of them")
    base = agent
    if base is None:
        base = ModelAgent(name, model=model, provider=provider, instructions=instructions or MEMBER, tools=tools)
    named = any(role.named for role in roles)
    if named:
        roles = [role if role.named else replace(role, role=GENERAL.role, focus=GENERAL.focus) for role in roles]
    seats = [*roles, *[GENERAL if named else Role()] * (count - len(roles))]
    if isinstance(base, ModelAgent):
        base = _like(base, instructions=_placed(base.instructions, named=named))
    if aggregation is None:
        writer = summary or _summary_of(name, base, summary_model, summary_provider)
        aggregation = Aggregation("summarize", {"agent": writer})
    if min_successes is not None:
        limits = Limits(min_successes=min_successes).tightened(limits)
    return Group(
        name,
        list(_members(name, base, seats, variables or {}, member_timeout)),
        aggregation,
        timeout=timeout,
        max_parallel=max_parallel,
        limits=limits,
        retry=retry,
        preserve_session=preserve_session,
        metadata=metadata or {},
    )


class Team(GroupAgent):
    """A team as one agent: a member of another group, a tool, an entry of a catalog. `options` are those of `team`."""

    def __init__(
        self,
        name: str,
        agent: Agent | str | None = None,
        *,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        version: str = "",
        **options: Any,
    ) -> None:
        self.group = team(name, agent, **options)
        """What it runs."""
        super().__init__(name, self.group, description=description, labels=labels, version=version)

    async def aclose(self) -> None:
        """Release what its members and the agent of its rule hold. They may be used again."""
        held = [member.agent for member in self.group.seats] + list(self.group.rule.options.values())
        for thing in {id(each): each for each in held}.values():
            close = getattr(thing, "aclose", None)
            if close is not None:
                await close()


def summary_agent(name: str, model: str = "", provider: Provider | None = None) -> ModelAgent:
    """Writes a summary, of what the aggregation `summarize` gives it."""
    return ModelAgent(name, model=model, provider=provider, instructions=SUMMARY, history="none")


def _summary_of(name: str, base: Agent | str, model: str, provider: Provider | None) -> ModelAgent:
    if isinstance(base, ModelAgent) and provider is None:
        own = base.choices[0]
        provider, model = own.provider, model or own.model
    return summary_agent(f"{name}_summary", model, provider)


def _members(
    name: str, base: Agent | str, seats: Sequence[Role], variables: Mapping[str, object], timeout: float | None
) -> Iterator[Member]:
    """One member with replicas where all are one agent, else one for each."""
    agents = [_agent_of(base, role, f"roles[{place}]") for place, role in enumerate(seats)]
    if all(agent is base for agent in agents):
        overrides = tuple(
            ReplicaOverride(replica=number, variables=role.values({}), weight=role.weight, timeout=role.timeout)
            for number, role in enumerate(seats, 1)
            if role != Role()
        )
        shared = Role(variables=variables).values({})
        yield Member(base, name, variables=shared, timeout=timeout, replicas=len(seats), overrides=overrides)
        return
    for number, (agent, role) in enumerate(zip(agents, seats, strict=True), 1):
        yield Member(
            agent,
            f"{name}_{number}",
            variables=role.values({**variables, "member_id": number, "total_members": len(seats)}),
            weight=role.weight,
            timeout=timeout if role.timeout is None else role.timeout,
        )


def _agent_of(base: Agent | str, role: Role, where: str) -> Agent | str:
    """The team's agent, or for a role with a model or a text of its own another like it."""
    if role.provider is not None and not role.model:
        raise ValueError(f"{where}.provider: name its model, too")
    if role.model is None and role.instructions is None:
        return base
    if not isinstance(base, ModelAgent):
        raise ValueError(f"{where}: only model agents have a model and instructions; the team's is another agent")  # noqa: TRY004 - what is wrong is the role
    instructions = None if role.instructions is None else _placed(role.instructions, named=role.named)
    return _like(base, instructions=instructions, model=role.model, provider=role.provider)


def _placed(instructions: Instructions, *, named: bool) -> Instructions:
    """A text with places for variables, those of the role added where it has none."""
    if not isinstance(instructions, str):
        return instructions
    own = instructions == MEMBER or "${" not in instructions
    return Template.shell(instructions + _ROLE if named and own else instructions, strict=False)


def _like(
    base: ModelAgent, *, instructions: Instructions | None, model: str | None = None, provider: Provider | None = None
) -> ModelAgent:
    """The same agent, told another thing or with another model before its fallbacks."""
    made = copy.copy(base)
    if instructions is not None:
        made.instructions = instructions
    if model is not None:
        own = base.choices[0]
        made.choices = (ModelChoice(provider or own.provider, model, own.sampling), *base.choices[1:])
    return made
