"""What may stop an input before a model answers it, or an answer before it is given. A guardrail that fails has stopped
what it was to judge. Knows no model."""

import functools
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, TypeAlias, overload

import trio

from motet.agents.model.instructions import ModelState
from motet.agents.model.reasons import GUARDRAIL_FAILED, GUARDRAIL_TRIPPED
from motet.errors import AgentError
from motet.model.payload import Payload
from motet.model.plan import Group, Member, RetryPolicy
from motet.model.state import State
from motet.ports import Agent, Call

Stage: TypeAlias = Literal["input", "output"]

Verdict: TypeAlias = bool | str | None
"""None and True let pass; False and a text, the reason, stop. A text stops also when it is empty."""

Judgement: TypeAlias = Callable[[str, ModelState], Verdict | Awaitable[Verdict]]
"""Judges a text: the input, or the answer."""

_GRACE: Final = 0.05
"""Seconds that a thread gets to notice that it was cancelled, as threads of agents do."""
_SETTLING: Final = 16
"""Steps of the loop, some 20 microseconds each, for others that end at the same moment to say so: a result of the engine
takes several to get here. Without them chance would decide which one is told."""
_NO_REASON: Final = "it gave no reason"


class Guardrail:
    """A function that judges a text.

    fn: takes the text and the ModelState and returns a `Verdict`. A plain function is called where the agent runs, so it
        must not block; an async one is awaited. Raising, or returning anything else, fails the agent with
        GUARDRAIL_FAILED: nothing passes that was not judged.
    timeout: seconds for one judgement, None for no bound but the call's; one that takes longer has failed.
    thread: run a function that blocks in a thread. It cannot be stopped from outside, but may poll
        `trio.from_thread.check_cancelled()`; one that still runs when the call is cancelled is reported as detached.

    Raises ValueError for options that do not fit the function.
    """

    def __init__(self, fn: Judgement, *, name: str = "", timeout: float | None = None, thread: bool = False) -> None:
        if not callable(fn):
            raise TypeError(f"a guardrail is made of a function, not of {type(fn).__name__}")
        own = getattr(fn, "__name__", "")
        self.name: str = name or (own if own.isidentifier() else "guardrail")
        if timeout is not None and not timeout >= 0:
            raise ValueError(
                f"guardrail {self.name!r}: timeout must be 0 or more seconds; leave it out for no bound of its own"
            )
        if thread and inspect.iscoroutinefunction(fn):
            raise ValueError(f"guardrail {self.name!r}: its function is async, so leave thread out")
        self.fn = fn
        self.timeout = timeout
        self.thread = thread

    def __call__(self, text: str, state: ModelState) -> Verdict | Awaitable[Verdict]:
        """The function itself, so that it stays testable."""
        return self.fn(text, state)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    async def verdict(self, call: Call, place: str, state: ModelState, text: str) -> Verdict:  # noqa: ARG002 - the one of an agent needs the place
        """Judge. `place` is the stage and the guardrail's number in it, such as `input_1`."""
        if self.thread:
            return await self._in_a_thread(call, state, text)
        judged = self.fn(text, state)
        return await judged if inspect.isawaitable(judged) else judged

    async def _in_a_thread(self, call: Call, state: ModelState, text: str) -> Verdict:
        ended = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def judged() -> Verdict:
            try:
                return self.fn(text, state)  # type: ignore[return-value]  # what is awaitable is refused with all else
            finally:
                with suppress(trio.RunFinishedError):  # nobody waits for it any more
                    token.run_sync_soon(ended.set)

        try:
            return await trio.to_thread.run_sync(judged, abandon_on_cancel=True, thread_name=self.name)
        except trio.Cancelled:
            with trio.move_on_after(_GRACE, shield=True):
                await ended.wait()
            if not ended.is_set():
                call.detached = call.detached or f"the thread of guardrail {self.name!r}"
            raise


class AgentGuardrail(Guardrail):
    """An agent that judges: it is run by the engine, so its calls are bounded, paid for and seen like all others.

    The text is its input, the call's variables are its own. It answers with JSON: `{"tripped": true, "reason": "..."}`, where the reason may be left out, or
    a bare boolean, which means what it means of a function: `true` lets pass, `false` stops. No answer, or any other, fails
    the call with GUARDRAIL_FAILED. `timeout` is in seconds; `retry` None means one attempt.
    """

    def __init__(
        self, agent: Agent, *, name: str = "", timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> None:
        self.agent = agent
        self.retry = retry
        super().__init__(self._no_function, name=name or agent.info.name, timeout=timeout)

    def _no_function(self, _text: str, _state: ModelState) -> Verdict:
        raise TypeError(f"guardrail {self.name!r} is an agent: run it with `judge`")

    async def verdict(self, call: Call, place: str, state: ModelState, text: str) -> Verdict:  # noqa: ARG002 - a function's needs it
        member = Member(self.agent, input=Payload.from_text(text), retry=self.retry)
        result = await call.ask(Group(f"guardrail_{place}", [member], "first"))
        outcome = result.outcomes[0] if result.outcomes else None
        if outcome is None or outcome.state is not State.SUCCEEDED or outcome.output is None:
            failure = result.failure if outcome is None or outcome.failure is None else outcome.failure
            raise AgentError(f"its agent has no answer: {failure or result.state}")
        return _verdict_of(outcome.output)


@overload
def guardrail(fn: Judgement, /) -> Guardrail: ...
@overload
def guardrail(
    *, name: str = "", timeout: float | None = None, thread: bool = False
) -> Callable[[Judgement], Guardrail]: ...
def guardrail(fn: Judgement | None = None, /, **options: Any) -> Any:
    """Make a function a guardrail: `@guardrail`, or `@guardrail(name=..., ...)` with the options of Guardrail."""
    return Guardrail(fn) if fn is not None else functools.partial(Guardrail, **options)


async def judge(guardrails: Sequence[Guardrail], stage: Stage, call: Call, state: ModelState, text: str) -> None:
    """Have all guardrails judge the text at once; return when every one lets it pass.

    The first that stops it cancels the others and raises AgentError with GUARDRAIL_TRIPPED; its details have `guardrail`,
    `stage` and `why`. One that raises, takes too long or answers with something else raises GUARDRAIL_FAILED in the same
    way. Of several that end at the same moment the one that was declared first is told.
    """
    stopped: dict[int, AgentError] = {}

    async def run(number: int, each: Guardrail, scope: trio.CancelScope) -> None:
        error = await _error_of(each, stage, call, f"{stage}_{number}", state, text)
        if error is not None:
            stopped[number] = error
            for _ in range(_SETTLING):
                await trio.lowlevel.checkpoint()
            scope.cancel()

    async with trio.open_nursery() as nursery:
        for number, each in enumerate(guardrails, start=1):
            nursery.start_soon(run, number, each, nursery.cancel_scope, name=f"guardrail {each.name}")
    if stopped:
        raise stopped[min(stopped)]


async def _error_of(  # noqa: PLR0917 - `verdict` with what names it
    each: Guardrail, stage: Stage, call: Call, place: str, state: ModelState, text: str
) -> AgentError | None:
    verdict: Any = None
    try:
        with trio.move_on_after(math.inf if each.timeout is None else each.timeout) as scope:
            verdict = await each.verdict(call, place, state, text)
    except Exception as error:  # noqa: BLE001 - whatever a judgement raises, the text has not passed
        told = str(error) or type(error).__name__
        return _failed(each, stage, told if isinstance(error, AgentError) else f"{type(error).__name__}: {told}", error)
    if scope.cancelled_caught:
        return _failed(each, stage, f"it took longer than {each.timeout:g} seconds")
    if verdict is None or verdict is True:
        return None
    if verdict is False or isinstance(verdict, str):
        why = verdict or _NO_REASON
        return AgentError(
            f"guardrail {each.name!r} stopped the {stage}: {why}",
            reason=GUARDRAIL_TRIPPED,
            details={"guardrail": each.name, "stage": stage, "why": why},
        )
    if inspect.iscoroutine(verdict):
        verdict.close()
    return _failed(each, stage, f"it returned {type(verdict).__name__}; return None, a bool or a text")


def _failed(each: Guardrail, stage: Stage, why: str, cause: Exception | None = None) -> AgentError:
    error = AgentError(
        f"guardrail {each.name!r} could not judge the {stage}, which counts as stopped: {why}",
        reason=GUARDRAIL_FAILED,
        details={"guardrail": each.name, "stage": stage, "why": why},
    )
    error.__cause__ = cause
    return error


def _verdict_of(answer: Payload) -> Verdict:
    """Raises ValueError."""
    try:
        value = answer.json()
    except ValueError:
        value = None
    if isinstance(value, bool):
        return value
    tripped = value.get("tripped") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(tripped, bool):
        raise ValueError(  # noqa: TRY004 - the answer is wrong, not its type
            'its agent has to answer {"tripped": true or false, "reason": "..."}, or a boolean'
        )
    reason = value.get("reason")
    if not tripped:
        return None
    return reason if isinstance(reason, str) else "" if reason is None else json.dumps(reason, ensure_ascii=False)
