"""custom: the answer is made by a Python function, a CEL expression or an agent. Pure, but for what the function does:
async functions run as questions of the engine's, like agents."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from motet.aggregate._custom_reducers import (
    GiveUp,
    Reduce,
    by_agent,
    by_async_function,
    by_expression,
    by_function,
    is_async,
)
from motet.aggregate._custom_views import (
    VARIABLES,
    Ended,
    Expression,
    decided_by_expression,
    decided_by_function,
)
from motet.aggregate._options import OptionRule
from motet.aggregate._reducing import Fallback, agent_names, make_fallback
from motet.model.outcome import Outcome
from motet.ports import Aggregator, AggregatorType, Answer, Roster, RuleBook, Tally

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class _Custom:
    """The rule, whatever makes its answer."""

    reduce: Reduce
    decided: Callable[[Roster], Ended] | None = None
    """Begins what tells for one group whether its answer is decided; None waits for all."""
    fallback: Aggregator | None = None
    agents: Sequence[str] = ()

    def begin(self, roster: Roster) -> Tally:
        return _CustomTally(self, roster)


class _CustomTally:
    __slots__ = ("_decided", "_ended", "_fallback", "_roster", "_rule")

    def __init__(self, rule: _Custom, roster: Roster) -> None:
        self._rule = rule
        self._roster = roster
        self._ended = rule.decided(roster) if rule.decided is not None else None
        self._fallback = Fallback(rule.fallback, roster) if rule.fallback is not None else None
        self._decided = False

    def add(self, index: int, outcome: Outcome, /) -> bool:
        if self._fallback is not None:
            self._fallback.add(index, outcome)
        if self._ended is not None and not self._decided:
            self._decided = self._ended(index, outcome)
        return self._decided

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        fallback = self._fallback
        give_up: GiveUp = None if fallback is None else lambda failure: fallback.answer(outcomes, failure)
        return self._rule.reduce(self._roster, outcomes, give_up)


# -------------------------------------------------------------------------------------------------------------- rules


def _function_rule(
    function: Callable[..., Any],
    decided: Callable[[Sequence[Outcome | None]], object] | None,
    timeout: float | None = None,
    fallback: Aggregator | None = None,
) -> _Custom:
    decided = decided if decided is not None else getattr(function, "decided", None)
    return _Custom(
        reduce=by_async_function(function, timeout) if is_async(function) else by_function(function),
        decided=decided_by_function(decided) if decided is not None else None,
        fallback=fallback,
    )


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """A Python function as a rule of a catalog.

    `fn` is called with the list of all outcomes, in declared order, also when none succeeded. It returns the answer,
    anything that `Payload.of` takes; a Failure, or None, which is NO_ANSWER, when there is none; what it raises gives
    the group AGGREGATION_FAILED. A plain function must be pure and quick: the engine waits for it. An async one may
    take its time, within the group's. `decided`, or an attribute of this name on the function, is called after each
    outcome with the list of those so far, None for members still out, which it must not change; once it is true the
    rest are stopped. The answer must then be the same whatever the others would have said. Takes no options.
    """

    name: str
    fn: Callable[..., Any]
    description: str = field(default="", kw_only=True)
    decided: Callable[[Sequence[Outcome | None]], object] | None = field(default=None, kw_only=True)

    @property
    def options_schema(self) -> Mapping[str, Any]:
        return {}

    @property
    def decides_early(self) -> bool:
        return self.decided is not None or getattr(self.fn, "decided", None) is not None

    def make(self, options: Mapping[str, Any], _book: RuleBook, /) -> Aggregator:
        _refuse_options(self.name, options)
        return _function_rule(self.fn, self.decided)


_MAKING: Final[ContextVar[tuple[str, ...]]] = ContextVar("motet_presets_being_made", default=())
"""Presets that are being made now, so that one made of itself is a mistake and not a RecursionError."""


@dataclass(frozen=True, slots=True)
class PresetRule:
    """A rule with its options fixed, under a name of its own. Takes no options."""

    name: str
    base: AggregatorType
    options: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    @property
    def options_schema(self) -> Mapping[str, Any]:
        return {}

    @property
    def decides_early(self) -> bool:
        return self.base.decides_early

    def make(self, options: Mapping[str, Any], book: RuleBook, /) -> Aggregator:
        """Raises ValueError for any option, for fixed ones that are wrong, and when it is made of itself."""
        _refuse_options(self.name, options)
        making = _MAKING.get()
        if self.name in making:
            raise ValueError(f"aggregation {self.name!r} is made of itself: {' -> '.join((*making, self.name))}")
        token = _MAKING.set((*making, self.name))
        try:
            return self.base.make(self.options, book)
        finally:
            _MAKING.reset(token)


def _refuse_options(name: str, options: Mapping[str, Any]) -> None:
    if options:
        raise ValueError(f"{name} takes no options; remove {', '.join(sorted(map(str, options)))}")


@cache
def _model() -> "type[BaseModel]":
    from pydantic import Field  # noqa: PLC0415 - pydantic is paid for by those who use it

    from motet.aggregate._fields import AgentOption, FunctionOption, Options, Seconds  # noqa: PLC0415 - as above

    class Custom(Options):
        """What makes the answer: exactly one of function, expression and agent."""

        function: FunctionOption | None = Field(default=None, description="Called with the list of outcomes.")
        expression: str | None = Field(
            default=None, description=f"CEL over {', '.join(VARIABLES)}; its value is the answer."
        )
        agent: AgentOption | None = Field(
            default=None, description="Gets {question, outcomes}; its output is the answer."
        )
        decided: Any = Field(
            default=None,
            description="CEL over the same variables, of the members that have ended: true once the rest may stop.",
        )
        timeout: Seconds | None = Field(default=None, description="Seconds for the agent or async function.")
        fallback: Any = Field(
            default=None,
            description="An aggregation, by name or as {name, ...options}, that answers when this one cannot.",
        )

    return Custom


def _build(options: Any, book: RuleBook) -> Aggregator:
    sources = ("function", "expression", "agent")
    given = [name for name in sources if getattr(options, name) is not None]
    if len(given) != 1:
        raise ValueError(
            f"give exactly one of {', '.join(sources)}" + (f", not {' and '.join(given)}" if given else "")
        )
    if options.timeout is not None and options.expression is not None:
        raise ValueError("timeout: is for an agent or an async function; remove it")
    fallback = make_fallback(options.fallback, book)
    decided = _decided(options.decided)
    if options.function is not None:
        function = _function(options.function, book)
        if options.timeout is not None and not is_async(function):
            raise ValueError("timeout: is for an agent or an async function; remove it")
        rule = _function_rule(function, None, options.timeout, fallback)
        return rule if decided is None else replace(rule, decided=decided)
    if options.expression is not None:
        return _Custom(reduce=by_expression(options.expression), decided=decided, fallback=fallback)
    return _Custom(
        reduce=by_agent(options.agent, options.timeout),
        decided=decided,
        fallback=fallback,
        agents=agent_names(options.agent),
    )


def _decided(given: Any) -> Callable[[Roster], Ended] | None:
    if given is None:
        return None
    if isinstance(given, str):
        return decided_by_expression(Expression(given, "decided"))
    if callable(given):
        return decided_by_function(given)
    raise ValueError("decided: must be a CEL expression")


def _function(given: Any, book: RuleBook) -> Callable[..., Any]:
    function = book.functions.get(given) if isinstance(given, str) else given
    if function is None:
        known = ", ".join(sorted(book.functions)) or "none"
        raise ValueError(f"function: there is no function {given!r} in the catalog; there are: {known}")
    called: Callable[..., Any] = function
    return called


CUSTOM: Final = OptionRule(
    name="custom",
    description="The answer is made by a Python function, a CEL expression or an agent, also when no member succeeded.",
    decides_early=True,
    model=_model,
    build=_build,
)
"""Waits for all members unless `decided` is given, or is an attribute of the function. An expression sees `outcomes`
(objects with member, agent, state, succeeded, output, weight and reason), `outputs` (of the successes, in declared
order; text that is JSON is its value), `total`, `succeeded` and `failed`; null is NO_ANSWER. When a reducer fails the
fallback answers, or the failure is REDUCER_FAILED, EXPRESSION_FAILED or AGGREGATION_FAILED."""
