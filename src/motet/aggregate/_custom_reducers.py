"""What makes a custom aggregation's answer: a function, an async function, a CEL expression, an agent. Knows nothing of
options and names."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from motet.aggregate._common import json_text, json_value
from motet.aggregate._custom_views import Expression, outcome_rows
from motet.aggregate._reducing import ask_one, json_answer, reducer_failed
from motet.model import reason
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.outcome import Failure, Outcome
from motet.model.payload import EMPTY, Payload
from motet.model.state import State
from motet.model.usage import Usage
from motet.ports import Agent, Answer, Ask, Call, Roster

NO_ANSWER: Final = "NO_ANSWER"
"""The function or expression ran and has no answer."""
EXPRESSION_FAILED: Final = "EXPRESSION_FAILED"
"""The expression has no value for these outcomes."""

GiveUp: TypeAlias = "Callable[[Failure], Payload | Failure] | None"
"""The fallback; None when there is none."""
Reduce: TypeAlias = Callable[[Roster, Sequence[Outcome], GiveUp], Answer]


def _answer_of(value: Any) -> Answer:
    """What a function returned, as an answer. Raises TypeError or ValueError for what has no payload form."""
    if value is None:
        return Failure(NO_ANSWER, "the aggregation ran and has no answer")
    if isinstance(value, Payload | Failure | Ask):
        return value
    payload = Payload.of(value)
    if payload.kind == "text":
        payload.text.encode()
    return Payload("json", json_text(payload)) if payload.kind == "json" else payload


def _or(give_up: GiveUp, failure: Failure) -> Payload | Failure:
    return failure if give_up is None else give_up(failure)


# ---------------------------------------------------------------------------------------------------------- functions


def is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - its function is looked at, not whether it has one


def _raised(error: Exception) -> Failure:
    name = type(error).__name__
    return Failure(
        reason.AGGREGATION_FAILED, f"the aggregation raised {name}: {error}; every outcome is kept", {"type": name}
    )


def by_function(function: Callable[..., Any]) -> Reduce:
    def reduce(_roster: Roster, outcomes: Sequence[Outcome], give_up: GiveUp) -> Answer:
        try:
            value = function(list(outcomes))
            if inspect.iscoroutine(value):
                value.close()
                raise TypeError("the function returned a coroutine; declare it with async def")  # noqa: TRY301 - the one handler below is for all that the function does wrong
            return _answer_of(value)
        except Exception as error:
            if give_up is None:
                raise
            return give_up(_raised(error))

    return reduce


@dataclass(slots=True)
class _AsyncFunction:
    """An async function over outcomes, as the agent of one question. What it returned stays here: a failure and None
    have no payload form."""

    function: Callable[..., Any]
    outcomes: list[Outcome]
    name: str
    answer: Answer = field(default=EMPTY)

    @property
    def info(self) -> AgentInfo:
        return AgentInfo(name=self.name, kind=AgentKind.FUNCTION)

    async def call(self, _call: Call, /) -> Reply:
        self.answer = _answer_of(await self.function(self.outcomes))
        # No agent was called: agents that the function calls are not the engine's to count.
        return Reply(self.answer if isinstance(self.answer, Payload) else EMPTY, Usage())


def by_async_function(function: Callable[..., Any], timeout: float | None) -> Reduce:
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in _name_of(function))[:128]

    def reduce(_roster: Roster, outcomes: Sequence[Outcome], give_up: GiveUp) -> Answer:
        agent = _AsyncFunction(function, list(outcomes), name)

        def then(reply: Outcome) -> Answer:
            if reply.succeeded:
                return agent.answer
            if reply.state is State.FAILED and reply.failure is not None:
                message = f"the aggregation failed: {reply.failure.message}; every outcome is kept"
                return _or(give_up, Failure(reason.AGGREGATION_FAILED, message, dict(reply.failure.details)))
            return _or(give_up, reducer_failed(reply))

        return ask_one("reducer", agent, EMPTY, timeout, then)

    return reduce


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "") or type(function).__name__


# ---------------------------------------------------------------------------------------------- expressions and agents


def by_expression(expression: str) -> Reduce:
    compiled = Expression(expression, "expression")

    def reduce(roster: Roster, outcomes: Sequence[Outcome], give_up: GiveUp) -> Answer:
        try:
            return _answer_of(compiled.over(roster, outcomes))
        except (ValueError, TypeError, RecursionError) as error:
            details = {"expression": expression}
            return _or(give_up, Failure(EXPRESSION_FAILED, f"the expression has no value: {error}", details))

    return reduce


def by_agent(agent: str | Agent, timeout: float | None) -> Reduce:
    def reduce(roster: Roster, outcomes: Sequence[Outcome], give_up: GiveUp) -> Answer:
        document: dict[str, Any] = {"outcomes": outcome_rows(roster, outcomes)}
        if roster.question.content:
            document = {"question": json_value(roster.question), **document}

        def then(reply: Outcome) -> Answer:
            return reply.output if reply.output is not None else _or(give_up, reducer_failed(reply))

        return ask_one("reducer", agent, json_answer(document), timeout, then)

    return reduce
