"""The engine: takes requests, gives each a run, and ends only when nothing of them runs any more."""

import math
from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from motet.engine import causes
from motet.engine.accounts import Accounts
from motet.engine.admission import Admission
from motet.engine.alarms import Alarms
from motet.engine.attempt import CURRENT, RunningAttempt
from motet.engine.away import Away
from motet.engine.background import Background, JoinedStream, Started, WatchStream
from motet.engine.causes import StopCause
from motet.engine.closing import close_patiently
from motet.engine.idempotency import Idempotency
from motet.engine.journal import Observers
from motet.engine.mapping import MapInput, MapStream
from motet.engine.plans import Plans
from motet.engine.profile import Profiles
from motet.engine.requests import as_request
from motet.engine.residents import Residents
from motet.engine.resolve import Bounds, Names
from motet.engine.run import Past, RunExecution, refused
from motet.engine.statistics import EngineStatistics
from motet.engine.stream import OwnStream, RunStream
from motet.errors import InvalidRequest, Unavailable, Violation
from motet.model import reason
from motet.model.limit_use import LimitUse
from motet.model.plan import Limits, Plan
from motet.model.result import RunResult
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.model.session import SessionEntry
from motet.ports import Account, Guard, GuardsOf, Observer, Sessions, Store

if TYPE_CHECKING:
    from motet.engine.group import GroupExecution
    from motet.engine.overdue import Overdue
    from motet.model.state import State


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
        guards_of: GuardsOf,
        run_limits: Callable[[str], Limits | None],
        account: Account | None,
        store: Store,
        sessions: Sessions,
        observers: Sequence[Observer],
        bounds: Bounds,
        stop_grace: float,
    ) -> None:
        """`run_limits` tells the limits of a tenant's runs, `account` is the guard whose counts the store keeps."""
        self.nursery = nursery
        self.catalog = catalog
        self.admission = Admission(guards, nursery)
        self.guards_of = guards_of
        self.patience: Alarms[Overdue] = Alarms(nursery, lambda overdue: overdue.look())
        self.profiles = Profiles()
        self.idempotency = Idempotency(store)
        self.residents = Residents(nursery)
        self.sessions = sessions
        self.observers = Observers(observers)
        self.bounds = bounds
        self.stop_grace = stop_grace
        self.groups: set[GroupExecution] = set()
        self.closing_cause: StopCause | None = None
        self.draining = False
        self._background = Background(self, store)
        self._accounts = Accounts(account, store, nursery)
        self._run_limits = run_limits
        self._store = store
        self._runs: set[RunExecution] = set()
        self._plans = Plans(catalog, bounds)
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
        tenant: str = "",
    ) -> RunResult:
        """Run to the end. Returns the result also when members failed or a deadline passed.

        `input` and the values of `variables` are text, bytes, JSON values or payloads; `timeout` is in seconds. When
        the surrounding scope is cancelled every member is stopped before the cancellation goes on.
        """
        request = as_request(target, input, variables, session_id, timeout, limits, labels, tenant)
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._accounts.know(request.tenant)
        if request.request_id:
            return await self._background.join(request)
        return await self._run_here(self.prepare(request))

    async def run_again(self, request: RunRequest) -> RunResult:
        """One more run of work that was accepted before the engine began to drain."""
        await self._accounts.know(request.tenant)
        return await self._run_here(self.prepare(request, accepted=True))

    async def _run_here(self, run: RunExecution) -> RunResult:
        run.enter()
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
        tenant: str = "",
    ) -> RunStream:
        """Run and follow: `async with engine.stream(...) as run: async for event in run: ...`, then `run.result`."""
        request = as_request(target, input, variables, session_id, timeout, limits, labels, tenant)
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
        tenant: str = "",
    ) -> MapStream:
        """Run once for each input: `async with engine.map(...) as answers: async for answer in answers: ...`.

        Answers come as their runs end. At most `max_in_flight` inputs are held at any moment; `timeout` bounds each run.
        An exception of `inputs` is raised once the inputs before it are answered.
        """
        if max_in_flight < 1:
            raise InvalidRequest([Violation("max_in_flight", f"{max_in_flight} lets nothing run; give at least 1")])
        request = as_request(target, "", variables, session_id, timeout, limits, labels, tenant)
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
        tenant: str = "",
        request_id: str = "",
    ) -> Started:
        """Start a run that outlives its caller. With a `request_id` a repeat finds the run that the first has started;
        the same id with another request raises RequestIdReused."""
        request = as_request(target, input, variables, session_id, timeout, limits, labels, tenant, request_id)
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._accounts.know(request.tenant)
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

    async def session(self, session_id: str, tenant: str = "") -> Sequence[SessionEntry]:
        """What a session remembers, oldest first; empty for one that is not kept."""
        return await self.sessions.entries(tenant, session_id)

    async def forget_session(self, session_id: str, tenant: str = "") -> None:
        """Let a session start anew. Raises Unavailable, SESSION_BUSY, while a run here takes part in it."""
        await self.sessions.forget(tenant, session_id)

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
            limits=self.limits(),
            draining=self.draining,
        )

    def limits(self, tenant: str = "") -> tuple[LimitUse, ...]:
        """What is in use of every limit now, sorted by scope and name: the engine's, and those of the runs that go. With
        `tenant` only that tenant's and its runs'. Inside trio only."""
        runs = [run for run in self._runs if tenant in ("", run.tenant)]
        groups = [group for group in self.groups if tenant in ("", group.run.tenant)]
        scoped = [
            *(guard for run in runs for guard in run.guards),
            *(guard for group in groups for guard in group.guards),
        ]
        uses = [use for guard in scoped for use in guard.uses()]
        whole = [use for guard in self.admission.guards for use in guard.uses()]
        uses += [use for use in whole if not tenant or (use.scope, use.name) == ("tenant", tenant)]
        return tuple(sorted(uses, key=lambda use: (use.scope, use.name, use.guard, use.what)))

    def limits_of(self, request: RunRequest) -> Limits | None:
        """Those of a run: the catalog's and its tenant's, tightened by its own."""
        given = self._run_limits(request.tenant)
        return request.limits if given is None else given.tightened(request.limits)

    async def know(self, tenant: str) -> None:
        """Count what a tenant has used before."""
        await self._accounts.know(tenant)

    async def open(self, tenants: Iterable[str] = ()) -> None:
        """Carry on what an engine left in the store, and count what these tenants have used before."""
        for tenant in tenants:
            await self.know(tenant)
        await self._background.open()

    async def drain(self, grace: float) -> None:
        """Refuse new work, let what runs finish for at most `grace` seconds, then stop it and wait until it has ended.

        A second call with an earlier end shortens the first.
        """
        self.draining = True
        self._background.drain()
        deadline = trio.current_time() + grace
        if self._drain_scope is not None:
            self._drain_scope.deadline = min(self._drain_scope.deadline, deadline)
            await self._wait_idle()
            return
        with trio.CancelScope(deadline=deadline) as self._drain_scope:
            await self._wait_idle()
        self._background.leave()
        self._background.close()
        self._stop_all(causes.cancelled(trio.current_time(), "the engine drained and its grace is over"))
        await self._wait_idle()

    async def close(self) -> None:
        """Stop everything, wait for it, and release what agents and the store hold. Called by `open_engine`, shielded."""
        self.draining = True
        self.closing_cause = causes.engine_closed(trio.current_time())
        self._background.leave()
        self._background.close()
        self._accounts.close()
        self._stop_all(self.closing_cause)
        await self._wait_idle()
        self.admission.close()
        self.patience.close()
        await self.residents.close()
        held: list[object] = [*self.catalog.agents.values(), self._store]
        for thing in held:
            if hasattr(thing, "aclose"):
                await close_patiently(thing)

    # ----------------------------------------------------------------------------------------------- for the engine's parts

    def prepare(
        self, request: RunRequest, *, detached: bool = False, accepted: bool = False, past: Past | None = None
    ) -> RunExecution:
        """A run that is ready to execute. `detached` runs are not bound by the caller's deadline; `past` is where a run that
        goes on after a crash stood. Raises InvalidRequest, NotFound, Exhausted, Unavailable."""
        attempt = self._current_attempt()
        member = attempt.member if attempt is not None else None
        if self.closing_cause is not None:
            raise Unavailable("the engine has closed", reason=reason.ENGINE_CLOSED)
        if self.draining and not accepted and (member is None or detached):
            raise Unavailable("the engine drains and takes no new work; try another, or later")
        depth = request.depth
        if member is not None:
            depth = max(depth, member.group.run.depth + 1)
            if not request.tenant and member.group.run.tenant:
                request = replace(request, tenant=member.group.run.tenant)
        bounds = self.bounds if member is None else member.group.run.bounds
        bounds = bounds.tightened(self.limits_of(request), depth)
        node = self._plans.resolve(request, bounds)
        deadline = math.inf if detached else trio.current_effective_deadline()
        run = RunExecution(
            self, request, node, bounds, caller_deadline=deadline, depth=depth, past=past, caller=attempt
        )
        if member is not None and not detached:
            # Whoever runs it from inside another run pays for it there.
            run.scopes += member.group.payers
        refusal = self.admission.may_run(run.ticket, trio.current_time()) if past is None else None
        if refusal is not None:
            raise refused(refusal)
        return run

    def away(self) -> Away:
        """For the caller that will wait for a run, whoever it is."""
        return Away(self._current_attempt())

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
        run.leave()
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

    def _current_attempt(self) -> RunningAttempt | None:
        """The attempt in this engine that the running code belongs to. Raises Unavailable for one that was given up."""
        attempt = CURRENT.get()
        if attempt is None or attempt.member.group.run.engine is not self:
            return None
        attempt.check_alive()
        return attempt
