"""Python functions as tools: the arguments that a model gives become the function's parameters. The work is done by a
FunctionAgent, in the member's task, a thread or a process. Knows no provider."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

from motet.agents._card import place_of
from motet.agents._reference import Reference
from motet.agents.function import FunctionAgent, Isolation
from motet.agents.model.tool import ArgumentsInvalid, Tool, checked_name
from motet.agents.model.tool_schema import Parameters
from motet.agents.process import FUNCTION_NOT_LOADED
from motet.errors import AgentError
from motet.model.agent import AgentInfo, Reply
from motet.model.chat import ToolSpec
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.reason import INPUT_INVALID
from motet.ports import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool(Tool):
    """A tool made of a function; calling it calls the function, so it stays testable."""

    fn: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)


@overload
def tool(fn: Callable[..., Any], /, **options: Any) -> FunctionTool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    isolation: Isolation | None = None,
    enabled: Callable[[Call], bool | Awaitable[bool]] | None = None,
    replay_safe: bool | None = None,
    present: Callable[[Outcome], str] | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    isolation: Isolation | None = None,
    enabled: Callable[[Call], bool | Awaitable[bool]] | None = None,
    replay_safe: bool | None = None,
    present: Callable[[Outcome], str] | None = None,
    **options: Any,
) -> Any:
    """Make a function a tool: `@tool`, `@tool(name=..., ...)` or `tool(fn, ...)`.

    The schema comes from the signature: any type that pydantic knows, `Annotated` with `Field`, defaults, `Literal`, enums,
    models, dataclasses. A parameter annotated `Call` receives the call and is not shown. The description is the
    docstring's text before its sections; parameters are described by its Google, NumPy or Sphinx style section, or by
    their `Field`. A blocking function runs in a thread, with `isolation="process"` in a process that is killed when its
    time is over; an async one in the member's task.

    The result is text, bytes, a payload, a `Reply`, or anything that pydantic can turn into JSON. Raise `AgentError` with
    a reason to tell the model what failed. `timeout` is in seconds, for one call. `options` are those of FunctionAgent:
    `max_parallel`, `provider`, `rate`, `breaker`, `memory_bytes`, ...; without `estimated_cost_nanos` it is free. Raises ValueError for a function that no JSON object
    can call, naming the parameter.
    """
    made = functools.partial(
        _made,
        name=name,
        description=description,
        timeout=timeout,
        isolation=isolation,
        enabled=enabled,
        present=present,
        options={"replay_safe": replay_safe, **options},
    )
    return made if fn is None else made(fn)


def _made(
    fn: Callable[..., Any],
    *,
    name: str | None,
    description: str | None,
    timeout: float | None,
    isolation: Isolation | None,
    enabled: Callable[[Call], bool | Awaitable[bool]] | None,
    present: Callable[[Outcome], str] | None,
    options: Mapping[str, Any],
) -> FunctionTool:
    if isinstance(fn, Tool) or not callable(fn):
        raise TypeError(f"a tool is made of a function, not of {type(fn).__name__}")
    if timeout is not None and not timeout >= 0:
        raise ValueError("timeout: must be 0 or more seconds; leave it out for the model agent's tool_timeout")
    own_name = checked_name(name if name is not None else getattr(fn, "__name__", type(fn).__name__))
    parameters = Parameters(fn, own_name)
    told = parameters.description if description is None else description
    # A function costs nothing unless it says so: else a budget would let tools of unknown price run one at a time.
    card = {"name": own_name, "description": told, "estimated_cost_nanos": 0, **options}
    agent: FunctionAgent[..., Any] | _ElsewhereAgent
    if isolation == "process":
        Reference.of(fn, own_name)
        agent = _ElsewhereAgent(fn, FunctionAgent(_elsewhere, isolation="process", **card))
    else:
        agent = FunctionAgent(_adapter(fn, parameters, own_name), isolation=isolation, **card)
    return FunctionTool(
        spec=ToolSpec(name=own_name, description=told, parameters=parameters.schema),
        agent=agent,
        timeout=timeout,
        check=parameters.check,
        enabled=enabled,
        present=present,
        fn=fn,
    )


def _adapter(fn: Callable[..., Any], parameters: Parameters, name: str) -> Callable[..., Any]:
    """A function of the arguments, with the place of the tool's own: that is what it is told from others by.

    Only one that passes the call on asks for it: to a thread it has to be handed over.
    """
    call_of = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(type(fn), "__call__", None))  # noqa: B004 - its function is looked at
    made: Callable[..., Any]
    if call_of:

        async def run_async(arguments: Payload, call: Call) -> Any:
            return _sendable(await fn(**_keywords(parameters, arguments, call, name)))

        made = run_async
    elif parameters.call_parameter:

        def run_with_call(arguments: Payload, call: Call) -> Any:
            return _sendable(fn(**_keywords(parameters, arguments, call, name)))

        made = run_with_call
    else:

        def run(arguments: Payload) -> Any:
            return _sendable(fn(**_keywords(parameters, arguments, None, name)))

        made = run
    made.__module__, _, made.__qualname__ = place_of(fn).partition(":")
    made.__name__ = name
    return made


def _keywords(parameters: Parameters, arguments: Payload, call: Call | None, name: str) -> dict[str, Any]:
    try:
        return parameters.keywords(arguments.text, call)
    except (ArgumentsInvalid, UnicodeError) as error:
        raise AgentError(str(error), reason=INPUT_INVALID, details={"tool": name}) from error


def _sendable(value: Any) -> Any:
    """What a function returned, as a payload or reply; what has no such form is returned as it is, to be refused."""
    if isinstance(value, str | bytes | bytearray | memoryview | Payload | Reply):
        return value
    try:
        return Payload.from_json(value)
    except (TypeError, ValueError, RecursionError):
        from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415 - quick imports

        try:
            return to_jsonable_python(value, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError, RecursionError):
            return value


class _ElsewhereAgent:
    """A function in a process of its own: the process is told which function, and makes its parameters there."""

    def __init__(self, fn: Callable[..., Any], inner: FunctionAgent[..., Any]) -> None:
        self._place = place_of(fn)
        self._reference = Reference.of(fn, inner.info.name).plain()
        self._inner = inner

    @property
    def info(self) -> AgentInfo:
        return self._inner.info

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {"function": self._place}

    async def call(self, call: Call, /) -> Reply:
        given = call.input
        envelope = {"reference": self._reference, "tool": self.info.name, "arguments": given.text}
        call.input = Payload.from_json(envelope)
        try:
            return await self._inner.call(call)
        finally:
            call.input = given


def _elsewhere(envelope: dict[str, Any], call: Call) -> Any:
    """In the process: find the function, and call it with the arguments. Raises whatever it raises."""
    name = envelope["tool"]
    try:
        found = Reference.from_plain(envelope["reference"]).resolve()
        fn = getattr(found, "fn", found)
        parameters = Parameters(fn, name)
    except Exception as error:
        if isinstance(error, MemoryError) or "cannot allocate memory" in str(error).lower():
            raise MemoryError from error
        message = f"tool {name!r} could not be loaded in its process: {type(error).__name__}: {error}"
        raise AgentError(message, reason=FUNCTION_NOT_LOADED) from error
    value = fn(**_keywords(parameters, Payload("json", envelope["arguments"]), call, name))
    return _awaited(value) if inspect.iscoroutine(value) else _sendable(value)


async def _awaited(value: Awaitable[Any]) -> Any:
    return _sendable(await value)
