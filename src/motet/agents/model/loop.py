"""The turn loop of a model agent: asks the model, runs the tools that it wants, asks again. A thin shell around `turns`: every
request and every tool is a member of a group that the engine runs for the call, so what is awaited here is the engine."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from motet.agents.model import reasons, tool_round
from motet.agents.model.chat_agent import ChatAgent
from motet.agents.model.choice import ModelChoice, falls_back
from motet.agents.model.codec import reply_of, request_value
from motet.agents.model.defaults import default
from motet.agents.model.guardrails import judge
from motet.agents.model.handoffs import specs_of
from motet.agents.model.history import messages_of
from motet.agents.model.instructions import ModelState, render
from motet.agents.model.limits import Allowance
from motet.agents.model.output import OutputMismatch
from motet.agents.model.tool_calls import offered
from motet.agents.model.turns import (
    AskAgain,
    Conversation,
    Ended,
    WantsTools,
    again,
    begun,
    exhausted,
    fed_back,
    sampling_of,
    step,
    with_ids,
)
from motet.errors import AgentError, InvalidRequest, MotetError
from motet.model.agent import Reply
from motet.model.chat import ChatReply, ChatRequest, Message, Role
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.plan import Group, Member
from motet.model.reason import INPUT_INVALID
from motet.model.usage import Usage
from motet.ports import Call, Provider

if TYPE_CHECKING:
    from motet.agents.model.agent import ModelAgent
    from motet.agents.model.tool import Tool

ONE_CALL: Final = Usage(calls=1)
"""The agent's own: its turns and tools pay for themselves."""
MAX_TOLD: Final = 16_000
"""Characters of a text in the details of a failure."""


class Loop:
    """One call of a model agent."""

    def __init__(self, agent: "ModelAgent", call: Call) -> None:
        self.agent = agent
        """Whose turn it is: another after a handoff."""
        self.call = call
        self.allowance = Allowance(agent.limits)
        self.tools: dict[str, Tool] = {}
        self._choice = 0
        """Place of the model that answers, among those of the agent."""
        self.talk = Conversation(messages=self._opening(), max_turns=agent.max_turns)

    async def run(self) -> Reply:
        """Until there is an answer. Raises AgentError."""
        self.call.spend(ONE_CALL)
        await self.enter(self.agent)
        reply = await self._guarded_turn()
        while True:
            self.talk = begun(self.talk, reply)
            reply = with_ids(self.talk, reply)
            match step(self.talk, reply):
                case Ended(why, message):
                    raise self.failed(why, message)
                case WantsTools():
                    await self._run_tools(reply)
                case AskAgain(talk):
                    self.talk = talk
                case _:
                    answer = self._answer(reply)
                    if answer is not None:
                        await judge(self.agent.output_guardrails, "output", self.call, self.state(), reply.text)
                        return Reply(answer, usage=ONE_CALL, metadata=self._metadata(reply))
            reply = await self._turn()

    async def enter(self, agent: "ModelAgent") -> None:
        """Let this agent have the next turn."""
        if agent is not self.agent:
            self.agent, self._choice = agent, 0
            self.allowance = self.allowance.under(agent.limits)
        found = await offered(agent.tools, self.call)
        # A server of tools may have one named as a handoff: the handoff is what the agent's author wrote.
        self.tools = {tool.spec.name: tool for tool in found if tool.spec.name not in agent.handoffs}

    def state(self) -> ModelState:
        """What instructions and guardrails are told, of the turn that is being taken or was taken last."""
        return self._state(max(1, self.talk.turn), self._chosen().model)

    def failed(self, reason: str, message: str, details: Mapping[str, Any] | None = None) -> AgentError:
        """The failure of the call, with where it stood."""
        said = {"text": self.talk.text[:MAX_TOLD]} if self.talk.text else {}
        stood = {"turns": self.talk.turn, "used": self.allowance.value()}
        return AgentError(
            f"{self.agent.info.name}: {message}", reason=reason, details={**said, **(details or {}), **stood}
        )

    async def ask(self, group: Group, *, variables: dict[str, object] | None = None) -> Sequence[Outcome]:
        """Run a group of this call. Raises AgentError when a budget or quota keeps it from going on."""
        try:
            result = await self.call.ask(group, variables=variables)
        except InvalidRequest as error:
            message = f"{group.name} cannot be run, the conversation may have grown too long: {error.message}"
            raise self.failed(INPUT_INVALID, message) from error
        self.allowance = self.allowance.after(result)
        stopped = exhausted(result.outcomes)
        if stopped is not None and stopped.failure is not None:
            failure = stopped.failure
            raise self.failed(failure.reason, f"{group.name}: {failure.message}", failure.details)
        return result.outcomes

    # ---------------------------------------------------------------------------------------------------------- turns

    async def _guarded_turn(self) -> ChatReply:
        """The first turn, with the input guardrails beside it: the first that trips cancels the turn."""
        guardrails = self.agent.input_guardrails
        if not guardrails:
            return await self._turn()
        state = self.state()
        replies: list[ChatReply] = []
        failures: list[MotetError] = []

        async def guard(scope: trio.CancelScope) -> None:
            try:
                await judge(guardrails, "input", self.call, state, state.text)
            except MotetError as error:
                failures.insert(0, error)  # what the input is says more than what became of the turn
                scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(guard, nursery.cancel_scope)
            try:
                replies.append(await self._turn())
            except MotetError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]
        return replies[0]

    async def _turn(self) -> ChatReply:
        """The model's next answer, of the first model that has one. Raises AgentError."""
        number, fallbacks = self.talk.turn + 1, 0
        while True:
            choice = self._chosen()
            provider, request = _provider(choice), await self._request(number, choice)
            agent = ChatAgent(provider, choice.model, width=self.agent.info.max_parallel)
            name = f"turn_{number}_fallback_{fallbacks}" if fallbacks else f"turn_{number}"
            member = Member(agent, input=Payload.from_json(request_value(request)), timeout=self.agent.turn_timeout)
            limits, retry = self.allowance.left(), self.agent.retry
            (outcome,) = await self.ask(Group(name, [member], "first", limits=limits, retry=retry), variables={})
            if outcome.output is not None:
                return reply_of(outcome.output.json())
            if self._choice + 1 == len(self.agent.choices) or not falls_back(outcome):
                raise self._turn_failed(name, outcome, choice)
            self._choice, fallbacks = self._choice + 1, fallbacks + 1

    async def _request(self, number: int, choice: ModelChoice) -> ChatRequest:
        agent = self.agent
        instructions = await render(agent.instructions, self._state(number, choice.model))
        tools = (*(tool.spec for tool in self.tools.values()), *specs_of(agent.handoffs))
        sampling = agent.sampling if choice.sampling is None else choice.sampling
        system = (Message(role=Role.SYSTEM, text=instructions),) if instructions.strip() else ()
        return ChatRequest(
            model=choice.model,
            messages=(*system, *self.talk.messages),
            tools=tools,
            output_schema=None if agent.output is None else agent.output.schema,
            output_name="answer" if agent.output is None else agent.output.name,
            sampling=sampling_of(self.talk, sampling, tools=bool(tools)),
            stream=agent.stream,
        )

    def _turn_failed(self, turn: str, outcome: Outcome, choice: ModelChoice) -> AgentError:
        failure = outcome.failure
        if failure is None:
            raise RuntimeError("a turn without an answer has a failure")
        details = {"provider": _provider(choice).name, "model": choice.model, "turn": turn, **failure.details}
        error = self.failed(failure.reason, f"{turn}: {failure.message}", details)
        # Made again as a whole, the agent would call its tools a second time: whether they can be is theirs to know.
        error.retryable = bool(failure.details.get("retryable")) and not self.talk.uses
        if not error.retryable:
            error.details = {name: value for name, value in error.details.items() if name != "retryable"}
        return error

    # ---------------------------------------------------------------------------------------------------------- tools

    async def _run_tools(self, reply: ChatReply) -> None:
        """Run what the model asks for and feed all of it back; then hand over, if it asked for that."""
        round_ = tool_round.plan(reply.tool_calls, self.tools, self.agent.handoffs)
        told = await tool_round.run(self, round_)
        target = round_.target
        self.talk = fed_back(self.talk, reply, told, handed_to="" if target is None else target.info.name)
        if target is not None:
            await self.enter(target)

    # ------------------------------------------------------------------------------------------------------ the answer

    def _answer(self, reply: ChatReply) -> Payload | None:
        """None when the model is to be asked once more. Raises AgentError when it was."""
        output = self.agent.output
        if output is None:
            return Payload.from_text(reply.text)
        try:
            return output.parse(reply.text)
        except OutputMismatch as error:
            if self.talk.asked_again:
                message = f"the answer does not follow the output type, also after it was asked for once more: {error}"
                raise self.failed(reasons.OUTPUT_MISMATCH, message) from error
            self.talk = again(self.talk, reply, output.repair_prompt(error))
            return None

    def _metadata(self, reply: ChatReply) -> dict[str, Any]:
        choice = self._chosen()
        return {
            "turns": self.talk.turn,
            "model": reply.model or choice.model,
            "provider": _provider(choice).name,
            "agent": self.agent.info.name,
            "handoffs": list(self.talk.handoffs),
            "tools": [use.value() for use in self.talk.uses],
            "finish": reply.finish.value,
        }

    # --------------------------------------------------------------------------------------------------------- beginnings

    def _opening(self) -> tuple[Message, ...]:
        call = self.call
        try:
            text = call.text
        except UnicodeDecodeError as error:
            message = f"{self.agent.info.name} reads text or JSON; the input is bytes that are no UTF-8"
            raise AgentError(message, reason=INPUT_INVALID) from error
        past = messages_of(call.history, self.agent.history, call.member)
        return (*past, Message(role=Role.USER, text=text))

    def _chosen(self) -> ModelChoice:
        """The model that answers, the program's default where the agent leaves it open. Raises AgentError."""
        choice = self.agent.choices[self._choice]
        if choice.provider is not None:
            return choice
        found = default(choice.model)
        return ModelChoice(found.provider, found.model, choice.sampling)

    def _state(self, turn: int, model: str) -> ModelState:
        call, name = self.call, self.agent.info.name
        return ModelState.of(call, agent=name, model=model, turn=turn, history=call.history)


def _provider(choice: ModelChoice) -> Provider:
    if choice.provider is None:
        raise RuntimeError("the choice has no provider yet")
    return choice.provider
