"""Who answers the tasks of a dispatch: a function of the caller's, a model, or any agent. Each is one call, so that the
engine's budgets, rates and keys hold for it. Knows neither limits nor results."""

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from motet.agents._binding import reply_of
from motet.agents._card import checked
from motet.agents.model import defaults
from motet.agents.model.chat_agent import ChatAgent
from motet.agents.model.codec import reply_of as chat_reply_of
from motet.agents.model.codec import request_value
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.chat import ChatRequest, Message, Role
from motet.model.payload import Payload
from motet.model.usage import Usage
from motet.patterns._host import identity
from motet.ports import Agent, Call, Provider

Executor = Callable[[str, dict[str, Any], str, str], Awaitable[Any]]
"""Called with the prompt, the task's arguments, the agent's name and the model. Returns text, JSON values, or a Reply, whose
usage tells what it cost."""


@dataclass(frozen=True, slots=True)
class Put:
    """One task as it is put to whoever answers."""

    agent: Agent
    input: Payload
    repeatable: bool
    """It can be told from others, so that its answer may be given again."""
    variables: Mapping[str, Payload] = field(default_factory=dict)


class Answers(Protocol):
    """Who answers, and how a task is put to it and its answer read."""

    @property
    def retries(self) -> bool:
        """What the agent calls passing is tried again."""
        ...

    def put(self, prompt: str, task: Mapping[str, Any]) -> Put:
        """Raises ValueError for a task that it cannot take."""
        ...

    def read(self, output: Payload) -> Any: ...


class ByFunction:
    """An executor of the caller's. Each call has its own copy of the arguments."""

    retries: Final = False

    def __init__(self, executor: Executor, name: str, model: str, card: Mapping[str, Any]) -> None:
        self.executor = executor
        self.name = name
        self.model = model
        self.info = checked(AgentInfo(name=name, kind=AgentKind.FUNCTION, **card))
        self.settings = {"executor": identity(executor), "model": model}
        self._agent = _Executed(self, None)

    def put(self, prompt: str, task: Mapping[str, Any]) -> Put:
        given = _as_json(task)
        document = Payload.from_json({"prompt": prompt, "args": given})
        return Put(self._agent if given is not None else _Executed(self, task), document, given is not None)

    def read(self, output: Payload) -> Any:
        return output.value


class _Executed:
    """Calls the executor. Arguments that are no JSON stay here instead of in the input."""

    def __init__(self, owner: ByFunction, task: Mapping[str, Any] | None) -> None:
        self._owner = owner
        self._task = task

    @property
    def info(self) -> AgentInfo:
        return self._owner.info

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return self._owner.settings

    async def call(self, call: Call, /) -> Reply:
        owner, given = self._owner, call.value
        estimate = owner.info.estimated_cost_nanos
        usage = Usage(calls=1, unpriced_calls=1) if estimate is None else Usage(calls=1, cost_nanos=estimate)
        call.spend(usage)
        task = given["args"] if self._task is None else deepcopy(dict(self._task))
        said = owner.executor(given["prompt"], task, owner.name, owner.model)
        if not inspect.isawaitable(said):
            raise TypeError("the executor must be async; declare it with async def")
        return reply_of(await said, owner.name)


class ByModel:
    """A model that is asked once for each task, without tools."""

    retries: Final = True

    def __init__(
        self, provider: Provider | None, name: str, model: str, card: Mapping[str, Any], *, lasting: bool
    ) -> None:
        if provider is None:
            provider, model = _default_for(model)
        self.model = model
        own = getattr(provider, "settings", None) if lasting else identity(provider)
        self._agent = _Carded(ChatAgent(provider, model, name=name), card, own)

    def put(self, prompt: str, _task: Mapping[str, Any]) -> Put:
        request = ChatRequest(model=self.model, messages=(Message(role=Role.USER, text=prompt),))
        return Put(self._agent, Payload.from_json(request_value(request)), repeatable=True)

    def read(self, output: Payload) -> Any:
        return chat_reply_of(output.json()).text


class ByAgent:
    """Any agent: its input is the prompt, its variables are the task's arguments."""

    retries: Final = False

    def __init__(self, agent: Agent, card: Mapping[str, Any], *, lasting: bool) -> None:
        # A composite agent's calls pay for themselves, at rates of their own.
        self._agent = _Carded(agent, {} if agent.info.composite else card, None if lasting else identity(agent))

    def put(self, prompt: str, task: Mapping[str, Any]) -> Put:
        try:
            variables = {str(name): Payload.of(value) for name, value in task.items()}
        except (TypeError, ValueError) as error:
            raise ValueError(f"what an agent gets must have a JSON form: {error}") from error
        return Put(self._agent, Payload.from_text(prompt), repeatable=True, variables=variables)

    def read(self, output: Payload) -> Any:
        return output.value


class _Carded:
    """An agent with a dispatch's rate, and its estimate where the agent has none. `own` tells it from others of its name and
    settings, where answers are kept beyond the engine that knows those."""

    def __init__(self, agent: Agent, card: Mapping[str, Any], own: object) -> None:
        self._agent = agent
        self._own = own
        own = agent.info
        rate, estimate = own.rate, own.estimated_cost_nanos
        self.info = replace(
            own,
            rate=card.get("rate") if rate is None else rate,
            estimated_cost_nanos=card.get("estimated_cost_nanos") if estimate is None else estimate,
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {"agent": getattr(self._agent, "settings", None), "own": self._own}

    async def call(self, call: Call, /) -> Reply:
        return await self._agent.call(call)


def _as_json(task: Mapping[str, Any]) -> dict[str, Any] | None:
    """The task, when JSON brings it back as it is."""
    given = dict(task)
    try:
        return given if json.loads(json.dumps(given, allow_nan=False)) == given else None
    except (TypeError, ValueError, RecursionError):
        return None


def _default_for(model: str) -> tuple[Provider, str]:
    # The default is the program's model where it names one: not every provider has a model of that name.
    try:
        found = defaults.default("" if model == DEFAULT_MODEL else model)
    except AgentError:
        found = defaults.default(model)
    if found.provider is None:
        raise RuntimeError("the default has a provider")
    return found.provider, found.model


DEFAULT_MODEL: Final = "haiku"
