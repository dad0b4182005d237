"""Python functions as agents: async ones in the member's task, blocking ones in a thread, either in a process of its
own. Knows nothing of catalogs: a decorated function is an agent by itself."""

import functools
import inspect
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, Literal, ParamSpec, TypeAlias, TypeVar, overload

from motet.agents._binding import Binding, reply_of
from motet.agents._card import checked, place_of
from motet.agents._thread import Threads
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.rate import Breaker, Rate
from motet.ports import Call

P = ParamSpec("P")
R = TypeVar("R")

Isolation: TypeAlias = Literal["thread", "process"]

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_THREADS: Final = 40
"""Threads of one function when it sets no bound; trio's own default is 40 too."""


class FunctionAgent(Generic[P, R]):
    """An agent made of a function; calling it calls the function, so it stays testable.

    The first positional parameter is the input: text for `str`, bytes for `bytes`, the payload for `Payload`, the call
    for `Call`, else the value (text, decoded JSON or bytes). A parameter annotated `Call`, or named `call`, is the call.
    Every other parameter is the variable of its name; `**kwargs` takes the remaining ones. It returns a `Reply`, or text,
    bytes, a payload or JSON values; None is JSON null.

    An async function runs in the member's task. A blocking one runs in a thread, which cannot be stopped from outside:
    it may poll `trio.from_thread.check_cancelled()`, and one that still runs `stop_grace` seconds after a cancel is
    reported as detached. `isolation="process"` runs either in a fresh process, which is killed and where there is
    nothing to poll and no group to run. There `memory_bytes` bounds the address space, the interpreter's own (some 40 MB)
    included, and `cpu_seconds` the processor time, rounded up to a whole second. Such a function must be at the top
    level of a module; its `atexit` functions do not run.

    `max_parallel` None means 40 threads, as many processes as there are processors, or no bound for an async function.
    What is not named here goes on the card as it is: `AgentInfo` says what it means. What the function tells with
    `call.spend` counts also when it fails, is stopped or is killed; of a detached thread, what it had told by then.
    Raises ValueError for options that do not fit the function.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        isolation: Isolation | None = None,
        max_parallel: int | None = None,
        provider: str = "",
        timeout: float | None = None,
        replay_safe: bool | None = None,
        labels: Mapping[str, str] | None = None,
        version: str = "",
        estimated_cost_nanos: int | None = None,
        estimated_tokens: int | None = None,
        rate: Rate | None = None,
        weight: float = 1.0,
        breaker: Breaker | None = None,
        memory_bytes: int | None = None,
        cpu_seconds: float | None = None,
        stop_grace: float = 0.05,
    ) -> None:
        if not callable(fn):
            raise TypeError(f"an agent is made of a function, not of {type(fn).__name__}")
        if isinstance(fn, FunctionAgent):
            raise TypeError(f"{fn} is an agent already; use it as it is, or make another of its fn")
        self._options: Mapping[str, Any] = {
            "description": description,
            "isolation": isolation,
            "max_parallel": max_parallel,
            "provider": provider,
            "timeout": timeout,
            "replay_safe": replay_safe,
            "labels": labels,
            "version": version,
            "estimated_cost_nanos": estimated_cost_nanos,
            "estimated_tokens": estimated_tokens,
            "rate": rate,
            "weight": weight,
            "breaker": breaker,
            "memory_bytes": memory_bytes,
            "cpu_seconds": cpu_seconds,
            "stop_grace": stop_grace,
        }
        name = _checked_name(fn, name)
        is_async = _is_async(fn)
        if is_async and isolation == "thread":
            raise ValueError(f"function {name!r} is async: leave isolation out, or use isolation='process'")
        mode: Isolation | None = isolation if is_async else isolation or "thread"
        _check_options(name, mode, max_parallel, timeout, memory_bytes, cpu_seconds, stop_grace)
        if max_parallel is None and mode is not None:
            max_parallel = _THREADS if mode == "thread" else os.cpu_count() or 1
        functools.update_wrapper(self, fn, updated=())
        self.fn = fn
        """The function itself."""
        self.binding = Binding(fn, name)
        self._name = name
        self._info = checked(
            AgentInfo(
                name=name,
                kind=AgentKind.FUNCTION,
                description=_first_paragraph(fn) if description is None else description,
                version=version,
                max_parallel=max_parallel,
                provider=provider,
                timeout=timeout,
                replay_safe=replay_safe,
                labels=dict(labels or {}),
                estimated_cost_nanos=estimated_cost_nanos,
                estimated_tokens=estimated_tokens,
                rate=rate,
                weight=weight,
                breaker=breaker,
            )
        )
        self._threads: Threads | None = None
        self._elsewhere: Callable[[Call], Awaitable[Reply]] | None = None
        if mode == "thread":
            self._threads = Threads(fn, self.binding, name, max_parallel or _THREADS, stop_grace)
            self._elsewhere = self._threads.call
        elif mode == "process":
            from motet.agents.process import Processes  # noqa: PLC0415 - only when a function asks for it

            self._elsewhere = Processes(fn, name, memory_bytes=memory_bytes, cpu_seconds=cpu_seconds).call

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<FunctionAgent {self._name}>"

    @property
    def info(self) -> AgentInfo:
        return self._info

    @property
    def options(self) -> Mapping[str, Any]:
        """What it was made with, beside the function and its name: with these, another can be made like it."""
        return self._options

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {"function": place_of(self.fn)}

    @property
    def detached(self) -> int:
        """Threads of this function that were cancelled and still run."""
        return self._threads.detached if self._threads is not None else 0

    async def call(self, call: Call, /) -> Reply:
        if self._elsewhere is not None:
            return await self._elsewhere(call)
        positional, keywords = self.binding.arguments(call)
        if not keywords:  # to unpack nothing takes its time too
            return reply_of(await self.fn(*positional), self._name)  # type: ignore[call-arg, misc]
        return reply_of(await self.fn(*positional, **keywords), self._name)  # type: ignore[misc]


@overload
def agent(fn: Callable[P, R], /) -> FunctionAgent[P, R]: ...
@overload
def agent(
    *,
    name: str | None = None,
    description: str | None = None,
    isolation: Isolation | None = None,
    max_parallel: int | None = None,
    provider: str = "",
    timeout: float | None = None,
    replay_safe: bool | None = None,
    labels: Mapping[str, str] | None = None,
    version: str = "",
    estimated_cost_nanos: int | None = None,
    estimated_tokens: int | None = None,
    rate: Rate | None = None,
    weight: float = 1.0,
    breaker: Breaker | None = None,
    memory_bytes: int | None = None,
    cpu_seconds: float | None = None,
    stop_grace: float = 0.05,
) -> Callable[[Callable[P, R]], FunctionAgent[P, R]]: ...
def agent(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function an agent: `@agent`, or `@agent(name=..., ...)` with the options of FunctionAgent."""
    if fn is not None:
        return FunctionAgent(fn, **options)
    return functools.partial(FunctionAgent, **options)


def _checked_name(fn: Callable[..., Any], name: str | None) -> str:
    found = getattr(fn, "__name__", "") if name is None else name
    if not isinstance(found, str) or _NAME.fullmatch(found) is None:
        raise ValueError(
            f"{found!r} cannot name an agent; give name= of at most 128 letters, digits and any of '_.:-', "
            "starting with a letter, a digit or '_'"
        )
    return found


def _is_async(fn: Callable[..., Any]) -> bool:
    for target in (fn, getattr(type(fn), "__call__", None)):  # noqa: B004 - its function is looked at, not whether it has one
        if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
            raise ValueError("a generator cannot be an agent; return the whole answer")
        if inspect.iscoroutinefunction(target):
            return True
    return False


def _check_options(  # noqa: PLR0917 - one for each option that is checked
    name: str,
    mode: Isolation | None,
    max_parallel: int | None,
    timeout: float | None,
    memory_bytes: int | None,
    cpu_seconds: float | None,
    stop_grace: float,
) -> None:
    def refuse(option: str, rule: str) -> None:
        raise ValueError(f"function {name!r}: {option} {rule}")

    if mode not in (None, "thread", "process"):
        refuse("isolation", "must be 'thread' or 'process'")
    if max_parallel is not None and max_parallel < 1:
        refuse("max_parallel", "must be at least 1; leave it out for the default")
    if timeout is not None and not timeout >= 0:
        refuse("timeout", "must be 0 or more seconds; leave it out for no bound")
    if not stop_grace >= 0:
        refuse("stop_grace", "must be 0 or more seconds")
    for option, bound in (("memory_bytes", memory_bytes), ("cpu_seconds", cpu_seconds)):
        if bound is None:
            continue
        if mode != "process":
            refuse(option, "needs isolation='process': a thread cannot be bounded")
        if not bound > 0:
            refuse(option, "must be more than 0; leave it out for no bound")


def _first_paragraph(fn: Callable[..., Any]) -> str:
    text = inspect.getdoc(fn.func if isinstance(fn, functools.partial) else fn) or ""
    return " ".join(text.strip().split("\n\n")[0].split())
