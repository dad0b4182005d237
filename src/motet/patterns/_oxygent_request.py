"""What OxyGent's agents are asked and what they answer, and how one asks another: by name, in a run of the engine. Knows no
agent's options."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

import trio

from motet.agents.model import reasons
from motet.agents.model.agent import RETRY
from motet.agents.model.chat_agent import ChatAgent
from motet.agents.model.choice import ModelChoice
from motet.agents.model.codec import reply_of, request_value
from motet.agents.model.defaults import default
from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.chat import ChatRequest, Finish
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Group, Member
from motet.model.reason import AGENT_FAILED, CANCELLED, OUTPUT_INVALID
from motet.model.result import RunResult
from motet.model.state import State
from motet.model.usage import Usage
from motet.patterns._oxygent_memory import chat_messages
from motet.patterns._oxygent_space import Space
from motet.ports import Call, Provider

T = TypeVar("T")

PARALLEL_ID: Final = "parallel_id"
QUERY: Final = "query"


class OxyState(StrEnum):
    """How a response stands; CREATED, RUNNING and PAUSED are never those of a response."""

    CREATED = "created"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ERROR = "failed"  # the reference page's name of the same
    PAUSED = "paused"
    SKIPPED = "skipped"
    CANCELED = "canceled"


_STATES: Final[Mapping[State, OxyState]] = {
    State.SUCCEEDED: OxyState.COMPLETED,
    State.FAILED: OxyState.FAILED,
    State.TIMED_OUT: OxyState.FAILED,
    State.CANCELLED: OxyState.CANCELED,
    State.SKIPPED: OxyState.SKIPPED,
}


@dataclass(slots=True)
class OxyResponse:
    """What an agent answers."""

    state: OxyState = OxyState.COMPLETED
    output: Any = ""
    """Text, or another value; of a response that is no answer empty, unless its maker says something in it."""
    extra: dict[str, Any] = field(default_factory=dict)
    """JSON values, kept as the metadata of the outcome."""
    failure: Failure | None = None
    """Why there is no answer, where an agent or the engine said it."""
    oxy_request: "OxyRequest | None" = None
    """What it answers."""

    @property
    def ok(self) -> bool:
        """It is an answer."""
        return self.state is OxyState.COMPLETED

    @classmethod
    def of(cls, outcome: Outcome, request: "OxyRequest | None" = None) -> "OxyResponse":
        """How a member ended."""
        output = "" if outcome.output is None else outcome.output.value
        extra = dict(outcome.metadata)
        if outcome.failure is not None and isinstance(outcome.failure.details.get("extra"), Mapping):
            extra = dict(outcome.failure.details["extra"])
        return cls(_STATES[outcome.state], output, extra, outcome.failure, request)

    def reply(self) -> Reply:
        """As an agent's reply. Raises AgentError when it is no answer."""
        try:
            output, extra = Payload.of(self.output), Payload.from_json(self.extra)
        except (TypeError, ValueError) as error:
            raise AgentError(
                f"output and extra of a response are JSON values: {error}", reason=OUTPUT_INVALID
            ) from error
        if self.ok:
            return Reply(output, usage=Usage(calls=1), metadata=extra.json())
        said = output.text
        failure = self.failure or Failure(CANCELLED if self.state is OxyState.CANCELED else AGENT_FAILED, said)
        details = {**failure.details, **({"extra": self.extra} if self.extra else {})}
        message = said or failure.message or f"the agent answered with the state {self.state.value}"
        raise AgentError(message, reason=failure.reason, details=details)


class Asker(Protocol):
    """The agent that a request was made to, as far as asking others needs it."""

    name: str
    provider: Provider | None
    space: Space


class OxyRequest:
    """What an agent is asked. It belongs to one call; nothing in it is shared with another agent."""

    def __init__(self, call: Call, agent: Asker) -> None:
        self.motet_call = call
        """The call of the engine that it stands for."""
        self.agent = agent
        """Who is asked."""
        value, variables = call.value, call.variables
        self.arguments: dict[str, Any] = {**variables, **(value if isinstance(value, dict) else {QUERY: value})}
        """`query`, which is the call's input, and its variables; of an object as input its entries in place of `query`."""
        self.parallel_id: str = str(variables.get(PARALLEL_ID, "")) or call.run_id
        """Shared by what runs at the same time for one request: the run's id, where the caller names none."""
        self._given = _wire(self.arguments)

    @property
    def callee(self) -> str:
        """The name of the agent that is asked."""
        return self.agent.name

    @property
    def changed(self) -> bool:
        """The arguments are no longer those that came."""
        return _wire(self.arguments) != self._given

    def get_query(self) -> str:
        """What is asked, as text."""
        return Payload.of(self.arguments.get(QUERY, "")).text

    async def call(
        self,
        callee: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        parallel_id: str = "",
        timeout: float | None = None,
    ) -> OxyResponse:
        """Ask another by its name: an agent of the space, one of the engine's catalog, or, with `messages` among the
        arguments, a model. Without arguments it gets this request's; what it gets is a copy.

        Whatever becomes of it is in the response; one that failed has no output. `timeout` is in seconds. Raises
        InvalidRequest when there is no such agent.
        """
        given = self.arguments if arguments is None else arguments
        found = self.agent.space.agent(callee)
        if found is None and "messages" in given:
            return await self._ask_model(callee, given["messages"], timeout)
        group = Group(callee, [Member(found or callee, timeout=timeout)], "first", preserve_session=True)
        tag = {PARALLEL_ID: parallel_id} if parallel_id else {}
        result = await self.run(group, {**given, **tag})
        return OxyResponse.of(result.groups[0].outcomes[0], self)

    async def run(self, group: Group, arguments: Mapping[str, Any] | None = None) -> RunResult:
        """Run a group inside this request, one level deeper. Without arguments it gets this request's."""
        given, variables = _wire(self.arguments if arguments is None else arguments)
        return await self.motet_call.run(group, given, variables=variables)

    async def _ask_model(self, model: str, messages: object, timeout: float | None) -> OxyResponse:
        choice = ModelChoice(self.agent.provider, model) if self.agent.provider is not None else default(model)
        if choice.provider is None:
            raise RuntimeError("the default has a provider")
        asked = request_value(ChatRequest(model=model, messages=chat_messages(messages)))
        agent = ChatAgent(choice.provider, model)
        member = Member(agent, input=Payload.from_json(asked), timeout=timeout)
        result = await self.motet_call.ask(Group("model", [member], "first", retry=RETRY), variables={})
        response = OxyResponse.of(result.outcomes[0], self)
        if response.ok:
            said = reply_of(response.output)
            response.output = said.text
            if said.finish in {Finish.REFUSED, Finish.LENGTH}:
                why = reasons.CONTENT_REFUSED if said.finish is Finish.REFUSED else reasons.OUTPUT_TRUNCATED
                failure = Failure(why, f"{model} did not finish its answer: {said.finish.value}")
                return OxyResponse(OxyState.FAILED, "", response.extra, failure, self)
        return response


async def gather(*awaitables: Awaitable[T]) -> list[T]:
    """Await all at once; their values in order. The first that raises stops the others, and is raised."""
    values: dict[int, T] = {}
    errors: list[Exception] = []

    async def wait(place: int, awaitable: Awaitable[T]) -> None:
        try:
            values[place] = await awaitable
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below, by itself
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for place, awaitable in enumerate(awaitables):
            nursery.start_soon(wait, place, awaitable)
    if errors:
        raise errors[0]
    return [values[place] for place in range(len(awaitables))]


def _wire(arguments: Mapping[str, Any]) -> tuple[Payload, dict[str, Payload]]:
    """The input and the variables of a run that is asked with these arguments."""
    variables = {name: Payload.of(value) for name, value in arguments.items() if name != QUERY}
    if QUERY in arguments:
        return Payload.of(arguments[QUERY]), variables
    return Payload.from_json(dict(arguments)), variables


def failed_of(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """The members without an answer, and why."""
    return [
        {
            "member": each.member,
            "state": each.state.value,
            "reason": each.failure.reason,
            "message": each.failure.message,
        }
        for each in outcomes
        if each.failure is not None
    ]
