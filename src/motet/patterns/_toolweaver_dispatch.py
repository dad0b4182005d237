"""One prompt over many tasks, as ToolWeaver's pages dispatch it: one group on the engine."""

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, overload

import trio

import motet
from motet.agents.model.agent import RETRY
from motet.engine.engine import Engine
from motet.engine.seats import NAME
from motet.errors import Exhausted, InvalidRequest
from motet.model import reason
from motet.model.plan import Aggregation, Group, Idempotency, Member, RetryPolicy
from motet.model.result import GroupResult
from motet.model.state import State
from motet.patterns._host import OWN_DEADLINE, groups_around, has_place, run_here
from motet.patterns._toolweaver_agents import DEFAULT_MODEL, Answers, ByAgent, ByFunction, ByModel, Executor
from motet.patterns._toolweaver_limits import DispatchQuotaExceeded, DispatchResourceLimits, least
from motet.patterns._toolweaver_results import DispatchResults, result_of, stats_of
from motet.patterns._toolweaver_template import filled
from motet.ports import Agent, Provider, Store
from motet.store.memory import MemoryStore

GROUP: Final = "dispatch"
_MARK: Final = "motet.dispatch"
TTL: Final = 3600.0
"""Seconds for which an answer is given again."""
_DEFAULTS: Final = DispatchResourceLimits()


class AggregateFailed(motet.MotetError):
    """`aggregate_fn` raised. `results` has what it was given."""

    default_reason = reason.AGGREGATION_FAILED

    def __init__(self, message: str, results: DispatchResults) -> None:
        super().__init__(message)
        self.results = results


@overload
async def dispatch_agents(
    template: str,
    arguments: Sequence[Mapping[str, Any]],
    agent_name: str = ...,
    model: str = ...,
    max_parallel: int = ...,
    timeout_per_agent: float | None = ...,
    limits: DispatchResourceLimits | None = ...,
    executor: Executor | None = ...,
    aggregate_fn: None = None,
    *,
    agent: Agent | None = ...,
    provider: Provider | None = ...,
    idempotent: bool = ...,
    retry: RetryPolicy | None = ...,
    engine: Engine | None = ...,
) -> DispatchResults: ...
@overload
async def dispatch_agents(
    template: str,
    arguments: Sequence[Mapping[str, Any]],
    agent_name: str = ...,
    model: str = ...,
    max_parallel: int = ...,
    timeout_per_agent: float | None = ...,
    limits: DispatchResourceLimits | None = ...,
    executor: Executor | None = ...,
    *,
    aggregate_fn: Callable[[DispatchResults], Any],
    agent: Agent | None = ...,
    provider: Provider | None = ...,
    idempotent: bool = ...,
    retry: RetryPolicy | None = ...,
    engine: Engine | None = ...,
) -> Any: ...
async def dispatch_agents(  # noqa: PLR0917 - the order of the pages
    template: str,
    arguments: Sequence[Mapping[str, Any]],
    agent_name: str = "default",
    model: str = DEFAULT_MODEL,
    max_parallel: int = 10,
    timeout_per_agent: float | None = 30,
    limits: DispatchResourceLimits | None = None,
    executor: Executor | None = None,
    aggregate_fn: Callable[[DispatchResults], Any] | None = None,
    *,
    agent: Agent | None = None,
    provider: Provider | None = None,
    idempotent: bool = True,
    retry: RetryPolicy | None = None,
    engine: Engine | None = None,
) -> Any:
    """Ask one question for each of `arguments`, together, and return the results in their order.

    template: the prompt; `{name}` stands for an argument, other braces for themselves, `{{name}}` for `{name}`.
    executor: an async function of prompt, arguments, agent name and model that answers. Without one `agent` does, else the
        model, of `provider` or of the program's default. There `haiku` stands for the model that the program names.
    max_parallel, timeout_per_agent: with `limits` the narrower holds. Times are in seconds; 0 is already over, None no bound.
    limits: None means DispatchResourceLimits() with its defaults.
    aggregate_fn: gets the results, sync or async; what it returns is returned in their place.
    idempotent: tasks that are the same (agent, model, executor, prompt, arguments) are asked once, and answered again for an
        hour: at once, and for nothing. Only successes are. Without an engine the answers are kept in this process.
    retry: of failures that may pass; None means the provider's usual three attempts for a model, else none.
    engine: where it runs; None means the run that it is called from, else an engine of its own.

    A task that fails is a result with an `error`. Raises ValueError, naming the field, before anything starts for what is
    wrong; DispatchQuotaExceeded, with the results so far, when a bound is reached; AggregateFailed.
    """
    limits = _DEFAULTS if limits is None else limits
    prompts = _prompts(template, arguments, max_parallel, timeout_per_agent)
    _check_size(len(prompts), limits, _depth(engine))
    results = DispatchResults()
    if prompts:
        answers = _answers(executor, agent, provider, agent_name, model, limits, lasting=has_place(engine))
        timeout = least(timeout_per_agent, limits.max_agent_duration_s)
        members = [
            _member(answers, place, prompt, arguments[place], timeout, idempotent)
            for place, prompt in enumerate(prompts)
        ]
        group = Group(
            GROUP,
            members,
            Aggregation("combine", early_stop=False),
            timeout=limits.max_total_duration_s,
            max_parallel=int(least(max_parallel, limits.max_concurrent) or max_parallel),
            limits=limits.limits(),
            retry=retry if retry is not None else RETRY if answers.retries else None,
            metadata={_MARK: True},
        )
        try:
            result = await run_here(group, engine=engine, store=None if has_place(engine) else _kept())
        except InvalidRequest as error:
            raise ValueError(error.message) from error
        except Exhausted as error:
            raise DispatchQuotaExceeded(error.message, reason=error.reason) from error
        results = _results(arguments, result.groups[0], answers)
        _check_end(result.groups[0], results)
    return results if aggregate_fn is None else await _aggregated(aggregate_fn, results)


def forget_answers() -> None:
    """Forget what tasks were answered in this thread without an engine."""
    _LOCAL.__dict__.clear()


# ------------------------------------------------------------------------------------------------------------- before it runs


def _prompts(
    template: str, arguments: Sequence[Mapping[str, Any]], max_parallel: int, timeout: float | None
) -> list[str]:
    if not isinstance(template, str):
        raise ValueError(f"template: {type(template).__name__} is not a text")  # noqa: TRY004 - wrong input is one kind of error
    if isinstance(arguments, str | Mapping):
        raise ValueError("arguments: give a list, with a mapping for each task")  # noqa: TRY004 - as above
    if max_parallel < 1:
        raise ValueError(f"max_parallel: {max_parallel} lets nothing run; give at least 1")
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout_per_agent: {timeout} is not a time; give seconds, 0 or more, or None")
    prompts = []
    for place, task in enumerate(arguments):
        if not isinstance(task, Mapping):
            raise ValueError(f"arguments[{place}]: {type(task).__name__} is not a mapping")  # noqa: TRY004 - as above
        try:
            prompts.append(filled(template, task))
        except ValueError as error:
            raise ValueError(f"template: for arguments[{place}] {error}") from error
    return prompts


def _check_size(count: int, limits: DispatchResourceLimits, depth: int) -> None:
    most = limits.max_total_agents
    if most is not None and count > most:
        message = f"{count} agents are more than max_total_agents={most}; nothing was started"
        raise DispatchQuotaExceeded(message, reason=reason.MEMBERS_EXCEEDED)
    deepest, depth = limits.max_dispatch_depth, max(depth, limits.current_depth)
    if deepest is not None and depth > deepest:
        message = f"depth {depth} is more than max_dispatch_depth={deepest}; nothing was started"
        raise DispatchQuotaExceeded(message, reason=reason.DEPTH_EXCEEDED)
    if count and limits.min_success_count > count:
        message = f"min_success_count={limits.min_success_count} is more than the {count} agents; nothing was started"
        raise DispatchQuotaExceeded(message, reason=reason.TOO_FEW_SUCCESSES)


def _depth(engine: Engine | None) -> int:
    return sum(_MARK in group.metadata for group in groups_around(engine))


def _answers(  # noqa: PLR0917 - one for each way to answer
    executor: Executor | None,
    agent: Agent | None,
    provider: Provider | None,
    name: str,
    model: str,
    limits: DispatchResourceLimits,
    *,
    lasting: bool,
) -> Answers:
    """`lasting` says that answers are kept by an engine that knows its agents, maybe for longer than this process."""
    given = [
        what for what, one in (("executor", executor), ("agent", agent), ("provider", provider)) if one is not None
    ]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)}: give one, or none")
    if NAME.fullmatch(name) is None:
        raise ValueError(f"agent_name: {name!r} is not a name; use letters, digits and _ . : - (at most 128)")
    card = limits.card()
    if executor is not None:
        if not callable(executor):
            raise ValueError(f"executor: {type(executor).__name__} is not a function")
        return ByFunction(executor, name, model, card)
    if agent is not None:
        return ByAgent(agent, card, lasting=lasting)
    return ByModel(provider, name, model, card, lasting=lasting)


def _member(  # noqa: PLR0917 - one for each part of a member
    answers: Answers, place: int, prompt: str, task: Mapping[str, Any], timeout: float | None, idempotent: bool
) -> Member:
    try:
        put = answers.put(prompt, task)
    except ValueError as error:
        raise ValueError(f"arguments[{place}]: {error}") from error
    once = Idempotency(ttl=TTL) if idempotent and put.repeatable else None
    return Member(put.agent, input=put.input, variables=put.variables, timeout=timeout, idempotency=once)


_LOCAL: Final = threading.local()


class _Kept(MemoryStore):
    """Answers outlive the engines that asked."""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def _kept() -> Store:
    # One for each thread: a store is one thread's.
    if not hasattr(_LOCAL, "store"):
        _LOCAL.store = _Kept()
    store: Store = _LOCAL.store
    return store


# -------------------------------------------------------------------------------------------------------------- after it ran


def _results(tasks: Sequence[Mapping[str, Any]], group: GroupResult, answers: Answers) -> DispatchResults:
    found = [
        result_of(task, outcome, None if outcome.output is None else answers.read(outcome.output))
        for task, outcome in zip(tasks, group.outcomes, strict=True)
    ]
    return DispatchResults(found, stats_of(found, group.outcomes, group.stats.peak_running, group.elapsed))


_BOUNDS: Final = frozenset(
    {reason.BUDGET_EXCEEDED, reason.FAILURE_RATE_EXCEEDED, reason.QUOTA_EXCEEDED, reason.TOO_FEW_SUCCESSES}
)


def _check_end(group: GroupResult, results: DispatchResults) -> None:
    """Raises DispatchQuotaExceeded when a bound kept the dispatch from its end."""
    # What an agent says of its own bounds is its failure, and not the dispatch's end.
    stopped = [outcome.failure for outcome in group.outcomes if outcome.state not in {State.SUCCEEDED, State.FAILED}]
    for failure in (group.failure, *stopped):
        if failure is None or failure.message == OWN_DEADLINE:
            continue
        if failure.reason in _BOUNDS:
            raise DispatchQuotaExceeded(failure.message, reason=failure.reason, results=results)
        if failure.reason == reason.DEADLINE_EXCEEDED:
            message = f"the time for all was over: {failure.message}"
            raise DispatchQuotaExceeded(message, reason=failure.reason, results=results)


async def _aggregated(function: Callable[[DispatchResults], Any], results: DispatchResults) -> Any:
    try:
        value = function(results)
        return await value if inspect.isawaitable(value) else value
    except Exception as error:
        message = f"aggregate_fn raised {type(error).__name__}: {error}; the results are in `results`"
        raise AggregateFailed(message, results) from error
