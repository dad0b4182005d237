"""OxyGent's ParallelAgent and team_size under their own names. Thin: an agent here is a model agent, or a group with a summary,
run by the one engine."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from motet.agents._card import checked, place_of
from motet.agents.model.agent import ModelAgent
from motet.agents.model.instructions import Template
from motet.agents.model.tool import Tool, ToolSource
from motet.aggregate.summarize import PROMPT
from motet.engine.closing import close_patiently
from motet.engine.engine import Engine
from motet.engine.seats import NAME
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.outcome import Failure
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group, Limits, Member, RetryPolicy
from motet.model.reason import NO_SUCCESSFUL_RESULTS, OUTPUT_INVALID
from motet.patterns._host import has_place, run_here
from motet.patterns._oxygent_memory import Memory, Message, PromptAgent
from motet.patterns._oxygent_request import OxyRequest, OxyResponse, OxyState, failed_of, gather
from motet.patterns._oxygent_space import Space, oxy_space
from motet.patterns._team import Role, summary_agent, team
from motet.ports import Agent, Call, Provider

__all__ = [
    "LocalAgent",
    "Memory",
    "Message",
    "OxyRequest",
    "OxyResponse",
    "OxyState",
    "ParallelAgent",
    "Space",
    "gather",
    "oxy_space",
]


class LocalAgent:
    """A model agent, or with a `team_size` above 1 the coordinator of a team of them. Subclass it, and set its attributes in
    `__init__` or at any time before it is asked.

    It is an agent like any other: a member of a group, a tool, an entry of a catalog. `await agent.run("...")` asks it
    alone. With a team its members are `NAME_1`, `NAME_2`, ...; each is asked the same, at once, and one summary is
    written of what those that succeeded answer. The `extra` of a team's response tells `team_size`, `execution_time`
    in seconds, `parallel_efficiency` (seconds for each member), `parallel_id` and `failed_members`.

    name: also what others find it by in `space`.
    llm_model, provider: who answers, and writes the summary of a team; where left out the program's default.
    member_llm_model, member_provider: who the members of a team are; where left out as the coordinator.
    prompt: the instructions, indented as it likes; `${word}` stands for the argument of that name, unknown ones stay.
    tools: names in `space`, functions, agents, tools, sources of tools.
    short_memory_size: rounds of a session that the model is shown.
    max_react_rounds: most turns of the model, tools in between.
    timeout: seconds for a call, the whole team and its summary included.
    retries: most attempts of each request to a model; nothing else is made again.
    max_parallel: most members at once. min_successes: fewest that have to succeed. limits: of a team.
    """

    def __init__(
        self,
        name: str,
        *,
        desc: str = "",
        llm_model: str = "",
        provider: Provider | None = None,
        prompt: str = "",
        tools: Sequence[str | Tool | ToolSource | Agent | Callable[..., Any]] = (),
        team_size: int = 1,
        member_llm_model: str = "",
        member_provider: Provider | None = None,
        short_memory_size: int = 10,
        max_react_rounds: int = 16,
        timeout: float | None = None,
        retries: int = 3,
        max_parallel: int | None = None,
        min_successes: int | None = None,
        limits: Limits | None = None,
        space: Space = oxy_space,
    ) -> None:
        if NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} cannot name an agent; use letters, digits and _ . : - (at most 128)")
        if isinstance(tools, str):
            raise ValueError("tools: is one text; give a list of names")  # noqa: TRY004 - wrong input is one kind of error
        self.name = name
        self.desc = desc
        self.llm_model = llm_model
        self.provider = provider
        self.prompt = prompt
        self.tools: Sequence[str | Tool | ToolSource | Agent | Callable[..., Any]] = list(tools)
        self.team_size = team_size
        self.member_llm_model = member_llm_model
        self.member_provider = member_provider
        self.short_memory_size = short_memory_size
        self.max_react_rounds = max_react_rounds
        self.timeout = timeout
        self.retries = retries
        self.max_parallel = max_parallel
        self.min_successes = min_successes
        self.limits = limits
        self.space = space
        self._made: tuple[object, PromptAgent] | None = None
        _ = self.info
        space.know(name, self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def info(self) -> AgentInfo:
        return checked(
            AgentInfo(
                name=self.name,
                kind=AgentKind.MODEL,
                description=self.desc,
                timeout=self.timeout,
                composite=True,
            )
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        own: dict[str, Any] = {"class": place_of(type(self))}
        try:
            if self._is_team:
                return {**own, "team": self.team()}
            return {**own, "agent": self.model_agent().settings}
        except (AgentError, ValueError) as error:  # a call says the same, where it can be told
            return {**own, "error": str(error)}

    def customize_team_member(self, member_id: int, total_members: int) -> Mapping[str, Any] | None:
        """Variables of one member of the team, beside `member_id` and `total_members`; from 1."""
        del member_id, total_members
        return None

    async def run(
        self, query: object, *, engine: Engine | None = None, session_id: str = "", **arguments: object
    ) -> OxyResponse:
        """Ask it: in the run that asks, in `engine`, or in an engine of its own. Whatever becomes of it is in the response."""
        variables = {name: Payload.of(value) for name, value in arguments.items()}
        group = Group(self.name, [Member(self, variables=variables)], "first", preserve_session=True)
        alone = not has_place(engine)
        try:
            result = await run_here(group, query, engine=engine, session_id=session_id)
        finally:
            if alone:
                await close_patiently(self)  # noqa: ASYNC102 - shielded and bounded inside
        return OxyResponse.of(result.groups[0].outcomes[0])

    async def call(self, call: Call, /) -> Reply:
        response: object = await self._execute(OxyRequest(call, self))
        if not isinstance(response, OxyResponse):
            kind = type(response).__name__
            raise AgentError(f"_execute of {self.name} returned {kind}, not an OxyResponse", reason=OUTPUT_INVALID)
        return response.reply()

    async def aclose(self) -> None:
        """Release what its providers and tools hold. They may be used again."""
        if self._made is not None:
            await self._made[1].aclose()
        if self._is_team:
            await self._summary_agent().aclose()

    async def _execute(self, oxy_request: OxyRequest) -> OxyResponse:
        """Answer one request. For subclasses to override, and to call."""
        if self._is_team:
            return await self._run_team(oxy_request, self.team())
        agent = self.model_agent()
        if oxy_request.changed:
            group = Group(self.name, [Member(agent)], "first", preserve_session=True)
            result = await oxy_request.run(group)
            return OxyResponse.of(result.groups[0].outcomes[0], oxy_request)
        reply = await agent.call(oxy_request.motet_call)
        return OxyResponse(output=reply.output.value, extra=dict(reply.metadata or {}), oxy_request=oxy_request)

    # ------------------------------------------------------------------------------------------------ what it is made of

    def model_agent(self) -> PromptAgent:
        """The model agent that it is, or that the members of its team are. Raises AgentError for a tool that is not known."""
        member = self._is_team
        model = (self.member_llm_model or self.llm_model) if member else self.llm_model
        provider = (self.member_provider or self.provider) if member else self.provider
        options = {
            "instructions": inspect.cleandoc(self.prompt),
            "model": model,
            "provider": provider,
            "tools": [self._tool(tool) for tool in self.tools],
            "max_turns": self.max_react_rounds,
        }
        key = (self.name, options, self.retries, self.short_memory_size)
        if self._made is None or self._made[0] != key:
            told = Template.shell(str(options["instructions"]), strict=False)
            retry = RetryPolicy(max_attempts=self.retries, initial_backoff=0.5, max_backoff=8.0)
            agent = PromptAgent(self.name, **{**options, "instructions": told}, retry=retry)  # type: ignore[arg-type]
            agent.recent = self.short_memory_size
            self._made = key, agent
        return self._made[1]

    def team(self) -> Group:
        """The group of its team. Raises ValueError for a size below 1."""
        size = self.team_size
        own = [self.customize_team_member(number, size) or {} for number in range(1, size + 1)]
        return team(
            self.name,
            self.model_agent(),
            size=size,
            roles=[Role(variables=variables) for variables in own] if any(own) else (),
            summary=self._summary_agent(),
            max_parallel=self.max_parallel,
            min_successes=self.min_successes,
            limits=self.limits,
            preserve_session=True,
        )

    @property
    def _is_team(self) -> bool:
        return self.team_size != 1

    def _summary_agent(self) -> ModelAgent:
        return summary_agent(f"{self.name}_summary", self.llm_model, self.provider)

    def _tool(self, tool: "str | Tool | ToolSource | Agent | Callable[..., Any]") -> Any:
        if not isinstance(tool, str):
            return tool
        found = self.space.find(tool)
        if found is None:
            known = ", ".join(self.space.names()) or "none"
            raise AgentError(
                f"{self.name} has no tool {tool!r}: add it with oxy_space.add(...); there are: {known}",
                reason="TOOL_NOT_FOUND",
            )
        return found

    async def _run_team(self, oxy_request: OxyRequest, group: Group) -> OxyResponse:
        result = await oxy_request.run(group)
        (ended,) = result.groups
        size = len(ended.outcomes)
        extra = {
            "team_size": size,
            "execution_time": ended.elapsed,
            "parallel_efficiency": ended.elapsed / size,
            "parallel_id": oxy_request.parallel_id,
            "failed_members": failed_of(ended.outcomes),
        }
        if ended.aggregate is None:
            failure = ended.failure or result.failure
            return OxyResponse(OxyState.FAILED, "", extra, failure, oxy_request)
        return OxyResponse(OxyState.COMPLETED, ended.aggregate.value, extra, None, oxy_request)


class ParallelAgent(LocalAgent):
    """The coordinator of agents that exist already: asks those that it names the same, at once, and has `llm_model` write one
    summary of what those that succeeded answer.

    permitted_tool_name_list: names in `space`, or in the engine's catalog. The other options are LocalAgent's.
    """

    def __init__(self, name: str, *, permitted_tool_name_list: Sequence[str] = (), **options: Any) -> None:
        if isinstance(permitted_tool_name_list, str):
            raise ValueError("permitted_tool_name_list: is one text; give a list of names")  # noqa: TRY004 - wrong input is one kind of error
        self.permitted_tool_name_list: Sequence[str] = list(permitted_tool_name_list)
        self._closing = False
        super().__init__(name, **options)

    @property
    def _is_team(self) -> bool:
        return True

    def team(self) -> Group:
        """The group that it asks."""
        limits = self.limits
        if self.min_successes is not None:
            limits = Limits(min_successes=self.min_successes).tightened(limits)
        return Group(
            self.name,
            [Member(self._member(each)) for each in self.permitted_tool_name_list],
            Aggregation("summarize", {"agent": self._summary_agent()}),
            max_parallel=self.max_parallel,
            limits=limits,
            preserve_session=True,
        )

    async def summarize_responses(self, oxy_request: OxyRequest, responses: Sequence[OxyResponse]) -> OxyResponse:
        """One answer of what these say, for an `_execute` that asks the members itself. Responses that are no answers are
        named as failed, never summed up; with no answer at all it fails."""
        answers = [response for response in responses if response.ok]
        failed = [
            {"number": number, "reason": response.failure.reason if response.failure else response.state.value}
            for number, response in enumerate(responses, 1)
            if not response.ok
        ]
        if not answers:
            why = Failure(NO_SUCCESSFUL_RESULTS, "no member answered", {"failed": failed})
            return OxyResponse(OxyState.FAILED, "", {}, why, oxy_request)
        document = {
            "instruction": PROMPT,
            "question": oxy_request.get_query(),
            "answers": [
                {"number": number, "text": Payload.of(response.output).text}
                for number, response in enumerate(answers, 1)
            ],
            "failed": failed,
        }
        member = Member(self._summary_agent(), input=Payload.from_json(document))
        asked = await oxy_request.motet_call.ask(Group("summary", [member], "first"), variables={})
        return OxyResponse.of(asked.outcomes[0], oxy_request)

    async def aclose(self) -> None:
        """Release what the agents that it names hold. They may be used again."""
        if self._closing:  # it is among its own members, or theirs
            return
        self._closing = True
        try:
            for each in {id(member): member for member in map(self._member, self.permitted_tool_name_list)}.values():
                close = getattr(each, "aclose", None)
                if close is not None:
                    await close()
            await super().aclose()
        finally:
            self._closing = False

    def _member(self, name: str) -> Agent | str:
        return self.space.agent(name) or name
