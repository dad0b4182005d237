"""A blocking function in a thread: how it is bounded, what it may ask of the engine, what becomes of it on cancel.

A thread cannot be stopped from outside. It is asked (`trio.from_thread.check_cancelled()` raises in it), given a short
grace, and named as detached when it still runs after that.
"""

import inspect
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import trio

from motet.agents._binding import Binding, reply_of
from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.payload import Payload
from motet.model.plan import Plan
from motet.model.reason import CANCELLED
from motet.model.result import RunResult
from motet.ports import Call

_MOST_WAITING_REPORTS: Final = 256
"""A thread that reports faster than the loop listens loses its oldest reports rather than filling memory."""
_NESTED_BOUND: Final = 60.0
"""Seconds for groups that the thread runs to stop; the engine, which stops them, has far shorter bounds of its own."""


class Threads:
    """The threads of one function. Not more than `width` run in one trio run, detached ones counted."""

    def __init__(self, fn: Callable[..., Any], binding: Binding, name: str, width: int, stop_grace: float) -> None:
        self._fn = fn
        self._binding = binding
        self._name = name
        self._width = width
        self._grace = stop_grace
        self._detached: set[_Work] = set()
        # A limiter for each trio run: a thread that outlives its run never gives its place back.
        self._limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar(f"threads of {name}")

    @property
    def detached(self) -> int:
        """Threads that were cancelled and still run."""
        return len(self._detached)

    async def call(self, call: Call) -> Reply:
        limiter = self._own_limiter()
        work = _Work(limiter)
        handed = _ThreadCall(call, work) if self._binding.takes_call else call
        try:
            return await trio.to_thread.run_sync(
                self._run, work, handed, thread_name=self._name, abandon_on_cancel=True, limiter=limiter
            )
        except trio.Cancelled:
            work.over = True
            with trio.move_on_after(_NESTED_BOUND, shield=True):
                await self._stop(work)
            if work.started and not work.ended:
                self._detach(call, work)
            raise
        finally:
            if isinstance(handed, _ThreadCall):
                handed.deliver()
                call.spend(handed.spent)
                call.stop_detail = call.stop_detail or handed.stop_detail
            work.over = True

    def _own_limiter(self) -> trio.CapacityLimiter:
        try:
            return self._limiter.get()
        except LookupError:
            limiter = trio.CapacityLimiter(self._width)
            self._limiter.set(limiter)
            return limiter

    def _run(self, work: "_Work", call: Call) -> Reply:
        """In the thread. Arguments and reply are made here too, so that large ones do not hold up the loop."""
        work.started = True
        try:
            if work.over:  # cancelled between the loop's decision and this thread's first step
                raise AgentError("the call was cancelled before it started", reason=CANCELLED)
            positional, keywords = self._binding.arguments(call)
            value = self._fn(*positional, **keywords)
            if inspect.iscoroutine(value):
                value.close()
            return reply_of(value, self._name)
        except SystemExit as error:  # would end the whole program where it arrives
            raise AgentError(f"function {self._name!r} called sys.exit({error.code!r})") from error
        finally:
            work.end()
            self._detached.discard(work)

    async def _stop(self, work: "_Work") -> None:
        await work.stop_nested()
        work.ended_event = trio.Event()
        if work.started and not work.ended:
            with trio.move_on_after(self._grace):
                await work.ended_event.wait()

    def _detach(self, call: Call, work: "_Work") -> None:
        # Added first and looked at after: the thread marks its end first and removes itself after.
        self._detached.add(work)
        if work.ended:
            self._detached.discard(work)
        else:
            call.detached = f"thread of function {self._name!r}"


class _Work:
    """One thread's state. Plain flags, each written by one side: the interpreter lock orders them."""

    __slots__ = ("ended", "ended_event", "limiter", "nested", "over", "quiet", "started", "token")

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.limiter = limiter
        self.started = False
        self.ended = False
        self.over = False
        """The loop no longer waits for the result."""
        self.ended_event: trio.Event | None = None
        self.nested: set[trio.CancelScope] = set()
        self.quiet: trio.Event | None = None

    def end(self) -> None:
        """From the thread, as its last step."""
        self.ended = True
        if self.ended_event is not None:
            with suppress(trio.RunFinishedError):
                self.token.run_sync_soon(self.ended_event.set)

    async def stop_nested(self) -> None:
        """Cancel the groups that the thread runs, and wait for them."""
        for scope in self.nested:
            scope.cancel()
        if self.nested:
            self.quiet = trio.Event()
            await self.quiet.wait()


class _ThreadCall(Call):
    """The call as a thread may use it: reports and groups are handed over to the loop's thread, what it has spent when the
    loop no longer waits for it."""

    __slots__ = ("_clock", "_real", "_waiting", "_work")

    def __init__(self, call: Call, work: _Work) -> None:
        super().__init__(
            call.input,
            host=call.host,
            variables=call.variable_payloads,
            run_id=call.run_id,
            group=call.group,
            member=call.member,
            session_id=call.session_id,
            attempt=call.attempt,
            depth=call.depth,
            deadline=call.deadline,
            idempotency_key=call.idempotency_key,
        )
        self._real = call
        self._work = work
        self._clock = trio.lowlevel.current_clock()
        self._waiting: deque[Payload] = deque(maxlen=_MOST_WAITING_REPORTS)

    def time_left(self) -> float:
        return max(0.0, self.deadline - self._clock.current_time())

    def report(self, report: object) -> None:
        self._waiting.append(Payload.of(report))
        with suppress(trio.RunFinishedError):
            self._work.token.run_sync_soon(self.deliver, idempotent=True)

    def deliver(self) -> None:
        """In the loop's thread: pass on what waits, unless the call is over."""
        while self._waiting:
            payload = self._waiting.popleft()
            if not self._work.over:
                self._real.report(payload)

    async def run(
        self,
        target: Plan | str,
        input: object = None,
        *,
        variables: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> RunResult:
        """For `trio.from_thread.run(call.run, target)`.

        Trio runs it in a task that the member's cancellation does not reach, so it is cancelled by a scope of its own.
        """
        work = self._work
        if trio.lowlevel.current_trio_token() is not work.token:
            raise RuntimeError("call.run belongs to the engine's loop; use trio.from_thread.run(call.run, target)")
        if not work.over:
            with trio.CancelScope() as scope:
                work.nested.add(scope)
                # A thread that waits for a group must not keep out the group's own threads of this function.
                work.limiter.total_tokens += 1
                try:
                    return await self._real.run(target, input, variables=variables, timeout=timeout)
                finally:
                    work.limiter.total_tokens -= 1
                    work.nested.discard(scope)
                    if work.quiet is not None and not work.nested:
                        work.quiet.set()
        raise AgentError("the call was cancelled", reason=CANCELLED)
