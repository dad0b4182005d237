"""The engine: takes requests, gives each a run, and ends only when nothing of them runs any more."""

import logging
import math
from collections import Counter
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, Self

import trio

from motet.engine import causes
from motet.engine.admission import Admission
from motet.engine.away import Away
from motet.engine.background import Background, Started, WatchStream
from motet.engine.causes import StopCause
from motet.engine.journal import Observers
from motet.engine.mapping import MapInput, MapStream
from motet.engine.resolve import Bounds, Names, resolve
from motet.engine.run import RunExecution
from motet.engine.running import CURRENT, RunningMember
from motet.engine.statistics import EngineStatistics
from motet.engine.stream import OwnStream, RunStream
from motet.errors import Exhausted, InvalidRequest, Unavailable, Violation
from motet.model import reason
from motet.model.payload import Payload
from motet.model.plan import Limits, Plan
from motet.model.result import RunResult
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.ports import Guard, Observer, Store

if TYPE_CHECKING:
    from motet.engine.group import GroupExecution
    from motet.model.state import State

CLOSE_PATIENCE: Final = 5.0
"""Seconds for an agent or a store to let go of what it holds when the engine closes."""
_log = logging.getLogger("motet.engine")


class Closeable(Protocol):
    """Holds resources until it is closed."""

    async def aclose(self) -> None: ...


class Engine:
    """Runs groups and plans. Open it with `motet.open_engine`.

    In all methods `target` is a plan, the name of a group in the catalog, or a whole `RunRequest`, in which case no
    other argument is given. Wrong requests raise InvalidRequest or NotFound before anything starts; an engine that
    drains or has closed raises Unavailable.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        catalog: Names,
        *,
        guards: Sequence[Guard],
        store: Store,
        observers: Sequence[Observer],
        bounds: Bounds,
        stop_grace: float,
    ) -> None:
        self.nursery = nursery
        self.catalog = catalog
        self.admission = Admission(guards)
        self.observers = Observers(observers)
        self.bounds = bounds
        self.stop_grace = stop_grace
        self.groups: set[GroupExecution] = set()
        self.closing_cause: StopCause | None = None
        self.draining = False
        self._background = Background(self, store)
        self._store = store
        self._runs: set[RunExecution] = set()
        self._idle = trio.Event()
        self._started = 0
        self._ended: Counter[State] = Counter()
        self._drain_scope: trio.CancelScope | None = None

    # -------------------------------------------------------------------------------------------------------- running

    async def run(
        self,
        target: Plan | str | RunRequest,
        input: object = "",
        *,
        variables: Mapping[str, object] | None = None,
        session_id: str = "",
        timeout: float | None = None,
        limits: Limits | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> RunResult:
        """Run to the end. Returns the result also when members failed or a deadline passed.

        `input` and the values of `variables` are text, bytes, JSON values or payloads; `timeout` is in seconds. When
        the surrounding scope is cancelled every member is stopped before the cancellation goes on.
        """
        request = as_request(target, input, variables, session_id, timeout, limits, labels)
        await trio.lowlevel.checkpoint_if_cancelled()
        if request.request_id:
            return await self._background.join(request)
        return await self._run_here(self.prepare(request))

    async def run_again(self, request: RunRequest) -> RunResult:
        """One more run of work that was accepted before the engine began to drain."""
        return await self._run_here(self.prepare(request, accepted=True))

    async def _run_here(self, run: RunExecution) -> RunResult:
        away = self.away()
        self._runs.add(run)
        self._started += 1
        away.go()
        try:
            with away.bounded():
                return await run.execute()
        finally:
            run.done.set()
            self._finished(run)
            await away.back()  # noqa: ASYNC102 - waiting for width is cancellable, as everywhere

    def stream(
        self,
        target: Plan | str | RunRequest,
        input: object = "",
        *,
        variables: Mapping[str, object] | None = None,
        session_id: str = "",
        timeout: float | None = None,
        limits: Limits | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> RunStream:
        """Run and follow: `async with engine.stream(...) as run: async for event in run: ...`, then `run.result`."""
        request = as_request(target, input, variables, session_id, timeout, limits, labels)
        if request.request_id:
            return JoinedStream(self._background, request)
        return OwnStream(self.prepare(request))

    def map(
        self,
        target: Plan | str | RunRequest,
        inputs: AsyncIterable[MapInput],
        *,
        max_in_flight: int = 16,
        variables: Mapping[str, object] | None = None,
        session_id: str = "",
        timeout: float | None = None,
        limits: Limits | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> MapStream:
        """Run once for each input: `async with engine.map(...) as answers: async for answer in answers: ...`.

        Answers come as their runs end. At most `max_in_flight` inputs are held at any moment; `timeout` bounds each run.
        An exception of `inputs` is raised once the inputs before it are answered.
        """
        if max_in_flight < 1:
            raise InvalidRequest([Violation("max_in_flight", f"{max_in_flight} lets nothing run; give at least 1")])
        request = as_request(target, "", variables, session_id, timeout, limits, labels)
        self.prepare(request)
        return MapStream(self, request, inputs, max_in_flight)

    def check(self, request: RunRequest) -> None:
        """Raise what `run` would raise, without starting anything."""
        self.prepare(request)

    # ----------------------------------------------------------------------------------------------------- background

    async def start(
        self,
        target: Plan | str | RunRequest,
        input: object = "",
        *,
        variables: Mapping[str, object] | None = None,
        session_id: str = "",
        timeout: float | None = None,
        limits: Limits | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> Started:
        """Start a run that outlives its caller. With a `request_id` a repeat finds the run that the first has started;
        the same id with another request raises RequestIdReused."""
        request = as_request(target, input, variables, session_id, timeout, limits, labels, request_id)
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._background.start(request)

    async def get(self, run_id: str) -> RunRecord:
        """A background run, with its result once it has ended. Raises NotFound."""
        return await self._background.get(run_id)

    async def list(self, query: RunQuery | None = None) -> RunPage:
        """Background runs, newest first, without results."""
        return await self._background.list(query or RunQuery())

    async def cancel(self, run_id: str) -> RunRecord:
        """Stop a run; its record with every receipt. A background run that has ended stays as it is; one that its caller
        waits for can be stopped in this way while it runs. Raises NotFound."""
        attached = next((run for run in self._runs if run.run_id == run_id), None)
        if attached is None or self._background.live(run_id) is not None:
            return await self._background.cancel(run_id)
        attached.stop(causes.cancelled(trio.current_time()))
        await attached.done.wait()
        return self._background.record_of(attached)

    def watch(self, run_id: str, after_sequence: int = 0) -> RunStream:
        """Replay a background run's events after the cursor, then follow it. Entering raises NotFound. A watcher that
        leaves, or is slow, changes nothing for the run."""
        return WatchStream(self._background, run_id, after_sequence)

    # ------------------------------------------------------------------------------------------------- what it is doing

    def statistics(self) -> EngineStatistics:
        """What runs, waits and could not be stopped, now."""
        threads = sum(getattr(agent, "detached", 0) for agent in self.catalog.agents.values())
        return EngineStatistics(
            runs_active=len(self._runs),
            runs_started=self._started,
            runs_ended=dict(self._ended),
            members_running=sum(group.members_running for group in self.groups),
            members_waiting=sum(group.members_waiting for group in self.groups),
            members_detached=sum(group.members_detached for group in self.groups) + threads,
            width_waiters=self.admission.waiters,
            guards=self.admission.statistics(),
            draining=self.draining,
        )

    async def drain(self, grace: float) -> None:
        """Refuse new work, let what runs finish for at most `grace` seconds, then stop it and wait until it has ended.

        A second call with an earlier end shortens the first.
        """
        self.draining = True
        deadline = trio.current_time() + grace
        if self._drain_scope is not None:
            self._drain_scope.deadline = min(self._drain_scope.deadline, deadline)
            await self._wait_idle()
            return
        with trio.CancelScope(deadline=deadline) as self._drain_scope:
            await self._wait_idle()
        self._stop_all(causes.cancelled(trio.current_time(), "the engine drained and its grace is over"))
        await self._wait_idle()

    async def close(self) -> None:
        """Stop everything, wait for it, and release what agents and the store hold. Called by `open_engine`, shielded."""
        self.draining = True
        self.closing_cause = causes.engine_closed(trio.current_time())
        self._stop_all(self.closing_cause)
        await self._wait_idle()
        held: list[object] = [*self.catalog.agents.values(), self._store]
        for thing in held:
            if hasattr(thing, "aclose"):
                await _close(thing)

    # ----------------------------------------------------------------------------------------------- for the engine's parts

    def prepare(self, request: RunRequest, *, detached: bool = False, accepted: bool = False) -> RunExecution:
        """A run that is ready to execute. `detached` runs are not bound by the caller's deadline."""
        member = self._current_member()
        if self.closing_cause is not None:
            raise Unavailable("the engine has closed", reason=reason.ENGINE_CLOSED)
        if self.draining and not accepted and (member is None or detached):
            raise Unavailable("the engine drains and takes no new work; try another, or later")
        depth = request.depth if member is None else max(request.depth, member.group.run.depth + 1)
        bounds = self.bounds if member is None else member.group.run.bounds
        bounds = bounds.tightened(request.limits, depth)
        if depth > bounds.max_depth:
            message = f"runs are nested {depth} deep, the limit is {bounds.max_depth}; break the recursion"
            raise Exhausted(message, reason=reason.DEPTH_EXCEEDED)
        node = resolve(request, self.catalog, bounds)
        deadline = math.inf if detached else trio.current_effective_deadline()
        return RunExecution(self, request, node, bounds, caller_deadline=deadline, depth=depth)

    def away(self) -> Away:
        """For the caller that will wait for a run, whoever it is."""
        return Away(self._current_member())

    def spawn(self, run: RunExecution, ended: Callable[[], None]) -> None:
        """Execute a run in a task of its own."""
        self._runs.add(run)
        self._started += 1
        self.nursery.start_soon(self._execute, run, ended, name=f"motet {run.run_id}")

    async def _execute(self, run: RunExecution, ended: Callable[[], None]) -> None:
        # A run of its own belongs to no member, though a member may have started it.
        CURRENT.set(None)
        try:
            await run.execute_to_end()
        finally:
            ended()
            self._finished(run)

    def _finished(self, run: RunExecution) -> None:
        self._runs.discard(run)
        if run.result is not None:
            self._ended[run.result.state] += 1
        if not self._runs:
            self._idle.set()

    async def _wait_idle(self) -> None:
        while self._runs:
            # One event for all who wait: a new one only once the last has told that there was nothing left.
            if self._idle.is_set():
                self._idle = trio.Event()
            await self._idle.wait()
        await self._background.wait_recorded()

    def _stop_all(self, cause: StopCause) -> None:
        for run in tuple(self._runs):
            run.stop(cause)

    def _current_member(self) -> RunningMember | None:
        """The member of this engine that the running code belongs to. Raises Unavailable for one that was given up."""
        member = CURRENT.get()
        if member is None or member.group.run.engine is not self:
            return None
        member.check_alive()
        return member


class JoinedStream(WatchStream):
    """A run that callers with the same request_id share."""

    def __init__(self, background: Background, request: RunRequest) -> None:
        super().__init__(background, "", 0, follows=True)
        self._request = request

    async def __aenter__(self) -> Self:
        self.run_id = (await self._background.start(self._request, attached=True)).run_id
        await super().__aenter__()
        return self


def as_request(  # noqa: PLR0917 - one argument for each of `run`
    target: Plan | str | RunRequest,
    input: object,
    variables: Mapping[str, object] | None,
    session_id: str,
    timeout: float | None,
    limits: Limits | None,
    labels: Mapping[str, str] | None,
    request_id: str = "",
) -> RunRequest:
    """The request that arguments spell out. Raises InvalidRequest for values that have no payload form."""
    if isinstance(target, RunRequest):
        return target
    given: dict[str, Payload] = {}
    violations: list[Violation] = []
    for field, value in [("input", input), *((f'variables["{name}"]', v) for name, v in (variables or {}).items())]:
        try:
            given[field] = Payload.of(value)
        except (TypeError, ValueError) as error:
            violations.append(Violation(field, str(error)))
    if violations:
        raise InvalidRequest(violations)
    return RunRequest(
        target=target,
        input=given["input"],
        request_id=request_id,
        session_id=session_id,
        variables={name: given[f'variables["{name}"]'] for name in (variables or {})},
        limits=limits,
        timeout=timeout,
        labels=dict(labels or {}),
    )


async def _close(thing: Closeable) -> None:
    with trio.move_on_after(CLOSE_PATIENCE, shield=True) as scope:  # noqa: ASYNC912 - what has nothing to close need not wait
        try:
            await thing.aclose()
        except Exception:  # noqa: BLE001 - one that cannot be closed must not keep the others open
            _log.exception("closing %r failed", thing)
    if scope.cancelled_caught:
        _log.warning("closing %r took longer than %g s and was given up", thing, CLOSE_PATIENCE)
